"""When the status of a run is checked: by the usual duration of its workflow, and at once after a hint.

A run is checked when runs of its workflow usually end, then in steps that widen. The time a check found it done is
only an upper bound of its duration: an estimate learned from detection times contains its own lateness and grows
without end. So a run found done at its first check counts as 0.9 of its age, which shrinks the estimate until checks
begin to miss again (FACTOR x FIRST_HIT must stay below 1).

An age is the time a check is sent minus the time the response to the submit arrived, on a monotonic clock.
"""

from __future__ import annotations

import logging
import random
import threading
from collections import deque
from statistics import median
from typing import TYPE_CHECKING

from comflowy_nb.errors import HistoryError
from comflowy_nb.status import event_of, next_status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from comflowy_nb.database.runs import History
    from comflowy_nb.scheduler import Scheduler
    from comflowy_nb.settings import Settings
    from comflowy_nb.status import Status
    from comflowy_nb.tracking.run import Run
    from comflowy_nb.tracking.tracker import Tracker

__all__ = [
    "SAMPLES",
    "SCOUTS",
    "DurationCache",
    "PollRule",
    "PollSchedule",
    "SpacedCounter",
    "backoff_s",
    "live_wait_s",
]

_log = logging.getLogger(__name__)

FACTOR = 1.05
FIRST_HIT = 0.9
SAMPLES = 24
SCOUTS = 3  # runs that are checked while nothing is known of a workflow; the others wait for the first end
LIVE_RUNS = 8  # with at most so many live runs each is also checked often enough for a live display
IDLE_WAIT_S = 30.0  # a run that waits for the first end of its workflow is still checked this often
GUARD_S, GUARD_FACTOR = 0.5, 1.5  # how much later a run is checked where webhooks report its end
TOGETHER_S = 0.5  # samples of so long are written at once: in a sweep, one write each would hold up all the others


class PollRule:
    """What is known of how long runs of one workflow take.

    Parameters
    ----------
    samples
        Seconds of earlier runs, oldest first; the last 24 count.
    """

    def __init__(self, samples: Iterable[float] = ()) -> None:
        self._samples: deque[float] = deque(samples, maxlen=SAMPLES)

    @property
    def estimate_s(self) -> float | None:
        """When to ask first, in seconds after the submit's answer; None while nothing is known."""
        return FACTOR * median(self._samples) if self._samples else None

    @property
    def usual_s(self) -> float | None:
        """How long a run usually takes, in seconds, for a person."""
        return median(self._samples) if self._samples else None

    def add(self, *, done_age_s: float, missed_age_s: float | None) -> float:
        """Learn from a run found done at one age and not done at an earlier one (None: there was no earlier check).

        Returns
        -------
        The sample, in seconds, so that it can be kept.
        """
        sample = FIRST_HIT * done_age_s if missed_age_s is None else (missed_age_s + done_age_s) / 2
        self._samples.append(sample)
        return sample

    def first_wait_s(self) -> float:
        """Seconds from the submit's answer to the first check."""
        estimate = self.estimate_s
        return 0.1 if estimate is None else estimate

    def next_wait_s(self, *, misses: int, age_s: float) -> float:
        """Seconds from the answer of a check that missed to the next check; `misses` counts from 1."""
        estimate = self.estimate_s
        if estimate is None:
            return min(2.0, max(0.03, 0.25 * age_s))
        return min(2.0, max(0.02, 0.12 * estimate * 1.4 ** min(misses - 1, 40)))


def live_wait_s(age_s: float, *, live_runs: int) -> float | None:
    """Seconds to the next check that keeps a status live, or None where too many runs are live for that."""
    return min(2.0, max(0.3, 0.25 * age_s)) if live_runs <= LIVE_RUNS else None


class PollSchedule:
    """The appointments of one run, of which the newest alone counts.

    Parameters
    ----------
    ask
        Asks, on a thread of the scheduler. It is given a function that says whether the appointment still counts: while
        it waited for its turn another may have found the end.
    """

    def __init__(
        self, tracker: Tracker, run: Run, pace: PollRule, *, ask: Callable[[Callable[[], bool]], None]
    ) -> None:
        self.pace = pace
        self.rule_due_s: float | None = None  # when the pace's rule asks next; None: it waits for a first end
        self.answered_s = tracker.scheduler.clock()  # when the submit's answer arrived
        self.missed_age_s: float | None = None  # how old the run was when it was seen to go on last
        self._tracker = tracker
        self._run = run
        self._ask = ask
        self._misses = 0
        self._newest = 0  # the number of an appointment
        self._hinted: Status | None = None  # the newest event since the last check
        self._lock = threading.Lock()  # of these two

    def at(self, due_s: float) -> None:
        """Check at a time, or now if there was a hint; an earlier appointment is void."""
        with self._lock:
            self._newest += 1
            number = self._newest
            if self._hinted and next_status(self._run.status, event_of(self._hinted)):
                due_s = min(due_s, self._tracker.scheduler.clock())

        def is_due() -> bool:
            return self._newest == number

        self._tracker.scheduler.submit_at(due_s, lambda: self._ask(is_due) if is_due() else None)

    def after(self, wait_s: float) -> None:
        """Check in so many seconds."""
        self.at(self._tracker.scheduler.clock() + wait_s)

    def hint(self, status: Status) -> None:
        """The service said by itself how it stands: ask now, whatever a step that goes on just then decides."""
        with self._lock:
            self._hinted = status
        self.after(0.0)

    def begin(self) -> None:
        """Begin a check: its response is newer than every hint before it."""
        with self._lock:
            self._hinted = None

    def stop(self) -> None:
        """Check no more."""
        with self._lock:
            self._newest += 1
        self.rule_due_s = None

    # -- the rule -----------------------------------------------------------------------------------------------

    def follow_rule(self, now_s: float | None = None) -> None:
        """Check by the rule from now on."""
        due_s = self.first_due_s()
        self.rule_due_s = due_s if now_s is None else max(now_s, due_s)

    def first_due_s(self) -> float:
        """Return when the rule checks first; where webhooks report every end, that only guards against a lost event."""
        wait_s = self.pace.first_wait_s()
        if self._tracker.reports_ends:
            wait_s = max(wait_s + GUARD_S, GUARD_FACTOR * wait_s)
        return self.answered_s + wait_s

    def next_due_s(self, now_s: float) -> float:
        """When to ask next: by the rule, and often enough to look live while few runs are."""
        wait_s = live_wait_s(max(0.0, now_s - self.answered_s), live_runs=self._tracker.live_runs())
        live_due_s = None if wait_s is None else now_s + wait_s
        return min((due for due in (self.rule_due_s, live_due_s) if due is not None), default=now_s + IDLE_WAIT_S)

    def again(self, now_s: float, age_s: float) -> None:
        """Check again when it is due: at that age, in seconds, the run was still live."""
        if self.rule_due_s is not None and now_s >= self.rule_due_s:
            self._misses += 1
            self.rule_due_s = now_s + self.pace.next_wait_s(misses=self._misses, age_s=age_s)
        self.at(self.next_due_s(now_s))


class DurationCache:
    """Of the service with this identity."""

    def __init__(self, history: History, identity: str, scheduler: Scheduler) -> None:
        self._history = history
        self._identity = identity
        self._scheduler = scheduler
        self._lock = threading.Lock()
        self._known: dict[str, PollRule] = {}
        self._unwritten: list[tuple[str, float]] = []

    def of(self, workflow_key: str) -> PollRule:
        with self._lock:
            pace = self._known.get(workflow_key)
        if pace is not None:
            return pace
        pace = PollRule(self._history.times.of(self._identity, workflow_key))
        with self._lock:
            return self._known.setdefault(workflow_key, pace)  # another thread may have been first

    def keep(self, workflow_key: str, seconds: float) -> None:
        """Keep the time that a run took, or what it added to a sweep, for later kernels."""
        with self._lock:
            self._unwritten.append((workflow_key, seconds))
            is_first = len(self._unwritten) == 1
        if is_first:
            self._scheduler.submit_at(self._scheduler.clock() + TOGETHER_S, self.write)

    def write(self) -> None:
        """Write what is not written yet; what the history can't take is dropped, for it only sets the pace."""
        with self._lock:
            samples, self._unwritten = self._unwritten, []
        try:
            self._history.times.add(self._identity, samples)
        except HistoryError as error:
            _log.debug("samples were not kept: %s", error)


class SpacedCounter:
    """Counts observations, at most one in every `gap_s` seconds."""

    def __init__(self) -> None:
        self._count = 0
        self._counted_s = float("-inf")

    def add(self, now_s: float, gap_s: float) -> int:
        """Count an observation of now, if the last one counted is long enough ago; the count."""
        if now_s - self._counted_s >= gap_s:
            self._count += 1
            self._counted_s = now_s
        return self._count

    def wait_s(self, now_s: float, gap_s: float) -> float:
        """Seconds until the next observation counts."""
        return max(0.0, self._counted_s + gap_s - now_s)


def backoff_s(settings: Settings, failures: int) -> float:
    """Return the wait after so many failures in a row, in seconds: exponential backoff with jitter."""
    longest_s = min(settings.retry_max_s, settings.retry_base_s * 2 ** min(failures - 1, 30))
    return float(longest_s * random.uniform(0.5, 1.0))  # noqa: S311 - jitter
