from __future__ import annotations

import pytest

from comflowy_nb.database.process_locks import ProcessLock


@pytest.fixture
def sweep(history, sweep_request, cells):
    return history.sweeps.enter(sweep_request(), cells(3)).token


def test_sender_is_known_until_it_ends(history, owner, sweep):
    assert history.senders.living(sweep) == set()
    history.senders.begin(sweep, owner.name)
    assert history.senders.living(sweep) == {owner.name}
    assert history.senders.living(sweep, but=owner.name) == set()
    history.senders.end(sweep, owner.name)
    assert history.senders.living(sweep) == set()


def test_dead_sender_does_not_count(history, owner, sweep, home):
    gone = ProcessLock(home / "locks")
    history.senders.begin(sweep, gone.name)
    history.senders.ask_stop(sweep)
    assert history.senders.living(sweep) == {gone.name}
    gone.release()
    assert history.senders.living(sweep) == set()
    history.senders.begin(sweep, owner.name)
    assert not history.senders.is_asked(sweep, gone.name), "its row is removed when the next one begins"


def test_a_request_to_stop_lasts_until_the_sender_starts_again(history, owner, sweep):
    history.senders.begin(sweep, owner.name)
    assert not history.senders.is_asked(sweep, owner.name)
    history.senders.ask_stop(sweep)
    assert history.senders.is_asked(sweep, owner.name)
    assert not history.senders.is_asked(sweep, "0" * 32)
    history.senders.begin(sweep, owner.name)
    assert not history.senders.is_asked(sweep, owner.name)


def test_a_requested_cancel_is_visible_to_other_processes(history, intent):
    token = history.record_or_reuse(intent()).record.token
    assert not history.is_cancel_asked(token)
    history.ask_cancel(token)
    assert history.is_cancel_asked(token)
    assert not history.is_cancel_asked("no such run")


def test_last_24_durations_are_kept_by_workflow_and_service(history):
    for n in range(30):
        history.durations.add("sandbox", "w", float(n))
    history.durations.add("cloud", "w", 99.0)
    assert history.durations.of("sandbox", "w") == [float(n) for n in range(6, 30)]
    assert history.durations.of("cloud", "w") == [99.0]
    assert history.durations.of("sandbox", "other") == []
