"""The state of a sweep: which of its cells are not settled, and who is notified of a change."""

from __future__ import annotations

import contextlib
import threading
import weakref
from typing import TYPE_CHECKING

from comflowy_nb.tracking.listeners import Listeners

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from comflowy_nb.sweeps.cell import SweepCell
    from comflowy_nb.sweeps.sender import SweepSender, SweepWatcher
    from comflowy_nb.tracking.run import Run

__all__ = ["SweepState"]


class SweepState:
    """Changed by the sender or the watcher of a sweep, read by the sweep.

    Attributes
    ----------
    cells
        The cells of the sweep.
    sender
        Submits the cells, or follows the process that does; None without one. Whether the sweep is settled depends on
        it.
    listeners
        Called at every change with the cell, or None for the sweep.
    """

    def __init__(self, cells: Sequence[SweepCell]) -> None:
        self.sender: SweepSender | SweepWatcher | None = None
        self.listeners: Listeners[SweepCell | None] = Listeners()
        self.cells = cells
        self._changed = threading.Condition(threading.RLock())
        self._open: set[int] = set()  # numbers of the cells whose runs are not settled
        self._uncounted: set[int] = set()  # numbers of the cells whose ends the sender has not counted yet
        self._listening = contextlib.ExitStack()  # stops listening to the runs when the sweep is collected
        weakref.finalize(self, self._listening.close).atexit = False

    @property
    def is_sending(self) -> bool:
        """Whether more cells may be submitted."""
        return self.sender is not None and self.sender.is_sending

    @property
    def is_settled(self) -> bool:
        """Whether no more cells are submitted and every run is settled."""
        # In this order: the last cell is held and open before `is_sending` becomes False.
        return not self.is_sending and not self._uncounted and not self._open

    def wait_change(self, timeout_s: float) -> bool:
        """Wait for a change. Return whether the sweep is settled."""
        with self._changed:
            if timeout_s > 0 and not self.is_settled:
                self._changed.wait(timeout_s)
        return self.is_settled

    def attach(self, cell: SweepCell, run: Run) -> None:
        """Give a cell its run; the sweep changes with it from now on."""
        cell.run = run
        this, number = weakref.ref(self), cell.number  # a run outlives the sweeps that it was a cell of

        def pass_on(_: Run) -> None:
            state = this()
            if state is not None:
                state.notify(state.cells[number - 1])

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
        self.listeners.call(cell)
