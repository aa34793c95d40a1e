"""How the cells of a sweep look while it goes on: their images, or words in their place. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from comflowy_nb.status import Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from comflowy_nb.database.records import ImageRecord
    from comflowy_nb.sweeps.sweep import SweepCell

__all__ = ["CellState", "CellStateKind", "cell_state_of", "chosen_images"]

CellStateKind = Literal["images", "waiting", "live", "bad", "odd", "done"]


@dataclass(frozen=True, slots=True)
class CellState:
    """How a cell looks now: its images, or words in their place. Two that are equal are painted alike."""

    kind: CellStateKind
    word: str = ""
    detail: str = ""
    fraction: float | None = None
    images: tuple[tuple[int, str | None, str], ...] = ()  # index, file, state


def cell_state_of(cell: SweepCell, *, node: str | None = None, image: int | None = None) -> CellState:
    """How a cell looks now; `node` and `image` choose among its images."""
    run = cell.run
    if run is None:
        if cell.sweep.record is None and cell.planned:  # nothing but a plan
            return CellState("done" if cell.planned == "done" else "waiting", cell.planned)
        goes_on = cell.sweep.is_sending or cell.sweep.is_sent_elsewhere
        return CellState("waiting", "waiting" if goes_on else "not sent")
    status = run.status
    why = " ".join((run.error or "").split())
    if status is Status.SUCCESS:
        images = chosen_images(run.record.images, node=node, image=image)
        if not images:
            return CellState("odd", "success", "no such image" if run.record.images else "without any image")
        return CellState("images", images=tuple((one.index, one.file, one.state) for one in images))
    if status.is_live:
        progress = run.progress
        if status is not Status.RUNNING:
            return CellState("waiting", str(status), run.warning or "")
        word = run.service_status or str(status)
        if progress is None or not progress.max or progress.max <= 1:
            return CellState("live", word, run.warning or "")
        done = min(progress.value or 0, progress.max)
        return CellState("live", f"{word} {done:g}/{progress.max:g}", run.warning or "", round(done / progress.max, 2))
    if status is Status.UNKNOWN:
        return CellState("odd", "unknown", "we can't tell whether the service took it")
    if status is Status.LOST:
        return CellState("odd", "lost", "the service no longer knows it")
    return CellState("odd" if status is Status.CANCELLED else "bad", str(status), why)


def chosen_images(
    images: Sequence[ImageRecord], *, node: str | None = None, image: int | None = None
) -> list[ImageRecord]:
    """The images of a cell that are shown: those of one node, and of these the one of that index."""
    found = [record for record in images if node is None or record.node == node]
    return found if image is None else found[image : image + 1]
