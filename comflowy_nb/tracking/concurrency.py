"""How many runs are in flight at once, and which sweep submits the next one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from comflowy_nb.scheduler import Scheduler

__all__ = ["LARGEST", "ConcurrencyLimit", "RunSource", "SendQueue"]

LARGEST = 256
WORTH = 1.15  # a window twice as large must end so many times as many runs a second to grow on
TRIED = 4  # how many times its start it may be before the first end


class ConcurrencyLimit:
    """The concurrency limit, which grows while throughput grows.

    A service with n places is kept busy by 2n runs in flight: one that runs and one that waits for each place, so that
    no place idles while an end is not yet known. From a small start the window doubles after each turn (as many ends
    as it is large) until a turn brings no more ends a second than the best before it, which is when it holds about 2n.

    The first turn would take as long as a run does. So before its end there is a look at the run that was sent last: if
    it has begun, nothing waits, and the window doubles at once.

    Parameters
    ----------
    size
        At the start.
    grows
        False for a size that a person fixed.
    largest
        The size to which it may grow.
    """

    def __init__(self, size: int, *, grows: bool = True, largest: int = LARGEST) -> None:
        self.start = self.size = size
        self.largest = largest
        self.is_fixed = not grows
        self._grows = grows
        self._best_per_s = 0.0
        self._ends = 0
        self._since_s: float | None = None
        self._is_full = False  # doubled by a look, it was seen to hold more than the service has places for

    @property
    def is_tried(self) -> bool:
        """Whether a look tells it something: before the first turn has ended."""
        return self._grows and not self._is_full and not self._best_per_s

    def begin(self, now_s: float) -> None:
        """Count a submit; the first begins the first turn."""
        if self._since_s is None:
            self._since_s = now_s

    def rest(self) -> None:
        """There is nothing more to send: what ends now says nothing about how much the service can do."""
        self._ends, self._since_s = 0, None

    def look(self, *, running: bool, now_s: float) -> bool:
        """Take the first check of the newest run while the limit is reached; return True if the limit grew."""
        if not self.is_tried:
            return False
        if running and self.size < min(TRIED * self.start, self.largest):
            self.size = min(2 * self.size, TRIED * self.start, self.largest)
            return True
        if not running and self.size > self.start:
            self._is_full = True
            self._ends, self._since_s = 0, now_s  # a turn that began with few in flight is no measure for the next
        return False

    def end(self, now_s: float) -> bool:
        """Count an end; return True if the limit grew."""
        if not self._grows or self._since_s is None:
            return False
        self._ends += 1
        if self._ends < self.size:
            return False
        per_s = self._ends / max(now_s - self._since_s, 1e-6)
        self._ends, self._since_s = 0, now_s
        if per_s <= WORTH * self._best_per_s:
            self._grows = False
            return False
        self._best_per_s = per_s
        if self._is_full:  # from here on only what a turn brings counts
            self._is_full = False
            return False
        before, self.size = self.size, min(2 * self.size, self.largest)
        return self.size > before


class RunSource(Protocol):
    """A source of runs: the sender of a sweep, which is in a higher layer.

    `window` is the size that a person fixed for it: no more are in flight while it sends; None lets the window grow.
    """

    window: int | None

    def send_next(self) -> bool:
        """Submit one more run, on a tracker thread. Return False if there is none left."""


class SendQueue:
    """The sweeps that have more to submit, which take turns.

    Parameters
    ----------
    lock
        Held while what the tracker counts is read or changed.
    live_runs
        How many runs are in flight; None once nothing more is to be sent.
    sizes
        The size that a window begins with and the size to which it may grow, as they are now.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        lock: threading.RLock,
        *,
        live_runs: Callable[[], int | None],
        sizes: Callable[[], tuple[int, int]],
    ) -> None:
        self._scheduler = scheduler
        self._lock = lock
        self._live_runs = live_runs
        self._sizes = sizes
        self._feeds: list[RunSource] = []
        self._asked = 0  # threads that ask a feed right now
        start, largest = sizes()
        self._window = ConcurrencyLimit(start, largest=largest)

    def __bool__(self) -> bool:
        return bool(self._feeds)

    @property
    def window(self) -> ConcurrencyLimit:
        """Begun anew when the setting is changed, or a sweep fixes its size."""
        fixed = [feed.window for feed in self._feeds if feed.window is not None]
        start, largest = (min(fixed), LARGEST) if fixed else self._sizes()
        known = self._window
        if (known.start, known.largest, known.is_fixed) != (start, largest, bool(fixed)):
            self._window = ConcurrencyLimit(start, grows=not fixed, largest=largest)
        return self._window

    def add(self, feed: RunSource) -> None:
        """Take runs from here while there is room in the window."""
        with self._lock:
            self._feeds.append(feed)
        self.fill()

    def withdraw(self, feed: RunSource) -> None:
        """It sends no more: what it fixed no longer binds the others."""
        with self._lock:
            if feed in self._feeds:
                self._feeds.remove(feed)
        self.fill()

    def fill(self) -> None:
        """Submit as many runs of the sweeps as the concurrency limit permits."""
        with self._lock:
            live = self._live_runs()
            room = self.window.size - live - self._asked if self._feeds and live is not None else 0
            self._asked += max(0, room)
        for _ in range(room):
            self._scheduler.execute(self._ask_one)

    def _ask_one(self) -> None:
        with self._lock:
            feed = self._feeds[0] if self._feeds else None
        sent = False
        try:
            sent = feed is not None and feed.send_next()
        finally:
            with self._lock:
                self._asked -= 1
                if feed is not None and not sent and feed in self._feeds:
                    self._feeds.remove(feed)
                elif len(self._feeds) > 1:
                    self._feeds.append(self._feeds.pop(0))  # several sweeps take turns
            # Always: while it was submitted it counted twice, as asked for and as live, and an end at that time
            # saw no room.
            self.fill()
