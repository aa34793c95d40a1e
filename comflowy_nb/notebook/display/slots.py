"""Display data that is replaced later: with a display handle, or in an ipywidgets Output by displaying it again."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Slot", "capturing_outputs", "message_id", "show_bundle"]

# nbclient sends the content of an Output back to the kernel, and then misses the end of a cell that comes meanwhile:
# it waits for its time-out, or for good.
_PAUSE_S = 0.1


def show_bundle(data: Mapping[str, Any], metadata: Mapping[str, Any] | None = None) -> None:
    """Display a bundle once."""
    from IPython.display import display  # noqa: PLC0415 - costs time at load

    display(dict(data), metadata=dict(metadata or {}), raw=True)


def message_id() -> str | None:
    """Return the id of the message that this thread's displays answer: an execution, or a widget's callback."""
    from IPython import get_ipython  # noqa: PLC0415 - costs time at load

    publisher = getattr(get_ipython(), "display_pub", None)
    header = getattr(publisher, "parent_header", None) or {}
    return header.get("msg_id")


def capturing_outputs() -> tuple[Any, ...]:
    """Return the Outputs of ipywidgets that capture what this thread displays now.

    An Output captures all displays that answer the message with the id in its trait `msg_id`.
    """
    widgets, module = sys.modules.get("ipywidgets"), sys.modules.get("ipywidgets.widgets.widget")
    message = message_id()
    if widgets is None or not message:
        return ()
    known = list(getattr(module, "_instances", {}).values())  # `Widget.widgets` is the same, and deprecated
    return tuple(each for each in known if isinstance(each, widgets.Output) and each.msg_id == message)


def _can_answer() -> bool:
    """Return False under nbclient, where the user can't be asked."""
    from IPython import get_ipython  # noqa: PLC0415 - costs time at load

    return bool(getattr(getattr(get_ipython(), "kernel", None), "_allow_stdin", False))


class Slot:
    """One part of a view in the current cell.

    An Output does not apply updates of a display (ipywidgets issues 1180 and 1844): there `update` does nothing, and
    `show` displays anew.

    Parameters
    ----------
    data
        What is displayed at first; an Output gets nothing for None.
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

    def update(self, data: Mapping[str, Any], metadata: Mapping[str, Any] | None = None) -> None:
        """Replace what is displayed. In an Output this does nothing."""
        if self._handle is not None and (data, metadata or {}) != self._shown:
            self._handle.update(dict(data), metadata=dict(metadata or {}), raw=True)
            self._shown = (data, metadata or {})

    def show(self, data: Mapping[str, Any], metadata: Mapping[str, Any] | None = None) -> None:
        """Replace what is displayed. In an Output, display the data again."""
        if self._handle is not None:
            self.update(data, metadata)
            return
        if (data, metadata or {}) == self._shown:
            return
        self._shown = (data, metadata or {})
        if capturing_outputs() == self._outputs:
            show_bundle(data, metadata)
            if not _can_answer():
                time.sleep(_PAUSE_S)
        else:  # the view thread, after the Output has ended: a display would come into another cell
            made = {"output_type": "display_data", "data": dict(data), "metadata": dict(metadata or {})}
            self._outputs[-1].outputs += (made,)
