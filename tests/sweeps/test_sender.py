"""A sweep that one process submits is shown and stopped by another; submits are counted at a scripted server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from faulty_server import choose, reply
from scripted_api import BASE, CHECK, RUN, ScriptedSandbox
from waiting import wait_until

from comflowy_nb import connect, history
from comflowy_nb.library import open_library
from comflowy_nb.sweeps.headings import cell_state_of

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("short_delays")]

SCRIPT = """
import sys
from comflowy_nb import connect
with connect("test=" + sys.argv[1], key="the-key") as client:
    swept = client.sweep("wf-1", {"3::cfg": list(range(1, 41))}, wait=False, name="night", window=4)
    swept.wait(60)
    print(swept.status_counts(), swept.stopped)
"""


@pytest.fixture
def sender():
    processes = []

    def start(api):
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, api.url], env={**os.environ}, stdout=subprocess.PIPE, text=True
        )
        processes.append(process)
        wait_until(lambda: api.count(RUN) >= 4 or process.poll() is not None)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def gate(api):
    """Keep runs in progress until the gate is opened."""
    state = {"open": False}

    def check(request):
        done = api.state(request.query["id"]) if state["open"] else {"status": "running"}
        return reply({"success": True, "data": done})

    api.on(CHECK, choose(check))
    return lambda: state.update(open=True)


def test_cells_that_another_kernel_submits_are_tracked_and_shown(api, sender):
    """The cells were `not submitted`, and the sweep seemed to have ended, while another kernel was submitting it."""
    open_gate = gate(api)
    process = sender(api)
    with connect(f"test={api.url}", key="the-key") as client:
        sweep = client.connection.reopen(history.find("night").sweep)
        assert not sweep.is_submitted_here
        assert sweep.is_submitting
        assert not sweep.is_settled
        assert sweep.status_counts()["not submitted"] == 36
        open_gate()
        assert sweep.wait(60).status_counts() == {"success": 40}
    process.wait(30)
    assert api.count(RUN) == 40


def test_without_a_connection_the_sweep_is_not_tracked(api, sender):
    open_gate = gate(api)
    process = sender(api)
    sweep = open_library().sweep(history.find("night").sweep)
    assert sweep.is_submitted_elsewhere
    assert [cell_state_of(cell).text for cell in sweep.cells].count("waiting") >= 36
    open_gate()
    process.wait(60)
    assert not open_library().sweep(history.find("night").sweep).is_submitted_elsewhere


def test_a_sweep_is_stopped_from_another_kernel(api, sender):
    """`cancel s1` did not stop the kernel that submitted the sweep from submitting the other cells."""
    open_gate = gate(api)
    process = sender(api)
    with connect(f"test={api.url}", key="the-key") as client:
        sweep = client.connection.reopen(history.find("night").sweep)
        sweep.cancel()
        wait_until(lambda: not sweep.is_submitting)
        submits = api.count(RUN)
        open_gate()
        sweep.wait(30)
        counts = sweep.status_counts()
    output, _ = process.communicate(timeout=30)
    assert "cancelled from another kernel; 36 cells not submitted" in output
    assert api.count(RUN) == submits == 4
    assert counts == {"success": 4, "not submitted": 36}, "this service can't cancel: what ran went on"


def test_sweep_of_a_dead_kernel_is_not_waited_for(api, sender):
    open_gate = gate(api)
    process = sender(api)
    with connect(f"test={api.url}", key="the-key") as client:
        sweep = client.connection.reopen(history.find("night").sweep)
        # their acceptance is in the history
        wait_until(lambda: sum(run.record.service_run_id is not None for run in history.runs()) == 4)
        process.send_signal(signal.SIGKILL)
        process.wait(60)
        wait_until(lambda: not sweep.is_submitting)
        open_gate()
        sweep.wait(30)  # accepted runs are adopted
        assert sweep.status_counts() == {"success": 4, "not submitted": 36}
        again = client.sweep("wf-1", {"3::cfg": list(range(1, 41))}, timeout=60)
        assert again.ref == sweep.ref
        assert again.status_counts() == {"success": 40}
    assert api.count(RUN) == 40


def test_run_cancelled_by_another_client_has_the_status_cancelled():
    """The run ended as `failed: cancelled` in the other client: the confirmed cancel was not shared."""
    with ScriptedSandbox() as api:
        api.run_until_cancelled()
        with api.connect() as follower, api.connect() as other:
            run = follower.submit("img2img", {"3::seed": 1}).run
            wait_until(lambda: run.status == "running")
            run_of_other_client = other.find(run.ref).run
            assert run_of_other_client is not run
            other.cancel(run_of_other_client)
            run.wait(60)
            run_of_other_client.wait(60)
            assert [run.status, run_of_other_client.status] == ["cancelled", "cancelled"]


def test_run_that_fails_without_a_cancel_is_not_cancelled():
    with ScriptedSandbox() as api:
        api.on(f"POST {BASE}/cancel", reply({"success": False, "error": "it has ended"}, status=409))
        api.finished = {"status": "failed", "error": "cancelled"}
        with api.connect() as client:
            run = client.submit("img2img", {"3::seed": 1}).run
            client.library.history.request_cancel(run.token)
            run.wait(60)
            assert run.status == "failed"
