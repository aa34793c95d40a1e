"""Atomic writes: a file is written as a locked `*.part` beside its target and renamed when complete.

Leftover `*.part` files of dead processes are recognised by their lock being free.
"""

from __future__ import annotations

import contextlib
import os
import sys
import uuid
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["atomic_write", "locked_file", "remove_leftovers", "write_text"]

if sys.platform != "win32":  # Windows does not remove an open file
    import fcntl


@contextlib.contextmanager
def atomic_write(path: Path, *, mode: int = 0o666) -> Iterator[Path]:
    """Yield a temporary path; rename it to `path` if the block succeeds, delete it if the block raises."""
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    with locked_file(part, mode=mode):
        yield part
        part.replace(path)


@contextlib.contextmanager
def locked_file(part: Path, *, mode: int = 0o666) -> Iterator[None]:
    """Create a file and lock it against `remove_leftovers` while the block writes it; delete it if the block raises."""
    descriptor = _create_and_lock(part, mode)
    try:
        yield
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    finally:
        if descriptor is not None:
            os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically and flush it to disk: readers see the old or the new content.

    Raises
    ------
    OSError
        If the file can't be written; the old content is unchanged.
    """
    path = path.resolve()  # keep a symbolic link
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path, mode=0o600) as part:
        with part.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        part.chmod(path.stat().st_mode & 0o777 if path.exists() else 0o644)


def remove_leftovers(folder: Path, pattern: str = "*.part") -> None:
    """Remove the files matching `pattern` that no live process is writing."""
    for part in folder.glob(pattern):
        if not part.is_file():
            continue
        with contextlib.suppress(OSError):  # removed or locked by another process
            _remove_if_unlocked(part)


if sys.platform == "win32":

    def _create_and_lock(_part: Path, _mode: int) -> int | None:
        return None

    def _remove_if_unlocked(part: Path) -> None:
        part.unlink()

else:

    def _create_and_lock(part: Path, mode: int) -> int | None:
        while True:
            descriptor = os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR, mode)
            with contextlib.suppress(OSError):  # no lock support: `remove_leftovers` fails to lock too, and skips it
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if part.exists():
                return descriptor
            os.close(descriptor)  # another process removed it as a leftover before it was locked

    def _remove_if_unlocked(part: Path) -> None:
        descriptor = os.open(part, os.O_RDWR | os.O_NOFOLLOW)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            part.unlink()
        finally:
            os.close(descriptor)
