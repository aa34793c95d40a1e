"""States that replace the images of a cell: waiting, running, failed and so on. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from comflowy_nb.status import Status

if TYPE_CHECKING:
    from comflowy_nb.database.records import RunRecord

__all__ = ["CellState", "CellStateKind", "state_of_run"]

CellStateKind = Literal["images", "waiting", "live", "bad", "odd", "done"]


@dataclass(frozen=True, slots=True)
class CellState:
    """The content of a cell. Two equal states are drawn alike.

    Attributes
    ----------
    fraction
        Progress from 0 to 1; None draws no progress bar.
    images
        Index, file and state of each image, if the cell shows images.
    """

    kind: CellStateKind
    text: str = ""
    detail: str = ""
    fraction: float | None = None
    images: tuple[tuple[int, str | None, str], ...] = ()


_KINDS: dict[Status, CellStateKind] = {
    Status.RUNNING: "live",
    Status.FAILED: "bad",
    Status.REJECTED: "bad",
    Status.SUCCESS: "odd",
    Status.UNKNOWN: "odd",
    Status.LOST: "odd",
    Status.CANCELLED: "odd",
}
_DETAILS = {
    Status.SUCCESS: "without any image",
    Status.UNKNOWN: "we can't tell whether the service took it",
    Status.LOST: "the service no longer knows it",
}


def state_of_run(record: RunRecord) -> CellState:
    """Return the state of a run without images."""
    status = record.status
    reason = str(record.problem) if record.problem is not None else record.reason or ""
    return CellState(_KINDS.get(status, "waiting"), str(status), _DETAILS.get(status) or " ".join(reason.split()))
