"""Read thumbnails and full images of an exploration in formats that browsers show, one file at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comflowy_nb.comparison.pixels import for_browser
from comflowy_nb.errors import ImageError
from comflowy_nb.images.disk_usage import size_text
from comflowy_nb.images.thumbnail_sizes import LARGE_THUMBNAIL_PX, is_thumbnail

if TYPE_CHECKING:
    from pathlib import Path

    from comflowy_nb.tracking.run import RunImage


MAX_FILE_BYTES = 200_000_000  # limit of an image or a video that is sent to a browser


def problem_of(image: RunImage) -> str | None:
    """Return why an image can't be shown, by its record; None if it can."""
    record = image.record
    match record.state:
        case "expected":
            return "it is being downloaded"
        case "missing":
            return f"missing: {record.error}" if record.error else "missing"
    return None


def read_thumbnail(image: RunImage, side_px: int) -> bytes:
    """Return the JPEG thumbnail that fits into a square of `side_px` pixels, one of `THUMBNAIL_SIZES_PX`.

    Raises
    ------
    ImageError
        If the thumbnail does not exist and can't be created.
    """
    path = image.thumbnail(side_px)
    if not is_thumbnail(path.name):
        raise ImageError(f"{image.ref} has no thumbnail")  # the original may be too large to decode
    return _read(path, image)


def read_full(image: RunImage) -> tuple[bytes, str, str | None]:
    """Return an image or video in a format that browsers show, its media type, and an optional note.

    Raises
    ------
    ImageError
        If the file is not on disk, can't be decoded, or is larger than `MAX_FILE_BYTES`.
    """
    if image.is_pruned:
        side_px = LARGE_THUMBNAIL_PX
        note = f"the original was pruned; {image.run.record.fetch_tip('fetches it', option=' --refetch')}"
        return read_thumbnail(image, side_px), "image/jpeg", note
    path = image.path
    try:
        size_bytes = path.stat().st_size
    except OSError as error:
        raise ImageError(f"the file of {image.ref} can't be read: {error.strerror}") from None
    if size_bytes > MAX_FILE_BYTES:
        raise ImageError(f"{image.ref} has {size_text(size_bytes)}; the limit is {size_text(MAX_FILE_BYTES)}")
    if image.record.media_type is not None:
        return _read(path, image), image.record.media_type, None
    return *for_browser(path, image.ref), None


def _read(path: Path, image: RunImage) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ImageError(f"the file of {image.ref} can't be read: {error.strerror}") from None
