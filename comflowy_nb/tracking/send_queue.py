"""The sweeps that have more to send, and the window: how many runs are in flight at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from comflowy_nb.tracking.concurrency import LARGEST, ConcurrencyLimit

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable

    from comflowy_nb.scheduler import Scheduler

__all__ = ["RunSource", "SendQueue"]


class RunSource(Protocol):
    """Where runs come from while there is room in the window: a sweep.

    `window` is the size that a person fixed for it: no more are in flight while it sends; None lets the window grow.
    """

    window: int | None

    def send_next(self) -> bool:
        """Send one more, on a tracker thread; False when there is no more to send."""


class SendQueue:
    """Asks the feeds for runs as there is room.

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
        times: Scheduler,
        lock: threading.RLock,
        *,
        live_runs: Callable[[], int | None],
        sizes: Callable[[], tuple[int, int]],
    ) -> None:
        self._times = times
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
        """Ask the feeds for as many runs as there is room for."""
        with self._lock:
            live = self._live_runs()
            room = self.window.size - live - self._asked if self._feeds and live is not None else 0
            self._asked += max(0, room)
        for _ in range(room):
            self._times.soon(self._ask_one)

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
            # Always: while it was sent it counted twice, as asked for and as live, and an end that came in that moment
            # saw no room.
            self.fill()
