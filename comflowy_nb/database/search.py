"""Finding runs of the past by text, values, time and state."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, TypedDict

from comflowy_nb.errors import RefError, SettingsError
from comflowy_nb.status import Status

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

__all__ = ["Filters", "Query", "find_by_id", "find_rows", "is_equal"]


class Filters(TypedDict, total=False):
    """What else must hold of a run that is searched for by a text, every word of which must stand somewhere.

    It is looked for in the values, the names, the error, the ids and the reference. `params` are field ids or bare
    names with the value they have, numbers compared as numbers, all else as text; `since` is in UTC seconds since
    1970; `limit` is 20 unless given, None for all.
    """

    params: Mapping[str, Any]
    since: float | None
    status: Status | str | None
    workflow: str | None
    limit: int | None


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for; all of it must hold."""

    text: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    since: float | None = None  # UTC seconds since 1970
    status: Status | str | None = None
    workflow: str | None = None
    limit: int | None = 20


def find_rows(connection: sqlite3.Connection, query: Query) -> list[sqlite3.Row]:
    """Rows of table `runs`, newest first.

    Raises
    ------
    SettingsError
        If the status is no state of a run.
    """
    conditions: list[str] = []
    values: list[Any] = []
    tables = "runs"
    words = (query.text or "").casefold().split()
    if words:
        tables = "runs JOIN words ON words.run = runs.number"
        conditions += ["(instr(words.text, ?) OR instr(lower(service_run_id), ?))"] * len(words)
        values += [word for word in words for _ in range(2)]
    if query.since is not None:
        conditions.append("created_at >= ?")
        values.append(query.since)
    if query.status is not None:
        conditions.append("status = ?")
        values.append(_status(query.status))
    if query.workflow is not None:
        conditions.append("(workflow = ? OR workflow_id = ?)")
        values += [query.workflow, query.workflow]
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    limit = -1 if query.limit is None else query.limit
    sql = f"SELECT runs.* FROM {tables} {where} ORDER BY runs.number DESC LIMIT ?"  # noqa: S608 - own words
    if not query.params:
        return connection.execute(sql, (*values, limit)).fetchall()
    # Values are compared here: SQLite reads a whole number above 2**63, as a seed may be, as a rounded one.
    rows: list[sqlite3.Row] = []
    for row in connection.execute(sql, (*values, -1)):
        if len(rows) == limit:
            break
        params = json.loads(row["params"])
        if all(_has(params, key, value) for key, value in query.params.items()):
            rows.append(row)
    return rows


def find_by_id(connection: sqlite3.Connection, prefix: str) -> list[sqlite3.Row]:
    """The row of the run with this id of a service, or of the only one whose id begins so; none, or one.

    Raises
    ------
    RefError
        If there are several; it lists them.
    """
    if not prefix:
        return []
    for condition, values in (
        ("service_run_id = ?", (prefix,)),
        ("service_run_id >= ? AND service_run_id < ?", (prefix, prefix + "\U0010ffff")),
    ):
        sql = f"SELECT * FROM runs WHERE {condition} ORDER BY number DESC LIMIT 9"  # noqa: S608 - own words
        rows = connection.execute(sql, values).fetchall()
        if len(rows) > 1:
            shown = ", ".join(f"r{row['number']} ({row['service_run_id']})" for row in rows[:8])
            more = " ..." if len(rows) > 8 else ""
            raise RefError(f"{prefix} is not one run's id alone: {shown}{more}")
        if rows:
            return rows
    return []


def is_equal(stored: Any, wanted: Any) -> bool:
    """Whether a value as sent is the one looked for, which may be typed as text."""
    if isinstance(stored, bool) or isinstance(wanted, bool):
        return str(stored).casefold() == str(wanted).casefold()
    if isinstance(stored, int | float):
        number = _number(wanted)
        return number is not None and number == _number(stored)
    if isinstance(stored, str):
        return stored == str(wanted)
    if isinstance(wanted, str):
        try:
            wanted = json.loads(wanted)
        except ValueError:
            return False
    return bool(stored == wanted)


def _has(params: Mapping[str, Any], key: str, value: Any) -> bool:
    if "::" in key:
        return key in params and is_equal(params[key], value)
    return any(is_equal(stored, value) for name, stored in params.items() if name.partition("::")[2] == key)


def _number(value: Any) -> Decimal | None:
    try:
        return Decimal(str(value).strip())
    except InvalidOperation:
        return None


def _status(word: Status | str) -> Status:
    try:
        return Status(word)
    except ValueError:
        raise SettingsError(f"there is no status {word!r}; there are {', '.join(Status)}") from None
