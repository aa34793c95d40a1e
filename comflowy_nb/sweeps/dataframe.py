"""A pandas frame that shows thumbnails. The only module that imports pandas."""

from __future__ import annotations

import base64
import io
import re
import uuid
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from PIL import Image

from comflowy_nb.errors import ImageError
from comflowy_nb.images.decode import flatten
from comflowy_nb.images.thumbnails import THUMBNAIL_SIZES_PX
from comflowy_nb.layout.text import without_mathematics
from comflowy_nb.workflow.images import assert_decodable, open_image_file

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["ImageFrame", "Thumbnail", "frame_of"]

SIDE_PX = 96
MAX_IMAGE_BYTES = 600_000  # in one table, as base64
_QUALITY = 80


class Thumbnail:
    """A small image in a cell of a table; its text is the reference of the image."""

    __slots__ = ("path", "text")

    def __init__(self, text: str, path: Path) -> None:
        self.text = text
        self.path = path

    def jpeg(self) -> tuple[bytes, tuple[int, int]] | None:
        """Return the image within 96 x 96 px, and its size; None if it is not on disk."""
        # The smallest thumbnail made at download; the original if it was removed.
        for path in (self.path.with_suffix(f".t{min(THUMBNAIL_SIZES_PX)}.jpg"), self.path):
            try:
                with open_image_file(path) as image:
                    image.draft("RGB", (2 * SIDE_PX, 2 * SIDE_PX))
                    assert_decodable(image, self.text)
                    small = flatten(image)
            except (OSError, ImageError):
                continue
            small.thumbnail((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS, reducing_gap=2.0)
            buffer = io.BytesIO()
            small.save(buffer, "JPEG", quality=_QUALITY, optimize=True)
            return buffer.getvalue(), small.size
        return None

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"<Thumbnail {self.text}>"


class ImageFrame(pd.DataFrame):
    """A pandas frame that a notebook shows with thumbnails, and with the names of files without their folders.

    pandas escapes the text of cells, because it comes from prompts and services. Therefore pandas writes a random
    placeholder for each thumbnail, which is then replaced by the image.
    """

    @property
    def _constructor(self) -> type[ImageFrame]:
        return ImageFrame

    def _repr_html_(self) -> str | None:
        secret = uuid.uuid4().hex[:12]  # short: pandas cuts texts of cells at `max_colwidth`
        thumbnails: list[Thumbnail] = []

        def placeholder(value: Any) -> Any:
            if not isinstance(value, Thumbnail):
                return _shown(value)
            thumbnails.append(value)
            return f"{secret}-{len(thumbnails) - 1}"

        written = self._with(placeholder)._repr_html_()  # type: ignore[operator]  # pandas-stubs leave it out
        if written is None:  # display.notebook_repr_html is off
            return None
        left_bytes = MAX_IMAGE_BYTES

        def draw(match: re.Match[str]) -> str:
            nonlocal left_bytes
            thumbnail = thumbnails[int(match[1])]
            jpeg = thumbnail.jpeg() if left_bytes > 0 else None
            if jpeg is None:
                return escape(thumbnail.text)
            content, (width_px, height_px) = jpeg
            coded = base64.b64encode(content).decode("ascii")
            left_bytes -= len(coded)
            text = escape(thumbnail.text)
            return (
                f'<img src="data:image/jpeg;base64,{coded}" width="{width_px}" height="{height_px}" '
                f'alt="{text}" title="{text}">'
            )

        return re.sub(rf"{secret}-([0-9]+)", draw, without_mathematics(str(written)))

    def __repr__(self) -> str:
        return repr(self._with(_shown))

    def _with(self, change: Callable[[Any], Any]) -> pd.DataFrame:
        """Return a plain copy with changed values in the columns of objects."""
        plain = pd.DataFrame(self)
        for position, dtype in enumerate(plain.dtypes):
            if pd.api.types.is_object_dtype(dtype):
                values = [change(value) for value in plain.iloc[:, position]]
                plain = plain.copy(deep=False)
                plain.isetitem(position, pd.Series(values, dtype=object, index=plain.index).array)
        return plain


def frame_of(rows: Sequence[dict[str, Any]], shown: Sequence[Path | None]) -> ImageFrame:
    """Return the rows of `table_of` as a frame with a column of thumbnails; `shown` has the image file of each row."""
    frame = ImageFrame(list(rows))
    if rows:
        frame["image"] = pd.Series([row["image"] for row in rows], dtype=object)
        images = [None if path is None else Thumbnail(row["cell"], path) for row, path in zip(rows, shown, strict=True)]
        frame["thumbnail"] = pd.Series(images, dtype=object)
    return frame


def _shown(value: Any) -> Any:
    return value.name if isinstance(value, Path) else value
