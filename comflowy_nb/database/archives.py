"""What an archive takes from the history, and how a loaded one is added to it: `History.archives`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from comflowy_nb.database.rows import json_list

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from comflowy_nb.database.connection import Store


class RunDetails(NamedTuple):
    """What the record of a run does not have: the sha256 of its graph, and the token of its sweep."""

    graph: str | None
    sweep: str | None


class Archives:
    """Reads for archives, and the transaction that adds a loaded one."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def details(self, runs: Sequence[str]) -> dict[str, RunDetails]:
        """Return token of a run -> its details."""
        sql = "SELECT token, graph, sweep FROM runs WHERE token IN (SELECT value FROM json_each(?))"
        with self._store.read() as connection:
            rows = connection.execute(sql, (json_list(runs),)).fetchall()
        return {row["token"]: RunDetails(row["graph"], row["sweep"]) for row in rows}

    def graphs(self, keys: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Return sha256 of a graph -> the graph."""
        sql = "SELECT sha256, content FROM graphs WHERE sha256 IN (SELECT value FROM json_each(?))"
        with self._store.read() as connection:
            return {row["sha256"]: json.loads(row["content"]) for row in connection.execute(sql, (json_list(keys),))}

    def inputs(self, identity: str) -> dict[str, str]:
        """Return name of an uploaded image on a service -> the sha256 that identifies it."""
        with self._store.read() as connection:
            return dict(connection.execute("SELECT name, sha256 FROM inputs WHERE identity = ?", (identity,)).fetchall())
