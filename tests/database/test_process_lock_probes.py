"""Process locks are never probed within a write transaction."""

from __future__ import annotations

import threading
import time
import uuid

import pytest
from filelock import FileLock
from history_fixtures import newest

from comflowy_nb.database.runs import History

ACTS = {
    "record_or_reuse": lambda history, intent, sweep: history.record_or_reuse(intent("new")),
    "request of a dead one's key": lambda history, intent, sweep: history.record_or_reuse(intent("0")),
    "orphans": lambda history, intent, sweep: history.orphans(),
    "take over": lambda history, intent, sweep: history.adopt(newest(history).token, intent().owner),
    "begin to send": lambda history, intent, sweep: history.senders.begin(sweep, intent().owner),
    "living senders": lambda history, intent, sweep: history.senders.living(sweep),
    "plan": lambda history, intent, sweep: history.sweeps.peek(["0", "1"]),
}


@pytest.mark.parametrize("act", ACTS.values(), ids=ACTS)
def test_stopped_kernel_that_probes_locks_blocks_no_writer(home, history, intent, sweep_request, act):
    """One stopped kernel blocked every write of every kernel for seconds.

    Locks were probed within a write transaction, and only one process at a time can probe.
    """
    sweep = history.sweeps.enter(sweep_request(), []).token
    for number in range(2):
        dead = uuid.uuid4().hex
        history.record_or_reuse(intent(str(number), owner=dead))
        history.senders.begin(sweep, dead)
        (home / "locks" / f"{dead}.lock").touch()
    other, gaps_s = History.open(home), [0.0]
    with FileLock(home / "locks" / "probing.lock"):  # as the stopped kernel holds it
        began_s = written_s = time.monotonic()
        acting = threading.Thread(target=lambda: act(history, intent, sweep))
        acting.start()
        while acting.is_alive():
            other.durations.add("sandbox", "w", 1.0)
            gaps_s.append(time.monotonic() - written_s)
            written_s = time.monotonic()
        took_s = time.monotonic() - began_s
    other.close()
    assert took_s > 1, "no lock was probed"
    assert max(gaps_s) < took_s / 2
