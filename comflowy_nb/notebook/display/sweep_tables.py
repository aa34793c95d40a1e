"""Sweeps as rows: the newest of the history, and the cells of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comflowy_nb.notebook.display.bundles import Table
from comflowy_nb.notebook.display.status import day, time_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from comflowy_nb.database.records import SweepRecord
    from comflowy_nb.sweeps.sweep import Sweep

__all__ = ["cells_table", "sweeps_table"]


def sweeps_table(found: Sequence[SweepRecord]) -> Table:
    """Sweeps as rows: reference, name, workflow, what varies, when."""
    rows = []
    for record in found:
        axes = record.spec.get("axes", [])
        varied = " x ".join(f"{len(axis.get('values', ()))} {axis.get('name', '')}" for axis in axes)
        cells = f"{record.count} cell{'s' * (record.count != 1)}"
        rows.append((record.ref, record.name or "", record.workflow, cells, day(record.created_at), varied))
    return Table(("sweep", "name", "workflow", "cells", "when", "varied"), rows)


def cells_table(sweep: Sweep) -> Table:
    """The cells of a sweep as rows: reference, run, labels, how it stands, how long."""
    names = [axis.name for axis in sweep.axes.axes]
    rows = []
    for cell in sweep.cells:
        record = cell.run.record if cell.run is not None else None
        status = "not sent" if cell.status is None else str(cell.status)
        told = status if not cell.error else f"{status}: {cell.error}"
        took = time_text(record.seconds) if record is not None and record.seconds is not None else ""
        labels = [cell.labels.get(name, "") for name in names]
        rows.append((cell.ref, record.ref if record is not None else "", told, took, *labels))
    return Table(("cell", "run", "status", "took", *names), rows)
