"""The history's file: how it is opened, brought up to date, read and written.

All SQLite errors end here, as `HistoryError` in plain words.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import stat
import threading
import time
import uuid
import weakref
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from comflowy_nb.database.schema import STEPS, VERSION
from comflowy_nb.errors import HistoryError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["FILE_NAME", "VERSION", "Store", "make_folder"]

FILE_NAME = "history.sqlite"
_LOG_TAILS = ("-wal", "-shm", "-journal")
_TAILS = ("", "-wal", "-shm")  # of the files that all processes share while they use the history
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


def make_private(folder: Path, called: str) -> tuple[str, ...]:
    """Take a folder's permissions away from group and others; a warning for the user where that fails.

    A folder of another user, or one with the sticky bit such as /tmp, is meant to be shared and is left alone.
    """
    if os.name != "posix" or not folder.is_dir():
        return ()
    found = folder.stat()
    if not found.st_mode & 0o077:
        return ()
    if found.st_uid == os.geteuid() and not found.st_mode & stat.S_ISVTX:
        with contextlib.suppress(OSError):
            folder.chmod(0o700)
        if not folder.stat().st_mode & 0o077:
            return ()
    return (
        f"other users of this machine can open the {called} (mode {stat.S_IMODE(found.st_mode):04o}): chmod 700 it",
    )


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
        self._lent = 0  # connections that threads use right now
        self._pool = threading.Lock()
        self._writing = threading.Lock()  # threads queue here, instead of asking SQLite again and again
        self._files: tuple[_Identity | None, ...] = ()  # those that are open; after a fork only the first is known
        self._is_forked_in_use = False
        self._closed = False
        try:
            make_folder(folder)
            self.remarks += make_private(folder, "home folder")
            self.remarks += make_private(folder / "sandbox", "folder sandbox in the home folder, which has a key in it")
            # One process at a time looks at the file and sets it aside if it is damaged: the second finds a good one.
            with FileLock(folder / "history.lock", timeout=2 * BUSY_S):
                self._begin()
        except (OSError, NotImplementedError) as error:
            why = getattr(error, "strerror", None) or type(error).__name__
            raise HistoryError(f"the history can't be opened in the home folder: {why}") from error
        except Timeout as error:
            raise HistoryError("the history can't be opened: another process has kept it locked") from error
        _stores.add(self)

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
            self._check_files()
            yield connection
            connection.execute("COMMIT")

    def leave_to_parent(self) -> None:
        """Start afresh in a forked child: SQLite's connections and the locks of other threads are of no use there."""
        self._pool, self._writing = threading.Lock(), threading.Lock()
        self._is_forked_in_use = self._lent > 0
        if not self._is_forked_in_use:  # else SQLite itself may be in the midst of something
            # The parent's locks on the file are not shared with a child, so that closing frees none of them.
            for connection in self._idle:
                connection.close()
            self._idle = []
            self._files = self._files[:1]  # the log goes with the last connection of all processes

    def close(self) -> None:
        with self._pool:
            self._closed = True
            connections, self._idle = self._idle, []
        for connection in connections:
            connection.close()

    # -- opening ------------------------------------------------------------------------------------------------

    def _begin(self) -> None:
        for left in self.folder.glob(f"{FILE_NAME}.*.new*"):  # only one process at a time makes one
            left.unlink()
        for _ in range(2):
            try:
                if not self.path.exists():
                    if any((self.folder / f"{FILE_NAME}{tail}").exists() for tail in _LOG_TAILS):
                        self._set_aside(None)  # SQLite would put the old log's pages into the new file
                    self._make()
                # SQLite takes a file without content for a new one, and removes the log beside it.
                connection = _connect(self.path) if self.path.stat().st_size else None
            except sqlite3.Error as error:
                raise _plain(error, "opened") from error
            if connection is None:
                self._set_aside(None)
                continue
            try:
                self._prepare(connection)
                self._note_files(connection)
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

    def _make(self) -> None:
        """Make a new file, which appears whole: so one without tables is always a damaged one."""
        part = self.folder / f"{FILE_NAME}.{uuid.uuid4().hex}.new"
        try:
            # Made with the person's rights alone; the files SQLite adds beside it take after it.
            os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            with contextlib.closing(_connect(part)) as connection:
                _bring_up_to_date(connection, 0)
            part.rename(self.path)
        finally:
            part.unlink(missing_ok=True)

    def _prepare(self, connection: sqlite3.Connection) -> None:
        version = _check(connection)
        self._set_journal(connection)
        if version < VERSION:
            _bring_up_to_date(connection, version)

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

    def _set_aside(self, connection: sqlite3.Connection | None) -> None:
        stamp = time.strftime("%Y%m%d-%H%M%S")
        name, n = f"{FILE_NAME}.damaged-{stamp}", 1
        while (self.folder / name).exists():
            n += 1
            name = f"{FILE_NAME}.damaged-{stamp}-{n}"
        # Before the connection is closed, for that removes the log; where an open file can't be renamed, after it.
        try:
            self._rename(name)
        except PermissionError:
            if connection is None:
                raise
            connection.close()
            self._rename(name)
        if connection is not None:
            connection.close()
        remark = (
            f"the history was damaged: it is set aside as {name} in the home folder and a new one is begun. The "
            "images are still there, but what was run before is not known any more"
        )
        self.remarks += (remark,)

    def _rename(self, name: str) -> None:
        for tail in (*_LOG_TAILS, ""):
            with contextlib.suppress(FileNotFoundError):
                (self.folder / f"{FILE_NAME}{tail}").rename(self.folder / f"{name}{tail}")

    def _note_files(self, connection: sqlite3.Connection) -> None:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()  # opens the log
        self._files = self._identify()

    def _identify(self) -> tuple[_Identity | None, ...]:
        return tuple(_identity(self.folder / f"{FILE_NAME}{tail}", may_be_empty=bool(tail)) for tail in _TAILS)

    def _check_files(self) -> None:
        """Raise a HistoryError if the open files are not those in the home folder: no other process sees them then."""
        if any(opened not in (None, found) for opened, found in zip(self._files, self._identify(), strict=False)):
            raise HistoryError(
                f"the history can't be used: {FILE_NAME} was deleted, moved or replaced in the home folder while this "
                "process used it; put it back, or restart the kernel to go on with what is there now"
            )

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
            if self._is_forked_in_use:
                raise HistoryError(
                    "the history can't be used in this process: it was forked while another thread used the history. "
                    'Start it with multiprocessing.get_context("spawn")'
                )
            self._lent += 1
            if self._idle:
                return self._idle.pop()
        try:
            return self._connect_again()
        except BaseException:
            with self._pool:
                self._lent -= 1
            raise

    def _connect_again(self) -> sqlite3.Connection:
        self._check_files()  # SQLite would make a new file, or open another one
        connection = _connect(self.path)
        if len(self._files) < len(_TAILS):
            self._note_files(connection)
        return connection

    def _put_back(self, connection: sqlite3.Connection) -> None:
        if connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        with self._pool:
            self._lent -= 1
            if not self._closed:
                self._idle.append(connection)
                return
        connection.close()


_Identity = tuple[int, int]  # device and inode


def _identity(path: Path, *, may_be_empty: bool) -> _Identity | None:
    """Which file has that name; None if there is none, or one without content that must have some."""
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_dev, found.st_ino) if found.st_size or may_be_empty else None


_stores: weakref.WeakSet[Store] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for store in _stores:
        store.leave_to_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def _bring_up_to_date(connection: sqlite3.Connection, version: int) -> None:
    """Give a file of that version the tables it has not had yet."""
    connection.executescript(f"BEGIN IMMEDIATE; {''.join(STEPS[version:])} PRAGMA user_version = {VERSION}; COMMIT;")


def _check(connection: sqlite3.Connection) -> int:
    """The version of the tables."""
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > VERSION:
        raise HistoryError(
            f"the history ({FILE_NAME}) was written by a newer comflowy_nb: pip install -U comflowy_nb, or set "
            "COMFLOWY_HOME to another folder"
        )
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise _Damaged(found)
    if version < 1:
        raise _Damaged("no history")  # every history was written with its version
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
