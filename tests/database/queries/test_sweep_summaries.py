"""Summaries of sweeps, the rows of runs, and the references that completion offers."""

from __future__ import annotations

import time

import pytest
from history_fixtures import advance_to

from comflowy_nb.status import Status, StatusEvent


@pytest.fixture
def entered(history, sweep_request, cells, run_request):
    """Return a function: `entered("sk", "name", [statuses])` records a sweep with a cell for each status or None."""

    def enter(key, name, statuses, **changes):
        record = history.sweeps.record_or_update(sweep_request(key, name=name, **changes), cells(len(statuses), key))
        for number, status in enumerate(statuses, 1):
            if status is not None:
                run = history.record_or_reuse(run_request(f"{key}{number}", cell=(record.token, number))).record
                advance_to(history, run.token, status)
        return history.sweeps.get(record.token)

    return enter


def test_cells_are_counted_by_status(history, entered, process_lock):
    record = entered("a", "looks", ["success", "success", "failed", "running", "waiting", "unknown", None, None])
    (found,) = history.sweeps.summaries([record.token])
    assert found.record == record
    assert (found.done, found.failed, found.live, found.missing) == (2, 1, 2, 2)
    assert found.counts[Status.UNKNOWN] == 1
    assert found.owners == {process_lock.name}
    assert found.seconds >= 0
    assert history.sweeps.summaries([]) == []


def test_a_sweep_that_submitted_no_run_has_no_duration(history, entered, cells, sweep_request):
    first = entered("a", None, ["success"])
    second = history.sweeps.record_or_update(sweep_request("other"), cells(1, "a"))
    history.sweeps.set_cells(second.token, history.sweeps.runs_of(first.token))
    assert [one.seconds is None for one in history.sweeps.summaries([first.token, second.token])] == [True, False]


def test_running_and_incomplete_sweeps_are_unfinished(history, entered):
    entered("a", "done", ["success", "failed", "cancelled", "lost"])
    entered("b", "running", ["success", "pending"])
    entered("c", "incomplete", ["success", None])
    found = history.sweeps.unfinished(since=0, limit=9)
    assert [one.record.name for one in found] == ["incomplete", "running"]
    assert [one.record.name for one in history.sweeps.unfinished(since=0, limit=1)] == ["incomplete"]
    assert history.sweeps.unfinished(since=time.time() + 1, limit=9) == []


def test_sweeps_are_found_by_words_of_name_axes_and_values(history, entered):
    spec = {"axes": [{"name": "sampler_name", "fields": ["3::sampler_name"], "values": [{"params": {"3::s": "heun"}}]}]}
    entered("a", "looks", ["success"], spec={**spec, "fixed": {"6::text": 'a "red" boat'}})
    entered("b", "other", ["success"], workflow="portrait")

    def found(text, **filters):
        return [one.record.number for one in history.sweeps.search(text, **filters)]

    assert found(None) == [2, 1]
    assert found(None, limit=1) == [2]
    assert found("HEUN looks") == found('"red" boat') == found("sampler") == found("s1") == [1]
    assert found("portrait") == [2]
    assert found("axes") == [], "not the words of the stored form"
    assert found(None, since=time.time() + 1) == []


def test_the_runs_of_a_sweep_are_one_row(history, entered, run_request):
    one = entered("a", "looks", ["success", "success"])
    history.record_or_reuse(run_request("single"))
    two = entered("b", "more", ["failed"])
    rows = history.search_rows()
    assert [(row.sweep, [run.number for run in row.runs]) for row in rows] == [
        (two.token, [4]),
        (None, [3]),
        (one.token, [2, 1]),
    ]
    assert [row.sweep for row in history.search_rows(limit=2)] == [two.token, None]
    assert [row.sweep for row in history.search_rows(status="success")] == [one.token]


def test_a_listed_sweep_has_its_runs_that_are_older_than_others(history, entered, run_request, sweep_request, cells):
    record = history.sweeps.record_or_update(sweep_request("a"), cells(2, "a"))
    history.record_or_reuse(run_request("a1", cell=(record.token, 1)))
    history.record_or_reuse(run_request("single"))
    history.record_or_reuse(run_request("a2", cell=(record.token, 2)))
    (row,) = history.search_rows(limit=1)
    assert [run.number for run in row.runs] == [3, 1]


def test_references_by_their_beginning(history, entered, run_request):
    record = entered("a", "looks", ["success"] * 12)
    run = history.record_or_reuse(run_request("one", name="loop")).record
    history.apply(run.token, StatusEvent.ACCEPTED, service_run_id="3fef-1")
    assert history.reference_words("loo") == ["loop", "looks"]
    assert history.reference_words("r1") == ["r13", "r12", "r11", "r10", "r1"]
    assert history.reference_words("s") == ["s1"]
    assert history.reference_words("3f") == ["3fef-1"]
    assert history.reference_words("rx") == []
    assert set(history.reference_words("")) == {"s1", *(f"r{n}" for n in range(1, 14)), "loop", "looks"}
    assert history.cell_words(record.token, "") == [str(n) for n in range(1, 13)]
    assert history.cell_words(record.token, "1") == ["1", "10", "11", "12"]
    assert history.cell_words("none", "") == []
