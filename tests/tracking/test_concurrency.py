import heapq

import pytest

from comflowy_nb.tracking.concurrency import LARGEST, ConcurrencyLimit


def drive(window, *, places, takes_s, count):
    """Run `count` runs on a server with so many places, first come first served; how long it took."""
    now_s, sent, ends = 0.0, 0, []
    free = [0.0] * places
    heapq.heapify(free)
    done = 0
    while done < count:
        while sent < count and sent - done < window.size:
            window.begin(now_s)
            end_s = max(now_s, heapq.heappop(free)) + takes_s
            heapq.heappush(free, end_s)
            heapq.heappush(ends, end_s)
            sent += 1
        now_s = heapq.heappop(ends)
        done += 1
        window.end(now_s)
    return now_s


@pytest.mark.parametrize("places", [8, 16, 32, 64])
def test_it_grows_to_twice_the_places_and_stops(places):
    window = ConcurrencyLimit(8)
    drive(window, places=places, takes_s=0.2, count=1500)
    assert 2 * places <= window.size <= 4 * places


def test_a_service_with_few_places_is_not_flooded():
    window = ConcurrencyLimit(8)
    drive(window, places=2, takes_s=1.0, count=300)
    assert window.size <= 16


def test_it_costs_little_that_it_starts_small():
    took_s = drive(ConcurrencyLimit(8), places=16, takes_s=0.2, count=512)
    assert took_s <= 1.05 * 512 * 0.2 / 16


def look_until_it_stays(window, *, places):
    """Look at the newest run each time the window is full, as a tracker does, before anything has ended."""
    window.begin(0.0)
    while window.look(running=window.size <= places, now_s=0.05):
        pass


def test_a_newest_run_that_has_begun_makes_it_wider_before_the_first_end():
    window = ConcurrencyLimit(8)
    look_until_it_stays(window, places=64)
    assert window.size == 32, "not beyond what was tried: a service may call running what waits"


def test_a_newest_run_that_waits_shows_that_it_holds_enough():
    window = ConcurrencyLimit(8)
    look_until_it_stays(window, places=16)
    assert window.size == 32
    assert not window.is_tried
    drive(window, places=16, takes_s=0.2, count=1500)
    assert window.size == 32, "two for each place"


def test_a_service_that_begins_late_is_not_taken_for_a_full_one():
    window = ConcurrencyLimit(8)
    look_until_it_stays(window, places=0)
    assert window.size == 8
    drive(window, places=32, takes_s=0.2, count=1500)
    assert window.size >= 64


def test_looks_cost_less_than_a_turn():
    begun = ConcurrencyLimit(8)
    look_until_it_stays(begun, places=16)
    assert drive(begun, places=16, takes_s=60, count=64) < drive(ConcurrencyLimit(8), places=16, takes_s=60, count=64)


def test_a_fixed_window_is_not_made_wider_by_a_look():
    window = ConcurrencyLimit(3, grows=False)
    look_until_it_stays(window, places=64)
    assert window.size == 3


def test_a_fixed_window_stays():
    window = ConcurrencyLimit(3, grows=False)
    drive(window, places=64, takes_s=0.2, count=200)
    assert window.size == 3


def test_it_has_an_end():
    window = ConcurrencyLimit(8)
    drive(window, places=10_000, takes_s=0.2, count=5000)
    assert window.size == LARGEST


def test_a_slow_morning_says_nothing_of_what_the_service_can_do():
    """Runs typed one by one counted as turns of the window, so that a sweep after them was kept at its start."""
    window = ConcurrencyLimit(8)
    for number in range(200):
        window.begin(60.0 * number)
        window.end(60.0 * number + 1.0)
        window.rest()
    assert window.size == 8
    began = ConcurrencyLimit(8)
    drive(began, places=32, takes_s=0.2, count=1500)
    drive(window, places=32, takes_s=0.2, count=1500)
    assert window.size == began.size
