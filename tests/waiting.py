"""Waiting in tests: for a condition, never for a time."""

from __future__ import annotations

import time

__all__ = ["wait_until"]


def wait_until(condition, timeout_s=30.0, said=lambda: ""):
    """Return once the condition holds. Past the deadline the test fails, with what `said` tells of the moment."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, f"it never came {said()}"
        time.sleep(0.01)
