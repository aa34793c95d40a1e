"""What every service is to the rest of the package: how a run is sent, asked about, cancelled and its images read.

A service speaks HTTP and nothing else: it keeps no state of runs, writes nothing to disk and waits for nothing but
an answer. Its methods are called on the tracker's threads, several at a time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager

    from comflowy_nb.errors import ServiceError
    from comflowy_nb.status import Status
    from comflowy_nb.workflow.fields import Field
    from comflowy_nb.workflow.graph import Graph

__all__ = [
    "Accepted",
    "Event",
    "ImageStream",
    "Outcome",
    "Output",
    "Place",
    "Problem",
    "Progress",
    "Published",
    "Rejected",
    "Service",
    "Snapshot",
    "Submission",
    "Unknown",
]


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a run failed, as far as the service said.

    `message` is one plain line without HTML meaning; `field` is a field id such as `3::cfg`.
    """

    message: str
    node: str | None = None
    node_type: str | None = None
    field: str | None = None

    def __str__(self) -> str:
        where = f"node {self.node}" if self.node else ""
        if self.node_type:
            where = f"{where} ({self.node_type})" if where else self.node_type
        return f"{where}: {self.message}" if where else self.message


@dataclass(frozen=True, slots=True)
class Output:
    """One output as the service names it: an image, another file, or a text.

    `url` may be signed: it is never stored, shown or put into an error. `node` is None for an image that only
    `output_images` lists.
    """

    index: int  # position within the run, from 0, the same at every check
    node: str | None
    node_index: int  # position within its node, from 0
    url: str = field(repr=False)
    ending: str | None = None  # of a file that is no still image: webp (animated), mp4, flac, txt ...
    text: str | None = field(default=None, repr=False)  # what a node said, where it is no file
    content: bytes | None = field(default=None, repr=False)  # of an image that was told, and is nowhere to be fetched


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The answer to one check."""

    status: Status
    service_status: str  # the status as the service wrote it
    problem: Problem | None = None
    outputs: tuple[Output, ...] = ()
    remark: str | None = None  # what was odd about the answer, for a person
    ahead: int | None = None  # runs before it in the service's queue, where it says so


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a running run is, as far as the service says; None where it does not."""

    node: str | None = None
    title: str | None = None
    value: float | None = None  # steps done within the node
    max: float | None = None
    nodes_done: int | None = None
    nodes_total: int | None = None
    message: str | None = None
    preview: bytes | None = field(default=None, repr=False)  # a JPEG or PNG
    ahead: int | None = None  # runs before it in the service's queue

    @property
    def is_waiting(self) -> bool:
        return self.ahead is not None


@dataclass(frozen=True, slots=True)
class Event:
    """Something the service said by itself about the run with our `token`. It is a hint, never the truth."""

    token: str
    status: Status | None = None  # None: only progress or a message
    service_run_id: str | None = None
    progress: Progress | None = None
    outputs: tuple[Output, ...] = ()  # that are there already; each one's index is not yet the run's


@dataclass(frozen=True, slots=True)
class Submission:
    """What is sent for one run. `token` is our uuid4 for it."""

    token: str
    workflow_id: str | None
    params: Mapping[str, Any]  # field id -> JSON value, as sent
    callback_urls: Mapping[str, str] = field(default_factory=dict, repr=False)
    graph: Mapping[str, Any] | None = None  # for services that run graphs, params applied
    made_by: Mapping[str, Any] | None = None  # what an image may say about how it came about


@dataclass(frozen=True, slots=True)
class Place:
    """One of the servers of a service: where it is asked, and what a person calls it."""

    origin: str = field(repr=False)
    label: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """The service took the run under this id."""

    run_id: str
    remark: str | None = None  # what it will not do, for a person
    place: Place | None = None  # which of several servers took it


@dataclass(frozen=True, slots=True)
class Rejected:
    """The service surely did not take the run.

    `again` says that sending it once more may help (a refused connection, 429); `error.retry_after_s` of a
    RateLimitError then says when. `stops` says that no other run will fare better (a refused key, no credit).
    """

    error: ServiceError
    again: bool = False
    stops: bool = False


@dataclass(frozen=True, slots=True)
class Unknown:
    """Nobody can tell whether the service took the run; `reason` says what happened to the answer."""

    reason: str


Outcome = Accepted | Rejected | Unknown


@dataclass(frozen=True, slots=True)
class Published:
    """A workflow the service lists."""

    id: str
    name: str


class ImageStream(Protocol):
    """The bytes of one image, as they arrive."""

    @property
    def length(self) -> int | None:
        """Bytes to expect, where the service said so and the number can be trusted."""

    def chunks(self) -> Iterator[bytes]:
        """The bytes, in pieces of at most 64 KiB.

        Raises
        ------
        ServiceError
            If the connection breaks, the deadline passes or the image trickles in too slowly.
        """


class Service(Protocol):
    """One place that runs workflows."""

    @property
    def kind(self) -> str:
        """`sandbox`, `comflowy` ..., for messages."""

    @property
    def identity(self) -> str:
        """What the same-request rule counts as one service: a given name, `sandbox`, or the origin."""

    @property
    def origin(self) -> str:
        """Scheme, host and port that is asked. Never shown in an output."""

    @property
    def label(self) -> str:
        """The short name a person sees: the given name, `sandbox`, or the host."""

    @property
    def costs_money(self) -> bool: ...

    @property
    def can_cancel(self) -> bool: ...

    @property
    def can_upload(self) -> bool:
        """Whether it takes images; else their https addresses are given."""

    @property
    def runs_graphs(self) -> bool: ...

    @property
    def on_loopback(self) -> bool: ...

    @property
    def origins(self) -> frozenset[str]:
        """`origin`, and those of the other servers where there are several."""

    @property
    def starts_with(self) -> int | None:
        """Runs in flight at most, where runs are executed one at a time; None where more may bring more."""

    @property
    def queue_in_memory(self) -> bool:
        """Whether the accepted runs end with the service's process: while it refuses connections it has none."""

    @property
    def resubmits_lost(self) -> bool:
        """Whether the same request submits a lost run again: it costs nothing, and the service surely dropped it."""

    def listen(self, hear: Callable[[Event], None]) -> None:
        """Call `hear` with whatever the service says by itself, on a thread of the service."""

    def run_id_of(self, token: str) -> str | None:
        """The id by which a run can be asked about whose submit had no answer; None where there is no such id."""

    def greet(self) -> None:
        """Ask for whatever shows that the service is there and takes our key.

        Raises
        ------
        ServiceError
            If it isn't, or doesn't.
        """

    def submit(self, submission: Submission) -> Outcome:
        """Send one run once. Never raises for anything the network or the service does."""

    def check(self, run_id: str) -> Snapshot:
        """Ask for a run's state, once.

        Raises
        ------
        NotFoundError
            If the service knows no such run.
        ServiceError
            If there was no usable answer; the run's state stays what it was.
        """

    def cancel(self, run_id: str) -> bool:
        """Ask for an end of the run; True once the service confirmed that it was cancelled or will be.

        Raises
        ------
        ServiceError
            If there was no usable answer.
        """

    def forget(self, run_id: str) -> None:
        """Drop what is kept for a run that has ended or is held: its status is not checked any more."""

    def open_image(self, output: Output) -> AbstractContextManager[ImageStream]:
        """Open one output image for reading.

        Raises
        ------
        ServiceError
            If the address is not one that may be asked (the host is named), or there was no image.
        """

    def upload(self, name: str, content: bytes) -> str | None:
        """Hand over an input image; the value to send for it, or None where the service takes none.

        Raises
        ------
        ServiceError
            If the service refused it or there was no usable answer.
        """

    def workflows(self) -> Sequence[Published] | None:
        """The workflows the service lists, or None where it lists none.

        Raises
        ------
        ServiceError
            If there was no usable answer.
        """

    def fields(self, workflow_id: str) -> Mapping[str, Field] | None:
        """Field id -> field of a workflow, or None where the service publishes none.

        Raises
        ------
        ServiceError
            If there was no usable answer.
        """

    def graph_fields(self, graph: Graph) -> Mapping[str, Field]:
        """Field id -> field of a graph, with the types and choices that the service has for its nodes.

        Raises
        ------
        ServiceError
            If there was no usable answer.
        """

    def last_graph(self) -> Graph | None:
        """The graph that ran last at the service, or None where it ran none or does not tell.

        Raises
        ------
        ServiceError
            If there was no usable answer.
        """

    def close(self) -> None: ...
