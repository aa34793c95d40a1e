"""The widget `Filmstrip`: the runs of a form as thumbnails, to return to and to mark for a comparison."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets

from comflowy_nb.comparison.inputs import MAX_IMAGES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["Filmstrip"]

SCRIPT = (Path(__file__).parent / "filmstrip.js").read_text("utf-8")
STYLE = (Path(__file__).parent / "form.css").read_text("utf-8")


class Filmstrip(anywidget.AnyWidget):  # type: ignore[misc]  # anywidget is not read by mypy here
    """The runs of a form, oldest first.

    Parameters
    ----------
    pick
        Called with a run's token when its thumbnail is clicked.
    compare
        Called with the tokens of the marked runs, in the order of the strip.
    fill_in
        Called before every press of a button with the state of the fields: model id -> value, or index of an option.
    """

    _esm = SCRIPT  # as text: a path would keep a signal that holds every instance (anywidget issue 929)
    _css = STYLE

    items = traitlets.List().tag(sync=True)
    """For each run: token, ref, status, text, changes, progress (0 to 1, or None)."""
    thumbs = traitlets.Dict().tag(sync=True)
    """Token -> a small JPEG as a data address. Apart from `items`, which change several times a second."""
    preview = traitlets.Dict().tag(sync=True)
    """The unfinished image of one run: its token and a data URL."""
    shown = traitlets.Unicode("").tag(sync=True)
    """Token of the run whose images are shown."""
    marked = traitlets.List().tag(sync=True)
    """Tokens of the runs to be compared."""
    cell = traitlets.Dict().tag(sync=True)
    """The cell's text to be copied, and a number that makes every request a new one."""
    most_marked = traitlets.Int(MAX_IMAGES).tag(sync=True)
    inputs = traitlets.List().tag(sync=True)
    """Model ids of the widgets that are filled in."""

    def __init__(
        self,
        *,
        pick: Callable[[str], None],
        compare: Callable[[list[str]], None],
        fill_in: Callable[[Mapping[str, Any]], None],
    ) -> None:
        super().__init__()
        self._pick = pick
        self._compare = compare
        self._fill_in = fill_in
        self.on_msg(self._on_message)

    def copy(self, text: str) -> None:
        """Have the browser put a text on the clipboard, and show it."""
        self.cell = {"text": text, "number": int(self.cell.get("number", 0)) + 1}

    def close(self) -> None:
        self.on_msg(self._on_message, remove=True)
        super().close()

    def _on_message(self, _: object, message: Mapping[str, Any], __: object) -> None:
        match message:
            case {"pick": str(token)}:
                self._pick(token)
            case {"compare": [*marked]}:  # from the message: the trait `marked` may arrive later
                self._compare([item["token"] for item in self.items if item["token"] in marked])
            case {"values": dict(values)}:
                self._fill_in(values)
