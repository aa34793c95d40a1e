"""The data classes that a service and the tracker exchange: requests, responses and events."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from comflowy_nb.errors import ServiceError
    from comflowy_nb.status import Status

WEBHOOK_PATH = "comflowy/hooks"  # before the secret of a run, in the address of every webhook


@dataclass(frozen=True, slots=True)
class Problem:
    """The error that the service reports for a failed run."""

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

    `url` may be signed, so it is never stored, displayed or included in an error. `node` is None for an image that is
    only in `output_images`.
    """

    index: int  # position within the run, from 0, the same at every check
    node: str | None
    node_index: int  # position within its node, from 0
    url: str = field(repr=False)
    ending: str | None = None  # of a file that is not a still image: webp (animated), mp4, flac, txt ...
    text: str | None = field(default=None, repr=False)  # of a text output
    content: bytes | None = field(default=None, repr=False)  # of an image received through the socket, which has no URL


@dataclass(frozen=True, slots=True)
class ImageStream:
    """The bytes of one image or other output, as they are received.

    `length` is the size in bytes, or None if it is unknown. `chunks()` yields the bytes in chunks of at most 64 KiB. It
    raises ServiceError if the connection breaks, the deadline passes or the throughput is too low.
    """

    length: int | None
    chunks: Callable[[], Iterator[bytes]] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The response to one check."""

    status: Status
    service_status: str  # the service's own text
    problem: Problem | None = None
    outputs: tuple[Output, ...] = ()
    warning: str | None = None  # for the user, about an unexpected response
    ahead: int | None = None  # number of earlier runs in the service's queue, if known
    times: tuple[float, float] | None = None  # start and end of the execution by the service's clock, s since 1970


@dataclass(frozen=True, slots=True)
class Progress:
    """The progress of a run; None for values that the service does not report.

    Parameters
    ----------
    node, title : str, optional
        Id and title of the node that is being executed.
    value, max : float, optional
        Number of steps done in the node, and of all its steps.
    nodes_done, nodes_total : int, optional
        Number of executed nodes, and of all nodes of the workflow.
    message : str, optional
        One line of text from the service.
    preview : bytes, optional
        An image of the current step, as JPEG or PNG.
    ahead : int, optional
        Number of runs before this one in the service's queue; None when it is running.

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


@dataclass(frozen=True, slots=True)
class Event:
    """A notification of the service about the run with our `token`. A check must confirm its status."""

    token: str
    status: Status | None = None  # None: only progress or a message
    service_run_id: str | None = None
    progress: Progress | None = None
    kind: str | None = None  # `type` of a webhook; None if it is unknown, and for events from a WebSocket
    text: str | None = None  # the text of a `message`, or the error of `failed`
    outputs: tuple[Output, ...] = ()  # of a node that has ended before its run; their `index` is not known yet


MESSAGE = "message"  # the kind of an event with a text


@dataclass(frozen=True, slots=True)
class RunEvent:
    """An event that a webhook delivered, as `Run.events` lists it.

    Parameters
    ----------
    kind : str
        `waiting`, `pending`, `running`, `message`, `success` or `failed`, as the service wrote it.
    at : float
        When it arrived, in seconds since 1970 (UTC).
    text : str, optional
        The text of a `message`, or the error of `failed`: one line of at most 400 characters. A message that is not a
        text is its JSON.
    progress : Progress, optional
        The progress that the event reported.

    Examples
    --------
    >>> event = RunEvent("message", 1767225600.0, "loading the model")
    >>> event
    <RunEvent message 'loading the model'>
    >>> event.kind, event.text
    ('message', 'loading the model')
    """

    kind: str
    at: float
    text: str | None = None
    progress: Progress | None = None

    def __repr__(self) -> str:
        parts = [self.kind]
        if self.text is not None:
            parts.append(repr(self.text))
        if self.progress is not None and (self.progress.title or self.progress.node):
            parts.append(self.progress.title or f"node {self.progress.node}")
        if self.progress is not None and self.progress.max:
            parts.append(f"{self.progress.value or 0:g}/{self.progress.max:g}")
        return f"<RunEvent {' '.join(parts)}>"


@dataclass(frozen=True, slots=True)
class Submission:
    """The request for one run. `token` is our uuid4 for it."""

    token: str
    workflow_id: str | None
    params: Mapping[str, Any]  # field id -> JSON value, as submitted
    callback_urls: Mapping[str, str] = field(default_factory=dict, repr=False)
    graph: Mapping[str, Any] | None = None  # for services that run graphs, params applied
    metadata: Mapping[str, Any] | None = None  # metadata for the image file


@dataclass(frozen=True, slots=True)
class Accepted:
    """The service accepted the run under this id."""

    run_id: str
    warning: str | None = None  # for the user: outputs that the service will not produce
    origin: str | None = field(default=None, repr=False)  # of the server that accepted it, of several
    label: str | None = None  # of that server, for messages


@dataclass(frozen=True, slots=True)
class Rejected:
    """The service certainly did not accept the run.

    `may_retry`: another attempt may succeed, as after a refused connection or status 429; `error.retry_after_s` of a
    RateLimitError is the wait. `rejects_all`: the service would reject every other run too (invalid key, no credit).
    """

    error: ServiceError
    may_retry: bool = False
    rejects_all: bool = False


@dataclass(frozen=True, slots=True)
class Unknown:
    """It is unknown whether the service accepted the run. `reason` describes the failure of the request."""

    reason: str


Outcome = Accepted | Rejected | Unknown


# -- outputs of a run -------------------------------------------------------------------------------------------

MAX_OUTPUTS = 1000  # per run; each output is a download and a row of the history


def limit_outputs(outputs: Sequence[Output]) -> tuple[tuple[Output, ...], str | None]:
    """Return the first `MAX_OUTPUTS` outputs of a run, and a warning if there are more."""
    if len(outputs) <= MAX_OUTPUTS:
        return tuple(outputs), None
    warning = f"the service lists {len(outputs)} outputs, and only the first {MAX_OUTPUTS} of a run are downloaded"
    return tuple(outputs[:MAX_OUTPUTS]), warning


def node_order(node: str) -> tuple[tuple[int, int, str], ...]:
    """Return the sort key of a node id, which sorts 3 before 10, 5:1 before 5:12, and texts last."""
    parts = node.split(":")
    return tuple((0, int(part), "") if part.isascii() and part.isdigit() else (1, 0, part) for part in parts)
