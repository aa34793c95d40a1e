"""What happens to a run between its acceptance and its end."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import uuid
from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from comflowy_nb.sandbox.server.run_store import Made, SavedRun, State
from comflowy_nb.sandbox.server.workflows import graph_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from comflowy_nb.sandbox.server.callbacks import WebhookQueue, WebhookSender
    from comflowy_nb.sandbox.server.paths import Places
    from comflowy_nb.sandbox.server.run_store import Store
    from comflowy_nb.sandbox.server.worker_pool import Worker, WorkerPool

__all__ = ["CANCELLED", "Cancelling", "Runs"]

CANCELLED = "cancelled"
_STARTS_MAX = 3  # a run that was under way at so many ends of a sandbox is likely their cause
_STOP_S = 10.0  # a worker that has not stopped by then is killed


class Cancelling(StrEnum):
    """What came of the wish to cancel a run."""

    DONE = "done"  # it is cancelled, or will be at its next step
    TOO_LATE = "too late"
    NO_SUCH_RUN = "no such run"


@dataclass(slots=True)
class _Live:
    saved: SavedRun
    courier: WebhookSender
    state: State = State.WAITING
    worker: Worker | None = None
    cancel_asked: bool = False
    error: str | None = None  # of one whose end could not be written


class Runs:
    """The queue, and the runs that are being rendered.

    Parameters
    ----------
    base_url
        This server's own address, for the image addresses in callbacks.
    """

    def __init__(
        self, *, store: Store, crew: WorkerPool, couriers: WebhookQueue, places: Places, base_url: str
    ) -> None:
        self._store = store
        self._crew = crew
        self._couriers = couriers
        self._places = places
        self._base_url = base_url
        self._live: dict[str, _Live] = {}
        self._queue: deque[_Live] = deque()
        crew.on_news = self._hear
        crew.on_loss = self._lose
        crew.on_free = self._dispatch

    def take_up(self) -> int:
        """Queue what earlier sandboxes accepted and did not finish; how many there are."""
        for saved in self._store.unfinished():
            live = self._enter(saved)
            if saved.cancel_asked:
                self._fail(live, CANCELLED)
            elif saved.starts >= _STARTS_MAX:
                self._fail(live, f"the sandbox ended {saved.starts} times while it rendered this run, so it gave up")
            else:
                live.courier.tell("message", {"message": "taken up again by a new sandbox"})
                self._queue.append(live)
        count = len(self._queue)
        self._dispatch()
        return count

    def accept(self, workflow_id: str, params: Mapping[str, Any], callbacks: Mapping[str, str]) -> str:
        """Take a run; its id. It is on the disk when this returns.

        Raises
        ------
        sqlite3.Error
            If it can't be written; then it is not taken.
        """
        saved = SavedRun(str(uuid.uuid4()), workflow_id, params, callbacks)
        self._store.accept(saved)
        live = self._enter(saved)
        live.courier.tell("waiting", _nothing_yet())
        self._queue.append(live)
        self._dispatch()
        return saved.run_id

    def check(self, run_id: str, base_url: str) -> dict[str, Any] | None:
        """The `data` of a check's answer; None for a run that is not known."""
        live = self._live.get(run_id)
        if live is not None:
            data: dict[str, Any] = {"status": live.state.value, "output_images": [], "full_outputs": {}}
            return data if live.error is None else {**data, "error": live.error}
        saved = self._store.get(run_id)
        return None if saved is None else {"status": saved.state.value, **self._result(saved, base_url)}

    def cancel(self, run_id: str) -> Cancelling:
        """Cancel a queued run at once, and one that is being rendered at its next step."""
        live = self._live.get(run_id)
        if live is None:
            saved = self._store.get(run_id)
            if saved is None:
                return Cancelling.NO_SUCH_RUN
            return Cancelling.DONE if saved.error == CANCELLED else Cancelling.TOO_LATE
        if live.state.is_final:
            return Cancelling.TOO_LATE
        if live.cancel_asked:
            return Cancelling.DONE
        self._store.ask_cancel(run_id)
        live.cancel_asked = True
        if live.worker is None:
            self._queue.remove(live)
            self._fail(live, CANCELLED)
        else:
            live.courier.tell("message", {"message": "cancelling: it stops at its next step"})
            live.worker.order("stop", run_id=run_id)
            asyncio.get_running_loop().call_later(_STOP_S, self._kill_if_on, live.worker, run_id)
        return Cancelling.DONE

    def _enter(self, saved: SavedRun) -> _Live:
        live = _Live(saved, self._couriers.engage(saved.run_id, saved.callbacks))
        self._live[saved.run_id] = live
        return live

    def _dispatch(self) -> None:
        while self._queue:
            worker = self._crew.take()
            if worker is None:
                return
            live = self._queue.popleft()
            saved = live.saved
            graph = graph_of(saved.workflow_id)
            if graph is None:  # accepted by another version, which knew it
                self._fail(live, f"this sandbox has no workflow {saved.workflow_id!r}")
                continue
            live.worker = worker
            live.state = State.PENDING
            live.courier.tell("pending", _nothing_yet())
            worker.run_id = saved.run_id
            worker.order("run", run_id=saved.run_id, graph=graph, params=saved.params)

    def _hear(self, worker: Worker, news: Mapping[str, Any]) -> None:
        live = self._live.get(news["run_id"])
        if live is None or live.worker is not worker or live.state.is_final:
            return
        run_id = live.saved.run_id
        match news["what"]:
            case "started":
                with contextlib.suppress(sqlite3.Error):  # a full disk: the run itself may still be short of its end
                    self._store.count_start(run_id)
                live.state = State.RUNNING
                live.courier.tell("running", _nothing_yet())
            case "progress":
                live.courier.tell("running", news["payload"])
            case "done" if not live.cancel_asked:
                self._succeed(live, [Made(each["node"], each["kind"], each["file"]) for each in news["made"]])
            case "failed" if not live.cancel_asked:
                self._fail(live, news["error"])
            case "done" | "failed" | "stopped":
                for each in news.get("made", ()):
                    (self._places.images / each["file"]).unlink(missing_ok=True)
                # What was said to the one who cancelled holds, even if the end came first.
                self._fail(live, CANCELLED)

    def _lose(self, worker: Worker, why: str) -> None:
        live = self._live.get(worker.run_id or "")
        if live is not None and not live.state.is_final:
            self._fail(live, CANCELLED if live.cancel_asked else why)

    def _kill_if_on(self, worker: Worker, run_id: str) -> None:
        if worker.run_id == run_id:
            worker.kill()

    def _succeed(self, live: _Live, made: list[Made]) -> None:
        self._end(live, lambda run_id: self._store.succeed(run_id, made))

    def _fail(self, live: _Live, error: str) -> None:
        self._end(live, lambda run_id: self._store.fail(run_id, error))

    def _end(self, live: _Live, write: Callable[[str], None]) -> None:
        run_id = live.saved.run_id
        if live.worker is not None:
            live.worker.run_id = None
        try:
            write(run_id)
        except sqlite3.Error as error:
            # It stays unfinished on the disk, so the next sandbox takes it up; to this one's clients it failed.
            live.state = State.FAILED
            live.error = f"the sandbox could not write down how this run ended: {error}"
            live.courier.finish({"type": "failed", "error": live.error, "output_images": [], "full_outputs": {}})
            return
        del self._live[run_id]
        saved = self._store.get(run_id)
        assert saved is not None
        live.courier.finish({"type": saved.state.value, **self._result(saved, self._base_url)})

    def _result(self, saved: SavedRun, base_url: str) -> dict[str, Any]:
        images = self._store.images(saved.run_id)
        urls = [f"{base_url}/images/{image.secret}.png" for image in images]
        outputs: dict[str, Any] = {}
        for image, url in zip(images, urls, strict=True):
            outputs.setdefault(image.node, {"images": []})["images"].append(url)
        # Previews are the result only of a graph that saves nothing.
        kept = [url for image, url in zip(images, urls, strict=True) if image.kind == "output"]
        result: dict[str, Any] = {"output_images": kept or urls, "full_outputs": outputs}
        return result if saved.error is None else {**result, "error": saved.error}


def _nothing_yet() -> dict[str, Any]:
    return {"node": None, "title": None, "value": None, "max": None, "nodes_done": 0, "nodes_total": None}
