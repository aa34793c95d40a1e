"""A sweep stops automatically after failures. Only runs that it submitted count, each once."""

from __future__ import annotations

import threading

import pytest
from faulty_server import choose, close_after_reading, reply
from scripted_api import CHECK, RUN, png
from waiting import wait_until

pytestmark = pytest.mark.usefixtures("short_delays")

FAILED = {"status": "failed", "error": "no model"}


@pytest.fixture
def api(api):
    """Let every run succeed at the first check."""
    api.live_statuses = []
    return api


def cells(*values):
    return {"3::cfg": list(values), "3::seed": 7}


def test_earlier_successes_do_not_disable_stop_after(client, api):
    """An extended sweep of a broken workflow submitted every cell, because an older success counted as a new one."""
    client.sweep("wf-1", cells(1, 2, 3), timeout=60)
    api.finished = FAILED
    extended = client.sweep("wf-1", cells(*range(1, 12)), timeout=60, window=1)
    assert extended.status_counts() == {"success": 3, "failed": 3, "not submitted": 5}
    assert "3 failures in a row" in extended.stopped
    assert api.count(RUN) == 3 + 3


def test_success_of_a_joined_run_does_not_disable_stop_after(client, api):
    """A success of a run that another client submitted and this sweep joined was counted as a success of the sweep."""
    joined_may_end = threading.Event()

    def state(request):
        if request.query["id"] != "run-1":
            wait_until(lambda: sweep.cells[0].status == "success")
            return reply({"success": True, "data": FAILED})
        done = joined_may_end.is_set()
        return reply({"success": True, "data": api.state("run-1") if done else {"status": "running"}})

    api.on(CHECK, choose(state))
    run = client.submit("wf-1", {"3::cfg": 1, "3::seed": 7}).run
    wait_until(lambda: run.status == "running")
    sweep = client.sweep("wf-1", cells(*range(1, 12)), wait=False, window=2)
    assert sweep.cells[0].run is run
    joined_may_end.set()
    sweep.wait(60)
    counts = sweep.status_counts()
    assert counts["success"] == 1
    assert counts["failed"] in {3, 4}, "two were in flight"
    assert "3 failures in a row" in sweep.stopped


def test_failures_of_earlier_runs_are_not_counted(client, api):
    """Three cells that failed last week, and are not submitted again, do not stop the sweep."""
    api.finished = FAILED
    client.sweep("wf-1", cells(1, 2, 3), timeout=60, stop_after=0)
    api.finished = None
    extended = client.sweep("wf-1", cells(*range(1, 8)), timeout=60, retry="none")
    assert extended.status_counts() == {"success": 4, "failed": 3}
    assert extended.stopped is None


def test_images_that_arrive_between_lost_responses_do_not_reset_the_count(client, api):
    """A sweep continued after three lost responses in a row, because images of an earlier success reset the count."""
    api.outputs = {"9": [f"/images/{number}" for number in range(8)]}
    released = [threading.Event() for _ in range(8)]

    def image(request):
        released[int(request.path.rsplit("/", 1)[1])].wait(60)
        return reply(png(), headers={"Content-Type": "image/png"})

    def take(_):
        number = api.count(RUN)
        if number == 1:
            return reply({"success": True, "data": {"run_id": "run-1"}})
        released[number - 2].set()
        first = next(cell.run for cell in sweeps[0].cells if cell.status == "success")
        wait_until(lambda: first.images[number - 2].record.state == "kept")
        return close_after_reading()

    api.on("GET /images/*", choose(image))
    api.on(RUN, choose(take))
    sweeps = []
    sweep = client.sweep("wf-1", cells(*range(1, 9)), wait=False, window=1, stop_after=0, on_plan=sweeps.append)
    wait_until(lambda: not sweep.is_submitting)
    for event in released:
        event.set()
    sweep.wait(60)
    assert sweep.status_counts() == {"success": 1, "unknown": 3, "not submitted": 4}
    assert "3 lost responses in a row" in sweep.stopped
    assert api.count(RUN) == 4
