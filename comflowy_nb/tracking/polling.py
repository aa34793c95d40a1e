"""Decide when to check a run: by the usual duration of its workflow, and at once after an event.

The first check of a run is at the usual duration of its workflow; further checks follow at growing intervals. A check
that finds the run ended only gives an upper bound of its duration. An estimate from these upper bounds alone would
contain its own delay and grow without limit. A run that had ended at its first check therefore counts as 0.9 of its
age, so that the estimate shrinks until a first check finds a live run again (SAFETY_FACTOR x FIRST_HIT_FACTOR must be
below 1).

The age of a run at a check is the time from the response to its submit to the check, on a monotonic clock.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections import deque
from statistics import median
from typing import TYPE_CHECKING

from comflowy_nb.database.small_tables import MAX_SAMPLES
from comflowy_nb.settings import settings
from comflowy_nb.status import event_of, next_status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from comflowy_nb.database.runs import History
    from comflowy_nb.status import Status
    from comflowy_nb.tracking.run import Run
    from comflowy_nb.tracking.tracker import Tracker


SAFETY_FACTOR = 1.05  # the first check is at the median duration times this factor
FIRST_HIT_FACTOR = 0.9  # the duration is the age at a successful first check times this factor
# Runs of a workflow of unknown duration that are checked by the rule. The others wait for the first end.
MAX_EARLY_RUNS = 3
MAX_RUNS_SHOWN_LIVE = 8  # up to this many live runs are also checked often enough for a live display
PROBE_WAIT_S = 0.02  # to the first check of the run on whose start the concurrency limit depends; then it doubles
IDLE_WAIT_S = 30.0  # between checks of a run, if no run of its workflow has ended yet
MAX_LATE_S = 10.0  # a check that begins later than this after its due time shows that the process was stopped
LOST_EVENT_WAIT_S, LOST_EVENT_FACTOR = 0.5, 1.5  # how much later the rule checks if webhooks report the ends
FIRST_EVENT_WAIT_S = 2.0  # maximum wait for the first event of a run, if earlier runs had events
EVENT_INTERVAL_S = 30.0  # between checks while events arrive; doubles if there was an event since the last check
LOCAL_EVENT_INTERVAL_S = 2.0  # the same for a service on this machine, whose checks cost nothing
MAX_EVENT_INTERVAL_S = 120.0
REPORTED_END_GAP_S = 1.0  # between checks that reported ends trigger


class PollRule:
    """Compute check times from the durations of earlier runs of one workflow.

    Parameters
    ----------
    samples
        Durations of earlier runs in seconds, oldest first. Only the last 24 are used.
    """

    def __init__(self, samples: Iterable[float] = ()) -> None:
        self._samples: deque[float] = deque(samples, maxlen=MAX_SAMPLES)

    @property
    def usual_s(self) -> float | None:
        """The median duration, in seconds; None without samples."""
        return median(self._samples) if self._samples else None

    @property
    def estimate_s(self) -> float | None:
        """The age of a run at its first check, in seconds; None without samples."""
        return SAFETY_FACTOR * median(self._samples) if self._samples else None

    def add(self, *, done_age_s: float, missed_age_s: float | None) -> float:
        """Add and return the sample of an ended run.

        The run was live at a check at the age `missed_age_s` (None if there was none), and had ended at `done_age_s`.
        """
        sample = FIRST_HIT_FACTOR * done_age_s if missed_age_s is None else (missed_age_s + done_age_s) / 2
        self._samples.append(sample)
        return sample

    def first_wait_s(self) -> float:
        """Return the seconds to wait for the first check after the service has accepted the run."""
        estimate = self.estimate_s
        return 0.1 if estimate is None else estimate  # soon, because the workflow may be fast

    def next_wait_s(self, *, misses: int, age_s: float) -> float:
        """Return the wait after a check that found the run live, in seconds. `misses` is the number of such checks."""
        estimate = self.estimate_s
        if estimate is None:
            return min(2.0, max(0.03, 0.25 * age_s))  # the delay stays about a quarter of the duration
        # 12 % of the estimate, and 40 % more after each check; the exponent is limited against overflow
        return min(2.0, max(0.02, 0.12 * estimate * 1.4 ** min(misses - 1, 40)))


def live_wait_s(age_s: float, *, live_runs: int) -> float | None:
    """Return the wait to the next check for a live display, in seconds; None if too many runs are live.

    `age_s` is the time since the run was first seen running, or since its acceptance while it waits.
    """
    return min(2.0, max(0.3, 0.25 * age_s)) if live_runs <= MAX_RUNS_SHOWN_LIVE else None


class PollSchedule:
    """Timer of the next check of one run. A new check replaces the scheduled one.

    While events of the run arrive, they show its progress, and checks at long intervals only confirm it. The end that
    an event reports triggers a check at once.

    Parameters
    ----------
    check
        Checks the run, on a thread of the scheduler. Its argument is a function that returns False if the check was
        replaced while it waited.
    """

    def __init__(
        self, tracker: Tracker, run: Run, rule: PollRule, *, check: Callable[[Callable[[], bool]], None]
    ) -> None:
        self.rule = rule
        self.rule_due_s: float | None = None  # the rule's next check; None while the run waits for a first end
        self.accepted_s = tracker.scheduler.clock()  # when the response to the submit arrived
        self.seen_running_at: float | None = None  # when an event or a check first showed it running
        self._seen_running_s: float | None = None  # the same by the monotonic clock
        self.missed_age_s: float | None = None  # age of the run at the newest check that found it live
        self.stopped = threading.Event()  # set when no more checks are due
        self.was_paused = False  # the process or the machine was stopped meanwhile, so the age is not a duration
        self._tracker = tracker
        self._run = run
        self._check = check
        self._misses = 0
        self._newest = 0  # number of the newest scheduled check
        self._due_s = math.inf  # due time of the scheduled check
        self._reported_status: Status | None = None  # the newest event since the last check
        self._may_postpone = False  # whether events may postpone the scheduled check
        self._lock = threading.Lock()  # protects the four attributes above
        self._event_due_s: float | None = None  # the next check while events arrive; None if they are not relied on
        self._event_checks = 0  # checks in a row that found the run live, with events between them
        self._is_event_new = False  # whether an event has arrived since the last check
        self._is_end_reported = False
        self._triggered_s = float("-inf")  # when a reported end last triggered a check

    def check_at(self, due_s: float, *, may_postpone: bool = False) -> None:
        """Replace the scheduled check by one at `due_s`, or by one now if an event arrived since the last check."""
        with self._lock:
            self._newest += 1
            self._may_postpone = may_postpone
            number = self._newest
            if self._reported_status and next_status(self._run.status, event_of(self._reported_status)):
                due_s = min(due_s, max(self._tracker.scheduler.clock(), self._triggered_s))
                self._may_postpone = False
            self._due_s = due_s

        def is_due() -> bool:
            return self._newest == number

        self._tracker.scheduler.submit_at(due_s, lambda: self._check(is_due) if is_due() else None)

    def check_after(self, wait_s: float) -> None:
        """Schedule a check in `wait_s` seconds."""
        self.check_at(self._tracker.scheduler.clock() + wait_s)

    def check_when_due(self, now_s: float) -> None:
        """Check by the rule; events that arrive until then postpone the check."""
        self.check_at(self.next_due_s(now_s), may_postpone=True)

    def check_earlier(self) -> None:
        """Replace a check that the rule scheduled by an earlier one, if so few runs are live now that they need it."""
        due_s = self.next_due_s(self._tracker.scheduler.clock())
        if self._may_postpone and due_s < self._due_s:
            self.check_at(due_s, may_postpone=True)

    def check_first(self, *, is_end_reported: bool) -> None:
        """Schedule the first check of an accepted run: now if an event has reported its end, else by the rule."""
        if is_end_reported:
            self.check_at(self.accepted_s)
        else:
            self.check_when_due(self.accepted_s)

    def check_after_event(self, status: Status) -> None:
        """Check now, because an event reported a status. A check in progress does not postpone this check."""
        with self._lock:
            if self._reported_status is None:  # otherwise a check is already due
                self._triggered_s = max(self._tracker.scheduler.clock(), self._triggered_s + REPORTED_END_GAP_S)
            self._reported_status = status
        self.check_at(self._triggered_s)

    # -- while events arrive ----------------------------------------------------------------------------------------

    def note_event(self) -> None:
        """Check at long intervals from now on, because events show the progress of the run."""
        self._is_event_new = True
        if self._event_due_s is None:
            self._event_due_s = self._tracker.scheduler.clock() + self._event_interval_s()

    def note_reported_end(self) -> None:
        """Stop relying on events, so that the poll rule finds the end if the next check does not confirm it."""
        self._is_end_reported = True

    def note_live(self, age_s: float, *, is_known: bool) -> None:
        """Note a check that found the run live at an age, in seconds.

        If it found a status that no event reported, events no longer arrive, and the rule applies until the next one.
        """
        self.missed_age_s = age_s
        if self._event_due_s is not None:
            self._event_checks = self._event_checks + 1 if self._is_event_new else 0
            self._is_event_new = False
            now_s = self._tracker.scheduler.clock()
            self._event_due_s = now_s + self._event_interval_s() if is_known else None
        elif age_s >= FIRST_EVENT_WAIT_S:
            self._tracker.expects_events = False

    def is_postponed(self) -> bool:
        """Return True if events have postponed the check that is due, which is then scheduled again."""
        now_s = self._tracker.scheduler.clock()
        due_s = self._due_by_events_s(now_s) if self._may_postpone else None
        if due_s is None or due_s <= now_s:
            return False
        self.check_at(due_s, may_postpone=True)
        return True

    def _due_by_events_s(self, now_s: float) -> float | None:
        """Return the time of the next check while events arrive or are expected; None if the rule applies."""
        if self._is_end_reported:
            return None
        if self._event_due_s is not None:
            return self._event_due_s
        expected_s = self.accepted_s + FIRST_EVENT_WAIT_S
        return expected_s if self._tracker.expects_events and now_s < expected_s else None

    def _event_interval_s(self) -> float:
        is_local = self._tracker.service.on_loopback
        interval_s = (LOCAL_EVENT_INTERVAL_S if is_local else EVENT_INTERVAL_S) * 2**self._event_checks
        if not is_local and self.missed_age_s is None and self.rule.usual_s is not None:  # the first check
            interval_s = max(interval_s, LOST_EVENT_FACTOR * self.rule.usual_s)
        return float(min(interval_s, MAX_EVENT_INTERVAL_S))

    def note_running(self) -> None:
        """Note that an event or a check shows the run running."""
        if self.seen_running_at is None:
            self.seen_running_at = time.time()
            self._seen_running_s = self._tracker.scheduler.clock()

    def begin(self) -> float:
        """Note that a check begins, and return the time. Its response is newer than all earlier events."""
        now_s = self._tracker.scheduler.clock()
        with self._lock:
            self._reported_status = None
            self.was_paused |= now_s - self._due_s > MAX_LATE_S
        return now_s

    def end(self, began_s: float) -> None:
        """Note that the response to a check was read."""
        took_s = self._tracker.scheduler.clock() - began_s
        self.was_paused |= took_s > settings.answer_deadline_s + MAX_LATE_S

    def stop(self) -> None:
        """Cancel the scheduled check."""
        with self._lock:
            self._newest += 1
            self._may_postpone = False  # `check_earlier` of another thread must not schedule it again
        self.rule_due_s = None
        self.stopped.set()

    # -- the rule -----------------------------------------------------------------------------------------------

    def follow_rule(self, now_s: float | None = None) -> None:
        """Check by the rule from now on."""
        due_s = self.first_due_s()
        self.rule_due_s = due_s if now_s is None else max(now_s, due_s)

    def first_due_s(self) -> float:
        """Return the time of the rule's first check. If webhooks report ends, it is only for lost events."""
        wait_s = self.rule.first_wait_s()
        if self._tracker.reports_ends:
            wait_s = max(wait_s + LOST_EVENT_WAIT_S, LOST_EVENT_FACTOR * wait_s)
        return self.accepted_s + wait_s

    def next_due_s(self, now_s: float) -> float:
        """Return the time of the next check.

        The rule determines the time. A live display or a higher limit needs an earlier check; events postpone it.
        """
        due_by_events_s = self._due_by_events_s(now_s)
        if due_by_events_s is not None:
            return due_by_events_s
        queue = self._tracker.submit_queue
        is_probe = queue.is_probe(self._run)
        live_runs = 1 if is_probe else queue.live_runs
        since_s = self.accepted_s if self._seen_running_s is None else self._seen_running_s
        wait_s = live_wait_s(max(0.0, now_s - since_s), live_runs=live_runs)
        if is_probe and wait_s is not None:
            wait_s = min(wait_s, max(PROBE_WAIT_S, now_s - self.accepted_s))
        live_due_s = None if wait_s is None else now_s + wait_s
        return min((due for due in (self.rule_due_s, live_due_s) if due is not None), default=now_s + IDLE_WAIT_S)

    def schedule_next(self, now_s: float, age_s: float) -> None:
        """Schedule the next check, after a check that found the run live. `age_s` was its age in seconds."""
        if self.rule_due_s is not None and now_s >= self.rule_due_s:
            self._misses += 1
            self.rule_due_s = now_s + self.rule.next_wait_s(misses=self._misses, age_s=age_s)
        self.check_when_due(now_s)


class DurationCache:
    """The poll rules of a service's workflows, with the durations that earlier processes recorded."""

    def __init__(self, history: History, identity: str) -> None:
        self._history = history
        self._identity = identity
        self._rules: dict[str, PollRule] = {}

    def rule_of(self, workflow_key: str) -> PollRule:
        """Return the poll rule that all runs of a workflow share."""
        rule = self._rules.get(workflow_key)
        if rule is None:
            samples = self._history.durations.last_samples(self._identity, workflow_key)
            rule = self._rules.setdefault(workflow_key, PollRule(samples))  # another thread may have been first
        return rule


class SpacedCounter:
    """Counts observations, at most one in every `lost_gap_s` seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.reset()

    def reset(self) -> None:
        self._count = 0
        self._counted_s = float("-inf")

    def add(self) -> int:
        """Count an observation if the last counted one was at least `lost_gap_s` ago. Return the count."""
        if not self.wait_s():
            self._count += 1
            self._counted_s = self._clock()
        return self._count

    def wait_s(self) -> float:
        """Return the time until the next observation counts, in seconds."""
        return max(0.0, self._counted_s + float(settings.lost_gap_s) - self._clock())


def backoff_s(failures: int) -> float:
    """Return the wait after a number of failures in a row, in seconds: exponential backoff with jitter.

    The jitter spreads the retries of requests that failed together, such as the images of one broken connection.
    """
    longest_s = min(settings.retry_max_s, settings.retry_base_s * 2 ** min(failures - 1, 30))
    return float(longest_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
