"""Words and wishes that come at the worst moment: while a thread is in the midst of something."""

from __future__ import annotations

import os
import signal

import pytest
from scripted_api import RUN, ScriptedSandbox
from waiting import wait_until

from comflowy_nb.scheduler import DeferredInterrupt
from comflowy_nb.services.base import Event, Progress
from comflowy_nb.services.comflowy.schema import read_outputs
from comflowy_nb.status import Status
from comflowy_nb.sweeps.planner import SweepPlanner
from comflowy_nb.tracking import polling
from comflowy_nb.tracking.submit import Submitter

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture
def tracker(client):
    return client._connection.tracker


@pytest.fixture
def cancelling():
    """A service that can cancel, where runs go on until they are cancelled."""
    with ScriptedSandbox() as api:
        ended = api.run_until_cancelled()
        with api.connect() as client:
            client.ended = ended
            yield client


def test_a_word_of_the_end_that_comes_while_it_is_asked_about_is_heeded(client, api, tracker, monkeypatch):
    """The answer on its way said `running`, and made the next question one of half a minute later."""
    monkeypatch.setattr(polling, "live_wait_s", lambda *_args, **_options: None)
    monkeypatch.setattr(polling, "IDLE_WAIT_S", 1000.0)
    monkeypatch.setattr(polling.PollSchedule, "first_due_s", lambda self: self.answered_s + 0.05)
    monkeypatch.setattr(polling.PollRule, "next_wait_s", lambda *_args, **_options: 1000.0)
    real, told = tracker.service.check, []

    def check(run_id):
        snapshot = real(run_id)
        if not told:
            told.extend(tracker._run_trackers)
            api.words = []
            tracker.hear(Event(told[0], status=Status.SUCCESS))
        return snapshot

    api.words = ["running"] * 100_000
    monkeypatch.setattr(tracker.service, "check", check)
    run = client.submit("wf-1", {}).run
    run.wait(60)
    assert run.status == "success"
    assert told == [run.token]


def test_what_is_heard_after_the_end_is_not_held(client, api, tracker):
    run = client.run("wf-1", {}, timeout=60)
    outputs, _ = read_outputs([f"{api.url}/late.png"], {})
    assert len(outputs) == 1
    tracker.downloads.receive_ahead(run, outputs)
    assert tracker.downloads._ahead._held == {}
    run.report(progress=Progress(node="9", preview=b"late"))
    assert run.progress.preview is None


def test_a_place_in_the_queue_that_was_read_before_it_began_wipes_nothing(cancelling):
    run = cancelling.submit("img2img", {"3::seed": 1}).run
    run.report(progress=Progress(ahead=2))
    run.report(progress=Progress(ahead=1))
    assert run.progress.ahead == 1
    run.report(progress=Progress(node="3", value=1, max=4))
    run.report(progress=Progress(ahead=0))
    assert (run.progress.value, run.progress.ahead) == (1, None)
    cancelling.cancel(run)


def test_a_fresh_sweep_whose_last_run_ends_while_it_is_attached_has_ended(client, api, monkeypatch):
    """It was taken up again by the next fresh one, which then sent nothing."""
    api.words = []
    real = Submitter.enter

    def enter(self, *args, **options):
        claim, run = real(self, *args, **options)
        wait_until(lambda: run.record.is_settled)
        return claim, run

    monkeypatch.setattr(Submitter, "enter", enter)
    first = client.sweep("wf-1", {"3::cfg": [1, 2]}, fresh=True, timeout=60)
    wait_until(lambda: not first.is_sending)
    second = client.sweep("wf-1", {"3::cfg": [1, 2]}, fresh=True, timeout=60)
    assert second.ref != first.ref
    assert api.count(RUN) == 4


def test_a_cell_on_its_way_is_cancelled_with_the_others(cancelling, monkeypatch):
    """A thread had taken it and not yet attached its run: it went on, and cost."""
    real, sweeps = Submitter.enter, []

    def enter(self, *args, **options):
        claim, run = real(self, *args, **options)
        wait_until(lambda: sweeps and run.status is Status.RUNNING)
        sweeps[0].cancel()
        return claim, run

    monkeypatch.setattr(Submitter, "enter", enter)
    sweeps.append(cancelling.sweep("img2img", {"3::seed": [1, 2, 3]}, wait=False, window=1))
    sweeps[0].wait(60)
    assert sweeps[0].status_counts() == {"cancelled": 1, "not sent": 2}
    assert len(cancelling.ended) == 1


def interrupted(real):
    """The same, with an interrupt just before it returns."""

    def enter(*args, **options):
        entered = real(*args, **options)
        os.kill(os.getpid(), signal.SIGINT)
        return entered

    return enter


def test_an_interrupt_while_a_run_is_sent_tells_of_the_run(cancelling, monkeypatch):
    monkeypatch.setattr(Submitter, "enter", interrupted(Submitter.enter))
    with pytest.raises(DeferredInterrupt) as caught:
        cancelling.submit("img2img", {"3::seed": 1})
    run = caught.value.result.run
    run.wait(60)
    assert run.status == "cancelled"
    assert cancelling.find("last").run is run


def test_an_interrupt_while_a_sweep_begins_tells_of_the_sweep(cancelling, monkeypatch):
    monkeypatch.setattr(SweepPlanner, "enter", interrupted(SweepPlanner.enter))
    with pytest.raises(DeferredInterrupt) as caught:
        cancelling.sweep("img2img", {"3::seed": [1, 2, 3]}, window=1)
    sweep = caught.value.result
    sweep.wait(60)
    assert set(sweep.status_counts()) <= {"cancelled", "not sent"}
    assert not cancelling.live()
