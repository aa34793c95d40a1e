"""The filmstrip of a form: its runs as thumbnails, to return to and to compare; and the images inside the form."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anywidget
import ipywidgets as widgets
import traitlets

from comflowy_nb.comparison.inputs import MAX_IMAGES
from comflowy_nb.layout.scripts import widget_script, widget_style

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class Filmstrip(anywidget.AnyWidget):  # type: ignore[misc]  # anywidget is not read by mypy here
    """The runs of a form as thumbnails, oldest first, to return to and to mark for a comparison.

    Parameters
    ----------
    go_back
        Called with a run's token when its thumbnail is clicked.
    compare
        Called with the tokens of the marked runs, in the order of the strip.
    fill_in
        Called before every press of a button with the state of the fields: model id -> value, or index of an option.
    """

    # As text: with a path, anywidget keeps a signal that references every instance.
    _esm = widget_script("form/filmstrip.js")
    _css = widget_style("form/form.css")

    items = traitlets.List().tag(sync=True)
    """For each run, the dict of `FormRun.filmstrip_item`."""
    thumbs = traitlets.Dict().tag(sync=True)
    """Token -> a small JPEG as a data URL. Apart from `items`, which change several times a second."""
    preview = traitlets.Dict().tag(sync=True)
    """The unfinished image of one run: its token and a data URL."""
    shown = traitlets.Unicode("").tag(sync=True)
    """Token of the run whose images are shown."""
    marked = traitlets.List().tag(sync=True)
    """Tokens of the runs to be compared."""
    max_marked = traitlets.Int(MAX_IMAGES).tag(sync=True)
    """The number of runs that can be compared."""
    cell = traitlets.Dict().tag(sync=True)
    """The cell's text to be copied, and a number that makes every request a new one."""
    inputs = traitlets.List().tag(sync=True)
    """Model ids of the widgets that the user fills in."""

    def __init__(
        self,
        *,
        go_back: Callable[[str], None],
        compare: Callable[[list[str]], None],
        fill_in: Callable[[Mapping[str, Any]], None],
        inputs: list[str],
    ) -> None:
        super().__init__(inputs=inputs)
        self._go_back = go_back
        self._compare = compare
        self._fill_in = fill_in
        self.on_msg(self._on_message)

    def copy(self, text: str) -> None:
        """Make the browser copy a text to the clipboard, and show it."""
        self.cell = {"text": text, "number": int(self.cell.get("number", 0)) + 1}

    def _on_message(self, _: object, message: Mapping[str, Any], __: object) -> None:
        match message:
            case {"pick": str(token)}:
                self._go_back(token)
            case {"compare": [*marked]}:  # from the message: the trait `marked` may arrive later
                self._compare([item["token"] for item in self.items if item["token"] in marked])
            case {"values": dict(values)}:
                self._fill_in(values)


class InnerDisplay:
    """A box inside the form, for one grid or comparison at a time."""

    def __init__(self) -> None:
        self.widget = widgets.VBox().add_class("cfy-screen")

    def show(self, shown: Any) -> None:
        if isinstance(shown, widgets.Widget):
            self.widget.children = (shown,)
            return
        if not self.widget.children:
            self.widget.children = (widgets.Image(format="jpeg"),)
        (image,) = self.widget.children
        image.value, image.width = shown.jpeg, str(shown.size_px[0])
