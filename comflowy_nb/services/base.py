"""The interface of a service: submit, check and cancel runs, and read their images.

A service does HTTP only: it stores no state of runs, writes nothing to disk and waits for responses only. The
tracker's threads call its methods concurrently.
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
    """The service's error for a failed run.

    `message` is one line of plain text; `field` is a field id such as `3::cfg`.
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
    """One output of a run: an image, another file, or a text.

    `url` may be signed: it is never stored, shown or put into an error. `node` is None for an image that only
    `output_images` lists.
    """

    index: int  # position within the run, from 0, the same at every check
    node: str | None
    node_index: int  # position within its node, from 0
    url: str = field(repr=False)
    ending: str | None = None  # of a file that is not a still image: webp (animated), mp4, flac, txt ...
    text: str | None = field(default=None, repr=False)  # of a text output
    content: bytes | None = field(default=None, repr=False)  # of an image received through the socket, which has no URL


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The response to one check."""

    status: Status
    service_status: str  # the service's own text
    problem: Problem | None = None
    outputs: tuple[Output, ...] = ()
    remark: str | None = None  # a warning for the user about an unexpected response
    ahead: int | None = None  # runs before it in the service's queue, if known


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a running run; None for values that the service does not report."""

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
    """A notification of the service about the run with our `token`: a hint that a check must confirm."""

    token: str
    status: Status | None = None  # None: only progress or a message
    service_run_id: str | None = None
    progress: Progress | None = None


@dataclass(frozen=True, slots=True)
class Submission:
    """The request for one run. `token` is our uuid4 for it."""

    token: str
    workflow_id: str | None
    params: Mapping[str, Any]  # field id -> JSON value, as sent
    callback_urls: Mapping[str, str] = field(default_factory=dict, repr=False)
    graph: Mapping[str, Any] | None = None  # for services that run graphs, params applied
    made_by: Mapping[str, Any] | None = None  # metadata for the image file


@dataclass(frozen=True, slots=True)
class Place:
    """One of the servers of a service: its origin, and its label for messages."""

    origin: str = field(repr=False)
    label: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """The service accepted the run under this id."""

    run_id: str
    remark: str | None = None  # a warning for the user: outputs that it will not produce
    place: Place | None = None  # the server that accepted it, of several


@dataclass(frozen=True, slots=True)
class Rejected:
    """The service certainly did not accept the run.

    `again`: another attempt may succeed (a refused connection, 429), after `error.retry_after_s` of a RateLimitError.
    `stops`: every other run would be rejected too (an invalid key, no credit).
    """

    error: ServiceError
    again: bool = False
    stops: bool = False


@dataclass(frozen=True, slots=True)
class Unknown:
    """The service may have accepted the run; `reason` says what happened to the response."""

    reason: str


Outcome = Accepted | Rejected | Unknown


@dataclass(frozen=True, slots=True)
class Published:
    """A workflow the service lists."""

    id: str
    name: str


class ImageStream(Protocol):
    """The bytes of one image, as they are received."""

    @property
    def length(self) -> int | None:
        """The size in bytes, or None if the service gives none that can be trusted."""

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes in pieces of at most 64 KiB.

        Raises
        ------
        ServiceError
            If the connection breaks, the deadline passes or the throughput is too low.
        """


class Service(Protocol):
    """A service that runs workflows."""

    @property
    def kind(self) -> str:
        """`sandbox`, `comflowy` ..., for messages."""

    @property
    def identity(self) -> str:
        """The key of the service in the deduplication of requests: its name, `sandbox`, or the origin."""

    @property
    def origin(self) -> str:
        """Scheme, host and port; never shown in an output."""

    @property
    def label(self) -> str:
        """The short name in messages: the user's name for it, `sandbox`, or the host."""

    @property
    def costs_money(self) -> bool: ...

    @property
    def can_cancel(self) -> bool: ...

    @property
    def can_upload(self) -> bool:
        """Whether it accepts uploads of images; otherwise an image is passed as an https URL."""

    @property
    def runs_graphs(self) -> bool: ...

    @property
    def on_loopback(self) -> bool: ...

    @property
    def origins(self) -> frozenset[str]:
        """The origins of all servers of the service."""

    @property
    def starts_with(self) -> int | None:
        """The initial concurrency limit of a service that executes one run at a time, or None."""

    @property
    def queue_in_memory(self) -> bool:
        """Whether accepted runs end with the server process, so that none exists while connections are refused."""

    @property
    def resubmits_lost(self) -> bool:
        """Whether the same request submits a lost run again: it is free, and the service certainly dropped the run."""

    def listen(self, hear: Callable[[Event], None]) -> None:
        """Call `hear` with each notification of the service, on a thread of the service."""

    def run_id_of(self, token: str) -> str | None:
        """Return the id to check a run whose submit had no response, or None if the service assigns ids itself."""

    def greet(self) -> None:
        """Check that the service responds and accepts the key.

        Raises
        ------
        ServiceError
            If it does not.
        """

    def submit(self, submission: Submission) -> Outcome:
        """Submit one run once; network and service errors are outcomes, never exceptions."""

    def check(self, run_id: str) -> Snapshot:
        """Request the status of a run, once.

        Raises
        ------
        NotFoundError
            If the service knows no such run.
        ServiceError
            If there was no usable response; the run keeps its status.
        """

    def cancel(self, run_id: str) -> bool:
        """Cancel a run; return True if the service confirmed that it was or will be cancelled.

        Raises
        ------
        ServiceError
            If there was no usable response.
        """

    def forget(self, run_id: str) -> None:
        """Drop the data of a run that is not checked any more."""

    def open_image(self, output: Output) -> AbstractContextManager[ImageStream]:
        """Open one output image for reading.

        Raises
        ------
        ServiceError
            If the URL is not allowed (the error names the host), or there was no image.
        """

    def upload(self, name: str, content: bytes) -> str | None:
        """Upload an input image; return the value to submit for it, or None if the service accepts no uploads.

        Raises
        ------
        ServiceError
            If the service rejected it or there was no usable response.
        """

    def workflows(self) -> Sequence[Published] | None:
        """Return the workflows that the service lists, or None if it has no list.

        Raises
        ------
        ServiceError
            If there was no usable response.
        """

    def fields(self, workflow_id: str) -> Mapping[str, Field] | None:
        """Return field id -> field of a workflow, or None if the service describes none.

        Raises
        ------
        ServiceError
            If there was no usable response.
        """

    def graph_fields(self, graph: Graph) -> Mapping[str, Field]:
        """Return field id -> field of a graph, with the types and choices of the service's nodes.

        Raises
        ------
        ServiceError
            If there was no usable response.
        """

    def last_graph(self) -> Graph | None:
        """Return the graph that the service ran last, or None if it is unknown.

        Raises
        ------
        ServiceError
            If there was no usable response.
        """

    def close(self) -> None: ...
