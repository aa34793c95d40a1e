"""The worker processes: one per core, started when they are needed, each with two pipes of JSON lines."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import traceback
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from comflowy_nb.sandbox.server.paths import Paths

__all__ = ["Worker", "WorkerPool", "count_cores"]

# One worker renders on one core: threads of their own would only make the runs wait for one another.
_ONE_THREAD = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
_KEPT_WARM = 2  # workers that are started before the first run
_END_S = 5.0
_LINE_MAX_BYTES = 1 << 24  # above what the largest message of a worker takes


def count_cores() -> int:
    """The cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Worker:
    """One process as the server sees it."""

    def __init__(self) -> None:
        self.is_ready = False
        self.run_id: str | None = None  # the run it has and has not ended
        self.process: asyncio.subprocess.Process | None = None
        self._unsent: list[bytes] = []

    def order(self, kind: str, **values: Any) -> None:
        line = json.dumps({"kind": kind, **values}).encode() + b"\n"
        if self.process is None or self.process.stdin is None:
            self._unsent.append(line)
        elif not self.process.stdin.is_closing():
            self.process.stdin.write(line)

    def kill(self) -> None:
        if self.process is not None and self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()

    async def start(self, paths: Paths) -> asyncio.subprocess.Process:
        self.process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "comflowy_nb.sandbox.server.worker"),
            *map(str, (paths.inputs, paths.images)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            cwd=paths.folder,
            env={**os.environ, **dict.fromkeys(_ONE_THREAD, "1")},
            start_new_session=True,  # Ctrl-C in the server's terminal is for the server alone
            limit=_LINE_MAX_BYTES,
        )
        assert self.process.stdin is not None
        self.process.stdin.writelines(self._unsent)
        return self.process


class WorkerPool:
    """All workers; callbacks tell of messages, of exits, and that a worker is free.

    Parameters
    ----------
    size
        The largest number of processes.
    """

    def __init__(self, paths: Paths, *, size: int) -> None:
        self._paths = paths
        self._size = max(1, size)
        self._workers: list[Worker] = []  # the one that was busy last comes first: its cache is the warmest
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closing = False
        self._object_info: asyncio.Future[Mapping[str, Any] | None] = asyncio.get_running_loop().create_future()
        self.on_message: Callable[[Worker, Mapping[str, Any]], None] = lambda _worker, _news: None
        self.on_exit: Callable[[Worker, str], None] = lambda _worker, _why: None
        self.on_free: Callable[[], None] = lambda: None

    def warm(self) -> None:
        """Start the first worker, so that the first run finds it ready; a second follows when that one is."""
        if not self._is_closing and len(self._workers) < min(self._size, _KEPT_WARM):
            self._add()

    def take(self) -> Worker | None:
        """A worker without a run: a ready one, else one that is starting, else a new one; None if all are busy."""
        idle = sorted((worker for worker in self._workers if worker.run_id is None), key=lambda one: not one.is_ready)
        if idle:
            return idle[0]
        if len(self._workers) < self._size and not self._is_closing:
            return self._add()
        return None

    async def read_object_info(self) -> Mapping[str, Any] | None:
        """The node types, from the first worker that got ready; None if none did."""
        if self._object_info.done() and self._object_info.result() is None:
            self._object_info = asyncio.get_running_loop().create_future()
            self.warm()
        return await asyncio.shield(self._object_info)

    async def close(self) -> None:
        """Kill them all and wait until they are gone."""
        self._is_closing = True
        for worker in self._workers:
            worker.kill()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_END_S)

    def _add(self) -> Worker:
        worker = Worker()
        self._workers.append(worker)
        task = asyncio.create_task(self._run_worker(worker))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return worker

    async def _run_worker(self, worker: Worker) -> None:
        try:
            process = await worker.start(self._paths)
        except OSError as error:
            why = f"the sandbox could not start a worker process ({error.strerror or type(error).__name__})"
        else:
            if self._is_closing:
                worker.kill()
            assert process.stdout is not None
            with contextlib.suppress(ConnectionError):
                async for line in process.stdout:
                    if line.endswith(b"\n"):  # else the worker died while it wrote
                        self._on_message(worker, json.loads(line))
            why = _describe_end(await _await_exit(process), was_ready=worker.is_ready)
        self._workers.remove(worker)
        if not self._is_closing:
            self.on_exit(worker, why)
            # A worker that never got ready would fail again: only a run starts another.
            if worker.is_ready:
                self.warm()
            elif not self._object_info.done():
                self._object_info.set_result(None)
            self.on_free()

    def _on_message(self, worker: Worker, message: Mapping[str, Any]) -> None:
        if message["kind"] == "loaded":
            if not self._object_info.done():
                self._object_info.set_result(message["object_info"])
            return
        if message["kind"] == "ready":
            worker.is_ready = True
            self.warm()
            return
        try:
            self.on_message(worker, message)
        except Exception:  # noqa: BLE001 - an error here must not leave the run without an end
            traceback.print_exc()
            worker.kill()
        if worker.run_id is None:
            self._workers.sort(key=lambda one: one is not worker)
            self.on_free()


async def _await_exit(process: asyncio.subprocess.Process) -> int:
    """Return the exit status of a process that closed its pipe; kill it only if it does not end."""
    # A kill of a process that ends by itself makes asyncio lose its exit status.
    try:
        return await asyncio.wait_for(process.wait(), _END_S)
    except TimeoutError:
        process.kill()
        return await process.wait()


def _describe_end(code: int, *, was_ready: bool) -> str:
    how = f"killed by signal {-code}" if code < 0 else f"exit status {code}"
    if was_ready:
        return f"the sandbox's worker died while it rendered this run ({how}); run it again"
    return f"the sandbox's worker could not start ({how}); sandbox.log in its folder says why"
