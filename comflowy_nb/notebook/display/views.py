"""Show one run or one sweep in one cell: a status line and images, created at once and then updated."""

from __future__ import annotations

import base64
import threading
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from comflowy_nb.errors import RunTimeout
from comflowy_nb.notebook.display.file_outputs import files_html, files_text
from comflowy_nb.notebook.display.live import UPDATE_S
from comflowy_nb.notebook.display.slots import Slot
from comflowy_nb.notebook.display.status import status_line
from comflowy_nb.notebook.display.sweep_status import sweep_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from comflowy_nb.notebook.display.status import StatusLine
    from comflowy_nb.notebook.display.sweep_grid import SweepGrid, SweepPainting
    from comflowy_nb.sweeps.sweep import Sweep, SweepCell
    from comflowy_nb.tracking.run import Run

__all__ = ["RunView", "SweepView", "View", "print_paths"]

_CPU_SHARE = 5  # drawing the grid takes at most a fifth of one processor while runs are in progress


class View(ABC):
    """One display handle for the status, one for the images.

    The thread of the cell that waits draws, or the updater's thread. In a terminal each change of the status is
    printed as a line, and the paths of the files at the end.

    A subclass sets its own attributes before it calls `__init__`, which draws the first status.
    """

    def __init__(self, *, in_kernel: bool, with_images: bool = True) -> None:
        self._in_kernel = in_kernel
        self._note: str | None = None
        self._lock = threading.RLock()  # the waiting cell's thread hands over to the updater's thread
        self._last: StatusLine | None = None
        self._last_s = float("-inf")
        self._finished = False
        if not in_kernel:
            self.draw(force=True)
            return
        self._last, self._last_s = self._line(), time.monotonic()
        self._status = Slot(self._last.bundle)
        if with_images:
            self._images = Slot()

    # -- what is shown ------------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def value(self) -> Run | Sweep:
        """The run or the sweep."""

    @property
    def ref(self) -> str:
        return self.value.ref

    @property
    @abstractmethod
    def is_settled(self) -> bool:
        """Whether the run or sweep will not change any more by itself."""

    def wait_change(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds for a change; return whether it is settled."""
        return self.value.wait_change(timeout)

    @abstractmethod
    def timeout(self, timeout_s: float) -> RunTimeout:
        """Return the error for a wait that took longer than `timeout_s`."""

    @abstractmethod
    def _line(self) -> StatusLine:
        """Return the status as it is now, with the note."""

    # -- drawing ------------------------------------------------------------------------------------------------

    def note(self, text: str) -> None:
        """Show a text at the end of the status line."""
        self._note = text
        with self._lock:
            self._draw_status(must_show=True)

    def clear_note(self) -> None:
        """Remove the text of `note`."""
        self._note = None
        self.draw(force=True)

    def draw(self, *, force: bool = False) -> None:
        """Update the display, at most four times a second unless forced."""
        with self._lock:
            if force or time.monotonic() - self._last_s >= UPDATE_S:
                self._draw_status()
            self._draw_partial()

    def finish(self) -> None:
        """Draw the final status and the images. Calling it again does nothing."""
        with self._lock:
            if not self._finished:
                self._draw_final()
                self._finished = True  # at the end: an interrupted drawing is repeated

    def _draw_status(self, *, must_show: bool = False) -> None:
        line = self._line()
        if self._in_kernel:
            if must_show:
                self._status.show(line.bundle)
            elif line != self._last:
                self._status.update(line.bundle)
        elif self._last is None or line.news != self._last.news:
            print(line.text)  # noqa: T201 - a terminal has no handles
        self._last, self._last_s = line, time.monotonic()

    def _draw_partial(self) -> None:  # noqa: B027 - a run has nothing to draw before its end
        """Draw the images that there are before the end."""

    @abstractmethod
    def _draw_final(self) -> None:
        """Draw the final status and the images."""


class RunView(View):
    """One run in one cell.

    Parameters
    ----------
    how, drawn, usual_s
        As in `status_line`.
    label
        Field ids for the captions.
    only
        Indices of the images to show; None shows all.
    with_images
        False if the images are drawn elsewhere, together with those of other runs.
    """

    def __init__(
        self,
        run: Run,
        *,
        in_kernel: bool,
        how: str = "new",
        drawn: Mapping[str, int] | None = None,
        usual_s: float | None = None,
        label: Sequence[str] | None = None,
        only: Sequence[int] | None = None,
        with_images: bool = True,
    ) -> None:
        self.run = run
        self._how, self._drawn, self._usual_s = how, drawn, usual_s
        self._label = label
        self._only = only
        self._with_images = with_images
        super().__init__(in_kernel=in_kernel, with_images=with_images)

    @property
    def value(self) -> Run:
        return self.run

    @property
    def is_settled(self) -> bool:
        return self.run.record.is_settled

    def timeout(self, timeout_s: float) -> RunTimeout:
        run = self.run
        return RunTimeout(
            f"{run.ref} is not done after {timeout_s:g} s ({run.status}) and goes on; %comflowy show {run.ref}", run
        )

    def _line(self) -> StatusLine:
        return status_line(self.run, how=self._how, drawn=self._drawn, usual_s=self._usual_s, note=self._note)

    def _draw_final(self) -> None:
        record = self.run.record
        self._draw_status(must_show=not record.files)
        if record.files:
            self._draw_files()
        if not self._with_images or not record.images:
            return
        if not self._in_kernel:
            print_paths(self.run, self._only)
            return
        from comflowy_nb.notebook.display.run_grid import Grid  # noqa: PLC0415 - loads matplotlib with the first image

        self._images.show(*Grid([self.run], only=self._only, label=self._label).bundle())

    def _draw_files(self) -> None:
        """Show the outputs that are not images below the status line, in the same handle."""
        if self._in_kernel:
            line = self._line()
            text = f"{line.text}\n{files_text(self.run)}"
            self._status.show({"text/plain": text, "text/html": line.html + files_html(self.run)})
        else:
            print(files_text(self.run))  # noqa: T201 - a terminal has no handles


class SweepView(View):
    """One sweep in one cell, with a grid that fills in while its runs are in progress.

    Listening to the sweep only records which cells have changed. Only those are painted again, and the notebook gets
    an update only if a pixel changed.

    Parameters
    ----------
    sent
        Whether this notebook cell submitted the sweep, rather than showing an earlier one.
    options
        Of `SweepGrid`: `label`, `node`, `image`, `page`.
    """

    def __init__(self, sweep: Sweep, *, in_kernel: bool, sent: bool = True, **options: Any) -> None:
        self.sweep = sweep
        self._sent = sent
        self._options = options
        self._began_s = time.monotonic()
        self._next_grid_s = float("-inf")
        self._painting: SweepPainting | None = None
        self._changed: set[int] = set()
        self._changed_lock = threading.Lock()
        self._was_sending = sweep.is_sending
        self._stop_listening = sweep.listen(self._record_change)
        super().__init__(in_kernel=in_kernel)

    @property
    def value(self) -> Sweep:
        return self.sweep

    @property
    def is_settled(self) -> bool:
        return self.sweep.is_settled

    def timeout(self, timeout_s: float) -> RunTimeout:
        ref, left = self.ref, sum(cell.status is None or cell.status.is_live for cell in self.sweep.cells)
        return RunTimeout(
            f"{ref} is not done after {timeout_s:g} s, {left} of {len(self.sweep.cells)} cells are not, and goes on; "
            f"%comflowy show {ref}",
            self.sweep,
        )

    def _line(self) -> StatusLine:
        return sweep_line(self.sweep, began_s=self._began_s, sent=self._sent, note=self._note)

    def _record_change(self, cell: SweepCell | None) -> None:
        if cell is not None:
            with self._changed_lock:
                self._changed.add(cell.number)

    def _draw_partial(self) -> None:
        if not self._in_kernel or not self._images.is_live or self._finished or time.monotonic() < self._next_grid_s:
            return
        with self._changed_lock:
            changed, self._changed = self._changed, set()
        is_sending = self.sweep.is_sending
        if self._painting is not None and not changed and is_sending == self._was_sending:
            return
        start_s = time.thread_time()
        is_first = self._painting is None
        # Cells without a run change their text when the sweep stops submitting.
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
        self._next_grid_s = time.monotonic() + max(UPDATE_S, cost_s * (_CPU_SHARE - 1))

    def _draw_final(self) -> None:
        self._stop_listening()
        self._draw_status(must_show=True)
        if not self._in_kernel:
            self._print_cells()
            return
        grid = self._make_grid()
        if self._painting is not None:
            grid.reuse(self._painting)
        self._images.show(*grid.bundle())
        self._painting = None

    def _make_grid(self) -> SweepGrid:
        from comflowy_nb.notebook.display.sweep_grid import SweepGrid  # noqa: PLC0415 - loads matplotlib with the first image

        return SweepGrid(self.sweep, **self._options)

    def _print_cells(self) -> None:
        for cell in self.sweep.cells:
            if cell.run is not None and cell.run.record.images:
                labels = ", ".join(f"{name}={label}" for name, label in cell.labels.items())
                print(f"{cell.ref} {labels}")  # noqa: T201 - a terminal has no handles
                print_paths(cell.run)


def print_paths(run: Run, only: Sequence[int] | None = None) -> None:
    """Print the paths of a run's files, which a terminal shows in place of the images."""
    for image in (*run.images, *run.files):
        if image.record.state == "kept" and (only is None or image.record.index in only):
            print(f"  {image.path}")  # noqa: T201 - a terminal has no handles
