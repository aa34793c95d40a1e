"""Control for an image: the user's file, an earlier run's image, an address, or an image of the service."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets

from comflowy_nb.errors import FieldError, ImageError, RefError
from comflowy_nb.notebook.form.controls import Control
from comflowy_nb.notebook.widget_versions import TOOLTIP, take_upload
from comflowy_nb.workflow.images import (
    InputImage,
    assert_decodable,
    input_of,
    input_of_bytes,
    is_image,
    open_image_file,
    open_input,
)
from comflowy_nb.workflow.syntax.json_values import text_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from comflowy_nb.workflow.fields import Field

__all__ = ["ImageControl", "small_jpeg"]

_PREVIEW_PX = 96
_NO_UPLOADS = "this service takes no uploads: give the https address of an image"


class ImageControl(Control):
    """What is typed (`file:photo.jpg`, `run:r41[0]`, an https address, a name the service knows), or a file chosen.

    Parameters
    ----------
    can_upload
        Whether the service accepts uploads; else only an address can be typed.
    open_run
        Returns the image that a reference names.
    """

    is_wide = True

    def __init__(self, field: Field, label: str, *, can_upload: bool, open_run: Callable[[str], InputImage]) -> None:
        self._can_upload = can_upload
        self._open_run = open_run
        self._image: InputImage | None = None
        self._word: str | None = None  # the text in the box for it
        self._preview = widgets.Image(format="jpeg", layout=widgets.Layout(display="none"))
        self._preview.add_class("cfy-preview")
        self._chooser = widgets.FileUpload(
            accept="image/*", description="Choose a file", **{TOOLTIP: f"an image for {label}"}
        )
        super().__init__(field, label)

    def _make(self) -> Any:
        hint = "file:photo.jpg, run:r41[0], https://..." if self._can_upload else "https://..."
        known = [text_of(option) for option in self.field.options]
        return widgets.Combobox(**self._options(options=known, continuous_update=False, placeholder=hint))

    def _parts(self) -> list[Any]:
        parts = [self.input, self._chooser, self._preview] if self._can_upload else [self.input, self._preview]
        row = widgets.HBox(parts)
        row.add_class("cfy-image")
        if self._can_upload:
            self._chooser.observe(self._on_upload, names="value")
            return [row]
        note = widgets.HTML(_NO_UPLOADS)
        note.add_class("cfy-note")
        return [row, note]

    @property
    def image(self) -> InputImage | None:
        return self._image if str(self.input.value).strip() == self._word else None

    def _read(self) -> Any:
        text = str(self.input.value).strip()
        if self.image is not None:
            return self.image
        if not text:
            raise FieldError(f"{self.field.where}: give an image")
        kind, _, rest = text.partition(":")
        is_own = bool(rest) and kind in {"file", "run"}
        if is_own and not self._can_upload:
            raise FieldError(f"{self.field.where}: {_NO_UPLOADS}")
        try:
            if is_own:
                return self._set_image(open_input(rest) if kind == "file" else self._open_run(rest), text)
        except (ImageError, RefError) as error:
            raise FieldError(f"{self.field.where}: {error}") from error
        self._clear_image()
        return self.field.check(text)

    def _show(self, value: Any) -> None:
        if not is_image(value):
            self._clear_image()
            self.input.value = text_of(value) if value is not None else ""
            return
        image = input_of(value)
        self._set_image(image, image.name)
        self.input.value = image.name

    def _on_upload(self, _: Any) -> None:
        """Move the file out of the widget, whose state would be saved with the notebook."""
        chosen = take_upload(self._chooser)
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
            self._on_change(None)  # another file of the same name
        self.input.value = image.name

    def _set_image(self, image: InputImage, word: str) -> InputImage:
        self._image, self._word = image, word
        preview = small_jpeg(image.load(), _PREVIEW_PX)
        self._preview.value = preview or b""
        self._preview.layout.display = "" if preview else "none"
        return image

    def _clear_image(self) -> None:
        self._image = self._word = None
        self._preview.layout.display = "none"

    def close(self) -> None:
        self._chooser.unobserve_all()
        super().close()


def small_jpeg(source: Path | bytes | io.BytesIO, side_px: int) -> bytes | None:
    """Return an image as a JPEG of a few kilobytes; None if it can't be decoded here."""
    from comflowy_nb.images.decode import flatten  # noqa: PLC0415 - loads Pillow

    try:
        with open_image_file(source) as opened:
            assert_decodable(opened, "the image")
            small = flatten(opened)
    except Exception:  # noqa: BLE001 - Pillow raises many types for invalid images
        return None
    small.thumbnail((side_px, side_px))
    stream = io.BytesIO()
    small.save(stream, "JPEG", quality=80)
    return stream.getvalue()
