"""What the history keeps of a run and its images, and the table of its states."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from comflowy_nb.services.base import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from comflowy_nb.services.base import Problem

__all__ = ["ImageRecord", "RunRecord", "made_by", "may_move"]

# Followed states only move forward. A held run is moved by a webhook, `resume` or a person.
_RANK = {Status.SUBMITTING: 0, Status.WAITING: 1, Status.PENDING: 2, Status.RUNNING: 3}


def may_move(old: Status, new: Status) -> bool:
    """Whether a run may go from one state to another: forward, never out of a final one."""
    if old.is_final or old is new:
        return False
    if old.is_held:
        return new is not Status.SUBMITTING and new is not Status.REJECTED
    if new.is_live:
        return _RANK[new] > _RANK[old]
    if new in {Status.REJECTED, Status.UNKNOWN}:
        return old is Status.SUBMITTING
    if new is Status.LOST:
        return old is not Status.SUBMITTING
    return True


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

    def advanced_to(self, newer: RunRecord) -> RunRecord:
        """Return `newer`, or this record with the outputs of `newer` if its status may not follow this one.

        The history can be behind the process that follows the run: it could not take the last change yet.
        """
        if newer.status is self.status or may_move(self.status, newer.status):
            return newer
        outputs = {output.index: output for output in (*self.outputs, *newer.outputs)}
        return self.with_outputs(outputs[index] for index in sorted(outputs))

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
