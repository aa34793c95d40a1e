"""Small tables of the history: seeds, uploaded images, sweep senders and run durations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comflowy_nb.database.connection import Queries
from comflowy_nb.database.process_locks import dead_owners
from comflowy_nb.database.rows import json_list

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping


MAX_SAMPLES = 24  # per workflow; the estimate of a duration uses no more


class Seeds(Queries):
    """Seeds generated for sweeps: `History.seeds`. The key of a seed is a sha256 of the sweep and its fields."""

    def get(self, seed_key: str) -> int | None:
        return self._read(_find_seeds, [seed_key]).get(seed_key)

    def store_missing(self, seeds: Mapping[str, int]) -> dict[str, int]:
        """Store the seeds whose key has none yet; return the stored seeds of all keys.

        If two kernels generate seeds for one sweep at once, both use the seeds of the first.
        """
        if not seeds:
            return {}
        with self._store.write() as connection:
            connection.executemany("INSERT OR IGNORE INTO seeds (draw_key, seed) VALUES (?, ?)", seeds.items())
            return _find_seeds(connection, seeds)


def put_seeds(connection: sqlite3.Connection, seeds: Mapping[str, int]) -> None:
    """Store seeds in place of earlier ones."""
    connection.executemany("INSERT OR REPLACE INTO seeds (draw_key, seed) VALUES (?, ?)", seeds.items())


def _find_seeds(connection: sqlite3.Connection, seed_keys: Iterable[str]) -> dict[str, int]:
    sql = "SELECT draw_key, seed FROM seeds WHERE draw_key IN (SELECT value FROM json_each(?))"
    return dict(connection.execute(sql, (json_list(seed_keys),)).fetchall())


class Inputs(Queries):
    """The content of uploaded images by the names that a service gave them: `History.inputs`.

    The params of a run contain only these names.
    """

    def store_name(self, identity: str, name: str, content_sha256: str) -> None:
        """Store the name that a service gave to an uploaded image."""
        sql = "INSERT OR REPLACE INTO inputs (identity, name, sha256) VALUES (?, ?, ?)"
        with self._store.write() as connection:
            connection.execute(sql, (identity, name, content_sha256))

    def find(self, identity: str, name: str) -> str | None:
        """Return the sha256 of the image that a service knows by this name; None if it is not an uploaded image."""
        sql = "SELECT sha256 FROM inputs WHERE identity = ? AND name = ?"
        row = self._store.row(sql, identity, name)
        return None if row is None else str(row["sha256"])


class Senders(Queries):
    """The processes that submit each sweep: `History.senders`. Every process can read them and ask them to stop."""

    def begin(self, sweep: str, owner: str) -> None:
        """Record that an owner is submitting the cells of a sweep; delete the rows of dead owners."""
        rows = self._store.rows("SELECT DISTINCT owner FROM senders WHERE owner <> ?", owner)
        dead = dead_owners(self._store.locks, (row["owner"] for row in rows))
        with self._store.write() as connection:
            connection.executemany("DELETE FROM senders WHERE owner = ?", [(name,) for name in dead])
            sql = "INSERT OR REPLACE INTO senders (sweep, owner, stop_asked) VALUES (?, ?, 0)"
            connection.execute(sql, (sweep, owner))

    def end(self, sweep: str, owner: str) -> None:
        """Record that an owner has stopped submitting a sweep."""
        with self._store.write() as connection:
            connection.execute("DELETE FROM senders WHERE sweep = ? AND owner = ?", (sweep, owner))

    def live_owners(self, sweep: str, *, except_for: str | None = None) -> set[str]:
        """Return the live owners that are submitting a sweep, without `except_for`."""
        rows = self._store.rows("SELECT owner FROM senders WHERE sweep = ?", sweep)
        owners = {row["owner"] for row in rows} - {except_for}
        return owners - dead_owners(self._store.locks, owners)

    def request_stop(self, sweep: str) -> None:
        """Ask all processes that submit a sweep to stop."""
        with self._store.write() as connection:
            connection.execute("UPDATE senders SET stop_asked = 1 WHERE sweep = ?", (sweep,))

    def is_stop_requested(self, sweep: str, owner: str) -> bool:
        """Return True if an owner was asked to stop submitting a sweep."""
        sql = "SELECT 1 FROM senders WHERE sweep = ? AND owner = ? AND stop_asked"
        return self._store.row(sql, sweep, owner) is not None


class Durations(Queries):
    """Durations of the last runs of each workflow: `History.durations`."""

    def last_samples(self, identity: str, workflow_key: str) -> list[float]:
        """Return the last durations of a workflow on a service, in seconds, newest last."""
        sql = "SELECT seconds FROM samples WHERE identity = ? AND workflow_key = ? ORDER BY id DESC LIMIT ?"
        rows = self._store.rows(sql, identity, workflow_key, MAX_SAMPLES)
        return [row["seconds"] for row in reversed(rows)]


def put_sample(connection: sqlite3.Connection, identity: str, workflow_key: str, seconds: float) -> None:
    """Store a duration; delete all but the last 24 of the workflow."""
    values = {"identity": identity, "key": workflow_key, "seconds": seconds, "kept": MAX_SAMPLES}
    connection.execute(
        "INSERT INTO samples (identity, workflow_key, seconds) VALUES (:identity, :key, :seconds)", values
    )
    connection.execute(
        "DELETE FROM samples WHERE identity = :identity AND workflow_key = :key AND id NOT IN (SELECT id "
        "FROM samples WHERE identity = :identity AND workflow_key = :key ORDER BY id DESC LIMIT :kept)",
        values,
    )
