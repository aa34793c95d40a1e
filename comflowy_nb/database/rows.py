"""Conversion between the records of the history and the rows of its tables."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import astuple, fields
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import msgspec

from comflowy_nb.database.connection import Queries
from comflowy_nb.database.records import CellRecord, ImageRecord, RunChanges, RunRecord, RunRequest, SweepRecord
from comflowy_nb.database.value_index import put_run_values, put_workflow_values, workflow_values
from comflowy_nb.errors import HistoryError
from comflowy_nb.services.types import Problem
from comflowy_nb.status import Status
from comflowy_nb.workflow.images import InputImage

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Sequence

    from comflowy_nb.database.connection import Store
    from comflowy_nb.database.records import SweepRequest


R = TypeVar("R")  # RunRecord or SweepRecord

_IMAGE_COLUMNS = ("position", *(field.name for field in fields(ImageRecord)[1:]))
_RUN_COLUMNS = tuple(field.name for field in fields(RunRecord) if field.name not in {"images", "files"})
_SWEEP_COLUMNS = tuple(field.name for field in fields(SweepRecord))
_REQUEST_COLUMNS = tuple(
    field.name for field in fields(RunRequest) if field.name not in {"name", "graph", "defaults", "cell"}
)
_WITH_IMAGES = frozenset(status for status in Status if status.is_final)  # other runs have no images
_EVENT_COLUMNS = ("status", *(name for name in RunChanges.__annotations__ if name not in {"images", "sample_s"}))


class Table(Queries, Generic[R]):
    """The queries that the tables of runs and of sweeps have in common.

    Parameters
    ----------
    find
        `find_runs` or `find_sweeps`.
    """

    table: str  # name of the table of SQL
    _find: Callable[..., list[R]]  # returns the records that a clause selects

    def get(self, token: str) -> R | None:
        return self._first("WHERE token = ?", token)

    def by_number(self, number: int) -> R | None:
        return None if number >= 2**63 else self._first("WHERE number = ?", number)  # the largest integer in SQLite

    def had(self, number: int) -> bool:
        """Return True if a record was created with this number, even if it was deleted."""
        row = self._store.row("SELECT seq FROM sqlite_sequence WHERE name = ?", self.table)
        return row is not None and 0 < number <= row[0]

    def by_name(self, name: str) -> R | None:
        """Return the newest run or sweep with this name; None if the newest one is in the other table."""
        return self._first("WHERE token = (SELECT token FROM names WHERE name = ? ORDER BY id DESC LIMIT 1)", name)

    def recent(self, limit: int | None = 20) -> list[R]:
        """Return the newest records, newest first."""
        return self._read(self._find, "ORDER BY number DESC LIMIT ?", -1 if limit is None else limit)

    def count(self) -> int:
        """Return the number of records."""
        return int(self._store.row(f"SELECT count(*) FROM {self.table}")[0])  # noqa: S608 - not user input

    def _first(self, clause: str, *values: Any) -> R | None:
        return next(iter(self._read(self._find, clause, *values)), None)


# -- values -----------------------------------------------------------------------------------------------------------


def json_list(values: Iterable[Any]) -> str:
    """Return the parameter for `IN (SELECT value FROM json_each(?))`: any number of values in one statement."""
    return json.dumps(list(values))


_decode = msgspec.json.Decoder().decode  # four times as fast as `json`, which 10,000 runs make noticeable


def read_json(text: str) -> Any:
    """Decode JSON, including NaN and lone surrogates."""
    try:
        return _decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return json.loads(text)


def _encode(value: object) -> str:
    """Return a JSON value as text. Lone surrogates, which JSON allows and SQLite can't store, are escaped."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":"))
    return text


def storable_text(text: str) -> str:
    """Escape lone surrogates in a text, because SQLite can't store them."""
    return text.encode("utf-8", "backslashreplace").decode()


def _column(value: Any) -> Any:
    """Convert a field of a record to the value of its column."""
    if isinstance(value, str):
        return storable_text(value)
    if isinstance(value, Problem):
        return _encode(astuple(value))
    if isinstance(value, Mapping):
        return _encode(dict(value))
    return _encode(value) if isinstance(value, (list, tuple)) else value


def insert(
    connection: sqlite3.Connection, table: str, values: Mapping[str, Any], *, verb: str = "INSERT"
) -> sqlite3.Cursor:
    """Insert a row, with each value as its column stores it."""
    return connection.execute(
        f"{verb} INTO {table} ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})",
        [_column(value) for value in values.values()],
    )


# -- runs -------------------------------------------------------------------------------------------------------------


def insert_run(connection: sqlite3.Connection, request: RunRequest) -> None:
    """Record a request, and its graph or its defaults if no earlier run has them."""
    values = {name: getattr(request, name) for name in _REQUEST_COLUMNS}
    values |= {"status": Status.SUBMITTING, "created_at": time.time(), "sweep": request.cell and request.cell[0]}
    if request.graph:
        values["graph"] = put_shared(connection, "graphs", request.graph)
    if request.defaults:
        values["defaults"] = put_shared(connection, "defaults", request.defaults)
    insert_run_row(connection, values)


def insert_run_row(connection: sqlite3.Connection, values: Mapping[str, Any]) -> None:
    """Insert a row into the table `runs`, and index its values."""
    number = insert(connection, "runs", values).lastrowid or 0
    put_run_values(connection, number, values)


def put_shared(connection: sqlite3.Connection, table: str, value: Mapping[str, Any]) -> str:
    """Store a graph or defaults if no run has the same; return the sha256."""
    content = _encode(value)
    sha256 = hashlib.sha256(content.encode()).hexdigest()
    if insert(connection, table, {"sha256": sha256, "content": content}, verb="INSERT OR IGNORE").rowcount:
        put_workflow_values(connection, sha256, workflow_values(table, value))
    return sha256


def put_status(connection: sqlite3.Connection, record: RunRecord) -> None:
    """Write the fields that an event can change, without the images."""
    columns = ", ".join(f"{name} = ?" for name in _EVENT_COLUMNS)
    values = [_column(getattr(record, name)) for name in _EVENT_COLUMNS]
    connection.execute(f"UPDATE runs SET {columns} WHERE token = ?", (*values, record.token))  # noqa: S608 - not user input


def put_image(connection: sqlite3.Connection, run: str, image: ImageRecord) -> None:
    values = {"run": run} | dict(zip(_IMAGE_COLUMNS, astuple(image), strict=True))
    insert(connection, "images", values, verb="INSERT OR REPLACE")


def put_name(connection: sqlite3.Connection, table: str, token: str, name: str) -> None:
    """Give a name to the run or the sweep of this token."""
    insert(connection, "names", {"name": name, "token": token})
    connection.execute(f"UPDATE {table} SET name = ? WHERE token = ?", (name, token))  # noqa: S608 - not user input


def find_runs(connection: sqlite3.Connection, clause: str, *values: Any) -> list[RunRecord]:
    """Return the runs that a WHERE or ORDER BY clause selects, with their images."""
    names = ", ".join(_RUN_COLUMNS)
    rows = connection.execute(f"SELECT {names} FROM runs {clause}", values).fetchall()  # noqa: S608 - not user input
    images = _read_images(connection, [row["token"] for row in rows if row["status"] in _WITH_IMAGES])
    return [_read_run(row, images.get(row["token"], ())) for row in rows]


def find_owners(store: Store, condition: str) -> set[str]:
    """Return the owners of the runs that an SQL condition selects."""
    return {row["owner"] for row in store.rows(f"SELECT DISTINCT owner FROM runs WHERE {condition}")}  # noqa: S608 - not user input


def _read_images(connection: sqlite3.Connection, runs: Sequence[str]) -> dict[str, list[ImageRecord]]:
    """Return token of a run -> its images and files."""
    images: dict[str, list[ImageRecord]] = {}
    columns = ", ".join(_IMAGE_COLUMNS)
    sql = f"SELECT run, {columns} FROM images WHERE run IN (SELECT value FROM json_each(?)) ORDER BY run, position"  # noqa: S608 - not user input
    for row in connection.execute(sql, (json_list(runs),)) if runs else ():
        images.setdefault(row[0], []).append(ImageRecord(*row[1:]))
    return images


def _read_run(row: sqlite3.Row, outputs: Sequence[ImageRecord]) -> RunRecord:
    values = dict(zip(_RUN_COLUMNS, row, strict=True))
    problem = values["problem"]
    values["params"] = read_json(values["params"])
    values["set_params"] = tuple(read_json(values["set_params"]))
    values["status"] = Status(values["status"])
    values["problem"] = None if problem is None else Problem(*read_json(problem))
    images = tuple([output for output in outputs if output.is_image])
    is_complete = len(images) == len(outputs)
    files = () if is_complete else tuple([output for output in outputs if not output.is_image])
    return RunRecord(**values, images=images, files=files)


# -- sweeps -----------------------------------------------------------------------------------------------------------


def insert_sweep(connection: sqlite3.Connection, request: SweepRequest) -> None:
    """Record a sweep without its cells and its name."""
    values = {field.name: getattr(request, field.name) for field in fields(request) if field.name != "name"}
    insert(connection, "sweeps", values | {"created_at": time.time()})


def update_spec(connection: sqlite3.Connection, sweep: str, spec: Mapping[str, Any]) -> None:
    connection.execute("UPDATE sweeps SET spec = ? WHERE token = ?", (_column(spec), sweep))


def find_sweeps(connection: sqlite3.Connection, clause: str, *values: Any) -> list[SweepRecord]:
    """Return the sweeps that a WHERE or ORDER BY clause selects."""
    count = "(SELECT count(*) FROM cells WHERE cells.sweep = sweeps.token) AS count"
    rows = connection.execute(f"SELECT *, {count} FROM sweeps {clause}", values)  # noqa: S608 - not user input
    return [
        SweepRecord(
            **{name: row[name] for name in _SWEEP_COLUMNS}
            | {"spec": json.loads(row["spec"]), "fresh": bool(row["fresh"])}
        )
        for row in rows
    ]


def put_cells(
    connection: sqlite3.Connection, sweep: str, cells: Sequence[tuple[int, Sequence[int], Mapping[str, Any], str]]
) -> None:
    """Replace the cells of a sweep. A new cell keeps the run of the old cell with the same request key."""
    sql = "SELECT number, at, key, run FROM cells WHERE sweep = ? ORDER BY number"
    earlier = connection.execute(sql, (sweep,)).fetchall()
    runs = {row["key"]: row["run"] for row in earlier}
    rows = [
        (sweep, number, _column(at), _encode(params_to_json(params)), key, runs.get(key))
        for number, at, params, key in cells
    ]
    if {tuple(row)[:3] for row in earlier} == {(number, at, key) for _, number, at, _, key, _ in rows}:
        return
    connection.execute("DELETE FROM cells WHERE sweep = ?", (sweep,))
    connection.executemany("INSERT INTO cells (sweep, number, at, params, key, run) VALUES (?, ?, ?, ?, ?, ?)", rows)


def link_cell(connection: sqlite3.Connection, cell: tuple[str, int], run: str) -> None:
    """Set the run of a cell of a sweep.

    Raises
    ------
    HistoryError
        If there is no such cell.
    """
    if not connection.execute("UPDATE cells SET run = ? WHERE sweep = ? AND number = ?", (run, *cell)).rowcount:
        raise HistoryError("the history has no such cell of a sweep")


def read_cells(connection: sqlite3.Connection, sweep: str, number: int | None = None) -> list[CellRecord]:
    """Return the cells of a sweep with their runs, ordered by number, or only the cell with that number."""
    which = "FROM cells WHERE sweep = ? AND (? IS NULL OR number = ?)"
    values = (sweep, number, number)
    rows = connection.execute(f"SELECT * {which} ORDER BY number", values).fetchall()
    runs = {run.token: run for run in find_runs(connection, f"WHERE token IN (SELECT run {which})", *values)}
    return [
        CellRecord(
            number=row["number"],
            at=tuple(json.loads(row["at"])),
            params=json.loads(row["params"]),
            key=row["key"],
            run=runs.get(row["run"]),
        )
        for row in rows
    ]


def read_params(params: Mapping[str, Any], images: Mapping[str, InputImage]) -> dict[str, Any]:
    """Return the params of a cell. Input images, which the history stores by their sha256, become objects again."""

    def read(value: Any) -> Any:
        is_image = isinstance(value, dict) and set(value) == {"image", "sha256"}
        return images.get(value["sha256"], value) if is_image else value

    return {key: read(value) for key, value in params.items()}


def params_to_json(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return the params of a cell as JSON values; `read_params` reverses it."""
    # The service's name of an image is known after the upload; then it is in the run's params.
    return {
        key: {"image": value.name, "sha256": value.content_sha256} if isinstance(value, InputImage) else value
        for key, value in params.items()
    }
