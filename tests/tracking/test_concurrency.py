"""The concurrency limit: alone, with a simulated service, and in a sweep."""

import heapq

import pytest
from scripted_api import RUN
from waiting import wait_until

from comflowy_nb.tracking.concurrency import MAX_LIMIT, ConcurrencyLimit


def drive(limit, *, places, takes_s, count):
    """Run `count` runs on a server that executes `places` at once, in order. Return how long it took, in seconds."""
    now_s, sent, ends = 0.0, 0, []
    free = [0.0] * places
    heapq.heapify(free)
    done = 0
    while done < count:
        while sent < count and sent - done < limit.size:
            limit.note_submit(now_s)
            end_s = max(now_s, heapq.heappop(free)) + takes_s
            heapq.heappush(free, end_s)
            heapq.heappush(ends, end_s)
            sent += 1
        now_s = heapq.heappop(ends)
        done += 1
        limit.note_end(now_s)
    return now_s


@pytest.mark.parametrize("places", [8, 16, 32, 64])
def test_the_limit_grows_to_twice_the_places_and_stops(places):
    limit = ConcurrencyLimit(8)
    drive(limit, places=places, takes_s=0.2, count=1500)
    assert 2 * places <= limit.size <= 4 * places


def test_a_service_with_few_places_is_not_flooded():
    limit = ConcurrencyLimit(8)
    drive(limit, places=2, takes_s=1.0, count=300)
    assert limit.size <= 16


def test_a_small_initial_limit_costs_little_time():
    took_s = drive(ConcurrencyLimit(8), places=16, takes_s=0.2, count=512)
    assert took_s <= 1.05 * 512 * 0.2 / 16


def grow_early(limit, *, places):
    """Record each start of the newest run while the limit is reached, as a tracker does, before any run has ended."""
    limit.note_submit(0.0)
    while limit.may_grow_early and limit.size <= places:
        limit.note_room(0.05)


def test_a_start_of_the_newest_run_raises_the_limit_before_the_first_end():
    limit = ConcurrencyLimit(8)
    grow_early(limit, places=64)
    assert limit.size == 32, "at most four times the start: a service may call waiting runs `running`"
    assert not limit.may_grow_early


def test_a_newest_run_that_waits_does_not_raise_the_limit():
    limit = ConcurrencyLimit(8)
    grow_early(limit, places=0)
    assert limit.size == 8
    drive(limit, places=32, takes_s=0.2, count=1500)
    assert limit.size >= 64, "the turns still raise it, for a service that begins late"


@pytest.mark.parametrize("places", [8, 16, 32, 64])
def test_early_growth_does_not_flood_the_service(places):
    limit = ConcurrencyLimit(8)
    grow_early(limit, places=places)
    drive(limit, places=places, takes_s=0.2, count=1500)
    assert 2 * places <= limit.size <= 4 * places


def test_early_growth_shortens_a_sweep_of_long_runs():
    early = ConcurrencyLimit(8)
    grow_early(early, places=16)
    assert drive(early, places=16, takes_s=60, count=64) < drive(ConcurrencyLimit(8), places=16, takes_s=60, count=64)


def test_a_fixed_limit_does_not_grow_early():
    limit = ConcurrencyLimit(3, grows=False)
    grow_early(limit, places=64)
    assert limit.size == 3


def test_a_fixed_limit_does_not_change():
    limit = ConcurrencyLimit(3, grows=False)
    drive(limit, places=64, takes_s=0.2, count=200)
    assert limit.size == 3


def test_the_limit_has_a_maximum():
    limit = ConcurrencyLimit(8)
    drive(limit, places=10_000, takes_s=0.2, count=5000)
    assert limit.size == MAX_LIMIT


def test_runs_typed_one_by_one_do_not_measure_the_throughput():
    """Runs typed one by one counted as turns, so that the limit of a later sweep stayed at its start."""
    limit = ConcurrencyLimit(8)
    for number in range(200):
        limit.note_submit(60.0 * number)
        limit.note_end(60.0 * number + 1.0)
        limit.note_idle()
    assert limit.size == 8
    began = ConcurrencyLimit(8)
    drive(began, places=32, takes_s=0.2, count=1500)
    drive(limit, places=32, takes_s=0.2, count=1500)
    assert limit.size == began.size


def test_a_sweep_fills_a_service_that_executes_all_runs_at_once(client, api):
    """Eight runs of a minute each were in flight until the first of them had ended."""
    api.live_statuses = ["running"] * 100_000
    sweep = client.sweep("wf-1", {"3::cfg": list(range(40))}, wait=False)
    wait_until(lambda: api.count(RUN) == 32)
    assert all(cell.run is None or cell.run.status.is_live for cell in sweep.cells)


def test_a_sweep_whose_runs_wait_at_the_service_keeps_the_initial_limit(client, api):
    api.live_statuses = ["pending"] * 100_000
    sweep = client.sweep("wf-1", {"3::cfg": list(range(40))}, wait=False)
    wait_until(lambda: sum(cell.run is not None and cell.run.status == "pending" for cell in sweep.cells) == 8)
    assert api.count(RUN) == 8
