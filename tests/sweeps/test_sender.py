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
from comflowy_nb.sweeps.captions import cell_state_of

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick")]

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

    def check(seen):
        done = api.state(seen.query["id"]) if state["open"] else {"status": "running"}
        return reply({"success": True, "data": done})

    api.on(CHECK, choose(check))
    return lambda: state.update(open=True)


def test_cells_that_another_kernel_submits_are_waited_for_and_filled_in(api, sender):
    """The cells were `not submitted`, and the sweep seemed to have ended, while another kernel was submitting it."""
    open_gate = gate(api)
    process = sender(api)
    with connect(f"test={api.url}", key="the-key") as client:
        seen = client.connection.reopen(history.find("night").sweep)
        assert not seen.is_sent_here
        assert seen.is_sending
        assert not seen.is_settled
        assert seen.status_counts()["not submitted"] == 36
        open_gate()
        assert seen.wait(60).status_counts() == {"success": 40}
    process.wait(30)
    assert api.count(RUN) == 40


def test_without_a_connection_the_sweep_is_not_followed(api, sender):
    open_gate = gate(api)
    process = sender(api)
    seen = open_library().sweep(history.find("night").sweep)
    assert seen.is_sent_elsewhere
    assert [cell_state_of(cell).text for cell in seen.cells].count("waiting") >= 36
    open_gate()
    process.wait(60)
    assert not open_library().sweep(history.find("night").sweep).is_sent_elsewhere


def test_a_sweep_is_stopped_from_another_kernel(api, sender):
    """`cancel s1` did not stop the kernel that submitted the sweep from submitting the other cells."""
    open_gate = gate(api)
    process = sender(api)
    with connect(f"test={api.url}", key="the-key") as client:
        seen = client.connection.reopen(history.find("night").sweep)
        seen.cancel()
        wait_until(lambda: not seen.is_sending)
        sent = api.count(RUN)
        open_gate()
        seen.wait(30)
        counts = seen.status_counts()
    said, _ = process.communicate(timeout=30)
    assert "cancelled from another kernel; 36 cells not submitted" in said
    assert api.count(RUN) == sent == 4
    assert counts == {"success": 4, "not submitted": 36}, "this service can't cancel: what ran went on"


def test_a_dead_sender_is_not_waited_for(api, sender):
    open_gate = gate(api)
    process = sender(api)
    with connect(f"test={api.url}", key="the-key") as client:
        seen = client.connection.reopen(history.find("night").sweep)
        # their acceptance is in the history
        wait_until(lambda: sum(run.record.service_run_id is not None for run in history.runs()) == 4)
        process.send_signal(signal.SIGKILL)
        process.wait(60)
        wait_until(lambda: not seen.is_sending)
        open_gate()
        seen.wait(30)  # accepted runs are adopted
        assert seen.status_counts() == {"success": 4, "not submitted": 36}
        again = client.sweep("wf-1", {"3::cfg": list(range(1, 41))}, timeout=60)
        assert again.ref == seen.ref
        assert again.status_counts() == {"success": 40}
    assert api.count(RUN) == 40


def test_a_run_cancelled_by_another_client_is_cancelled_here_too():
    """The run ended as `failed: cancelled` in the other client: the confirmed cancel was not shared."""
    with ScriptedSandbox() as api:
        api.run_until_cancelled()
        with api.connect() as follower, api.connect() as other:
            run = follower.submit("img2img", {"3::seed": 1}).run
            wait_until(lambda: run.status == "running")
            stranger = other.find(run.ref).run
            assert stranger is not run
            other.cancel(stranger)
            run.wait(60)
            stranger.wait(60)
            assert [run.status, stranger.status] == ["cancelled", "cancelled"]


def test_a_run_that_fails_by_itself_is_not_cancelled():
    with ScriptedSandbox() as api:
        api.on(f"POST {BASE}/cancel", reply({"success": False, "error": "it has ended"}, status=409))
        api.finished = {"status": "failed", "error": "cancelled"}
        with api.connect() as client:
            run = client.submit("img2img", {"3::seed": 1}).run
            client.library.history.ask_cancel(run.token)
            run.wait(60)
            assert run.status == "failed"
