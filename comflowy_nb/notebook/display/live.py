"""Update the outputs of cells, with threads that draw views until their runs are settled.

If a cell waits, its thread draws its views. A `LiveUpdater` draws all other views.
"""

from __future__ import annotations

import contextlib
import math
import signal
import sys
import threading
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from comflowy_nb.countdown import Countdown
from comflowy_nb.errors import ComflowyError
from comflowy_nb.notebook.display.front_end import has_displays, is_stdin_allowed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import FrameType

    from comflowy_nb.sweeps.sweep import Sweep
    from comflowy_nb.tracking.run import Run


UPDATE_S = 0.25  # at most four updates a second for each display

# nbclient sends the content of an Output back to the kernel, and misses the end of a cell that arrives meanwhile: it
# then waits until its timeout, or forever.
_NBCLIENT_PAUSE_S = 0.1


class LiveView(ABC):
    """A display of a run or sweep that is updated until the run or sweep is settled. One thread at a time draws it."""

    value: Run | Sweep

    @property
    def ref(self) -> str:
        return self.value.ref

    @property
    def is_settled(self) -> bool:
        """Whether the run or sweep does not change any more, unless the user acts."""
        return self.value.is_settled

    @abstractmethod
    def draw(self) -> None:
        """Update the display, at most once every `UPDATE_S` seconds."""

    @abstractmethod
    def finish(self) -> None:
        """Draw the final state. A second call does nothing."""

    @abstractmethod
    def note(self, text: str) -> None:
        """Show a text at the end of the status line."""


class LiveUpdater:
    """Draws the views for which no cell waits. Its thread runs only while there are such views."""

    def __init__(self) -> None:
        self._views: list[LiveView] = []
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()

    def add(self, view: LiveView) -> None:
        """Draw a view in its cell until it is settled."""
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
        """Draw one view. Return True if it needs no more updates."""
        try:
            settled = view.is_settled
            if settled:
                view.finish()
            else:
                view.draw()
        except Exception as error:  # noqa: BLE001 - one view that fails must not end the thread of the others
            reason = str(error) if isinstance(error, ComflowyError) else type(error).__name__
            with contextlib.suppress(Exception):  # the note goes to the display that has just failed
                view.note(f"the images can't be drawn ({reason}); %comflowy show {view.ref}")
            return True
        return settled


def wait_drawing(views: Sequence[LiveView], timeout_s: float | None = None) -> None:
    """Draw views on this thread until they are settled, then draw their final state.

    Raises
    ------
    RunTimeout
        If the views are not settled after `timeout_s` seconds. The runs continue.
    """
    countdown = Countdown(math.inf if timeout_s is None else timeout_s)
    with _recording_interrupts() as raise_if_discarded:
        for position, view in enumerate(views):
            while True:
                settled = view.value.wait_change(max(0.001, min(UPDATE_S, countdown.left_s())))
                for other in views[position:]:
                    other.draw()
                raise_if_discarded()
                if settled:
                    break
                if timeout_s is not None and countdown.left_s() <= 0:
                    raise view.value.timeout_error(timeout_s)
            view.finish()


@contextlib.contextmanager
def _recording_interrupts() -> Iterator[Callable[[], None]]:
    """Yield a function that re-raises a KeyboardInterrupt that CPython discarded.

    CPython discards a KeyboardInterrupt raised inside a weakref callback. Freeing a matplotlib figure runs such
    callbacks.
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


# -- displays ---------------------------------------------------------------------------------------------------------


def show_bundle(data: Mapping[str, Any], metadata: Mapping[str, Any] | None = None) -> None:
    """Display a bundle once."""
    from IPython.display import display  # noqa: PLC0415 - costs time at load

    display(dict(data), metadata=dict(metadata or {}), raw=True)


def say(data: Mapping[str, Any], metadata: Mapping[str, Any] | None = None) -> None:
    """Display a bundle. In a terminal, which has no displays, print its text."""
    if has_displays():
        show_bundle(data, metadata)
    else:
        print(data["text/plain"])  # noqa: T201 - as above


def message_id() -> str | None:
    """Return the id of the message that is the parent of this thread's displays: an execution or a widget callback."""
    from IPython import get_ipython  # noqa: PLC0415 - costs time at load

    publisher = getattr(get_ipython(), "display_pub", None)
    header = getattr(publisher, "parent_header", None) or {}
    return header.get("msg_id")


def capturing_outputs() -> tuple[Any, ...]:
    """Return the Output widgets of ipywidgets that capture the displays of this thread.

    An Output captures all displays whose parent message has the id in its trait `msg_id`.
    """
    widgets, module = sys.modules.get("ipywidgets"), sys.modules.get("ipywidgets.widgets.widget")
    message = message_id()
    if widgets is None or not message:
        return ()
    registry = getattr(module, "_instances", None)
    if registry is None:  # ipywidgets 7, as on Google Colab; deprecated in 8
        registry = widgets.Widget.widgets
    return tuple(
        widget for widget in list(registry.values()) if isinstance(widget, widgets.Output) and widget.msg_id == message
    )


class DisplaySlot:
    """One part of a view in the current cell.

    An Output widget does not apply updates of a display (ipywidgets issues 1180 and 1844). In an Output, only the final
    data is displayed again.

    Parameters
    ----------
    data
        The initial data. With None, nothing is displayed in an Output.
    """

    def __init__(self, data: Mapping[str, Any] | None = None) -> None:
        from IPython.display import display  # noqa: PLC0415 - costs time at load

        self._outputs = capturing_outputs()
        self._shown: object = (data, {})
        self._handle: Any = None
        if not self._outputs:
            self._handle = display(dict(data or {"text/plain": ""}), raw=True, display_id=True)
        elif data is not None:
            show_bundle(data)

    @property
    def is_live(self) -> bool:
        """Whether the front end applies updates."""
        return self._handle is not None

    def update(
        self, data: Mapping[str, Any], metadata: Mapping[str, Any] | None = None, *, is_final: bool = False
    ) -> None:
        """Replace the displayed data. In an Output, display only final data, as a new display."""
        metadata = metadata or {}
        if (data, metadata) == self._shown or not (self.is_live or is_final):
            return
        self._shown = (data, metadata)
        if self.is_live:
            self._handle.update(dict(data), metadata=dict(metadata), raw=True)
        elif capturing_outputs() == self._outputs:
            show_bundle(data, metadata)
            if not is_stdin_allowed():
                time.sleep(_NBCLIENT_PAUSE_S)
        else:  # the view thread, after the Output has ended: a display would be added to another cell
            output = {"output_type": "display_data", "data": dict(data), "metadata": dict(metadata)}
            self._outputs[-1].outputs += (output,)
