"""Where a sweep is shown: a status line that stays, and a grid that fills in while its runs go."""

from __future__ import annotations

import base64
import threading
import time
from typing import TYPE_CHECKING, Any

from comflowy_nb.errors import RunTimeout
from comflowy_nb.notebook.display.slots import Slot
from comflowy_nb.notebook.display.sweep_status import sweep_line
from comflowy_nb.notebook.display.views import UPDATE_S, print_paths

if TYPE_CHECKING:
    from comflowy_nb.notebook.display.status import StatusLine
    from comflowy_nb.notebook.display.sweep_grid import SweepGrid, SweepPainting
    from comflowy_nb.sweeps.sweep import Sweep, SweepCell

__all__ = ["SweepView"]

_SHARE = 5  # a grid takes at most a fifth of one processor while runs go


class SweepView:
    """One sweep in one cell of a notebook: two handles, made at once and then only updated.

    Drawn by the thread of the cell that waits, or by the one view thread. Listening to the sweep only notes which cells
    changed; only those are painted anew, and nothing is sent to the notebook where nothing changed.

    Parameters
    ----------
    in_kernel
        False in a terminal, where each change is printed as a line, and the files' paths at the end.
    sent
        Whether this cell of the notebook sent it; else it is one that is looked at again.
    options
        Of `SweepGrid`: `label`, `node`, `image`, `page`.
    """

    def __init__(self, sweep: Sweep, *, in_kernel: bool, sent: bool = True, **options: Any) -> None:
        self.sweep = sweep
        self._in_kernel = in_kernel
        self._sent = sent
        self._options = options
        self._began_s = time.monotonic()
        self._note: str | None = None
        self._lock = threading.RLock()  # the waiting cell's thread hands over to the view thread
        self._last: StatusLine | None = None
        self._last_s = float("-inf")
        self._next_grid_s = float("-inf")
        self._finished = False
        self._grid: SweepGrid | None = None
        self._painting: SweepPainting | None = None
        self._changed: set[int] = set()
        self._was_sending = sweep.is_sending
        self._noting = threading.Lock()
        if in_kernel:
            line = self._line()
            self._status = Slot(_bundle(line))
            self._last, self._last_s = line, time.monotonic()
            self._images = Slot()
        self._stop = sweep.listen(self._hear)
        if not in_kernel:
            self.draw(force=True)

    @property
    def ref(self) -> str:
        return self.sweep.ref

    @property
    def is_settled(self) -> bool:
        return self.sweep.is_settled

    def wait_change(self, timeout: float) -> bool:
        """Wait at most so many seconds for a change; whether the sweep is settled."""
        return self.sweep.wait_change(timeout)

    def timeout(self, timeout_s: float) -> RunTimeout:
        """What to raise when it takes longer."""
        ref, left = self.ref, sum(cell.status is None or cell.status.is_live for cell in self.sweep.cells)
        return RunTimeout(
            f"{ref} is not done after {timeout_s:g} s, {left} of {len(self.sweep.cells)} cells are not, and goes on; "
            f"%comflowy show {ref}",
            self.sweep,
        )

    def note(self, text: str) -> None:
        """Say something more at the end of the status line."""
        self._note = text
        with self._lock:
            self._draw_status(must_show=True)

    def clear_note(self) -> None:
        """Say no more than the sweep itself."""
        self._note = None
        self.draw(force=True)

    def draw(self, *, force: bool = False) -> None:
        """Bring status and grid up to date; neither oftener than four times a second unless forced."""
        with self._lock:
            now_s = time.monotonic()
            if force or now_s - self._last_s >= UPDATE_S:
                self._draw_status()
            if self._in_kernel and self._images.is_live and not self._finished and now_s >= self._next_grid_s:
                self._draw_grid()

    def finish(self) -> None:
        """Draw the last status, and the grid as it stays. Once is enough."""
        with self._lock:
            if self._finished:
                return
            self._stop()
            self._draw_status(must_show=True)
            if self._in_kernel:
                self._draw_last()
            else:
                self._print_cells()
            self._finished = True  # at the end: an interrupted drawing is done again
            self._painting = None

    def _hear(self, cell: SweepCell | None) -> None:
        if cell is not None:
            with self._noting:
                self._changed.add(cell.number)

    def _draw_status(self, *, must_show: bool = False) -> None:
        line = self._line()
        if self._in_kernel:
            if must_show:
                self._status.show(_bundle(line))
            elif line != self._last:
                self._status.update(_bundle(line))
        elif self._last is None or line.news != self._last.news:
            print(line.text)  # noqa: T201 - a terminal has no handles
        self._last, self._last_s = line, time.monotonic()

    def _draw_grid(self) -> None:
        with self._noting:
            changed, self._changed = self._changed, set()
        is_sending = self.sweep.is_sending
        if self._painting is not None and not changed and is_sending == self._was_sending:
            return
        start_s = time.thread_time()
        is_first = self._painting is None
        # What is not sent waits for as long as anything is being sent.
        repaints_all = is_first or is_sending != self._was_sending
        self._was_sending = is_sending
        if self._painting is None:
            self._painting = self._make_grid().paint(scale=1)
        if self._painting.refresh(None if repaints_all else changed):
            page = self._painting.page
            data = {
                "text/plain": f"{self.ref}: {len(self.sweep.cells)} cell{'s' * (len(self.sweep.cells) != 1)}",
                "image/jpeg": base64.b64encode(self._painting.jpeg()).decode("ascii"),
            }
            size = {"width": page.width, "height": page.height}
            self._images.update(data, {"image/jpeg": size})
        cost_s = 0.0 if is_first else time.thread_time() - start_s  # the first loads matplotlib
        self._next_grid_s = time.monotonic() + max(UPDATE_S, cost_s * (_SHARE - 1))

    def _draw_last(self) -> None:
        grid = self._make_grid()
        if self._painting is not None:
            grid.take(self._painting)
        data, metadata = grid.bundle()
        self._images.show(data, metadata)

    def _make_grid(self) -> SweepGrid:
        from comflowy_nb.notebook.display.sweep_grid import SweepGrid  # noqa: PLC0415 - loads matplotlib with the first image

        return SweepGrid(self.sweep, **self._options)

    def _print_cells(self) -> None:
        for cell in self.sweep.cells:
            if cell.run is not None and cell.run.record.images:
                print(f"{cell.ref} {_labels(cell)}")  # noqa: T201 - a terminal has no handles
                print_paths(cell.run)

    def _line(self) -> StatusLine:
        return sweep_line(self.sweep, began_s=self._began_s, sent=self._sent, note=self._note)


def _labels(cell: SweepCell) -> str:
    return ", ".join(f"{name}={label}" for name, label in cell.labels.items())


def _bundle(line: StatusLine) -> dict[str, str]:
    return {"text/plain": line.text, "text/html": line.html}
