"""Keep the WebSocket of a ComfyUI server open, and read the progress of our runs from its messages.

A broken socket only adds latency, because the status of a run is requested over HTTP. The server also sends messages
about runs of other clients, so messages are filtered by prompt id. A preview without a prompt id belongs to our run
that is executing.
"""

from __future__ import annotations

import logging
import random
import ssl
import struct
import threading
import time
import uuid
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import certifi
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from comflowy_nb.services.comfyui.responses import read_outputs
from comflowy_nb.services.http.error_text import json_object, number, one_line
from comflowy_nb.services.http.transport import ca_bundle, reveal_all
from comflowy_nb.services.targets import is_loopback
from comflowy_nb.services.types import Event, Progress
from comflowy_nb.settings import Secret, settings
from comflowy_nb.status import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


MAX_MESSAGE_BYTES = 64 * 1024 * 1024  # a frame can be a whole image
PING_S = 20.0  # the server sends no pings: ours detect a dead connection
CLOSE_TIMEOUT_S = 1.0
MAX_PAUSE_S = 10.0  # between attempts to reopen a socket
FLAGS = '{"type":"feature_flags","data":{"supports_preview_metadata":true}}'
# websockets logs the headers of the handshake, which may be secret
_no_log = logging.Logger("comflowy-websocket", logging.CRITICAL + 1)  # noqa: LOG001 - not reachable by its name


class Socket:
    """A WebSocket that is opened by `start` and reopened after it breaks, until `close`.

    Parameters
    ----------
    address : str
        The http or https URL of the server, with the path before its routes.
    headers : mapping of str to Secret
        Headers for the handshake.
    on_message : callable
        Called with every message, on the socket's thread. Its exceptions are ignored.
    """

    def __init__(self, address: str, headers: Mapping[str, Secret], on_message: Callable[[str | bytes], None]) -> None:
        self.client_id = uuid.uuid4().hex
        self.is_open = False
        self.opened_s = float("inf")  # when the socket was opened last, on the monotonic clock
        self._address = "ws" + address.removeprefix("http")
        self._is_loopback = is_loopback(address)
        self._headers = dict(headers)
        self._on_message = on_message
        self._changed = threading.Condition()
        self._has_failed = False  # the last attempt has failed, so do not wait for the next one
        self._closing = threading.Event()
        self._connection: ClientConnection | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Open the socket on its own thread. A second call does nothing."""
        with self._changed:
            if self._thread is None and not self._closing.is_set():
                self._thread = threading.Thread(target=self._run, name="comflowy-socket", daemon=True)
                self._thread.start()

    def wait_open(self, timeout_s: float) -> bool:
        """Wait until the socket is open or an attempt to open it has failed. Return whether it is open."""
        with self._changed:
            self._changed.wait_for(
                lambda: self.is_open or self._has_failed or self._closing.is_set(), timeout=timeout_s
            )
            return self.is_open

    def renew(self) -> None:
        """Close a dead socket, and open another one with a new client id.

        With the same client id, the new socket would get no messages: the server forgets an id when any socket of this
        id closes.
        """
        self.client_id = uuid.uuid4().hex
        with self._changed:
            connection = self._connection
            if connection is not None:
                self.is_open = False
        if connection is not None:
            connection.close()

    def close(self) -> None:
        self._closing.set()
        with self._changed:
            self._changed.notify_all()
            connection, thread = self._connection, self._thread
        if connection is not None:
            connection.close()
        if thread is not None and thread is not threading.current_thread():
            thread.join(CLOSE_TIMEOUT_S + 1)

    # -- its thread ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        failures = 0
        while not self._closing.is_set():
            began_s, has_failed = time.monotonic(), False
            try:
                self._receive()
            except Exception:  # noqa: BLE001 - it is reopened after any error; the frames hold the headers
                has_failed = True
            with self._changed:
                self.is_open, self._has_failed, self._connection = False, has_failed, None
                self._changed.notify_all()
            failures = 0 if time.monotonic() - began_s > MAX_PAUSE_S else failures + 1
            longest_s = min(MAX_PAUSE_S, settings.retry_base_s * 2 ** min(failures - 1, 10)) if failures else 0.0
            self._closing.wait(random.uniform(0.1, 1.0) * longest_s)  # noqa: S311 - jitter

    def _receive(self) -> None:
        """Open the socket, forward its messages until it closes, and close it."""
        options: dict[str, Any] = {"proxy": None} if self._is_loopback else {}
        if self._address.startswith("wss:"):
            options["ssl"] = _ssl_context()
        with connect(
            f"{self._address}/ws?clientId={self.client_id}",
            additional_headers=reveal_all(self._headers),
            compression=None,
            open_timeout=settings.connect_timeout_s,
            ping_interval=PING_S,
            ping_timeout=PING_S,
            close_timeout=CLOSE_TIMEOUT_S,
            max_size=MAX_MESSAGE_BYTES,
            create_connection=_DirectConnection,
            logger=_no_log,
            **options,
        ) as connection:
            with self._changed:
                self._connection = connection
            connection.send(FLAGS)  # the server reads it only as the first message
            first = connection.recv(timeout=settings.connect_timeout_s)  # now the server has registered the client id
            with self._changed:
                self.is_open, self._has_failed, self.opened_s = True, False, time.monotonic()
                self._changed.notify_all()
            self._forward(first)
            try:
                while not self._closing.is_set():
                    self._forward(connection.recv())
            except ConnectionClosed:
                return

    def _forward(self, message: str | bytes) -> None:
        try:
            self._on_message(message)
        except Exception:
            logging.getLogger(__name__).debug("dropped a message of a server", exc_info=True)


def _ssl_context() -> ssl.SSLContext:
    """Return an SSL context that trusts the same certificates as requests."""
    trusted = ca_bundle() or certifi.where()
    is_folder = Path(trusted).is_dir()
    return ssl.create_default_context(cafile=None if is_folder else trusted, capath=trusted if is_folder else None)


class _DirectConnection(ClientConnection):
    """A connection that does not follow redirects, because the headers are for one server."""

    def handshake(self, *args: Any, **options: Any) -> None:
        status = None
        try:
            super().handshake(*args, **options)
        except InvalidStatus as error:
            status = error.response.status_code
        if status is not None:
            raise InvalidHandshake(f"status {status}")


# -- messages ---------------------------------------------------------------------------------------------------

MAX_SOCKET_IMAGES_BYTES = 256 * 1024 * 1024  # per run
_PREVIEW, _TEXT, _PREVIEW_WITH_METADATA = 1, 3, 4  # types of binary frames
_OUTCOMES = {
    "execution_success": Status.SUCCESS,
    "execution_error": Status.FAILED,
    "execution_interrupted": Status.CANCELLED,
}


@dataclass(slots=True)
class WatchedRun:
    """The state of one of our runs, according to the socket."""

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
    """Keeps the state of the watched runs, and converts messages about them to events.

    Parameters
    ----------
    address
        The server's address, for the URLs of images.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._watched: dict[str, WatchedRun] = {}
        self._executing: str | None = None  # prompt id of our run that is executing
        self._lock = threading.Lock()  # held by submits and by the socket's thread

    def watch(
        self, prompt_id: str, titles: Mapping[str, str], nodes: frozenset[str], senders: frozenset[str] = frozenset()
    ) -> None:
        """Watch a run that will be submitted with this id. Keep the images of the nodes `senders` until `forget`."""
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
            decoded = json_object(message) or {}
            data = decoded.get("data")
            return self._read_text(str(decoded.get("type")), data) if isinstance(data, dict) else None

    def _live(self, prompt_id: object) -> tuple[str, WatchedRun | None]:
        """Return the prompt id of a message, and its run if it is watched and has not ended."""
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
        node = data.get("node")
        is_output = kind == "executed" and isinstance(node, str)
        outputs = tuple(read_outputs({node: data.get("output")}, self._address)) if is_output else ()
        if status is None and run.progress == before and not outputs:
            return None
        return Event(prompt_id, status, prompt_id, run.progress, outputs=outputs)

    def _read_frame(self, frame: bytes) -> Event | None:
        if len(frame) < 8:
            return None
        # `second` is the length of the metadata or of the node id; for a preview, the image format.
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
    """Update the progress of a run with the content of a message."""
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
            run.progress = replace(run.progress, value=number(data.get("value")), max=number(data.get("max")))


def _is_finished(state: object) -> bool:
    return isinstance(state, dict) and state.get("state") == "finished"
