"""A run as rows of the history, and back."""

from __future__ import annotations

import hashlib
import json
import time
from typing import TYPE_CHECKING, Any

from comflowy_nb.database.records import ImageRecord, RunRecord
from comflowy_nb.database.schema import LIVE
from comflowy_nb.services.base import Problem
from comflowy_nb.status import Status

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

    from comflowy_nb.database.deduplication import RunRequest

__all__ = [
    "AT_ONCE",
    "HELD_BY",
    "IMAGE_COLUMNS",
    "clean",
    "encode",
    "encode_problem",
    "image_values",
    "insert_run",
    "put_name",
    "read_place",
    "read_runs",
    "submitting_owners",
    "words_of",
]

IMAGE_COLUMNS = (
    "position",
    "node",
    "node_index",
    "state",
    "file",
    "sha256",
    "size_bytes",
    "width_px",
    "height_px",
    "format",
    "error",
)
_PLACE = (
    "token",
    "number",
    "identity",
    "origin",
    "service",
    "workflow",
    "workflow_id",
    "key",
    "created_at",
    "name",
)
AT_ONCE = 500  # placeholders in one statement; SQLite's own limit is 999 in old versions
HELD_BY = "FROM names WHERE name = ? ORDER BY id DESC LIMIT 1"  # the run or the sweep that a name means


def clean(text: str | None) -> str | None:
    """The text as SQLite can take it: half of a surrogate pair, which JSON may hold, is spelled out."""
    return None if text is None else text.encode("utf-8", "backslashreplace").decode()


def encode(value: object) -> str:
    """A JSON value as text: readable where it can be, escaped where a text holds half of a surrogate pair."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":"))
    return text


def encode_problem(problem: Problem | None) -> str | None:
    if problem is None:
        return None
    return encode([problem.message, problem.node, problem.node_type, problem.field])


def image_values(image: ImageRecord) -> tuple[Any, ...]:
    """In the order of `IMAGE_COLUMNS`."""
    return (
        image.index,
        clean(image.node),
        image.node_index,
        image.state,
        image.file,
        image.sha256,
        image.size_bytes,
        image.width_px,
        image.height_px,
        image.format,
        clean(image.error),
    )


def insert_run(connection: sqlite3.Connection, intent: RunRequest) -> int:
    """Write an intent, and its graph if no run has brought it before; the run's number."""
    content = None if intent.graph is None else encode(intent.graph)
    graph = None if content is None else hashlib.sha256(content.encode()).hexdigest()
    if graph is not None:
        connection.execute("INSERT OR IGNORE INTO graphs (sha256, content) VALUES (?, ?)", (graph, content))
    cursor = connection.execute(
        "INSERT INTO runs (token, identity, origin, service, workflow, workflow_id, graph, params, set_params, key, "
        "status, owner, created_at, sweep) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, (SELECT number FROM sweeps WHERE token = ?))",
        (
            intent.token,
            intent.identity,
            intent.origin,
            intent.service,
            clean(intent.workflow),
            clean(intent.workflow_id),
            graph,
            encode(dict(intent.params)),
            encode(list(intent.set_params)),
            intent.key,
            Status.SUBMITTING,
            intent.owner,
            time.time(),
            None if intent.cell is None else intent.cell[0],
        ),
    )
    return int(cursor.lastrowid or 0)


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
        columns = ", ".join(IMAGE_COLUMNS)
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


def read_place(row: sqlite3.Row) -> dict[str, Any]:
    """What a run and a sweep have in common: their names, where they went, what of, and when."""
    return {column: row[column] for column in _PLACE}


def _read_run(row: sqlite3.Row, images: Iterable[ImageRecord]) -> RunRecord:
    problem = row["problem"]
    outputs = tuple(images)
    return RunRecord(
        **read_place(row),
        params=json.loads(row["params"]),
        status=Status(row["status"]),
        owner=row["owner"],
        service_run_id=row["service_run_id"],
        service_status=row["service_status"],
        problem=None if problem is None else Problem(*json.loads(problem)),
        reason=row["reason"],
        accepted_at=row["accepted_at"],
        finished_at=row["finished_at"],
        set_params=tuple(json.loads(row["set_params"])),
        images=tuple(output for output in outputs if output.is_image),
        files=tuple(output for output in outputs if not output.is_image),
        remark=row["remark"],
    )


def words_of(record: RunRecord) -> str:
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
    return clean("\n".join(parts).casefold()) or ""
