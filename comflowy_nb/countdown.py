"""Countdown: the remaining time of a timeout, which elapses only while this process runs."""

from __future__ import annotations

import time

READ_EVERY_S = 1.0  # read `left_s` at least this often
MAX_STEP_S = 2.0  # a longer time between two readings counts as a pause


class Countdown:
    """The remaining time of a timeout, in seconds.

    A process that is stopped (SIGSTOP, a frozen container) or whose machine sleeps can't read responses that arrive
    meanwhile. `time.monotonic()` stands still while Linux and macOS sleep, but continues while Windows sleeps and while
    a process is stopped. The time between two readings of `left_s` therefore counts as at most `MAX_STEP_S`.
    """

    def __init__(self, seconds: float) -> None:
        self._left_s = seconds
        self._read_s = time.monotonic()

    def left_s(self) -> float:
        """Return the remaining time; 0 or less after the timeout."""
        now_s = time.monotonic()
        self._left_s -= min(now_s - self._read_s, MAX_STEP_S)
        self._read_s = now_s
        return self._left_s
