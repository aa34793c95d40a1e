"""A long sweep with real kernels and the real sandbox: its results after failures."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import tempfile
from collections import Counter

import psutil
import pytest
from faulty_server import reply
from jupyter_client.manager import KernelManager
from scripted_api import RUN, png
from waiting import wait_until

from comflowy_nb import history

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]

CELLS = 300
SWEEP = """%%comflowy sweep default --as night --background --max-runs 300
3::cfg: 1..20
3::seed: 1..15
3::steps: 1
5::width: 64
5::height: 64
"""
SHORT_CELLS = 120  # a kernel is killed after 30: far more than it has in flight are left
SHORT = SWEEP.replace("1..20", "1..8")
LIMIT_BYTES = 1_000_000


class Kernel:
    """A notebook's kernel, whose user can answer prompts."""

    def __init__(self, home):
        # IPC instead of TCP: another process could use a chosen port before the kernel does.
        self._sockets = tempfile.mkdtemp(prefix="k")
        self._manager = KernelManager(transport="ipc", ip=f"{self._sockets}/k")
        self._manager.start_kernel(env={**os.environ, "COMFLOWY_HOME": str(home)})
        self.open_browser()
        self.pid = self._manager.provisioner.pid

    def run(self, source, timeout_s=90.0):
        """Execute a cell. Return its outputs as in a saved notebook: the last update of each display."""
        outputs = {}

        def take(message):
            content = message["content"]
            if message["msg_type"] == "error":
                raise AssertionError("\n".join(content["traceback"]))
            if message["msg_type"] in {"display_data", "update_display_data", "execute_result"}:
                name = content.get("transient", {}).get("display_id") or f"alone {len(outputs)}"
                outputs[name] = content["data"]

        self.client.execute_interactive(source, allow_stdin=True, timeout=timeout_s, output_hook=take)
        return list(outputs.values())

    def begin(self, source):
        """Execute a cell without waiting for its outputs."""
        self.client.execute(source, allow_stdin=True)

    def close_browser(self):
        self.client.stop_channels()

    def open_browser(self):
        self.client = self._manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)

    def end(self):
        self.client.stop_channels()
        self._manager.shutdown_kernel(now=True)
        shutil.rmtree(self._sockets, ignore_errors=True)


class KernelGroup:
    """A group of kernels that share a home folder and its sandbox."""

    def __init__(self, home):
        self._home = home
        self._kernels = []

    def start(self, target="sandbox"):
        """Start a kernel with the extension, connected to the sandbox."""
        kernel = Kernel(self._home)
        self._kernels.append(kernel)
        kernel.run(f"%load_ext comflowy_nb\n%comflowy connect {target}")
        return kernel

    def end(self):
        """End the kernels; the sandbox ends automatically when no client is connected."""
        for kernel in self._kernels:
            kernel.end()
        self._kernels.clear()
        address = self._home / "sandbox" / "address.json"
        if address.exists():
            with contextlib.suppress(psutil.NoSuchProcess):
                psutil.Process(json.loads(address.read_text())["pid"]).wait(40)

    def accepted(self):
        """Return how often the sandbox accepted each params; its store can be read only after its end."""
        self.end()
        with contextlib.closing(sqlite3.connect(self._home / "sandbox" / "runs.sqlite")) as connection:
            return Counter(params for (params,) in connection.execute("SELECT params FROM runs"))


@pytest.fixture
def kernels(home):
    group = KernelGroup(home)
    yield group
    group.end()


def accepted_runs():
    return sum(run.record.service_run_id is not None for run in history.runs(limit=None))


def texts(outputs):
    return [data.get("text/plain", "") for data in outputs]


def counts_of(kernel):
    outputs = kernel.run("night.status_counts()")  # the display of an earlier cell may be updated meanwhile
    output = next(text for text in texts(outputs) if text.startswith("{"))
    return eval(output)


def test_no_cell_is_submitted_twice_after_the_kernel_is_killed(kernels):
    """Three kernels: one submits and is killed, one watches, and one continues the sweep."""
    sender, watcher = kernels.start(), kernels.start()
    assert texts(sender.run(SHORT))[0].startswith("120 cells: 120 new")
    watcher.begin("night = %comflowy show night")  # shows updates until the sweep is settled
    wait_until(lambda: accepted_runs() >= 30)
    sender.kill()

    outputs_of_watcher = watcher.run("shown = %comflowy show night")
    assert any("not submitted" in text for text in texts(outputs_of_watcher))
    assert any("image/jpeg" in data for data in outputs_of_watcher)
    before = counts_of(watcher)
    assert sum(before.values()) == SHORT_CELLS
    assert before["not submitted"] > 0, "it was killed in the middle"
    assert set(before) <= {"success", "unknown", "not submitted"}, "what the sandbox had taken was followed to its end"
    accepted_before = accepted_runs()

    new_kernel = kernels.start()
    outputs_of_new_kernel = new_kernel.run("night = %comflowy show night")
    assert any(f"{before['success']} of 120 success" in text for text in texts(outputs_of_new_kernel))
    assert accepted_runs() == accepted_before, "to look costs nothing"
    again = new_kernel.run(SHORT.replace(" --background", ""))
    assert f"{before['success']} done (today, sandbox)" in texts(again)[0]
    counts = counts_of(new_kernel)
    unknown = counts.get("unknown", 0)  # a submit was in flight when the kernel was killed
    assert counts.get("success", 0) + unknown == SHORT_CELLS
    accepted = kernels.accepted()
    assert set(accepted.values()) == {1}, "no cell was sent twice"
    assert SHORT_CELLS - unknown <= len(accepted) <= SHORT_CELLS, "only cells whose response was lost may be missing"


def test_a_sweep_continues_while_the_browser_is_closed(kernels):
    kernel = kernels.start()
    kernel.begin(SWEEP)
    wait_until(lambda: accepted_runs() >= 30)
    kernel.close_browser()
    wait_until(lambda: accepted_runs() == CELLS, timeout_s=100)
    kernel.open_browser()
    outputs = kernel.run("night = %comflowy show night")
    assert counts_of(kernel) == {"success": CELLS}
    assert any("300 of 300 success" in text for text in texts(outputs))
    assert any("image/jpeg" in data for data in outputs)
    assert len(json.dumps(outputs)) < LIMIT_BYTES, "with what came late to the cell that sent it"
    later = kernels.start().run("%comflowy show night")
    assert any("300 of 300 success" in text for text in texts(later))
    assert len(json.dumps(later)) < LIMIT_BYTES
    assert set(kernels.accepted().values()) == {1}


def test_memory_does_not_grow_with_full_size_images(kernels, api, monkeypatch):
    """300 images of a megapixel are nearly a gigabyte of pixels."""
    api.live_statuses = []
    api.on("GET /images/*", reply(png(size=(1024, 1024)), headers={"Content-Type": "image/png"}))
    monkeypatch.setenv("COMFLOWY_URL", api.url)
    monkeypatch.setenv("COMFLOWY_API_KEY", "the-key")
    kernel = kernels.start("cloud")
    kernel.run("%comflowy run wf-1 3::cfg=0")  # load every module that a run needs
    process = psutil.Process(kernel.pid)
    before = process.memory_info().rss
    outputs = kernel.run(SWEEP.replace("default", "wf-1").replace(" --background", ""))
    assert any("300 of 300 success" in text for text in texts(outputs))
    assert len(json.dumps(outputs)) < LIMIT_BYTES
    growth_bytes = process.memory_info().rss - before
    assert growth_bytes < 200_000_000, f"{growth_bytes / 1e6:.0f} MB more"
    assert api.count(RUN) == CELLS + 1
