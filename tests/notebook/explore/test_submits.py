"""Run missing and Retry failed: only these cells, after the plan, under the guards of a sweep."""

from __future__ import annotations

import threading

import pytest
from faulty_server import choose, close_after_reading, reply
from scripted_api import RUN
from waiting import wait_until

from comflowy_nb import connect, history
from comflowy_nb.library import open_library
from comflowy_nb.status import Status

pytestmark = pytest.mark.usefixtures("short_delays")

FAILED = {"status": "failed", "error": "no model"}


@pytest.fixture
def api(api):
    """Let every run succeed at the first check."""
    api.live_statuses = []
    return api


def values(count):
    return {"3::cfg": list(range(1, count + 1)), "3::seed": 7}


@pytest.fixture
def stopped(client, api):
    """Return a sweep of six cells that stopped after three failures: the last three were never submitted."""
    api.finished = FAILED
    sweep = client.sweep("wf-1", values(6), timeout=60, window=1)
    assert sweep.status_counts() == {"failed": 3, "not submitted": 3}
    api.finished = None
    return sweep


@pytest.fixture
def mixed(client, api):
    """Return a sweep with a success, an unknown cell and four that were never submitted."""

    def take(_):
        if api.count(RUN) in {2, 3, 4}:
            return close_after_reading()
        return reply({"success": True, "data": {"run_id": f"run-{api.count(RUN)}"}})

    api.on(RUN, choose(take))
    sweep = client.sweep("wf-1", values(6), timeout=60, window=1)
    assert sweep.status_counts() == {"success": 1, "unknown": 3, "not submitted": 2}
    return sweep


def counts(sweep):
    return {status: count for status, count in sweep.status_counts().items() if count}


def test_only_cells_that_were_never_submitted_are_run(opened, client, api, stopped):
    view = opened(stopped, client=lambda: client)
    view.ask(ask="document")
    plan, _ = view.ask(ask="plan", action="missing", items=None)
    assert plan["plan"].startswith("3 cells: 3 new")
    assert (plan["submits"], plan["problem"]) == (3, None)
    assert api.count(RUN) == 3, "the plan submits nothing"
    started, _ = view.ask(do="missing", items=None, submits=3)
    assert started == {"started": "3 runs are submitted"}
    stopped.wait(60)
    assert counts(stopped) == {"success": 3, "failed": 3}
    assert api.count(RUN) == 6
    succeeded = [cell.ref for cell in stopped.cells if cell.status is Status.SUCCESS]
    wait_until(lambda: all((view.newest(ref) or {}).get("status") == "success" for ref in succeeded))
    reply_to_again, _ = view.ask(ask="plan", action="missing", items=None)
    assert reply_to_again["plan"] == "every cell was submitted"


def test_only_failed_cells_are_run_again(opened, client, api, stopped):
    view = opened(stopped, client=lambda: client)
    plan, _ = view.ask(ask="plan", action="retry", items=None)
    assert "3 failed (tried again)" in plan["plan"]
    assert plan["submits"] == 3
    view.ask(do="retry", items=None, submits=3)
    stopped.wait(60)
    assert counts(stopped) == {"success": 3, "not submitted": 3}
    assert api.count(RUN) == 6


def test_a_single_cell_is_run(opened, client, api, stopped):
    view = opened(stopped, client=lambda: client)
    missing = [entry.number for entry in view.explorer.exploration.entries if entry.is_missing]
    view.ask(do="missing", items=missing[:1], submits=1)
    stopped.wait(60)
    assert counts(stopped) == {"success": 1, "failed": 3, "not submitted": 2}


def test_held_cells_are_named_and_never_submitted(opened, client, api, mixed):
    view = opened(mixed, client=lambda: client)
    held = [cell.ref for cell in mixed.cells if cell.status is Status.UNKNOWN]
    plan, _ = view.ask(ask="plan", action="missing", items=None)
    assert plan["submits"] == 2
    assert f"3 cells without a known result, not submitted again: {', '.join(held)}" in plan["plan"]
    retry, _ = view.ask(ask="plan", action="retry", items=None)
    assert (retry["submits"], retry["plan"].splitlines()[0]) == (0, "no cell has failed")
    view.ask(do="retry", items=[cell.number - 1 for cell in mixed.cells], submits=9)
    view.ask(do="missing", items=[cell.number - 1 for cell in mixed.cells], submits=9)
    mixed.wait(60)
    assert counts(mixed) == {"success": 3, "unknown": 3}
    assert api.count(RUN) == 6


def test_more_runs_than_were_confirmed_are_not_submitted(opened, client, api, stopped):
    view = opened(stopped, client=lambda: client)
    answer, _ = view.ask(do="missing", items=None, submits=2)
    assert answer["problem"] == "the plan has changed from 2 to 3 submits; nothing was submitted"
    assert api.count(RUN) == 3


def test_the_guard_of_a_sweep_applies_and_max_runs_permits(opened, client, api, stopped):
    view = opened(stopped, client=lambda: client, max_runs=2)
    plan, _ = view.ask(ask="plan", action="missing", items=None)
    assert "3 runs to submit, and --max-runs permits 2" in plan["problem"]
    answer, _ = view.ask(do="missing", items=None, submits=3)
    assert "--max-runs permits 2" in answer["problem"]
    assert api.count(RUN) == 3
    permitted = opened(stopped, client=lambda: client, max_runs=3)
    assert permitted.ask(ask="plan", action="missing", items=None)[0]["problem"] is None


def test_the_guard_counts_the_cells_of_all_sweeps_together(opened, client, api):
    """Each of two sweeps has fewer new cells than a free service permits, together they have more."""
    api.finished = FAILED
    sweeps = [
        client.sweep("wf-1", {"3::cfg": list(range(260)), "3::seed": seed}, timeout=60, window=1) for seed in (1, 2)
    ]
    view = opened(*sweeps, client=lambda: client)
    plan, _ = view.ask(ask="plan", action="missing", items=None)
    assert plan["submits"] == 514
    assert "--max-runs 514 permits them" in plan["problem"]


def test_a_sweep_that_is_being_submitted_is_not_submitted_twice(opened, client, api):
    may_go_on = threading.Event()

    def take(_):
        may_go_on.wait(60)
        return reply({"success": True, "data": {"run_id": f"run-{api.count(RUN)}"}})

    api.on(RUN, choose(take))
    sweep = client.sweep("wf-1", values(6), wait=False, window=1)
    view = opened(sweep, client=lambda: client)
    plan, _ = view.ask(ask="plan", action="missing", items=None)
    assert plan["submits"] == 0, "no cell is missing while the others are submitted"
    may_go_on.set()
    sweep.wait(60)
    assert api.count(RUN) == 6


def test_a_later_kernel_runs_the_missing_cells_of_the_history(opened, api, client, stopped):
    """The explorer is opened without a connection; the user connects later."""
    client.close()
    library = open_library()
    sweep = library.sweep(history.find("s1").sweep)
    clients = []

    def present():
        return clients[0]

    view = opened(sweep, client=present)
    with connect(f"test={api.url}", key="the-key") as later:
        clients.append(later)
        view.ask(do="missing", items=None, submits=3)
        sweep.wait(60)
        assert counts(sweep) == {"success": 3, "failed": 3}
        assert counts(library.sweep(history.find("s1").sweep)) == {"success": 3, "failed": 3}


def test_a_sweep_of_another_service_is_not_submitted_to_this_service(opened, api, stopped):
    with connect(f"other={api.url}", key="the-key") as other:
        view = opened(stopped, client=lambda: other)
        plan, _ = view.ask(ask="plan", action="missing", items=None)
    assert plan["problem"] == "s1 was submitted to test, not to other; connect to it first"
    assert api.count(RUN) == 3


def test_a_fresh_sweep_is_continued_with_fresh_runs(opened, client, api):
    """A success from before the fresh sweep is not reused for its missing cells."""
    client.sweep("wf-1", values(6), timeout=60)
    api.finished = FAILED
    fresh = client.sweep("wf-1", values(6), timeout=60, window=1, fresh=True)
    assert counts(fresh) == {"failed": 3, "not submitted": 3}
    api.finished = None
    view = opened(fresh, client=lambda: client)
    assert view.ask(ask="plan", action="missing", items=None)[0]["submits"] == 3
    view.ask(do="missing", items=None, submits=3)
    fresh.wait(60)
    assert counts(fresh) == {"success": 3, "failed": 3}
    assert api.count(RUN) == 6 + 3 + 3


def test_runs_that_are_not_cells_are_not_submitted(opened, client, api, stopped):
    run = stopped.cells[0].run if stopped.cells[0].run is not None else stopped.cells[-1].run
    view = opened(run, client=lambda: client)
    plan, _ = view.ask(ask="plan", action="retry", items=None)
    assert plan["submits"] == 0
