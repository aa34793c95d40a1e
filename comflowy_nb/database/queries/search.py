"""Search for runs by text, params, a condition, time, status, workflow and service id."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, TypedDict

from comflowy_nb.database.queries.candidates import candidates
from comflowy_nb.database.queries.compared_values import ComparedValues
from comflowy_nb.database.queries.field_filters import REVIEW_FLAGS, has_params, is_fulfilled
from comflowy_nb.database.ratings import read_review_values
from comflowy_nb.database.rows import find_runs, json_list, read_json
from comflowy_nb.errors import RefError, SettingsError
from comflowy_nb.services.types import Problem
from comflowy_nb.status import Status
from comflowy_nb.workflow.syntax.conditions import parse_condition

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from comflowy_nb.database.records import RunRecord
    from comflowy_nb.workflow.syntax.conditions import Condition

_COLUMNS = "number, token, sweep, params, graph, defaults, name, workflow, workflow_id, service_run_id, problem, reason"
_CHUNK_ROWS = 50  # rows that one statement reads of the runs that the index of values selects


class Filters(TypedDict, total=False):
    """Conditions of a search, all of which must hold.

    Attributes
    ----------
    params
        Name -> value, for field ids, bare names and columns of the tables of sweeps. Numbers are compared as numbers,
        all other values as texts. The value of a field is the submitted value, else the workflow's value if the
        history has it.
    where
        A condition of such values, `cfg < 6 or steps > 20`, or of the images: `rating >= 4`, `rated`, `rejected`,
        `note contains sky`, `sharpness > 0.3`.
    since
        Time in UTC seconds since 1970.
    limit
        Number of results, 20 by default; None returns all.
    """

    params: Mapping[str, Any]
    where: str | None
    since: float | None
    status: Status | str | None
    workflow: str | None
    limit: int | None


@dataclass(frozen=True, slots=True)
class RunRow:
    """A row of a run list: one run, or all matching runs of one sweep, newest first."""

    sweep: str | None  # the token of the sweep
    runs: tuple[RunRecord, ...]


def search(
    connection: sqlite3.Connection,
    text: str | None = None,
    *,
    params: Mapping[str, Any] | None = None,
    where: str | None = None,
    limit: int | None = 20,
    **columns: Any,
) -> list[RunRecord]:
    """Return the runs for which all conditions hold, newest first; see `Filters`.

    Parameters
    ----------
    text
        Words, each of which must occur in the params, the name, the workflow, the error, an id or the reference.

    Raises
    ------
    SettingsError
        If the status is not a status of a run, the text is not text, the time is not a number, or the limit is not
        a number from 0.
    LineError
        If the condition can't be parsed.
    """
    _check_limit(limit)
    if (text is None or text == "") and not params and where is None:
        condition, values = _columns_condition(**columns)
        clause = f"WHERE {condition} ORDER BY number DESC LIMIT ?"
        return find_runs(connection, clause, *values, -1 if limit is None else limit)
    return _read(connection, islice(_find(connection, text, params=params, where=where, **columns), limit))


def search_rows(
    connection: sqlite3.Connection, text: str | None = None, *, limit: int | None = 20, **filters: Any
) -> list[RunRow]:
    """Search as `search` does, with the runs of each sweep in one row; `limit` counts rows."""
    _check_limit(limit)
    found: dict[str, list[sqlite3.Row]] = {}
    for row in _find(connection, text, **filters):
        key = row["sweep"] or row["token"]
        if key in found:
            found[key].append(row)
        elif limit is None or len(found) < limit:
            found[key] = [row]
        elif not any(rows[0]["sweep"] for rows in found.values()):
            break  # no listed sweep can have older runs
    records = {record.token: record for record in _read(connection, (row for rows in found.values() for row in rows))}
    return [RunRow(rows[0]["sweep"], tuple(records[row["token"]] for row in rows)) for rows in found.values()]


def parse_run_condition(where: str) -> Condition:
    """Parse a condition of runs, in which `rated` and `rejected` may stand alone."""
    return parse_condition(where, flags=REVIEW_FLAGS)


def matching_tokens(connection: sqlite3.Connection, where: str) -> list[str]:
    """Return the tokens of all runs for which a condition holds."""
    return [row["token"] for row in _find(connection, where=where)]


def _check_limit(limit: object) -> None:
    if not isinstance(limit, int | None) or (limit is not None and limit < 0):
        raise SettingsError(f"invalid limit {limit!r}: use a number of runs, or None for all")


def _find(
    connection: sqlite3.Connection,
    text: str | None = None,
    *,
    params: Mapping[str, Any] | None = None,
    where: str | None = None,
    **columns: Any,
) -> Iterator[sqlite3.Row]:
    """Yield rows of the runs that match, newest first, with the columns that a search reads."""
    columns_condition = _columns_condition(**columns)
    condition = None if where is None else parse_run_condition(where)
    if not isinstance(text, str | None):
        raise SettingsError(f'invalid text {text!r}: use words to search for, as in runs("bottle", cfg=7)')
    params = params or {}
    names = {*params, *(condition.names if condition is not None else ())}
    reviews_of = read_review_values(connection, names)
    words = (text or "").casefold().split()
    compared = ComparedValues(connection, names)
    rows = _read_rows(connection, *columns_condition, candidates(connection, params, compared))
    # Params are compared here: SQLite reads an integer above 2**63, as a seed may be, as a float.
    return (row for row in rows if _matches(row, words, params, condition, compared, reviews_of(row["token"])))


def _columns_condition(
    *, since: float | None = None, status: Status | str | None = None, workflow: str | None = None
) -> tuple[str, list[Any]]:
    """Return the SQL condition of the filters that compare a column, and its values."""
    if status is not None and status not in list(Status):
        raise SettingsError(f"unknown status {str(status)!r}: use {', '.join(Status)}")
    if not isinstance(since, int | float | None):
        raise SettingsError(f"invalid since {since!r}: use UTC seconds since 1970, as in since=time.time() - 300")
    wanted: dict[str, list[Any]] = {
        "created_at >= ?": [since],
        "status = ?": [status],
        "(workflow = ? OR workflow_id = ?)": [workflow, workflow],
    }
    used = {condition: values for condition, values in wanted.items() if values[0] is not None}
    return " AND ".join(used) or "TRUE", [value for values in used.values() for value in values]


def _read_rows(
    connection: sqlite3.Connection, condition: str, values: Sequence[Any], numbers: Iterator[int] | None
) -> Iterator[sqlite3.Row]:
    """Yield the rows with these numbers for which a condition holds, newest first. None selects every number."""
    sql = f"SELECT {_COLUMNS} FROM runs WHERE {condition}"  # noqa: S608 - not user input
    if numbers is None:
        yield from connection.execute(f"{sql} ORDER BY number DESC", values)
        return
    while chunk := list(islice(numbers, _CHUNK_ROWS)):
        among = "number IN (SELECT value FROM json_each(?)) ORDER BY number DESC"
        yield from connection.execute(f"{sql} AND {among}", (*values, json_list(chunk)))


def _read(connection: sqlite3.Connection, rows: Iterable[sqlite3.Row]) -> list[RunRecord]:
    """Return the complete records of these rows, newest first."""
    tokens = json_list(row["token"] for row in rows)
    return find_runs(connection, "WHERE token IN (SELECT value FROM json_each(?)) ORDER BY number DESC", tokens)


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


def _matches(  # noqa: PLR0917 - all that a search compares
    row: sqlite3.Row,
    words: Sequence[str],
    wanted: Mapping[str, Any],
    condition: Condition | None,
    compared: ComparedValues,
    reviews: Sequence[Mapping[str, Any]],
) -> bool:
    if not words and not wanted and condition is None:
        return True
    params = read_json(row["params"])
    values, columns = compared.params(row, params), compared.columns(row["token"])
    if not any(
        has_params(values, wanted, columns, review)
        and (condition is None or is_fulfilled(values, condition, columns, review))
        for review in reviews
    ):
        return False
    if not words:
        return True
    problem = None if row["problem"] is None else str(Problem(*read_json(row["problem"])))
    parts = [row["name"], row["workflow"], row["workflow_id"], row["service_run_id"], problem, row["reason"]]
    parts += [value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in params.values()]
    text = "\n".join([f"r{row['number']}", *filter(None, parts)]).casefold()
    return all(word in text for word in words)
