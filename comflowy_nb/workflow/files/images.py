"""Open image files with `image_max_px` in place of Pillow's own pixel limit."""

from __future__ import annotations

import io
import threading
from typing import IO, TYPE_CHECKING

from comflowy_nb.errors import ImageError
from comflowy_nb.settings import settings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from PIL import Image, ImageFile

__all__ = ["assert_decodable", "open_image_file", "too_many_pixels"]

_OPENING = threading.Lock()


def open_image_file(source: Path | bytes | IO[bytes], *, formats: Sequence[str] | None = None) -> ImageFile.ImageFile:
    """Read the header of an image file of any size; the pixels are not decoded.

    Before decoding, call `assert_decodable`. Pillow refuses to open files above twice `Image.MAX_IMAGE_PIXELS`, which
    is global to the process: it is lifted only while the header is read, so that a notebook's own value stays.

    Raises
    ------
    OSError, SyntaxError, ValueError
        As `PIL.Image.open`, if it is not an image.
    """
    from PIL import Image  # noqa: PLC0415 - heavy

    with _OPENING:
        limit = Image.MAX_IMAGE_PIXELS
        try:
            Image.MAX_IMAGE_PIXELS = None
            file = io.BytesIO(source) if isinstance(source, bytes) else source
            return Image.open(file, formats=None if formats is None else tuple(formats))
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def assert_decodable(image: Image.Image, name: str) -> None:
    """Raise a ImageError that names the setting if an opened image has more pixels than `image_max_px`."""
    if image.width * image.height > settings.image_max_px:
        raise ImageError(f"{name} {too_many_pixels(image.size)}")


def too_many_pixels(size: tuple[int, int]) -> str:
    """Return why an image of this size is not decoded, to follow its name."""
    width_px, height_px = size
    return f"has {width_px} x {height_px} pixels, more than image_max_px allows (%config Comflowy.image_max_px)"
