"""The state of a cell of a sweep: its images, or text in their place. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from comflowy_nb.layout.cell_states import CellState, state_of_run
from comflowy_nb.status import Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from comflowy_nb.database.records import ImageRecord
    from comflowy_nb.sweeps.sweep import SweepCell

__all__ = ["cell_state_of", "chosen_images"]


def cell_state_of(cell: SweepCell, *, node: str | None = None, image: int | None = None) -> CellState:
    """Return the state of a cell; `node` and `image` choose among its images."""
    run = cell.run
    if run is None:
        if cell.sweep.record is None and cell.planned:
            return CellState("done" if cell.planned == "done" else "waiting", cell.planned)
        is_waiting = cell.sweep.is_sending or cell.sweep.is_sent_elsewhere
        return CellState("waiting", "waiting" if is_waiting else "not sent")
    images = chosen_images(run.record.images, node=node, image=image)
    if run.status is Status.SUCCESS and images:
        return CellState("images", images=tuple((one.index, one.file, one.state) for one in images))
    state = state_of_run(run.record)
    if run.status is Status.SUCCESS and run.record.images:
        return replace(state, detail="no such image")
    if not run.status.is_live:
        return state
    state = replace(state, detail=run.trouble or "")
    if run.status is not Status.RUNNING:
        return state
    text, progress = run.service_status or state.text, run.progress
    if progress is None or not progress.max or progress.max <= 1:
        return replace(state, text=text)
    done = min(progress.value or 0, progress.max)
    return replace(state, text=f"{text} {done:g}/{progress.max:g}", fraction=round(done / progress.max, 2))


def chosen_images(
    images: Sequence[ImageRecord], *, node: str | None = None, image: int | None = None
) -> list[ImageRecord]:
    """Return the images of a cell to show: those of one node, and of these the one with this index."""
    chosen = [record for record in images if node is None or record.node == node]
    return chosen if image is None else chosen[image : image + 1]
