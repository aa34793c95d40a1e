"""The concurrency limit: with a simulated service, and in a sweep."""

import heapq
import time
from collections import Counter

import pytest
from scripted_api import CHECK, RUN
from waiting import wait_until

from comflowy_nb.tracking.concurrency import MAX_LIMIT, ConcurrencyLimit


def drive(limit, *, slots, takes_s, count):
    """Run `count` runs on a server that executes `slots` at once, in order. Return how long it took, in seconds."""
    now_s, submitted, ends = 0.0, 0, []
    free_at_s = [0.0] * slots
    heapq.heapify(free_at_s)
    done = 0
    while done < count:
        while submitted < count and submitted - done < limit.size:
            limit.note_submit(now_s)
            end_s = max(now_s, heapq.heappop(free_at_s)) + takes_s
            heapq.heappush(free_at_s, end_s)
            heapq.heappush(ends, end_s)
            submitted += 1
        now_s = heapq.heappop(ends)
        done += 1
        limit.note_end(now_s)
    return now_s


@pytest.mark.parametrize("slots", [8, 16, 32, 64])
def test_limit_grows_to_two_to_four_times_the_slots_and_stops(slots):
    limit = ConcurrencyLimit(8)
    drive(limit, slots=slots, takes_s=0.2, count=1500)
    assert 2 * slots <= limit.size <= 4 * slots


def test_limit_stays_small_for_a_service_with_few_slots():
    limit = ConcurrencyLimit(8)
    drive(limit, slots=2, takes_s=1.0, count=300)
    assert limit.size <= 16


def test_small_initial_limit_adds_at_most_5_percent():
    took_s = drive(ConcurrencyLimit(8), slots=16, takes_s=0.2, count=512)
    assert took_s <= 1.05 * 512 * 0.2 / 16


def grow_early(limit, *, slots):
    """Record each start of the newest run while the limit is reached, as a tracker does, before any run has ended."""
    limit.note_submit(0.0)
    while limit.may_grow_early and limit.size <= slots:
        limit.note_capacity(0.05)


def test_a_start_of_the_newest_run_raises_the_limit_before_the_first_end():
    limit = ConcurrencyLimit(8)
    grow_early(limit, slots=64)
    assert limit.size == 32, "at most four times the initial limit: a service may report waiting runs as `running`"
    assert not limit.may_grow_early


def test_newest_run_that_waits_does_not_raise_the_limit():
    limit = ConcurrencyLimit(8)
    grow_early(limit, slots=0)
    assert limit.size == 8
    drive(limit, slots=32, takes_s=0.2, count=1500)
    assert limit.size >= 64, "the measured throughput still raises the limit for a service that starts late"


@pytest.mark.parametrize("slots", [8, 16, 32, 64])
def test_early_growth_keeps_the_limit_below_four_times_the_slots(slots):
    limit = ConcurrencyLimit(8)
    grow_early(limit, slots=slots)
    drive(limit, slots=slots, takes_s=0.2, count=1500)
    assert 2 * slots <= limit.size <= 4 * slots


def test_early_growth_shortens_a_sweep_of_long_runs():
    early = ConcurrencyLimit(8)
    grow_early(early, slots=16)
    assert drive(early, slots=16, takes_s=60, count=64) < drive(ConcurrencyLimit(8), slots=16, takes_s=60, count=64)


def test_a_fixed_limit_does_not_grow_early():
    limit = ConcurrencyLimit(3, grows=False)
    grow_early(limit, slots=64)
    assert limit.size == 3


def test_a_fixed_limit_does_not_change():
    limit = ConcurrencyLimit(3, grows=False)
    drive(limit, slots=64, takes_s=0.2, count=200)
    assert limit.size == 3


def test_the_limit_has_a_maximum():
    limit = ConcurrencyLimit(8)
    drive(limit, slots=10_000, takes_s=0.2, count=5000)
    assert limit.size == MAX_LIMIT


def test_single_runs_do_not_measure_the_throughput():
    """Runs typed one by one counted as turns, so that the limit of a later sweep stayed at its start."""
    limit = ConcurrencyLimit(8)
    for number in range(200):
        limit.note_submit(60.0 * number)
        limit.note_end(60.0 * number + 1.0)
        limit.note_idle()
    assert limit.size == 8
    new_limit = ConcurrencyLimit(8)
    drive(new_limit, slots=32, takes_s=0.2, count=1500)
    drive(limit, slots=32, takes_s=0.2, count=1500)
    assert limit.size == new_limit.size


def test_sweep_uses_all_slots_of_a_service_that_executes_all_runs_at_once(client, api):
    """Eight runs of a minute each were in flight until the first of them had ended."""
    api.live_statuses = ["running"] * 100_000
    sweep = client.sweep("wf-1", {"3::cfg": list(range(40))}, wait=False)
    wait_until(lambda: api.count(RUN) == 32)
    assert all(cell.run is None or cell.run.status.is_live for cell in sweep.cells)


class Clock:
    """A clock for the tracker of a client that moves only by `advance`."""

    def __init__(self, scheduler):
        self._scheduler, self._now_s = scheduler, time.monotonic()

    def __call__(self):
        return self._now_s

    def advance(self, seconds):
        self._now_s += seconds
        self._scheduler.execute(lambda: None)  # wakes its threads


@pytest.fixture
def clock(client, monkeypatch):
    scheduler = client.connection.tracker.scheduler
    stopped = Clock(scheduler)
    monkeypatch.setattr(scheduler, "clock", stopped)
    return stopped


def count_runs(sweep, *statuses):
    return sum(cell.run is not None and cell.run.status in statuses for cell in sweep.cells)


def test_the_newest_run_is_checked_soon_so_that_the_limit_grows_at_once(client, api, clock):
    """With the first check after 0.3 s, half of 16 slots were idle until the first run of 0.2 s had ended."""
    api.live_statuses = ["running"] * 100_000
    sweep = client.sweep("wf-1", {"3::cfg": list(range(40))}, wait=False)
    for in_flight in (8, 16, 32):
        wait_until(lambda limit=in_flight: count_runs(sweep, "waiting", "running") == limit)
        clock.advance(0.06)


def test_a_sweep_whose_runs_wait_at_the_service_keeps_the_initial_limit(client, api, clock):
    api.live_statuses = ["pending"] * 100_000
    sweep = client.sweep("wf-1", {"3::cfg": list(range(40))}, wait=False)

    def are_all_checked_twice():
        clock.advance(0.5)
        counts = Counter(request.query["id"] for request in api.requests(CHECK))
        return min(counts.values(), default=0) >= 2 and count_runs(sweep, "pending") == len(counts) >= 8

    wait_until(are_all_checked_twice)
    assert api.count(RUN) == 8
