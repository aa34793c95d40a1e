from __future__ import annotations

import pytest

from comflowy_nb.database.process_locks import ProcessLock
from comflowy_nb.status import StatusEvent


@pytest.fixture
def sweep(history, sweep_request, cells):
    return history.sweeps.record_or_update(sweep_request(), cells(3)).token


def test_process_that_submits_a_sweep_is_known_until_it_ends(history, process_lock, sweep):
    assert history.senders.live_owners(sweep) == set()
    history.senders.begin(sweep, process_lock.name)
    assert history.senders.live_owners(sweep) == {process_lock.name}
    assert history.senders.live_owners(sweep, except_for=process_lock.name) == set()
    history.senders.end(sweep, process_lock.name)
    assert history.senders.live_owners(sweep) == set()


def test_dead_process_does_not_count_as_submitting_the_sweep(history, process_lock, sweep, home):
    dead_process = ProcessLock(home / "locks")
    history.senders.begin(sweep, dead_process.name)
    history.senders.request_stop(sweep)
    assert history.senders.live_owners(sweep) == {dead_process.name}
    dead_process.release()
    assert history.senders.live_owners(sweep) == set()
    history.senders.begin(sweep, process_lock.name)
    assert not history.senders.is_stop_requested(sweep, dead_process.name), (
        "its row is removed when the next one begins"
    )


def test_a_stop_request_is_kept_until_the_process_submits_the_sweep_again(history, process_lock, sweep):
    history.senders.begin(sweep, process_lock.name)
    assert not history.senders.is_stop_requested(sweep, process_lock.name)
    history.senders.request_stop(sweep)
    assert history.senders.is_stop_requested(sweep, process_lock.name)
    assert not history.senders.is_stop_requested(sweep, "0" * 32)
    history.senders.begin(sweep, process_lock.name)
    assert not history.senders.is_stop_requested(sweep, process_lock.name)


def test_a_requested_cancel_is_visible_to_other_processes(history, run_request):
    token = history.record_or_reuse(run_request()).record.token
    assert not history.is_cancel_requested(token)
    history.request_cancel(token)
    assert history.is_cancel_requested(token)
    assert not history.is_cancel_requested("no such run")


def test_last_24_durations_are_kept_by_workflow_and_service(history, run_request):
    def end(seconds, **request):
        token = history.record_or_reuse(run_request(**request)).record.token
        assert history.apply(token, StatusEvent.SEEN_SUCCESS, sample_s=seconds)

    for n in range(30):
        end(float(n), key=f"sandbox {n}", identity="sandbox", workflow_id="w")
    end(99.0, key="cloud", identity="cloud", workflow_id="w")
    assert history.durations.last_samples("sandbox", "w") == [float(n) for n in range(6, 30)]
    assert history.durations.last_samples("cloud", "w") == [99.0]
    assert history.durations.last_samples("sandbox", "other") == []
