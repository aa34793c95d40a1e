import itertools
import random
import time

import pytest
from faulty_server import choose, reply
from scripted_api import CHECK
from waiting import wait_until

from comflowy_nb.database.small_tables import MAX_SAMPLES
from comflowy_nb.settings import settings
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


def test_waits_without_samples_increase_with_the_age_of_a_run():
    rule = PollRule()
    assert rule.next_wait_s(misses=1, age_s=0.01) == pytest.approx(0.03)
    assert rule.next_wait_s(misses=2, age_s=2.0) == pytest.approx(0.5)
    assert rule.next_wait_s(misses=9, age_s=600.0) == pytest.approx(2.0)


def test_end_between_two_checks_is_recorded_as_their_middle():
    rule = PollRule()
    assert rule.add(done_age_s=3.0, missed_age_s=2.0) == pytest.approx(2.5)
    assert rule.estimate_s == pytest.approx(SAFETY_FACTOR * 2.5)


def test_end_at_the_first_check_is_recorded_as_less_than_the_age():
    rule = PollRule()
    assert rule.add(done_age_s=2.0, missed_age_s=None) == pytest.approx(FIRST_HIT_FACTOR * 2.0)
    assert rule.estimate_s < 2.0, "successive ends at the first check must reduce the estimate"


def test_waits_after_a_miss_increase_up_to_a_limit():
    rule = PollRule([10.0])
    waits = [rule.next_wait_s(misses=n, age_s=10.0) for n in range(1, 12)]
    assert waits[0] == pytest.approx(0.12 * SAFETY_FACTOR * 10.0)
    assert waits == sorted(waits)
    assert waits[-1] == pytest.approx(2.0)
    assert PollRule([0.001]).next_wait_s(misses=1, age_s=0.0) == pytest.approx(0.02)


def test_only_the_newest_samples_are_used():
    rule = PollRule([100.0] * 50)
    for _ in range(MAX_SAMPLES):
        rule.add(done_age_s=1.0, missed_age_s=1.0)
    assert rule.usual_s == pytest.approx(1.0)


@pytest.mark.parametrize("takes_s", [0.2, 2.0, 8.0, 60.0])
def test_estimate_converges_to_the_real_duration(takes_s):
    """An estimate learned from detection times contained its own lateness and grew from run to run."""
    random_numbers = random.Random(7)
    rule = PollRule()
    latenesses_s, checks = [], []
    for number in range(300):
        took_s = takes_s * random_numbers.uniform(0.95, 1.05)
        count, lateness_s = check_until_done(rule, took_s)
        if number >= 50:
            latenesses_s.append(lateness_s)
            checks.append(count)
    assert 0.8 * takes_s < rule.usual_s < 1.15 * takes_s
    assert sum(checks) / len(checks) < 2.6
    assert sorted(latenesses_s)[len(latenesses_s) // 2] < max(0.05, 0.12 * takes_s)


def test_estimate_decreases_for_a_workflow_that_becomes_faster():
    """The estimate decreases by the product of the two factors each time all samples of the median are replaced."""
    rule = PollRule([30.0] * MAX_SAMPLES)
    for _ in range(60):
        check_until_done(rule, 3.0)
    assert rule.usual_s < 30.0 * (SAFETY_FACTOR * FIRST_HIT_FACTOR) ** 3


def test_live_checks_stop_when_many_runs_are_live():
    assert live_wait_s(0.0, live_runs=1) == pytest.approx(0.3)
    assert live_wait_s(4.0, live_runs=8) == pytest.approx(1.0)
    assert live_wait_s(400.0, live_runs=8) == pytest.approx(2.0)
    assert live_wait_s(4.0, live_runs=9) is None


def report_statuses(api, status_of):
    """Let the scripted service respond to each check with the status that a function of the run's id returns."""
    api.on(CHECK, choose(lambda request: reply({"success": True, "data": {"status": status_of(request.query["id"])}})))


def test_a_run_that_waited_long_is_checked_often_once_it_runs(client, api, monkeypatch):
    """The ends of the last runs of a sweep were found up to 2 s late: their time in the queue counted as their age."""
    waited_s, status = 0.0, "waiting"
    monkeypatch.setattr(client.connection.tracker.scheduler, "clock", lambda: time.monotonic() + waited_s)
    report_statuses(api, lambda _: status)
    run = client.submit("wf-1", {"3::cfg": 1}).run
    api.wait_for(CHECK)
    waited_s, status = 60.0, "running"
    wait_until(lambda: run.status == "running")
    times_s = [request.at_s for request in api.wait_for(CHECK, api.count(CHECK) + 3)[-4:]]
    assert min(later - earlier for earlier, later in itertools.pairwise(times_s)) < 1.0


def test_the_last_eight_runs_are_checked_as_soon_as_the_others_have_ended(client, api):
    """They kept the check that was scheduled while more runs were live, up to 30 s later."""
    settings.window, failing, ids = 11, set(), []
    report_statuses(api, lambda run_id: "failed" if run_id in failing else "running")
    for number in range(11):
        run = client.submit("wf-1", {"3::cfg": number}).run
        wait_until(lambda run=run: run.record.service_run_id)
        ids.append(run.record.service_run_id)
    failing.update(ids[:3])  # the rule checks only these: no run of the workflow has ended before
    last = set(ids[8:])  # they were accepted while more than eight runs were live
    wait_until(lambda: last <= {request.query["id"] for request in api.requests(CHECK)}, timeout_s=15)
