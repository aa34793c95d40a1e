"""Measure disk usage, and prune and delete runs in the history: `History.cleanup`.

One transaction changes the rows and lists the files to remove in the table `removals`. `images/removal.py` removes the
files afterwards; if the process is killed first, the next process does so when it opens the history. A file is removed
only if the rows still permit it: no image refers to it, or its image is pruned.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, NamedTuple

from comflowy_nb.database.connection import Queries
from comflowy_nb.database.process_locks import dead_owners
from comflowy_nb.database.records import ImageRecord
from comflowy_nb.database.rows import find_runs, json_list
from comflowy_nb.errors import RefError
from comflowy_nb.status import Status

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable, Mapping

    from comflowy_nb.database.records import RunRecord


ALL_FILES = -1  # `position` of a removal of all files of a run

_FINAL = json_list(status for status in Status if status.is_final)
_LIVE = json_list(status for status in Status if status.is_live)
_IMAGE_COLUMNS = ("position", *(field.name for field in fields(ImageRecord)[1:]))

# The originals of still images that have a thumbnail, of settled runs that ended before a time, oldest first. The runs
# that an unfinished sweep shows are left out, because a process may draw them.
_ORIGINALS = f"""
    SELECT images.run, runs.number, coalesce(runs.finished_at, runs.created_at) AS ended_at,
        runs.name IS NOT NULL OR runs.token IN (
            SELECT cells.run FROM cells JOIN sweeps ON sweeps.token = cells.sweep
            WHERE sweeps.name IS NOT NULL AND cells.run IS NOT NULL
        ) AS is_named,
        images.sha256 IN (SELECT sha256 FROM inputs) AS is_input,
        EXISTS (
            SELECT 1 FROM ratings WHERE ratings.run = images.run AND ratings.position = images.position
                AND (ratings.rating IS NOT NULL OR ratings.note IS NOT NULL)
        ) AS is_rated,
        {", ".join(f"images.{name} AS {name}" for name in _IMAGE_COLUMNS)}
    FROM images JOIN runs ON runs.token = images.run
    WHERE images.state = 'kept' AND images.error IS NULL AND images.format IN ('PNG', 'JPEG', 'WEBP')
        AND runs.status IN (SELECT value FROM json_each(:final)) AND ended_at < :before
        AND images.run NOT IN (SELECT run FROM images WHERE state = 'expected')
        AND images.run NOT IN (
            SELECT run FROM cells WHERE run IS NOT NULL AND (
                sweep IN (SELECT value FROM json_each(:in_submission)) OR sweep IN (
                    SELECT sweep FROM cells WHERE run IN (
                        SELECT token FROM runs WHERE status IN (SELECT value FROM json_each(:live)) AND imported IS NULL
                        UNION SELECT run FROM images WHERE state = 'expected'
                    )
                )
            )
        )
    ORDER BY runs.number, images.position
"""  # noqa: S608 - not user input


class Removal(NamedTuple):
    """Files of a run to remove: the original of one output, or all files."""

    run: str
    position: int


@dataclass(frozen=True, slots=True)
class Original:
    """The original file of an image that a prune may remove. `ended_at` is when its run ended, in UTC seconds."""

    run: str
    number: int
    ended_at: float
    is_named: bool  # the run, or a sweep that shows it
    is_input: bool  # its content was submitted as an image of another run
    is_rated: bool  # or has a note, by this user or another one; a rejection alone does not count
    image: ImageRecord


def is_protected(original: Original) -> bool:
    """Return True if a prune without `all` keeps this original. Only this function defines the rule."""
    return original.is_named or original.is_input or original.is_rated


@dataclass(frozen=True, slots=True)
class RunsToDelete:
    """The runs that a delete removes and the runs that it keeps.

    Attributes
    ----------
    runs
        The runs to delete.
    kept
        Reference -> reason, for the runs of the sweeps that are kept.
    reusable_keys
        The request keys for which a success remains in the history.
    """

    runs: tuple[RunRecord, ...]
    kept: Mapping[str, str]
    reusable_keys: frozenset[str]


class Cleanup(Queries):
    """The queries of `disk`, the changes that prune and delete make, and the list of files to remove."""

    # -- disk ---------------------------------------------------------------------------------------------------

    def workflows(self) -> dict[str, str]:
        """Return a mapping from run token to the name of its workflow."""
        return dict(self._store.rows("SELECT token, workflow FROM runs"))

    def other_outputs(self) -> set[str]:
        """Return the names of the stored files that are not still images."""
        sql = "SELECT file FROM images WHERE file IS NOT NULL AND format NOT IN ('PNG', 'JPEG', 'WEBP')"
        return {row["file"].rpartition("/")[2] for row in self._store.rows(sql)}

    # -- prune --------------------------------------------------------------------------------------------------

    def originals(self, *, before: float) -> list[Original]:
        """Return the originals of runs that ended before a time (UTC seconds since 1970), including protected ones."""
        in_submission = self._sweeps_in_submission()
        return self._read(_originals, before, in_submission)

    def prune(self, chosen: Iterable[Original], *, before: float, all: bool) -> list[Original]:  # noqa: A002 - the option
        """Set images to `pruned`, and list their originals for removal, in one transaction.

        Returns
        -------
        The originals that were set to `pruned`. Another process may have changed some of the chosen ones meanwhile.
        """
        in_submission = self._sweeps_in_submission()
        keys = {(original.run, original.image.index) for original in chosen}
        with self._store.write(full=True) as connection:
            found = [
                original
                for original in _originals(connection, before, in_submission)
                if (original.run, original.image.index) in keys and (all or not is_protected(original))
            ]
            rows = [(original.run, original.image.index) for original in found]
            connection.executemany("UPDATE images SET state = 'pruned' WHERE run = ? AND position = ?", rows)
            _list_removals(connection, rows)
        return found

    # -- delete -------------------------------------------------------------------------------------------------

    def runs_to_delete(self, runs: Mapping[str, str | None], sweeps: Collection[str]) -> RunsToDelete:
        """Return the runs that `delete` would remove, without changes. See `delete` for the parameters."""
        in_submission = self._sweeps_in_submission()
        return self._read(_runs_to_delete, runs, sweeps, in_submission)

    def delete(
        self, runs: Mapping[str, str | None], sweeps: Collection[str], *, only: Collection[str] | None = None
    ) -> RunsToDelete:
        """Delete runs and sweeps, and list the files of the runs for removal, in one transaction.

        Parameters
        ----------
        runs
            Run token -> token of the sweep if the run was named as its cell (`s3.12`), else None.
        sweeps
            Tokens of sweeps, which are deleted with the runs that were submitted for them.
        only
            Tokens of the runs that may be deleted; None permits all.

        Raises
        ------
        RefError
            If a run is live or held, or a process is submitting a sweep. Nothing is deleted then.
        """
        in_submission = self._sweeps_in_submission()
        with self._store.write(full=True) as connection:
            found = _runs_to_delete(connection, runs, sweeps, in_submission)
            if only is not None:
                found = replace(found, runs=tuple(run for run in found.runs if run.token in only))
            tokens = json_list(run.token for run in found.runs)
            chosen = {"runs": tokens, "sweeps": json_list(sweeps)}
            for statement in _DELETIONS.split(";"):
                connection.execute(statement, chosen)
            _list_removals(connection, [(run.token, ALL_FILES) for run in found.runs])
        return found

    # -- files --------------------------------------------------------------------------------------------------

    def pending(self) -> list[Removal]:
        """Return the listed removals."""
        return [Removal(*row) for row in self._store.rows("SELECT run, position FROM removals ORDER BY run, position")]

    def pruned_file(self, removal: Removal) -> str | None:
        """Return the stored file name of an image that is still pruned; None if the image was fetched again."""
        sql = "SELECT file FROM images WHERE run = ? AND position = ? AND state = 'pruned'"
        row = self._store.row(sql, *removal)
        return None if row is None else row["file"]

    def deleted_runs(self, tokens: Iterable[str]) -> set[str]:
        """Return the tokens that do not belong to a run in the history."""
        searched = set(tokens)
        sql = "SELECT token FROM runs WHERE token IN (SELECT value FROM json_each(?))"
        return searched - {row["token"] for row in self._store.rows(sql, json_list(searched))}

    def forget(self, done: Iterable[Removal]) -> None:
        """Delete entries of the list after their files were removed, or if the files must be kept."""
        with self._store.write() as connection:
            connection.executemany("DELETE FROM removals WHERE run = ? AND position = ?", list(done))

    def _sweeps_in_submission(self) -> set[str]:
        """Return the tokens of the sweeps that a live process is submitting."""
        rows = self._store.rows("SELECT sweep, owner FROM senders")
        dead = dead_owners(self._store.locks, {row["owner"] for row in rows})
        return {row["sweep"] for row in rows if row["owner"] not in dead}


def _originals(connection: sqlite3.Connection, before: float, in_submission: Collection[str]) -> list[Original]:
    rows = connection.execute(
        _ORIGINALS, {"before": before, "in_submission": json_list(in_submission), "final": _FINAL, "live": _LIVE}
    )
    return [
        Original(
            row["run"],
            row["number"],
            row["ended_at"],
            bool(row["is_named"]),
            bool(row["is_input"]),
            bool(row["is_rated"]),
            ImageRecord(*(row[name] for name in _IMAGE_COLUMNS)),
        )
        for row in rows
    ]


def _list_removals(connection: sqlite3.Connection, removals: Iterable[tuple[str, int]]) -> None:
    connection.executemany("INSERT OR IGNORE INTO removals (run, position) VALUES (?, ?)", removals)


# -- choosing runs to delete ------------------------------------------------------------------------------------------

# A kept run is assigned to another sweep that shows it, if there is one. Graphs and defaults are deleted with the last
# run that has them.
_DELETIONS = """
    DELETE FROM names WHERE token IN (SELECT value FROM json_each(:runs) UNION SELECT value FROM json_each(:sweeps));
    DELETE FROM cells WHERE sweep IN (SELECT value FROM json_each(:sweeps));
    DELETE FROM senders WHERE sweep IN (SELECT value FROM json_each(:sweeps));
    DELETE FROM sweeps WHERE token IN (SELECT value FROM json_each(:sweeps));
    UPDATE cells SET run = NULL WHERE run IN (SELECT value FROM json_each(:runs));
    DELETE FROM ratings WHERE run IN (SELECT value FROM json_each(:runs));
    DELETE FROM scores WHERE run IN (SELECT value FROM json_each(:runs));
    DELETE FROM images WHERE run IN (SELECT value FROM json_each(:runs));
    DELETE FROM run_values WHERE run IN
        (SELECT number FROM runs WHERE token IN (SELECT value FROM json_each(:runs)));
    DELETE FROM runs WHERE token IN (SELECT value FROM json_each(:runs));
    UPDATE runs SET sweep = (SELECT cells.sweep FROM cells WHERE cells.run = runs.token LIMIT 1)
        WHERE sweep IN (SELECT value FROM json_each(:sweeps));
    DELETE FROM graphs WHERE sha256 NOT IN (SELECT graph FROM runs WHERE graph IS NOT NULL);
    DELETE FROM defaults WHERE sha256 NOT IN (SELECT defaults FROM runs WHERE defaults IS NOT NULL);
    DELETE FROM workflow_values WHERE sha256 NOT IN (SELECT sha256 FROM graphs UNION SELECT sha256 FROM defaults)
"""


def _runs_to_delete(
    connection: sqlite3.Connection,
    named: Mapping[str, str | None],
    sweeps: Collection[str],
    in_submission: Collection[str],
) -> RunsToDelete:
    """Choose the runs to delete.

    Raises
    ------
    RefError
        If a run is live or held, or a sweep is being submitted.
    """
    numbers = dict(connection.execute("SELECT token, number FROM sweeps").fetchall())
    for sweep in set(sweeps) & set(in_submission):
        raise RefError(f"a kernel submits s{numbers[sweep]} now: %comflowy cancel s{numbers[sweep]} first")
    of_sweeps = "SELECT run FROM cells WHERE sweep IN (SELECT value FROM json_each(?)) AND run IS NOT NULL"
    clause = f"WHERE token IN (SELECT value FROM json_each(?)) OR token IN ({of_sweeps}) ORDER BY number"  # noqa: S608 - not user input
    found = find_runs(connection, clause, json_list(named), json_list(sweeps))
    submitted_for = dict(connection.execute("SELECT token, sweep FROM runs WHERE sweep IS NOT NULL").fetchall())
    shown_by = _shown_by(connection, [run.token for run in found])
    runs: list[RunRecord] = []
    kept: dict[str, str] = {}
    for run in found:
        deleted = {*sweeps, named.get(run.token)}  # also a cell whose run is deleted
        cells = sorted((numbers[sweep], cell) for sweep, cell in shown_by.get(run.token, ()) if sweep not in deleted)
        is_named = run.token in named
        if cells:
            others = ", ".join(f"s{sweep}.{cell}" for sweep, cell in cells)
            why = f"{others} {'show' if len(cells) > 1 else 'shows'} it too"
        elif run.status.is_held and run.imported is None:
            why = f"its status is {run.status}: the service may have accepted it"
            if is_named:
                raise RefError(f"{run.ref} can't be deleted, because {why}, and another submit could cost again")
        elif not run.is_settled:
            raise RefError(_not_settled(run))
        elif not is_named and submitted_for.get(run.token) not in sweeps:
            why = "it was run by itself"
        elif not is_named and run.name is not None:
            why = f"it is named {run.name}"
        else:
            runs.append(run)
            continue
        kept[run.ref] = why
    sql = (
        "SELECT DISTINCT key FROM runs WHERE key IN (SELECT value FROM json_each(?)) AND status = ? "
        "AND imported IS NULL "
        "AND token NOT IN (SELECT value FROM json_each(?))"
    )
    chosen = json_list(run.key for run in runs), Status.SUCCESS, json_list(run.token for run in runs)
    return RunsToDelete(tuple(runs), kept, frozenset(row["key"] for row in connection.execute(sql, chosen)))


def _not_settled(run: RunRecord) -> str:
    if not run.status.is_live:
        return (
            f"the images of {run.ref} are being fetched, so nothing is deleted: %comflowy show {run.ref} waits for them"
        )
    return f"{run.ref} is {run.status}, so nothing is deleted. Cancel it first: %comflowy cancel {run.ref}"


def _shown_by(connection: sqlite3.Connection, tokens: Collection[str]) -> dict[str, list[tuple[str, int]]]:
    """Return a mapping from run token to the sweeps that show the run: sweep token -> number of the first such cell."""
    shown: dict[str, list[tuple[str, int]]] = {}
    sql = "SELECT run, sweep, min(number) FROM cells WHERE run IN (SELECT value FROM json_each(?)) GROUP BY run, sweep"
    for run, sweep, number in connection.execute(sql, (json_list(tokens),)):
        shown.setdefault(run, []).append((sweep, number))
    return shown
