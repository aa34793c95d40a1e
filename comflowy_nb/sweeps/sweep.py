"""Sweep: the cells of one or more axes with their runs and results."""

from __future__ import annotations

import contextlib
import weakref
from collections import Counter
from typing import TYPE_CHECKING, Any, overload

from comflowy_nb.errors import RefError, counted
from comflowy_nb.images.save_target import target_path
from comflowy_nb.status import UNSUCCESSFUL, Status
from comflowy_nb.sweeps.cell import NOT_SUBMITTED, SweepCell, find_cells
from comflowy_nb.tracking.run_images import Images
from comflowy_nb.tracking.scoring import Scorable
from comflowy_nb.tracking.waitable import Waitable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    import pandas as pd

    from comflowy_nb.database.records import SweepRecord
    from comflowy_nb.sweeps.plan import SweepPlan
    from comflowy_nb.sweeps.sender import SweepSender, SweepWatcher
    from comflowy_nb.tracking.run import Run, RunImage
    from comflowy_nb.workflow.axes.types import Axes, Cell

__all__ = ["Sweep", "SweepCell"]


class Sweep(Waitable[SweepCell | None], Scorable):
    """A set of runs, one for each combination of axis values.

    `Client.sweep`, `Client.plan_sweep` and the magic `%comflowy sweep` return one. Cells are numbered from 1; the axis
    typed first varies slowest.

    Parameters
    ----------
    axes : Axes
        The axes, the first one varying slowest, and the values of all cells.
    cells : sequence of (Cell, str)
        The cells in the order of their numbers, each with its request key.
    workflow, service : str
        Names of the workflow and of the service.
    layout : mapping of str to str or None
        Names of the axes for columns (`x`), rows (`y`) and separate grids (`z`).
    images_folder : pathlib.Path
        The folder of the images, to save them.
    record : SweepRecord, optional
        The record in the history; None for a plan.

    Attributes
    ----------
    cells : list of SweepCell
        The cells with their runs, in the order of their numbers.
    plan : SweepPlan or None
        The numbers of cells that are done, running or new; `plan.text` is one line. None for a sweep of the history.
    stopped : str or None
        The reason why the sweep was stopped early.
    sender : SweepSender, SweepWatcher or None
        The object that submits the cells, or watches the process that does. The sweep is not settled before it is done.

    Examples
    --------
    >>> sweep = client.sweep("default", {"cfg": [4, 7], "width": 64, "height": 64, "seed": 11})
    >>> sweep
    <Sweep s... 2 cells: 2 success>
    >>> sweep.select(cfg=4)[0].images[0].pil().size
    (64, 64)
    >>> len(sweep), [cell.params["3::cfg"] for cell in sweep]
    (2, [4.0, 7.0])
    >>> sweep[0] is sweep[f"{sweep.ref}.1"], len(sweep.images)
    (True, 2)
    """

    def __init__(
        self,
        axes: Axes,
        cells: Sequence[tuple[Cell, str]],
        *,
        workflow: str,
        service: str,
        layout: Mapping[str, str | None],
        images_folder: Path,
        record: SweepRecord | None = None,
    ) -> None:
        super().__init__()
        self.axes = axes
        self.workflow = workflow
        self.service = service
        self.layout = dict(layout)
        self.record = record
        self.plan: SweepPlan | None = None
        self.stopped: str | None = None
        self.is_submitted_elsewhere = False  # another process was submitting when the cells were read
        self.cells = [SweepCell(self, cell, key) for cell, key in cells]
        self._images_folder = images_folder
        self.sender: SweepSender | SweepWatcher | None = None
        self._unsettled: set[int] = set()  # numbers of the cells whose runs are not settled
        self._uncounted: set[int] = set()  # numbers of the cells whose ends the sender has not counted yet
        self._listening = contextlib.ExitStack()  # stops listening to the runs when the sweep is collected
        weakref.finalize(self, self._listening.close).atexit = False

    def __len__(self) -> int:
        return len(self.cells)

    def __iter__(self) -> Iterator[SweepCell]:
        return iter(self.cells)

    @overload
    def __getitem__(self, key: int | str) -> SweepCell: ...
    @overload
    def __getitem__(self, key: slice) -> list[SweepCell]: ...
    def __getitem__(self, key: int | str | slice) -> SweepCell | list[SweepCell]:
        """Return the cell with an index (from 0) or a reference (`s1.7`), or the cells of a slice."""
        return find_cells(self, key)

    @property
    def images(self) -> Images:
        """The still images of all cells, in the order of the cells."""
        return Images(self.ref, [image for cell in self.cells for image in cell.images])

    @property
    def runs(self) -> list[Run]:
        """The runs of the submitted cells, in the order of the cells. Cells with the same request share a run."""
        return [cell.run for cell in self.cells if cell.run is not None]

    def _named_images(self) -> list[tuple[str, RunImage]]:
        return [named for cell in self.cells for named in cell.named_images]

    @property
    def number(self) -> int | None:
        """Number of the sweep in the history: 1 for `s1`. None for a plan."""
        return None if self.record is None else self.record.number

    @property
    def ref(self) -> str:
        """Reference of the sweep: `s1`; `sweep` for a plan."""
        return "sweep" if self.record is None else self.record.ref

    @property
    def token(self) -> str | None:
        """Our own id of the sweep, a uuid4; None for a plan."""
        return None if self.record is None else self.record.token

    @property
    def name(self) -> str | None:
        """Name that the user gave to the sweep (`--as`), or None."""
        return None if self.record is None else self.record.name

    @property
    def is_submitted_here(self) -> bool:
        """Whether a client of this process submits or submitted the sweep."""
        return self.sender is not None and self.sender.is_here

    @property
    def is_submitting(self) -> bool:
        """Whether more cells may be submitted."""
        return self.sender is not None and self.sender.is_submitting

    @property
    def is_settled(self) -> bool:
        """Whether no more cells are submitted and every run is settled."""
        # The order matters: the last cell is uncounted and unsettled before `is_submitting` becomes False.
        return not self.is_submitting and not self._uncounted and not self._unsettled

    @property
    def ended_at(self) -> float | None:
        """When the last run ended, in UTC seconds since 1970; None before the end."""
        if self.record is None or not self.is_settled or (self.sender is None and self.is_submitted_elsewhere):
            return None
        ends = [run.record.finished_at for run in self.runs]
        return max([self.record.created_at, *(end for end in ends if end is not None)])

    @property
    def errors(self) -> dict[str, str]:
        """The errors of the cells, by reference of the cell (`s1.7`)."""
        return {cell.ref: cell.error or str(cell.status) for cell in self.cells if cell.status in UNSUCCESSFUL}

    def status_counts(self) -> dict[str, int]:
        """Return the number of cells by status.

        Returns
        -------
        dict of str to int
            Status -> number of cells; only statuses that occur. Cells without a run count as `not submitted`.

        Examples
        --------
        >>> sweep.status_counts()
        {'success': 2}
        """
        counts = Counter(cell.status_text for cell in self.cells)
        return {status: counts[status] for status in (*map(str, Status), NOT_SUBMITTED) if counts[status]}

    def cell(self, number: int) -> SweepCell:
        """Return one cell.

        Parameters
        ----------
        number : int
            The number of the cell, from 1.

        Returns
        -------
        SweepCell
            The cell.

        Raises
        ------
        RefError
            If there is no such cell.

        Examples
        --------
        >>> sweep.cell(2).params["3::cfg"]
        7.0
        """
        if not isinstance(number, int) or not 1 <= number <= len(self.cells):
            raise RefError(f"{self.ref} has {counted(len(self.cells), 'cell')}, so there is no {self.ref}.{number}")
        return self.cells[number - 1]

    def select(self, **wanted: Any) -> list[SweepCell]:
        """Return the cells with all of these values.

        Parameters
        ----------
        **wanted : Any
            Field name -> value, or axis name -> label.

        Returns
        -------
        list of SweepCell
            The cells, in the order of their numbers.

        Raises
        ------
        RefError
            If a name is neither an axis nor a field of the cells.

        Examples
        --------
        >>> [cell.number for cell in sweep.select(cfg=4, steps=1)]
        [1]
        """
        for name in wanted:
            if not any(cell.has(name) for cell in self.cells):
                axes = ", ".join(axis.name for axis in self.axes.axes)
                raise RefError(f"{self.ref} has no axis or field {name!r}" + (f"; its axes: {axes}" if axes else ""))
        return [cell for cell in self.cells if all(cell.matches(name, value) for name, value in wanted.items())]

    def cancel(self) -> None:
        """Submit no more cells, and cancel the submitted runs that the service can cancel.

        Raises
        ------
        RefError
            If the sweep was read from the history, without a connection to its service.

        Examples
        --------
        >>> sweep = client.sweep("default", {"cfg": [4, 7], "width": 64, "height": 64, "seed": 13}, wait=False)
        >>> sweep.cancel()
        >>> sweep.wait(timeout=60).is_settled
        True
        """
        if self.sender is None:
            raise RefError(
                f"{self.ref} comes from the history alone; type %comflowy cancel {self.ref} where it was submitted"
            )
        self.sender.cancel()

    def save(self, target: str | Path, **options: Any) -> list[Path]:
        """Write copies, an archive, a page, a figure or an animation; the suffix of the target decides.

        Parameters
        ----------
        target : str or pathlib.Path
            A folder, for copies with readable names, a contact sheet and a JSON of everything; else the name of a file,
            as for `comflowy_nb.save`: `NAME.zip`, `NAME.html`, `NAME.png`, `NAME.pdf`, `NAME.gif` or `NAME.webp`.
        **options : Any
            `without`, `full`, `along`, `duration` and `where`, as for `comflowy_nb.save`.

        Returns
        -------
        list of pathlib.Path
            The files that were written; the copies in a folder are in the order of the cells.

        Raises
        ------
        SettingsError
            If `target` is the name of another kind of file, or an option does not belong to it.
        ImageError
            If there are no images, the target can't be written, or images are missing on disk. The others are saved.

        Examples
        --------
        >>> [path.name for path in sweep.save("out")]
        ['s...1_cfg-4_....png', 's...2_cfg-7_....png', 'contact_sheet.jpg', 'sweep.json']
        >>> sweep.save("cfg.gif", along="cfg")
        [...Path('cfg.gif')]
        """
        from comflowy_nb.sharing.save import save_sweep_to  # noqa: PLC0415 - loads Pillow

        return save_sweep_to(self, self._images_folder, target_path(target), **options)

    def to_dataframe(self) -> pd.DataFrame:
        """Return a DataFrame with a row for each cell. A notebook shows thumbnails in it.

        Returns
        -------
        pandas.DataFrame
            The columns are `cell`, labels, params (varying params first), `status`, `seconds` (execution time),
            `queued_s` (time before the execution), `rating`, `rejected`, `note` and scores of the best image, `run`,
            `error`, `image` (a path) and `thumbnail`.

        Raises
        ------
        SettingsError
            If pandas is not installed.

        Examples
        --------
        >>> sweep.to_dataframe().groupby("cfg").status.first().to_dict()
        {4.0: 'success', 7.0: 'success'}
        """
        from comflowy_nb.exploration.table import dataframe_of  # noqa: PLC0415 - loads pandas

        return dataframe_of(self.cells)

    # -- for the sender -------------------------------------------------------------------------------------------

    def attach(self, cell: SweepCell, run: Run) -> None:
        """Set the run of a cell, and notify the sweep's listeners of each change of the run.

        Parameters
        ----------
        cell : SweepCell
            A cell of this sweep.
        run : Run
            The run of the cell.
        """
        cell.run = run
        this, number = weakref.ref(self), cell.number  # a run may exist longer than this sweep

        def forward(_: Run) -> None:
            sweep = this()
            if sweep is not None:
                sweep.notify(sweep.cells[number - 1])

        self._listening.callback(run.listen(forward))
        self.notify(cell)

    def await_end_count(self, cell: SweepCell) -> None:
        """Keep the sweep unsettled until `confirm_ends`, because the sender must count the end of the cell's run.

        Parameters
        ----------
        cell : SweepCell
            A cell of this sweep.
        """
        with self._changed:
            self._uncounted.add(cell.number)

    def confirm_ends(self, cells: Iterable[SweepCell]) -> None:
        """Record that the sender has counted the ends of the runs of these cells.

        Parameters
        ----------
        cells : iterable of SweepCell
            Cells of this sweep.
        """
        with self._changed:
            self._uncounted.difference_update(cell.number for cell in cells)

    def notify(self, cell: SweepCell | None = None) -> None:
        """Notify waiting threads and listeners of a change.

        Parameters
        ----------
        cell : SweepCell, optional
            The cell that has changed; None for the sweep itself.
        """
        with self._changed:
            if cell is not None and cell.run is not None:
                (self._unsettled.discard if cell.run.is_settled else self._unsettled.add)(cell.number)
            self._changed.notify_all()
        self._call_listeners(cell)

    def _timeout_text(self, timeout: float) -> str:
        left = sum(cell.status is None or cell.status.is_live for cell in self.cells)
        return f"{left} of {len(self.cells)} cells of {self.ref} are not done after {timeout:g} s; the sweep continues"

    def __repr__(self) -> str:
        counts = ", ".join(f"{count} {status}" for status, count in self.status_counts().items())
        return f"<Sweep {self.ref} {counted(len(self.cells), 'cell')}: {counts}>"
