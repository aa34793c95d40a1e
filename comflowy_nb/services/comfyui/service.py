"""A ComfyUI server: graphs in API format over HTTP, what happens meanwhile through its WebSocket.

The run's id is ours: so a run whose submit had no answer can be looked for. `/queue` and `/history` are the truth.
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
from comflowy_nb.services.comflowy.outcomes import outcome_of_refusal
from comflowy_nb.services.comfyui.errors import dangling_links, read_refusal, words_of_nodes
from comflowy_nb.services.comfyui.events import Hearing
from comflowy_nb.services.comfyui.node_types import NodeTypes
from comflowy_nb.services.comfyui.responses import SOCKET_ONLY, snapshot_of
from comflowy_nb.services.comfyui.routes import Routes, read_object
from comflowy_nb.services.comfyui.websocket import Socket
from comflowy_nb.services.http.client import retried
from comflowy_nb.services.http.downloads import Images
from comflowy_nb.services.http.origins import is_loopback, origin_of
from comflowy_nb.services.http.responses import (
    Answer,
    Failure,
    Trouble,
    error_of,
    error_of_proxy,
    error_of_status,
    masked,
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

LOOKS_S = (0.0, 0.25, 1.0)  # pauses before the looks for a run whose submit had no answer
SETTLE_S = 1.0  # how long a cancel waits to see what came of it, before it is repeated
# An end that the open socket did not tell so long after it was seen. Too short, and a busy kernel or a slow line loses
# images that come by the socket alone; too long only costs what asking takes longer than hearing.
DEAF_S = 10.0


class ComfyUI:
    """One ComfyUI server.

    Parameters
    ----------
    address
        Scheme, host and port, and the path before its routes where there is one.
    identity, label
        What the same-request rule and a person call it.
    headers
        Sent to this server with every request, for one behind a proxy.
    """

    kind = "comfyui"
    costs_money = False
    can_cancel = True
    can_upload = True
    runs_graphs = True
    starts_with: int | None = 2  # one that runs and one that waits: with more, other people's prompts wait behind
    queue_in_memory = True
    resubmits_lost = True

    def __init__(self, address: str, *, identity: str, label: str, headers: Mapping[str, Secret] | None = None) -> None:
        self.origin = address.rstrip("/")
        self.identity = identity
        self.label = label
        self._secrets = tuple((headers or {}).values())
        self._routes = Routes(self.origin, label, headers)
        self._images = Images(origin_of(address), label, headers, asks_for_headers=True)
        self._hearing = Hearing(self.origin)
        self._socket = Socket(self.origin, headers or {}, self._hear)
        self._tell: Callable[[Event], None] | None = None
        self._closing = threading.Event()
        self._cancelled: set[str] = set()  # prompt ids that we took out of the queue
        self._unheard: dict[str, float] = {}  # prompt id -> when its end was seen that the socket did not tell
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
        """Tell of what the server says by itself. The socket is opened now, so that it is there before a submit."""
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

    # -- asking -------------------------------------------------------------------------------------------------

    def greet(self) -> None:
        """Ask for the server's own description: it shows that it is there."""
        found = retried(self._routes.description, self._closing)
        if not isinstance(found.get("system"), dict):
            raise AnswerError(f"{self.label} does not answer as a ComfyUI server does; is the address right?")

    # -- one run ------------------------------------------------------------------------------------------------

    def submit(self, submission: Submission) -> Outcome:
        """Send one graph once under an id of our own, listening already.

        After an answer that was lost the run is looked for in the queue and in the history, and taken up if it is
        there.
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
            self._leave_deaf_socket()
            self._socket.wait_open(settings.connect_timeout_s)
            body["client_id"] = self._socket.client_id
        senders = frozenset(node for node, one in graph.items() if one.get("class_type") == SOCKET_ONLY)
        self._hearing.watch(submission.token, titles, frozenset(graph), senders)
        answer = self._routes.submit(body)
        outcome = self._outcome(answer, submission.token, titles)
        # Only after a refusal: a server does not check what no output needs.
        dangling = dangling_links(graph, titles) if isinstance(answer, Answer) and answer.status == 400 else []
        if dangling:
            outcome = Rejected(ServiceError(f"{self.label} refused it: {'; '.join(dangling)}"))
        if isinstance(outcome, Rejected):  # of one that is unknown we may still hear
            self._hearing.forget(submission.token)
        return outcome

    def _outcome(self, answer: Answer | Failure, token: str, titles: Mapping[str, str]) -> Outcome:
        if isinstance(answer, Failure):
            if answer.trouble is Trouble.LOST:
                return self._look_for(token) or Unknown(f"{self.label} gave no answer: {answer.text}")
            return Rejected(error_of(answer, self.label), again=answer.trouble is Trouble.NOT_SENT)
        if answer.is_ok:
            return self._taken(answer, token, titles)
        if answer.status == 400:
            words = masked(read_refusal(answer.body, titles, self._types.options), self._secrets)
            return Rejected(ServiceError(f"{self.label} refused it: {words}"))
        if answer.status == 413:
            return Rejected(ServiceError(f"{self.label} refused it: the request is larger than it takes"))
        if answer.status in {401, 402, 403, 404, 422, 429}:
            proxy = error_of_proxy(answer.status, self.label)
            return outcome_of_refusal(proxy or error_of_status(answer, self.label, "route /prompt", hide=self._secrets))
        if answer.status == 500 and not answer.flaw:  # the server's own: it stumbled, and queues before it answers
            refused = ServerError(
                f"{self.label} stumbled over the request (500); its log says why. A graph must be in API format: "
                "%comflowy run server:last runs the newest again, and Workflow > Export (API) writes one"
            )
            return self._look_for(token) or Rejected(refused)
        return self._look_for(token) or Unknown(f"{self.label} answered with status {answer.status}")

    def _taken(self, answer: Answer, token: str, titles: Mapping[str, str]) -> Outcome:
        found = read_object(answer.body) if not answer.flaw else wire.SchemaError(answer.flaw)
        prompt_id = None if isinstance(found, wire.SchemaError) else found.get("prompt_id")
        if not isinstance(prompt_id, str) or isinstance(found, wire.SchemaError):
            return self._look_for(token) or Unknown(f"{self.label} answered without a prompt id")
        wrong = words_of_nodes(found.get("node_errors"), titles, self._types.options)
        remark = f"some outputs will not run: {masked(wrong, self._secrets)}" if wrong else None
        return Accepted(prompt_id, remark=remark)

    def _look_for(self, token: str) -> Accepted | None:
        """The run of a submit whose answer was lost, if the server has it. It may still be working on the request."""
        for pause_s in LOOKS_S:
            if self._closing.wait(pause_s):
                return None
            try:
                if token in self._routes.queue() or self._routes.entry(token) is not None:
                    return Accepted(token)
            except ServiceError:
                continue
        return None

    def run_id_of(self, token: str) -> str | None:
        """The token itself: it was sent as the prompt id."""
        return token

    def check(self, run_id: str) -> Snapshot:
        """How a run stands: the queue is asked first, as a run leaves it and enters the history in one step.

        Raises
        ------
        NotFoundError
            If it is neither in the queue nor, asked twice, in the history.
        ServiceError
            If there was no usable answer.
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
                self._note_unheard(run_id)
                if self._hearing.waits_for_images(run_id) and self._may_still_hear(run_id):
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
            self._unheard.pop(run_id, None)
        if run_id not in self._unheard:
            hearing.forget(run_id)
        return snapshot

    def _note_unheard(self, run_id: str) -> None:
        """Remember an end that the socket, open since before the run was sent, has not told yet."""
        sent_s = self._hearing.sent_s(run_id)
        was_open = sent_s is not None and self._socket.is_open and self._socket.opened_s < sent_s
        if was_open and not self._hearing.has_ended(run_id):
            self._unheard.setdefault(run_id, time.monotonic())

    def _may_still_hear(self, run_id: str) -> bool:
        """Whether an end that the history knows may be on its way through the socket, with images before it."""
        seen_s = self._unheard.get(run_id)
        return seen_s is not None and time.monotonic() - seen_s < DEAF_S

    def _leave_deaf_socket(self) -> None:
        """Open another socket if an end was seen that the open one did not tell: it would tell of no other either."""
        now_s = time.monotonic()
        missed = [run_id for run_id, seen_s in self._unheard.items() if now_s - seen_s > DEAF_S]
        if any(not self._hearing.has_ended(run_id) for run_id in missed) and self._socket.is_open:
            self._socket.renew()
        for run_id in missed:
            self._unheard.pop(run_id, None)
            self._hearing.forget(run_id)

    def cancel(self, run_id: str) -> bool:
        """Take a run out of the queue, or interrupt it if it is the one that runs; True once that is settled.

        A node that works is interrupted only when it has done its work or a step of it, and an interrupt can be lost
        between two runs: while it is not settled, cancel is to be called again.

        Raises
        ------
        ServiceError
            If there was no usable answer.
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
        """Open one output inside `with`: an image or another file, or the text of a node."""
        if output.content is not None:
            return _held_stream(output.content)
        if output.text is not None:
            return _held_stream(output.text.encode("utf-8", "replace"))
        return self._images.open(output.url)

    def upload(self, name: str, content: bytes) -> str:
        """Hand over an input image; the name by which a LoadImage finds it, which the server chooses.

        Raises
        ------
        ServiceError
            If it was refused or there was no usable answer.
        """
        return retried(lambda: self._routes.upload(name, content), self._closing)

    # -- what can be run ----------------------------------------------------------------------------------------

    def workflows(self) -> list[Published] | None:
        """None: the server runs graphs, and lists none."""
        return None

    def fields(self, workflow_id: str) -> None:
        """None: there are no ids."""

    def graph_fields(self, graph: Graph) -> Mapping[str, Field]:
        """The graph's fields as the server's node types describe them: types, ranges, and the files it has."""
        return self._types.fields(graph)

    def last_graph(self) -> Graph | None:
        """The graph of the newest entry of the history, whoever ran it."""
        found = retried(self._routes.newest, self._closing)
        for entry in found.values():
            prompt = entry.get("prompt") if isinstance(entry, dict) else None
            if isinstance(prompt, list) and len(prompt) > 2:
                return parse_graph(json.dumps(prompt[2]), "the graph last run there")
        return None


class _Held:
    """What came with an answer or through the socket, as a stream like any other."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.length: int | None = len(content)

    def chunks(self) -> Iterator[bytes]:
        yield self._content


@contextmanager
def _held_stream(content: bytes) -> Iterator[ImageStream]:
    yield _Held(content)
