"""Where a run is shown: two display handles in its cell, and the one thread that draws when no cell waits."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from typing import TYPE_CHECKING, Protocol

from comflowy_nb.errors import ComflowyError, RunTimeout
from comflowy_nb.notebook.display.file_outputs import files_html, files_text
from comflowy_nb.notebook.display.slots import Slot
from comflowy_nb.notebook.display.status import StatusLine, status_line

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import FrameType

    from comflowy_nb.tracking.run import Run

__all__ = ["UPDATE_S", "RunView", "View", "Viewer", "print_paths", "wait_drawing"]

UPDATE_S = 0.25  # at most four updates a second for a handle


class View(Protocol):
    """Where a run or a sweep is shown."""

    @property
    def ref(self) -> str: ...

    @property
    def is_settled(self) -> bool:
        """Whether nothing more will happen by itself to what is shown."""

    def wait_change(self, timeout: float) -> bool:
        """Wait at most so many seconds for a change; whether it is settled."""

    def draw(self, *, force: bool = False) -> None: ...

    def finish(self) -> None:
        """Draw the end of it. Once is enough."""

    def note(self, text: str) -> None: ...

    def timeout(self, timeout_s: float) -> RunTimeout:
        """What to raise when it takes longer."""


class RunView:
    """One run in one cell: a handle for its status, and one for its images, made at once and then only updated.

    Parameters
    ----------
    in_kernel
        False in a terminal, where each change is printed as a line, and the files' paths at the end.
    only
        Indices of the images to show; None shows all.
    with_images
        False where the images of several runs are drawn together elsewhere.
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
        self._in_kernel = in_kernel
        self._words = {"how": how, "drawn": drawn, "usual_s": usual_s}
        self._label = label
        self._only = only
        self._note: str | None = None
        self._lock = threading.Lock()  # the waiting cell's thread hands over to the view thread
        self._last: StatusLine | None = None
        self._last_s = float("-inf")
        self._finished = False
        self._with_images = with_images
        if in_kernel:
            line = self._line()
            self._status = Slot(_bundle(line))
            self._remember(line)
            if with_images:
                self._images = Slot()
        else:
            self.draw(force=True)

    @property
    def ref(self) -> str:
        return self.run.ref

    @property
    def is_settled(self) -> bool:
        return self.run.record.is_settled

    def wait_change(self, timeout: float) -> bool:
        """Wait at most so many seconds for a change; whether the run is settled."""
        return self.run.wait_change(timeout)

    def timeout(self, timeout_s: float) -> RunTimeout:
        """What to raise when it takes longer."""
        run = self.run
        return RunTimeout(
            f"{run.ref} is not done after {timeout_s:g} s ({run.status}) and goes on; %comflowy show {run.ref}", run
        )

    def note(self, text: str) -> None:
        """Say something more at the end of the status line."""
        self._note = text
        with self._lock:
            self._draw(force=True, must_show=True)

    def clear_note(self) -> None:
        """Say no more than the run itself."""
        self._note = None
        self.draw(force=True)

    def draw(self, *, force: bool = False) -> None:
        """Bring the status line up to date; no oftener than four times a second unless forced."""
        with self._lock:
            self._draw(force=force)

    def finish(self) -> None:
        """Draw the last status and the images. Once is enough."""
        with self._lock:
            if self._finished:
                return
            self._draw(force=True, must_show=not self.run.record.files)
            if self.run.record.files:
                self._show_files()
            if not self._with_images or not self.run.record.images:
                pass
            elif self._in_kernel:
                from comflowy_nb.notebook.display.run_grid import Grid  # noqa: PLC0415 - loads matplotlib with the first image

                data, metadata = Grid([self.run], only=self._only, label=self._label).bundle()
                self._images.show(data, metadata)
            else:
                print_paths(self.run, self._only)
            self._finished = True  # at the end: an interrupted drawing is done again

    def _show_files(self) -> None:
        """What is no image stands below the status line, in the same handle."""
        line = self._line()
        if self._in_kernel:
            text = f"{line.text}\n{files_text(self.run)}"
            self._status.show({"text/plain": text, "text/html": line.html + files_html(self.run)})
        else:
            print(files_text(self.run))  # noqa: T201 - a terminal has no handles

    def _draw(self, *, force: bool, must_show: bool = False) -> None:
        if not force and time.monotonic() - self._last_s < UPDATE_S:
            return
        line = self._line()
        if self._in_kernel:
            if must_show:
                self._status.show(_bundle(line))
            elif line != self._last:
                self._status.update(_bundle(line))
        elif self._last is None or line.news != self._last.news:
            print(line.text)  # noqa: T201 - a terminal has no handles
        self._remember(line)

    def _line(self) -> StatusLine:
        return status_line(self.run, note=self._note, **self._words)  # type: ignore[arg-type]  # as given to __init__

    def _remember(self, line: StatusLine) -> None:
        self._last, self._last_s = line, time.monotonic()


class Viewer:
    """Keeps the views up to date that no cell waits for. One thread for the kernel, alive while there is a view."""

    def __init__(self) -> None:
        self._views: list[View] = []
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    def follow(self, view: View) -> None:
        """Draw this view from now on, in its own cell."""
        with self._lock:
            if self._stop.is_set():
                return
            self._views.append(view)
            if self._thread is None:
                self._thread = threading.Thread(target=self._loop, name="comflowy views", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Stop drawing; the runs go on."""
        with self._lock:
            self._stop.set()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(5)

    def _loop(self) -> None:
        try:
            while not self._stop.wait(UPDATE_S):
                with self._lock:
                    views = list(self._views)
                    if not views:
                        self._thread = None
                        return
                for view in views:
                    if self._tend(view):
                        with self._lock:
                            self._views.remove(view)
        finally:  # whatever ended it, the next view starts another
            with self._lock:
                if self._thread is threading.current_thread():
                    self._thread = None

    def _tend(self, view: View) -> bool:
        """Draw one view; whether nothing more will happen to it."""
        try:
            settled = view.is_settled
            if settled:
                view.finish()
            else:
                view.draw()
        except Exception as error:  # noqa: BLE001 - a view that can't be drawn must not end the thread of the others
            why = str(error) if isinstance(error, ComflowyError) else type(error).__name__
            with contextlib.suppress(Exception):  # the note goes to the display that has just failed
                view.note(f"the images can't be drawn ({why}); %comflowy show {view.ref}")
            return True
        return settled


def wait_drawing(views: Sequence[View], timeout_s: float | None = None) -> None:
    """Draw on this thread until all is settled, and then the images.

    Raises
    ------
    RunTimeout
        If it takes longer. The runs go on.
    """
    deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
    with _noting_interrupts() as raise_if_dropped:
        for position, view in enumerate(views):
            while True:
                pause_s = UPDATE_S if deadline_s is None else max(0.001, min(UPDATE_S, deadline_s - time.monotonic()))
                settled = view.wait_change(pause_s)
                for other in views[position:]:
                    other.draw()
                raise_if_dropped()
                if settled:
                    break
                if deadline_s is not None and time.monotonic() >= deadline_s:
                    assert timeout_s is not None
                    raise view.timeout(timeout_s)
            view.finish()


@contextlib.contextmanager
def _noting_interrupts() -> Iterator[Callable[[], None]]:
    """Gives a function that raises an interrupt which Python has dropped.

    It drops one that comes while it calls back for a weak reference, and after a grid was drawn it does that for a
    while: what the figure was made of goes.
    """
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)
        signal.default_int_handler(number, frame)

    def raise_if_dropped() -> None:
        if came:
            raise KeyboardInterrupt

    is_ours = threading.current_thread() is threading.main_thread()
    if not is_ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield raise_if_dropped
        return
    try:
        signal.signal(signal.SIGINT, note)
        yield raise_if_dropped
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def print_paths(run: Run, only: Sequence[int] | None = None) -> None:
    """Where the images are: what a terminal shows in their stead."""
    for image in (*run.images, *run.files):
        if image.record.state == "kept" and (only is None or image.record.index in only):
            print(f"  {image.path}")  # noqa: T201 - a terminal has no handles


def _bundle(line: StatusLine) -> dict[str, str]:
    return {"text/plain": line.text, "text/html": line.html}
