"""Workers that don't start, don't stop, or write to a full disk."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time

import psutil
import pytest

from comflowy_nb.sandbox.server import worker_pool
from comflowy_nb.sandbox.server.home import Paths
from comflowy_nb.sandbox.server.worker_pool import WorkerPool

QUICK = {"3::steps": 1, "5::width": 64, "5::height": 64}
LONG = {**QUICK, "3::steps": 10000, "5::batch_size": 4}
LIMITED = pytest.mark.skipif(not hasattr(psutil, "RLIMIT_FSIZE"), reason="file sizes can be limited on Linux alone")


@pytest.fixture
def paths(tmp_path):
    paths = Paths(tmp_path)
    paths.make()
    return paths


@pytest.mark.parametrize(("ends", "words"), [("raise SystemExit(7)", "exit status 7"), (None, "could not start")])
def test_worker_that_can_not_start_fails_its_run_and_is_not_started_again(paths, monkeypatch, tmp_path, ends, words):
    broken = tmp_path / "broken"
    if ends:
        broken.write_text(f"#!{sys.executable}\n{ends}")
        broken.chmod(0o755)
    monkeypatch.setattr(worker_pool.sys, "executable", str(broken))

    async def main():
        workers = WorkerPool(paths, size=2)
        lost = []
        workers.on_exit = lambda worker, why: lost.append((worker.run_id, why))
        worker = workers.take()
        worker.run_id = "run"
        worker.order("run", run_id="run")
        assert await workers.read_node_types() is None
        assert await workers.read_node_types() is None  # a repeated request tries and fails again
        await workers.close()
        return lost

    first, second = asyncio.run(main())
    assert first[0] == "run"
    assert words in first[1]
    assert second[0] is None


def test_a_worker_ends_when_its_server_closes_the_pipe(paths):
    async def main():
        workers = WorkerPool(paths, size=1)
        workers.warm()
        assert await workers.read_node_types()
        (worker,) = workers._workers
        process = psutil.Process(worker.process.pid)
        worker.process.stdin.close()
        await asyncio.to_thread(process.wait, 10)
        await workers.close()

    asyncio.run(main())


@LIMITED
def test_a_full_disk_fails_the_run_with_a_message(start):
    """A limit on the size of files simulates a full disk: the worker can't write its image."""
    sandbox = start()
    sandbox.await_status(sandbox.run(QUICK), "success")
    for worker in sandbox.workers():
        worker.rlimit(psutil.RLIMIT_FSIZE, (1000, psutil.RLIM_INFINITY))
    data = sandbox.await_status(sandbox.run({**QUICK, "3::seed": 5}), "failed")
    assert json.loads(data["error"])["exception_message"] == "the sandbox cannot write the image: File too large"
    for worker in sandbox.workers():
        worker.rlimit(psutil.RLIMIT_FSIZE, (psutil.RLIM_INFINITY, psutil.RLIM_INFINITY))
    sandbox.await_status(sandbox.run({**QUICK, "3::seed": 5}), "success")


@LIMITED
def test_a_full_disk_rejects_new_runs_and_loses_none(start):
    sandbox = start()
    run_id = sandbox.run(LONG)
    sandbox.await_status(run_id, "running")
    server = psutil.Process(sandbox.process.pid)
    server.rlimit(psutil.RLIMIT_FSIZE, (1, psutil.RLIM_INFINITY))
    answer = sandbox.post("run", json={"workflow_id": "default", "params": QUICK})
    assert (answer.status_code, answer.json()["success"]) == (500, False)
    assert "cannot use its folder" in answer.json()["error"]
    for worker in sandbox.workers():
        worker.send_signal(signal.SIGKILL)
    data = sandbox.await_status(run_id, "failed")
    assert "could not store the result of this run" in data["error"]
    sandbox.end(signal.SIGKILL)
    again = start()
    again.await_status(run_id, "running")
    again.post("cancel", params={"id": run_id})


def test_worker_that_does_not_stop_is_killed(start):
    hasty = (
        "from comflowy_nb.sandbox.server import run_queue; run_queue._STOP_S = 1.0; "
        "from comflowy_nb.cli.main import main; main()"
    )
    sandbox = start(program=("-c", hasty))
    run_id = sandbox.run(LONG)
    sandbox.await_status(run_id, "running")
    workers = sandbox.workers()
    for worker in workers:
        worker.suspend()
    asked_s = time.monotonic()
    sandbox.post("cancel", params={"id": run_id})
    assert sandbox.await_status(run_id, "failed")["error"] == "cancelled"
    assert time.monotonic() - asked_s >= 1.0, "it had time to stop"
    for worker in workers:
        if worker.is_running():
            worker.resume()
    sandbox.await_status(sandbox.run(QUICK), "success")
