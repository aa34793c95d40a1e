"""Records of the history as rows of its tables, and back."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import astuple, fields
from typing import TYPE_CHECKING, Any

from comflowy_nb.database.records import CellRecord, ImageRecord, RunChanges, RunRecord, SweepRecord
from comflowy_nb.database.schema import LIVE
from comflowy_nb.services.base import Problem
from comflowy_nb.status import Status
from comflowy_nb.workflow.images import InputImage

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

    from comflowy_nb.database.deduplication import RunRequest
    from comflowy_nb.database.records import SweepRequest

__all__ = [
    "AT_ONCE",
    "HELD_BY",
    "SELECT_SWEEP",
    "insert_run",
    "insert_sweep",
    "put_cells",
    "put_image",
    "put_name",
    "put_spec",
    "put_status",
    "put_words",
    "read_cells",
    "read_params",
    "read_runs",
    "read_sweep",
    "submitting_owners",
]

AT_ONCE = 500  # placeholders in one statement; SQLite's own limit is 999 in old versions
HELD_BY = "FROM names WHERE name = ? ORDER BY id DESC LIMIT 1"  # the run or the sweep that a name means
SELECT_SWEEP = "SELECT *, (SELECT count(*) FROM cells WHERE cells.sweep = sweeps.number) AS count FROM sweeps"

_IMAGE_COLUMNS = ("position", *(field.name for field in fields(ImageRecord)[1:]))
_RUN_COLUMNS = tuple(field.name for field in fields(RunRecord) if field.name not in {"images", "files"})
_EVENT_COLUMNS = ("status", *(name for name in RunChanges.__annotations__ if name != "images"))
_REQUEST_COLUMNS = ("token", "identity", "origin", "service", "workflow", "workflow_id", "key")


def _clean(text: str) -> str:
    """Return a text as SQLite can store it: half of a surrogate pair, which JSON may hold, is spelled out."""
    return text.encode("utf-8", "backslashreplace").decode()


def _encode(value: object) -> str:
    """Return a JSON value as text: readable where it can be, escaped where a text holds half of a surrogate pair."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":"))
    return text


def _column(value: Any) -> Any:
    """Return a value of a record as its column holds it."""
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, Problem):
        return _encode(astuple(value))
    if isinstance(value, Mapping):
        return _encode(dict(value))
    return _encode(value) if isinstance(value, (list, tuple)) else value


def _insert(connection: sqlite3.Connection, table: str, values: Mapping[str, Any], *, verb: str = "INSERT") -> int:
    """Insert a row; return its number."""
    cursor = connection.execute(
        f"{verb} INTO {table} ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})",
        [_column(value) for value in values.values()],
    )
    return int(cursor.lastrowid or 0)


# -- runs -------------------------------------------------------------------------------------------------------------


def insert_run(connection: sqlite3.Connection, request: RunRequest) -> int:
    """Record a request, and its graph if no earlier run has it; return the number of the run."""
    content = None if request.graph is None else _encode(request.graph)
    graph = None if content is None else hashlib.sha256(content.encode()).hexdigest()
    if graph is not None:
        connection.execute("INSERT OR IGNORE INTO graphs (sha256, content) VALUES (?, ?)", (graph, content))
    sweep = None
    if request.cell is not None:
        sweep = connection.execute("SELECT number FROM sweeps WHERE token = ?", (request.cell[0],)).fetchone()
    values = {name: getattr(request, name) for name in (*_REQUEST_COLUMNS, "params", "set_params", "owner")}
    values |= {"graph": graph, "status": Status.SUBMITTING, "created_at": time.time()}
    return _insert(connection, "runs", values | {"sweep": None if sweep is None else sweep["number"]})


def put_status(connection: sqlite3.Connection, record: RunRecord) -> None:
    """Write what an event changed in a record, without its images."""
    columns = ", ".join(f"{name} = ?" for name in _EVENT_COLUMNS)
    values = [_column(getattr(record, name)) for name in _EVENT_COLUMNS]
    connection.execute(f"UPDATE runs SET {columns} WHERE number = ?", (*values, record.number))  # noqa: S608 - own names
    if record.problem is not None or record.reason is not None:
        put_words(connection, record)


def put_image(connection: sqlite3.Connection, run: int, image: ImageRecord) -> None:
    values = {"run": run} | dict(zip(_IMAGE_COLUMNS, astuple(image), strict=True))
    _insert(connection, "images", values, verb="INSERT OR REPLACE")


def put_words(connection: sqlite3.Connection, record: RunRecord) -> None:
    """Write the text that a search looks through."""
    values = {"run": record.number, "text": _words_of(record)}
    _insert(connection, "words", values, verb="INSERT OR REPLACE")


def put_name(connection: sqlite3.Connection, name: str, *, run: int | None = None, sweep: int | None = None) -> None:
    """Give a name to the run, or to the sweep, of that number."""
    connection.execute("INSERT INTO names (name, run, sweep) VALUES (?, ?, ?)", (name, run, sweep))
    connection.execute("UPDATE runs SET name = ? WHERE number = ?", (name, run))
    connection.execute("UPDATE sweeps SET name = ? WHERE number = ?", (name, sweep))


def read_runs(connection: sqlite3.Connection, rows: Sequence[sqlite3.Row]) -> list[RunRecord]:
    """The runs of these rows of table `runs`, each with its images, in the order of the rows."""
    images: dict[int, list[ImageRecord]] = {}
    numbers = [row["number"] for row in rows if Status(row["status"]).is_final]  # no other has images
    for start in range(0, len(numbers), AT_ONCE):
        some = numbers[start : start + AT_ONCE]
        columns = ", ".join(_IMAGE_COLUMNS)
        marks = ", ".join("?" * len(some))
        found = connection.execute(
            f"SELECT run, {columns} FROM images WHERE run IN ({marks}) ORDER BY run, position",  # noqa: S608 - own names
            some,
        )
        for row in found:
            images.setdefault(row[0], []).append(ImageRecord(*row[1:]))
    return [_read_run(row, images.get(row["number"], ())) for row in rows]


def submitting_owners(connection: sqlite3.Connection) -> set[str]:
    """The owners of all runs that are being submitted."""
    rows = connection.execute(
        f"SELECT DISTINCT owner FROM runs WHERE status IN {LIVE} AND status = 'submitting'"  # noqa: S608 - own words
    )
    return {row["owner"] for row in rows}


def _read_run(row: sqlite3.Row, outputs: Iterable[ImageRecord]) -> RunRecord:
    values = {name: row[name] for name in _RUN_COLUMNS}
    problem = values["problem"]
    values |= {
        "params": json.loads(row["params"]),
        "set_params": tuple(json.loads(row["set_params"])),
        "status": Status(row["status"]),
        "problem": None if problem is None else Problem(*json.loads(problem)),
    }
    return RunRecord(**values).with_outputs(outputs)


def _words_of(record: RunRecord) -> str:
    """What a search by text looks through besides the service's id, which comes later; case folded."""
    parts = [
        record.ref,
        record.name or "",
        record.workflow,
        record.workflow_id or "",
        str(record.problem or ""),
        record.reason or "",
    ]
    values = record.params.values()
    parts += [value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in values]
    return "\n".join(parts).casefold()


# -- sweeps -----------------------------------------------------------------------------------------------------------


def insert_sweep(connection: sqlite3.Connection, request: SweepRequest) -> int:
    """Record a sweep without its cells; return its number."""
    values = {name: getattr(request, name) for name in (*_REQUEST_COLUMNS, "spec", "fresh")}
    return _insert(connection, "sweeps", values | {"created_at": time.time()})


def read_sweep(row: sqlite3.Row) -> SweepRecord:
    """Return the sweep of a row of `SELECT_SWEEP`."""
    values = {field.name: row[field.name] for field in fields(SweepRecord)}
    return SweepRecord(**values | {"spec": json.loads(row["spec"]), "fresh": bool(row["fresh"])})


def put_cells(
    connection: sqlite3.Connection, sweep: int, cells: Sequence[tuple[int, Sequence[int], Mapping[str, Any], str]]
) -> None:
    """Replace the cells of a sweep; a cell with the request key of an earlier one keeps its run."""
    runs: dict[str, str | None] = {}
    there = []
    for row in connection.execute("SELECT number, at, key, run FROM cells WHERE sweep = ? ORDER BY number", (sweep,)):
        runs[row["key"]] = row["run"]
        there.append((row["number"], row["at"], row["key"]))
    rows = [
        (sweep, number, _encode(list(at)), _params(params), key, runs.get(key)) for number, at, params, key in cells
    ]
    if there == sorted((number, at, key) for _, number, at, _, key, _ in rows):
        return
    connection.execute("DELETE FROM cells WHERE sweep = ?", (sweep,))
    connection.executemany("INSERT INTO cells (sweep, number, at, params, key, run) VALUES (?, ?, ?, ?, ?, ?)", rows)


def put_spec(connection: sqlite3.Connection, sweep: int, spec: Mapping[str, Any]) -> None:
    connection.execute("UPDATE sweeps SET spec = ? WHERE number = ?", (_encode(dict(spec)), sweep))


def read_cells(connection: sqlite3.Connection, token: str, number: int | None = None) -> list[CellRecord]:
    """The cells of a sweep, or the one of that number, each with its run, by their numbers."""
    which = (
        "FROM cells JOIN sweeps ON sweeps.number = cells.sweep WHERE sweeps.token = :token "
        "AND (:number IS NULL OR cells.number = :number)"
    )
    values = {"token": token, "number": number}
    rows = connection.execute(f"SELECT cells.* {which} ORDER BY cells.number", values).fetchall()
    runs = connection.execute(f"SELECT * FROM runs WHERE token IN (SELECT cells.run {which})", values)  # noqa: S608 - own words
    found = {run.token: run for run in read_runs(connection, runs.fetchall())}
    return [
        CellRecord(
            number=row["number"],
            at=tuple(json.loads(row["at"])),
            params=json.loads(row["params"]),
            key=row["key"],
            run=found.get(row["run"]),
        )
        for row in rows
    ]


def read_params(params: Mapping[str, Any], images: Mapping[str, InputImage]) -> dict[str, Any]:
    """The params of a cell with the images among them, which are given by their sha256."""

    def read(value: Any) -> Any:
        is_one = isinstance(value, dict) and set(value) == {"image", "sha256"}
        return images.get(value["sha256"], value) if is_one else value

    return {key: read(value) for key, value in params.items()}


def _params(params: Mapping[str, Any]) -> str:
    # What an image is called at the service is known when it is handed over; then the run says so.
    return _encode(
        {
            key: {"image": value.name, "sha256": value.content_sha256} if isinstance(value, InputImage) else value
            for key, value in params.items()
        }
    )
