"""Show one run or one sweep in one cell: a status line and images, which are updated until it is settled."""

from __future__ import annotations

import threading
import time
from abc import abstractmethod
from importlib import import_module
from typing import TYPE_CHECKING, Any

from comflowy_nb.errors import counted
from comflowy_nb.images.thumbnail_sizes import LARGE_THUMBNAIL_PX
from comflowy_nb.layout.review_text import write_review
from comflowy_nb.layout.value_text import bare_name, write_value
from comflowy_nb.notebook.display.html import files_bundle, jpeg_bundle, plain
from comflowy_nb.notebook.display.live import UPDATE_S, DisplaySlot, LiveView
from comflowy_nb.notebook.display.run_status_text import run_line
from comflowy_nb.notebook.display.sweep_status_text import sweep_line
from comflowy_nb.sweeps.headings import explain_labels
from comflowy_nb.tracking.reviews import reviews_to_show

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from comflowy_nb.notebook.display.grids import SweepGrid
    from comflowy_nb.notebook.display.status_line import StatusLine
    from comflowy_nb.sweeps.sweep import Sweep, SweepCell
    from comflowy_nb.sweeps.sweep_painting import SweepPainting
    from comflowy_nb.tracking.run import Run


_PAUSE_FACTOR = 4  # between drawings of the grid, so that drawing takes at most a fifth of one processor


class View(LiveView):
    """The view of a run or a sweep: a display handle for the status, and one for the images.

    Only one thread at a time draws: the thread of the waiting cell, then the thread of the updater. In a terminal, each
    change of the status is printed as a line, and the paths of the files are printed at the end.

    A subclass sets its own attributes before it calls `__init__`, which draws the first status.
    """

    def __init__(self, value: Run | Sweep, *, in_kernel: bool, with_images: bool = True) -> None:
        self.value = value
        self._in_kernel = in_kernel
        self._note: str | None = None
        self._finished = False
        self._last = self._line()
        self._last_s = time.monotonic()
        if not in_kernel:
            print(self._last.text)  # noqa: T201 - a terminal has no handles
            return
        self._status = DisplaySlot(self._last.bundle)
        if with_images:
            self._images = DisplaySlot()

    def note(self, text: str) -> None:
        self._note = text
        self._draw_status(is_final=True)

    def clear_note(self) -> None:
        """Remove the text of `note`."""
        self._note = None
        self.draw(force=True)

    def draw(self, *, force: bool = False) -> None:
        """Update the display, at most four times a second unless forced."""
        if force or time.monotonic() - self._last_s >= UPDATE_S:
            self._draw_status()
        self._draw_partial()

    def finish(self) -> None:
        if not self._finished:
            self._draw_final()
            self._finished = True  # set last, so that a drawing that was interrupted is repeated

    @abstractmethod
    def _line(self) -> StatusLine:
        """Return the current status line, with the note."""

    def _draw_status(self, *, is_final: bool = False) -> None:
        line = self._line()
        if self._in_kernel:
            if is_final or line != self._last:
                self._status.update(line.bundle, is_final=is_final)
        elif line.change_key != self._last.change_key:
            print(line.text)  # noqa: T201 - a terminal has no handles
        self._last, self._last_s = line, time.monotonic()

    def _draw_partial(self) -> None:
        """Draw the images that are available before the end."""

    @abstractmethod
    def _draw_final(self) -> None:
        """Draw the final status and the images."""


class RunView(View):
    """The view of one run in one cell.

    Parameters
    ----------
    label
        Names for the captions: field ids, and keys of `columns`.
    columns
        Texts that a caption may have besides the params, by name.
    only
        Indices of the images to show; None shows all.
    with_images
        False if the images are drawn elsewhere, together with those of other runs.
    options
        The parameters `outcome`, `generated_seeds` and `usual_s` of `run_line`.
    """

    def __init__(
        self,
        run: Run,
        *,
        in_kernel: bool,
        label: Sequence[str] | None = None,
        columns: Mapping[str, str] | None = None,
        only: Sequence[int] | None = None,
        with_images: bool = True,
        **options: Any,
    ) -> None:
        self.run = run
        self._label, self._only = label, only
        self._columns = columns or {}
        self._with_images = with_images
        self._options = options
        super().__init__(run, in_kernel=in_kernel, with_images=with_images)
        if in_kernel and with_images and not run.is_settled:
            # The cell waits for the service meanwhile; the first image then appears half a second earlier.
            grids = "comflowy_nb.notebook.display.grids"  # loads matplotlib
            threading.Thread(target=import_module, args=(grids,), name="comflowy-import", daemon=True).start()

    def _line(self) -> StatusLine:
        return run_line(self.run, note=self._note, **self._options)

    def _draw_final(self) -> None:
        record = self.run.record
        self._draw_status(is_final=not record.files)
        if record.files:  # below the status line, in the same handle
            files = files_bundle(self.run)
            if self._in_kernel:
                text, markup = f"{self._last.text}\n{files['text/plain']}", self._last.html + files["text/html"]
                self._status.update({"text/plain": text, "text/html": markup}, is_final=True)
            else:
                print(files["text/plain"])  # noqa: T201 - a terminal has no handles
        if not self._with_images or not record.images:
            return
        if not self._in_kernel:
            values = {**self._columns, **record.params}
            named = [f"{bare_name(name)}={write_value(values[name])}" for name in self._label or () if name in values]
            if named:
                print(f"  {' '.join(named)}")  # noqa: T201 - a terminal has no handles
            print_paths(self.run, self._only)
            return
        from comflowy_nb.notebook.display.grids import Grid  # noqa: PLC0415 - loads matplotlib with the first image

        grid = Grid([self.run], only=self._only, label=self._label, columns={self.run.token: self._columns})
        self._images.update(*grid.bundle(), is_final=True)


class SweepView(View):
    """The view of one sweep in one cell, with a grid that fills in while runs are in progress.

    The listener of the sweep only records the changed cells. Only these are painted again, and the notebook gets an
    update only if a pixel has changed.

    Parameters
    ----------
    grid
        The parameters `label`, `node`, `image` and `page` of `SweepGrid`.
    options
        The parameter `submitted_here` of `sweep_line`.
    """

    def __init__(self, sweep: Sweep, *, in_kernel: bool, grid: Mapping[str, Any] | None = None, **options: Any) -> None:
        self.sweep = sweep
        self._grid_options = dict(grid or {})
        self._options = options
        self._began_s = time.monotonic()
        self._next_grid_s = float("-inf")
        self._painting: SweepPainting | None = None
        self._changed: set[int] = set()  # numbers of cells; `add` and `pop` are atomic
        self._was_submitting = sweep.is_submitting
        self._stop_listening = sweep.listen(self._record_change)
        super().__init__(sweep, in_kernel=in_kernel)

    def _line(self) -> StatusLine:
        return sweep_line(self.sweep, began_s=self._began_s, note=self._note, **self._options)

    def _record_change(self, cell: SweepCell | None) -> None:
        if cell is not None:
            self._changed.add(cell.number)

    def _draw_partial(self) -> None:
        if not self._in_kernel or not self._images.is_live or self._finished or time.monotonic() < self._next_grid_s:
            return
        changed = set()
        while self._changed:
            changed.add(self._changed.pop())
        # Cells without a run change their text when the sweep stops submitting.
        is_submitting = self.sweep.is_submitting
        repaints_all = self._painting is None or is_submitting != self._was_submitting
        self._was_submitting = is_submitting
        if not changed and not repaints_all:
            return
        start_s = time.thread_time()
        is_first = self._painting is None
        painting = self._painting = self._painting or self._make_grid().paint(scale=1)
        if painting.refresh(None if repaints_all else changed):
            text = f"{self.ref}: {counted(len(self.sweep.cells), 'cell')}"
            self._images.update(*jpeg_bundle(text, painting.jpeg(), painting.page.size_px))
        cost_s = 0.0 if is_first else time.thread_time() - start_s  # the first drawing loads matplotlib
        self._next_grid_s = time.monotonic() + max(UPDATE_S, cost_s * _PAUSE_FACTOR)

    def _draw_final(self) -> None:
        self._stop_listening()
        self._draw_status(is_final=True)
        if not self._in_kernel:
            print_cells(self.sweep)
            return
        grid = self._make_grid()
        if self._painting is not None:
            grid.reuse(self._painting)
        self._images.update(*grid.bundle(), is_final=True)
        self._painting = None

    def _make_grid(self) -> SweepGrid:
        from comflowy_nb.notebook.display.grids import SweepGrid  # noqa: PLC0415 - loads matplotlib with the first image

        return SweepGrid(self.sweep, **self._grid_options)


def print_cells(sweep: Sweep) -> None:
    """Print the cells of a sweep with the paths of their files, in a terminal."""
    for cell in sweep.cells:
        if cell.run is not None and cell.run.record.images:
            print(plain(f"{cell.ref} {cell.text}".rstrip()))  # noqa: T201 - a terminal has no handles
            print_paths(cell.run)
    explained = explain_labels(sweep)
    if explained:
        print(plain("\n".join(explained)))  # noqa: T201 - as above


def print_paths(run: Run, only: Sequence[int] | None = None) -> None:
    """Print the paths of a run's files in a terminal, which shows no images. For pruned images, print thumbnails."""
    reviews = reviews_to_show(run.images)
    for image in (*run.images, *run.files):
        if image.record.state in {"kept", "pruned"} and (only is None or image.record.index in only):
            path = image.thumbnail(LARGE_THUMBNAIL_PX) if image.is_pruned else image.path
            review = write_review(reviews[image.token])
            print(f"  {path}  {review}".rstrip())  # noqa: T201 - a terminal has no handles
