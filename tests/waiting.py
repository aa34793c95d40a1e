"""Wait in tests for a condition, not for a fixed time."""

from __future__ import annotations

import subprocess
import time

__all__ = ["end_process", "wait_until"]


def wait_until(condition, timeout_s=30.0, message=lambda: "", *, interval_s=0.01):
    """Return once the condition holds. Fail the test after the deadline, with the text of `message`.

    After half a second the condition is checked less often, because tests of other processes need the processor.
    """
    began_s = time.monotonic()
    while not condition():
        passed_s = time.monotonic() - began_s
        assert passed_s < timeout_s, f"the condition did not become true {message()}"
        time.sleep(max(interval_s, min(passed_s / 50, 0.05)))


def end_process(process, timeout_s=60.0):
    """End a process of `subprocess`: ask it to terminate, and kill it after a time-out."""
    process.terminate()
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
