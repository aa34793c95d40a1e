"""How many runs are in flight at once: few at the start, more while that makes more of them end."""

from __future__ import annotations

__all__ = ["LARGEST", "Window"]

LARGEST = 256
WORTH = 1.15  # a window twice as large must end so many times as many runs a second to grow on


class Window:
    """The size of the window, grown by what it brings.

    A service with n places is kept busy by 2n runs in flight: one that runs and one that waits for each place, so that
    no place idles while an end is not yet known. From a small start the window doubles after each turn (as many ends
    as it is large) until a turn brings no more ends a second than the best before it, which is when it holds about 2n.

    Parameters
    ----------
    size
        At the start.
    grows
        False for a size that a person fixed.
    """

    def __init__(self, size: int, *, grows: bool = True) -> None:
        self.start = self.size = size
        self._grows = grows
        self._best_per_s = 0.0
        self._ends = 0
        self._since_s: float | None = None

    def begin(self, now_s: float) -> None:
        """A run was sent; the first begins the first turn."""
        if self._since_s is None:
            self._since_s = now_s

    def rest(self) -> None:
        """There is nothing more to send: what ends now says nothing about how much the service can do."""
        self._ends, self._since_s = 0, None

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
        self.size = min(2 * self.size, LARGEST)
        return True
