"""Adaptive concurrency limit: how many runs are in flight at once, and which run is submitted next."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING, Protocol

from comflowy_nb.status import Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from comflowy_nb.scheduler import Scheduler
    from comflowy_nb.tracking.run import Run
    from comflowy_nb.tracking.run_tracker import RunTracker


MAX_LIMIT = 256  # runs in flight
MIN_GAIN = 1.15  # a limit twice as large must raise the throughput by this factor to be doubled again
MAX_EARLY_FACTOR = 4  # times the start: how far the limit grows before the first round has ended


class ConcurrencyLimit:
    """Maximum number of runs in flight, which grows while the throughput grows.

    A service that executes n runs at once is busy with 2n runs in flight: n that run, and n that wait, so that a free
    slot is used before the client learns of the end of a run. The limit starts small and doubles after each round. A
    round is as many successes as the limit. The limit stops growing when a round raises the throughput by less than
    15 % over the best earlier round; it is then about 2n.

    The first round takes as long as a run. During it, the limit therefore also doubles whenever the newest run has
    begun, because then no run waits. This ends at 4 times the start, because a service may report waiting runs as
    `running`.

    Parameters
    ----------
    size
        Runs in flight at the start.
    grows
        False for a size that the user fixed.
    max_size
        The size to which it may grow.
    """

    def __init__(self, size: int, *, grows: bool = True, max_size: int = MAX_LIMIT) -> None:
        self.start = self.size = size
        self.max_size = max_size
        self.is_fixed = not grows
        self._grows = grows
        self._best_per_s = 0.0
        self._ends = 0
        self._since_s: float | None = None  # when the current round began

    @property
    def may_grow_early(self) -> bool:
        """Whether the limit may still grow before the end of the first round."""
        max_early = min(MAX_EARLY_FACTOR * self.start, self.max_size)
        return self._grows and not self._best_per_s and self.size < max_early

    def note_submit(self, now_s: float) -> None:
        """Begin the first round at the first submit."""
        if self._since_s is None:
            self._since_s = now_s

    def note_capacity(self, now_s: float) -> None:
        """Double the limit, because the newest run has begun. Begin a new round."""
        if self.may_grow_early:
            self.size = min(2 * self.size, self.max_size)
            self._ends, self._since_s = 0, now_s

    def note_end(self, now_s: float) -> None:
        """Count a success. At the end of a round, double the limit if the throughput has grown."""
        if not self._grows or self._since_s is None:
            return
        self._ends += 1
        if self._ends < self.size:
            return
        per_s = self._ends / max(now_s - self._since_s, 1e-6)
        self._ends, self._since_s = 0, now_s
        if per_s <= MIN_GAIN * self._best_per_s:
            self._grows = False
        else:
            self._best_per_s = per_s
            self.size = min(2 * self.size, self.max_size)

    def note_idle(self) -> None:
        """End the round without a measurement: with nothing left to submit, it does not measure the throughput."""
        self._ends, self._since_s = 0, None


class RunSource(Protocol):
    """A source of runs, such as the sender of a sweep.

    `window` is a fixed concurrency limit, which applies while the source has runs to submit. With None, the limit
    adapts.
    """

    window: int | None

    def submit_next(self) -> bool:
        """Submit one more run, on a tracker thread. Return False if there is none left."""


class SubmitQueue:
    """Start submits within the concurrency limit: first the queued runs, then the runs of the sources, round robin.

    Parameters
    ----------
    sizes
        Returns the start and the maximum of the limit. Both can change.
    """

    def __init__(self, scheduler: Scheduler, sizes: Callable[[], tuple[int, int]]) -> None:
        self._scheduler = scheduler
        self._sizes = sizes
        self._lock = threading.Lock()
        self._in_flight: set[RunTracker] = set()  # live and not queued
        self._queued: deque[RunTracker] = deque()
        self._newest: Run | None = None  # the run that the service accepted last
        self._sources: list[RunSource] = []
        self._submitting = 0  # calls of `submit_next` that have not returned
        start, max_size = sizes()
        self._last_limit = ConcurrencyLimit(start, max_size=max_size)

    @property
    def live_runs(self) -> int:
        return len(self._in_flight)

    def in_flight(self) -> list[RunTracker]:
        """Return the live runs that are not queued."""
        with self._lock:
            return list(self._in_flight)

    def submit(self, run_tracker: RunTracker) -> None:
        """Submit a run as soon as the limit permits it."""
        with self._lock:
            fits = len(self._in_flight) < self._limit().size
            if fits:
                self._start(run_tracker)
            else:
                self._queued.append(run_tracker)
        if fits:
            run_tracker.execute(run_tracker.submit)

    def remove(self, run_tracker: RunTracker) -> bool:
        """Remove a run from the queue. Return False if it is not queued, because its submit has begun."""
        with self._lock:
            if run_tracker not in self._queued:
                return False
            self._queued.remove(run_tracker)
            return True

    def add(self, source: RunSource) -> None:
        """Add a source, and submit its runs while the limit permits it."""
        with self._lock:
            self._sources.append(source)
        self.fill()

    def withdraw(self, source: RunSource) -> None:
        """Remove a source. A limit that it fixed no longer applies to the other sources."""
        with self._lock:
            if source in self._sources:
                self._sources.remove(source)
        self.fill()

    def fill(self) -> None:
        """Start as many submits as the limit permits."""
        ready = []
        with self._lock:
            size = self._limit().size
            while self._queued and len(self._in_flight) < size:
                ready.append(self._queued.popleft())
                self._start(ready[-1])
            free = max(0, size - len(self._in_flight) - self._submitting) if self._sources else 0
            self._submitting += free
        for run_tracker in ready:
            run_tracker.execute(run_tracker.submit)
        for _ in range(free):
            self._scheduler.execute(self._submit_from_source)

    def close(self) -> list[RunTracker]:
        """Start no more submits. Return the live runs, including the queued ones."""
        with self._lock:
            live = [*self._in_flight, *self._queued]
            self._queued.clear()
            self._sources.clear()
        return live

    # -- events of the tracker -----------------------------------------------------------------------------------

    def note_status(self, run_tracker: RunTracker) -> None:
        """Count a run as in flight or not, after a change of its status."""
        with self._lock:
            if not run_tracker.run.status.is_live:
                self._in_flight.discard(run_tracker)
            elif run_tracker not in self._queued:
                self._in_flight.add(run_tracker)

    def note_accepted(self, run: Run) -> None:
        """Note the run that the service accepted last."""
        self._newest = run

    def shows_capacity(self, run: Run) -> bool:
        """Return True if the limit may grow when this run begins: it is the newest run, and the limit is reached."""
        return (
            bool(self._sources)
            and run is self._newest
            and self._last_limit.may_grow_early
            and len(self._in_flight) >= self._last_limit.size
        )

    def note_running(self, run: Run) -> None:
        """Raise the limit if the start of this run shows that no run waits."""
        with self._lock:
            if not self.shows_capacity(run):
                return
            self._last_limit.note_capacity(self._scheduler.clock())
        self.fill()

    def note_released(self, run: Run) -> None:
        """Count a success, and start the submits that the limit permits now."""
        with self._lock:
            if run.status is Status.SUCCESS and (self._sources or self._queued):
                self._limit().note_end(self._scheduler.clock())
            elif run.status is Status.SUCCESS:
                self._limit().note_idle()
        self.fill()

    # -- internal, with the lock held -------------------------------------------------------------------------------

    def _limit(self) -> ConcurrencyLimit:
        """Return the limit. Make a new one if the setting has changed, or if a source has a fixed size."""
        fixed = [source.window for source in self._sources if source.window is not None]
        start, max_size = (min(fixed), MAX_LIMIT) if fixed else self._sizes()
        last = self._last_limit
        if (last.start, last.max_size, last.is_fixed) != (start, max_size, bool(fixed)):
            self._last_limit = ConcurrencyLimit(start, grows=not fixed, max_size=max_size)
        return self._last_limit

    def _start(self, run_tracker: RunTracker) -> None:
        self._in_flight.add(run_tracker)
        self._limit().note_submit(self._scheduler.clock())

    def _submit_from_source(self) -> None:
        with self._lock:
            source = self._sources[0] if self._sources else None
            if len(self._sources) > 1:
                self._sources.append(self._sources.pop(0))  # several sweeps take turns
        has_more = False
        try:
            has_more = source is not None and source.submit_next()
        finally:
            with self._lock:
                self._submitting -= 1
                if not has_more and source in self._sources:
                    self._sources.remove(source)
            # Always fill: during its submit the run counted twice, in `_submitting` and in `_in_flight`, so a run that
            # ended meanwhile started no submit.
            self.fill()
