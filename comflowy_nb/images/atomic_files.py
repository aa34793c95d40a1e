"""Receiving a file: counted, hashed, under a name of our own, by one process at a time."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from comflowy_nb.errors import ImageError
from comflowy_nb.workflow.files.atomic import atomic_write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from comflowy_nb.services.base import ImageStream

__all__ = [
    "TOKEN",
    "assert_inside",
    "hand_on",
    "only_one",
    "plain_disk_errors",
    "receive",
    "stem_of",
    "write_file",
]

TOKEN = re.compile(r"[0-9A-Za-z-]{1,64}")


def receive(stream: ImageStream, part: Path, max_bytes: int) -> str:
    """Stream into a file; the sha256 of what came."""
    with part.open("wb", buffering=0) as file:
        return hand_on(stream, max_bytes, lambda chunk: _write_all(file, chunk))


def write_file(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    with atomic_write(path) as part:
        part.write_bytes(content)


def hand_on(stream: ImageStream, max_bytes: int, put: Callable[[bytes], object]) -> str:
    """Hand on every piece of a stream; the sha256 of what came.

    Raises
    ------
    ImageError
        If it is cut short, empty, or larger than `max_bytes`.
    ServiceError
        If the connection breaks.
    """
    expected = stream.length
    if expected is not None and expected > max_bytes:
        raise ImageError(_too_large(max_bytes))
    digest, came = hashlib.sha256(), 0
    for chunk in stream.chunks():
        came += len(chunk)
        if came > max_bytes:
            raise ImageError(_too_large(max_bytes))
        digest.update(chunk)
        put(chunk)
    if expected is not None and came != expected:
        raise ImageError(f"the image was cut short: {came} of {expected} bytes came")
    if came == 0:
        raise ImageError("the image was empty")
    return digest.hexdigest()


def _write_all(file: Any, chunk: bytes) -> None:
    left = memoryview(chunk)
    while left:
        left = left[file.write(left) :]


def _too_large(max_bytes: int) -> str:
    return f"the image is larger than {max_bytes / 2**20:g} MiB (%config Comflowy.image_max_bytes)"


def stem_of(token: str, index: int) -> str:
    """Name of an output's file without its ending: nothing of it comes from the service."""
    if not TOKEN.fullmatch(token) or index < 0:
        raise ImageError("the run's token can't be a file's name")
    return f"{token}_{index}"


def assert_inside(path: Path, folder: Path) -> None:
    """Raise a ImageError if a file would not be in the images' folder."""
    if not os.path.realpath(path).startswith(_real(str(folder)) + os.sep):
        raise ImageError("the image's file would be outside the images' folder")


@lru_cache(maxsize=8)
def _real(folder: str) -> str:
    return os.path.realpath(folder)


@contextlib.contextmanager
def only_one(path: Path, timeout_s: float) -> Iterator[None]:
    """Hold a lock file, which another process that receives the same may hold; it is gone afterwards."""
    lock = FileLock(path, timeout=timeout_s, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        raise ImageError("another process is still receiving the same image") from None
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
        lock.release()
        with contextlib.suppress(OSError):  # where an open file can't be removed
            path.unlink()


@contextlib.contextmanager
def plain_disk_errors() -> Iterator[None]:
    """Turn an error of the disk into a ImageError that says it plainly."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            why = "the disk is full"
        elif error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
            why = "the images' folder can't be written to"
        else:
            why = error.strerror or type(error).__name__
        raise ImageError(f"the image can't be kept: {why}") from error
