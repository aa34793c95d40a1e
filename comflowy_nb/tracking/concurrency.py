"""Adaptive concurrency limit: how many runs are in flight at once, and which run is submitted next."""

from __future__ import annotations

import math
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
LONG_ROUND, MORE_SLOTS_GAIN = 4, 1.5  # the same for a sufficient limit; runs of one duration end in groups
MAX_EARLY_FACTOR = 4  # times the start: how far the limit grows before the first round has ended
PROBE_SHARE = 2 / 3  # of the limit: how many runs a service executes at once, at least, when the probe has begun


class ConcurrencyLimit:
    """Maximum number of runs in flight, which grows while the throughput grows.

    A service that executes n runs at once is busy with 2n runs in flight: n that run, and n that wait, so that a free
    slot is used before the client learns of the end of a run. The limit starts small and doubles after each round. A
    round is as many successes as the limit. The limit stops growing when a round raises the throughput by less than
    15 % over the best earlier round; it is then about 2n.

    The first round takes as long as a run. During it, the limit therefore also doubles when the probe begins: the run
    that fills two thirds of the limit. This ends at 4 times the start, because a service may report waiting runs as
    `running`. If the probe waits more than twice as long as the probes of smaller limits did, then n is below two
    thirds of the limit, which suffices. It then stays, unless the throughput shows that the service has added slots.

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
        self._start_s: float | None = None  # until a probe was seen running, at most, after its acceptance
        self._is_sufficient = False
        self._best_per_s = 0.0
        self._ends = 0
        self._since_s: float | None = None  # when the current round began

    @property
    def is_probing(self) -> bool:
        """Whether a probe can still change the limit: it can until the end of the first round."""
        return self._grows and not self._best_per_s and not self._is_sufficient

    @property
    def probe_position(self) -> int:
        """Number of accepted runs at which the last one becomes the probe."""
        return math.ceil(PROBE_SHARE * self.size)

    def note_submit(self, now_s: float) -> None:
        """Begin the first round at the first submit."""
        if self._since_s is None:
            self._since_s = now_s

    def note_probe_running(self, age_s: float, now_s: float) -> None:
        """Double the limit, because the probe has begun. Begin a new round."""
        self._start_s = max(age_s, self._start_s or 0.0)
        max_early = min(MAX_EARLY_FACTOR * self.start, self.max_size)
        if self.size < max_early:
            self.size = min(2 * self.size, self.max_size)
            self._ends, self._since_s = 0, now_s

    def note_probe_waiting(self, age_s: float) -> None:
        """Note that the limit suffices, if the probe waits much longer than the probes before it took to begin."""
        # At the first limit, a service that begins runs late does not differ from one with few slots.
        self._is_sufficient = self._start_s is not None and age_s > 2 * self._start_s

    def note_end(self, now_s: float) -> None:
        """Count a success. At the end of a round, double the limit if the throughput has grown."""
        if not self._grows or self._since_s is None:
            return
        self._ends += 1
        if self._ends < self.size * (LONG_ROUND if self._is_sufficient else 1):
            return
        per_s = self._ends / max(now_s - self._since_s, 1e-6)
        self._ends, self._since_s = 0, now_s
        if self._is_sufficient and not self._best_per_s:
            self._best_per_s = per_s
        elif per_s > self._best_per_s * (MORE_SLOTS_GAIN if self._is_sufficient else MIN_GAIN):
            self._best_per_s = per_s
            self._is_sufficient = False
            self.size = min(2 * self.size, self.max_size)
        elif not self._is_sufficient:
            self._grows = False

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
        self._probe: Run | None = None  # the run whose start or wait shows whether the limit suffices
        self._probe_size = 0  # the limit at which it was chosen
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
        """Choose a run that the service has accepted as the probe, if it fills the limit far enough."""
        with self._lock:
            limit = self._last_limit
            if not self._sources or not limit.is_probing or self._probe_size == limit.size:
                return
            accepted = sum(tracker.run.status is not Status.SUBMITTING for tracker in self._in_flight)
            if accepted >= limit.probe_position:
                self._probe, self._probe_size = run, limit.size

    def is_probe(self, run: Run) -> bool:
        """Return True if the limit depends on whether this run has begun."""
        return run is self._probe and bool(self._sources) and self._last_limit.is_probing

    def note_live(self, run: Run, age_s: float, *, is_running: bool) -> None:
        """Note that a run is seen waiting or running, `age_s` after its acceptance. If it is the probe, it counts."""
        with self._lock:
            if not self.is_probe(run):
                return
            if is_running:
                self._probe = None
                self._last_limit.note_probe_running(age_s, self._scheduler.clock())
            else:
                self._last_limit.note_probe_waiting(age_s)
        self.fill()

    def note_released(self, run: Run) -> None:
        """Count a success, and start the submits that the limit permits now."""
        with self._lock:
            if run.status is Status.SUCCESS:
                self._probe = None  # the run that ended may have let it begin
                if self._sources or self._queued:
                    self._limit().note_end(self._scheduler.clock())
                else:
                    self._probe_size = 0
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
            self._probe, self._probe_size = None, 0
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
