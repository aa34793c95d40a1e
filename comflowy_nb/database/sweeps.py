"""The sweeps of the history: `History.sweeps`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from comflowy_nb.database.deduplication import ANSWER_LOST, Decision, decide
from comflowy_nb.database.records import apply
from comflowy_nb.database.references import check_name
from comflowy_nb.database.rows import (
    AT_ONCE,
    HELD_BY,
    SELECT_SWEEP,
    insert_sweep,
    put_cells,
    put_name,
    put_spec,
    read_cells,
    read_runs,
    read_sweep,
    submitting_owners,
)
from comflowy_nb.database.small_tables import remember
from comflowy_nb.errors import HistoryError
from comflowy_nb.status import Status, StatusEvent, next_status

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from comflowy_nb.database.connection import Store
    from comflowy_nb.database.deduplication import Kind, Retry
    from comflowy_nb.database.records import CellRecord, SweepRecord, SweepRequest

__all__ = ["Sweeps", "link_cell", "made_for"]


class Sweeps:
    """Part of the history.

    Parameters
    ----------
    dead
        Which of these owners are gone.
    """

    def __init__(self, store: Store, dead: Callable[[Iterable[str]], set[str]]) -> None:
        self._store = store
        self._dead = dead

    # -- writing ------------------------------------------------------------------------------------------------

    def enter(
        self,
        intent: SweepRequest,
        cells: Sequence[tuple[int, Sequence[int], Mapping[str, Any], str]],
        *,
        seeds: Mapping[str, int] | None = None,
    ) -> SweepRecord:
        """Write a sweep, or find the one that is entered again.

        Parameters
        ----------
        cells
            Number, place on the axes, params and request key of each.
        seeds
            Drawn for it: remembered in place of earlier ones if a new sweep is written.

        Returns
        -------
        A sweep with the intent's token is new. Else it is the newest of the same identity and key, its spec and cells
        brought up to date. A fresh intent finds only a fresh one that has not ended, and that one stays as it is:
        `cells` of the record says what it asks for.

        Raises
        ------
        RefError
            If its name can't be one.
        HistoryError
            If it can't be written.
        """
        if intent.name is not None:
            check_name(intent.name)
        with self._store.write() as connection:
            found = _same(connection, intent.identity, intent.key, fresh=intent.fresh)
            number = insert_sweep(connection, intent) if found is None else found.number
            if found is None:
                put_cells(connection, number, cells)
                remember(connection, seeds or {})
            elif not intent.fresh:
                put_spec(connection, number, intent.spec)
                put_cells(connection, number, cells)
            if intent.name is not None:
                put_name(connection, intent.name, sweep=number)
            return _by_number(connection, number)

    def set_cell(self, token: str, number: int, run: str) -> None:
        """Say which run, by its token, stands for a cell."""
        self.set_cells(token, {number: run})

    def set_cells(self, token: str, runs: Mapping[int, str]) -> None:
        """Say which runs, by their tokens, stand for the cells of these numbers.

        Raises
        ------
        HistoryError
            If there is no such cell, or it can't be written.
        """
        with self._store.write() as connection:
            for number, run in runs.items():
                link_cell(connection, (token, number), run)

    def end(self, token: str) -> SweepRecord | None:
        """Say that every cell came to an end: a fresh sweep is begun anew next time, not taken up."""
        with self._store.write() as connection:
            connection.execute(
                "UPDATE sweeps SET ended_at = ? WHERE token = ? AND ended_at IS NULL", (time.time(), token)
            )
            return _one(connection, "WHERE token = ?", token)

    def name(self, token: str, name: str) -> SweepRecord:
        """Give a sweep a name; runs and sweeps share them, and the newest holder is who a name means.

        Raises
        ------
        RefError
            If the name can't be one.
        HistoryError
            If there is no such sweep, or it can't be written.
        """
        check_name(name)
        with self._store.write() as connection:
            found = _one(connection, "WHERE token = ?", token)
            if found is None:
                raise HistoryError("the history knows no such sweep")
            put_name(connection, name, sweep=found.number)
            return _by_number(connection, found.number)

    # -- finding ------------------------------------------------------------------------------------------------

    def get(self, token: str) -> SweepRecord | None:
        return self._find("WHERE token = ?", token)

    def by_number(self, number: int) -> SweepRecord | None:
        return None if number >= 2**63 else self._find("WHERE number = ?", number)

    def by_name(self, name: str) -> SweepRecord | None:
        """The sweep that was given this name last, unless a run was given it since."""
        return self._find(f"WHERE number = (SELECT sweep {HELD_BY})", name)

    def newest(self) -> SweepRecord | None:
        return self._find("ORDER BY number DESC LIMIT 1")

    def recent(self, limit: int | None = 20) -> list[SweepRecord]:
        """Sweeps, newest first."""
        with self._store.read() as connection:
            rows = connection.execute(f"{SELECT_SWEEP} ORDER BY number DESC LIMIT ?", (-1 if limit is None else limit,))
            return [read_sweep(row) for row in rows]

    def same(self, identity: str, key: str, *, fresh: bool) -> SweepRecord | None:
        """The sweep that `enter` would find, None where it would write a new one."""
        with self._store.read() as connection:
            return _same(connection, identity, key, fresh=fresh)

    def cells(self, token: str) -> list[CellRecord]:
        """The cells of a sweep with their runs, by their numbers."""
        with self._store.read() as connection:
            return read_cells(connection, token)

    def runs_of(self, token: str) -> dict[int, str]:
        """The tokens of the runs that stand for cells, by the cells' numbers."""
        with self._store.read() as connection:
            rows = connection.execute(
                "SELECT cells.number, cells.run FROM cells JOIN sweeps ON sweeps.number = cells.sweep "
                "WHERE sweeps.token = ? AND cells.run IS NOT NULL",
                (token,),
            )
            return {row["number"]: row["run"] for row in rows}

    def cell(self, token: str, number: int) -> CellRecord | None:
        """One cell of a sweep, with its run."""
        with self._store.read() as connection:
            return next(iter(read_cells(connection, token, number)), None)

    def peek(
        self,
        keys: Sequence[str],
        *,
        fresh: bool = False,
        retry: Retry = "failed",
        sweep: str | None = None,
        resubmit_lost: bool = False,
    ) -> dict[str, Decision | None]:
        """What a claim of each key would say now. Nothing is written.

        Parameters
        ----------
        sweep
            Token of the fresh sweep that is taken up: what succeeded for it counts.
        resubmit_lost
            Whether lost runs are submitted again.

        Returns
        -------
        For each key a Claim with the run that stands for it, or, if it is `new`, with the newest earlier one; None
        where there is none.
        """
        wanted = list(dict.fromkeys(keys))
        with self._store.read() as connection:
            owners = submitting_owners(connection)
        dead = self._dead(owners)
        with self._store.read() as connection:
            earlier = _rows_of_keys(connection, wanted)
            made = made_for(connection, sweep) if fresh and sweep is not None else set()
            chosen: dict[str, tuple[Kind, sqlite3.Row]] = {}
            for key, rows in earlier.items():
                statuses = [_status(row, dead) for row in rows]
                ours = {index for index, row in enumerate(rows) if row["token"] in made}
                kind, index = decide(statuses, fresh=fresh, retry=retry, ours=ours, resubmit_lost=resubmit_lost)
                chosen[key] = kind, rows[index or 0]
            records = read_runs(connection, [row for _, row in chosen.values()])
        claims: dict[str, Decision | None] = dict.fromkeys(wanted)
        for (key, (kind, _)), record in zip(chosen.items(), records, strict=True):
            has_died = record.owner in dead
            held = apply(record, StatusEvent.OWNER_DIED, reason=ANSWER_LOST) if has_died else None
            claims[key] = Decision(kind, held or record)
        return claims

    def _find(self, which: str, *values: Any) -> SweepRecord | None:
        with self._store.read() as connection:
            return _one(connection, which, *values)


def link_cell(connection: sqlite3.Connection, cell: tuple[str, int], run: str) -> None:
    """Let a run stand for the cell of a sweep's token and a number.

    Raises
    ------
    HistoryError
        If there is no such cell.
    """
    token, number = cell
    changed = connection.execute(
        "UPDATE cells SET run = ? WHERE sweep = (SELECT number FROM sweeps WHERE token = ?) AND number = ?",
        (run, token, number),
    )
    if not changed.rowcount:
        raise HistoryError("the history knows no such cell of a sweep")


def made_for(connection: sqlite3.Connection, sweep: str, key: str | None = None) -> set[str]:
    """The successes a sweep, by its token, came to itself, of all its cells or of those with a key.

    What stands for a cell and was done before the sweep was entered is not one.
    """
    rows = connection.execute(
        "SELECT runs.token FROM sweeps JOIN cells ON cells.sweep = sweeps.number JOIN runs ON runs.token = cells.run "
        "WHERE sweeps.token = :sweep AND (:key IS NULL OR cells.key = :key) "
        "AND runs.finished_at >= sweeps.created_at",
        {"sweep": sweep, "key": key},
    )
    return {row["token"] for row in rows}


def _rows_of_keys(connection: sqlite3.Connection, keys: Sequence[str]) -> dict[str, list[sqlite3.Row]]:
    """Rows of runs by their key, newest first."""
    found: dict[str, list[sqlite3.Row]] = {}
    for start in range(0, len(keys), AT_ONCE):
        some = keys[start : start + AT_ONCE]
        marks = ", ".join("?" * len(some))
        for row in connection.execute(f"SELECT * FROM runs WHERE key IN ({marks}) ORDER BY number DESC", some):  # noqa: S608 - own words
            found.setdefault(row["key"], []).append(row)
    return found


def _status(row: sqlite3.Row, dead: Collection[str]) -> Status:
    """Return the status of a run as it will be once the death of its process is recorded."""
    status = Status(row["status"])
    held = next_status(status, StatusEvent.OWNER_DIED) if row["owner"] in dead else None
    return held or status


def _same(connection: sqlite3.Connection, identity: str, key: str, *, fresh: bool) -> SweepRecord | None:
    which = "AND fresh" if fresh else ""
    found = _one(connection, f"WHERE key = ? AND identity = ? {which} ORDER BY number DESC LIMIT 1", key, identity)
    return None if found is None or (fresh and found.ended_at is not None) else found


def _one(connection: sqlite3.Connection, which: str, *values: Any) -> SweepRecord | None:
    row = connection.execute(f"{SELECT_SWEEP} {which}", values).fetchone()
    return None if row is None else read_sweep(row)


def _by_number(connection: sqlite3.Connection, number: int) -> SweepRecord:
    record = _one(connection, "WHERE number = ?", number)
    assert record is not None
    return record
