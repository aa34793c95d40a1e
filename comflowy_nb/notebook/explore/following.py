"""Follow the runs of an explorer, and send its changed items to the browser at most four times a second."""

from __future__ import annotations

import weakref
from functools import partial
from typing import TYPE_CHECKING

from comflowy_nb.notebook.display.live import LiveView

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from comflowy_nb.exploration.entries import Entry
    from comflowy_nb.notebook.explore.widget import Explorer
    from comflowy_nb.sweeps.sweep import Sweep, SweepCell


class Changes:
    """Collect the entries that have changed since the last `take`.

    The listeners of the runs only add to a set. They hold no reference to the widget, so that it can be collected.
    """

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._numbers: set[int] = set()  # `add` and `pop` are atomic
        self._stops: list[Callable[[], None]] = []
        self._cells: dict[Sweep, dict[int, Entry]] = {}  # by number
        for entry in entries:
            if entry.cell is not None:
                self._cells.setdefault(entry.cell.sweep, {})[entry.cell.number] = entry
            elif entry.run is not None:
                self._stops.append(entry.run.listen(partial(_add, self._numbers, entry.number)))
        for sweep, by_number in self._cells.items():
            numbers = {number: entry.number for number, entry in by_number.items()}
            self._stops.append(sweep.listen(partial(_add_cell, self._numbers, numbers)))
        self._submitting = {sweep: _is_submitting(sweep) for sweep in self._cells}

    def add(self, entries: Iterable[Entry]) -> None:
        """Mark these entries as changed."""
        self._numbers.update(entry.number for entry in entries)

    def take(self) -> set[int]:
        """Return the numbers of the changed entries, and clear the set."""
        taken = set()
        while self._numbers:
            taken.add(self._numbers.pop())
        for sweep, was_submitting in self._submitting.items():
            if _is_submitting(sweep) != was_submitting:  # cells without a run change their text
                self._submitting[sweep] = not was_submitting
                taken.update(entry.number for entry in self._cells[sweep].values() if entry.run is None)
        return taken

    def close(self) -> None:
        """Stop listening."""
        for stop in self._stops:
            stop()
        self._stops.clear()


def _is_submitting(sweep: Sweep) -> bool:
    return sweep.is_submitting or sweep.is_submitted_elsewhere


def _add(changed: set[int], number: int, _: object) -> None:
    changed.add(number)


def _add_cell(changed: set[int], numbers: dict[int, int], cell: SweepCell | None) -> None:
    if cell is not None and cell.number in numbers:
        changed.add(numbers[cell.number])


class ExplorerUpdates(LiveView):
    """View that sends the changes of an explorer from the display thread, until the explorer is closed."""

    def __init__(self, explorer: Explorer) -> None:
        self._explorer = weakref.ref(explorer)
        self._ref = explorer.exploration.sources[0]

    @property
    def ref(self) -> str:
        return self._ref

    @property
    def is_settled(self) -> bool:
        """Whether the explorer is closed or collected. An open explorer may change with any later command."""
        explorer = self._explorer()
        return explorer is None or explorer.is_closed

    def draw(self) -> None:
        explorer = self._explorer()
        if explorer is not None:
            explorer.send_changes()

    def finish(self) -> None:
        """Do nothing: the browser does not show a closed explorer."""

    def note(self, text: str) -> None:
        """Do nothing: an explorer has no status line."""
