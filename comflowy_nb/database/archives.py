"""Read the data to archive, and add the data of a loaded archive in one transaction: `History.archives`."""

from __future__ import annotations

import itertools
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from comflowy_nb.database.connection import Queries
from comflowy_nb.database.ratings import find_ratings, put_rating
from comflowy_nb.database.references import check_name
from comflowy_nb.database.rows import insert, insert_run_row, json_list, put_image, put_name, put_shared

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping, Sequence

    from comflowy_nb.database.ratings import Rating
    from comflowy_nb.database.records import ImageRecord
    from comflowy_nb.database.scores import Score


IMPORTED = "imported"  # identity and origin of loaded runs; no service has this identity


@dataclass(frozen=True, slots=True)
class NewRun:
    """A run of an archive: columns of the table `runs`, its graph, and its outputs."""

    token: str
    columns: Mapping[str, Any]
    graph: Mapping[str, Any] | None
    outputs: Sequence[ImageRecord]


@dataclass(frozen=True, slots=True)
class NewSweep:
    """A sweep of an archive: its columns in the table `sweeps`, and its cells (number, indices, params, run)."""

    token: str
    columns: Mapping[str, Any]
    cells: Sequence[tuple[int, Sequence[int], Mapping[str, Any], str | None]]


@dataclass(frozen=True, slots=True)
class NewReview:
    """A rating or a score of an image."""

    run: str
    index: int
    rating: Rating | None = None
    score: tuple[str, Score] | None = None


@dataclass(slots=True)
class Added:
    """The result of a load: new runs and sweeps by token, number of ratings, and renames (old -> new)."""

    runs: list[str] = field(default_factory=list)
    sweeps: list[str] = field(default_factory=list)
    ratings: int = 0
    renamed: dict[str, str] = field(default_factory=dict)


class Archives(Queries):
    """Queries for archives, and the transaction that adds the data of a loaded archive."""

    def details(self, runs: Sequence[str]) -> dict[str, tuple[str | None, str | None]]:
        """Return token of a run -> columns that a `RunRecord` omits: the graph's sha256 and the sweep's token."""
        sql = "SELECT token, graph, sweep FROM runs WHERE token IN (SELECT value FROM json_each(?))"
        return {token: (graph, sweep) for token, graph, sweep in self._store.rows(sql, json_list(runs))}

    def graphs(self, keys: Iterable[str]) -> dict[str, dict[str, Any]]:
        """Return a mapping from the sha256 of a graph to the graph."""
        sql = "SELECT sha256, content FROM graphs WHERE sha256 IN (SELECT value FROM json_each(?))"
        return {row["sha256"]: json.loads(row["content"]) for row in self._store.rows(sql, json_list(keys))}

    def inputs(self, identity: str) -> dict[str, str]:
        """Return a mapping from the name of an uploaded image on a service to its sha256."""
        return dict(self._store.rows("SELECT name, sha256 FROM inputs WHERE identity = ?", identity))

    def images_by_content(self, sha256: Iterable[str]) -> dict[str, list[tuple[str, int]]]:
        """Return a mapping from sha256 to the images with this content, as (token of the run, index)."""
        sql = "SELECT run, position, sha256 FROM images WHERE sha256 IN (SELECT value FROM json_each(?))"
        found: dict[str, list[tuple[str, int]]] = {}
        for row in self._store.rows(sql, json_list(sha256)):
            found.setdefault(row["sha256"], []).append((row["run"], row["position"]))
        return found

    def known(self, tokens: Iterable[str]) -> dict[str, str]:
        """Return a mapping from token to reference, for the runs and sweeps in the history."""
        return self._read(_known, tokens)

    def add(
        self,
        file: str,
        runs: Sequence[NewRun],
        sweeps: Sequence[NewSweep],
        *,
        inputs: Iterable[tuple[str, str]] = (),
        reviews: Sequence[NewReview] = (),
    ) -> Added:
        """Add the runs and sweeps that the history does not have, and reviews, in one transaction.

        Parameters
        ----------
        file
            The name of the loaded file.
        inputs
            Name on a service and sha256 of each input image.
        reviews
            Ratings and scores, also of runs in the history. A rating with the same values and time as a rating of
            another source is a duplicate. Of two ratings of one source, the newer is kept.

        Raises
        ------
        RefError
            If a name is not valid. Nothing is added then.
        HistoryError
            If the history can't be written. Nothing is added then.
        """
        added = Added()
        with self._store.write(full=True) as connection:
            known = _known(connection, [*(run.token for run in runs), *(sweep.token for sweep in sweeps)])
            new_sweeps = [sweep for sweep in sweeps if sweep.token not in known]
            tokens = {sweep.token for sweep in new_sweeps}
            for run in (run for run in runs if run.token not in known):
                _add_run(connection, run, file, tokens, added)
            for sweep in new_sweeps:
                _add_sweep(connection, sweep, file, added)
            for sweep in (sweep for sweep in sweeps if sweep.token in known):
                _fill_cells(connection, sweep)
            for name, sha256 in inputs:
                values = {"identity": IMPORTED, "name": name, "sha256": sha256}
                insert(connection, "inputs", values, verb="INSERT OR REPLACE")
            added.ratings = _add_reviews(connection, reviews)
        return added


def _known(connection: sqlite3.Connection, tokens: Iterable[str]) -> dict[str, str]:
    sql = (
        "SELECT token, 'r' || number AS ref FROM runs WHERE token IN (SELECT value FROM json_each(:tokens)) "
        "UNION ALL SELECT token, 's' || number FROM sweeps WHERE token IN (SELECT value FROM json_each(:tokens))"
    )
    return {row["token"]: row["ref"] for row in connection.execute(sql, {"tokens": json_list(tokens)})}


def _add_run(connection: sqlite3.Connection, run: NewRun, file: str, sweeps: set[str], added: Added) -> None:
    columns = dict(run.columns)
    name = columns.pop("name")
    if columns["sweep"] not in sweeps:
        columns["sweep"] = None
    key = f"{IMPORTED}:{run.token}"  # never the key of a request, which is a sha256
    graph = None if run.graph is None else put_shared(connection, "graphs", run.graph)
    own = {"identity": IMPORTED, "origin": IMPORTED, "key": key, "owner": "", "imported": file}
    insert_run_row(connection, {"token": run.token, **columns, **own, "graph": graph})
    for image in run.outputs:
        put_image(connection, run.token, image)
    _put_free_name(connection, "runs", run.token, name, added)
    added.runs.append(run.token)


def _add_sweep(connection: sqlite3.Connection, sweep: NewSweep, file: str, added: Added) -> None:
    columns = dict(sweep.columns)
    name = columns.pop("name")
    key = f"{IMPORTED}:{sweep.token}"
    own = {"identity": IMPORTED, "origin": IMPORTED, "key": key, "fresh": False, "imported": file}
    insert(connection, "sweeps", {"token": sweep.token, **columns, **own})
    for number, at, params, run in sweep.cells:
        values = {"number": number, "at": list(at), "params": params, "key": f"{key}.{number}", "run": run}
        insert(connection, "cells", {"sweep": sweep.token, **values})
    _put_free_name(connection, "sweeps", sweep.token, name, added)
    added.sweeps.append(sweep.token)


def _fill_cells(connection: sqlite3.Connection, sweep: NewSweep) -> None:
    """Set the runs of the empty cells of an imported sweep, which was saved before these runs had ended."""
    sql = (
        "UPDATE cells SET run = ? WHERE sweep = ? AND number = ? AND at = ? AND run IS NULL "
        "AND sweep IN (SELECT token FROM sweeps WHERE imported IS NOT NULL)"
    )
    rows = [
        (run, sweep.token, number, json.dumps(list(at), separators=(",", ":")))
        for number, at, _, run in sweep.cells
        if run is not None
    ]
    connection.executemany(sql, rows)


def _put_free_name(connection: sqlite3.Connection, table: str, token: str, name: str | None, added: Added) -> None:
    """Set the name of a run or a sweep, with a suffix if the name is in use."""
    if name is None:
        return
    check_name(name)
    names = itertools.chain([name], (f"{name}_{number}" for number in itertools.count(2)))
    sql = "SELECT 1 FROM names WHERE name = ?"
    free = next(candidate for candidate in names if connection.execute(sql, (candidate,)).fetchone() is None)
    if free != name:
        added.renamed[name] = free
    put_name(connection, table, token, free)


def _add_reviews(connection: sqlite3.Connection, reviews: Sequence[NewReview]) -> int:
    """Add ratings and scores of images in the history. Return the number of added or changed ratings."""
    earlier = find_ratings(connection, {review.run for review in reviews})
    sql = "SELECT run, position FROM images WHERE run IN (SELECT value FROM json_each(?))"
    images = {tuple(row) for row in connection.execute(sql, (json_list({review.run for review in reviews}),))}
    count = 0
    for review in reviews:
        if (review.run, review.index) not in images:
            continue
        if review.score is not None:
            name, score = review.score
            values = {"run": review.run, "position": review.index, "name": name}
            insert(
                connection, "scores", {**values, "value": score.value, "error": score.error}, verb="INSERT OR IGNORE"
            )
        if review.rating is not None and _is_new(review.rating, earlier.get((review.run, review.index), ())):
            put_rating(connection, review.run, review.index, review.rating)
            count += 1
    return count


def _is_new(rating: Rating, earlier: Iterable[Rating]) -> bool:
    """Return True if no source has the same rating, and the same source has no newer rating."""
    content = (rating.rating, rating.rejected, rating.note, rating.rated_at)
    return not any(
        (other.rating, other.rejected, other.note, other.rated_at) == content
        or (other.source == rating.source and other.rated_at >= rating.rated_at)
        for other in earlier
    )
