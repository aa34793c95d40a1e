"""The pool of worker processes: one per core, started on demand, each with two pipes of JSON lines.

`concurrent.futures.ProcessPoolExecutor` does not fit: it cannot kill one worker, and a worker that dies breaks the
whole pool.
"""

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

    from comflowy_nb.sandbox.server.home import Paths


# Each worker renders on one core: more threads would only compete for the cores.
_ONE_THREAD = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
_KEPT_WARM = 2  # number of workers that are started before the first run
_END_S = 5.0
_LINE_MAX_BYTES = 1 << 24  # larger than any message of a worker


def count_cores() -> int:
    """Return the number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Worker:
    """One worker process, from the server's side."""

    def __init__(self) -> None:
        self.is_ready = False
        self.run_id: str | None = None  # the run that it renders
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
            start_new_session=True,  # so that Ctrl-C in a terminal reaches only the server
            limit=_LINE_MAX_BYTES,
        )
        assert self.process.stdin is not None
        self.process.stdin.writelines(self._unsent)
        return self.process


class WorkerPool:
    """All workers. Callbacks report messages, exits and free workers.

    Parameters
    ----------
    size : int
        The maximum number of processes.
    """

    def __init__(self, paths: Paths, *, size: int) -> None:
        self._paths = paths
        self._size = max(1, size)
        self._workers: list[Worker] = []  # the most recently used first: its cache is the warmest
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_closing = False
        self._node_types: asyncio.Future[Mapping[str, Any] | None] = asyncio.get_running_loop().create_future()
        self.on_message: Callable[[Worker, Mapping[str, Any]], None] = lambda _worker, _message: None
        self.on_exit: Callable[[Worker, str], None] = lambda _worker, _reason: None
        self.on_free: Callable[[], None] = lambda: None

    def warm(self) -> None:
        """Start a worker before the first run; a second one starts when the first is ready and has no run."""
        if not self._is_closing and len(self._workers) < min(self._size, _KEPT_WARM):
            self._add()

    def take(self) -> Worker | None:
        """Return a worker without a run: a ready one, else a starting one, else a new one; None if all are busy."""
        idle = [worker for worker in self._workers if worker.run_id is None]
        if idle:
            return min(idle, key=lambda worker: not worker.is_ready)
        if len(self._workers) < self._size and not self._is_closing:
            return self._add()
        return None

    async def read_node_types(self) -> Mapping[str, Any] | None:
        """Return the node types from the first worker that starts; None if no worker can start."""
        if self._node_types.done() and self._node_types.result() is None:
            self._node_types = asyncio.get_running_loop().create_future()
            self.warm()
        return await asyncio.shield(self._node_types)

    async def close(self) -> None:
        """Kill all workers and wait for their exit."""
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
            reason = f"the sandbox could not start a worker process ({error.strerror or type(error).__name__})"
        else:
            if self._is_closing:
                worker.kill()
            assert process.stdout is not None
            with contextlib.suppress(ConnectionError):
                async for line in process.stdout:
                    if line.endswith(b"\n"):  # else the worker died while it wrote
                        self._on_message(worker, json.loads(line))
            reason = _describe_end(await _await_exit(process), was_ready=worker.is_ready)
        self._workers.remove(worker)
        if not self._is_closing:
            self.on_exit(worker, reason)
            # A worker that could not start would fail again, so only a run starts another one.
            if worker.is_ready:
                self.warm()
            elif not self._node_types.done():
                self._node_types.set_result(None)
            self.on_free()

    def _on_message(self, worker: Worker, message: Mapping[str, Any]) -> None:
        if message["kind"] == "loaded":
            if not self._node_types.done():
                self._node_types.set_result(message["node_types"])
            return
        if message["kind"] == "ready":
            worker.is_ready = True
            if worker.run_id is None:  # else after its run, which needs the cores
                self.warm()
            return
        try:
            self.on_message(worker, message)
        except Exception:  # noqa: BLE001 - without this the run would never end
            traceback.print_exc()
            worker.kill()
        if worker.run_id is None:
            self.warm()
            self._workers.sort(key=lambda other: other is not worker)
            self.on_free()


async def _await_exit(process: asyncio.subprocess.Process) -> int:
    """Return the exit status of a process that closed its pipe; kill it only if it does not end."""
    # asyncio loses the exit status of a process that is killed while it exits.
    try:
        return await asyncio.wait_for(process.wait(), _END_S)
    except TimeoutError:
        process.kill()
        return await process.wait()


def _describe_end(code: int, *, was_ready: bool) -> str:
    detail = f"killed by signal {-code}" if code < 0 else f"exit status {code}"
    if was_ready:
        return f"the worker of the sandbox died while it rendered this run ({detail}); run it again"
    return f"the worker of the sandbox could not start ({detail}); sandbox.log in its folder says why"
