"""Who follows a run: each client holds a lock file, and its name stands in the rows of its runs.

The operating system frees the lock however the process ends, so a free lock means that the owner is gone. A name is
used once, ever: an owner found dead stays dead.
"""

from __future__ import annotations

import contextlib
import os
import re
import uuid
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from comflowy_nb.database.connection import make_folder
from comflowy_nb.errors import ComflowyError, HistoryError

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

__all__ = ["ProcessLock", "check_not_forked", "clean_locks", "is_alive", "remove_free_locks"]

_NAME = re.compile(r"[0-9a-f]{32}")
_PROBING = "probing.lock"
_PROBING_S = 2.0  # to wait for others who probe; each is done in far less than a millisecond

_ours: dict[str, int] = {}  # name -> process: what this process holds needs no probing


class ProcessLock:
    """A client's lock, held from the beginning until `release` or the end of the process.

    Parameters
    ----------
    folder
        Where the lock files are: `locks` in the home folder.

    Raises
    ------
    HistoryError
        If no lock can be made there.
    """

    def __init__(self, folder: Path) -> None:
        self.name = uuid.uuid4().hex
        self._path = folder / f"{self.name}.lock"
        try:
            make_folder(folder)
            self._lock = _hold(self._path)
        except (OSError, NotImplementedError) as error:
            raise HistoryError(f"no lock file can be made in the home folder: {_why(error)}") from error
        self._process = _ours[self.name] = os.getpid()

    @property
    def is_of_this_process(self) -> bool:
        """Whether this process holds the lock; a forked child has the object alone."""
        return self._process == os.getpid()

    def release(self) -> None:
        """Let go: whatever this owner still followed may be taken up by another. Nothing happens in a forked child."""
        if not self.is_of_this_process:
            return
        _ours.pop(self.name, None)
        # The file goes while the lock is held, so that nobody sees a free lock that is about to vanish.
        with contextlib.suppress(OSError):
            self._path.unlink()
        self._lock.release()
        with contextlib.suppress(OSError):  # where an open file can't be removed
            self._path.unlink()

    def __repr__(self) -> str:
        return f"<Owner {self.name[:8]}>"


def check_not_forked(process: int, what: str) -> None:
    """Raise a ComflowyError in a process that was forked from the one of that number, which has none of its threads."""
    if os.getpid() != process:
        raise ComflowyError(
            f"{what} can't be used in a process forked from the one that connected; connect in this one"
        )


def is_alive(folder: Path, name: str) -> bool:
    """Whether the owner of that name still holds its lock."""
    if not _NAME.fullmatch(name):
        return False
    if _ours.get(name) == os.getpid():
        return True
    path = folder / f"{name}.lock"
    if not path.exists():
        return False
    try:
        # One at a time, of all processes: two that ask about a dead owner would see each other's hold of its lock.
        probing = FileLock(folder / _PROBING, timeout=_PROBING_S, thread_local=False)
        with probing.acquire(poll_interval=0.001):
            return not _remove_if_free(path)
    except (Timeout, OSError, NotImplementedError):
        return True  # nothing is known: what may be followed is left alone


def clean_locks(folder: Path, keep: Collection[str]) -> None:
    """Remove the lock files of owners that are gone, but for those named in `keep`."""
    with contextlib.suppress(OSError):
        for path in folder.glob("*.lock"):
            if path.stem not in keep and _NAME.fullmatch(path.stem):
                is_alive(folder, path.stem)


def remove_free_locks(folder: Path) -> None:
    """Remove all lock files of a folder that no process holds."""
    for path in folder.glob("*.lock"):
        with contextlib.suppress(OSError, NotImplementedError):
            _remove_if_free(path)


def _hold(path: Path) -> FileLock:
    # Somebody who cleans up may get the lock between the file's making and our hold, and remove the file: begin again.
    while True:
        lock = FileLock(path, timeout=10, thread_local=False)
        lock.acquire()
        if path.exists():
            return lock
        lock.release()


def _remove_if_free(path: Path) -> bool:
    """Remove a lock file that nobody holds; False if somebody does."""
    if not path.exists():
        return True
    lock = FileLock(path, timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        return False
    with contextlib.suppress(OSError):
        path.unlink()
    lock.release()
    with contextlib.suppress(OSError):  # where an open file can't be removed
        path.unlink()
    return True


def _why(error: BaseException) -> str:
    return getattr(error, "strerror", None) or type(error).__name__
