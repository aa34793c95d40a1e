"""Entries of an exploration: cells or runs, each with the current state of its run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from comflowy_nb.layout.run_captions import state_of_run
from comflowy_nb.layout.value_text import name_fields, write_value
from comflowy_nb.status import Status
from comflowy_nb.sweeps.cell import NOT_SUBMITTED, SweepCell

if TYPE_CHECKING:
    from collections.abc import Mapping

    from comflowy_nb.tracking.run import Run, RunImage


_FAILED = frozenset({Status.FAILED, Status.REJECTED, Status.CANCELLED})


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One item of an exploration: a cell of a sweep or a run, with its indices on the axes.

    Attributes
    ----------
    number
        Its index in the exploration, from 0.
    source
        The cell or the run.
    at
        Its index on each axis, without the axis of the images.
    caption
        Its values on the axes.
    """

    number: int
    source: SweepCell | Run
    at: tuple[int, ...]
    caption: str

    @property
    def cell(self) -> SweepCell | None:
        return self.source if isinstance(self.source, SweepCell) else None

    @property
    def run(self) -> Run | None:
        """The run of the entry; None for a cell that was not submitted."""
        return self.source.run if isinstance(self.source, SweepCell) else self.source

    @property
    def ref(self) -> str:
        return self.source.ref

    @property
    def params(self) -> Mapping[str, Any]:
        return self.source.params

    @property
    def images(self) -> list[RunImage]:
        """The images and videos of the run."""
        run = self.run
        if run is None:
            return []
        return [*run.images, *(file for file in run.files if (file.record.media_type or "")[:5] in {"image", "video"})]

    @property
    def status(self) -> str:
        """The status of the run, or `not submitted`."""
        run = self.run
        return NOT_SUBMITTED if run is None else str(run.status)

    @property
    def is_missing(self) -> bool:
        """Whether the cell was never submitted, and no process is submitting it."""
        cell = self.cell
        return (
            cell is not None
            and cell.run is None
            and not (cell.sweep.is_submitting or cell.sweep.is_submitted_elsewhere)
        )

    @property
    def is_failed(self) -> bool:
        """Whether the run failed, or was rejected or cancelled, and may be submitted again."""
        run = self.run
        return self.cell is not None and run is not None and run.status in _FAILED

    @property
    def is_held(self) -> bool:
        """Whether the run is held: the service may have accepted it."""
        run = self.run
        return run is not None and run.status.is_held

    @property
    def text(self) -> str:
        """The text to show instead of an image: `waiting`, `running 40 %`, `failed`; empty if there are images."""
        run = self.run
        if run is None:
            return NOT_SUBMITTED if self.is_missing else "waiting"
        if run.status is Status.SUCCESS and self.images:
            return ""
        record = run.shown_record
        state = state_of_run(record)
        if record.status is not Status.RUNNING:
            return f"{state.text} {state.detail}" if record.status is Status.SUCCESS else state.text
        progress, text = run.progress, record.service_status or state.text
        if progress is None or not progress.max or progress.max <= 1:
            return text
        return f"{text} {min(1.0, (progress.value or 0) / progress.max):.0%}".replace("%", " %")

    @property
    def error(self) -> str | None:
        """The full error, or the warning of a run that is not done."""
        run = self.run
        if run is None:
            return None
        if run.status.is_held:
            return " ".join(filter(None, (state_of_run(run.record).detail, run.error)))
        return run.warning if run.status.is_live else run.error

    def written_params(self) -> list[tuple[str, str]]:
        """Return the params that were set, in the order typed, with short names, as texts."""
        run, cell = self.run, self.cell
        keys = list(cell.params) if cell is not None else list(run.record.set_params if run is not None else ())
        names = name_fields(self.params)
        return [(names[key], write_value(self.params[key])) for key in keys if key in self.params]
