"""A ComfyUI server: graphs in API format over HTTP, progress through its WebSocket.

The prompt id is ours, so a run whose submit had no response can be found. `/queue` and `/history` decide its status.
"""

from __future__ import annotations

import json
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from comflowy_nb.errors import AnswerError, NotFoundError, ServerError, ServiceError
from comflowy_nb.services.base import Accepted, Rejected, Snapshot, Unknown
from comflowy_nb.services.comflowy import schema as wire
from comflowy_nb.services.comfyui.events import Hearing
from comflowy_nb.services.comfyui.node_types import NodeTypes
from comflowy_nb.services.comfyui.responses import (
    SOCKET_ONLY,
    dangling_links,
    node_errors_text,
    read_object,
    read_refusal,
    snapshot_of,
)
from comflowy_nb.services.comfyui.routes import Routes
from comflowy_nb.services.comfyui.websocket import Socket
from comflowy_nb.services.http.client import retried
from comflowy_nb.services.http.downloads import Images
from comflowy_nb.services.http.origins import is_loopback, origin_of
from comflowy_nb.services.http.responses import (
    Failure,
    FailureKind,
    Response,
    error_of,
    error_of_proxy,
    error_of_status,
    masked,
    rejection_of,
)
from comflowy_nb.settings import settings
from comflowy_nb.status import Status
from comflowy_nb.workflow.graph import Graph, parse_graph

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from comflowy_nb.services.base import Event, ImageStream, Outcome, Output, Published, Submission
    from comflowy_nb.settings import Secret
    from comflowy_nb.workflow.fields import Field

__all__ = ["ComfyUI"]

LOOKUP_PAUSES_S = (0.0, 0.25, 1.0)  # before each lookup of a run whose submit had no response
SETTLE_S = 1.0  # for how long a cancel waits for its effect
# The socket counts as dead if it has not reported an end so long after a check found it. Shorter, and a busy kernel or
# a slow line loses images that come through the socket only; longer only delays the end of such a run.
SOCKET_TIMEOUT_S = 10.0


class ComfyUI:
    """One ComfyUI server.

    Parameters
    ----------
    address
        Scheme, host and port, and optionally a path prefix.
    identity, label
        The service's key in the deduplication of requests, and its name in messages.
    headers
        Sent with every request, for a server behind a proxy.
    """

    kind = "comfyui"
    costs_money = False
    can_cancel = True
    can_upload = True
    runs_graphs = True
    starts_with: int | None = 2  # one running and one pending: more would delay prompts of other users
    queue_in_memory = True
    resubmits_lost = True

    def __init__(self, address: str, *, identity: str, label: str, headers: Mapping[str, Secret] | None = None) -> None:
        self.origin = address.rstrip("/")
        self.identity = identity
        self.label = label
        self._secrets = tuple((headers or {}).values())
        self._routes = Routes(self.origin, label, headers)
        self._images = Images(origin_of(address), label, headers, asks_for_headers=True)
        self._hearing = Hearing()
        self._socket = Socket(self.origin, headers or {}, self._hear)
        self._tell: Callable[[Event], None] | None = None
        self._closing = threading.Event()
        self._cancelled: set[str] = set()  # prompt ids that we removed from the queue
        self._unreported: dict[str, float] = {}  # prompt id -> time of an end unknown to the socket
        self._types = NodeTypes(lambda class_type: retried(lambda: self._routes.node_type(class_type), self._closing))

    def __repr__(self) -> str:
        return f"<ComfyUI {self.label!r}>"

    @property
    def on_loopback(self) -> bool:
        return is_loopback(self.origin)

    @property
    def origins(self) -> frozenset[str]:
        return frozenset({self.origin})

    def listen(self, hear: Callable[[Event], None]) -> None:
        """Open the socket, before the first submit, and call `hear` with each event."""
        self._tell = hear
        self._socket.start()

    def close(self) -> None:
        self._closing.set()
        self._socket.close()
        self._routes.close()
        self._images.close()

    def _hear(self, message: str | bytes) -> None:
        event = self._hearing.hear(message)
        if event is not None and self._tell is not None:
            self._tell(event)

    def greet(self) -> None:
        """Check that the server responds as ComfyUI does."""
        found = retried(self._routes.description, self._closing)
        if not isinstance(found.get("system"), dict):
            raise AnswerError(f"{self.label} does not answer as a ComfyUI server does; is the address right?")

    # -- one run ------------------------------------------------------------------------------------------------

    def submit(self, submission: Submission) -> Outcome:
        """Submit one graph once under our own prompt id, with the socket open.

        Without a usable response, look the run up in the queue and the history.
        """
        graph = submission.graph
        if graph is None:
            return Rejected(ServiceError(f"{self.label} runs graphs, and this workflow has only an id elsewhere"))
        titles = {node: Graph(graph).title(node) or node for node in graph}
        body: dict[str, Any] = {"prompt": graph, "prompt_id": submission.token}
        if submission.made_by is not None:
            body["extra_data"] = {"extra_pnginfo": {"comflowy": dict(submission.made_by)}}
        try:
            json.dumps(body, allow_nan=False)
        except (TypeError, ValueError) as error:
            return Rejected(ServiceError(f"the graph can't be sent: {error}"))
        if self._tell is not None:
            self._renew_dead_socket()
            self._socket.wait_open(settings.connect_timeout_s)
            body["client_id"] = self._socket.client_id
        senders = frozenset(node for node, one in graph.items() if one.get("class_type") == SOCKET_ONLY)
        self._hearing.watch(submission.token, titles, frozenset(graph), senders)
        answer = self._routes.submit(body)
        outcome = self._outcome(answer, submission.token, titles)
        # Only after a 400: a server does not validate nodes that no output needs.
        dangling = dangling_links(graph, titles) if isinstance(answer, Response) and answer.status == 400 else []
        if dangling:
            outcome = Rejected(ServiceError(f"{self.label} refused it: {'; '.join(dangling)}"))
        if isinstance(outcome, Rejected):  # of one that is unknown we may still hear
            self._hearing.forget(submission.token)
        return outcome

    def _outcome(self, answer: Response | Failure, token: str, titles: Mapping[str, str]) -> Outcome:
        if isinstance(answer, Failure):
            if answer.kind is FailureKind.LOST:
                return self._find_run(token) or Unknown(f"{self.label} gave no answer: {answer.text}")
            return Rejected(error_of(answer, self.label), again=answer.kind is FailureKind.NOT_SENT)
        if answer.is_ok:
            return self._success_outcome(answer, token, titles)
        if answer.status == 400:
            words = masked(read_refusal(answer.body, titles, self._types.options), self._secrets)
            return Rejected(ServiceError(f"{self.label} refused it: {words}"))
        if answer.status == 413:
            return Rejected(ServiceError(f"{self.label} refused it: the request is larger than it takes"))
        if answer.status in {401, 402, 403, 404, 422, 429}:
            proxy = error_of_proxy(answer.status, self.label)
            return rejection_of(proxy or error_of_status(answer, self.label, "route /prompt", hide=self._secrets))
        if answer.status == 500 and not answer.body_error:
            # an exception in the server, which queues a graph before it responds
            refused = ServerError(
                f"{self.label} stumbled over the request (500); its log says why. A graph must be in API format: "
                "%comflowy run server:last runs the newest again, and Workflow > Export (API) writes one"
            )
            return self._find_run(token) or Rejected(refused)
        return self._find_run(token) or Unknown(f"{self.label} answered with status {answer.status}")

    def _success_outcome(self, answer: Response, token: str, titles: Mapping[str, str]) -> Outcome:
        found = read_object(answer.body) if not answer.body_error else wire.SchemaError(answer.body_error)
        prompt_id = None if isinstance(found, wire.SchemaError) else found.get("prompt_id")
        if not isinstance(prompt_id, str) or isinstance(found, wire.SchemaError):
            return self._find_run(token) or Unknown(f"{self.label} answered without a prompt id")
        wrong = node_errors_text(found.get("node_errors"), titles, self._types.options)
        remark = f"some outputs will not run: {masked(wrong, self._secrets)}" if wrong else None
        return Accepted(prompt_id, remark=remark)

    def _find_run(self, token: str) -> Accepted | None:
        """Look up a run whose submit had no usable response; the server may still be processing the request."""
        for pause_s in LOOKUP_PAUSES_S:
            if self._closing.wait(pause_s):
                return None
            try:
                if token in self._routes.queue() or self._routes.entry(token) is not None:
                    return Accepted(token)
            except ServiceError:
                continue
        return None

    def run_id_of(self, token: str) -> str | None:
        """Return the token: it is the prompt id."""
        return token

    def check(self, run_id: str) -> Snapshot:
        """Return the status of a run: first from the queue, since a run moves from there to the history in one step.

        Raises
        ------
        NotFoundError
            If it is twice in neither the queue nor the history.
        ServiceError
            If there was no usable response.
        """
        if self._hearing.has_ended(run_id):
            entry = self._routes.entry(run_id)
            if entry is not None:
                return self._ended(run_id, entry)
        for _ in range(2):
            queue = self._routes.queue()
            if run_id in queue.running:
                return Snapshot(Status.RUNNING, str(Status.RUNNING))
            if run_id in queue.pending:
                return Snapshot(Status.PENDING, str(Status.PENDING), ahead=queue.ahead(run_id))
            entry = self._routes.entry(run_id)
            if entry is not None:
                self._note_unreported(run_id)
                if self._hearing.waits_for_images(run_id) and self._may_still_receive(run_id):
                    return Snapshot(Status.RUNNING, str(Status.RUNNING))
                return self._ended(run_id, entry)
        self._hearing.forget(run_id)
        if run_id in self._cancelled:
            return Snapshot(Status.CANCELLED, "deleted")
        raise NotFoundError(f"{self.label} has it neither in its queue nor in its history")

    def _ended(self, run_id: str, entry: Mapping[str, Any]) -> Snapshot:
        hearing = self._hearing
        snapshot = snapshot_of(entry, self.origin, hearing.titles(run_id), hearing.images(run_id))
        dropped = hearing.dropped(run_id)
        if dropped:
            remark = f"images that came through the socket and found no room: {dropped}; SaveImage keeps them all"
            snapshot = replace(snapshot, remark=remark)
        if hearing.has_ended(run_id):
            self._unreported.pop(run_id, None)
        if run_id not in self._unreported:
            hearing.forget(run_id)
        return snapshot

    def _note_unreported(self, run_id: str) -> None:
        """Note an end that the socket, open since before the submit, has not reported yet."""
        sent_s = self._hearing.sent_s(run_id)
        was_open = sent_s is not None and self._socket.is_open and self._socket.opened_s < sent_s
        if was_open and not self._hearing.has_ended(run_id):
            self._unreported.setdefault(run_id, time.monotonic())

    def _may_still_receive(self, run_id: str) -> bool:
        """Return whether the socket may still deliver images of a run that has ended in the history."""
        seen_s = self._unreported.get(run_id)
        return seen_s is not None and time.monotonic() - seen_s < SOCKET_TIMEOUT_S

    def _renew_dead_socket(self) -> None:
        """Reopen a socket that has not reported the end of a run: it is dead."""
        now_s = time.monotonic()
        missed = [run_id for run_id, seen_s in self._unreported.items() if now_s - seen_s > SOCKET_TIMEOUT_S]
        if any(not self._hearing.has_ended(run_id) for run_id in missed) and self._socket.is_open:
            self._socket.renew()
        for run_id in missed:
            self._unreported.pop(run_id, None)
            self._hearing.forget(run_id)

    def cancel(self, run_id: str) -> bool:
        """Remove a run from the queue, or interrupt it if it is running; return whether it is cancelled.

        A node is interrupted only after a step, and an interrupt between two runs is lost: after False, call it again.

        Raises
        ------
        ServiceError
            If there was no usable response.
        """
        self._routes.delete(run_id)
        deadline_s = time.monotonic() + SETTLE_S
        pause_s = 0.02
        while True:
            queue = self._routes.queue()
            if run_id in queue.running:
                self._routes.interrupt(run_id)
            elif run_id in queue.pending:
                self._routes.delete(run_id)
            else:
                entry = self._routes.entry(run_id)
                if entry is None:
                    self._cancelled.add(run_id)
                return entry is None or snapshot_of(entry, self.origin, {}).status is Status.CANCELLED
            if time.monotonic() + pause_s > deadline_s or self._closing.wait(pause_s):
                return False
            pause_s = min(2 * pause_s, 0.3)

    def forget(self, run_id: str) -> None:
        self._cancelled.discard(run_id)

    # -- images -----------------------------------------------------------------------------------------------

    def open_image(self, output: Output) -> AbstractContextManager[ImageStream]:
        """Open one output as a context manager: an image, another file, or a text."""
        if output.content is not None:
            return _memory_stream(output.content)
        if output.text is not None:
            return _memory_stream(output.text.encode("utf-8", "replace"))
        return self._images.open(output.url)

    def upload(self, name: str, content: bytes) -> str:
        """Upload an input image; return the name for LoadImage, which the server chooses.

        Raises
        ------
        ServiceError
            If it was refused or there was no usable answer.
        """
        return retried(lambda: self._routes.upload(name, content), self._closing)

    # -- workflows and fields -----------------------------------------------------------------------------------

    def workflows(self) -> list[Published] | None:
        """Return None: the server lists no workflows."""
        return None

    def fields(self, workflow_id: str) -> None:
        """Return None: there are no workflow ids."""

    def graph_fields(self, graph: Graph) -> Mapping[str, Field]:
        """Return the graph's fields with the types, ranges and files of the server's node types."""
        return self._types.fields(graph)

    def last_graph(self) -> Graph | None:
        """Return the graph of the newest history entry, of any client."""
        found = retried(self._routes.newest, self._closing)
        for entry in found.values():
            prompt = entry.get("prompt") if isinstance(entry, dict) else None
            if isinstance(prompt, list) and len(prompt) > 2:
                return parse_graph(json.dumps(prompt[2]), "the graph last run there")
        return None


class _MemoryStream:
    """Content in memory as an ImageStream."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.length: int | None = len(content)

    def chunks(self) -> Iterator[bytes]:
        yield self._content


@contextmanager
def _memory_stream(content: bytes) -> Iterator[ImageStream]:
    yield _MemoryStream(content)
