"""Read the run values that a search compares: submitted values, workflow defaults and sweep columns."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from comflowy_nb.database.rows import json_list, read_json, storable_text
from comflowy_nb.database.value_index import workflow_values
from comflowy_nb.workflow.axes.types import axes_from_json
from comflowy_nb.workflow.syntax.ranges import is_number, read_number

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable, Mapping, Sequence

    # Token of a run -> name -> texts: several texts if its cells differ.
    Columns = dict[str, Mapping[str, Sequence[str]]]


_MAX_EXAMPLES = 1000  # different values of a field that are read to explain why nothing was found
_MARKS = ('"info":{', '"is_named":true', '"kind":"rows"', '"kind":"replace"')  # one of them is in the JSON of columns
_HAS_COLUMNS = "(" + " OR ".join(f"instr(spec, '{mark}')" for mark in _MARKS) + ")"


class ComparedValues:
    """The values of selected names in all runs of a history. Each workflow is read once.

    Parameters
    ----------
    names
        Field ids, bare names of fields, and names of columns.
    """

    def __init__(self, connection: sqlite3.Connection, names: Collection[str]) -> None:
        self._connection = connection
        self._names = frozenset(names)
        self._by_sha256: dict[str | None, dict[str, Any]] = {None: {}}
        bare = [name for name in self._names if "::" not in name]
        self._columns = columns_by_name(connection, bare) if bare else {}
        self.tokens_with_columns = self._columns.keys()  # of the runs that have one of the columns

    def params(self, row: sqlite3.Row, params: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the params of a run, and for the compared fields that it does not set the workflow's values."""
        values = self._workflow_values("graphs", row["graph"]) or self._workflow_values("defaults", row["defaults"])
        return {**values, **params} if values else params

    def columns(self, token: str) -> Mapping[str, Sequence[Any]]:
        """Return the labels and the info of the cells of a run, by name. A number is both a text and a number."""
        columns = self._columns.get(token)
        if columns is None:
            return {}
        return {
            name: _text_and_number(texts[0])
            if len(texts) == 1
            else [value for text in texts for value in _text_and_number(text)]
            for name, texts in columns.items()
        }

    def _workflow_values(self, table: str, sha256: str | None) -> dict[str, Any]:
        if sha256 not in self._by_sha256:
            values = _read_workflow_values(self._connection, table, sha256)
            names = self._names
            self._by_sha256[sha256] = {
                key: value for key, value in values.items() if key in names or key.partition("::")[2] in names
            }
        return self._by_sha256[sha256]


def field_names(connection: sqlite3.Connection) -> set[str]:
    """Return the field ids, bare field names and sweep columns that occur in any run."""
    rows = connection.execute("SELECT DISTINCT each.key FROM runs, json_each(runs.params) AS each")
    ids = {str(row[0]) for row in rows}
    for table in ("graphs", "defaults"):
        for (sha256,) in connection.execute(f"SELECT sha256 FROM {table}").fetchall():  # noqa: S608 - not user input
            ids |= _read_workflow_values(connection, table, sha256).keys()
    return ids | {key.partition("::")[2] for key in ids} | known_columns(connection).keys()


def known_values(connection: sqlite3.Connection, name: str) -> list[Any]:
    """Return the different values of a field or a column, from the newest runs first, at most 1000."""
    compared = ComparedValues(connection, [name])
    found: dict[str, Any] = {}
    for row in connection.execute("SELECT token, params, graph, defaults FROM runs ORDER BY number DESC"):
        params = compared.params(row, read_json(row["params"]))
        for value in (*values_of(params, name), *compared.columns(row["token"]).get(name, ())):
            found.setdefault(json.dumps(value), value)
        if len(found) >= _MAX_EXAMPLES:
            break
    return list(found.values())


def values_of(params: Mapping[str, Any], name: str) -> list[Any]:
    """Return the values of a field id, or of all fields with a bare name."""
    if "::" in name:
        return [params[name]] if name in params else []
    end = f"::{name}"
    return [value for key, value in params.items() if key.endswith(end) and key.partition("::")[2] == name]


def _read_workflow_values(connection: sqlite3.Connection, table: str, sha256: str | None) -> dict[str, Any]:
    """Return field id -> value of a graph or of stored defaults."""
    row = connection.execute(f"SELECT content FROM {table} WHERE sha256 = ?", (sha256,)).fetchone()  # noqa: S608 - not user input
    return {} if row is None else workflow_values(table, read_json(row["content"]))


@lru_cache(maxsize=1000)
def _text_and_number(text: str) -> tuple[Any, ...]:
    return (text, read_number(text)) if is_number(text) else (text,)


# -- labels, and columns of `--info`, of the cells of sweeps ----------------------------------------------------------


def columns_of_runs(connection: sqlite3.Connection, tokens: Collection[str]) -> Columns:
    """Return the columns of these runs."""
    sql = "SELECT sweep, at, run FROM cells WHERE run IN (SELECT value FROM json_each(?))"
    cells = connection.execute(sql, (json_list(tokens),)).fetchall()
    sql = "SELECT token, spec FROM sweeps WHERE token IN (SELECT value FROM json_each(?))"
    specs = connection.execute(sql, (json_list({cell["sweep"] for cell in cells}),))
    return _read({row["token"]: read_json(row["spec"]) for row in specs}, cells)


def columns_by_name(connection: sqlite3.Connection, names: Collection[str]) -> Columns:
    """Return these columns of all runs that have one of them."""
    specs: dict[str, Mapping[str, Any]] = {}
    for name in names:  # `instr` first, because few sweeps have the column, and parsing JSON is slow
        quoted = storable_text(json.dumps(name, ensure_ascii=False))
        rows = connection.execute(f"SELECT token, spec FROM sweeps WHERE instr(spec, ?) AND {_HAS_COLUMNS}", (quoted,))  # noqa: S608 - not user input
        specs |= {row["token"]: read_json(row["spec"]) for row in rows if row["token"] not in specs}
    sql = "SELECT sweep, at, run FROM cells WHERE run IS NOT NULL AND sweep IN (SELECT value FROM json_each(?))"
    return _read(specs, connection.execute(sql, (json_list(specs),)), names)


def known_columns(connection: sqlite3.Connection, limit: int | None = None) -> dict[str, list[str]]:
    """Return the columns of the newest sweeps that have any, with their values."""
    sql = f"SELECT spec FROM sweeps WHERE {_HAS_COLUMNS} ORDER BY number DESC LIMIT ?"  # noqa: S608 - not user input
    rows = connection.execute(sql, (-1 if limit is None else limit,))
    found: dict[str, list[str]] = {}
    for row in rows:
        for name, texts in axes_from_json(read_json(row["spec"])).columns.items():
            found[name] = list(dict.fromkeys([*found.get(name, ()), *texts]))
    return found


def _read(
    specs: Mapping[str, Mapping[str, Any]], cells: Iterable[sqlite3.Row], names: Collection[str] | None = None
) -> Columns:
    """Return the columns of the runs of these cells; `names` leaves out all others."""
    by_sweep = {token: _columns_of_axes(spec, names) for token, spec in specs.items()}
    found: Columns = {}
    indices: dict[str, list[int]] = {}  # by their JSON: sweeps of one shape share them
    for sweep, at, run in cells:
        if at not in indices:
            indices[at] = read_json(at)
        for position, values in by_sweep.get(sweep, ()):
            columns = values[indices[at][position]]
            found[run] = _merged(found[run], columns) if run in found else columns
    return found


def _columns_of_axes(
    spec: Mapping[str, Any], names: Collection[str] | None
) -> Sequence[tuple[int, Sequence[Mapping[str, Sequence[str]]]]]:
    """Return (position of the axis, columns by value) for each axis that has columns."""
    found = []
    for position, group in enumerate(axes_from_json(spec).axes):
        parts = [axis.columns for axis in group.simple]
        values = [
            {name: [text] for columns in row for name, text in columns.items() if names is None or name in names}
            for row in zip(*parts, strict=True)
        ]
        if any(values):
            found.append((position, values))
    return found


def _merged(columns: Mapping[str, Sequence[str]], others: Mapping[str, Sequence[str]]) -> Mapping[str, Sequence[str]]:
    """Merge the columns of two mappings, with each text once."""
    names = dict.fromkeys([*columns, *others])
    return {name: list(dict.fromkeys([*columns.get(name, ()), *others.get(name, ())])) for name in names}
