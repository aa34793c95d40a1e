"""The status line: its text in each status, and its escaped HTML."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from datetime import datetime, timedelta
from html.parser import HTMLParser

import pytest

from comflowy_nb.layout.value_text import time_text
from comflowy_nb.notebook.display.run_status_text import run_line
from comflowy_nb.notebook.display.status_line import day
from comflowy_nb.services.types import Problem, Progress, RunEvent
from comflowy_nb.status import Status


def text_of(html):
    parts = []
    parser = HTMLParser()
    parser.handle_data = parts.append
    parser.feed(html)
    return "".join(parts)


def test_a_running_run_shows_node_steps_nodes_and_time(folder):
    run = folder.run(status=Status.RUNNING)
    run.report(progress=Progress(node="3", title="KSampler", value=12, max=20, nodes_done=3, nodes_total=7))
    run.started_clock_s -= 4.1
    line = run_line(run, usual_s=5.0)
    assert re.fullmatch(
        r"r1 default on sandbox - running KSampler 12/20 - 3 of 7 nodes - \d+\.\d s \(usually 5 s\)", line.text
    )
    assert line.fraction == pytest.approx((3 + 12 / 20) / 7)
    assert "width:51.4%" in line.html


@pytest.mark.parametrize("status", [Status.SUBMITTING, Status.WAITING, Status.PENDING])
def test_a_run_that_has_not_started_shows_its_status(folder, status):
    line = run_line(folder.run(status=status))
    assert f" - {status} - " in line.text


def test_a_run_that_has_not_started_shows_what_it_waits_for(folder):
    """The first run of a sandbox showed only `pending` while the worker loaded the scenes."""
    run = folder.run(status=Status.PENDING)
    run.report(progress=Progress(message="the sandbox is preparing its scenes"))
    assert " - pending - the sandbox is preparing its scenes - " in run_line(run).text


def test_the_plain_text_has_no_escape_sequences_of_a_terminal(folder):
    """A graph with an escape sequence in the class of a node changed the user's terminal through the status line."""
    error = "node 1 (\x1b[31mNope\x1b]0;title\x07): there is no such class"
    run = folder.run(status=Status.FAILED, problem=Problem(error))
    assert "node 1 (Nope]0;title): there is" in run_line(run).text


def test_without_progress_the_bar_follows_the_usual_time_and_is_never_full(folder):
    run = folder.run(status=Status.RUNNING)
    run.started_clock_s -= 100
    assert run_line(run).fraction is None
    assert run_line(run, usual_s=5.0).fraction == 0.95


def test_success_shows_the_time_and_the_generated_seed(folder):
    run = folder.run(("9", 8, 8), params={"3::seed": 42})
    assert run_line(run, generated_seeds={"3::seed": 42}).text == "r1 default - success in 5.2 s - seed 42 (generated)"
    assert run_line(run).text == "r1 default - success in 5.2 s"


def test_a_repeated_request_shows_the_date_of_its_run_unless_it_was_today(folder):
    run = folder.run(("9", 8, 8))
    assert run_line(run, outcome="same").text == "same as r1, nothing submitted; --fresh runs it again"
    past = datetime.now().astimezone() - timedelta(days=40)
    run.update(replace(run.record, finished_at=past.timestamp()))
    year = f" {past.year}" if past.year != datetime.now().astimezone().year else ""
    assert run_line(run, outcome="same").text == (
        f"same as r1 ({past.day} {past:%b}{year}), nothing submitted; --fresh runs it again"
    )


def test_a_failure_names_node_and_message(folder):
    run = folder.run(status=Status.FAILED, problem=Problem("cfg is too big", "3", "KSampler"))
    assert run_line(run).text == "r1 default - failed after 5.2 s - node 3 (KSampler): cfg is too big"


def test_an_unknown_run_shows_the_reason(folder):
    line = run_line(folder.run(status=Status.UNKNOWN, reason="the connection broke"))
    assert "unknown: it is not known whether the service accepted this run" in line.text
    assert "the connection broke" in line.text


def test_missing_images_are_named_with_the_command_that_fetches_them(folder):
    run = folder.run(("9", 8, 8), ("9", 8, 8), missing={1: "the host was refused"})
    assert "r1[1] is missing: the host was refused; %comflowy show r1 fetches it again" in run_line(run).text


def test_an_unrecognised_service_status_is_shown_verbatim(folder):
    run = folder.run(status=Status.RUNNING, service_status="warming-up")
    assert " - warming-up - " in run_line(run).text


def test_text_of_services_and_users_is_escaped_in_html(folder):
    evil = "<img src=x onerror=alert(1)>"
    run = folder.run(
        status=Status.FAILED, problem=Problem(evil), workflow=f"{evil}w", name=f"{evil}n", warning=f"{evil}r"
    )
    html = run_line(run, note=f"{evil}o").html
    assert "<img" not in html
    assert html.count("&lt;img") == 5


@pytest.mark.parametrize("outcome", ["new", "same", "shown"])
def test_html_has_the_same_text_without_script_or_style_sheet(folder, outcome):
    line = run_line(folder.run(("9", 8, 8)), outcome=outcome, generated_seeds={"3::seed": 5}, note="more")
    assert text_of(line.html) == line.text
    for word in ("<script", "<style", "@keyframes", "animation", "http"):
        assert word not in line.html


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (4.14, "4.1 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (60, "1 min"),
        (125, "2 min 5 s"),
        (3840, "1 h 4 min"),
    ],
)
def test_durations_are_formatted(seconds, text):
    assert time_text(seconds) == text


def test_time_of_today_is_shown_without_a_date():
    now = datetime.now().astimezone()
    assert day(now.timestamp()) == f"{now:%H:%M}"


def test_the_end_shows_the_execution_time_and_a_long_wait(folder):
    """Equal runs showed 1.2 to 9.5 s, because the time in the queue counted."""
    now = time.time()
    run = folder.run(("9", 8, 8), created_at=now - 33.4, started_at=now - 2.4, finished_at=now)
    assert run_line(run).text == "r1 default - success in 2.4 s, after 31 s in the queue"
    run = folder.run(("9", 8, 8), created_at=now - 3.4, started_at=now - 2.4, finished_at=now)
    assert run_line(run).text == "r2 default - success in 2.4 s"


@pytest.mark.parametrize("kind", ["waiting", "pending", "running"])
def test_the_status_of_an_event_is_shown_before_a_check(folder, kind):
    run = folder.run(status=Status.WAITING)
    run.note_event(RunEvent(kind, 0.0, progress=Progress(value=3, max=9)), Status(kind))
    assert f" - {kind}" in run_line(run).text
    assert ("3/9" in run_line(run).text) == (kind == "running")
    assert run.status == "waiting", "only a check changes the status"
    run.note_event(RunEvent("waiting", 0.0), Status.WAITING)  # late
    assert f" - {kind}" in run_line(run).text


@pytest.mark.parametrize("kind", ["success", "failed"])
def test_a_reported_end_is_shown_until_it_is_checked(folder, kind):
    run = folder.run(status=Status.RUNNING)
    before = run_line(run).change_key
    run.note_event(RunEvent(kind, 0.0), Status(kind))
    line = run_line(run)
    assert f"the service reports its end ({kind}), checking" in line.text
    assert line.change_key != before
    run.clear_reported()
    assert "checking" not in run_line(run).text


def test_the_newest_message_of_the_service_is_shown_as_typed_and_shortened(folder):
    run = folder.run(status=Status.RUNNING)
    before = run_line(run).change_key
    run.note_event(RunEvent("message", 0.0, text="old"))
    run.note_event(RunEvent("message", 0.0, text="<script>alert(1)</script> $x$ and $y$ " + "long " * 50))
    line = run_line(run)
    assert "<script>alert(1)</script> $x$ and $y$ long" in line.text
    assert "old" not in line.text
    assert len(line.text) < 200
    assert "<script" not in line.html
    assert "$" not in line.html
    assert line.change_key != before, "a terminal prints it"
    run.update(replace(run.record, status=Status.SUCCESS))
    assert "script" not in run_line(run).text
