"""A ComfyUI server: graphs in API format over HTTP, progress through its WebSocket.

The prompt id is ours, so a run whose submit had no response can be found. `/queue` and `/history` decide its status.
"""

from __future__ import annotations

import json
import threading
import time
from contextlib import nullcontext
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from comflowy_nb.errors import AnswerError, NotFoundError, ServerError, ServiceError
from comflowy_nb.services.base import Service
from comflowy_nb.services.comflowy.schema import read_name
from comflowy_nb.services.comfyui.node_types import NodeTypes
from comflowy_nb.services.comfyui.responses import (
    SOCKET_ONLY,
    QueueState,
    dangling_links,
    node_errors_text,
    read_entry,
    read_object,
    read_queue,
    read_rejection,
    snapshot_of,
)
from comflowy_nb.services.comfyui.websocket import EventReader, Socket, WatchedRun
from comflowy_nb.services.http.client import Http, retry_read
from comflowy_nb.services.http.downloads import Images
from comflowy_nb.services.http.error_text import json_object
from comflowy_nb.services.http.responses import (
    Failure,
    Response,
    decode_response,
    error_of_proxy,
    error_of_status,
    mask_secrets,
    outcome_of_failure,
    rejection_of,
)
from comflowy_nb.services.targets import is_loopback, origin_of
from comflowy_nb.services.types import Accepted, ImageStream, Rejected, Snapshot, Unknown
from comflowy_nb.settings import settings
from comflowy_nb.status import Status
from comflowy_nb.workflow.graph import Graph, parse_graph

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from comflowy_nb.services.types import Event, Outcome, Output, Submission
    from comflowy_nb.settings import Secret
    from comflowy_nb.workflow.fields import Field


MAX_RESPONSE_BYTES = 64 * 1024 * 1024  # the queue repeats every graph
LOOKUP_PAUSES_S = (0.0, 0.25, 1.0)  # before each lookup of a run whose submit had no response
SETTLE_S = 1.0  # maximum wait for the effect of a cancel
# A socket counts as dead if it does not report an end within this time after a check found it. With a shorter time, a
# busy kernel or a slow connection would lose images of the socket; a longer time only delays the end of such a run.
SOCKET_TIMEOUT_S = 10.0

T = TypeVar("T")


class GraphService(Service):
    """What one ComfyUI server and several servers under one name have in common."""

    kind = "comfyui"
    costs_money = False
    can_cancel = True
    can_upload = True
    runs_graphs = True
    queue_in_memory = True
    resubmits_lost = True

    def run_id_of(self, token: str) -> str | None:
        """Return the token, which is the prompt id."""
        return token


class ComfyUI(GraphService):
    """One ComfyUI server.

    Parameters
    ----------
    address : str
        Scheme, host and port, and optionally a path prefix.
    identity, label : str
        The service's key in the deduplication of requests, and its name in messages.
    headers : mapping of str to Secret, optional
        Headers for every request to a server behind a proxy. Their values are masked in messages.
    """

    starts_with: int | None = 2  # one running and one pending: more would delay prompts of other users

    def __init__(self, address: str, *, identity: str, label: str, headers: Mapping[str, Secret] | None = None) -> None:
        self.origin = address.rstrip("/")
        self.origins = frozenset({self.origin})
        self.on_loopback = is_loopback(address)
        self.identity = identity
        self.label = label
        self._secrets = tuple((headers or {}).values())
        self._http = Http(self.origin, headers)
        self._images = Images(origin_of(address), label, headers, behind_proxy=True)
        self._events = EventReader(self.origin)
        self._socket = Socket(self.origin, headers or {}, self._read_message)
        self._on_event: Callable[[Event], None] | None = None
        self._closing = threading.Event()
        self._cancelled: set[str] = set()  # prompt ids that we removed from the queue
        self._unreported: dict[str, float] = {}  # prompt id -> when a check found an end before the socket
        self._types = NodeTypes(self._node_type)

    def __repr__(self) -> str:
        return f"<ComfyUI {self.label!r}>"

    def listen(self, on_event: Callable[[Event], None]) -> None:
        """Open the socket and call `on_event` with each event. Call this before the first submit."""
        self._on_event = on_event
        self._socket.start()

    def close(self) -> None:
        self._closing.set()
        self._socket.close()
        self._http.close()
        self._images.close()

    def _read_message(self, message: str | bytes) -> None:
        event = self._events.read(message)
        if event is not None and self._on_event is not None:
            self._on_event(event)

    def check_access(self) -> None:
        """Check that the server is a ComfyUI server."""
        try:
            stats = retry_read(lambda: self._get("/system_stats", read_object, "description"), self._closing)
        except NotFoundError:
            stats = {}
        if not isinstance(stats.get("system"), dict):
            raise AnswerError(f"{self.label} is not a ComfyUI server; check its address")

    # -- requests -----------------------------------------------------------------------------------------------

    def _get(self, path: str, decode: Callable[[bytes], T], requested: str, **options: Any) -> T:
        response = self._http.exchange("GET", path, max_bytes=MAX_RESPONSE_BYTES, **options)
        return self._decode(response, decode, requested)

    def _post(self, path: str, body: Mapping[str, Any]) -> None:
        self._decode(self._http.exchange("POST", path, body=body), bytes, f"route {path}")

    def _decode(self, response: Response | Failure, decode: Callable[[bytes], T], requested: str) -> T:
        proxy_error = error_of_proxy(response.status, self.label) if isinstance(response, Response) else None
        if proxy_error is not None:
            raise proxy_error
        return decode_response(response, decode, self.label, requested, hide=self._secrets)

    def _queue(self) -> QueueState:
        return self._get("/queue", read_queue, "queue")

    def _entry(self, prompt_id: str) -> dict[str, Any] | None:
        """Return the history entry of a run, or None."""
        path = f"/history/{quote(prompt_id, safe='')}"
        return self._get(path, lambda body: read_entry(body, prompt_id), "history")

    def _node_type(self, class_type: str) -> Mapping[str, Any] | None:
        """Return the description of a node class, or None if the server does not have it."""
        path = f"/object_info/{quote(class_type, safe='')}"
        node_type = retry_read(lambda: self._get(path, read_object, "node type"), self._closing).get(class_type)
        return node_type if isinstance(node_type, dict) else None

    # -- submit -------------------------------------------------------------------------------------------------

    def submit(self, submission: Submission) -> Outcome:
        """Submit one graph with our own prompt id, after the socket is open.

        If there is no usable response, look the run up in the queue and the history.
        """
        graph = submission.graph
        if graph is None:
            return Rejected(ServiceError(f"{self.label} runs graphs, and this workflow has only an id elsewhere"))
        titles = {node: Graph(graph).title(node) or node for node in graph}
        body: dict[str, Any] = {"prompt": graph, "prompt_id": submission.token}
        if submission.metadata is not None:
            body["extra_data"] = {"extra_pnginfo": {"comflowy": dict(submission.metadata)}}
        try:
            json.dumps(body, allow_nan=False)
        except (TypeError, ValueError) as error:
            return Rejected(ServiceError(f"the graph can't be submitted: {error}"))
        if self._on_event is not None:
            self._renew_dead_socket()
            self._socket.wait_open(settings.connect_timeout_s)
            body["client_id"] = self._socket.client_id
        senders = frozenset(node for node, entry in graph.items() if entry.get("class_type") == SOCKET_ONLY)
        self._events.watch(submission.token, titles, frozenset(graph), senders)
        response = self._http.exchange("POST", "/prompt", body=body)
        outcome = self._outcome(response, submission.token, graph, titles)
        if isinstance(outcome, Unknown):
            outcome = self._find_run(submission.token) or outcome
        if isinstance(outcome, Rejected):  # the server may still send events of an unknown run
            self._events.forget(submission.token)
        return outcome

    def _reject(self, reason: str | None) -> Rejected:
        return Rejected(ServiceError(f"{self.label} rejected it: {reason}"))

    def _outcome(
        self, response: Response | Failure, token: str, graph: Mapping[str, Any], titles: Mapping[str, str]
    ) -> Outcome:
        if isinstance(response, Failure):
            return outcome_of_failure(response, self.label)
        if response.is_ok:
            return self._success_outcome(response, titles)
        if response.status == 400:
            # Dangling links count only now: a server does not validate nodes that no output needs.
            reason = "; ".join(dangling_links(graph, titles)) or read_rejection(
                response.body, titles, self._types.options
            )
            return self._reject(mask_secrets(reason, self._secrets))
        if response.status == 413:
            return self._reject("the request is larger than the server accepts")
        if response.status in {401, 402, 403, 404, 422, 429}:
            proxy = error_of_proxy(response.status, self.label)
            return rejection_of(proxy or error_of_status(response, self.label, "route /prompt", hide=self._secrets))
        if response.status == 500 and not response.body_error:
            # The server may raise an exception after it has queued the graph.
            text = (
                f"{self.label} failed on the request (500): see its log. A graph must be in API format: "
                "%comflowy run server:last runs the newest again, and Workflow > Export (API) writes one"
            )
            return self._find_run(token) or Rejected(ServerError(text))
        return Unknown(f"{self.label} answered with status {response.status}")

    def _success_outcome(self, response: Response, titles: Mapping[str, str]) -> Outcome:
        data = json_object(response.body) or {}
        prompt_id = data.get("prompt_id")
        if not isinstance(prompt_id, str):
            return Unknown(f"{self.label}'s response has no prompt id")
        problems = node_errors_text(data.get("node_errors"), titles, self._types.options)
        warning = f"some outputs will not run: {mask_secrets(problems, self._secrets)}" if problems else None
        return Accepted(prompt_id, warning)

    def _find_run(self, token: str) -> Accepted | None:
        """Look up a run whose submit had no usable response, several times: the server may still be processing it."""
        for pause_s in LOOKUP_PAUSES_S:
            if self._closing.wait(pause_s):
                return None
            try:
                if token in self._queue() or self._entry(token) is not None:
                    return Accepted(token)
            except ServiceError:
                continue
        return None

    # -- check and cancel ---------------------------------------------------------------------------------------

    def check(self, run_id: str) -> Snapshot:
        """Return the status of a run.

        The queue is read before the history, because a run moves from the queue to the history in one step. A run is
        not found if two attempts find it in neither of them.
        """
        if self._has_reported_end(run_id):  # then the queue need not be read
            entry = self._entry(run_id)
            if entry is not None:
                return self._ended(run_id, entry)
        for _ in range(2):
            queue = self._queue()
            if run_id in queue.running:
                return Snapshot(Status.RUNNING, str(Status.RUNNING))
            if run_id in queue.pending:
                return Snapshot(Status.PENDING, str(Status.PENDING), ahead=queue.ahead(run_id))
            entry = self._entry(run_id)
            if entry is not None:
                if self._awaits_images(run_id):
                    return Snapshot(Status.RUNNING, str(Status.RUNNING))
                return self._ended(run_id, entry)
        self._events.forget(run_id)
        if run_id in self._cancelled:
            return Snapshot(Status.CANCELLED, "deleted")
        raise NotFoundError(f"{self.label} has it neither in its queue nor in its history")

    def _ended(self, run_id: str, entry: Mapping[str, Any]) -> Snapshot:
        run = self._events.get(run_id) or WatchedRun()
        snapshot = snapshot_of(entry, self.origin, run.titles, run.images)
        if run.dropped:
            snapshot = replace(snapshot, warning=f"dropped {run.dropped} images from the socket; use SaveImage instead")
        if run.has_ended:
            self._unreported.pop(run_id, None)
        if run_id not in self._unreported:
            self._events.forget(run_id)
        return snapshot

    def _has_reported_end(self, run_id: str) -> bool:
        run = self._events.get(run_id)
        return run is not None and run.has_ended

    def _awaits_images(self, run_id: str) -> bool:
        """Return whether the socket may still deliver images of a run that has ended according to the history.

        If the socket was open during the whole run and has not reported its end, record when the end was found.
        """
        run = self._events.get(run_id)
        if run is None or run.has_ended:
            return False
        if self._socket.is_open and self._socket.opened_s < run.submitted_s:
            self._unreported.setdefault(run_id, time.monotonic())
        noted_s = self._unreported.get(run_id)
        return bool(run.senders) and noted_s is not None and time.monotonic() - noted_s < SOCKET_TIMEOUT_S

    def _renew_dead_socket(self) -> None:
        """Reopen the socket if it has not reported the end of a run in time, because it is dead then."""
        now_s = time.monotonic()
        missed = [run_id for run_id, noted_s in self._unreported.items() if now_s - noted_s > SOCKET_TIMEOUT_S]
        if not all(map(self._has_reported_end, missed)) and self._socket.is_open:
            self._socket.renew()
        for run_id in missed:
            self._unreported.pop(run_id, None)
            self._events.forget(run_id)

    def cancel(self, run_id: str) -> bool:
        """Remove a run from the queue, or interrupt it if it is running. Return whether it is cancelled.

        After False, call this again: a node is interrupted only after a step, and an interrupt between two runs is
        lost.
        """
        self._post("/queue", {"delete": [run_id]})
        deadline_s = time.monotonic() + SETTLE_S
        pause_s = 0.02
        while True:
            queue = self._queue()
            if run_id in queue.running:
                self._post("/interrupt", {"prompt_id": run_id})
            elif run_id in queue.pending:
                self._post("/queue", {"delete": [run_id]})
            else:
                entry = self._entry(run_id)
                if entry is None:
                    self._cancelled.add(run_id)
                return entry is None or snapshot_of(entry, self.origin, {}).status is Status.CANCELLED
            if time.monotonic() + pause_s > deadline_s or self._closing.wait(pause_s):
                return False
            pause_s = min(2 * pause_s, 0.3)

    def forget(self, run_id: str) -> None:
        self._cancelled.discard(run_id)

    # -- images, workflows and fields ---------------------------------------------------------------------------

    def open_image(self, output: Output) -> AbstractContextManager[ImageStream]:
        """Open one output: an image, another file, or a text. Return a context manager."""
        content = output.text.encode("utf-8", "replace") if output.text is not None else output.content
        if content is None:
            return self._images.open(output.url)
        return nullcontext(ImageStream(len(content), lambda: iter([content])))

    def upload(self, name: str, content: bytes) -> str:
        """Upload an input image. Return the name that the server chose, for LoadImage."""

        def upload() -> str:
            response = self._http.exchange("POST", "/upload/image", files={"image": (name, content)})
            if isinstance(response, Response) and response.status == 413:
                raise ServiceError(f"{self.label} rejected {name}: the file is larger than the server accepts")
            return self._decode(response, read_name, "route for uploads")

        return retry_read(upload, self._closing)

    def graph_fields(self, graph: Graph) -> Mapping[str, Field]:
        """Return the fields of a graph, with types, ranges and choices from the server's node types."""
        return self._types.fields(graph)

    def node_types(self, classes: Sequence[str]) -> Mapping[str, Mapping[str, Any] | None]:
        return self._types.descriptions(classes)

    def last_graph(self) -> Graph | None:
        """Return the graph of the newest history entry of all clients."""
        query = {"max_items": "1"}
        history = retry_read(lambda: self._get("/history", read_object, "history", query=query), self._closing)
        for entry in history.values():
            prompt = entry.get("prompt") if isinstance(entry, dict) else None
            if isinstance(prompt, list) and len(prompt) > 2:  # [number, prompt id, graph, ...]
                return parse_graph(json.dumps(prompt[2]), "the graph last run there")
        return None
