"""What the cells of sweeps tell about their runs besides the params: labels, and the columns of `--info`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from comflowy_nb.database.rows import json_list
from comflowy_nb.workflow.axes.types import axes_from_json

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable, Mapping, Sequence

    Columns = dict[str, dict[str, list[str]]]  # token of a run -> name -> texts, of several cells if they differ


def columns_of_runs(connection: sqlite3.Connection, tokens: Collection[str]) -> Columns:
    """Return the columns of these runs."""
    sql = "SELECT sweep, at, run FROM cells WHERE run IN (SELECT value FROM json_each(?))"
    cells = connection.execute(sql, (json_list(tokens),)).fetchall()
    sql = "SELECT token, spec FROM sweeps WHERE token IN (SELECT value FROM json_each(?))"
    specs = connection.execute(sql, (json_list({cell["sweep"] for cell in cells}),))
    return _read({row["token"]: json.loads(row["spec"]) for row in specs}, cells)


def columns_by_name(connection: sqlite3.Connection, names: Collection[str]) -> Columns:
    """Return these columns of all runs that have one of them."""
    specs: dict[str, Mapping[str, Any]] = {}
    for name in names:  # a text search first: few of the sweeps have the column, and reading JSON takes time
        quoted = json.dumps(name, ensure_ascii=False)
        rows = connection.execute("SELECT token, spec FROM sweeps WHERE instr(spec, ?)", (quoted,))
        specs |= {row["token"]: json.loads(row["spec"]) for row in rows if row["token"] not in specs}
    sql = "SELECT sweep, at, run FROM cells WHERE run IS NOT NULL AND sweep IN (SELECT value FROM json_each(?))"
    return _read(specs, connection.execute(sql, (json_list(specs),)), names)


def column_names(connection: sqlite3.Connection, limit: int | None = None) -> list[str]:
    """Return the names of the columns of the newest sweeps, each once."""
    sql = "SELECT spec FROM sweeps WHERE instr(spec, '\"label\"') ORDER BY number DESC LIMIT ?"
    rows = connection.execute(sql, (-1 if limit is None else limit,))
    return list(dict.fromkeys(name for row in rows for name in axes_from_json(json.loads(row["spec"])).columns))


def _read(
    specs: Mapping[str, Mapping[str, Any]], cells: Iterable[sqlite3.Row], names: Collection[str] | None = None
) -> Columns:
    """Return the columns of the runs of these cells; `names` leaves out all others."""
    by_sweep = {token: _columns_of_axes(spec, names) for token, spec in specs.items()}
    found: Columns = {}
    for sweep, at, run in cells:
        columns = by_sweep.get(sweep)
        if not columns:
            continue
        texts = found.setdefault(run, {})
        for position, values in columns:
            for name, text in values[json.loads(at)[position]].items():
                known = texts.setdefault(name, [])
                if text not in known:
                    known.append(text)
    return found


def _columns_of_axes(
    spec: Mapping[str, Any], names: Collection[str] | None
) -> Sequence[tuple[int, Sequence[Mapping[str, str]]]]:
    """Return the columns of each value of the axes that have any, with the positions of the axes."""
    found = []
    for position, group in enumerate(axes_from_json(spec).axes):
        parts = [axis.columns for axis in group.simple]
        values = [
            {name: text for columns in parts for name, text in columns[index].items() if names is None or name in names}
            for index in range(len(group.values))
        ]
        if any(values):
            found.append((position, values))
    return found
