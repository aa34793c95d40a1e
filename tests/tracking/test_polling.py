import itertools
import random

import pytest

from comflowy_nb.tracking.polling import FACTOR, FIRST_HIT, SAMPLES, PollRule, live_wait_s


def ask_until_done(pace: PollRule, takes_s: float) -> tuple[int, float]:
    """Follow one run by the rule; how many checks it took and how late the end was seen."""
    age_s = pace.first_wait_s()
    missed_age_s = None
    for misses in itertools.count():
        if age_s >= takes_s:
            pace.add(done_age_s=age_s, missed_age_s=missed_age_s)
            return misses + 1, age_s - takes_s
        missed_age_s = age_s
        age_s += pace.next_wait_s(misses=misses + 1, age_s=age_s)
    raise AssertionError


def test_nothing_known_has_no_estimate():
    pace = PollRule()
    assert pace.estimate_s is None
    assert pace.usual_s is None
    assert pace.first_wait_s() == pytest.approx(0.1)


def test_cold_start_steps_widen_with_age():
    pace = PollRule()
    assert pace.next_wait_s(misses=1, age_s=0.01) == pytest.approx(0.03)
    assert pace.next_wait_s(misses=2, age_s=2.0) == pytest.approx(0.5)
    assert pace.next_wait_s(misses=9, age_s=600.0) == pytest.approx(2.0)


def test_a_run_found_between_two_checks_counts_as_their_middle():
    pace = PollRule()
    assert pace.add(done_age_s=3.0, missed_age_s=2.0) == pytest.approx(2.5)
    assert pace.estimate_s == pytest.approx(FACTOR * 2.5)


def test_a_run_found_at_its_first_check_counts_as_less_than_its_age():
    pace = PollRule()
    assert pace.add(done_age_s=2.0, missed_age_s=None) == pytest.approx(FIRST_HIT * 2.0)
    assert pace.estimate_s < 2.0, "a row of first hits must shrink the estimate"


def test_steps_after_a_miss_widen_within_bounds():
    pace = PollRule([10.0])
    waits = [pace.next_wait_s(misses=n, age_s=10.0) for n in range(1, 12)]
    assert waits[0] == pytest.approx(0.12 * FACTOR * 10.0)
    assert waits == sorted(waits)
    assert waits[-1] == pytest.approx(2.0)
    assert PollRule([0.001]).next_wait_s(misses=1, age_s=0.0) == pytest.approx(0.02)


def test_only_the_last_samples_count():
    pace = PollRule([100.0] * 50)
    for _ in range(SAMPLES):
        pace.add(done_age_s=1.0, missed_age_s=1.0)
    assert pace.usual_s == pytest.approx(1.0)


@pytest.mark.parametrize("takes_s", [0.2, 2.0, 8.0, 60.0])
def test_the_estimate_settles_near_the_truth_instead_of_growing(takes_s):
    """An estimate learned from detection times contained its own lateness and grew from run to run."""
    draw = random.Random(7)
    pace = PollRule()
    late, checks = [], []
    for number in range(300):
        took_s = takes_s * draw.uniform(0.95, 1.05)
        count, lateness_s = ask_until_done(pace, took_s)
        if number >= 50:
            late.append(lateness_s)
            checks.append(count)
    assert 0.8 * takes_s < pace.usual_s < 1.15 * takes_s
    assert sum(checks) / len(checks) < 2.6
    assert sorted(late)[len(late) // 2] < max(0.05, 0.12 * takes_s)


def test_the_estimate_shrinks_for_a_workflow_that_becomes_quicker():
    """By FACTOR x FIRST_HIT with each turn of the median; the live checks of a few runs make it quicker still."""
    pace = PollRule([30.0] * SAMPLES)
    for _ in range(60):
        ask_until_done(pace, 3.0)
    assert pace.usual_s < 30.0 * (FACTOR * FIRST_HIT) ** 3


def test_live_checks_stop_when_many_runs_are_live():
    assert live_wait_s(0.0, live_runs=1) == pytest.approx(0.3)
    assert live_wait_s(4.0, live_runs=8) == pytest.approx(1.0)
    assert live_wait_s(400.0, live_runs=8) == pytest.approx(2.0)
    assert live_wait_s(4.0, live_runs=9) is None
