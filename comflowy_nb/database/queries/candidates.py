"""Find the runs that may have the wanted params, by the index of values. The caller compares their params."""

from __future__ import annotations

import heapq
import json
from itertools import groupby
from typing import TYPE_CHECKING, Any

from comflowy_nb.database.queries.field_filters import REVIEW_NAMES, AnyOf, is_equal
from comflowy_nb.database.rows import json_list, storable_text
from comflowy_nb.database.value_index import bare_name, value_hash, workflow_hash

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterator, Mapping

    from comflowy_nb.database.queries.compared_values import ComparedValues

_MAX_COUNTED = 1000  # index entries that are counted to find the rarest of several values
_INDEXED = (str, int, float, list, tuple, dict, type(None))


def candidates(
    connection: sqlite3.Connection, wanted: Mapping[str, Any], compared: ComparedValues
) -> Iterator[int] | None:
    """Return the numbers of all runs that may have the wanted params, newest first; None if any run may have them.

    With several params these are the runs that may have the rarest of them.
    """
    indexed = [
        (name, value, hashes)
        for name, value in wanted.items()
        if (hashes := _hashes(name, value)) is not None and not _is_of_images(connection, name)
    ]
    entries = [
        (_with_workflows(connection, hashes), _labelled(name, value, compared)) for name, value, hashes in indexed
    ]
    if not entries:
        return None
    hashes, tokens = entries[0] if len(entries) == 1 else min(entries, key=lambda entry: _count(connection, *entry))
    sql = "SELECT run FROM run_values WHERE hash = ? ORDER BY run DESC"
    found = [(row[0] for row in connection.execute(sql, (each,))) for each in hashes]
    if tokens:
        sql = "SELECT number FROM runs WHERE token IN (SELECT value FROM json_each(?)) ORDER BY number DESC"
        found.append(row[0] for row in connection.execute(sql, (json_list(tokens),)))
    return (number for number, _ in groupby(heapq.merge(*found, reverse=True)))


def _hashes(name: str, wanted: Any) -> set[int] | None:
    """Return the hashes of all values that equal the wanted value; None if they can't be listed."""
    if isinstance(wanted, AnyOf):
        each = [_hashes(name, option) for option in (wanted.whole, *wanted.options)]
        return None if None in each else {value for values in each if values is not None for value in values}
    if not isinstance(wanted, _INDEXED):  # an interval, or an object with its own rules of equality
        return None
    bare = bare_name(name)
    if isinstance(wanted, int | float):
        return {value_hash(bare, wanted)}
    try:
        parsed = json.loads(wanted) if isinstance(wanted, str) else wanted
    except (ValueError, RecursionError):
        parsed = ""
    hashes = {value_hash(bare, str(wanted))}
    if not isinstance(parsed, str | int | float):  # null, a list or an object
        hashes.add(value_hash(bare, parsed))
    return hashes


def _is_of_images(connection: sqlite3.Connection, name: str) -> bool:
    """Return True if a rating or a score of an image can be the value of this name."""
    sql = "SELECT EXISTS (SELECT 1 FROM scores WHERE name = ?)"
    return name in REVIEW_NAMES or bool(connection.execute(sql, (storable_text(name),)).fetchone()[0])


def _with_workflows(connection: sqlite3.Connection, hashes: Collection[int]) -> set[int]:
    """Add the hashes of the workflows that have one of these values, for the runs that do not set the field."""
    sql = "SELECT sha256 FROM workflow_values WHERE hash IN (SELECT value FROM json_each(?))"
    return {*hashes, *(workflow_hash(row[0]) for row in connection.execute(sql, (json_list(hashes),)))}


def _labelled(name: str, wanted: Any, compared: ComparedValues) -> list[str]:
    """Return the tokens of the runs with an equal label or column of a sweep."""
    return [
        token
        for token in compared.tokens_with_columns
        if any(is_equal(value, wanted) for value in compared.columns(token).get(name, ()))
    ]


def _count(connection: sqlite3.Connection, hashes: Collection[int], tokens: Collection[str]) -> int:
    sql = "SELECT count(*) FROM (SELECT 1 FROM run_values WHERE hash IN (SELECT value FROM json_each(?)) LIMIT ?)"
    return int(connection.execute(sql, (json_list(hashes), _MAX_COUNTED)).fetchone()[0]) + len(tokens)
