"""Update what cells show: on the thread of a cell that waits, else on the one thread of a `LiveUpdater`."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from typing import TYPE_CHECKING, Protocol

from comflowy_nb.errors import ComflowyError, RunTimeout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

__all__ = ["UPDATE_S", "LiveUpdater", "LiveView", "wait_drawing"]

UPDATE_S = 0.25  # at most four updates a second for each display


class LiveView(Protocol):
    """A display of a run or a sweep that changes until the run or sweep is settled."""

    @property
    def ref(self) -> str: ...

    @property
    def is_settled(self) -> bool:
        """Whether the run or sweep will not change any more by itself."""

    def wait_change(self, timeout: float) -> bool:
        """Wait at most `timeout` seconds for a change; return whether it is settled."""

    def draw(self, *, force: bool = False) -> None: ...

    def finish(self) -> None:
        """Draw the final state. Calling it again does nothing."""

    def note(self, text: str) -> None:
        """Show a text at the end of the status line."""

    def timeout(self, timeout_s: float) -> RunTimeout:
        """Return the error for a wait that took longer than `timeout_s`."""


class LiveUpdater:
    """Draws the views that no cell waits for, on one thread that runs while there are any."""

    def __init__(self) -> None:
        self._views: list[LiveView] = []
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    def add(self, view: LiveView) -> None:
        """Draw this view in its cell until it is settled."""
        with self._lock:
            if self._stop.is_set():
                return
            self._views.append(view)
            if self._thread is None:
                self._thread = threading.Thread(target=self._loop, name="comflowy views", daemon=True)
                self._thread.start()

    def close(self) -> None:
        """Stop drawing; the runs continue."""
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
                    if self._update(view):
                        with self._lock:
                            self._views.remove(view)
        finally:  # after any error, the next view starts another thread
            with self._lock:
                if self._thread is threading.current_thread():
                    self._thread = None

    def _update(self, view: LiveView) -> bool:
        """Draw one view; return whether it needs no more updates."""
        try:
            settled = view.is_settled
            if settled:
                view.finish()
            else:
                view.draw()
        except Exception as error:  # noqa: BLE001 - one view that fails must not end the thread of the others
            why = str(error) if isinstance(error, ComflowyError) else type(error).__name__
            with contextlib.suppress(Exception):  # the note goes to the display that has just failed
                view.note(f"the images can't be drawn ({why}); %comflowy show {view.ref}")
            return True
        return settled


def wait_drawing(views: Sequence[LiveView], timeout_s: float | None = None) -> None:
    """Draw on this thread until all views are settled, and draw their final state.

    Raises
    ------
    RunTimeout
        If it takes longer than `timeout_s`. The runs continue.
    """
    deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
    with _recording_interrupts() as raise_if_discarded:
        for position, view in enumerate(views):
            while True:
                pause_s = UPDATE_S if deadline_s is None else max(0.001, min(UPDATE_S, deadline_s - time.monotonic()))
                settled = view.wait_change(pause_s)
                for other in views[position:]:
                    other.draw()
                raise_if_discarded()
                if settled:
                    break
                if deadline_s is not None and time.monotonic() >= deadline_s:
                    assert timeout_s is not None
                    raise view.timeout(timeout_s)
            view.finish()


@contextlib.contextmanager
def _recording_interrupts() -> Iterator[Callable[[], None]]:
    """Yield a function that raises a KeyboardInterrupt which Python has discarded.

    CPython discards one that arrives inside a weak reference callback. After a grid was drawn such callbacks run for a
    while, because matplotlib's figure is freed.
    """
    received: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        received.append(number)
        signal.default_int_handler(number, frame)

    def raise_if_discarded() -> None:
        if received:
            raise KeyboardInterrupt

    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield raise_if_discarded
        return
    try:
        signal.signal(signal.SIGINT, handle)
        yield raise_if_discarded
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
