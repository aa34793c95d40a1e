"""Create, check, open, read and write the SQLite file of the history.

This module translates SQLite errors to `HistoryError`.
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
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from filelock import FileLock, Timeout

from comflowy_nb.database.migrations import MIGRATIONS, VERSION
from comflowy_nb.database.value_index import add_functions
from comflowy_nb.errors import HistoryError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


P = ParamSpec("P")
T = TypeVar("T")

FILE_NAME = "history.sqlite"
BUSY_TIMEOUT_S = 10.0  # maximum wait for another process that writes

_LOG_SUFFIXES = ("-wal", "-shm", "-journal")
_SHARED_SUFFIXES = ("", "-wal", "-shm")  # suffixes of the files that all processes share
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
_READ_ONLY = "the home folder can't be written to"
_BUSY = f"another process has kept it locked for {BUSY_TIMEOUT_S:g} s"
_DAMAGED_FILE = "its file is damaged; restart the kernel, and the file is set aside"
_REASONS = {
    sqlite3.SQLITE_FULL: "the disk is full",
    sqlite3.SQLITE_READONLY: _READ_ONLY,
    sqlite3.SQLITE_PERM: _READ_ONLY,
    sqlite3.SQLITE_CANTOPEN: "its file can't be opened or created in the home folder",
    sqlite3.SQLITE_BUSY: _BUSY,
    sqlite3.SQLITE_LOCKED: _BUSY,
    sqlite3.SQLITE_IOERR: "the disk can't be read or written",
    sqlite3.SQLITE_CORRUPT: _DAMAGED_FILE,
    sqlite3.SQLITE_NOTADB: _DAMAGED_FILE,
}


def make_folder(folder: Path) -> None:
    """Create a folder and its missing parents, with access for this user only."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    try:
        folder.mkdir(mode=0o700)
    except FileExistsError:
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR)) from None


def _make_private(folder: Path, label: str) -> tuple[str, ...]:
    """Remove the permissions of group and others from a folder; return a warning if that fails.

    A folder of another user, or a folder with the sticky bit such as /tmp, is not changed, because it is shared.
    """
    if os.name != "posix" or not folder.is_dir():
        return ()
    status = folder.stat()
    if not status.st_mode & 0o077:
        return ()
    if status.st_uid == os.geteuid() and not status.st_mode & stat.S_ISVTX:
        with contextlib.suppress(OSError):
            folder.chmod(0o700)
    if not folder.stat().st_mode & 0o077:
        return ()
    mode = stat.S_IMODE(status.st_mode)
    return (f"other users of this machine can open the {label} (mode {mode:04o}): chmod 700 it",)


class Store:
    """One SQLite file, used by any number of threads and processes at once.

    Parameters
    ----------
    folder
        The home folder; created, with access for this user only, if it does not exist.

    Raises
    ------
    HistoryError
        If the file is newer than this version, or can't be read and written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / FILE_NAME
        self.locks = folder / "locks"  # lock files of the clients; see process_locks.py
        self.warnings: tuple[str, ...] = ()
        self._idle: list[sqlite3.Connection] = []
        self._in_use = 0  # number of connections in use
        self._pool = threading.Lock()
        self._writing = threading.Lock()  # serialises the writers of this process, which would poll SQLite's lock
        self._files: tuple[_Identity | None, ...] = ()  # the open files; after a fork only the first is known
        self._is_forked_in_use = False
        self._closed = False
        try:
            make_folder(folder)
            self.warnings += _make_private(folder, "home folder")
            self.warnings += _make_private(
                folder / "sandbox", "folder sandbox in the home folder, which has a key in it"
            )
            # Only one process at a time checks the file and renames it if it is damaged.
            with FileLock(folder / "history.lock", timeout=2 * BUSY_TIMEOUT_S):
                self._idle.append(self._open())
        except (OSError, NotImplementedError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            raise HistoryError(f"the history can't be opened in the home folder: {reason}") from error
        except Timeout as error:
            raise HistoryError("the history can't be opened: another process has kept it locked") from error
        _stores.add(self)

    @contextlib.contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Yield a connection within a read transaction, which sees one state of the history."""
        with self._borrow("read") as connection:
            connection.execute("BEGIN")
            yield connection
            connection.execute("COMMIT")

    def rows(self, sql: str, *values: Any) -> list[Any]:
        """Return the rows that one statement selects."""
        with self.read() as connection:
            return connection.execute(sql, values).fetchall()

    def row(self, sql: str, *values: Any) -> Any:
        """Return the first row that one statement selects; None if it selects none."""
        return next(iter(self.rows(sql, *values)), None)

    @contextlib.contextmanager
    def write(self, *, full: bool = False) -> Iterator[sqlite3.Connection]:
        """Yield a connection in a `BEGIN IMMEDIATE` transaction. Commit it at the end; roll it back after an error.

        Parameters
        ----------
        full
            Flush the transaction to the disk, so that it survives a power cut.
        """
        with self._writing, self._borrow("written") as connection:
            # Before BEGIN, because SQLite rejects this pragma in a transaction.
            connection.execute(f"PRAGMA synchronous = {'FULL' if full else 'NORMAL'}")
            connection.execute("BEGIN IMMEDIATE")
            self._check_files()
            yield connection
            connection.execute("COMMIT")

    def reset_after_fork(self) -> None:
        """Reset a forked child: it can't use SQLite's connections, nor locks that other threads held."""
        self._pool, self._writing = threading.Lock(), threading.Lock()
        self._is_forked_in_use = self._in_use > 0
        if not self._is_forked_in_use:  # otherwise SQLite may be in an inconsistent state
            # A child does not share its parent's file locks, so closing releases none of them.
            for connection in self._idle:
                connection.close()
            self._idle = []
            self._files = self._files[:1]  # SQLite removes the log with the last connection of all processes

    def close(self) -> None:
        with self._pool:
            self._closed = True
            connections, self._idle = self._idle, []
        for connection in connections:
            connection.close()

    # -- opening ------------------------------------------------------------------------------------------------

    def _open(self) -> sqlite3.Connection:
        """Return a connection to a checked file. Rename a damaged file and create a new one."""
        # Only one process at a time creates the file, so these files are of a killed process.
        for leftover in self.folder.glob(f"{FILE_NAME}.*.new*"):
            leftover.unlink()
        for _ in range(2):
            connection = None
            try:
                if not self.path.exists():
                    if any((self.folder / f"{FILE_NAME}{suffix}").exists() for suffix in _LOG_SUFFIXES):
                        self._set_aside(None)  # SQLite would write the pages of the old log into the new file
                    self._create()
                connection = _connect(self.path)
                _migrate(connection, _check(self.path, connection))
                self._set_journal(connection)
                self._note_files(connection)
            except BaseException as error:
                if isinstance(error, sqlite3.Error) and _code(error) in _DAMAGED:
                    self._set_aside(connection)
                    continue
                if connection is not None:
                    connection.close()
                if isinstance(error, sqlite3.Error):
                    raise _history_error(error, "opened") from error
                raise
            return connection
        raise HistoryError("the history can't be opened: a new file in the home folder is damaged at once")

    def _create(self) -> None:
        """Create the file under another name first, so that a file without tables is always damaged."""
        part = self.folder / f"{FILE_NAME}.{uuid.uuid4().hex}.new"
        try:
            # Permit access for this user only. The other files of SQLite get the same mode.
            os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            with contextlib.closing(_connect(part)) as connection:
                schema = Path(__file__).with_name("schema.sql").read_text(encoding="utf-8")
                connection.executescript(f"BEGIN IMMEDIATE; {schema} PRAGMA user_version = {VERSION}; COMMIT;")
            part.rename(self.path)
        finally:
            part.unlink(missing_ok=True)

    def _set_journal(self, connection: sqlite3.Connection) -> None:
        try:
            mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        except sqlite3.OperationalError as error:
            if _code(error) in {sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_BUSY} | _DAMAGED:
                raise
            mode = "none"
        if mode != "wal":
            connection.execute("PRAGMA journal_mode = DELETE")
            text = "the home folder does not support a write-ahead log: the history uses SQLite's slower journal"
            self.warnings += (text,)

    def _set_aside(self, connection: sqlite3.Connection | None) -> None:
        """Rename the damaged file and its logs; close the connection to it."""
        name = f"{FILE_NAME}.damaged-{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:8]}"
        # Rename before closing, because closing removes the log. If an open file can't be renamed, close first.
        try:
            self._rename(name)
        except PermissionError:
            if connection is None:
                raise
            connection.close()
            self._rename(name)
        if connection is not None:
            connection.close()
        text = (
            f"the history was damaged: it is set aside as {name} in the home folder, and a new one is created. The "
            "images are still there, but the earlier runs are not known any more"
        )
        self.warnings += (text,)

    def _rename(self, name: str) -> None:
        for suffix in (*_LOG_SUFFIXES, ""):
            with contextlib.suppress(FileNotFoundError):
                (self.folder / f"{FILE_NAME}{suffix}").rename(self.folder / f"{name}{suffix}")

    def _note_files(self, connection: sqlite3.Connection) -> None:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()  # opens the log
        self._files = self._identify()

    def _identify(self) -> tuple[_Identity | None, ...]:
        return tuple(
            _identity(self.folder / f"{FILE_NAME}{suffix}", may_be_empty=bool(suffix)) for suffix in _SHARED_SUFFIXES
        )

    def _check_files(self) -> None:
        """Raise a HistoryError if the files in the home folder were replaced after they were opened."""
        if any(opened not in (None, current) for opened, current in zip(self._files, self._identify(), strict=False)):
            raise HistoryError(
                f"the history can't be used: {FILE_NAME} was deleted, moved or replaced in the home folder while this "
                "process used it; put it back, or restart the kernel to continue with the present file"
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
            raise _history_error(error, verb) from error

    def _take(self) -> sqlite3.Connection:
        with self._pool:
            if self._closed:
                raise HistoryError("the history is closed")
            if self._is_forked_in_use:
                raise HistoryError(
                    "the history can't be used in this process: it was forked while another thread used the history. "
                    'Start it with multiprocessing.get_context("spawn")'
                )
            self._in_use += 1
            if self._idle:
                return self._idle.pop()
        try:
            self._check_files()  # SQLite would create a new file, or open another one
            connection = _connect(self.path)
            if len(self._files) < len(_SHARED_SUFFIXES):
                self._note_files(connection)
        except BaseException:
            with self._pool:
                self._in_use -= 1
            raise
        return connection

    def _put_back(self, connection: sqlite3.Connection) -> None:
        if connection.in_transaction:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
        with self._pool:
            self._in_use -= 1
            if not self._closed:
                self._idle.append(connection)
                return
        connection.close()


class Queries:
    """Base class of the groups of queries, such as `History.ratings`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def _read(self, query: Callable[Concatenate[sqlite3.Connection, P], T], *args: P.args, **options: P.kwargs) -> T:
        """Call a query with a connection, in a read transaction."""
        with self._store.read() as connection:
            return query(connection, *args, **options)


_Identity = tuple[int, int]  # device and inode


def _identity(path: Path, *, may_be_empty: bool) -> _Identity | None:
    """Return the device and inode of a file; None if it does not exist, or is empty and must not be."""
    try:
        status = path.stat()
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if status.st_size or may_be_empty else None


_stores: weakref.WeakSet[Store] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for store in _stores:
        store.reset_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


class _DamagedError(sqlite3.DatabaseError):
    sqlite_errorcode = sqlite3.SQLITE_CORRUPT


def _check(path: Path, connection: sqlite3.Connection) -> int:
    """Return the version of the file; raise if it was written by a newer version or is damaged."""
    if not path.stat().st_size:
        raise _DamagedError("empty")  # SQLite would use it as a new file, and remove the log
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > VERSION:
        raise HistoryError(
            f"the history ({FILE_NAME}) was written by a newer comflowy_nb: pip install -U comflowy_nb, or set "
            "COMFLOWY_HOME to another folder"
        )
    result = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if result != "ok" or version < 1:  # every file is created with its version
        raise _DamagedError(result)
    return version


def _migrate(connection: sqlite3.Connection, version: int) -> None:
    """Bring a file of an earlier version up to date, in one transaction. The caller holds the lock of the file."""
    if version < VERSION:
        add_functions(connection)
        statements = "".join(MIGRATIONS[number] for number in range(version + 1, VERSION + 1))
        connection.executescript(f"BEGIN IMMEDIATE; {statements} PRAGMA user_version = {VERSION}; COMMIT;")


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    return connection


def _code(error: sqlite3.Error) -> int:
    return getattr(error, "sqlite_errorcode", 0) & 0xFF  # the primary error code, without the extended bits


def _history_error(error: sqlite3.Error, verb: str) -> HistoryError:
    return HistoryError(f"the history can't be {verb}: {_REASONS.get(_code(error)) or error}")
