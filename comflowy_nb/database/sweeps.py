"""The sweeps of the history: `History.sweeps`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Unpack

from comflowy_nb.database.deduplication import dead_submitters, look_up
from comflowy_nb.database.queries.compared_values import columns_of_runs, known_columns
from comflowy_nb.database.queries.sweep_summaries import find_summaries, search_summaries, unfinished_summaries
from comflowy_nb.database.records import SweepRecord
from comflowy_nb.database.references import check_name
from comflowy_nb.database.rows import (
    Table,
    find_sweeps,
    insert_sweep,
    json_list,
    link_cell,
    put_cells,
    put_name,
    read_cells,
    update_spec,
)
from comflowy_nb.database.small_tables import put_seeds

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

    from comflowy_nb.database.deduplication import Decision, RetryOptions
    from comflowy_nb.database.queries.sweep_summaries import SweepSummary
    from comflowy_nb.database.records import CellRecord, SweepRequest


class Sweeps(Table[SweepRecord]):
    """The sweeps of the history and their cells."""

    table = "sweeps"
    _find = staticmethod(find_sweeps)

    # -- writing ------------------------------------------------------------------------------------------------

    def record_or_update(
        self,
        request: SweepRequest,
        cells: Sequence[tuple[int, Sequence[int], Mapping[str, Any], str]],
        *,
        seeds: Mapping[str, int] | None = None,
    ) -> SweepRecord:
        """Record a sweep, or update the recorded sweep that has the same key.

        Parameters
        ----------
        cells
            Number, indices on the axes, params and request key of each cell.
        seeds
            Seeds generated for this sweep. They replace the stored ones if a new sweep is recorded.

        Returns
        -------
        SweepRecord
            The new sweep, with the token of the request; or the newest sweep with the same identity and key, with its
            spec and cells updated. For a fresh request, only a fresh sweep that has not ended is reused, and it is not
            updated, so that it keeps the cells of the first request.

        Raises
        ------
        RefError
            If the name is invalid.
        HistoryError
            If the sweep can't be written.
        """
        if request.name is not None:
            check_name(request.name)
        with self._store.write() as connection:
            earlier = _same(connection, request.identity, request.key, fresh=request.fresh)
            token = request.token if earlier is None else earlier.token
            if earlier is None:
                insert_sweep(connection, request)
                put_seeds(connection, seeds or {})
            elif not request.fresh:
                update_spec(connection, token, request.spec)
            if earlier is None or not request.fresh:
                put_cells(connection, token, cells)
            if request.name is not None:
                put_name(connection, "sweeps", token, request.name)
            return find_sweeps(connection, "WHERE token = ?", token)[0]

    def set_cells(self, token: str, runs: Mapping[int, str]) -> None:
        """Set the runs of cells: cell number -> run token.

        Raises
        ------
        HistoryError
            If there is no such cell, or it can't be written.
        """
        with self._store.write() as connection:
            for number, run in runs.items():
                link_cell(connection, (token, number), run)

    def end(self, token: str) -> None:
        """Record that every cell is settled, so that the next `--fresh` begins a new sweep."""
        sql = "UPDATE sweeps SET ended_at = ? WHERE token = ? AND ended_at IS NULL"
        with self._store.write() as connection:
            connection.execute(sql, (time.time(), token))

    # -- reading ------------------------------------------------------------------------------------------------

    def find_same(self, identity: str, key: str, *, fresh: bool) -> SweepRecord | None:
        """Return the sweep that `record_or_update` would reuse; None if it would record a new one."""
        return self._read(_same, identity, key, fresh=fresh)

    def cells(self, token: str) -> list[CellRecord]:
        """Return the cells of a sweep with their runs, ordered by number."""
        return self._read(read_cells, token)

    def cell(self, token: str, number: int) -> CellRecord | None:
        """Return one cell of a sweep, with its run."""
        return next(iter(self._read(read_cells, token, number)), None)

    def runs_of(self, token: str) -> dict[int, str]:
        """Return a mapping from cell number to the token of its run."""
        return dict(self._store.rows("SELECT number, run FROM cells WHERE sweep = ? AND run IS NOT NULL", token))

    def of_runs(self, tokens: Sequence[str]) -> dict[str, SweepRecord]:
        """Return a mapping from run token to the sweep that submitted the run; other runs are left out."""
        sql = "SELECT token, sweep FROM runs WHERE sweep IS NOT NULL AND token IN (SELECT value FROM json_each(?))"
        with self._store.read() as connection:
            found = dict(connection.execute(sql, (json_list(tokens),)).fetchall())
            clause = "WHERE token IN (SELECT value FROM json_each(?))"
            records = {sweep.token: sweep for sweep in find_sweeps(connection, clause, json_list(set(found.values())))}
        return {token: records[sweep] for token, sweep in found.items()}

    def cell_refs(self, tokens: Sequence[str]) -> dict[str, str]:
        """Return a mapping from run token to the reference (`s3.12`) of the cell for which the run was submitted."""
        sql = (
            "SELECT runs.token, sweeps.number || '.' || min(cells.number) "
            "FROM runs JOIN sweeps ON sweeps.token = runs.sweep "
            "JOIN cells ON cells.sweep = runs.sweep AND cells.run = runs.token "
            "WHERE runs.token IN (SELECT value FROM json_each(?)) GROUP BY runs.token"
        )
        return {token: f"s{numbers}" for token, numbers in self._store.rows(sql, json_list(tokens))}

    def columns(self, tokens: Sequence[str]) -> dict[str, dict[str, str]]:
        """Return a mapping from run token to the labels and `--info` columns of its cells, by name."""
        found = self._read(columns_of_runs, tokens)
        return {run: {name: ", ".join(texts) for name, texts in columns.items()} for run, columns in found.items()}

    def known_columns(self, limit: int) -> dict[str, list[str]]:
        """Return the labels and the columns of `--info` of the newest sweeps that have any, with their values."""
        return self._read(known_columns, limit)

    def summaries(self, tokens: Sequence[str]) -> list[SweepSummary]:
        """Return the summaries of sweeps, newest first."""
        return self._read(find_summaries, tokens)

    def search(
        self,
        text: str | None = None,
        *,
        where: str | None = None,
        since: float | None = None,
        limit: int | None = 20,
    ) -> list[SweepSummary]:
        """Return the sweeps that match, newest first; see `sweep_summaries.search_summaries`."""
        return self._read(search_summaries, text, where=where, since=since, limit=limit)

    def unfinished(self, *, since: float, limit: int) -> list[SweepSummary]:
        """Return the sweeps with cells that are live or were not submitted, newest first."""
        return self._read(unfinished_summaries, since=since, limit=limit)

    def peek(
        self, keys: Sequence[str], *, sweep: str | None = None, **options: Unpack[RetryOptions]
    ) -> dict[str, Decision | None]:
        """Return the decisions that `History.record_or_reuse` would make now, without writing to the history.

        Parameters
        ----------
        sweep
            Token of the fresh sweep that is continued: only its own successes are reused.

        Returns
        -------
        dict
            Key -> decision. The decision `new` contains the newest earlier run with the key; it is None if there is
            none.
        """
        dead = dead_submitters(self._store)
        return self._read(look_up, keys, sweep=sweep, dead=dead, **options)


def _same(connection: sqlite3.Connection, identity: str, key: str, *, fresh: bool) -> SweepRecord | None:
    which = "AND fresh" if fresh else ""
    sweeps = find_sweeps(
        connection,
        f"WHERE key = ? AND identity = ? AND imported IS NULL {which} ORDER BY number DESC LIMIT 1",
        key,
        identity,
    )
    return None if not sweeps or (fresh and sweeps[0].ended_at is not None) else sweeps[0]
