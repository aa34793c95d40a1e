"""Events, cancels and interrupts that arrive during another operation."""

from __future__ import annotations

import os
import signal
import time

import pytest
import requests
from faulty_server import choose, reply
from scripted_api import CHECK, RUN, ScriptedSandbox
from waiting import wait_until

from comflowy_nb.scheduler import DeferredInterrupt
from comflowy_nb.services.types import Progress
from comflowy_nb.settings import settings
from comflowy_nb.status import Status
from comflowy_nb.sweeps.planner import SweepPlanner
from comflowy_nb.tracking.submit import Submitter

pytestmark = pytest.mark.usefixtures("short_delays")


@pytest.fixture
def cancelling():
    """Return a client of a service whose runs continue until they are cancelled."""
    with ScriptedSandbox() as api:
        ended_runs = api.run_until_cancelled()
        with api.connect() as client:
            client.ended = ended_runs
            yield client


def test_an_end_that_is_reported_during_a_check_leads_to_another_check(client, api):
    """The response of the check in progress was `running`, and postponed the next check by half a minute."""
    settings.window = 12
    ended_runs, reported = set(), []

    def check(request):
        run_id = request.query["id"]
        if run_id == "run-12" and not reported:  # with many runs of unknown duration, the last ones are not polled
            reported.append(time.monotonic())
            ended_runs.add(run_id)
            requests.post(callbacks()["on_result_url"], json={"type": "success", "run_id": run_id}, timeout=60)
            return reply({"success": True, "data": {"status": "running"}})
        data = (
            {"status": "success", "output_images": [], "full_outputs": {}}
            if run_id in ended_runs
            else {"status": "running"}
        )
        return reply({"success": True, "data": data})

    def callbacks():
        return api.requests(RUN)[-1].json["callback_urls"]

    api.on(CHECK, choose(check))
    for number in range(11):
        client.submit("wf-1", {"3::cfg": number})
    wait_until(lambda: api.count(RUN) == 11)
    run = client.submit("wf-1", {"3::cfg": 11}).run
    wait_until(lambda: run.record.service_run_id == "run-12")
    # An end that is reported too early triggers the first check.
    requests.post(callbacks()["on_result_url"], json={"type": "success", "run_id": "run-12"}, timeout=60)
    run.wait(60)
    assert run.status == "success"
    assert time.monotonic() - reported[0] < 15, "a run that is not polled is checked every 30 s"


def test_a_preview_after_the_end_is_dropped(client):
    run = client.run("wf-1", {}, timeout=60)
    run.report(progress=Progress(node="9", preview=b"late"))
    assert run.progress.preview is None


def test_outdated_position_in_the_queue_is_ignored(cancelling):
    run = cancelling.submit("img2img", {"3::seed": 1}).run
    run.report(progress=Progress(ahead=2))
    run.report(progress=Progress(ahead=1))
    assert run.progress.ahead == 1
    run.report(progress=Progress(node="3", value=1, max=4))
    run.report(progress=Progress(ahead=0))
    assert (run.progress.value, run.progress.ahead) == (1, None)
    cancelling.cancel(run)


def test_a_fresh_sweep_whose_last_run_ends_while_it_is_attached_has_ended(client, api, monkeypatch):
    """The sweep stayed unfinished, so the next `--fresh` sweep continued it and submitted nothing."""
    api.live_statuses = []
    real_submit = Submitter.submit

    def submit(self, *args, **options):
        decision, run = real_submit(self, *args, **options)
        wait_until(lambda: run.record.is_settled)
        return decision, run

    monkeypatch.setattr(Submitter, "submit", submit)
    first = client.sweep("wf-1", {"3::cfg": [1, 2]}, fresh=True, timeout=60)
    wait_until(lambda: not first.is_submitting)
    second = client.sweep("wf-1", {"3::cfg": [1, 2]}, fresh=True, timeout=60)
    assert second.ref != first.ref
    assert api.count(RUN) == 4


def test_a_cell_that_is_being_submitted_is_cancelled_with_the_others(cancelling, monkeypatch):
    """The cancel missed a cell whose run was not attached yet: the run continued, and cost money."""
    real_submit, sweeps = Submitter.submit, []

    def submit(self, *args, **options):
        decision, run = real_submit(self, *args, **options)
        wait_until(lambda: sweeps and run.status is Status.RUNNING)
        sweeps[0].cancel()
        return decision, run

    monkeypatch.setattr(Submitter, "submit", submit)
    sweeps.append(cancelling.sweep("img2img", {"3::seed": [1, 2, 3]}, wait=False, window=1))
    sweeps[0].wait(60)
    assert sweeps[0].status_counts() == {"cancelled": 1, "not submitted": 2}
    assert len(cancelling.ended) == 1


def interrupted(real):
    """Return the same method, with an interrupt just before it returns."""

    def enter(*args, **options):
        entered = real(*args, **options)
        os.kill(os.getpid(), signal.SIGINT)
        return entered

    return enter


def test_an_interrupt_during_a_submit_cancels_the_run(cancelling, monkeypatch):
    monkeypatch.setattr(Submitter, "submit", interrupted(Submitter.submit))
    with pytest.raises(DeferredInterrupt) as caught:
        cancelling.submit("img2img", {"3::seed": 1})
    run = caught.value.result.run
    run.wait(60)
    assert run.status == "cancelled"
    assert cancelling.find("last").run is run


def test_an_interrupt_at_the_start_of_a_sweep_cancels_the_sweep(cancelling, monkeypatch):
    monkeypatch.setattr(SweepPlanner, "start", interrupted(SweepPlanner.start))
    with pytest.raises(DeferredInterrupt) as caught:
        cancelling.sweep("img2img", {"3::seed": [1, 2, 3]}, window=1)
    sweep = caught.value.result
    sweep.wait(60)
    assert set(sweep.status_counts()) <= {"cancelled", "not submitted"}
    assert not cancelling.live()
