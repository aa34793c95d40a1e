"""Make JPEG thumbnails of stored images, so that a grid need not open images in full size."""

from __future__ import annotations

import contextlib
import hashlib
import threading
from typing import TYPE_CHECKING

from PIL import Image

from comflowy_nb.errors import ImageError
from comflowy_nb.images.decode import check_image, flatten
from comflowy_nb.images.receive import image_path, readable_disk_errors
from comflowy_nb.images.thumbnail_sizes import THUMBNAIL_SIZES_PX, thumbnail_of
from comflowy_nb.settings import settings
from comflowy_nb.workflow.files import atomic_write
from comflowy_nb.workflow.images import too_many_pixels

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from comflowy_nb.database.records import ImageRecord


_MAKE_TIMEOUT_S = 10.0

_announced: dict[Path, threading.Event] = {}  # images whose thumbnails another thread is about to make


def announce_thumbnails(image: Image.Image, path: Path) -> Callable[[], None]:
    """Return a function that makes the thumbnails. The caller must call it, because `thumbnail_path` waits for it."""
    is_made = _announced[path] = threading.Event()

    def make() -> None:
        try:
            with contextlib.suppress(OSError, MemoryError):  # `thumbnail_path` makes thumbnails that fail here
                make_thumbnails(image, path)
        finally:
            _announced.pop(path, None)
            is_made.set()

    return make


def make_thumbnails(image: Image.Image, path: Path) -> None:
    """Write the thumbnails of all sizes beside an image file. An image is never enlarged; `image` is changed."""
    small = image if image.mode == "RGB" and not image.has_transparency_data else flatten(image)
    for size_px in THUMBNAIL_SIZES_PX:
        # reducing_gap: averaging most of the way takes a tenth of the time of Lanczos alone
        small.thumbnail((size_px, size_px), Image.Resampling.LANCZOS, reducing_gap=1.0)
        with atomic_write(thumbnail_of(path, size_px)) as part:
            small.save(part, "JPEG", quality=settings.jpeg_quality)


def thumbnail_files(folder: Path, image: ImageRecord) -> list[Path]:
    """Return the paths of the thumbnails of an image, whether or not they exist."""
    path = image_path(folder, image)
    return [thumbnail_of(path, size_px) for size_px in THUMBNAIL_SIZES_PX]


def thumbnail_path(folder: Path, image: ImageRecord, size_px: int) -> Path:
    """Return the path of a JPEG that fits into `size_px` x `size_px`; make it if it does not exist.

    Parameters
    ----------
    size_px
        One of `THUMBNAIL_SIZES_PX`.

    Raises
    ------
    ImageError
        If neither the thumbnail nor the image is on disk, or the image can't be decoded.
    """
    if size_px not in THUMBNAIL_SIZES_PX:
        raise ValueError(f"invalid thumbnail size {size_px}: use one of {THUMBNAIL_SIZES_PX}")
    path = image_path(folder, image)
    thumbnail = thumbnail_of(path, size_px)
    announced = None if thumbnail.exists() else _announced.get(path)
    if announced is not None:
        announced.wait(_MAKE_TIMEOUT_S)
    if not thumbnail.exists():
        if not path.exists():
            raise ImageError(f"image [{image.index}] is not on disk any more")
        size = image.size_px
        if size is not None and size[0] * size[1] > settings.image_max_px:  # known without reading the file
            raise ImageError(f"image [{image.index}] has no thumbnail: it {too_many_pixels(size)}")
        with readable_disk_errors():
            content = path.read_bytes()
            if image.sha256 not in {None, hashlib.sha256(content).hexdigest()}:
                raise ImageError(f"image [{image.index}] has no thumbnail, and its file has changed since the download")
            checked = check_image(content)
            if checked.image is None:
                raise ImageError(f"image [{image.index}] has no thumbnail: {checked.problem}")
            make_thumbnails(checked.image, path)
    return thumbnail
