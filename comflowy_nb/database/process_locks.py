"""Process locks: each client holds a lock file, whose name its runs store as their owner.

The operating system releases a lock when its process ends for any reason, so a free lock means that the owner has died.
A name is used only once, so a dead owner never becomes alive again.
"""

from __future__ import annotations

import contextlib
import os
import re
import uuid
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from comflowy_nb.database.connection import make_folder
from comflowy_nb.errors import ComflowyError, HistoryError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path


PROBE_LOCK = "probing.lock"
PROBE_TIMEOUT_S = 2.0  # maximum wait for the probes of other processes, which take much less than a millisecond
_NAME = re.compile(r"[0-9a-f]{32}")

_held_here: dict[str, int] = {}  # name -> process id: locks of this process, which need no probe


class ProcessLock:
    """The lock of a client, held until `release` or the end of the process.

    Parameters
    ----------
    folder
        The folder of the lock files: `locks` in the home folder.

    Raises
    ------
    HistoryError
        If the lock file can't be created.
    """

    def __init__(self, folder: Path) -> None:
        self.name = uuid.uuid4().hex
        self._path = folder / f"{self.name}.lock"
        try:
            make_folder(folder)
            self._lock = _hold(self._path)
        except (OSError, NotImplementedError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise HistoryError(
                f"can't create a lock file in the home folder: {reason}; set COMFLOWY_HOME to a folder that you can "
                "write to"
            ) from error
        self._process = _held_here[self.name] = os.getpid()

    def release(self) -> None:
        """Release the lock. Other processes may then adopt this owner's runs. Does nothing in a forked child."""
        if self._process != os.getpid():
            return
        _held_here.pop(self.name, None)
        unlink_and_release(self._path, self._lock)

    def __repr__(self) -> str:
        return f"<ProcessLock {self.name[:8]}>"


class _OwnLock(FileLock):
    """A lock that only the process that acquired it releases.

    A forked child inherits the lock. filelock 3.19 and earlier release it at the end of the child, for the parent too.
    """

    process = 0

    def acquire(self, *args: Any, **options: Any) -> Any:
        self.process = os.getpid()
        return super().acquire(*args, **options)

    def release(self, force: bool = False) -> None:  # noqa: FBT001, FBT002 - as in the base class
        if self.process == os.getpid():
            super().release(force)


def check_not_forked(process: int, label: str) -> None:
    """Raise a ComflowyError in a process other than `process`: a forked child does not have its parent's threads."""
    if os.getpid() != process:
        raise ComflowyError(
            f"{label} can't be used in a process forked from the one that connected; connect in this one"
        )


def is_alive(folder: Path, name: str) -> bool:
    """Return True if the owner of this name still holds its lock, or if the lock can't be probed."""
    if not _NAME.fullmatch(name):
        return False
    if _held_here.get(name) == os.getpid():
        return True
    path = folder / f"{name}.lock"
    if not path.exists():
        return False
    try:
        # Serialise lock probes: two concurrent probes of a dead owner would each see the other's hold of its lock.
        probe = FileLock(folder / PROBE_LOCK, timeout=PROBE_TIMEOUT_S, thread_local=False)
        with probe.acquire(poll_interval=0.001):
            return not _remove_if_free(path)
    except (Timeout, OSError, NotImplementedError):
        return True  # unknown: a run that may have an owner is not adopted


def is_alive_in(folders: Iterable[Path], name: str) -> bool:
    """Return True if the owner of this name holds its lock in one of several folders."""
    return any(is_alive(folder, name) for folder in folders)


def dead_owners(folder: Path, owners: Iterable[str]) -> set[str]:
    """Return the owners that have died.

    Never call this function within a transaction: a probe can take seconds. A later transaction need only compare
    names, because a name is used only once.
    """
    return {owner for owner in owners if not is_alive(folder, owner)}


def clean_locks(folder: Path, keep: Collection[str]) -> None:
    """Remove the lock files of dead owners, except those named in `keep`."""
    with contextlib.suppress(OSError):
        for path in folder.glob("*.lock"):
            if path.stem not in keep and _NAME.fullmatch(path.stem):
                is_alive(folder, path.stem)


def remove_free_locks(folder: Path) -> None:
    """Remove each lock file in `folder` that is not held by a process."""
    for path in folder.glob("*.lock"):
        with contextlib.suppress(OSError, NotImplementedError):
            _remove_if_free(path)


def _hold(path: Path) -> FileLock:
    # A process that cleans up may take the lock between the file's creation and our lock, and remove the file: retry.
    while True:
        lock = _OwnLock(path, timeout=10, thread_local=False)
        lock.acquire()
        if path.exists():
            return lock
        lock.release()


def _remove_if_free(path: Path) -> bool:
    """Remove a lock file that no process holds; return False if a process does."""
    if not path.exists():
        return True
    lock = FileLock(path, timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        return False
    unlink_and_release(path, lock)
    return True


def unlink_and_release(path: Path, lock: FileLock) -> None:
    """Remove a lock file, and release its lock."""
    # The file is removed while the lock is held, so that no process sees a free lock that is about to disappear.
    with contextlib.suppress(OSError):
        path.unlink()
    lock.release()
    with contextlib.suppress(OSError):  # where an open file can't be removed
        path.unlink()
