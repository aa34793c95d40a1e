"""The interface of a service: submit, check and cancel runs, and read their images.

A service does HTTP and WebSocket I/O only: the history holds the state of runs. The tracker's threads call its methods
concurrently.
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
    "Problem",
    "Progress",
    "Published",
    "Rejected",
    "Server",
    "Service",
    "Snapshot",
    "Submission",
    "Unknown",
]


@dataclass(frozen=True, slots=True)
class Problem:
    """The service's error for a failed run."""

    message: str  # one line of plain text
    node: str | None = None
    node_type: str | None = None  # class or title of the node
    field: str | None = None  # id of the invalid field, such as `3::cfg`

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
    warning: str | None = None  # for the user, about an unexpected response
    ahead: int | None = None  # runs before it in the service's queue, if known


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a run; None for values that the service does not report.

    Parameters
    ----------
    node, title : str, optional
        Id and title of the node that is being executed.
    value, max : float, optional
        Steps done within the node, and all its steps.
    nodes_done, nodes_total : int, optional
        Executed nodes, and all nodes of the workflow.
    message : str, optional
        One line of text of the service.
    preview : bytes, optional
        An image of the current step, as JPEG or PNG.
    ahead : int, optional
        Runs before this one in the service's queue; None once it is running.

    Examples
    --------
    >>> Progress(node="3", title="KSampler", value=5, max=20).value
    5
    """

    node: str | None = None
    title: str | None = None
    value: float | None = None
    max: float | None = None
    nodes_done: int | None = None
    nodes_total: int | None = None
    message: str | None = None
    preview: bytes | None = field(default=None, repr=False)
    ahead: int | None = None

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
    params: Mapping[str, Any]  # field id -> JSON value, as submitted
    callback_urls: Mapping[str, str] = field(default_factory=dict, repr=False)
    graph: Mapping[str, Any] | None = None  # for services that run graphs, params applied
    made_by: Mapping[str, Any] | None = None  # metadata for the image file


@dataclass(frozen=True, slots=True)
class Server:
    """One of the servers of a service: its origin, and its label for messages."""

    origin: str = field(repr=False)
    label: str


@dataclass(frozen=True, slots=True)
class Accepted:
    """The service accepted the run under this id."""

    run_id: str
    warning: str | None = None  # for the user: outputs that the service will not produce
    server: Server | None = None  # the server that accepted it, of several


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
    """A workflow that the service lists."""

    id: str
    name: str


class ImageStream(Protocol):
    """The bytes of one image, as they are received."""

    @property
    def length(self) -> int | None:
        """The size in bytes, or None if the service gives none that can be trusted."""

    def chunks(self) -> Iterator[bytes]:
        """Yield the bytes in chunks of at most 64 KiB.

        Raises
        ------
        ServiceError
            If the connection breaks, the deadline passes or the throughput is too low.
        """


class Service(Protocol):
    """A service that runs workflows: Comflowy, the sandbox, a ComfyUI server or several of them.

    Every method may be called from any thread and may do I/O; the properties do none.

    Examples
    --------
    >>> outcome = service.submit(Submission(token, "wf-1", {"3::cfg": 7}))  # doctest: +SKIP
    >>> if isinstance(outcome, Accepted):  # doctest: +SKIP
    ...     print(service.check(outcome.run_id).status)
    """

    @property
    def kind(self) -> str:
        """`sandbox`, `comflowy` or `comfyui`."""

    @property
    def identity(self) -> str:
        """The key of the service in the deduplication of requests: its name, `sandbox`, or the origin."""

    @property
    def origin(self) -> str:
        """Scheme, host and port, of ComfyUI also the base path; never shown in an output."""

    @property
    def origins(self) -> frozenset[str]:
        """The origins of all servers of the service."""

    @property
    def label(self) -> str:
        """The short name in messages: the user's name for it, `sandbox`, `cloud` ..."""

    @property
    def on_loopback(self) -> bool:
        """Whether all its servers are on this machine."""

    @property
    def costs_money(self) -> bool:
        """Whether a run may cost money, so that it is not submitted twice."""

    @property
    def can_cancel(self) -> bool:
        """Whether `cancel` can have an effect."""

    @property
    def can_upload(self) -> bool:
        """Whether it accepts uploads of images; otherwise an image is passed as an https URL."""

    @property
    def runs_graphs(self) -> bool:
        """Whether it runs graphs; otherwise it runs workflows by id."""

    @property
    def starts_with(self) -> int | None:
        """The initial concurrency limit of a service that executes one run at a time, or None."""

    @property
    def queue_in_memory(self) -> bool:
        """Whether accepted runs end with the server process, so that none exists while connections are refused."""

    @property
    def resubmits_lost(self) -> bool:
        """Whether the same request submits a lost run again: it is free, and the service certainly dropped the run."""

    def listen(self, on_event: Callable[[Event], None]) -> None:
        """Start to receive the service's notifications.

        Parameters
        ----------
        on_event : callable
            Called with each notification, on a thread of the service. Its exceptions are dropped.
        """

    def run_id_of(self, token: str) -> str | None:
        """Return the service's id of a run whose submit had no response.

        Parameters
        ----------
        token : str
            Our uuid4 for the run.

        Returns
        -------
        str or None
            None if the service assigns ids itself, so that the run can't be looked up.
        """

    def greet(self) -> None:
        """Check that the service responds and accepts the key.

        Raises
        ------
        ServiceError
            If it does not.
        """

    def submit(self, submission: Submission) -> Outcome:
        """Submit one run, and never repeat a request that the service may have accepted.

        Parameters
        ----------
        submission : Submission
            The request.

        Returns
        -------
        Accepted, Rejected or Unknown
            Network and service errors are outcomes, never exceptions.
        """

    def check(self, run_id: str) -> Snapshot:
        """Request the status of a run, once.

        Parameters
        ----------
        run_id : str
            The service's id of the run.

        Returns
        -------
        Snapshot
            The status, of an ended run also its outputs or its problem.

        Raises
        ------
        NotFoundError
            If the service does not know the run.
        ServiceError
            If there was no usable response; the run keeps its status.
        """

    def cancel(self, run_id: str) -> bool:
        """Cancel a run.

        Parameters
        ----------
        run_id : str
            The service's id of the run.

        Returns
        -------
        bool
            True if the service confirmed that the run was or will be cancelled.

        Raises
        ------
        ServiceError
            If there was no usable response.
        """

    def forget(self, run_id: str) -> None:
        """Drop the data of a run that is not checked any more.

        Parameters
        ----------
        run_id : str
            The service's id of the run.
        """

    def open_image(self, output: Output) -> AbstractContextManager[ImageStream]:
        """Open one output for reading.

        Parameters
        ----------
        output : Output
            An output of a recent snapshot.

        Returns
        -------
        context manager of ImageStream
            Its `with` block connects, and closes the connection.

        Raises
        ------
        ServiceError
            If the URL is not allowed (the error names the host), or returns no image.
        """

    def upload(self, name: str, content: bytes) -> str | None:
        """Upload an input image.

        Parameters
        ----------
        name : str
            The file name; the service may choose another.
        content : bytes
            The image file.

        Returns
        -------
        str or None
            The value to submit for the image, or None if the service accepts no uploads.

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
        """Return the fields of a workflow.

        Parameters
        ----------
        workflow_id : str
            The service's id of the workflow.

        Returns
        -------
        mapping of str to Field, or None
            Field id -> field; None if the service does not describe the workflow.

        Raises
        ------
        ServiceError
            If there was no usable response.
        """

    def graph_fields(self, graph: Graph) -> Mapping[str, Field]:
        """Return the fields of a graph, with the types and choices of the service's nodes.

        Parameters
        ----------
        graph : Graph
            A graph in API format.

        Returns
        -------
        mapping of str to Field
            Field id -> field, in the order of the graph.

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

    def close(self) -> None:
        """Close the connections; later calls fail."""
