"""The sizes of thumbnails, and the names of their files. Unlike `thumbnails.py`, this module does not load Pillow."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


SMALL_THUMBNAIL_PX, LARGE_THUMBNAIL_PX = 256, 512
THUMBNAIL_SIZES_PX = (LARGE_THUMBNAIL_PX, SMALL_THUMBNAIL_PX)  # largest first: each is made from the one before

_NAME = re.compile(rf".+\.t(?:{'|'.join(map(str, THUMBNAIL_SIZES_PX))})\.jpg")


def thumbnail_of(path: Path, size_px: int) -> Path:
    """Return the path of the thumbnail of an image file, such as `TOKEN_0.t256.jpg`, whether or not it exists."""
    return path.with_suffix(f".t{size_px}.jpg")


def is_thumbnail(name: str) -> bool:
    """Return True for the name of a file that is a thumbnail."""
    return _NAME.fullmatch(name) is not None
