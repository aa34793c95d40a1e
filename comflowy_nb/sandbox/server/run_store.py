"""Accepted runs and their results, in one SQLite file.

A run is on disk before the response that accepts it is sent, so that the next sandbox can resume it.
"""

from __future__ import annotations

import json
import os
import secrets
import sqlite3
import time
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


_VERSION = 1

_TABLES = """
CREATE TABLE runs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    run_id TEXT NOT NULL UNIQUE,
    workflow_id TEXT NOT NULL,
    params TEXT NOT NULL,
    callbacks TEXT NOT NULL,
    state TEXT NOT NULL,
    error TEXT,
    starts INTEGER NOT NULL DEFAULT 0,
    cancel_asked INTEGER NOT NULL DEFAULT 0,
    accepted_at REAL NOT NULL,
    ended_at REAL
);
CREATE INDEX runs_state ON runs (state);
CREATE TABLE images (
    run_id TEXT NOT NULL REFERENCES runs (run_id),
    position INTEGER NOT NULL,
    node TEXT NOT NULL,
    kind TEXT NOT NULL,
    file TEXT NOT NULL,
    secret TEXT NOT NULL UNIQUE,
    PRIMARY KEY (run_id, position)
);
"""


class StoreError(Exception):
    """The file of the runs cannot be used. The text contains the reason."""


class RunStatus(StrEnum):
    """Status of a run, as the Comflowy API names it."""

    WAITING = "waiting"
    PENDING = "pending"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"

    @property
    def is_final(self) -> bool:
        return self in {RunStatus.SUCCESS, RunStatus.FAILED}


@dataclass(frozen=True, slots=True)
class SavedRun:
    """An accepted run and its result. A run that has not ended is stored as `waiting`."""

    run_id: str
    workflow_id: str
    params: Mapping[str, Any]
    callbacks: Mapping[str, str] = field(repr=False)  # they hold the client's secret
    status: RunStatus = RunStatus.WAITING
    error: str | None = None
    starts: int = 0  # how often a worker began it
    cancel_requested: bool = False


@dataclass(frozen=True, slots=True)
class Image:
    """An image of a run.

    Parameters
    ----------
    node : str
        Id of the node that made it.
    kind : {"output", "temp"}
        `temp` for previews.
    file : str
        Its name in the folder of images.
    secret : str
        The part of its address that cannot be guessed.
    """

    node: str
    kind: str
    file: str
    secret: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)


class Store:
    """The open database. Only the process that holds the sandbox's lock uses it, on its main thread."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    @classmethod
    def open(cls, path: Path) -> Store:
        """Open or create the file. A damaged file is renamed, never deleted.

        Raises
        ------
        StoreError
            If a newer version wrote the file, or the folder cannot be written.
        """
        try:
            return cls(_connect(path))
        except sqlite3.OperationalError as error:  # locked, read-only or full disk: the file may be intact
            raise StoreError(f"the sandbox cannot use its file {path.name}: {error}") from error
        except sqlite3.DatabaseError:
            aside = path.with_name(f"{path.name}.damaged-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}")
            path.replace(aside)
            for journal in ("-wal", "-shm"):
                path.with_name(path.name + journal).unlink(missing_ok=True)
            return cls(_connect(path))

    def accept(self, run: SavedRun) -> None:
        self._write(
            "INSERT INTO runs (run_id, workflow_id, params, callbacks, state, accepted_at) VALUES (?, ?, ?, ?, ?, ?)",
            run.run_id,
            run.workflow_id,
            json.dumps(run.params),
            json.dumps(run.callbacks),
            run.status.value,
            time.time(),
        )

    def count_start(self, run_id: str) -> None:
        self._write("UPDATE runs SET starts = starts + 1 WHERE run_id = ?", run_id)

    def request_cancel(self, run_id: str) -> None:
        self._write("UPDATE runs SET cancel_asked = 1 WHERE run_id = ?", run_id)

    def end(self, run_id: str, *, images: Sequence[Image] = (), error: str | None = None) -> None:
        """Record the end of a run: a failure with an error, else a success with its images."""
        status = RunStatus.SUCCESS if error is None else RunStatus.FAILED
        with self._connection:
            self._connection.execute(
                "UPDATE runs SET state = ?, error = ?, ended_at = ? WHERE run_id = ?",
                (status.value, error, time.time(), run_id),
            )
            self._connection.executemany(
                "INSERT INTO images (run_id, position, node, kind, file, secret) VALUES (?, ?, ?, ?, ?, ?)",
                [(run_id, k, image.node, image.kind, image.file, image.secret) for k, image in enumerate(images)],
            )

    def _write(self, sql: str, *values: object) -> None:
        with self._connection:
            self._connection.execute(sql, values)

    def get(self, run_id: str) -> SavedRun | None:
        return next(iter(self._runs("WHERE run_id = ?", run_id)), None)

    def unfinished(self) -> list[SavedRun]:
        """Return the runs that have not ended, in the order of acceptance."""
        return self._runs("WHERE state NOT IN ('success', 'failed') ORDER BY number")

    def _runs(self, where: str, *values: object) -> list[SavedRun]:
        columns = "run_id, workflow_id, params, callbacks, state, error, starts, cancel_asked"
        rows = self._connection.execute(f"SELECT {columns} FROM runs {where}", values)  # noqa: S608 - our own texts
        return [
            SavedRun(
                run_id,
                workflow_id,
                json.loads(params),
                json.loads(callbacks),
                RunStatus(state),
                error,
                starts,
                bool(asked),
            )
            for run_id, workflow_id, params, callbacks, state, error, starts, asked in rows
        ]

    def images(self, run_id: str) -> list[Image]:
        """Return the images of a run, in the order of creation."""
        return self._images("WHERE run_id = ? ORDER BY position", run_id)

    def image(self, secret: str) -> Image | None:
        return next(iter(self._images("WHERE secret = ?", secret)), None)

    def _images(self, where: str, value: str) -> list[Image]:
        rows = self._connection.execute(f"SELECT node, kind, file, secret FROM images {where}", (value,))  # noqa: S608 - our own texts
        return [Image(*row) for row in rows]

    def close(self) -> None:
        self._connection.close()


def _connect(path: Path) -> sqlite3.Connection:
    # Create the file for this user alone before SQLite does; its journals get the same mode.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    connection = sqlite3.connect(path, timeout=2.0)
    try:
        # One process owns the file, so WAL needs no shared memory and works on network folders too.
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > _VERSION:
            problem = f"{path.name} was written by a newer version of comflowy_nb: pip install -U comflowy_nb"
            raise StoreError(problem)  # noqa: TRY301 - the connection is closed
        if version == 0:
            connection.executescript(f"BEGIN; {_TABLES} PRAGMA user_version = {_VERSION}; COMMIT;")
    except BaseException:
        connection.close()
        raise
    return connection
