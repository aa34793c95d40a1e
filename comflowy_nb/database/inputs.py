"""Which image a service's name for one stands for: `History.inputs`. The params of a run hold the names alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from comflowy_nb.database.connection import Store

__all__ = ["Inputs"]


class Inputs:
    """Part of the history."""

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
