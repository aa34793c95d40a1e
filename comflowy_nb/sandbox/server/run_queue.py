"""The queue of runs, from acceptance to end."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import uuid
from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from comflowy_nb.sandbox.server.run_store import Image, RunStatus, SavedRun
from comflowy_nb.sandbox.server.webhook_sender import WebhookSender
from comflowy_nb.sandbox.server.workflows import graph_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from comflowy_nb.sandbox.server.home import Paths
    from comflowy_nb.sandbox.server.run_store import Store
    from comflowy_nb.sandbox.server.webhook_sender import WebhookClient
    from comflowy_nb.sandbox.server.worker_pool import Worker, WorkerPool


CANCELLED = "cancelled"
_NO_PROGRESS = {"node": None, "title": None, "value": None, "max": None, "nodes_done": 0, "nodes_total": None}
_PREPARING = "the sandbox is preparing its scenes"  # shown once for each worker process
_STARTS_MAX = 3  # a run during which this many sandboxes died is probably the cause
_STOP_S = 10.0  # a worker that does not stop within this time is killed


class Cancelling(StrEnum):
    """The result of a cancel request."""

    DONE = "done"  # the run is cancelled, or will be at its next step
    TOO_LATE = "too late"
    NO_SUCH_RUN = "no such run"


@dataclass(slots=True)
class _ActiveRun:
    saved: SavedRun
    webhook: WebhookSender
    status: RunStatus = RunStatus.WAITING
    worker: Worker | None = None
    cancel_requested: bool = False
    error: str | None = None  # set if the end could not be written to the database


class RunQueue:
    """Queued runs and runs that are being rendered.

    Parameters
    ----------
    base_url : str
        The address of this server, for the addresses of images in callbacks.
    """

    def __init__(
        self, *, store: Store, workers: WorkerPool, webhooks: WebhookClient, paths: Paths, base_url: str
    ) -> None:
        self._store = store
        self._workers = workers
        self._webhooks = webhooks
        self._paths = paths
        self._base_url = base_url
        self._live: dict[str, _ActiveRun] = {}
        self._queue: deque[_ActiveRun] = deque()
        workers.on_message = self._on_message
        workers.on_exit = self._on_exit
        workers.on_free = self._dispatch

    def resume(self) -> int:
        """Queue the runs that earlier sandboxes accepted and did not finish, and return their number."""
        for saved in self._store.unfinished():
            run = self._activate(saved)
            if saved.cancel_requested:
                self._end(run, error=CANCELLED)
            elif saved.starts >= _STARTS_MAX:
                error = f"the sandbox died {saved.starts} times while it rendered this run, so it does not try again"
                self._end(run, error=error)
            else:
                run.webhook.send_progress("message", {"message": "resumed by a new sandbox"})
                self._queue.append(run)
        count = len(self._queue)
        self._dispatch()
        return count

    def accept(self, workflow_id: str, params: Mapping[str, Any], callbacks: Mapping[str, str]) -> str:
        """Store a run on disk, queue it and return its id.

        Raises
        ------
        sqlite3.Error
            If the run cannot be written. It is not accepted then.
        """
        saved = SavedRun(str(uuid.uuid4()), workflow_id, params, callbacks)
        self._store.accept(saved)
        run = self._activate(saved)
        run.webhook.send_progress("waiting", _NO_PROGRESS)
        self._queue.append(run)
        self._dispatch()
        return saved.run_id

    def check(self, run_id: str, base_url: str) -> dict[str, Any] | None:
        """Return the `data` of the response to a check; None for an unknown run."""
        run = self._live.get(run_id)
        if run is not None:
            data: dict[str, Any] = {"status": run.status.value, "output_images": [], "full_outputs": {}}
            return data if run.error is None else {**data, "error": run.error}
        saved = self._store.get(run_id)
        return None if saved is None else {"status": saved.status.value, **self._result(saved, base_url)}

    def cancel(self, run_id: str) -> Cancelling:
        """Cancel a queued run at once, and one that is being rendered at its next step."""
        run = self._live.get(run_id)
        if run is None:
            saved = self._store.get(run_id)
            if saved is None:
                return Cancelling.NO_SUCH_RUN
            return Cancelling.DONE if saved.error == CANCELLED else Cancelling.TOO_LATE
        if run.status.is_final:
            return Cancelling.TOO_LATE
        if run.cancel_requested:
            return Cancelling.DONE
        self._store.request_cancel(run_id)
        run.cancel_requested = True
        if run.worker is None:
            self._queue.remove(run)
            self._end(run, error=CANCELLED)
        else:
            run.webhook.send_progress("message", {"message": "cancelling: it stops at its next step"})
            run.worker.order("stop", run_id=run_id)
            asyncio.get_running_loop().call_later(_STOP_S, self._kill_if_running, run.worker, run_id)
        return Cancelling.DONE

    def _activate(self, saved: SavedRun) -> _ActiveRun:
        run = _ActiveRun(saved, WebhookSender(self._webhooks, saved.run_id, saved.callbacks))
        self._live[saved.run_id] = run
        return run

    def _dispatch(self) -> None:
        while self._queue:
            worker = self._workers.take()
            if worker is None:
                return
            run = self._queue.popleft()
            saved = run.saved
            graph = graph_of(saved.workflow_id)
            if graph is None:  # another version of the package accepted the run
                self._end(run, error=f"this sandbox has no workflow {saved.workflow_id!r}")
                continue
            run.worker = worker
            run.status = RunStatus.PENDING
            message = {} if worker.is_ready else {"message": _PREPARING}
            run.webhook.send_progress("pending", {**_NO_PROGRESS, **message})
            worker.run_id = saved.run_id
            worker.order("run", run_id=saved.run_id, graph=graph, params=saved.params)

    def _on_message(self, worker: Worker, message: Mapping[str, Any]) -> None:
        run = self._live.get(message["run_id"])
        if run is None or run.worker is not worker or run.status.is_final:
            return
        run_id = run.saved.run_id
        match message["kind"]:
            case "started":
                with contextlib.suppress(sqlite3.Error):  # a full disk must not stop the run
                    self._store.count_start(run_id)
                run.status = RunStatus.RUNNING
                run.webhook.send_progress("running", _NO_PROGRESS)
            case "progress":
                run.webhook.send_progress("running", message["payload"])
            case "done" if not run.cancel_requested:
                self._end(run, images=[Image(**image) for image in message["images"]])
            case "failed" if not run.cancel_requested:
                self._end(run, error=message["error"])
            case "done" | "failed" | "stopped":
                for image in message.get("images", ()):
                    (self._paths.images / image["file"]).unlink(missing_ok=True)
                # The client has been answered that the run is cancelled, even if the run ended first.
                self._end(run, error=CANCELLED)

    def _on_exit(self, worker: Worker, reason: str) -> None:
        run = self._live.get(worker.run_id or "")
        if run is not None and not run.status.is_final:
            self._end(run, error=CANCELLED if run.cancel_requested else reason)

    def _kill_if_running(self, worker: Worker, run_id: str) -> None:
        if worker.run_id == run_id:
            worker.kill()

    def _end(self, run: _ActiveRun, *, images: Sequence[Image] = (), error: str | None = None) -> None:
        """End a run: with an error, else with its images."""
        run_id = run.saved.run_id
        if run.worker is not None:
            run.worker.run_id = None
        try:
            self._store.end(run_id, images=images, error=error)
        except sqlite3.Error as problem:
            # The run stays unfinished on disk, so the next sandbox resumes it. For clients of this sandbox it failed.
            run.status = RunStatus.FAILED
            run.error = f"the sandbox could not store the result of this run: {problem}"
            run.webhook.finish({"type": "failed", "error": run.error, "output_images": [], "full_outputs": {}})
            return
        del self._live[run_id]
        saved = self._store.get(run_id)
        assert saved is not None
        run.webhook.finish({"type": saved.status.value, **self._result(saved, self._base_url)})

    def _result(self, saved: SavedRun, base_url: str) -> dict[str, Any]:
        images = self._store.images(saved.run_id)
        urls = [f"{base_url}/images/{image.secret}.png" for image in images]
        outputs: dict[str, Any] = {}
        for image, url in zip(images, urls, strict=True):
            outputs.setdefault(image.node, {"images": []})["images"].append(url)
        # Previews are the result only if the graph saves no image.
        output_urls = [url for image, url in zip(images, urls, strict=True) if image.kind == "output"]
        result: dict[str, Any] = {"output_images": output_urls or urls, "full_outputs": outputs}
        return result if saved.error is None else {**result, "error": saved.error}
