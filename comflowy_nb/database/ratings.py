"""Ratings of images (`History.ratings`), and the ratings and scores that a search compares."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

from comflowy_nb.database.connection import Queries
from comflowy_nb.database.queries.field_filters import REVIEW_NAMES
from comflowy_nb.database.rows import json_list, storable_text
from comflowy_nb.errors import HistoryError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from comflowy_nb.database.scores import Score

    ReviewsOf: TypeAlias = Callable[[str], Sequence[Mapping[str, Any]]]  # token of a run -> values of its images


MAX_RATING = 5
MAX_NOTE_LENGTH = 1000  # characters
OWN = ""  # the source of this user's ratings
_COLUMNS = "rating, rejected, note, source, rated_at"


@dataclass(frozen=True, slots=True)
class Rating:
    """The rating of an image by one person.

    Parameters
    ----------
    rating : int or None
        From 1 to 5, where 5 is the best; None if the image is not rated.
    rejected : bool
        Whether the image is rejected.
    note : str
        The note; empty if there is none.
    source : str
        Name of the person who gave the rating; empty for this user.
    rated_at : float
        Time of the last change, in UTC seconds since 1970.

    Examples
    --------
    >>> run.images[0].rate(4, note="best sky").rating
    4
    """

    rating: int | None = None
    rejected: bool = False
    note: str = ""
    source: str = OWN
    rated_at: float = 0.0

    @property
    def is_empty(self) -> bool:
        """Whether there is no rating, no rejection and no note."""
        return self.rating is None and not self.rejected and not self.note


@dataclass(frozen=True, slots=True)
class Review:
    """The ratings and the scores of an image. `others` are the ratings of other people, sorted by source."""

    own: Rating = field(default_factory=Rating)
    others: tuple[Rating, ...] = ()
    scores: Mapping[str, Score] = field(default_factory=dict)

    @property
    def rank(self) -> tuple[bool, int, bool]:
        """A sort key: rejected images first, then unrated images, then rated images, the best last."""
        return not self.own.rejected, self.own.rating or 0, bool(self.own.note)


class Ratings(Queries):
    """The ratings of the images of all runs."""

    def of_runs(self, runs: Iterable[str]) -> dict[tuple[str, int], list[Rating]]:
        """Return a mapping from (token of a run, index of an image) to its ratings, this user's first."""
        return self._read(find_ratings, runs)

    def change(
        self,
        images: Sequence[tuple[str, int]],
        rating: int | None = None,
        *,
        rejected: bool | None = None,
        note: str | None = None,
    ) -> list[tuple[Rating, Rating]]:
        """Change this user's ratings of images, in one transaction.

        Parameters
        ----------
        images
            (token of the run, index of the image) of each image.
        rating
            1 to 5; 0 removes the rating. A rating also removes the rejection, unless `rejected` is set.
        rejected, note
            The new rejection and the new note; None keeps the old one. An empty note removes it.

        Returns
        -------
        list of (Rating, Rating)
            The ratings of each image before and after.

        Raises
        ------
        HistoryError
            If the history has no such image, or it can't be written. Nothing is changed then.
        """
        if rating is not None and rejected is None:
            rejected = False
        now = time.time()

        def changed(old: Rating) -> Rating:
            return Rating(
                old.rating if rating is None else rating or None,
                old.rejected if rejected is None else rejected,
                old.note if note is None else storable_text(note),
                OWN,
                now,
            )

        with self._store.write() as connection:
            before = [_get(connection, run, index, OWN) for run, index in images]
            changes = [(old, changed(old)) for old in before]
            for (run, index), (_, new) in zip(images, changes, strict=True):
                put_rating(connection, run, index, new)
        return changes

    def put(self, ratings: Iterable[tuple[str, int, Rating]]) -> None:
        """Store ratings, or remove empty ones, in one transaction. They replace ratings of the same source.

        Parameters
        ----------
        ratings
            (token of the run, index of the image, rating) of each rating.

        Raises
        ------
        HistoryError
            If the history has no such image, or it can't be written. Nothing is changed then.
        """
        with self._store.write() as connection:
            for run, index, rating in ratings:
                put_rating(connection, run, index, rating)


def find_ratings(connection: sqlite3.Connection, runs: Iterable[str]) -> dict[tuple[str, int], list[Rating]]:
    """Return the ratings of runs; see `Ratings.of_runs`."""
    found: dict[tuple[str, int], list[Rating]] = {}
    sql = (
        f"SELECT run, position, {_COLUMNS} FROM ratings WHERE run IN (SELECT value FROM json_each(?)) "  # noqa: S608 - not user input
        "ORDER BY run, position, source"
    )
    for row in connection.execute(sql, (json_list(runs),)):
        found.setdefault((row["run"], row["position"]), []).append(_read(row))
    return found


def _read(row: sqlite3.Row) -> Rating:
    return Rating(row["rating"], bool(row["rejected"]), row["note"] or "", row["source"], row["rated_at"])


def _get(connection: sqlite3.Connection, run: str, index: int, source: str) -> Rating:
    sql = f"SELECT {_COLUMNS} FROM ratings WHERE run = ? AND position = ? AND source = ?"  # noqa: S608 - not user input
    row = connection.execute(sql, (run, index, source)).fetchone()
    return Rating(source=source) if row is None else _read(row)


def put_rating(connection: sqlite3.Connection, run: str, index: int, rating: Rating) -> None:
    """Store a rating of an image, or remove it if it is empty; raise a HistoryError if there is no such image."""
    if not connection.execute("SELECT 1 FROM images WHERE run = ? AND position = ?", (run, index)).fetchone():
        raise HistoryError("the history has no such image; it was deleted, or its run has not ended")
    key = (run, index, storable_text(rating.source))
    if rating.is_empty:
        connection.execute("DELETE FROM ratings WHERE run = ? AND position = ? AND source = ?", key)
        return
    note = storable_text(rating.note) or None
    connection.execute(
        "INSERT OR REPLACE INTO ratings (run, position, source, rating, rejected, note, rated_at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        (*key, rating.rating, rating.rejected, note, rating.rated_at or time.time()),
    )


# -- searching ---------------------------------------------------------------------------------------------------------

_UNRATED: Mapping[str, Any] = MappingProxyType({"rated": False, "rejected": False})


def read_review_values(connection: sqlite3.Connection, names: Collection[str]) -> ReviewsOf:
    """Return a function from the token of a run to the values of its images. `names` selects the values.

    The values are the rating by this user (`REVIEW_NAMES`) and the scores. A run without images has the values of one
    unrated image. If no image in the history has a rating or a score, each run has these values.
    """
    values: dict[tuple[str, int], dict[str, Any]] = {}
    score_names = [name for name in names if "::" not in name and name not in REVIEW_NAMES]
    sql = (
        "SELECT run, position, name, value FROM scores "
        "WHERE value IS NOT NULL AND name IN (SELECT value FROM json_each(?))"
    )
    for run, position, name, value in connection.execute(sql, (json_list(score_names),)) if score_names else ():
        values.setdefault((run, position), dict(_UNRATED))[name] = value
    if not REVIEW_NAMES.isdisjoint(names):
        sql = "SELECT run, position, rating, rejected, note FROM ratings WHERE source = ?"
        for run, position, rating, rejected, note in connection.execute(sql, (OWN,)):
            rated = {"rated": rating is not None, "rejected": bool(rejected), "rating": rating, "note": note}
            values.setdefault((run, position), {}).update(rated)
    if not values:
        return lambda _: (_UNRATED,)
    by_run: dict[str, list[Mapping[str, Any]]] = {}
    for run, position in connection.execute("SELECT run, position FROM images"):
        by_run.setdefault(run, []).append(values.get((run, position), _UNRATED))
    return lambda run: by_run.get(run, (_UNRATED,))
