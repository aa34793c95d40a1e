"""Process locks are never probed within a write transaction."""

from __future__ import annotations

import threading
import time
import uuid

import pytest
from filelock import FileLock
from history_fixtures import newest

from comflowy_nb.database.runs import History

OPERATIONS = {
    "record_or_reuse": lambda history, run_request, sweep: history.record_or_reuse(run_request("new")),
    "request with the key of a dead process's run": lambda history, run_request, sweep: history.record_or_reuse(
        run_request("0")
    ),
    "orphans": lambda history, run_request, sweep: history.orphans(),
    "adopt": lambda history, run_request, sweep: history.adopt(newest(history).token, run_request().owner),
    "begin to submit a sweep": lambda history, run_request, sweep: history.senders.begin(sweep, run_request().owner),
    "processes that submit a sweep": lambda history, run_request, sweep: history.senders.live_owners(sweep),
    "plan": lambda history, run_request, sweep: history.sweeps.peek(["0", "1"]),
}


@pytest.mark.slow
@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
def test_stopped_kernel_that_probes_locks_does_not_block_writers_of_other_kernels(
    home, history, run_request, sweep_request, operation
):
    """One stopped kernel blocked every write of every kernel for seconds.

    Locks were probed within a write transaction, and only one process at a time can probe.
    """
    sweep = history.sweeps.record_or_update(sweep_request(), []).token
    for number in range(2):
        dead = uuid.uuid4().hex
        history.record_or_reuse(run_request(str(number), owner=dead))
        history.senders.begin(sweep, dead)
        (home / "locks" / f"{dead}.lock").touch()
    other, gaps_s = History.open(home), [0.0]
    with FileLock(home / "locks" / "probing.lock"):  # held, as by the stopped kernel
        began_s = written_s = time.monotonic()
        thread = threading.Thread(target=lambda: operation(history, run_request, sweep))
        thread.start()
        while thread.is_alive():
            other.seeds.store_missing({"a": 7})
            gaps_s.append(time.monotonic() - written_s)
            written_s = time.monotonic()
            thread.join(0.01)  # a hundred writes a second are enough, and all others would only use the processor
        took_s = time.monotonic() - began_s
    other.close()
    assert took_s > 1, "no lock was probed"
    assert max(gaps_s) < took_s / 2
