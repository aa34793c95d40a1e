"""Count submits at the server: after any failure, no cell is submitted twice and none is missing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import Counter
from contextlib import suppress

import pytest
from faulty_server import choose, close_after_reading, reply
from scripted_api import CHECK, RUN
from waiting import wait_until

from comflowy_nb import connect, history
from comflowy_nb.errors import FieldError, SettingsError
from comflowy_nb.settings import settings
from comflowy_nb.workflow.syntax.lists import Setting

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("short_delays")]

AXES = {"3::cfg": [2, 4, 6, 8], "3::sampler_name": ["euler", "heun", "dpmpp_2m"], "3::seed": 7}


@pytest.fixture
def api(api):
    """Let every run succeed at the first check."""
    api.live_statuses = []
    return api


def submits_by_params(api):
    """Return how often each request was submitted, by its params."""
    return Counter(json.dumps(request.json["params"], sort_keys=True) for request in api.requests(RUN))


def check_each_once(api, count):
    submitted = submits_by_params(api)
    assert not [params for params, times in submitted.items() if times > 1], "a cell was submitted twice"
    assert len(submitted) == count


# -- repeated and extended sweeps ----------------------------------------------------------------------------------


def test_first_execution_submits_each_cell_once_and_the_second_none(client, api):
    first = client.sweep("wf-1", AXES, timeout=30)
    check_each_once(api, 12)
    assert first.status_counts() == {"success": 12}
    second = client.sweep("wf-1", AXES, timeout=30)
    check_each_once(api, 12)
    assert second.ref == first.ref
    assert second.plan.text.startswith("12 cells: 12 done (today, test)")
    assert [cell.run.number for cell in second.cells] == [cell.run.number for cell in first.cells]


def test_an_extended_axis_submits_only_new_cells(client, api):
    client.sweep("wf-1", AXES, timeout=30)
    extended = client.sweep("wf-1", AXES | {"3::cfg": [2, 4, 6, 8, 10]}, timeout=30)
    assert extended.plan.new == 3
    check_each_once(api, 15)
    reduced = client.sweep("wf-1", AXES | {"3::cfg": [4, 10]}, timeout=30)
    assert reduced.plan.new == 0
    check_each_once(api, 15)


def test_reordered_axes_and_values_submit_nothing_again(client, api):
    first = client.sweep("wf-1", AXES, timeout=30)
    reordered = client.sweep("wf-1", dict(reversed(AXES.items())) | {"3::cfg": [8, 6, 4, 2]}, timeout=30)
    check_each_once(api, 12)
    assert reordered.ref != first.ref
    for cell in first.cells:
        (same,) = reordered.select(
            **{"3::cfg": cell.params["3::cfg"], "3::sampler_name": cell.params["3::sampler_name"]}
        )
        assert same.run.number == cell.run.number


def test_generated_seeds_are_kept_when_an_axis_is_extended(client, api):
    axes = {"3::cfg": [1, 2], "3::seed": "random#3"}
    first = client.sweep("wf-1", axes, timeout=30)
    more_values = client.sweep("wf-1", axes | {"3::cfg": [1, 2, 3]}, timeout=30)
    more_seeds = client.sweep("wf-1", axes | {"3::seed": "random#4"}, timeout=30)
    check_each_once(api, 6 + 3 + 2)
    before = {(cell.params["3::cfg"], cell.params["3::seed"]) for cell in first.cells}
    for later in (more_values, more_seeds):
        assert before <= {(cell.params["3::cfg"], cell.params["3::seed"]) for cell in later.cells}
    each = client.sweep("wf-1", {"3::cfg": [1, 2], "3::seed": "each"}, timeout=30)
    assert len({cell.params["3::seed"] for cell in each.cells}) == 2
    client.sweep("wf-1", {"3::cfg": [2, 1], "3::seed": "each"}, timeout=30)
    check_each_once(api, 11 + 2)


def test_earlier_single_run_is_reused_for_a_cell(client, api):
    run = client.run("wf-1", {"3::cfg": 4.0, "3::sampler_name": "heun", "3::seed": 7}, timeout=30)
    sweep = client.sweep("wf-1", AXES, timeout=30)
    check_each_once(api, 12)
    assert run.number in {cell.run.number for cell in sweep.cells}


@pytest.mark.timeout(300)
def test_1000_cells_are_submitted_once_each(client, api):
    settings.window = 64
    sweep = client.sweep(
        "wf-1", {"3::cfg": list(range(1, 41)), "3::steps": list(range(1, 26))}, max_runs=1000, timeout=250
    )
    check_each_once(api, 1000)
    assert sweep.status_counts() == {"success": 1000}


# -- processes -----------------------------------------------------------------------------------------------------

SCRIPT = """
import json, sys, time
from comflowy_nb import connect
from comflowy_nb.settings import settings
url, axes, options = sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3])
with connect("test=" + url, key="the-key") as client:
    swept = client.sweep("wf-1", axes, timeout=60, **options)
    print(json.dumps(swept.status_counts()))
"""


def start(api, axes=AXES, **options):
    command = [sys.executable, "-c", SCRIPT, api.url, json.dumps(axes), json.dumps(options)]
    return subprocess.Popen(command, env={**os.environ}, stdout=subprocess.PIPE, text=True)


def accepted_runs(api):
    return [run for run in history.runs(limit=None) if run.record.service_run_id is not None]


def test_a_sweep_killed_in_progress_is_continued_by_the_next_kernel(api):
    """Accepted runs are adopted and the others submitted: the counts at the server are exact."""
    api.live_statuses = ["running"] * 100_000
    process = start(api, window=8)
    wait_until(lambda: len(accepted_runs(api)) == 8)  # no run ends, so no more are submitted
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    check_each_once(api, 8)
    api.live_statuses = []
    with connect(f"test={api.url}", key="the-key") as client:
        sweep = client.sweep("wf-1", AXES, timeout=60)
        assert sweep.status_counts() == {"success": 12}
        assert sweep.ref == "s1"
    check_each_once(api, 12)


def test_a_sweep_that_is_killed_repeatedly_submits_no_cell_twice(api):
    """After a kill at any time a submit in progress is held, and never repeated automatically."""
    api.live_statuses = ["running"]
    axes = {"3::cfg": list(range(1, 41))}
    for delay_s in (0.0, 0.02, 0.05, 0.1):
        process = start(api, axes)
        before = api.count(RUN)
        wait_until(lambda before=before, process=process: api.count(RUN) > before or process.poll() is not None)
        time.sleep(delay_s)  # the counts must be right for a kill at any time
        process.send_signal(signal.SIGKILL)
        process.wait(60)
    api.live_statuses = []
    with connect(f"test={api.url}", key="the-key") as client:
        sweep = client.sweep("wf-1", axes, timeout=60)
        counts = sweep.status_counts()
        assert set(counts) <= {"success", "unknown"}
        assert sum(counts.values()) == 40
        unknown = [cell for cell in sweep.cells if cell.status == "unknown"]
        assert len(submits_by_params(api)) >= 40 - len(unknown)
        check_each_once(api, len(submits_by_params(api)))
        again = client.sweep("wf-1", axes, retry="unknown", timeout=60)
        assert again.status_counts() == {"success": 40}
    assert len(submits_by_params(api)) == 40
    assert sum(submits_by_params(api).values()) <= 40 + len(unknown)


def test_two_kernels_that_run_a_sweep_at_the_same_time_submit_each_cell_once(api):
    api.live_statuses = ["running"] * 3
    axes = {"3::cfg": list(range(1, 61))}
    processes = [start(api, axes) for _ in range(2)]
    for process in processes:
        output, _ = process.communicate(timeout=90)
        assert json.loads(output) == {"success": 60}
    check_each_once(api, 60)


def test_two_kernels_that_generate_seeds_share_them(api):
    axes = {"3::cfg": list(range(1, 11)), "3::seed": "random#3"}
    processes = [start(api, axes) for _ in range(2)]
    for process in processes:
        output, _ = process.communicate(timeout=90)
        assert process.returncode == 0
        assert json.loads(output) == {"success": 30}
    check_each_once(api, 30)


def test_if_one_of_two_kernels_dies_the_other_completes_the_sweep(api):
    api.live_statuses = ["running"] * 100_000
    first, second = start(api), start(api)
    wait_until(lambda: len(accepted_runs(api)) == 12)
    first.send_signal(signal.SIGKILL)
    first.wait(60)
    api.live_statuses = []
    output, _ = second.communicate(timeout=90)
    assert json.loads(output) == {"success": 12}
    check_each_once(api, 12)


def test_a_fresh_sweep_that_was_killed_is_continued(api):
    with connect(f"test={api.url}", key="the-key") as client:
        client.sweep("wf-1", AXES, timeout=30)
    assert api.count(RUN) == 12
    api.live_statuses = ["running"] * 100_000
    process = start(api, fresh=True, window=8)
    wait_until(
        lambda: api.count(RUN) == 20 and len(accepted_runs(api)) == 20,
        message=lambda: f"{api.count(RUN)} submitted, {len(accepted_runs(api))} accepted, {process.poll()}",
    )
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    api.live_statuses = []
    with connect(f"test={api.url}", key="the-key") as client:
        continued = client.sweep("wf-1", AXES, fresh=True, timeout=60)
        assert continued.status_counts() == {"success": 12}
        assert continued.ref == "s2"
        assert sorted(submits_by_params(api).values()) == [2] * 12, (
            "a fresh sweep runs each cell once more, killed or not"
        )
        client.sweep("wf-1", AXES, fresh=True, timeout=60)
        assert sorted(submits_by_params(api).values()) == [3] * 12, "a sweep that has ended starts again"


def test_sweep_ends_although_a_run_ended_between_its_plan_and_its_start(client, api):
    """A sweep never settled: a run that was in progress in its plan had ended when the sweep was recorded.

    The record in the plan set the status of the run back to `running`, and no tracker tracked the run.
    """
    api.live_statuses = ["running"] * 100_000
    client.submit("wf-1", AXES | {"3::cfg": 2, "3::sampler_name": "euler"})
    wait_until(lambda: history.runs()[0].status == "running")

    def let_it_end(planned):
        assert planned.plan.running == 1
        api.live_statuses = []
        wait_until(lambda: history.runs()[0].status == "success" and not client.live())

    sweep = client.sweep("wf-1", AXES, on_plan=let_it_end, timeout=30)
    assert sweep.status_counts() == {"success": 12}
    check_each_once(api, 12)


# -- failures that stop a sweep ------------------------------------------------------------------------------------


def test_an_interrupt_keeps_the_grid_and_the_same_sweep_continues(client, api):
    api.live_statuses = ["running"] * 100_000
    sweep = client.sweep("wf-1", AXES, wait=False, window=8)
    wait_until(lambda: len(accepted_runs(api)) == 8 and sweep.status_counts()["not submitted"] == 4)
    sweep.cancel()
    assert sweep.status_counts()["not submitted"] == 4
    assert "4 cells not submitted" in sweep.stopped
    api.live_statuses = []
    sweep.wait(30)  # this service can't cancel, so the runs continue
    check_each_once(api, 8)
    again = client.sweep("wf-1", AXES, timeout=30)
    assert again.status_counts() == {"success": 12}
    check_each_once(api, 12)


def test_failing_cells_do_not_stop_the_others_and_are_submitted_again(client, api):
    bad = {"2": "heun is not what it was"}

    def take(request):
        number = str(api.count(RUN))
        return reply({"success": True, "data": {"run_id": f"{request.json['params']['3::cfg']}-{number}"}})

    def state(request):
        run_id = request.query["id"]
        problem = bad.get(run_id.split("-")[0])
        data = {"status": "failed", "error": problem} if problem else api.state(run_id)
        return reply({"success": True, "data": data})

    api.on(RUN, choose(take))
    api.on(CHECK, choose(state))
    sweep = client.sweep("wf-1", AXES, timeout=30, stop_after=0)
    assert sweep.status_counts() == {"success": 9, "failed": 3}
    assert set(sweep.errors.values()) == {bad["2"]}
    not_retried = client.sweep("wf-1", AXES, timeout=30, retry="none")
    assert not_retried.status_counts() == {"success": 9, "failed": 3}
    assert api.count(RUN) == 12
    bad.clear()
    assert client.sweep("wf-1", AXES, timeout=30).status_counts() == {"success": 12}
    assert api.count(RUN) == 15


def test_three_failures_before_any_success_stop_the_sweep_with_one_submit_each(client, api):
    settings.window = 1
    api.finished = {"status": "failed", "error": "no model"}
    sweep = client.sweep("wf-1", AXES, timeout=30)
    assert sweep.status_counts() == {"failed": 3, "not submitted": 9}
    assert "3 failures in a row" in sweep.stopped
    assert api.count(RUN) == 3


def test_three_unknown_runs_in_a_row_stop_the_sweep_and_stay_held(client, api):
    settings.window = 1
    api.on(RUN, close_after_reading())
    sweep = client.sweep("wf-1", AXES, timeout=30)
    assert sweep.status_counts() == {"unknown": 3, "not submitted": 9}
    assert api.count(RUN) == 3
    api.on(RUN, choose(lambda request: reply({"success": True, "data": {"run_id": f"x-{api.count(RUN)}"}})))
    again = client.sweep("wf-1", AXES, timeout=30)
    assert again.plan.held == 3
    assert again.status_counts() == {"success": 9, "unknown": 3}
    check_each_once(api, 12)
    last = client.sweep("wf-1", AXES, retry="unknown", timeout=30)
    assert last.status_counts() == {"success": 12}
    assert api.count(RUN) == 15


def test_rejected_key_stops_the_sweep_after_one_submit(client, api):
    settings.window = 1
    refused = reply({"success": False, "error": "key revoked"}, status=401)
    api.on("GET /api/open/v0/auth/token", refused)
    api.on(RUN, refused)
    sweep = client.sweep("wf-1", AXES, timeout=30)
    assert sweep.status_counts() == {"rejected": 1, "not submitted": 11}
    assert api.count(RUN) <= 2, "one request, and none after the token could not be renewed"
    assert "11 cells not submitted" in sweep.stopped


def test_too_many_runs_are_rejected_before_a_submit(client, api):
    with pytest.raises(SettingsError, match="max_runs= permits 5"):
        client.sweep("wf-1", AXES, max_runs=5)
    assert api.count(RUN) == 0
    assert history.runs() == []


@pytest.mark.parametrize(
    ("axes", "named"),
    [
        ({"3::cfg": []}, "cfg"),
        ([Setting("3::cfg", "8..2")], "8..2"),
        ([Setting("3::cfg", "1..5..0")], "1..5..0"),
        ([Setting("3::cfg", "0.5..2")], "0.5..2"),
        ({"3::cfg": [1, 2, 1]}, "cfg"),
        ({"3::cfg": {"low": 1, "LOW": 1}}, "cfg"),
        ({"cfg": [1, 2]}, "cfg"),
    ],
)
def test_nothing_is_submitted_after_an_error(client, api, axes, named):
    with pytest.raises(FieldError, match=named):
        client.sweep("wf-1", axes)
    assert api.count(RUN) == 0


# -- number of checks ----------------------------------------------------------------------------------------------


def test_many_live_runs_are_checked_only_near_their_expected_end(client, api):
    """Above eight live runs the usual time of the workflow decides when to check: 16 runs caused 32 checks a second."""
    settings.window = 16
    release = threading.Event()

    def state(request):
        done = release.is_set()
        return reply({"success": True, "data": api.state(request.query["id"]) if done else {"status": "running"}})

    api.on(CHECK, choose(state))
    sweep = client.sweep("wf-1", {"3::cfg": list(range(1, 17))}, wait=False)
    api.wait_for(RUN, 16)
    wait_until(lambda: len(accepted_runs(api)) == 16)
    api.reset_counts()
    time.sleep(2.5)
    checks = Counter(request.query["id"] for request in api.requests(CHECK))
    # The first runs of an unknown workflow are checked often, and the probe of the limit once, to find whether it runs.
    assert sum(count > 1 for count in checks.values()) <= 3, checks
    assert len(checks) <= 4, checks
    release.set()
    sweep.wait(30)


def test_with_webhooks_each_run_is_checked_about_once(api):
    """A run whose end was reported by an event was checked several more times, by the usual time of its workflow."""
    settings.webhooks = "on"
    settings.window = 16

    def call(url):
        body = json.dumps({"type": "success"}).encode()
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        with suppress(urllib.error.HTTPError):  # 404 if a check found the end first
            urllib.request.urlopen(request, timeout=60).close()

    ends = {}

    def accept(request):
        run_id = f"run-{api.count(RUN)}-{len(ends)}"
        url = request.json["callback_urls"]["on_result_url"]
        ends[run_id] = time.monotonic() + 0.3
        threading.Timer(0.3, call, (url,)).start()
        return reply({"success": True, "data": {"run_id": run_id}})

    def state(request):
        done = time.monotonic() >= ends[request.query["id"]]
        return reply({"success": True, "data": api.state(request.query["id"]) if done else {"status": "running"}})

    api.on(RUN, choose(accept))
    api.on(CHECK, choose(state))
    with connect(f"test={api.url}", key="the-key") as client:
        client.sweep("wf-1", {"3::cfg": list(range(1, 49))}, timeout=60)  # the client learns here that webhooks arrive
        before = api.count(CHECK)
        client.sweep("wf-1", {"3::cfg": list(range(101, 197))}, timeout=60)
        checks_per_run = (api.count(CHECK) - before) / 96
    check_each_once(api, 144)
    assert checks_per_run <= 1.6, (
        f"{checks_per_run:.2f} checks a run"
    )  # about one check a run; webhooks are late on a busy machine
