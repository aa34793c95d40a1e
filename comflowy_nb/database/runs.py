"""The history: every run and sweep, in one SQLite file that several processes use at once."""

from __future__ import annotations

import contextlib
import json
import time
from typing import TYPE_CHECKING, Any, Unpack

from comflowy_nb.database import records
from comflowy_nb.database.archives import Archives
from comflowy_nb.database.cleanup import Cleanup
from comflowy_nb.database.connection import Store
from comflowy_nb.database.deduplication import RESPONSE_LOST, Decision, RetryOptions, dead_submitters, look_up
from comflowy_nb.database.process_locks import clean_locks, dead_owners, remove_free_locks
from comflowy_nb.database.queries import search
from comflowy_nb.database.queries.compared_values import field_names, known_values
from comflowy_nb.database.queries.reference_words import cell_words, name_words, number_words
from comflowy_nb.database.ratings import Ratings
from comflowy_nb.database.records import RunRecord
from comflowy_nb.database.references import check_name
from comflowy_nb.database.rows import (
    Table,
    find_owners,
    find_runs,
    insert_run,
    json_list,
    link_cell,
    put_image,
    put_name,
    put_status,
)
from comflowy_nb.database.scores import Scores
from comflowy_nb.database.small_tables import Durations, Inputs, Seeds, Senders, put_sample
from comflowy_nb.database.sweeps import Sweeps
from comflowy_nb.errors import HistoryError
from comflowy_nb.images.removal import finish_removals
from comflowy_nb.images.staging import finish_loads
from comflowy_nb.status import Status, StatusEvent
from comflowy_nb.workflow.files import remove_leftovers

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection
    from pathlib import Path

    from comflowy_nb.database.queries.search import Filters, RunRow
    from comflowy_nb.database.records import ImageRecord, RunChanges, RunRequest
    from comflowy_nb.status import DecisionKind


_LIVE = ", ".join(f"'{status}'" for status in Status if status.is_live)
# An imported run has no service here, so it is never tracked.
_TRACKED = (
    f"(imported IS NULL AND (status IN ({_LIVE}) "  # noqa: S608 - not user input
    "OR token IN (SELECT run FROM images WHERE state = 'expected')))"
)


class History(Table[RunRecord]):
    """The runs of the history. Its attributes, from `sweeps` to `scores`, access the other tables.

    Open it with `History.open(folder)`. Its methods may be called on any thread. `warnings` are texts for the user: a
    damaged file was renamed, the journal is slower, or other users can open the folder.
    """

    table = "runs"
    _find = staticmethod(find_runs)

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._images = store.folder / "images"
        self.warnings = store.warnings
        self.sweeps = Sweeps(store)
        self.seeds = Seeds(store)
        self.inputs = Inputs(store)
        self.senders = Senders(store)
        self.durations = Durations(store)
        self.cleanup = Cleanup(store)
        self.ratings = Ratings(store)
        self.scores = Scores(store)
        self.archives = Archives(store)

    @classmethod
    def open(cls, folder: Path) -> History:
        """Open the history of a home folder, which is created if it does not exist.

        Raises
        ------
        HistoryError
            If the file is newer than this version, or can't be read and written.
        """
        history = cls(Store(folder))
        clean_locks(history._store.locks, keep=find_owners(history._store, _TRACKED))
        remove_free_locks(history._images)  # the locks of images that a killed process was downloading
        for leftover_folder in (folder, folder / "workflows", folder / "inputs"):
            remove_leftovers(leftover_folder)
        remove_leftovers(history._images, "*/*.part")
        with contextlib.suppress(HistoryError):  # the removals of a process that was killed during a prune or delete
            finish_removals(history.cleanup, history._images)
            finish_loads(history, folder)  # or loaded an archive
        return history

    def close(self) -> None:
        self._store.close()

    # -- writing ------------------------------------------------------------------------------------------------

    def record_or_reuse(
        self, request: RunRequest, *, costs_money: bool = True, **options: Unpack[RetryOptions]
    ) -> Decision:
        """Record a request, or find the earlier run to reuse, in one transaction.

        If several processes request the same key at once, exactly one of them gets the decision `new`.

        Parameters
        ----------
        costs_money
            Flush the request to the disk, so that it survives a power failure. A run that costs nothing is flushed when
            its id is recorded.

        Raises
        ------
        HistoryError
            If the request can't be recorded. It must not be submitted then.
        RefError
            If its name is invalid.
        """
        if request.name is not None:
            check_name(request.name)
        sweep = None if request.cell is None else request.cell[0]
        try:
            dead = dead_submitters(self._store)
            with self._store.write(full=costs_money) as connection:
                _hold_unanswered(connection, dead)
                decision = look_up(connection, [request.key], sweep=sweep, **options)[request.key]
                kind: DecisionKind = "new" if decision is None else decision.kind
                token = request.token if decision is None or kind == "new" else decision.record.token
                if kind == "new":
                    insert_run(connection, request)
                if request.name is not None and kind != "held":
                    put_name(connection, "runs", token, request.name)
                if request.cell is not None:
                    link_cell(connection, request.cell, token)
                return Decision(kind, _record(connection, token))
        except HistoryError as error:
            raise HistoryError(f"{error}. Nothing was submitted") from error

    def apply(self, token: str, event: StatusEvent, **changes: Unpack[RunChanges]) -> RunRecord | None:
        """Apply an event to a run. Return its new record; None if the event does not apply to the run's status.

        `images` and `sample_s` are written together with the status.
        """
        # Flush the id to the disk, because the run can be found by its id after a power failure.
        with self._store.write(full=changes.get("service_run_id") is not None) as connection:
            runs = find_runs(connection, "WHERE token = ?", token)
            is_own = bool(runs) and runs[0].imported is None  # no service reports the status of an imported run
            record = records.apply(runs[0], event, **changes) if is_own else None
            if record is None:
                return None
            put_status(connection, record)
            for image in changes.get("images") or ():
                put_image(connection, token, image)
            sample_s = changes.get("sample_s")
            if sample_s is not None:
                put_sample(connection, record.identity, record.workflow_key, sample_s)
            return _record(connection, token)

    def set_images(self, token: str, *images: ImageRecord, is_damaged: bool = False) -> RunRecord:
        """Write images of a run, in one transaction; return the run's record.

        An image that is on disk stays `kept` if another process failed to download it, unless its file is damaged.

        Raises
        ------
        HistoryError
            If there is no such run, or it can't be written.
        """
        sql = "SELECT file FROM images WHERE run = ? AND position = ? AND state = 'kept' AND file IS NOT NULL"
        with self._store.write() as connection:
            for image in images:
                row = connection.execute(sql, (token, image.index)).fetchone()
                if image.state == "kept" or is_damaged or row is None or not (self._images / row["file"]).is_file():
                    put_image(connection, token, image)
            return _record(connection, token)

    def request_cancel(self, token: str) -> None:
        """Record that this client asks the service to cancel a run, so that other clients recognise the cancel."""
        with self._store.write() as connection:
            connection.execute("UPDATE runs SET cancel_asked_at = ? WHERE token = ?", (time.time(), token))

    def is_cancel_requested(self, token: str) -> bool:
        """Return True if any client asked the service to cancel a run."""
        sql = "SELECT 1 FROM runs WHERE token = ? AND cancel_asked_at IS NOT NULL"
        return self._store.row(sql, token) is not None

    # -- reading ------------------------------------------------------------------------------------------------

    def last(self, *, back: int = 0, without: Collection[str] = ()) -> str | None:
        """Return the token of the newest run or sweep, or of the one `back` before it; None if there is none.

        Runs that were submitted for a cell of a sweep, and the tokens in `without`, do not count.
        """
        sql = (
            "SELECT token FROM (SELECT token, number, created_at FROM runs WHERE sweep IS NULL "
            "UNION ALL SELECT token, number, created_at FROM sweeps) "
            "WHERE token NOT IN (SELECT value FROM json_each(?)) ORDER BY created_at DESC, number DESC LIMIT 1 OFFSET ?"
        )
        row = self._store.row(sql, json_list(without), back)
        return None if row is None else str(row["token"])

    def by_service_id(self, prefix: str) -> RunRecord | None:
        """Return the run with this id of a service, or the only one whose id begins with it.

        Raises
        ------
        RefError
            If there are several; it lists them.
        """
        return self._read(search.find_by_service_id, prefix)

    def by_content(self, sha256: str) -> RunRecord | None:
        """Return the newest run that produced a file with this content."""
        clause = "WHERE token IN (SELECT run FROM images WHERE sha256 = ?) ORDER BY number DESC LIMIT 1"
        return self._first(clause, sha256)

    def graph(self, token: str) -> dict[str, Any] | None:
        """Return the graph of a run; None if it was submitted by a workflow id."""
        sql = "SELECT content FROM runs JOIN graphs ON graphs.sha256 = runs.graph WHERE token = ?"
        row = self._store.row(sql, token)
        return None if row is None else dict(json.loads(row["content"]))

    def successes_of(self, identity: str, workflow_key: str, *, limit: int) -> list[RunRecord]:
        """Return the newest successes of a workflow on a service, newest first, without imported runs.

        See `RunRecord.workflow_key`.
        """
        clause = (
            "WHERE identity = ? AND coalesce(workflow_id, workflow) = ? AND status = 'success' "
            "AND imported IS NULL ORDER BY number DESC LIMIT ?"
        )
        return self._read(find_runs, clause, identity, workflow_key, limit)

    def search(self, text: str | None = None, **filters: Unpack[search.Filters]) -> list[RunRecord]:
        """Return the runs that match, newest first; see `search.search`."""
        with self._store.read() as connection:
            return search.search(connection, text, **filters)

    def search_rows(self, text: str | None = None, **filters: Unpack[Filters]) -> list[RunRow]:
        """Return the matching runs, newest first, with the runs of each sweep in one row; see `search.search_rows`."""
        with self._store.read() as connection:
            return search.search_rows(connection, text, **filters)

    def field_names(self) -> set[str]:
        """Return the field ids, bare field names and sweep columns that occur in any run."""
        return self._read(field_names)

    def known_values(self, name: str) -> list[Any]:
        """Return the different values of a field or a column, from the newest runs first."""
        return self._read(known_values, name)

    def recent_params(self, limit: int = 200) -> list[dict[str, Any]]:
        """Return the params of the newest runs, newest first."""
        rows = self._store.rows("SELECT params FROM runs ORDER BY number DESC LIMIT ?", limit)
        return [json.loads(row["params"]) for row in rows]

    def reference_words(self, prefix: str) -> list[str]:
        """Return the references that begin with a text: `s3`, `r41`, names and ids, a limited number of each kind."""
        with self._store.read() as connection:
            return [*number_words(connection, prefix), *name_words(connection, prefix)]

    def cell_words(self, sweep: str, digits: str) -> list[str]:
        """Return the numbers of the cells of a sweep that begin with these digits."""
        return self._read(cell_words, sweep, digits)

    # -- orphaned runs ------------------------------------------------------------------------------------------

    def adopt(self, token: str, owner: str) -> RunRecord | None:
        """Make `owner` the owner of an orphaned run. Return its record.

        Return None if the earlier owner is alive, or if the run is imported.
        """
        row = self._store.row("SELECT owner FROM runs WHERE token = ? AND imported IS NULL", token)
        if row is None:
            return None
        dead = dead_owners(self._store.locks, {row["owner"]} - {owner})
        with self._store.write() as connection:
            record = _record(connection, token)
            if record.owner == owner:
                return record
            if record.owner not in dead:  # the owner is alive, or another client has adopted the run
                return None
            _hold_unanswered(connection, dead)
            connection.execute("UPDATE runs SET owner = ? WHERE token = ?", (owner, token))
            return _record(connection, token)

    def orphans(self, identity: str | None = None) -> list[RunRecord]:
        """Return the orphaned runs that are live or have images to download, oldest first."""
        dead = dead_owners(self._store.locks, find_owners(self._store, _TRACKED))
        if not dead:
            return []
        with self._store.write() as connection:
            _hold_unanswered(connection, dead)
            runs = find_runs(connection, f"WHERE {_TRACKED} ORDER BY number")
        return [run for run in runs if run.owner in dead and identity in {None, run.identity}]


def _hold_unanswered(connection: sqlite3.Connection, dead: Collection[str]) -> None:
    """Set the `submitting` runs of dead owners to `unknown`: the response to their submit can't be read any more."""
    clause = "WHERE status = 'submitting' AND imported IS NULL AND owner IN (SELECT value FROM json_each(?))"
    for record in find_runs(connection, clause, json_list(dead)) if dead else ():
        held = records.apply(record, StatusEvent.OWNER_DIED, reason=RESPONSE_LOST)
        if held is not None:
            put_status(connection, held)


def _record(connection: sqlite3.Connection, token: str) -> RunRecord:
    """Return the record of a run; raise a HistoryError if there is none."""
    runs = find_runs(connection, "WHERE token = ?", token)
    if not runs:
        raise HistoryError("the history has no such run")
    return runs[0]
