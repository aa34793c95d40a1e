"""Make a Sweep from its record in the history and the records of its cells."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from comflowy_nb.database.rows import read_params
from comflowy_nb.images.inputs import stored_input
from comflowy_nb.sweeps.sweep import Sweep
from comflowy_nb.workflow.axes.types import Cell, axes_from_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from comflowy_nb.archive.manifest import CellEntry
    from comflowy_nb.database.records import CellRecord, RunRecord, SweepRecord
    from comflowy_nb.library import Library
    from comflowy_nb.tracking.run import Run
    from comflowy_nb.workflow.axes.types import Axes


def sweep_of(
    record: SweepRecord, rows: Sequence[CellRecord], *, library: Library, run_of: Callable[[RunRecord], Run]
) -> Sweep:
    """Return a sweep of the history. `run_of` is called with a record and returns its Run."""
    axes = axes_from_json(record.spec, partial(stored_input, library.inputs))
    cells = stored_cells(axes, rows)
    sweep = Sweep(
        axes,
        [(cell, row.key) for cell, row in zip(cells, rows, strict=True)],
        workflow=record.workflow,
        service=record.service,
        layout=record.spec.get("layout", {}),
        images_folder=library.folder,
        record=record,
    )
    for cell, row in zip(sweep.cells, rows, strict=True):
        if row.run is not None:
            sweep.attach(cell, run_of(row.run))
    return sweep


def stored_cells(axes: Axes, rows: Iterable[CellRecord | CellEntry]) -> list[Cell]:
    """Return the cells of stored rows, with the images among the values of the axes."""
    images = {image.content_sha256: image for image in axes.images()}
    return [
        Cell(row.number, tuple(row.at), read_params(row.params, images), axes.labels(row.at), axes.info(row.at))
        for row in rows
    ]
