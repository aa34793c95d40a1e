"""Compare the history with what a scripted service accepted: the promises that hold after every failure."""

from __future__ import annotations

import contextlib
import hashlib
import io
import sqlite3
from typing import TYPE_CHECKING

from PIL import Image

from comflowy_nb.status import TRANSITIONS, Status

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

FILE_NAME = "history.sqlite"

# SQLite itself writes the log, in the transaction of the change, so that a kill can't lose an entry.
_LOG = """
CREATE TABLE IF NOT EXISTS status_log (token TEXT, old TEXT, new TEXT);
CREATE TRIGGER IF NOT EXISTS log_status AFTER UPDATE OF status ON runs WHEN old.status <> new.status
    BEGIN INSERT INTO status_log VALUES (new.token, old.status, new.status); END;
CREATE TRIGGER IF NOT EXISTS log_delete AFTER DELETE ON runs
    BEGIN INSERT INTO status_log VALUES (old.token, old.status, 'deleted'); END;
"""
_ALLOWED = {(str(old), str(new)) for (old, _), new in TRANSITIONS.items()}


def log_statuses(home: Path) -> None:
    """Let SQLite log every change of a status in an existing history, by any process."""
    with contextlib.closing(sqlite3.connect(home / FILE_NAME)) as database:
        database.executescript(_LOG)


def read_rows(home: Path, sql: str, *values: object) -> list[tuple]:
    """Read rows without opening the history as a client does, which repairs it."""
    with contextlib.closing(sqlite3.connect(home / FILE_NAME, timeout=30)) as database:
        return database.execute(sql, values).fetchall()


def broken_statuses(home: Path) -> list[str]:
    """Return the changes of statuses that the table of transitions does not allow."""
    rows = read_rows(home, "SELECT token, old, new FROM status_log")
    return [f"{token}: {old} -> {new}" for token, old, new in rows if (old, new) not in _ALLOWED]


def lost_runs(home: Path, accepted: Iterable[tuple[int, str]]) -> list[str]:
    """Return the accepted runs, as (seed, id of the service), that are neither known by their id nor `unknown`."""
    rows = read_rows(home, "SELECT json_extract(params, '$.\"3::seed\"'), service_run_id, status FROM runs")
    known = {run_id for _, run_id, _ in rows}
    unknown = {seed for seed, _, status in rows if status == Status.UNKNOWN}
    return [f"{run_id}, seed {seed}" for seed, run_id in accepted if run_id not in known and seed not in unknown]


def broken_images(home: Path) -> list[str]:
    """Return the listed images whose file is missing, incomplete, or not what was downloaded."""
    broken = []
    for token, position, file, sha256 in read_rows(
        home, "SELECT run, position, file, sha256 FROM images WHERE state = 'kept'"
    ):
        path = home / "images" / file
        content = path.read_bytes() if path.is_file() else b""
        if hashlib.sha256(content).hexdigest() != sha256:
            broken.append(f"{token} [{position}]: {file} has {len(content)} bytes")
            continue
        with Image.open(io.BytesIO(content)) as image:
            image.load()
    return broken


def leftover_files(home: Path) -> list[str]:
    """Return the files that only a killed process can have left: partial files, locks, and images without a row.

    A complete image whose row has the state `missing` is not listed: its process was killed before it wrote the row,
    the next process could not fetch the image, and a later fetch finds it on disk.
    """
    rows = read_rows(home, "SELECT run, position, state, file FROM images")
    listed = {file for _, _, state, file in rows if state == "kept"}
    missing = {f"{token}_{position}" for token, position, state, _ in rows if state == "missing"}
    tokens = {token for (token,) in read_rows(home, "SELECT token FROM runs")}
    left = []
    for path in sorted((home / "images").rglob("*")):
        name = path.relative_to(home / "images").as_posix()
        token = path.name.replace("_", ".").split(".")[0]
        if path.is_dir() or name in listed or (path.suffix == ".png" and path.stem in missing):
            continue
        is_thumbnail = path.name.endswith((".t256.jpg", ".t512.jpg"))
        if token not in tokens or not (is_thumbnail or path.suffix == ".json"):
            states = [state for run, _, state, _ in rows if run == token]
            left.append(f"{name} (images of its run: {states})")
    return left


def damage(home: Path) -> list[str]:
    """Return the errors that SQLite's integrity check finds."""
    return [text for (text,) in read_rows(home, "PRAGMA integrity_check") if text != "ok"]
