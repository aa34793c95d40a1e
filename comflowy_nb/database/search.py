"""Search for runs by text, params, time, status, workflow and service id."""

from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation
from itertools import islice
from typing import TYPE_CHECKING, Any, TypedDict

from comflowy_nb.database.rows import find_runs, read_runs
from comflowy_nb.errors import RefError, SettingsError
from comflowy_nb.services.types import Problem
from comflowy_nb.status import Status

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from comflowy_nb.database.records import RunRecord

__all__ = ["Filters", "find_by_service_id", "is_equal", "search"]


class Filters(TypedDict, total=False):
    """Conditions of a search, all of which must hold.

    `params` are field ids or bare names with their values; numbers compare as numbers, everything else as text.
    `since` is in UTC seconds since 1970. `limit` is 20 unless set; None returns all runs.
    """

    params: Mapping[str, Any]
    since: float | None
    status: Status | str | None
    workflow: str | None
    limit: int | None


def search(
    connection: sqlite3.Connection,
    text: str | None = None,
    *,
    params: Mapping[str, Any] | None = None,
    since: float | None = None,
    status: Status | str | None = None,
    workflow: str | None = None,
    limit: int | None = 20,
) -> list[RunRecord]:
    """Return the runs for which all conditions hold, newest first; see `Filters`.

    Parameters
    ----------
    text
        Words, each of which must occur in the params, the name, the workflow, the error, an id or the reference.

    Raises
    ------
    SettingsError
        If the status is not a status of a run, the text is not text, or the limit is not a number from 0.
    """
    if status is not None and status not in list(Status):
        raise SettingsError(f"unknown status {str(status)!r}: use {', '.join(Status)}")
    if not isinstance(text, str | None):
        raise SettingsError(f'invalid text {text!r}: use words to search for, as in runs("bottle", cfg=7)')
    if not isinstance(limit, int | None) or (limit is not None and limit < 0):
        raise SettingsError(f"invalid limit {limit!r}: use a number of runs, or None for all")
    rows = connection.execute(
        "SELECT * FROM runs WHERE (:since IS NULL OR created_at >= :since) AND (:status IS NULL OR status = :status) "
        "AND (:workflow IS NULL OR workflow = :workflow OR workflow_id = :workflow) ORDER BY number DESC",
        {"since": since, "status": status, "workflow": workflow},
    )
    words = (text or "").casefold().split()
    # Params are compared here: SQLite reads an integer above 2**63, as a seed may be, as a float.
    found = (row for row in rows if _matches(row, words, params or {}))
    return read_runs(connection, list(islice(found, limit)))


def find_by_service_id(connection: sqlite3.Connection, prefix: str) -> RunRecord | None:
    """Return the run with this id of a service, or the only one whose id begins with it.

    Raises
    ------
    RefError
        If there are several; it lists them.
    """
    if not prefix:
        return None
    for condition, values in (
        ("service_run_id = ?", (prefix,)),
        ("service_run_id >= ? AND service_run_id < ?", (prefix, prefix + "\U0010ffff")),
    ):
        records = find_runs(connection, f"WHERE {condition} ORDER BY number DESC LIMIT 9", *values)
        if len(records) > 1:
            shown = ", ".join(f"{record.ref} ({record.service_run_id})" for record in records[:8])
            more = " ..." if len(records) > 8 else ""
            raise RefError(f"the id {prefix} is ambiguous: {shown}{more}; type more of it, or the number of the run")
        if records:
            return records[0]
    return None


def is_equal(stored: Any, wanted: Any) -> bool:
    """Return True if a submitted value equals the wanted one, which may be typed as text."""
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


def _matches(row: sqlite3.Row, words: Sequence[str], wanted: Mapping[str, Any]) -> bool:
    if not words and not wanted:
        return True
    params = json.loads(row["params"])
    if not all(_has(params, key, value) for key, value in wanted.items()):
        return False
    problem = None if row["problem"] is None else str(Problem(*json.loads(row["problem"])))
    parts = [row["name"], row["workflow"], row["workflow_id"], row["service_run_id"], problem, row["reason"]]
    parts += [value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in params.values()]
    text = "\n".join([f"r{row['number']}", *filter(None, parts)]).casefold()
    return all(word in text for word in words)


def _has(params: Mapping[str, Any], key: str, value: Any) -> bool:
    if "::" in key:
        return key in params and is_equal(params[key], value)
    return any(is_equal(stored, value) for name, stored in params.items() if name.partition("::")[2] == key)


def _number(value: Any) -> Decimal | None:
    try:
        return Decimal(str(value).strip())
    except InvalidOperation:
        return None
