"""The concurrency limit: with a simulated service, and in a sweep."""

import heapq
import time
from collections import Counter

import pytest
from faulty_server import choose, reply
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


START_S = 0.05  # from the acceptance of a run to its start, if a slot is free


def grow_early(limit, *, slots):
    """Note the state of each probe, as a tracker does, before any run has ended."""
    limit.note_submit(0.0)
    for _ in range(5):
        if not limit.is_probing:
            return
        if limit.probe_position <= slots:
            limit.note_probe_running(START_S, START_S)
        else:
            limit.note_probe_waiting(1.5 * START_S)
            assert limit.is_probing, "the wait must be clearly longer than the time in which other runs began"
            limit.note_probe_waiting(2.5 * START_S)


def test_a_start_of_the_probe_raises_the_limit_before_the_first_end():
    limit = ConcurrencyLimit(8)
    grow_early(limit, slots=64)
    assert limit.size == 32, "at most four times the initial limit: a service may report waiting runs as `running`"


def test_a_probe_that_waits_does_not_raise_the_limit():
    limit = ConcurrencyLimit(8)
    grow_early(limit, slots=0)
    assert limit.size == 8
    drive(limit, slots=32, takes_s=0.2, count=1500)
    assert limit.size >= 64, "the measured throughput still raises the limit for a service that starts late"


@pytest.mark.parametrize("slots", [6, 8, 10, 11, 16, 21])
def test_a_limit_whose_probe_waits_is_sufficient(slots):
    """On 16 slots, 64 runs were in flight; each was checked at twice the interval, so its end was found later."""
    limit = ConcurrencyLimit(8)
    grow_early(limit, slots=slots)
    grown = limit.size
    assert 1.5 * slots <= grown <= 3 * slots
    drive(limit, slots=slots, takes_s=0.2, count=1500)
    assert limit.size == grown


def test_a_sufficient_limit_grows_when_the_service_adds_slots():
    limit = ConcurrencyLimit(8)
    grow_early(limit, slots=8)
    drive(limit, slots=8, takes_s=0.2, count=200)
    limit.note_idle()
    assert limit.size == 16
    drive(limit, slots=32, takes_s=0.2, count=1500)
    assert 48 <= limit.size <= 128


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


def checks_per_run(api):
    return Counter(int(request.query["id"].removeprefix("run-")) for request in api.requests(CHECK))


def test_the_probe_is_checked_soon_so_that_the_limit_grows_at_once(client, api, clock):
    """With the first check after 0.3 s, half of 16 slots were idle until the first run of 0.2 s had ended."""
    api.live_statuses = ["running"] * 100_000
    sweep = client.sweep("wf-1", {"3::cfg": list(range(40))}, wait=False)
    for in_flight in (8, 16, 32):
        wait_until(lambda limit=in_flight: count_runs(sweep, "waiting", "running") == limit)
        clock.advance(0.025)


def test_a_probe_that_waits_is_checked_at_growing_intervals(client, api, clock):
    api.live_statuses = ["pending"] * 100_000
    sweep = client.sweep("wf-1", {"3::cfg": list(range(40))}, wait=False)
    wait_until(lambda: count_runs(sweep, "waiting", "pending") == 8)
    began_s = clock()

    def is_checked_four_times():
        clock.advance(0.01)
        return max(checks_per_run(api).values(), default=0) >= 4

    wait_until(is_checked_four_times)
    assert clock() - began_s >= 0.15, "20, 20, 40 and 80 ms"


def test_a_limit_that_has_grown_stays_while_its_probe_waits(client, api, clock):
    """A sweep on 16 slots had 64 runs in flight after the first round."""
    slots, ended = 16, 0

    def state(request):
        number = int(request.query["id"].removeprefix("run-"))
        status = "success" if number <= ended else "running" if number <= ended + slots else "pending"
        return reply({"success": True, "data": {"status": status, "output_images": [], "full_outputs": {}}})

    api.on(CHECK, choose(state))
    sweep = client.sweep("wf-1", {"3::cfg": list(range(100))}, wait=False)
    live = ("waiting", "pending", "running")
    for in_flight in (8, 16, 32):
        wait_until(lambda limit=in_flight: count_runs(sweep, *live) == limit)
        clock.advance(0.025)

    queue = client.connection.tracker.submit_queue

    def is_a_probe_waiting():
        return any(queue.is_probe(cell.run) for cell in sweep.cells if cell.run is not None)

    def has_it_waited_long_enough():
        clock.advance(0.02)
        return not is_a_probe_waiting()

    wait_until(is_a_probe_waiting)
    wait_until(has_it_waited_long_enough)
    ended = 32

    def have_all_ended():
        clock.advance(0.5)
        return count_runs(sweep, "success") == 32 and count_runs(sweep, *live) >= 32

    wait_until(have_all_ended)
    checks = api.count(CHECK)

    def are_checked_again():
        clock.advance(0.5)
        return api.count(CHECK) >= checks + 32

    wait_until(are_checked_again)
    assert api.count(RUN) == 64


def test_a_sweep_whose_runs_wait_at_the_service_keeps_the_initial_limit(client, api, clock):
    api.live_statuses = ["pending"] * 100_000
    sweep = client.sweep("wf-1", {"3::cfg": list(range(40))}, wait=False)

    def are_all_checked_twice():
        clock.advance(0.5)
        counts = checks_per_run(api)
        return min(counts.values(), default=0) >= 2 and count_runs(sweep, "pending") == len(counts) >= 8

    wait_until(are_all_checked_twice)
    assert api.count(RUN) == 8
