"""Receive an output: count and hash its bytes, and store it under a name that this package chooses."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import re
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from comflowy_nb.database.process_locks import unlink_and_release
from comflowy_nb.errors import ImageError
from comflowy_nb.images.save_target import os_reason

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from comflowy_nb.database.records import ImageRecord
    from comflowy_nb.services.types import ImageStream


_TOKEN = re.compile(r"[0-9A-Za-z-]{1,64}")


def receive(stream: ImageStream, write: Callable[[bytes], object], max_bytes: int) -> str:
    """Pass each chunk of a stream to `write`, and return the sha256 of its content.

    Raises
    ------
    ImageError
        If the content is truncated, empty, or larger than `max_bytes`.
    ServiceError
        If the connection breaks.
    """
    too_large = ImageError(f"the image is larger than {max_bytes / 2**20:g} MiB (%config Comflowy.image_max_bytes)")
    if stream.length is not None and stream.length > max_bytes:
        raise too_large
    digest, received_bytes = hashlib.sha256(), 0
    for chunk in stream.chunks():
        received_bytes += len(chunk)
        if received_bytes > max_bytes:
            raise too_large
        digest.update(chunk)
        write(chunk)
    if stream.length is not None and received_bytes != stream.length:
        raise ImageError(f"the image is truncated: {received_bytes} of {stream.length} bytes received")
    if received_bytes == 0:
        raise ImageError("the image is empty")
    return digest.hexdigest()


def file_stem(token: str, index: int | None = None) -> str:
    """Return the file name of an output without its suffix; without `index`, the file name of the run's sidecar.

    No part of the name comes from the service.
    """
    if not _TOKEN.fullmatch(token) or (index or 0) < 0:
        raise ImageError("the run's token can't be a file name")
    return token if index is None else f"{token}_{index}"


def image_path(folder: Path, image: ImageRecord) -> Path:
    """Return the path of a stored output, whether or not the file still exists.

    Raises
    ------
    ImageError
        If the record names no file, or a file outside the images' folder.
    """
    if not image.file:
        raise ImageError(f"image [{image.index}] is not on disk" + (f": {image.error}" if image.error else ""))
    path = folder / image.file
    assert_inside(path, folder)
    return path


def stored_file(folder: Path, image: ImageRecord) -> Path | None:
    """Return the path of a stored output; None if it is not on disk."""
    path = image_path(folder, image) if image.file else None
    return path if path is not None and path.is_file() else None


def is_damaged(path: Path, image: ImageRecord) -> bool:
    """Return True if a stored output has changed since its download: its size or sha256 differs."""
    if image.sha256 is None:
        return False
    if image.size_bytes is not None and path.stat().st_size != image.size_bytes:
        return True
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() != image.sha256


def assert_inside(path: Path, folder: Path) -> None:
    """Raise an ImageError if a path, with symbolic links resolved, is not inside a folder."""
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ImageError("the image's file would be outside the images' folder")


@contextlib.contextmanager
def exclusive_lock(path: Path, timeout_s: float) -> Iterator[None]:
    """Hold a lock file, so that only one process at a time receives an output. Remove the file afterwards."""
    lock = FileLock(path, timeout=timeout_s, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        raise ImageError("another process is still receiving the same image") from None
    try:
        yield
    finally:
        unlink_and_release(path, lock)


@contextlib.contextmanager
def readable_disk_errors() -> Iterator[None]:
    """Convert an OSError to an ImageError with a readable reason."""
    try:
        yield
    except OSError as error:
        is_denied = error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}
        reason = "the images' folder can't be written to" if is_denied else os_reason(error)
        raise ImageError(f"the image can't be stored: {reason}") from error
