"""Time the cells of a Jupyter kernel: wall time, CPU time of its processes, and time to the first image."""

from __future__ import annotations

import os
import time

import psutil
from jupyter_client.manager import start_new_kernel

_IMAGES = ("image/png", "image/jpeg")


class Kernel:
    """Start a kernel with these environment variables; end it and its processes on exit."""

    def __init__(self, **variables: str) -> None:
        self.manager, self.client = start_new_kernel(
            env={**os.environ, **variables}, extra_arguments=["--log-level=ERROR"]
        )
        self.process = psutil.Process(self.manager.provisioner.pid)

    def __enter__(self) -> Kernel:  # noqa: PYI034 - final
        return self

    def __exit__(self, *_: object) -> None:
        self.client.stop_channels()
        self.manager.shutdown_kernel(now=True)

    def run(self, code: str, timeout_s: float = 120) -> dict:
        """Run a cell until the kernel is idle. An error in the cell raises RuntimeError."""
        image_s, errors, updates = [], [], 0
        cpu_s, began_s = self.cpu_s(), time.monotonic()

        def receive(message: dict) -> None:
            nonlocal updates
            content = message["content"]
            updates += message["msg_type"] == "update_display_data"
            if message["msg_type"] == "error":
                errors.append(content["evalue"])
            data = content.get("data") or {}
            if any(kind in data or kind in str(data.get("text/html", "")) for kind in _IMAGES):
                image_s.append(time.monotonic() - began_s)

        self.client.execute_interactive(code, output_hook=receive, timeout=timeout_s)
        wall_s = time.monotonic() - began_s
        if errors:
            raise RuntimeError(errors[0])
        last_s = image_s[-1] if image_s else None
        return {"wall_s": wall_s, "cpu_s": self.cpu_s() - cpu_s, "image_s": last_s, "updates": updates}

    def cpu_s(self) -> float:
        """Return the CPU time of the kernel and of the processes that it started."""
        total = 0.0
        for process in (self.process, *self.process.children(recursive=True)):
            try:
                times = process.cpu_times()
            except psutil.Error:  # it has ended
                continue
            total += times.user + times.system
        return total
