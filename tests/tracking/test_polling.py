import itertools
import random

import pytest

from comflowy_nb.database.small_tables import MAX_SAMPLES
from comflowy_nb.tracking.polling import FIRST_HIT_FACTOR, SAFETY_FACTOR, PollRule, live_wait_s


def check_until_done(rule: PollRule, takes_s: float) -> tuple[int, float]:
    """Check one run by the rule. Return how many checks it took, and how late the end was found, in seconds."""
    age_s = rule.first_wait_s()
    missed_age_s = None
    for misses in itertools.count():
        if age_s >= takes_s:
            rule.add(done_age_s=age_s, missed_age_s=missed_age_s)
            return misses + 1, age_s - takes_s
        missed_age_s = age_s
        age_s += rule.next_wait_s(misses=misses + 1, age_s=age_s)
    raise AssertionError


def test_without_samples_there_is_no_estimate():
    rule = PollRule()
    assert rule.estimate_s is None
    assert rule.usual_s is None
    assert rule.first_wait_s() == pytest.approx(0.1)


def test_cold_start_steps_widen_with_age():
    rule = PollRule()
    assert rule.next_wait_s(misses=1, age_s=0.01) == pytest.approx(0.03)
    assert rule.next_wait_s(misses=2, age_s=2.0) == pytest.approx(0.5)
    assert rule.next_wait_s(misses=9, age_s=600.0) == pytest.approx(2.0)


def test_an_end_between_two_checks_counts_as_their_middle():
    rule = PollRule()
    assert rule.add(done_age_s=3.0, missed_age_s=2.0) == pytest.approx(2.5)
    assert rule.estimate_s == pytest.approx(SAFETY_FACTOR * 2.5)


def test_an_end_at_the_first_check_counts_as_less_than_the_age():
    rule = PollRule()
    assert rule.add(done_age_s=2.0, missed_age_s=None) == pytest.approx(FIRST_HIT_FACTOR * 2.0)
    assert rule.estimate_s < 2.0, "a row of first hits must shrink the estimate"


def test_steps_after_a_miss_widen_within_bounds():
    rule = PollRule([10.0])
    waits = [rule.next_wait_s(misses=n, age_s=10.0) for n in range(1, 12)]
    assert waits[0] == pytest.approx(0.12 * SAFETY_FACTOR * 10.0)
    assert waits == sorted(waits)
    assert waits[-1] == pytest.approx(2.0)
    assert PollRule([0.001]).next_wait_s(misses=1, age_s=0.0) == pytest.approx(0.02)


def test_only_the_last_samples_count():
    rule = PollRule([100.0] * 50)
    for _ in range(MAX_SAMPLES):
        rule.add(done_age_s=1.0, missed_age_s=1.0)
    assert rule.usual_s == pytest.approx(1.0)


@pytest.mark.parametrize("takes_s", [0.2, 2.0, 8.0, 60.0])
def test_the_estimate_settles_near_the_truth_instead_of_growing(takes_s):
    """An estimate learned from detection times contained its own lateness and grew from run to run."""
    draw = random.Random(7)
    rule = PollRule()
    late, checks = [], []
    for number in range(300):
        took_s = takes_s * draw.uniform(0.95, 1.05)
        count, lateness_s = check_until_done(rule, took_s)
        if number >= 50:
            late.append(lateness_s)
            checks.append(count)
    assert 0.8 * takes_s < rule.usual_s < 1.15 * takes_s
    assert sum(checks) / len(checks) < 2.6
    assert sorted(late)[len(late) // 2] < max(0.05, 0.12 * takes_s)


def test_the_estimate_shrinks_for_a_workflow_that_becomes_quicker():
    """By the product of the two factors with each turn of the median; the live checks of a few runs speed it up."""
    rule = PollRule([30.0] * MAX_SAMPLES)
    for _ in range(60):
        check_until_done(rule, 3.0)
    assert rule.usual_s < 30.0 * (SAFETY_FACTOR * FIRST_HIT_FACTOR) ** 3


def test_live_checks_stop_when_many_runs_are_live():
    assert live_wait_s(0.0, live_runs=1) == pytest.approx(0.3)
    assert live_wait_s(4.0, live_runs=8) == pytest.approx(1.0)
    assert live_wait_s(400.0, live_runs=8) == pytest.approx(2.0)
    assert live_wait_s(4.0, live_runs=9) is None
