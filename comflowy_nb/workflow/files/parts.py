"""Files that appear whole: each is written as `*.part` beside its place, and removed later if its writer dies."""

from __future__ import annotations

import contextlib
import os
import sys
import uuid
from typing import TYPE_CHECKING

if sys.platform != "win32":  # where an open file can't be removed anyway
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["appearing", "being_written", "remove_left"]


@contextlib.contextmanager
def appearing(path: Path, *, mode: int = 0o666) -> Iterator[Path]:
    """Where to write a file: it appears under its own name, whole, when the block ends well, and else not at all."""
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    with being_written(part, mode=mode):
        yield part
        part.replace(path)


@contextlib.contextmanager
def being_written(part: Path, *, mode: int = 0o666) -> Iterator[None]:
    """Make a new file and lock it against `remove_left` while the block writes it; an error removes the file."""
    descriptor = _make_and_lock(part, mode)
    try:
        yield
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    finally:
        if descriptor is not None:
            os.close(descriptor)


def remove_left(folder: Path, pattern: str = "*.part") -> None:
    """Remove the files of that pattern that no living process is writing."""
    for part in folder.glob(pattern):
        if not part.is_file():
            continue
        with contextlib.suppress(OSError):  # another process was quicker, or is writing it
            _remove_if_left(part)


if sys.platform == "win32":

    def _make_and_lock(_part: Path, _mode: int) -> int | None:
        return None

    def _remove_if_left(part: Path) -> None:
        part.unlink()

else:

    def _make_and_lock(part: Path, mode: int) -> int | None:
        while True:
            descriptor = os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR, mode)
            with contextlib.suppress(OSError):  # a disk without locks: `remove_left` can't lock either, and gives up
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if part.exists():
                return descriptor
            os.close(descriptor)  # it was taken for a file that was left, before it was locked

    def _remove_if_left(part: Path) -> None:
        descriptor = os.open(part, os.O_RDWR | os.O_NOFOLLOW)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            part.unlink()
        finally:
            os.close(descriptor)
