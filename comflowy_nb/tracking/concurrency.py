"""How many runs are in flight at once: few at the start, more while that makes more of them end."""

from __future__ import annotations

__all__ = ["LARGEST", "ConcurrencyLimit"]

LARGEST = 256
WORTH = 1.15  # a window twice as large must end so many times as many runs a second to grow on
TRIED = 4  # how many times its start it may be before the first end


class ConcurrencyLimit:
    """The size of the window, grown by what it brings.

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
        """A run was sent; the first begins the first turn."""
        if self._since_s is None:
            self._since_s = now_s

    def rest(self) -> None:
        """There is nothing more to send: what ends now says nothing about how much the service can do."""
        self._ends, self._since_s = 0, None

    def look(self, *, running: bool, now_s: float) -> bool:
        """The run sent last was looked at, the window being full; whether the window is larger now."""
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
        """A run ended; whether the window is larger now."""
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
