"""Wait in tests for a condition, not for a fixed time."""

from __future__ import annotations

import time

__all__ = ["wait_until"]


def wait_until(condition, timeout_s=30.0, message=lambda: ""):
    """Return once the condition holds. Fail the test after the deadline, with the text of `message`."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, f"the condition did not become true {message()}"
        time.sleep(0.01)
