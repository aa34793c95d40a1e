"""A sweep and its cells as rows of the history, and back."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from comflowy_nb.database.rows import clean, encode, read_place, read_runs
from comflowy_nb.workflow.images import InputImage

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from comflowy_nb.database.records import RunRecord

__all__ = [
    "SELECT_SWEEP",
    "CellRecord",
    "SweepRecord",
    "SweepRequest",
    "insert_sweep",
    "put_cells",
    "put_spec",
    "read_cells",
    "read_params",
    "read_sweep",
]

SELECT_SWEEP = "SELECT *, (SELECT count(*) FROM cells WHERE cells.sweep = sweeps.number) AS count FROM sweeps"


@dataclass(frozen=True, slots=True)
class SweepRequest:
    """A sweep that somebody wants, before anything is sent.

    `key` stands for all that makes it the same sweep but the seeds drawn; `spec` is what lays its grid out again.
    """

    token: str  # our uuid4
    identity: str
    origin: str = field(repr=False)
    service: str
    workflow: str
    workflow_id: str | None
    key: str
    spec: Mapping[str, Any]
    fresh: bool = False
    name: str | None = None


@dataclass(frozen=True, slots=True)
class SweepRecord:
    """All that the history keeps of one sweep but its cells. Times are UTC seconds since 1970."""

    token: str
    number: int  # N of sN
    identity: str
    origin: str = field(repr=False)
    service: str
    workflow: str
    workflow_id: str | None
    key: str
    spec: Mapping[str, Any]
    created_at: float
    fresh: bool = False
    ended_at: float | None = None  # when its last cell came to an end
    name: str | None = None  # the newest name given by --as
    count: int = 0  # of its cells

    @property
    def ref(self) -> str:
        return f"s{self.number}"


@dataclass(frozen=True, slots=True)
class CellRecord:
    """One cell: its number, from 1, its place on the axes, what it asks for, and the run that stands for it."""

    number: int
    at: tuple[int, ...]
    params: Mapping[str, Any]
    key: str
    run: RunRecord | None = None


def insert_sweep(connection: sqlite3.Connection, intent: SweepRequest) -> int:
    """Write a sweep without its cells; its number."""
    cursor = connection.execute(
        "INSERT INTO sweeps (token, identity, origin, service, workflow, workflow_id, key, spec, fresh, created_at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            intent.token,
            intent.identity,
            intent.origin,
            intent.service,
            clean(intent.workflow),
            clean(intent.workflow_id),
            intent.key,
            encode(dict(intent.spec)),
            intent.fresh,
            time.time(),
        ),
    )
    return int(cursor.lastrowid or 0)


def put_cells(
    connection: sqlite3.Connection, sweep: int, cells: Sequence[tuple[int, Sequence[int], Mapping[str, Any], str]]
) -> None:
    """Write the cells of a sweep, in place of those it had; a cell asked for before keeps its run, by its key."""
    runs: dict[str, str | None] = {}
    there = []
    for row in connection.execute("SELECT number, at, key, run FROM cells WHERE sweep = ? ORDER BY number", (sweep,)):
        runs[row["key"]] = row["run"]
        there.append((row["number"], row["at"], row["key"]))
    rows = [(sweep, number, encode(list(at)), _params(params), key, runs.get(key)) for number, at, params, key in cells]
    if there == sorted((number, at, key) for _, number, at, _, key, _ in rows):
        return
    connection.execute("DELETE FROM cells WHERE sweep = ?", (sweep,))
    connection.executemany("INSERT INTO cells (sweep, number, at, params, key, run) VALUES (?, ?, ?, ?, ?, ?)", rows)


def read_sweep(row: sqlite3.Row) -> SweepRecord:
    """The sweep of a row of `SELECT_SWEEP`."""
    return SweepRecord(
        **read_place(row),
        spec=json.loads(row["spec"]),
        fresh=bool(row["fresh"]),
        ended_at=row["ended_at"],
        count=row["count"],
    )


def put_spec(connection: sqlite3.Connection, sweep: int, spec: Mapping[str, Any]) -> None:
    connection.execute("UPDATE sweeps SET spec = ? WHERE number = ?", (encode(dict(spec)), sweep))


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
    return encode(
        {
            key: {"image": value.name, "sha256": value.content_sha256} if isinstance(value, InputImage) else value
            for key, value in params.items()
        }
    )
