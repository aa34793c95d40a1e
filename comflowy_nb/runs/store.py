"""The history's file: how it is opened, brought up to date, read and written.

All SQLite errors end here, as `HistoryError` in plain words.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import threading
import time
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from comflowy_nb.errors import HistoryError
from comflowy_nb.runs.tables import STEPS, VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["FILE_NAME", "VERSION", "Store", "make_folder"]

FILE_NAME = "history.sqlite"
BUSY_S = 10.0  # longest wait for another process that writes

_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_WORDS = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_READONLY: "the home folder can't be written to",
    sqlite3.SQLITE_PERM: "the home folder can't be written to",
    sqlite3.SQLITE_CANTOPEN: "its file can't be opened or made in the home folder",
    sqlite3.SQLITE_BUSY: f"another process has kept it locked for {BUSY_S:g} s",
    sqlite3.SQLITE_LOCKED: f"another process has kept it locked for {BUSY_S:g} s",
    sqlite3.SQLITE_IOERR: "the disk can't be read or written",
    sqlite3.SQLITE_CORRUPT: "its file is damaged; restart the kernel, and the file is set aside",
    sqlite3.SQLITE_NOTADB: "its file is damaged; restart the kernel, and the file is set aside",
}


def make_folder(folder: Path) -> None:
    """Make a folder, and those above it that are missing, for this person alone."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from None


class Store:
    """One SQLite file, used by any number of threads and processes at once.

    Parameters
    ----------
    folder
        The home folder; made, for this person alone, if it isn't there.

    Raises
    ------
    HistoryError
        If the file is newer than this version, or can't be read and written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / FILE_NAME
        self.remarks: tuple[str, ...] = ()
        self._idle: list[sqlite3.Connection] = []
        self._inherited: list[sqlite3.Connection] = []
        self._pool = threading.Lock()
        self._writing = threading.Lock()  # threads queue here, instead of asking SQLite again and again
        self._process = os.getpid()
        self._closed = False
        try:
            make_folder(folder)
            # One process at a time looks at the file and sets it aside if it is damaged: the second finds a good one.
            with FileLock(folder / "history.lock", timeout=2 * BUSY_S):
                self._begin()
        except (OSError, NotImplementedError) as error:
            why = getattr(error, "strerror", None) or type(error).__name__
            raise HistoryError(f"the history can't be opened in the home folder: {why}") from error
        except Timeout as error:
            raise HistoryError("the history can't be opened: another process has kept it locked") from error

    @contextlib.contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees one moment of the history."""
        with self._borrow("read") as connection:
            connection.execute("BEGIN")
            yield connection
            connection.execute("COMMIT")

    @contextlib.contextmanager
    def write(self, *, full: bool = False) -> Iterator[sqlite3.Connection]:
        """One immediate transaction, committed at the end of the block, undone by any error in it.

        Parameters
        ----------
        full
            Whether the disk itself must have it before this returns, so that even a power cut loses nothing.
        """
        with self._writing, self._borrow("written") as connection:
            connection.execute(f"PRAGMA synchronous = {'FULL' if full else 'NORMAL'}")  # refused inside a transaction
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")

    def close(self) -> None:
        with self._pool:
            self._closed = True
            connections, self._idle = self._idle, []
        for connection in connections:
            connection.close()

    # -- opening ------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        for _ in range(2):
            # Made with the person's rights alone; the files SQLite adds beside it take after it.
            with contextlib.suppress(FileExistsError):
                os.close(os.open(self.path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            try:
                connection = _connect(self.path)
            except sqlite3.Error as error:
                raise _plain(error, "opened") from error
            try:
                self._prepare(connection)
            except sqlite3.Error as error:
                if _code(error) in _DAMAGED:
                    self._set_aside(connection)
                    continue
                connection.close()
                raise _plain(error, "opened") from error
            except BaseException:
                connection.close()
                raise
            self._idle.append(connection)
            return
        raise HistoryError("the history can't be opened: a new file in the home folder is damaged at once")

    def _prepare(self, connection: sqlite3.Connection) -> None:
        version = _check(connection)
        self._set_journal(connection)
        if version < VERSION:
            steps = "".join(STEPS[version:])
            connection.executescript(f"BEGIN IMMEDIATE; {steps} PRAGMA user_version = {VERSION}; COMMIT;")

    def _set_journal(self, connection: sqlite3.Connection) -> None:
        try:
            mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        except sqlite3.OperationalError as error:
            if _code(error) in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_BUSY} | _DAMAGED:
                raise
            mode = "none"
        if mode != "wal":
            connection.execute("PRAGMA journal_mode = DELETE")
            self.remarks += (
                "the home folder's disk takes no write-ahead log: the history uses SQLite's slower journal",
            )

    def _set_aside(self, connection: sqlite3.Connection) -> None:
        stamp = time.strftime("%Y%m%d-%H%M%S")
        name, n = f"{FILE_NAME}.damaged-{stamp}", 1
        while (self.folder / name).exists():
            n += 1
            name = f"{FILE_NAME}.damaged-{stamp}-{n}"
        # Before the connection is closed, for that removes the log; where an open file can't be renamed, after it.
        try:
            self._rename(name)
        except PermissionError:
            connection.close()
            self._rename(name)
        connection.close()
        remark = (
            f"the history was damaged: it is set aside as {name} in the home folder and a new one is begun. The "
            "pictures are still there, but what was run before is not known any more"
        )
        self.remarks += (remark,)

    def _rename(self, name: str) -> None:
        for tail in ("-wal", "-shm", "-journal", ""):
            with contextlib.suppress(FileNotFoundError):
                (self.folder / f"{FILE_NAME}{tail}").rename(self.folder / f"{name}{tail}")

    # -- connections --------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _borrow(self, verb: str) -> Iterator[sqlite3.Connection]:
        try:
            connection = self._take()
            try:
                yield connection
            finally:
                self._put_back(connection)
        except sqlite3.Error as error:
            raise _plain(error, verb) from error

    def _take(self) -> sqlite3.Connection:
        with self._pool:
            if self._closed:
                raise HistoryError("the history is closed")
            if self._process != os.getpid():  # a connection must not be used, nor closed, on the far side of a fork
                self._process, self._inherited, self._idle = os.getpid(), self._idle, []
            if self._idle:
                return self._idle.pop()
        return _connect(self.path)

    def _put_back(self, connection: sqlite3.Connection) -> None:
        if connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        with self._pool:
            if not self._closed and self._process == os.getpid():
                self._idle.append(connection)
                return
        connection.close()


def _check(connection: sqlite3.Connection) -> int:
    """The version of the tables: 0 in a new file."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > VERSION:
        raise HistoryError(
            f"the history ({FILE_NAME}) was written by a newer comflowy_nb: pip install -U comflowy_nb, or set "
            "COMFLOWY_HOME to another folder"
        )
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise _Damaged(found)
    return version


class _Damaged(sqlite3.DatabaseError):
    sqlite_errorcode = sqlite3.SQLITE_CORRUPT


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    return connection


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF  # the primary code: the rest of the bits only refine it


def _plain(error: sqlite3.Error, verb: str) -> HistoryError:
    why = _WORDS.get(_code(error)) or str(error)
    return HistoryError(f"the history can't be {verb}: {why}")
