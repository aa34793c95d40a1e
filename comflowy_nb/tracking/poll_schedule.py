"""When one run is asked about: by its workflow's pace, often enough to look live, and at once after a hint."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol

from comflowy_nb.status import event_of, next_status
from comflowy_nb.tracking.poll_rule import live_wait_s

if TYPE_CHECKING:
    from collections.abc import Callable

    from comflowy_nb.scheduler import Scheduler
    from comflowy_nb.status import Status
    from comflowy_nb.tracking.poll_rule import PollRule
    from comflowy_nb.tracking.run import Run

__all__ = ["PollSchedule", "Round"]

IDLE_WAIT_S = 30.0  # a run that waits for the first end of its workflow is still asked about this often
GUARD_S, GUARD_FACTOR = 0.5, 1.5  # how much later a run is asked about where webhooks come


class Round(Protocol):
    """What the runs that are asked about together share."""

    times: Scheduler

    @property
    def hears(self) -> bool:
        """Whether the service tells of every end by a webhook, as far as can be seen."""

    def live_runs(self) -> int: ...


class PollSchedule:
    """The appointments of one run, of which the newest alone counts.

    Parameters
    ----------
    ask
        Asks, on a thread of the timetable. It is given a function that says whether the appointment still counts: while
        it waited for its turn another may have found the end.
    """

    def __init__(self, shared: Round, run: Run, pace: PollRule, *, ask: Callable[[Callable[[], bool]], None]) -> None:
        self.pace = pace
        self.rule_due_s: float | None = None  # when the pace's rule asks next; None: it waits for a first end
        self.answered_s = shared.times.clock()  # when the submit's answer arrived
        self.missed_age_s: float | None = None  # how old the run was when it was seen to go on last
        self._shared = shared
        self._run = run
        self._ask = ask
        self._misses = 0
        self._newest = 0  # the number of an appointment
        self._hinted: Status | None = None  # what was heard since the service was asked last
        self._lock = threading.Lock()  # of these two

    def at(self, due_s: float) -> None:
        """Ask at a time, or now if there was a hint; an earlier appointment is void."""
        with self._lock:
            self._newest += 1
            number = self._newest
            if self._hinted and next_status(self._run.status, event_of(self._hinted)):
                due_s = min(due_s, self._shared.times.clock())

        def is_due() -> bool:
            return self._newest == number

        self._shared.times.at(due_s, lambda: self._ask(is_due) if is_due() else None)

    def after(self, wait_s: float) -> None:
        """Ask in so many seconds."""
        self.at(self._shared.times.clock() + wait_s)

    def hint(self, status: Status) -> None:
        """The service said by itself how it stands: ask now, whatever a step that goes on just then decides."""
        with self._lock:
            self._hinted = status
        self.after(0.0)

    def begin(self) -> None:
        """The service is asked: what it said before is answered by that."""
        with self._lock:
            self._hinted = None

    def stop(self) -> None:
        """Ask no more."""
        with self._lock:
            self._newest += 1
        self.rule_due_s = None

    # -- the rule -----------------------------------------------------------------------------------------------

    def follow_rule(self, now_s: float | None = None) -> None:
        """Ask by the pace's rule from now on."""
        due_s = self.first_due_s()
        self.rule_due_s = due_s if now_s is None else max(now_s, due_s)

    def first_due_s(self) -> float:
        """When the rule asks first; where every end is told of, that only guards against a lost word."""
        wait_s = self.pace.first_wait_s()
        if self._shared.hears:
            wait_s = max(wait_s + GUARD_S, GUARD_FACTOR * wait_s)
        return self.answered_s + wait_s

    def next_due_s(self, now_s: float) -> float:
        """When to ask next: by the rule, and often enough to look live while few runs are."""
        wait_s = live_wait_s(max(0.0, now_s - self.answered_s), live_runs=self._shared.live_runs())
        live_due_s = None if wait_s is None else now_s + wait_s
        return min((due for due in (self.rule_due_s, live_due_s) if due is not None), default=now_s + IDLE_WAIT_S)

    def again(self, now_s: float, age_s: float) -> None:
        """It was asked about at that age, in seconds, and goes on: ask again when it is due."""
        if self.rule_due_s is not None and now_s >= self.rule_due_s:
            self._misses += 1
            self.rule_due_s = now_s + self.pace.next_wait_s(misses=self._misses, age_s=age_s)
        self.at(self.next_due_s(now_s))
