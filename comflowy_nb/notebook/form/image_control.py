"""Control for an image: a file, an image of an earlier run, a URL, or an image of the service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ipywidgets as widgets

from comflowy_nb.errors import FieldError, ImageError, RefError
from comflowy_nb.notebook.form.controls import TOOLTIP, Control, note_of
from comflowy_nb.workflow.images import InputImage, input_of, input_of_bytes, is_image, open_input
from comflowy_nb.workflow.syntax.json_values import text_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from comflowy_nb.workflow.fields import Field


_PREVIEW_PX = 96
_NO_UPLOADS = "this service accepts no uploads: use the https address of an image"


class ImageControl(Control):
    """Control for an image: typed as on a line, chosen from the images of the service, or an uploaded file.

    Parameters
    ----------
    can_upload
        Whether the service accepts uploads. Otherwise the user must type an https URL.
    open_run
        Called with a reference; returns its image.
    """

    is_wide = True

    def __init__(self, field: Field, label: str, *, can_upload: bool, open_run: Callable[[str], InputImage]) -> None:
        self._can_upload = can_upload
        self._open_run = open_run
        self._image: InputImage | None = None
        self._image_text: str | None = None  # the text in the box while `_image` is the value
        self._preview = widgets.Image(format="jpeg", layout=widgets.Layout(display="none")).add_class("cfy-preview")
        self._chooser = widgets.FileUpload(
            accept="image/*", description="Choose a file", **{TOOLTIP: f"an image for {label}"}
        )
        self._chooser.observe(self._on_upload, names="value")
        super().__init__(field, label)

    def _make(self) -> Any:
        hint = "file:photo.jpg, run:r41[0], https://..." if self._can_upload else "https://..."
        known = [text_of(option) for option in self.field.options]
        return widgets.Combobox(**self._options(options=known, continuous_update=False, placeholder=hint))

    def _parts(self) -> list[Any]:
        chooser = [self._chooser] if self._can_upload else []
        row = widgets.HBox([self.input, *chooser, self._preview]).add_class("cfy-image")
        return [row] if self._can_upload else [row, note_of(_NO_UPLOADS)]

    @property
    def state(self) -> tuple[Any, ...]:
        return super().state if self._own_image is None else (self._own_image.content_sha256,)

    @property
    def _own_image(self) -> InputImage | None:
        """The image to upload; None if the text in the box was changed to a value for the service."""
        return self._image if str(self.input.value).strip() == self._image_text else None

    def _read(self) -> Any:
        if self._own_image is not None:
            return self._own_image
        text = str(self.input.value).strip()
        if not text:
            raise FieldError(f"{self.field.where}: choose an image")
        kind, _, rest = text.partition(":")
        if kind not in {"file", "run"} or not rest:
            self._clear_image()
            return self.field.check(text)
        if not self._can_upload:
            raise FieldError(f"{self.field.where}: {_NO_UPLOADS}")
        try:
            return self._set_image(open_input(rest) if kind == "file" else self._open_run(rest), text)
        except (ImageError, RefError) as error:
            raise FieldError(f"{self.field.where}: {error}") from error

    def _show(self, value: Any) -> None:
        if is_image(value):
            image = input_of(value)
            self._set_image(image, image.name)
            self.input.value = image.name
        else:
            self._clear_image()
            self.input.value = text_of(value) if value is not None else ""

    def _on_upload(self, _: Any) -> None:
        """Take the file out of the widget, because the state of the widget is saved with the notebook."""
        chosen = _take_upload(self._chooser)
        if chosen is None:
            return
        name, content = chosen
        try:
            image = input_of_bytes(content, name)
        except ImageError as error:
            self._show_problem(f"{self.field.where}: {error}")
            return
        self._set_image(image, image.name)
        if self.input.value == image.name:
            self._changed()  # another file of the same name
        self.input.value = image.name

    def _set_image(self, image: InputImage, text: str) -> InputImage:
        self._image, self._image_text = image, text
        preview = small_jpeg(image.load(), _PREVIEW_PX)
        self._preview.value = preview or b""
        self._preview.layout.display = "" if preview else "none"
        return image

    def _clear_image(self) -> None:
        self._image = self._image_text = None
        self._preview.layout.display = "none"


def _take_upload(chooser: widgets.FileUpload) -> tuple[str, bytes] | None:
    """Return the name and content of the chosen file, and remove it from the widget."""
    if isinstance(chooser.value, tuple):
        files = [(file["name"], file["content"]) for file in chooser.value]
        chooser.value = ()
    else:  # ipywidgets 7: name -> content, made of three traits that the browser sets
        files = [(name, file["content"]) for name, file in chooser.value.items()]
        chooser.metadata, chooser.data = [], []
        chooser.set_trait("value", {})
    return (str(files[0][0]), bytes(files[0][1])) if files else None


def small_jpeg(source: Path | bytes, side_px: int) -> bytes | None:
    """Return an image as a JPEG of a few kilobytes; None if it can't be decoded here."""
    from comflowy_nb.comparison.pixels import open_rgb, preview_of  # noqa: PLC0415 - loads Pillow

    try:
        return preview_of(open_rgb(source, "the image"), side_px)
    except Exception:  # noqa: BLE001 - Pillow raises many types for invalid images
        return None
