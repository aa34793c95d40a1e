"""The index of values: which runs have a value of a field. A search by params reads only these runs.

The tables store hashes of 32 bits, because texts would double the size of the file. Two values can have one hash, so a
search compares the params of each run that it finds here.
"""

from __future__ import annotations

import contextlib
import json
import zlib
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any

from comflowy_nb.workflow.graph import Graph

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping


def value_hash(name: str, value: Any) -> int:
    """Return the hash of the bare name of a field and a value. Values that `is_equal` compares as equal share it.

    Lists and objects have the hash of their name.
    """
    return _hash(f"{name}={_key(value)}")


def workflow_hash(sha256: str) -> int:
    """Return the hash under which the runs of a graph or of defaults are indexed."""
    return _hash(f"workflow {sha256}")


def bare_name(name: str) -> str:
    """Return the name of a field without its node: `cfg` for `3::cfg` and `cfg`."""
    return name.partition("::")[2] or name


def as_decimal(value: Any) -> Decimal | None:
    """Return a number or a numeric text as a decimal number; None for anything else."""
    try:
        return Decimal(str(value).strip())
    except InvalidOperation:
        return None


def put_run_values(connection: sqlite3.Connection, number: int, row: Mapping[str, Any]) -> None:
    """Index the params and the workflow of a new row of the table `runs`."""
    hashes = _run_hashes(row["params"], row.get("graph"), row.get("defaults"))
    sql = "INSERT OR IGNORE INTO run_values (hash, run) VALUES (?, ?)"
    connection.executemany(sql, [(each, number) for each in hashes])


def put_workflow_values(connection: sqlite3.Connection, sha256: str, values: Mapping[str, Any]) -> None:
    """Index the values of a new graph, or of new defaults."""
    sql = "INSERT OR IGNORE INTO workflow_values (hash, sha256) VALUES (?, ?)"
    connection.executemany(sql, [(each, sha256) for each in _value_hashes(values)])


def workflow_values(table: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """Return field id -> value of the content of a row of `graphs` or `defaults`."""
    if table == "defaults":
        return dict(content)
    return {key: field.default for key, field in Graph(content).fields().items()}


def add_functions(connection: sqlite3.Connection) -> None:
    """Add the SQL functions with which a migration indexes earlier runs: they return the hashes as a JSON array.

    A damaged row is not indexed. It must not prevent the migration of the others.
    """

    def run_hashes(params: str, graph: str | None, defaults: str | None) -> str:
        with contextlib.suppress(Exception):
            return json.dumps(_run_hashes(json.loads(params), graph, defaults))
        return "[]"

    def workflow_hashes(table: str, content: str) -> str:
        with contextlib.suppress(Exception):
            return json.dumps(_value_hashes(workflow_values(table, json.loads(content))))
        return "[]"

    connection.create_function("run_hashes", 3, run_hashes)
    connection.create_function("workflow_hashes", 2, workflow_hashes)


def _run_hashes(params: Mapping[str, Any], *sha256s: str | None) -> list[int]:
    return _value_hashes(params) + [workflow_hash(sha256) for sha256 in sha256s if sha256 is not None]


def _value_hashes(values: Mapping[str, Any]) -> list[int]:
    return [value_hash(bare_name(key), value) for key, value in values.items()]


def _hash(text: str) -> int:
    return zlib.crc32(text.encode("utf-8", "surrogatepass")) - 2**31  # SQLite stores a signed integer in 4 bytes


def _key(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).casefold()
    if not isinstance(value, str | int | float):
        return "{}"
    number = value if isinstance(value, float) else as_decimal(value)
    if number is None:
        return str(value).casefold()
    try:
        return repr(float(number) + 0.0)  # 7, 7.0 and "7" are equal; so are -0.0 and 0
    except ValueError:  # a signalling NaN
        return "nan"
