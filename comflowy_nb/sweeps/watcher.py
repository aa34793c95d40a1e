"""A sweep that another kernel is sending: what that one sends is read from the history until it sends no more."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from comflowy_nb.database.runs import History
    from comflowy_nb.scheduler import Scheduler
    from comflowy_nb.sweeps.sweep import Sweep
    from comflowy_nb.tracking.registry import RunRegistry

__all__ = ["SweepWatcher"]

LOOK_S = 0.4  # how often the history is looked at


class SweepWatcher:
    """The sender of a sweep as seen from elsewhere.

    Parameters
    ----------
    owner
        Name of this client's own lock file: who is not looked for.
    """

    is_here = False

    def __init__(
        self, sweep: Sweep, *, history: History, registry: RunRegistry, scheduler: Scheduler, owner: str
    ) -> None:
        assert sweep.token is not None
        self._token = sweep.token
        self._sweep = weakref.ref(sweep)  # nobody looks at one that nobody holds any more
        self._history = history
        self._registry = registry
        self._scheduler = scheduler
        self._owner = owner
        self._is_sending = True
        self._stopping = False

    @property
    def is_sending(self) -> bool:
        return self._is_sending

    def begin(self) -> bool:
        """Look on while somebody else sends; whether anybody does."""
        sweep = self._sweep()
        if sweep is None or not self._history.senders.living(self._token, but=self._owner):
            if sweep is not None and sweep.is_sent_elsewhere:  # the last were sent since it was read
                self._read_cells(sweep)
                sweep.is_sent_elsewhere = False
            return False
        sweep.send_by(self)
        self._scheduler.every(LOOK_S, self._look)
        return True

    def cancel(self) -> None:
        """Ask the kernels that send it to send no more, and end what runs."""
        self._stopping = True
        self._history.senders.ask_stop(self._token)
        sweep = self._sweep()
        for cell in sweep.cells if sweep is not None else ():
            if cell.run is not None and cell.run.status.is_live and self._registry.is_here(cell.run.record):
                cell.run.cancel()

    def _look(self) -> bool:
        """Read the cells. Return whether the sweep is still being sent."""
        sweep = self._sweep()
        if sweep is None:
            return False
        goes_on = bool(self._history.senders.living(self._token, but=self._owner))  # before the cells are read
        self._read_cells(sweep)
        if not goes_on:
            self._is_sending = sweep.is_sent_elsewhere = False
            sweep.tell()
        return goes_on

    def _read_cells(self, sweep: Sweep) -> None:
        """Give the cells the runs that stand for them now."""
        for number, token in self._history.sweeps.runs_of(self._token).items():
            if number > len(sweep.cells):  # it has grown since
                continue
            cell = sweep.cells[number - 1]
            if cell.run is not None and cell.run.token == token:
                continue
            record = self._history.get(token)
            if record is None or record.key != cell.key:
                continue
            run = self._registry.run(record)
            sweep.attach(cell, run)
            if self._registry.is_here(run.record):
                self._registry.refresh(run)
                if self._stopping and run.status.is_live:
                    run.cancel()
