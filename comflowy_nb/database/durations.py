"""How long the last runs of each workflow took: `History.times`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from comflowy_nb.database.connection import Store

__all__ = ["KEPT_SAMPLES", "Times"]

KEPT_SAMPLES = 24  # the estimate of a workflow's time looks at no more


class Times:
    """Part of the history."""

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
