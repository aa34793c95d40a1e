"""Where the images of a form come: into the form itself, or below it, where a saved notebook keeps them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import ipywidgets as widgets

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BelowScreen", "InsideScreen", "Screen"]


class Screen(Protocol):
    """A place for one thing at a time."""

    def show_image(self, data: Mapping[str, Any], metadata: Mapping[str, Any], *, jpeg: bytes) -> None: ...

    def show_widget(self, widget: Any) -> None: ...


class InsideScreen:
    """A box within the form."""

    def __init__(self) -> None:
        self.widget = widgets.VBox()
        self.widget.add_class("cfy-screen")
        self._image: Any = None

    def show_image(self, data: Mapping[str, Any], metadata: Mapping[str, Any], *, jpeg: bytes) -> None:
        width = metadata["image/jpeg"]["width"]
        if self._image is None:
            self._image = widgets.Image(value=jpeg, format="jpeg", width=width)
            self.widget.children = (self._image,)
        else:
            self._image.value, self._image.width = jpeg, str(width)
        del data  # the words of it are in the status

    def show_widget(self, widget: Any) -> None:
        self.widget.children = (widget,)


class BelowScreen:
    """An output of the cell, empty at first, which is then only updated."""

    def __init__(self) -> None:
        from IPython.display import display  # noqa: PLC0415 - costs time at load

        self._handle = display({"text/plain": ""}, raw=True, display_id=True)

    def show_image(self, data: Mapping[str, Any], metadata: Mapping[str, Any], *, jpeg: bytes) -> None:
        del jpeg  # it is in the data
        self._handle.update(dict(data), metadata=dict(metadata), raw=True)

    def show_widget(self, widget: Any) -> None:
        data, metadata = widget.bundle()
        self._handle.update(data, metadata=metadata, raw=True)
