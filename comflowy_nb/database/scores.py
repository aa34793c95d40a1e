"""Scores of images, computed by functions of the user: `History.scores`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from comflowy_nb.database.connection import Queries
from comflowy_nb.database.rows import json_list, storable_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True, slots=True)
class Score:
    """A score of an image: `value`, or `error` (the exception of the function, in one line)."""

    value: float | None = None
    error: str | None = None


class Scores(Queries):
    """The scores of the images of all runs."""

    def of_runs(self, runs: Iterable[str]) -> dict[tuple[str, int], dict[str, Score]]:
        """Return a mapping from (token of a run, index of an image) to its scores by name, sorted by name."""
        found: dict[tuple[str, int], dict[str, Score]] = {}
        sql = (
            "SELECT run, position, name, value, error FROM scores WHERE run IN (SELECT value FROM json_each(?)) "
            "ORDER BY run, position, name"
        )
        for row in self._store.rows(sql, json_list(runs)):
            found.setdefault((row["run"], row["position"]), {})[row["name"]] = Score(row["value"], row["error"])
        return found

    def put(self, name: str, scores: Mapping[tuple[str, int], Score]) -> None:
        """Store scores with one name, and replace earlier ones, in one transaction.

        Parameters
        ----------
        scores
            (token of a run, index of an image) -> score. Scores of deleted images are dropped.
        """
        name = storable_text(name)
        rows = [
            (run, index, name, score.value, None if score.error is None else storable_text(score.error), run, index)
            for (run, index), score in scores.items()
        ]
        with self._store.write() as connection:
            connection.executemany(
                "INSERT OR REPLACE INTO scores (run, position, name, value, error) SELECT ?, ?, ?, ?, ? "
                "WHERE EXISTS (SELECT 1 FROM images WHERE run = ? AND position = ?)",
                rows,
            )

    def names(self) -> list[str]:
        """Return the names of all scores, in alphabetical order."""
        return [str(row[0]) for row in self._store.rows("SELECT DISTINCT name FROM scores ORDER BY name")]
