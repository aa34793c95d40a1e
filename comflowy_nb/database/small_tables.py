"""The small tables of the history: generated seeds, uploaded images, senders of sweeps, durations of runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comflowy_nb.database.rows import AT_ONCE

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from comflowy_nb.database.connection import Store

__all__ = ["Inputs", "Seeds", "Senders", "Times", "remember"]

KEPT_SAMPLES = 24  # the estimate of a workflow's duration uses no more
_SWEEP = "(SELECT number FROM sweeps WHERE token = ?)"


class Seeds:
    """Seeds that were generated for sweeps: `History.seeds`. The key is a sha256 of what a seed was generated for."""

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


class Inputs:
    """The content of uploaded images: `History.inputs`. The params of a run hold only the names on the service."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def keep(self, identity: str, name: str, content_sha256: str) -> None:
        """Remember what a service calls an image it was given."""
        with self._store.write() as connection:
            connection.execute(
                "INSERT OR REPLACE INTO inputs (identity, name, sha256) VALUES (?, ?, ?)",
                (identity, name, content_sha256),
            )

    def find(self, identity: str, name: str) -> str | None:
        """The content that a service calls so, by its sha256; None for any other text."""
        with self._store.read() as connection:
            row = connection.execute(
                "SELECT sha256 FROM inputs WHERE identity = ? AND name = ?", (identity, name)
            ).fetchone()
        return None if row is None else str(row["sha256"])


class Senders:
    """Which processes submit which sweeps: `History.senders`. Every process sees it, and can ask them to stop.

    Parameters
    ----------
    dead
        Which of these owners are gone.
    """

    def __init__(self, store: Store, dead: Callable[[Iterable[str]], set[str]]) -> None:
        self._store = store
        self._dead = dead

    def begin(self, sweep: str, owner: str) -> None:
        """Record that an owner submits the cells of a sweep from now on; forget dead owners."""
        with self._store.read() as connection:
            rows = connection.execute("SELECT DISTINCT owner FROM senders WHERE owner <> ?", (owner,)).fetchall()
        dead = self._dead(row["owner"] for row in rows)
        with self._store.write() as connection:
            connection.executemany("DELETE FROM senders WHERE owner = ?", [(gone,) for gone in dead])
            connection.execute(
                f"INSERT OR REPLACE INTO senders (sweep, owner, stop_asked) VALUES ({_SWEEP}, ?, 0)",  # noqa: S608 - own words
                (sweep, owner),
            )

    def end(self, sweep: str, owner: str) -> None:
        """Record that an owner has stopped submitting a sweep."""
        with self._store.write() as connection:
            connection.execute(f"DELETE FROM senders WHERE sweep = {_SWEEP} AND owner = ?", (sweep, owner))  # noqa: S608 - own words

    def living(self, sweep: str, *, but: str | None = None) -> set[str]:
        """Return the living owners that are submitting a sweep, `but` one."""
        with self._store.read() as connection:
            rows = connection.execute(f"SELECT owner FROM senders WHERE sweep = {_SWEEP}", (sweep,)).fetchall()  # noqa: S608 - own words
        owners = {row["owner"] for row in rows} - {but}
        return owners - self._dead(owners)

    def ask_stop(self, sweep: str) -> None:
        """Ask all processes that submit a sweep to stop."""
        with self._store.write() as connection:
            connection.execute(f"UPDATE senders SET stop_asked = 1 WHERE sweep = {_SWEEP}", (sweep,))  # noqa: S608 - own words

    def is_asked(self, sweep: str, owner: str) -> bool:
        """Whether an owner was asked to stop submitting a sweep."""
        with self._store.read() as connection:
            row = connection.execute(
                f"SELECT stop_asked FROM senders WHERE sweep = {_SWEEP} AND owner = ?",  # noqa: S608 - own words
                (sweep, owner),
            ).fetchone()
        return row is not None and bool(row["stop_asked"])


class Times:
    """How long the last runs of each workflow took: `History.times`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def of(self, identity: str, workflow_key: str) -> list[float]:
        """The last times of a workflow on a service, in seconds, newest last."""
        with self._store.read() as connection:
            rows = connection.execute(
                "SELECT seconds FROM samples WHERE identity = ? AND workflow_key = ? ORDER BY id DESC LIMIT ?",
                (identity, workflow_key, KEPT_SAMPLES),
            ).fetchall()
        return [row["seconds"] for row in reversed(rows)]

    def add(self, identity: str, samples: Sequence[tuple[str, float]]) -> None:
        """Several at once: workflow key and seconds, newest last."""
        if not samples:
            return
        with self._store.write() as connection:
            connection.executemany(
                "INSERT INTO samples (identity, workflow_key, seconds) VALUES (?, ?, ?)",
                [(identity, workflow_key, seconds) for workflow_key, seconds in samples],
            )
            connection.executemany(
                "DELETE FROM samples WHERE identity = :identity AND workflow_key = :key AND id NOT IN (SELECT id "
                "FROM samples WHERE identity = :identity AND workflow_key = :key ORDER BY id DESC LIMIT :kept)",
                [{"identity": identity, "key": key, "kept": KEPT_SAMPLES} for key in {key for key, _ in samples}],
            )
