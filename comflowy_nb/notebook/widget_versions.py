"""Differences between ipywidgets 7, as on Google Colab, and ipywidgets 8."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ipywidgets as widgets

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["HORIZONTAL", "TOOLTIP", "take_upload", "view_of"]

TOOLTIP = "tooltip" if "tooltip" in widgets.Text.class_trait_names() else "description_tooltip"
"""Option for the tooltip of a widget with a description. Buttons use `tooltip` in both versions."""

HORIZONTAL = {"orientation": "horizontal"} if "orientation" in widgets.RadioButtons.class_trait_names() else {}
"""The options for radio buttons in one row; ipywidgets 7 has them only one below the other."""


def take_upload(chooser: widgets.FileUpload) -> tuple[str, bytes] | None:
    """Return the name and content of the file that was chosen, and remove it from the widget."""
    if isinstance(chooser.value, tuple):
        files = [(each["name"], each["content"]) for each in chooser.value]
        chooser.value = ()
    else:  # ipywidgets 7: name -> content, made of three traits that the browser sets
        files = [(name, each["content"]) for name, each in chooser.value.items()]
        chooser.metadata, chooser.data = [], []
        chooser.set_trait("value", {})
    return (str(files[0][0]), bytes(files[0][1])) if files else None


def view_of(widget: widgets.Widget) -> Mapping[str, Any]:
    """Return the data with which a front end shows a widget; ipywidgets 7 has no `_repr_mimebundle_`."""
    if widget.model_id is None:  # it was closed
        return {}
    view = {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}
    return {"application/vnd.jupyter.widget-view+json": view}
