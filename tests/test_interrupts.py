"""An interrupt of a blocking call in Python cancels as a magic does, and shows how to continue."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import threading

import pytest
from scripted_api import RUN, ScriptedSandbox
from waiting import wait_until

from comflowy_nb import connect
from comflowy_nb.scheduler import DeferredInterrupt
from comflowy_nb.status import Status
from comflowy_nb.tracking.run import Run

pytestmark = pytest.mark.usefixtures("short_delays")


@pytest.fixture
def server():
    with ScriptedSandbox() as api:
        api.ended = api.run_until_cancelled()
        yield api


@pytest.fixture
def cancelling(server):
    """Return a client of a service whose runs continue until they are cancelled."""
    with server.connect() as client:
        yield client


@contextlib.contextmanager
def interrupting(condition):
    """Send SIGINT to this process once the condition holds."""
    over = threading.Event()

    def interrupt():
        wait_until(lambda: over.is_set() or condition(), timeout_s=60)
        if not over.is_set():
            os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def are_running(client, count):
    return lambda: [run.status for run in client.live()] == [Status.RUNNING] * count


def test_an_interrupt_of_a_blocking_run_cancels_it(cancelling, server):
    """The run continued, and could cost money, without a message."""
    with pytest.raises(KeyboardInterrupt) as caught, interrupting(are_running(cancelling, 1)):
        cancelling.run("img2img", {"3::seed": 1})
    assert str(caught.value) == "r1: cancelled; the same call runs it again"
    assert cancelling.find("r1").run.status is Status.CANCELLED
    assert len(server.ended) == 1


def test_an_interrupt_of_a_blocking_sweep_cancels_its_runs(cancelling, server):
    with pytest.raises(KeyboardInterrupt) as caught, interrupting(are_running(cancelling, 2)):
        cancelling.sweep("img2img", {"3::seed": [1, 2, 3, 4]}, window=2)
    assert str(caught.value) == "s1: 0 of 4 cells done; the same call continues it"
    assert len(server.ended) == 2
    assert cancelling.live() == []


@pytest.mark.parametrize("call", ["run", "sweep"])
def test_an_interrupt_where_the_service_can_not_cancel_names_what_continues(client, api, call):
    api.live_statuses = ["running"] * 100_000
    is_running = are_running(client, 1)
    if call == "run":
        with pytest.raises(KeyboardInterrupt) as caught, interrupting(is_running):
            client.run("wf-1", {"3::cfg": 7})
        assert str(caught.value) == "test can't cancel: r1 continues; client.find('r1').run.wait() waits for it"
    else:
        with pytest.raises(KeyboardInterrupt) as caught, interrupting(is_running):
            client.sweep("wf-1", {"3::cfg": [7, 8, 9]}, window=1)
        text = "s1: 0 of 3 cells done; test can't cancel: r1 continues; the same call continues it"
        assert str(caught.value) == text
    api.live_statuses = []
    assert client.find("r1").run.wait(60).status is Status.SUCCESS
    assert api.count(RUN) == 1


def test_an_interrupt_does_not_cancel_a_run_of_another_process(client, api, monkeypatch):
    api.live_statuses = ["running"] * 100_000
    client.submit("wf-1", {"3::cfg": 7})
    waits, wait = threading.Event(), Run.wait

    def note_wait(run, *args):
        waits.set()
        return wait(run, *args)

    monkeypatch.setattr(Run, "wait", note_wait)
    with connect(f"test={api.url}", key="the-key") as other:
        other.service.can_cancel = True
        with pytest.raises(KeyboardInterrupt) as caught, interrupting(waits.is_set):
            other.run("wf-1", {"3::cfg": 7})
        assert re.match(r"r1 continues in another process; client\.find\('r1'\)", str(caught.value))
    api.live_statuses = []
    assert client.find("r1").run.wait(60).status is Status.SUCCESS


def test_an_interrupt_during_the_submit_waits_for_the_cancel(cancelling, server, monkeypatch):
    from comflowy_nb.tracking.submit import Submitter

    real = Submitter.submit

    def submit(*args, **options):
        submitted = real(*args, **options)
        os.kill(os.getpid(), signal.SIGINT)
        return submitted

    monkeypatch.setattr(Submitter, "submit", submit)
    with pytest.raises(DeferredInterrupt, match="r1: cancelled; the same call runs it again"):
        cancelling.run("img2img", {"3::seed": 1})
    assert cancelling.find("r1").run.status is Status.CANCELLED


def test_an_interrupted_wait_cancels_nothing_and_names_the_cancel_command(cancelling, server):
    run = cancelling.submit("img2img", {"3::seed": 1}).run
    with pytest.raises(KeyboardInterrupt) as caught, interrupting(are_running(cancelling, 1)):
        run.wait()
    assert str(caught.value) == "stopped waiting; r1 continues: %comflowy cancel r1 cancels it"
    assert run.status is Status.RUNNING
    assert not server.ended
    cancelling.cancel(run)
    run.wait(60)
