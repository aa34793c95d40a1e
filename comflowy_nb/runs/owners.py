"""Who follows a run: each client holds a lock file, and its name stands in the rows of its runs.

The operating system frees the lock however the process ends, so a free lock means that the owner is gone. A name is
used once, ever: an owner found dead stays dead.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
import uuid
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from comflowy_nb.errors import HistoryError
from comflowy_nb.runs.store import make_folder

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

__all__ = ["Owner", "clean_locks", "is_alive"]

_NAME = re.compile(r"[0-9a-f]{32}")
_PROBES = 2
_PROBE_GAP_S = 0.002

_ours: dict[str, int] = {}  # name -> process: what this process holds needs no probing


class Owner:
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
        _ours[self.name] = os.getpid()

    def release(self) -> None:
        """Let go: whatever this owner still followed may be taken up by another."""
        _ours.pop(self.name, None)
        # The file goes while the lock is held, so that nobody sees a free lock that is about to vanish.
        with contextlib.suppress(OSError):
            self._path.unlink()
        self._lock.release()
        with contextlib.suppress(OSError):  # where an open file can't be removed
            self._path.unlink()

    def __repr__(self) -> str:
        return f"<Owner {self.name[:8]}>"


def is_alive(folder: Path, name: str) -> bool:
    """Whether the owner of that name still holds its lock."""
    if not _NAME.fullmatch(name):
        return False
    if _ours.get(name) == os.getpid():
        return True
    path = folder / f"{name}.lock"
    # Two that ask about a dead owner at one moment see each other's hold of its lock: so a held lock is looked at
    # again, and the first to get it removes the file.
    for probe in range(_PROBES):
        if probe:
            time.sleep(_PROBE_GAP_S)
        if not path.exists():
            return False
        lock = FileLock(path, timeout=0, thread_local=False)
        try:
            lock.acquire()
        except Timeout:
            continue
        except (OSError, NotImplementedError):
            return True  # nothing is known: what may be followed is left alone
        _remove(path, lock)
        return False
    return True


def clean_locks(folder: Path, keep: Collection[str]) -> None:
    """Remove the lock files of owners that are gone, but for those named in `keep`."""
    with contextlib.suppress(OSError):
        for path in folder.glob("*.lock"):
            if path.stem not in keep and _NAME.fullmatch(path.stem):
                is_alive(folder, path.stem)


def _hold(path: Path) -> FileLock:
    # Somebody who cleans up may get the lock between the file's making and our hold, and remove the file: begin again.
    while True:
        lock = FileLock(path, timeout=10, thread_local=False)
        lock.acquire()
        if path.exists():
            return lock
        lock.release()


def _remove(path: Path, lock: FileLock) -> None:
    with contextlib.suppress(OSError):
        path.unlink()
    lock.release()
    with contextlib.suppress(OSError):
        path.unlink()


def _why(error: BaseException) -> str:
    return getattr(error, "strerror", None) or type(error).__name__
