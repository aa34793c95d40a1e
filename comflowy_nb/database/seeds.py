"""The seeds drawn for sweeps, which the history remembers until they are drawn afresh: `History.seeds`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comflowy_nb.database.rows import AT_ONCE

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping

    from comflowy_nb.database.connection import Store

__all__ = ["Seeds", "remember"]


class Seeds:
    """Part of the history. A seed is known by what it was drawn for, a sha256."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, draw_key: str) -> int | None:
        return self.of([draw_key]).get(draw_key)

    def of(self, draw_keys: Iterable[str]) -> dict[str, int]:
        """The seeds that are remembered of these."""
        with self._store.read() as connection:
            return _of(connection, draw_keys)

    def keep(self, seeds: Mapping[str, int]) -> None:
        """Remember these in place of earlier ones."""
        with self._store.write() as connection:
            remember(connection, seeds)

    def settle(self, seeds: Mapping[str, int]) -> dict[str, int]:
        """Remember these where nothing is remembered; what is, of them all, now.

        Of two kernels that draw for the same sweep at once, both go on with what the first one drew.
        """
        if not seeds:
            return {}
        with self._store.write() as connection:
            connection.executemany("INSERT OR IGNORE INTO seeds (draw_key, seed) VALUES (?, ?)", seeds.items())
            return _of(connection, seeds)


def remember(connection: sqlite3.Connection, seeds: Mapping[str, int]) -> None:
    connection.executemany("INSERT OR REPLACE INTO seeds (draw_key, seed) VALUES (?, ?)", seeds.items())


def _of(connection: sqlite3.Connection, draw_keys: Iterable[str]) -> dict[str, int]:
    wanted = list(draw_keys)
    found: dict[str, int] = {}
    for start in range(0, len(wanted), AT_ONCE):
        some = wanted[start : start + AT_ONCE]
        marks = ", ".join("?" * len(some))
        found |= connection.execute(f"SELECT draw_key, seed FROM seeds WHERE draw_key IN ({marks})", some).fetchall()  # noqa: S608 - own words
    return found
