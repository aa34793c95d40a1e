"""Parse the messages of a ComfyUI server's WebSocket as progress of our runs. Pure: without socket and thread.

The server also sends messages about runs of other clients, so everything is filtered by the prompt id. A preview
without a prompt id belongs to the run of ours that is executing.
"""

from __future__ import annotations

import struct
import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from comflowy_nb.services.http.error_text import json_object, one_line
from comflowy_nb.services.types import Event, Progress
from comflowy_nb.status import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["EventReader", "WatchedRun"]

MAX_SOCKET_IMAGES_BYTES = 256 * 1024 * 1024  # of one run
_PREVIEW, _TEXT, _PREVIEW_WITH_METADATA = 1, 3, 4  # types of binary frames
_OUTCOMES = {
    "execution_success": Status.SUCCESS,
    "execution_error": Status.FAILED,
    "execution_interrupted": Status.CANCELLED,
}


@dataclass(slots=True)
class WatchedRun:
    """The state of one run of ours according to the socket."""

    titles: Mapping[str, str] = field(default_factory=dict)  # node id -> title
    nodes: frozenset[str] = frozenset()  # nodes that will be executed, as far as is known
    senders: frozenset[str] = frozenset()  # nodes whose frames are output images, not previews
    submitted_s: float = field(default_factory=time.monotonic)
    images: dict[str, list[bytes]] = field(default_factory=dict)  # node id of a sender -> its images
    dropped: int = 0  # images beyond `MAX_SOCKET_IMAGES_BYTES`
    done: set[str] = field(default_factory=set)
    progress: Progress = field(default_factory=Progress)
    outcome: Status | None = None
    has_started: bool = False
    has_ended: bool = False

    def add_image(self, node: str, image: bytes) -> None:
        held_bytes = sum(len(held) for images in self.images.values() for held in images)
        if held_bytes + len(image) <= MAX_SOCKET_IMAGES_BYTES:
            self.images.setdefault(node, []).append(image)
        else:
            self.dropped += 1

    def begin_node(self, node: object) -> None:
        if isinstance(node, str) and node != self.progress.node:
            title = self.titles.get(node)
            self.progress = replace(self.progress, node=node, title=title, value=None, max=None, message=None)

    def finish_nodes(self, nodes: Iterable[object]) -> None:
        self.done |= {node for node in nodes if isinstance(node, str) and node in self.nodes}
        self.progress = replace(self.progress, nodes_done=len(self.done))


class EventReader:
    """The watched runs, and the event in each message about them."""

    def __init__(self) -> None:
        self._watched: dict[str, WatchedRun] = {}
        self._executing: str | None = None  # the run of ours that is executing
        self._lock = threading.Lock()  # submits and the socket's thread

    def watch(
        self, prompt_id: str, titles: Mapping[str, str], nodes: frozenset[str], senders: frozenset[str] = frozenset()
    ) -> None:
        """Watch a run that will be submitted under this id; keep the images of `senders` until it is forgotten."""
        with self._lock:
            progress = Progress(nodes_done=0, nodes_total=len(nodes))
            self._watched[prompt_id] = WatchedRun(titles, nodes, senders, progress=progress)

    def get(self, prompt_id: str) -> WatchedRun | None:
        return self._watched.get(prompt_id)

    def forget(self, prompt_id: str) -> None:
        with self._lock:
            self._watched.pop(prompt_id, None)
            if self._executing == prompt_id:
                self._executing = None

    def read(self, message: str | bytes) -> Event | None:
        """Return the event in a message about a watched run, or None."""
        with self._lock:
            if isinstance(message, bytes):
                return self._read_frame(message)
            found = json_object(message) or {}
            data = found.get("data")
            return self._read_text(str(found.get("type")), data) if isinstance(data, dict) else None

    def _live(self, prompt_id: object) -> tuple[str, WatchedRun | None]:
        """Return the prompt id, and the run if it is watched and has not ended."""
        run = self._watched.get(prompt_id) if isinstance(prompt_id, str) else None
        return str(prompt_id), None if run is None or run.has_ended else run

    def _read_text(self, kind: str, data: dict[str, Any]) -> Event | None:
        prompt_id, run = self._live(data.get("prompt_id"))
        if run is None:
            return None
        if kind == "executing" and data.get("node") is None:
            run.has_ended = True
            self._executing = None
            run.progress = replace(run.progress, preview=None)
            return Event(prompt_id, run.outcome or Status.SUCCESS, prompt_id, run.progress)
        if kind in _OUTCOMES:  # an error may come before other nodes: only the message above ends the run
            run.outcome = _OUTCOMES[kind]
            return None
        before = run.progress
        _update(run, kind, data)
        status = Status.RUNNING if not run.has_started else None
        if kind in {"execution_start", "executing", "progress", "progress_state"}:
            run.has_started = True
            self._executing = prompt_id
        if status is None and run.progress == before:
            return None
        return Event(prompt_id, status, prompt_id, run.progress)

    def _read_frame(self, frame: bytes) -> Event | None:
        if len(frame) < 8:
            return None
        kind, second = struct.unpack(">II", frame[:8])
        owner: object = self._executing
        node: object = None
        image, message = b"", ""
        if kind == _PREVIEW:
            image = frame[8:]
        elif kind == _PREVIEW_WITH_METADATA:
            metadata = json_object(frame[8 : 8 + second]) or {}
            owner, node, image = metadata.get("prompt_id"), metadata.get("node_id"), frame[8 + second :]
        elif kind == _TEXT:
            message = one_line(frame[8 + second : 8 + second + 400].decode("utf-8", "replace"))
        prompt_id, run = self._live(owner)
        if run is None or not (image or message):
            return None
        node = node or run.progress.node
        if image and isinstance(node, str) and node in run.senders:
            run.add_image(node, image)
            return None
        run.progress = replace(run.progress, preview=image) if image else replace(run.progress, message=message)
        return Event(prompt_id, None, prompt_id, run.progress)


def _update(run: WatchedRun, kind: str, data: dict[str, Any]) -> None:
    """Update the progress of a run by a message."""
    nodes = data.get("nodes")
    match kind:
        case "execution_cached" if isinstance(nodes, list):
            run.finish_nodes(nodes)
        case "progress_state" if isinstance(nodes, dict):
            run.finish_nodes(node for node, state in nodes.items() if _is_finished(state))
        case "executed":
            run.finish_nodes([data.get("node")])
        case "executing":
            run.begin_node(data.get("node"))
        case "progress":
            run.begin_node(data.get("node"))
            run.progress = replace(run.progress, value=_number(data.get("value")), max=_number(data.get("max")))


def _is_finished(state: object) -> bool:
    return isinstance(state, dict) and state.get("state") == "finished"


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
