"""Sweep: the cells of one or more axes with their runs and results."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comflowy_nb.database.process_locks import check_not_forked
from comflowy_nb.database.rows import read_params
from comflowy_nb.errors import RefError, RunFailed, RunTimeout
from comflowy_nb.status import Status
from comflowy_nb.sweeps.cell import NOT_SENT, SweepCell
from comflowy_nb.tracking.listeners import Listeners
from comflowy_nb.tracking.run import RETRY
from comflowy_nb.workflow.axes.types import Cell, axes_from_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import pandas as pd

    from comflowy_nb.database.records import CellRecord, RunRecord, SweepRecord
    from comflowy_nb.library import Library
    from comflowy_nb.sweeps.plan import SweepPlan
    from comflowy_nb.sweeps.sender import SweepSender, SweepWatcher
    from comflowy_nb.tracking.run import Run
    from comflowy_nb.workflow.axes.types import Axes

__all__ = ["Sweep", "SweepCell", "held_text", "raise_for_failures", "sweep_of"]

_FAILED = {Status.FAILED, Status.REJECTED, Status.CANCELLED, Status.UNKNOWN, Status.LOST}


class Sweep:
    """The runs of all combinations of the values of one or more axes.

    `Client.sweep`, `Client.plan_sweep` and the magic `%comflowy sweep` return one. Cells are numbered from 1; the axis
    typed first varies slowest.

    Attributes
    ----------
    cells
        The cells, in the order of their numbers.
    plan
        How many cells are done, running or new when the sweep is submitted; `plan.text` says it. None for a sweep of
        the history.
    stopped
        The reason why the sweep was stopped early, or None.
    workflow, service
        Names of the workflow and of the service.
    axes, layout
        The axes, and the names of those for columns (`x`), rows (`y`) and separate grids (`z`).
    record
        The row in the history; None for a plan.

    Examples
    --------
    >>> sweep = client.sweep("default", {"cfg": [4, 8], "seed": [1, 2]})  # doctest: +SKIP
    >>> sweep.plan.text  # doctest: +SKIP
    '4 cells: 4 new, about 12 s'
    >>> sweep.select(cfg=4)[0].images[0].path  # doctest: +SKIP
    >>> sweep.save("out")  # doctest: +SKIP
    """

    def __init__(
        self,
        axes: Axes,
        cells: Sequence[tuple[Cell, str]],
        *,
        workflow: str,
        service: str,
        layout: Mapping[str, str | None],
        library: Library,
        record: SweepRecord | None = None,
    ) -> None:
        self.axes = axes
        self.workflow = workflow
        self.service = service
        self.layout = dict(layout)
        self.record = record
        self.plan: SweepPlan | None = None
        self.stopped: str | None = None
        self.is_sent_elsewhere = False  # by another process when the cells were read, and not followed since
        self.cells = [SweepCell(self, cell, key) for cell, key in cells]
        self._library = library
        self._sender: SweepSender | SweepWatcher | None = None
        self._process = os.getpid()
        self._changed = threading.Condition(threading.RLock())
        self._open: set[int] = set()  # numbers of the cells whose runs are not settled
        self._uncounted: set[int] = set()  # numbers of the cells whose ends the sender has not counted yet
        self._listeners: Listeners[SweepCell | None] = Listeners()
        self._listening = contextlib.ExitStack()  # stops listening to the runs when the sweep is collected
        weakref.finalize(self, self._listening.close).atexit = False

    @property
    def number(self) -> int | None:
        """Number in the history; None for a plan."""
        return None if self.record is None else self.record.number

    @property
    def ref(self) -> str:
        """Reference of the sweep: `s1`; `sweep` for a plan."""
        return "sweep" if self.record is None else self.record.ref

    @property
    def token(self) -> str | None:
        """Identifier in the history; None for a plan."""
        return None if self.record is None else self.record.token

    @property
    def name(self) -> str | None:
        """Name that the user gave it, or None."""
        return None if self.record is None else self.record.name

    @property
    def is_sent_here(self) -> bool:
        """Whether a client of this process submitted it."""
        return self._sender is not None and self._sender.is_here

    @property
    def is_sending(self) -> bool:
        """Whether more cells may be submitted."""
        return self._sender is not None and self._sender.is_sending

    @property
    def is_settled(self) -> bool:
        """Whether no more cells are submitted and every run is settled."""
        # In this order: the last cell is held and open before `is_sending` becomes False.
        return not self.is_sending and not self._uncounted and not self._open

    @property
    def ended_at(self) -> float | None:
        """When its last run ended, in UTC seconds since 1970; None before."""
        if self.record is None or not self.is_settled or (self._sender is None and self.is_sent_elsewhere):
            return None
        ends = [cell.run.record.finished_at for cell in self.cells if cell.run is not None]
        return max([self.record.created_at, *(end for end in ends if end is not None)])

    @property
    def errors(self) -> dict[str, str]:
        """Errors by the reference of the cell (`s1.7`)."""
        return {cell.ref: cell.error or str(cell.status) for cell in self.cells if cell.status in _FAILED}

    def status_counts(self) -> dict[str, int]:
        """Return the number of cells by status, without statuses that no cell has."""
        counts = Counter(cell.status_text for cell in self.cells)
        return {status: counts[status] for status in (*map(str, Status), NOT_SENT) if counts[status]}

    def cell(self, number: int) -> SweepCell:
        """Return the cell with this number, from 1.

        Raises
        ------
        RefError
            If there is no such cell.
        """
        if not 1 <= number <= len(self.cells):
            raise RefError(f"{self.ref} has {_cells(len(self.cells))}, so no {self.ref}.{number}")
        return self.cells[number - 1]

    def select(self, **wanted: Any) -> list[SweepCell]:
        """Return the cells with all of these values.

        Parameters
        ----------
        **wanted
            A value by the name of a field, or a label by the name of an axis.

        Raises
        ------
        RefError
            If a name is neither an axis nor a field of the cells.

        Examples
        --------
        >>> sweep.select(cfg=4, prompt="day")  # doctest: +SKIP
        """
        for name in wanted:
            if not any(cell.has(name) for cell in self.cells):
                axes = ", ".join(axis.name for axis in self.axes.axes)
                raise RefError(f"{self.ref} has no axis or field {name!r}" + (f"; its axes: {axes}" if axes else ""))
        return [cell for cell in self.cells if all(cell.matches(name, value) for name, value in wanted.items())]

    def wait(self, timeout: float | None = None) -> Sweep:
        """Block until the sweep is settled. An interrupt only stops waiting.

        Parameters
        ----------
        timeout
            Seconds, at least 0; None waits without limit.

        Returns
        -------
        The sweep.

        Raises
        ------
        RunTimeout
            If it takes longer. The sweep continues.
        ComflowyError
            In a process that was forked from the one that submits the sweep.

        Examples
        --------
        >>> sweep.wait(600).status_counts()  # doctest: +SKIP
        {'success': 4}
        """
        check_not_forked(self._process, self.ref)
        deadline_s = float("inf") if timeout is None else time.monotonic() + timeout
        while not self.wait_change(min(1.0, deadline_s - time.monotonic())):
            if time.monotonic() >= deadline_s:
                raise RunTimeout(
                    f"{self.ref} is not done after {timeout:g} s; it continues: %comflowy show {self.ref}", self
                )
        return self

    def wait_change(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds for a change; return whether the sweep is settled."""
        with self._changed:
            if timeout > 0 and not self.is_settled:
                self._changed.wait(timeout)
        return self.is_settled

    def cancel(self) -> None:
        """Submit no more cells, and cancel those submitted where the service can.

        Raises
        ------
        RefError
            For a sweep of the history that is not connected to its service.
        """
        if self._sender is None:
            raise RefError(
                f"{self.ref} comes from the history alone; type %comflowy cancel {self.ref} where it was submitted"
            )
        self._sender.cancel()

    def save(self, folder: str | Path) -> list[Path]:
        """Write copies with readable names, one contact sheet and a JSON of everything.

        Parameters
        ----------
        folder
            A folder, which is created if necessary, or `NAME.zip`.

        Returns
        -------
        The paths written: copies in the order of the cells, pages of the contact sheet, `sweep.json`; or the zip file.

        Raises
        ------
        SettingsError
            If `folder` is the name of another file.
        ImageError
            If there are no images, the folder can't be written to, or images are missing on disk. The others are
            saved then.

        Examples
        --------
        >>> sweep.save("out")  # doctest: +SKIP
        [PosixPath('out/s1.1_cfg-4.png'), ..., PosixPath('out/contact_sheet.jpg'), PosixPath('out/sweep.json')]
        """
        return self._library.save_sweep(self, Path(folder).expanduser())

    def to_dataframe(self) -> pd.DataFrame:
        """Return a row for each cell, with a thumbnail that a notebook shows.

        Returns
        -------
        Columns: `cell`, labels, params (those that vary first), `status`, `seconds`, `run`, `error`, `image` (a path)
        and `thumbnail`.

        Raises
        ------
        SettingsError
            If pandas is not installed.

        Examples
        --------
        >>> sweep.to_dataframe().groupby("cfg").seconds.mean()  # doctest: +SKIP
        """
        from comflowy_nb.sweeps.table import to_dataframe  # noqa: PLC0415 - loads pandas

        return to_dataframe(self.cells)

    # -- for senders and views --------------------------------------------------------------------------------------

    def listen(self, listener: Callable[[SweepCell | None], None]) -> Callable[[], None]:
        """Call `listener` at every change with the cell, or None for the sweep; return the function that removes it."""
        return self._listeners.add(listener)

    def once(self, condition: Callable[[], bool], action: Callable[[], None]) -> None:
        """Call `action` exactly once, as a listener: as soon as `condition` holds, which may be now."""
        self._listeners.once(condition, action)

    def send_by(self, sender: SweepSender | SweepWatcher) -> None:
        """Set the sender: whether the sweep is settled depends on it."""
        self._sender = sender

    def attach(self, cell: SweepCell, run: Run) -> None:
        """Give a cell its run; the sweep changes with it from now on."""
        cell.run = run
        this, number = weakref.ref(self), cell.number  # a run outlives the sweeps that it was a cell of

        def pass_on(_: Run) -> None:
            sweep = this()
            if sweep is not None:
                sweep.notify(sweep.cell(number))

        self._listening.callback(run.listen(pass_on))
        self.notify(cell)

    def expect_end(self, cell: SweepCell) -> None:
        """Do not become settled before `confirm_ends`: the sender has to count the end of this cell's run."""
        with self._changed:
            self._uncounted.add(cell.number)

    def confirm_ends(self, cells: Iterable[SweepCell]) -> None:
        """Note that the ends of these cells' runs are counted."""
        with self._changed:
            self._uncounted.difference_update(cell.number for cell in cells)

    def notify(self, cell: SweepCell | None = None) -> None:
        """Notify waiting threads and listeners of a change."""
        with self._changed:
            if cell is not None and cell.run is not None:
                (self._open.discard if cell.run.record.is_settled else self._open.add)(cell.number)
            self._changed.notify_all()
        self._listeners.call(cell)

    def __repr__(self) -> str:
        counts = ", ".join(f"{count} {status}" for status, count in self.status_counts().items())
        return f"<Sweep {self.ref} {_cells(len(self.cells))}: {counts}>"


def sweep_of(
    record: SweepRecord, rows: Sequence[CellRecord], *, library: Library, run_of: Callable[[RunRecord], Run]
) -> Sweep:
    """Return a sweep of the history; `run_of` returns the run of a record."""
    axes = axes_from_json(record.spec, library.kept_input)
    images = {one.content_sha256: one for one in axes.images()}

    def labels(at: Sequence[int]) -> dict[str, str]:
        return {axis.name: axis.values[index].label for axis, index in zip(axes.axes, at, strict=True)}  # noqa: PD011

    cells = [Cell(row.number, row.at, read_params(row.params, images), labels(row.at)) for row in rows]
    sweep = Sweep(
        axes,
        [(cell, row.key) for cell, row in zip(cells, rows, strict=True)],
        workflow=record.workflow,
        service=record.service,
        layout=record.spec.get("layout", {}),
        library=library,
        record=record,
    )
    for cell, row in zip(sweep.cells, rows, strict=True):
        if row.run is not None:
            sweep.attach(cell, run_of(row.run))
    return sweep


def held_text(sweep: Sweep, *, option: str = RETRY) -> str | None:
    """Return the warning about the held cells of a sweep; None if there are none.

    Parameters
    ----------
    option
        The option that submits them again, as it is typed here.
    """
    held = [cell.run for cell in sweep.cells if cell.run is not None and cell.run.status.is_held]
    again = sum(run.is_submitted_again for run in held)
    parts = []
    if len(held) > again:
        parts.append(f"{_cells(len(held) - again)} without a known result skipped: {option} submits them again")
    if again:
        parts.append(f"{_cells(again)} lost: the same sweep run again submits them again")
    return "; ".join(parts) or None


def _cells(count: int) -> str:
    return f"{count} cell{'s' * (count != 1)}"


def raise_for_failures(sweep: Sweep) -> None:
    """Raise RunFailed, with the sweep as `.run`, if a cell did not succeed."""
    bad = [cell for cell in sweep.cells if cell.status is not Status.SUCCESS]
    if not bad:
        return
    first = next((f": {text}" for text in sweep.errors.values()), "")
    held = held_text(sweep)
    more = f" ({held})" if held else ""
    raise RunFailed(f"{len(bad)} of {len(sweep.cells)} cells of {sweep.ref} did not succeed{first}{more}", sweep)
