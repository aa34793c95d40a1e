"""What comes through the WebSocket of a ComfyUI server, as progress of our runs. Pure: no socket, no thread.

Runs of other clients are heard as well, so everything is filtered by the prompt id; a preview without one is ours only
while a run of ours executes.
"""

from __future__ import annotations

import json
import struct
import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from comflowy_nb.services.base import Event, Progress
from comflowy_nb.status import Status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Hearing", "Watched"]

MAX_HELD_BYTES = 256 * 1024 * 1024  # of one run's images that come through the socket alone
_PREVIEW, _TEXT, _PREVIEW_OF = 1, 3, 4  # events of binary frames
_OUTCOMES = {
    "execution_success": Status.SUCCESS,
    "execution_error": Status.FAILED,
    "execution_interrupted": Status.CANCELLED,
}


@dataclass(slots=True)
class Watched:
    """One run of ours, as far as the socket told."""

    titles: Mapping[str, str]  # node id -> what a person calls it
    nodes: frozenset[str]  # those that will run, as far as is known
    senders: frozenset[str]  # those whose frames are no previews but what they put out
    images: dict[str, list[bytes]] = field(default_factory=dict)  # of these nodes
    dropped: int = 0  # of these images, for want of room
    done: set[str] = field(default_factory=set)
    progress: Progress = field(default_factory=Progress)
    outcome: Status | None = None
    sent_s: float = 0.0  # when it was sent, on the monotonic clock
    started: bool = False
    ended: bool = False  # the END marker came

    def keep(self, node: str, image: bytes) -> None:
        held_bytes = sum(len(one) for images in self.images.values() for one in images)
        if held_bytes + len(image) <= MAX_HELD_BYTES:
            self.images.setdefault(node, []).append(image)
        else:
            self.dropped += 1


class Hearing:
    """The runs that are listened for, and what each message says about them."""

    def __init__(self) -> None:
        self._watched: dict[str, Watched] = {}
        self._executing: str | None = None  # the run of ours that runs now, as the socket told
        self._lock = threading.Lock()  # submits and the socket's thread

    def watch(
        self, prompt_id: str, titles: Mapping[str, str], nodes: frozenset[str], senders: frozenset[str] = frozenset()
    ) -> None:
        """Listen for a run that will be submitted under this id; images of `senders` are held until its end."""
        with self._lock:
            progress = Progress(nodes_done=0, nodes_total=len(nodes))
            self._watched[prompt_id] = Watched(titles, nodes, senders, progress=progress, sent_s=time.monotonic())

    def forget(self, prompt_id: str) -> None:
        with self._lock:
            self._watched.pop(prompt_id, None)
            if self._executing == prompt_id:
                self._executing = None

    def has_ended(self, prompt_id: str) -> bool:
        """Whether the end of a run was told."""
        watched = self._watched.get(prompt_id)
        return watched is not None and watched.ended

    def sent_s(self, prompt_id: str) -> float | None:
        """When a run that is listened for was sent, on the monotonic clock."""
        watched = self._watched.get(prompt_id)
        return None if watched is None else watched.sent_s

    def waits_for_images(self, prompt_id: str) -> bool:
        """Whether images of a run come through the socket, and its end was not told yet."""
        watched = self._watched.get(prompt_id)
        return watched is not None and bool(watched.senders) and not watched.ended

    def images(self, prompt_id: str) -> Mapping[str, Sequence[bytes]]:
        """Node id -> its images that came through the socket."""
        watched = self._watched.get(prompt_id)
        return watched.images if watched is not None else {}

    def dropped(self, prompt_id: str) -> int:
        """How many images of a run came through the socket and could not be held."""
        watched = self._watched.get(prompt_id)
        return watched.dropped if watched is not None else 0

    def titles(self, prompt_id: str) -> Mapping[str, str]:
        watched = self._watched.get(prompt_id)
        return watched.titles if watched is not None else {}

    def hear(self, message: str | bytes) -> Event | None:
        """What a message says about a run of ours, or None."""
        with self._lock:
            if isinstance(message, bytes):
                return self._hear_frame(message)
            try:
                found = json.loads(message)
            except (ValueError, RecursionError):
                return None
            if not isinstance(found, dict) or not isinstance(found.get("data"), dict):
                return None
            return self._hear_text(str(found.get("type")), found["data"])

    # -- texts --------------------------------------------------------------------------------------------------

    def _hear_text(self, kind: str, data: dict[str, Any]) -> Event | None:
        prompt_id = data.get("prompt_id")
        watched = self._watched.get(prompt_id) if isinstance(prompt_id, str) else None
        if watched is None or watched.ended:
            return None
        assert isinstance(prompt_id, str)
        if kind == "executing" and data.get("node") is None:
            watched.ended = True
            self._executing = None
            if watched.progress.preview is not None:
                watched.progress = replace(watched.progress, preview=None)
            return Event(prompt_id, watched.outcome or Status.SUCCESS, prompt_id, watched.progress)
        if kind in _OUTCOMES:  # an error may come in the middle: only END ends it
            watched.outcome = _OUTCOMES[kind]
            return None
        before = watched.progress
        self._understand(watched, kind, data)
        news = Status.RUNNING if not watched.started else None
        if kind in {"execution_start", "executing", "progress", "progress_state"}:
            watched.started = True
            self._executing = prompt_id
        if news is None and watched.progress == before:
            return None
        return Event(prompt_id, news, prompt_id, watched.progress)

    def _understand(self, watched: Watched, kind: str, data: dict[str, Any]) -> None:
        match kind:
            case "execution_cached":
                self._done(watched, data.get("nodes"))
            case "executing":
                self._begin(watched, data.get("node"))
            case "progress":
                self._begin(watched, data.get("node"))
                watched.progress = replace(
                    watched.progress, value=_number(data.get("value")), max=_number(data.get("max"))
                )
            case "progress_state":
                states = data.get("nodes")
                if isinstance(states, dict):
                    self._done(watched, [node for node, state in states.items() if _is_finished(state)])
            case "executed":
                self._done(watched, [data.get("node")])

    def _begin(self, watched: Watched, node: object) -> None:
        if not isinstance(node, str) or node == watched.progress.node:
            return
        title = watched.titles.get(node)
        watched.progress = replace(watched.progress, node=node, title=title, value=None, max=None, message=None)

    def _done(self, watched: Watched, nodes: object) -> None:
        if isinstance(nodes, list):
            watched.done |= {node for node in nodes if isinstance(node, str) and node in watched.nodes}
        if len(watched.done) != watched.progress.nodes_done:
            watched.progress = replace(watched.progress, nodes_done=len(watched.done))

    # -- frames -------------------------------------------------------------------------------------------------

    def _hear_frame(self, frame: bytes) -> Event | None:
        if len(frame) < 8:
            return None
        kind, second = struct.unpack(">II", frame[:8])
        prompt_id, image, message = self._executing, b"", None
        node: object = None  # that sent it; the one that works where it does not say
        if kind == _PREVIEW:
            image = frame[8:]
        elif kind == _PREVIEW_OF:
            about = _about(frame[8 : 8 + second])
            prompt_id, node, image = about.get("prompt_id"), about.get("node_id"), frame[8 + second :]
        elif kind == _TEXT:
            message = " ".join(frame[8 + second : 8 + second + 400].decode("utf-8", "replace").split())
        watched = self._watched.get(prompt_id) if isinstance(prompt_id, str) else None
        if watched is None or watched.ended or not (image or message):
            return None
        assert isinstance(prompt_id, str)
        node = node or watched.progress.node
        if image and isinstance(node, str) and node in watched.senders:
            watched.keep(node, image)
            return None
        if image:
            watched.progress = replace(watched.progress, preview=image)
        else:
            watched.progress = replace(watched.progress, message=message)
        return Event(prompt_id, None, prompt_id, watched.progress)


def _about(text: bytes) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _is_finished(state: object) -> bool:
    return isinstance(state, dict) and state.get("state") == "finished"


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None
