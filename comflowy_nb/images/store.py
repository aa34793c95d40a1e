"""Images on disk: received, checked, kept under names of our own, with thumbnails beside them.

An image's file appears under its name only when every byte of it has been counted and decoded.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from comflowy_nb.database.connection import make_folder
from comflowy_nb.database.records import ImageRecord
from comflowy_nb.errors import ImageError
from comflowy_nb.images.atomic_files import (
    assert_inside,
    only_one,
    plain_disk_errors,
    receive,
    stem_of,
)
from comflowy_nb.images.decode import check_image
from comflowy_nb.images.thumbnails import THUMBNAIL_SIZES_PX, make_thumbnails
from comflowy_nb.settings import settings as default_settings
from comflowy_nb.workflow.files.atomic import atomic_write, locked_file
from comflowy_nb.workflow.images import too_many_pixels

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from PIL import Image

    from comflowy_nb.images.decode import Checked
    from comflowy_nb.images.prefetch import Received
    from comflowy_nb.services.base import ImageStream, Output
    from comflowy_nb.settings import Settings

__all__ = ["OwedThumbnails", "adopt_image", "image_path", "keep_image", "keep_received", "thumbnail_path"]

_MONTH = "[0-9][0-9][0-9][0-9]-[0-9][0-9]"
_RANDOM = "[0-9a-f]" * 8
_EXTENSIONS = {"PNG": "png", "JPEG": "jpg", "WEBP": "webp"}


@dataclass(frozen=True, slots=True)
class OwedThumbnails:
    """Those of an image that is kept and was decoded a moment ago."""

    image: Image.Image
    path: Path
    settings: Settings

    @property
    def held_bytes(self) -> int:
        """The memory that the decoded image takes."""
        return self.image.width * self.image.height * len(self.image.getbands())

    def make(self) -> None:
        """Make them, unless somebody asked for one meanwhile, who has made them."""
        if self.path.exists() and not self.path.with_suffix(f".t{THUMBNAIL_SIZES_PX[-1]}.jpg").exists():
            _add_thumbnails(self.image, self.path, self.settings)


def keep_image(
    stream: ImageStream,
    *,
    folder: Path,
    token: str,
    output: Output,
    settings: Settings = default_settings,
    later: Callable[[OwedThumbnails], None] | None = None,
) -> ImageRecord:
    """Receive one image and keep it with its thumbnails.

    Parameters
    ----------
    folder
        The images' folder; the file is `<yyyy-mm>/<token>_<index>.<ext>` in it.
    token
        Ours for the run. Nothing of a file's name comes from the service.
    later
        Takes the making of the thumbnails, which takes longer than all else; without it they are made at once.

    Returns
    -------
    The image's record, `kept`.

    Raises
    ------
    ImageError
        If it is truncated, too large, or no image; if the disk is full. Nothing is left behind.
    ServiceError
        If the connection breaks.
    """
    stem = stem_of(token, output.index)
    with plain_disk_errors():
        month = folder / time.strftime("%Y-%m", time.gmtime())
        make_folder(month)
        # Another process may be receiving the same image: it is waited for, and what it made is taken.
        lock = folder / f"{stem}.lock"
        was_held = lock.exists()  # by somebody who receives it, or who was killed while doing so
        with only_one(lock, settings.image_deadline_s):
            kept = adopt_image(folder=folder, token=token, output=output, settings=settings, length=stream.length)
            if kept is not None:
                return kept
            for stale in folder.glob(f"{_MONTH}/{stem}.{_RANDOM}.part") if was_held else ():
                stale.unlink(missing_ok=True)
            part = month / f"{stem}.{uuid.uuid4().hex[:8]}.part"
            with locked_file(part, mode=0o600):
                digest = receive(stream, part, settings.image_max_bytes)
                checked = check_image(part, max_px=settings.image_max_px)
                path = month / f"{stem}.{_EXTENSIONS[checked.kind]}"
                assert_inside(path, folder)
                size_bytes = part.stat().st_size
                part.replace(path)
    if later is None:
        _add_thumbnails(checked.image, path, settings)
    elif checked.image is not None:
        later(OwedThumbnails(checked.image, path, settings))
    return _record(output, folder, path, checked, sha256=digest, size_bytes=size_bytes)


def keep_received(
    received: Received,
    *,
    folder: Path,
    token: str,
    output: Output,
    settings: Settings,
    later: Callable[[OwedThumbnails], None],
) -> ImageRecord:
    """Keep an image that was received ahead, as `keep_image` does with one that arrives.

    Nobody has to be waited for: it is all here, and whoever else keeps it writes the same bytes.

    Raises
    ------
    ImageError
        If the disk is full. Nothing is left behind.
    """
    stem = stem_of(token, output.index)
    with plain_disk_errors():
        month = folder / time.strftime("%Y-%m", time.gmtime())
        make_folder(month)
        path = month / f"{stem}.{_EXTENSIONS[received.checked.kind]}"
        assert_inside(path, folder)
        with atomic_write(path, mode=0o600) as part:
            part.write_bytes(received.content)
    if received.checked.image is not None:
        later(OwedThumbnails(received.checked.image, path, settings))
    size_bytes = len(received.content)
    return _record(output, folder, path, received.checked, sha256=received.sha256, size_bytes=size_bytes)


def adopt_image(
    *, folder: Path, token: str, output: Output, settings: Settings = default_settings, length: int | None = None
) -> ImageRecord | None:
    """The record of an image that is on disk already and complete; None if there is none, or a damaged one."""
    stem = stem_of(token, output.index)
    months = sorted(folder.glob(_MONTH))
    for path in [month / f"{stem}.{extension}" for month in months for extension in _EXTENSIONS.values()]:
        try:
            content = path.read_bytes()
            if length is not None and len(content) != length:
                continue
            checked = check_image(path, max_px=settings.image_max_px)
            if path.suffix != f".{_EXTENSIONS[checked.kind]}":
                continue
            _add_thumbnails(checked.image, path, settings)
        except (ImageError, FileNotFoundError):
            continue
        sha256 = hashlib.sha256(content).hexdigest()
        return _record(output, folder, path, checked, sha256=sha256, size_bytes=len(content))
    return None


def image_path(folder: Path, image: ImageRecord) -> Path:
    """Where a kept image is, whether or not it is still there.

    Raises
    ------
    ImageError
        If the record names no file, or one outside the images' folder.
    """
    if not image.file:
        raise ImageError(f"image [{image.index}] is not on disk" + (f": {image.error}" if image.error else ""))
    path = folder / image.file
    assert_inside(path, folder)
    return path


def thumbnail_path(folder: Path, image: ImageRecord, size_px: int) -> Path:
    """A JPEG of the image that fits into `size_px` x `size_px` (512 or 256), made again if it is gone.

    Raises
    ------
    ImageError
        If neither it nor the image is there, or the image can't be decoded.
    """
    if size_px not in THUMBNAIL_SIZES_PX:
        raise ValueError(f"thumbnails are {THUMBNAIL_SIZES_PX} px, not {size_px}")
    path = image_path(folder, image)
    thumbnail = path.with_suffix(f".t{size_px}.jpg")
    if not thumbnail.exists():
        if not path.exists():
            raise ImageError(f"image [{image.index}] is not on disk any more")
        size = (image.width_px or 0, image.height_px or 0)
        if size[0] * size[1] > default_settings.image_max_px:  # known without reading the file again
            raise ImageError(f"image [{image.index}] has no thumbnail: it {too_many_pixels(size)}")
        with plain_disk_errors():
            checked = check_image(path, max_px=default_settings.image_max_px)
            if checked.image is None:
                raise ImageError(f"image [{image.index}] has no thumbnail: {checked.problem}")
            make_thumbnails(checked.image, path, quality=default_settings.jpeg_quality)
    return thumbnail


def _add_thumbnails(image: Image.Image | None, path: Path, settings: Settings) -> None:
    # The image is there, and that counts: a thumbnail that finds no room is made when it is asked for.
    with contextlib.suppress(OSError, MemoryError):
        if image is not None:
            make_thumbnails(image, path, quality=settings.jpeg_quality)


def _record(output: Output, folder: Path, path: Path, checked: Checked, *, sha256: str, size_bytes: int) -> ImageRecord:
    return ImageRecord(
        output.index,
        output.node,
        output.node_index,
        state="kept",
        file=path.relative_to(folder).as_posix(),
        sha256=sha256,
        size_bytes=size_bytes,
        width_px=checked.size[0],
        height_px=checked.size[1],
        format=checked.kind,
        error=checked.problem,
    )
