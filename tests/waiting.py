"""Wait in tests for a condition, not for a fixed time."""

from __future__ import annotations

import subprocess
import time

__all__ = ["end_process", "wait_until"]


def wait_until(condition, timeout_s=30.0, message=lambda: "", *, interval_s=0.01):
    """Return once the condition holds. Fail the test after the deadline, with the text of `message`."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, f"the condition did not become true {message()}"
        time.sleep(interval_s)


def end_process(process, timeout_s=60.0):
    """End a process of `subprocess`: ask it to terminate, and kill it after a time-out."""
    process.terminate()
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
