"""The records of the history, and the function that applies an event to the record of a run."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from comflowy_nb.status import may_follow, next_status

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from comflowy_nb.services.base import Problem
    from comflowy_nb.status import Status, StatusEvent

__all__ = [
    "CellRecord",
    "ImageRecord",
    "RunChanges",
    "RunRecord",
    "SweepRecord",
    "SweepRequest",
    "apply",
    "made_by",
    "newest",
]


@dataclass(frozen=True, slots=True)
class ImageRecord:
    """One output image of a run as the history knows it.

    `state` is `expected` (owed: not downloaded yet), `kept` (on disk, `file` and `sha256` set) or `missing` (`error`
    says why). A kept image with an `error` can't be decoded here, so that it has no thumbnail. `file` is relative to
    the images' folder.
    """

    index: int
    node: str | None
    node_index: int
    state: str = "expected"
    file: str | None = None
    sha256: str | None = None
    size_bytes: int | None = None
    width_px: int | None = None
    height_px: int | None = None
    format: str | None = None
    error: str | None = None

    @property
    def is_image(self) -> bool:
        """A still image; an animation, a film, a sound or a text is kept and listed as a file."""
        return self.format in _IMAGES


_IMAGES = frozenset({None, "PNG", "JPEG", "WEBP"})


@dataclass(frozen=True, slots=True)
class RunRecord:
    """All that the history keeps of one run. It is replaced as a whole at every change, so a reader sees one moment.

    Times are UTC seconds since 1970; `params` are the values as sent, field id -> JSON value.
    """

    token: str  # our uuid4
    number: int  # N of rN
    identity: str
    origin: str = field(repr=False)
    service: str  # what a person calls it: sandbox, cloud, a given name, a host
    workflow: str  # what a person calls it
    workflow_id: str | None
    params: Mapping[str, Any]
    key: str  # of the same-request rule
    status: Status
    created_at: float
    owner: str  # name of the lock file of the client that follows it
    service_run_id: str | None = None
    service_status: str | None = None
    problem: Problem | None = None
    reason: str | None = None  # why it is unknown, lost or rejected, for a person
    accepted_at: float | None = None
    finished_at: float | None = None
    name: str | None = None  # the newest name given by --as
    set_params: tuple[str, ...] = ()  # the field ids a person set, in the order they did
    images: tuple[ImageRecord, ...] = ()
    remark: str | None = None  # what was odd about an answer
    files: tuple[ImageRecord, ...] = ()  # outputs that are no still images

    @property
    def outputs(self) -> tuple[ImageRecord, ...]:
        """The images and the other files."""
        return (*self.images, *self.files)

    def with_outputs(self, outputs: Iterable[ImageRecord]) -> RunRecord:
        """The record with these in place of its images and files."""
        outputs = tuple(outputs)
        return replace(
            self,
            images=tuple(output for output in outputs if output.is_image),
            files=tuple(output for output in outputs if not output.is_image),
        )

    @property
    def ref(self) -> str:
        return f"r{self.number}"

    @property
    def is_settled(self) -> bool:
        """Nothing more will happen by itself: final or held, and every image kept or given up."""
        return not self.status.is_live and not any(output.state == "expected" for output in self.outputs)

    @property
    def seconds(self) -> float | None:
        """From the submit to the end, in seconds; None before."""
        return None if self.finished_at is None else max(0.0, self.finished_at - self.created_at)


@dataclass(frozen=True, slots=True)
class SweepRequest:
    """A sweep before anything is submitted for it.

    `key` identifies the same sweep, whatever seeds were generated for it; `spec` describes its axes and layout.
    """

    token: str  # our uuid4
    identity: str
    origin: str = field(repr=False)
    service: str
    workflow: str
    workflow_id: str | None
    key: str
    spec: Mapping[str, Any]
    fresh: bool = False
    name: str | None = None


@dataclass(frozen=True, slots=True)
class SweepRecord:
    """All that the history keeps of one sweep but its cells. Times are UTC seconds since 1970."""

    token: str
    number: int  # N of sN
    identity: str
    origin: str = field(repr=False)
    service: str
    workflow: str
    workflow_id: str | None
    key: str
    spec: Mapping[str, Any]
    created_at: float
    fresh: bool = False
    ended_at: float | None = None  # when its last cell came to an end
    name: str | None = None  # the newest name given by --as
    count: int = 0  # of its cells

    @property
    def ref(self) -> str:
        return f"s{self.number}"


@dataclass(frozen=True, slots=True)
class CellRecord:
    """One cell of a sweep: its number, from 1, its indices on the axes, its params, and the run shown for it."""

    number: int
    at: tuple[int, ...]
    params: Mapping[str, Any]
    key: str
    run: RunRecord | None = None


class RunChanges(TypedDict, total=False):
    """What a run's record can change together with its status; None changes nothing."""

    service_run_id: str | None
    service_status: str | None
    problem: Problem | None
    reason: str | None
    remark: str | None
    accepted_at: float | None
    finished_at: float | None
    images: Iterable[ImageRecord] | None
    origin: str | None  # which of several servers accepted the run
    service: str | None


def apply(record: RunRecord, event: StatusEvent, **changes: Unpack[RunChanges]) -> RunRecord | None:
    """Return the record after an event; None if the event changes nothing at the record's status.

    This is the only code that changes the status of a run. `reason` and `problem` explain a status and are dropped
    with it; everything else that `changes` leaves out stays. Times are set to now where they are due and left out.
    """
    status = next_status(record.status, event)
    if status is None:
        return None
    now = time.time()
    known: dict[str, Any] = {name: value for name, value in changes.items() if value is not None}
    outputs = {output.index: output for output in (*record.outputs, *known.pop("images", ()))}
    if "service_run_id" in known and record.accepted_at is None:
        known.setdefault("accepted_at", now)
    explained = {"problem": None, "reason": None, "finished_at": now if status.is_final else None}
    return replace(record, status=status, **(explained | known)).with_outputs(
        outputs[index] for index in sorted(outputs)
    )


def newest(current: RunRecord, read: RunRecord) -> RunRecord:
    """Return `read`, or `current` with the outputs of `read` if its status may not follow that of `current`.

    A record can be read before another thread learns of a later status.
    """
    if read.status is current.status or may_follow(current.status, read.status):
        return read
    outputs = {output.index: output for output in (*current.outputs, *read.outputs)}
    return current.with_outputs(outputs[index] for index in sorted(outputs))


def made_by(record: RunRecord) -> dict[str, Any]:
    """What is written into an image: enough to run it again."""
    return {
        "comflowy_nb": 1,
        "workflow": record.workflow,
        "workflow_id": record.workflow_id,
        "params": dict(record.params),
        "set_params": list(record.set_params),
        "service": record.service,
        "run": record.token,
        "ref": record.ref,
    }
