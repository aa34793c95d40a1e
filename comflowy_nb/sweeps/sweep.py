"""Sweep: the cells of one or more axes, each with its run, and what came of them."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from collections import Counter
from typing import TYPE_CHECKING, Any, Protocol

from comflowy_nb.database.process_locks import check_not_forked
from comflowy_nb.database.rows import read_params
from comflowy_nb.errors import RefError, RunFailed, RunTimeout
from comflowy_nb.status import Status
from comflowy_nb.tracking.listeners import Listeners
from comflowy_nb.tracking.run import RETRY
from comflowy_nb.workflow.axes.types import Cell, axes_from_json
from comflowy_nb.workflow.images import InputImage, input_of, is_image

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    import pandas as pd

    from comflowy_nb.database.records import CellRecord, RunRecord, SweepRecord
    from comflowy_nb.sweeps.plan import SweepPlan
    from comflowy_nb.tracking.run import Images, Run
    from comflowy_nb.workflow.axes.types import Axes

__all__ = ["Keeper", "Sender", "Sweep", "SweepCell", "held_text", "raise_for_failures", "sweep_of"]


class SweepCell:
    """One cell: its place on the axes, its params, and its run once there is one.

    `planned` says in a word what the plan makes of it; None where there was none.
    """

    __slots__ = ("at", "key", "labels", "number", "params", "planned", "run", "sweep")

    def __init__(self, sweep: Sweep, cell: Cell, key: str, run: Run | None = None) -> None:
        self.sweep = sweep
        self.number = cell.number
        self.at = cell.at
        self.labels: Mapping[str, str] = cell.labels
        self.params: Mapping[str, Any] = cell.params
        self.key = key
        self.planned: str | None = None
        self.run = run

    @property
    def ref(self) -> str:
        return f"{self.sweep.ref}.{self.number}"

    @property
    def status(self) -> Status | None:
        """Of its run; None while nothing was sent."""
        return None if self.run is None else self.run.status

    @property
    def error(self) -> str | None:
        return None if self.run is None else self.run.error

    @property
    def images(self) -> Images | Sequence[Any]:
        """The images of its run, none while there is none."""
        return () if self.run is None else self.run.images

    def __repr__(self) -> str:
        labels = ", ".join(f"{name}={label}" for name, label in self.labels.items())
        return f"<SweepCell {self.ref} {labels} {self.status or 'not sent'}>"


class Keeper(Protocol):
    """Who has the images of a sweep: the library."""

    def save_sweep(self, sweep: Sweep, folder: Path) -> list[Path]: ...

    def kept_input(self, content_sha256: str) -> bytes | None: ...


class Sender(Protocol):
    """Who sends the cells of a sweep: the client that entered it, or one that sees another kernel send them."""

    is_here: bool  # whether it is this client

    @property
    def is_sending(self) -> bool:
        """Whether more cells may be sent by themselves."""

    def cancel(self) -> None:
        """Send no more, and cancel what this client sent."""


class Sweep:
    """The runs of a grid of values. Without a sender it is one of the history: to be looked at.

    Cells are numbered from 1, the axis typed first varying slowest. `plan` says what was found when it was entered;
    `stopped` says why it was given up early, or is None.
    """

    def __init__(
        self,
        axes: Axes,
        cells: Sequence[tuple[Cell, str]],
        *,
        workflow: str,
        service: str,
        layout: Mapping[str, str | None],
        library: Keeper,
        record: SweepRecord | None = None,
    ) -> None:
        self.axes = axes
        self.workflow = workflow
        self.service = service
        self.layout = dict(layout)
        self.record = record
        self.plan: SweepPlan | None = None
        self.stopped: str | None = None
        self.is_sent_elsewhere = False  # when it was read from the history; nobody looks again
        self.cells = [SweepCell(self, cell, key) for cell, key in cells]
        self._keeper = library
        self._sender: Sender | None = None
        self._process = os.getpid()
        lock = threading.RLock()
        self._changed = threading.Condition(lock)
        self._at_rest = threading.Condition(lock)  # who waits for the end alone need not wake at every change
        self._open: set[int] = set()  # numbers of the cells whose runs are not settled
        self._held: set[int] = set()  # numbers of the cells whose ends the sender has not counted yet
        self._listeners: Listeners[SweepCell | None] = Listeners()
        self._listening = contextlib.ExitStack()  # stops listening to the runs, when the sweep is collected
        weakref.finalize(self, self._listening.close).atexit = False
        self.started_clock_s = time.monotonic()

    # -- what it is ---------------------------------------------------------------------------------------------

    @property
    def number(self) -> int | None:
        return None if self.record is None else self.record.number

    @property
    def ref(self) -> str:
        return "sweep" if self.record is None else self.record.ref

    @property
    def token(self) -> str | None:
        return None if self.record is None else self.record.token

    @property
    def name(self) -> str | None:
        return None if self.record is None else self.record.name

    @property
    def is_sent_here(self) -> bool:
        """Whether a client of this process entered it, and may be sending it."""
        return self._sender is not None and self._sender.is_here

    @property
    def is_sending(self) -> bool:
        """Whether cells that have no run yet will get one by themselves."""
        return self._sender is not None and self._sender.is_sending

    @property
    def is_settled(self) -> bool:
        """Nothing more will happen by itself: nothing to send, and every run settled."""
        # in this order: the last cell becomes held and open before nothing is sent any more
        return (self._sender is None or not self._sender.is_sending) and not self._held and not self._open

    @property
    def ended_at(self) -> float | None:
        """When its last run ended, in UTC seconds since 1970; None until then. At the earliest, when it was entered."""
        if self.record is None or not self.is_settled or (self._sender is None and self.is_sent_elsewhere):
            return None
        ends = [cell.run.record.finished_at for cell in self.cells if cell.run is not None]
        return max([self.record.created_at, *(end for end in ends if end is not None)])

    @property
    def errors(self) -> dict[str, str]:
        """What went wrong, by the reference of the cell (`s1.7`)."""
        bad = {Status.FAILED, Status.REJECTED, Status.CANCELLED, Status.UNKNOWN, Status.LOST}
        return {cell.ref: cell.error or str(cell.status) for cell in self.cells if cell.status in bad}

    def status_counts(self) -> dict[str, int]:
        """How many cells are in each state, in the order a run goes through them; `not sent` last."""
        counts = Counter("not sent" if cell.status is None else str(cell.status) for cell in self.cells)
        return {word: counts[word] for word in (*map(str, Status), "not sent") if counts[word]}

    def cell(self, number: int) -> SweepCell:
        """The cell of this number, from 1."""
        if not 1 <= number <= len(self.cells):
            raise RefError(
                f"{self.ref} has {len(self.cells)} cell{'s' * (len(self.cells) != 1)}, so no {self.ref}.{number}"
            )
        return self.cells[number - 1]

    def select(self, **wanted: Any) -> list[SweepCell]:
        """The cells with these values: `select(cfg=4)`, or by an axis' label, `select(prompt="day")`.

        Raises
        ------
        RefError
            If a name is neither an axis nor a field of the cells.
        """
        found = self.cells
        for name, value in wanted.items():
            if not any(_has(cell, name) for cell in self.cells):
                names = [axis.name for axis in self.axes.axes]
                raise RefError(
                    f"{self.ref} has no axis and no field {name!r}; its axes are {', '.join(names) or 'none'}"
                )
            found = [cell for cell in found if _fits(cell, name, value)]
        return list(found)

    # -- what can be done ---------------------------------------------------------------------------------------

    def wait(self, timeout: float | None = None) -> Sweep:
        """Block until it is settled. An interrupt only stops waiting.

        Raises
        ------
        RunTimeout
            If it takes longer than so many seconds. It goes on.
        ComflowyError
            In a process that was forked from the one that follows the sweep.
        """
        check_not_forked(self._process, self.ref)
        deadline_s = None if timeout is None else time.monotonic() + timeout
        while not self._wait_end(1.0 if deadline_s is None else min(1.0, deadline_s - time.monotonic())):
            if deadline_s is not None and time.monotonic() >= deadline_s:
                raise RunTimeout(
                    f"{self.ref} is not done after {timeout:g} s; it goes on: %comflowy show {self.ref}", self
                )
        return self

    def _wait_end(self, timeout: float) -> bool:
        with self._at_rest:
            if timeout > 0 and not self.is_settled:
                self._at_rest.wait(timeout)
        return self.is_settled

    def wait_change(self, timeout: float) -> bool:
        """Wait at most so many seconds for a change; whether the sweep is settled."""
        with self._changed:
            if timeout > 0 and not self.is_settled:
                self._changed.wait(timeout)
        return self.is_settled

    def listen(self, listener: Callable[[SweepCell | None], None]) -> Callable[[], None]:
        """Call at every change with the cell it happened to, None for the sweep; it only sets a flag."""
        return self._listeners.add(listener)

    def once(self, condition: Callable[[], bool], action: Callable[[], None]) -> None:
        """Call `action` exactly once, as a listener: as soon as `condition` holds, which may be now."""
        self._listeners.once(condition, action)

    def cancel(self) -> None:
        """Send no more and cancel what was sent, where the service can."""
        if self._sender is None:
            raise RefError(f"{self.ref} comes from the history alone: %comflowy cancel {self.ref} where it was sent")
        self._sender.cancel()

    def save(self, folder: str | Path) -> list[Path]:
        """Write copies with readable names, one contact sheet and a JSON of everything, into a folder or `NAME.zip`.

        Returns
        -------
        The paths written.
        """
        from pathlib import Path as Folder  # noqa: PLC0415

        return self._keeper.save_sweep(self, Folder(folder).expanduser())

    def to_dataframe(self) -> pd.DataFrame:
        """A row for each cell: params, labels, status, seconds, reference, error, the path and a thumbnail.

        Raises
        ------
        SettingsError
            If pandas is not installed; it says how to get it.
        """
        from comflowy_nb.sweeps.table import to_dataframe  # noqa: PLC0415 - loads pandas

        return to_dataframe(self.cells)

    # -- for the sender -----------------------------------------------------------------------------------------

    def send_by(self, sender: Sender) -> None:
        self._sender = sender

    def attach(self, cell: SweepCell, run: Run) -> None:
        """Give a cell its run; from now on the sweep changes with it."""
        cell.run = run
        this, number = weakref.ref(self), cell.number  # a run outlives the sweeps that it was a cell of

        def tell(_: Run) -> None:
            sweep = this()
            if sweep is not None:
                sweep.tell(sweep.cell(number))

        self._listening.callback(run.listen(tell))
        self.tell(cell)

    def hold(self, cell: SweepCell) -> None:
        """Do not become settled before `let_go`: the sender has to count the end of this cell's run."""
        with self._changed:
            self._held.add(cell.number)

    def let_go(self, cells: Iterable[SweepCell]) -> None:
        """The ends of these cells' runs are counted."""
        with self._changed:
            self._held.difference_update(cell.number for cell in cells)

    def tell(self, cell: SweepCell | None = None) -> None:
        with self._changed:
            if cell is not None and cell.run is not None:
                (self._open.discard if cell.run.record.is_settled else self._open.add)(cell.number)
            self._changed.notify_all()
            if self.is_settled:
                self._at_rest.notify_all()
        self._listeners.call(cell)

    def __repr__(self) -> str:
        counts = ", ".join(f"{count} {word}" for word, count in self.status_counts().items())
        return f"<Sweep {self.ref} {len(self.cells)} cell{'s' * (len(self.cells) != 1)}: {counts}>"


def sweep_of(
    record: SweepRecord, rows: Sequence[CellRecord], *, library: Keeper, run_of: Callable[[RunRecord], Run]
) -> Sweep:
    """A sweep of the history with its runs, nothing sent.

    Parameters
    ----------
    run_of
        Gives the run of a record: one to look at, or the live one of a client.
    """
    axes = axes_from_json(record.spec, library.kept_input)
    images = {one.content_sha256: one for one in axes.images()}
    cells = [Cell(row.number, row.at, read_params(row.params, images), _labels(axes, row.at)) for row in rows]
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


def _labels(axes: Axes, at: Sequence[int]) -> dict[str, str]:
    return {axis.name: axis.values[index].label for axis, index in zip(axes.axes, at, strict=True)}  # noqa: PD011


def _has(cell: SweepCell, name: str) -> bool:
    return name in cell.labels or name in cell.params or any(key.endswith(f"::{name}") for key in cell.params)


def _fits(cell: SweepCell, name: str, value: Any) -> bool:
    if any(label == str(value) for axis, label in cell.labels.items() if axis == name or axis.endswith(f"::{name}")):
        return True
    if is_image(value):
        value = input_of(value).content_sha256
    values = [own for key, own in cell.params.items() if key == name or key.endswith(f"::{name}")]
    values = [own.content_sha256 if isinstance(own, InputImage) else own for own in values]
    return any(own == value or (isinstance(value, str) and str(own) == value) for own in values)


def held_text(sweep: Sweep, *, option: str = RETRY) -> str | None:
    """The warning at the end of a sweep about its held cells, with what to type; None if there are none.

    Parameters
    ----------
    option
        What submits them again, as it is typed here.
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
