"""The history: every run and sweep, in one SQLite file that several processes use at once."""

from __future__ import annotations

import heapq
import json
import time
from itertools import islice
from typing import TYPE_CHECKING, Any, Unpack

from comflowy_nb.database import records, search
from comflowy_nb.database.connection import Store
from comflowy_nb.database.deduplication import ANSWER_LOST, Decision, Retry, RunRequest, decide
from comflowy_nb.database.process_locks import clean_locks, is_alive, remove_free_locks
from comflowy_nb.database.references import check_name
from comflowy_nb.database.rows import (
    HELD_BY,
    SELECT_SWEEP,
    insert_run,
    put_image,
    put_name,
    put_status,
    put_words,
    read_runs,
    read_sweep,
    submitting_owners,
)
from comflowy_nb.database.schema import LIVE
from comflowy_nb.database.small_tables import Inputs, Seeds, Senders, Times
from comflowy_nb.database.sweeps import Sweeps, link_cell, made_for
from comflowy_nb.errors import HistoryError
from comflowy_nb.status import Status, StatusEvent
from comflowy_nb.workflow.files import remove_leftovers

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable
    from pathlib import Path

    from comflowy_nb.database.records import ImageRecord, RunChanges, RunRecord, SweepRecord

__all__ = ["ANSWER_LOST", "Decision", "History", "Retry", "RunRequest"]


class History:
    """Open it with `History.open(folder)`. Its methods may be called on any thread.

    `remarks` holds what a person should hear about the opening: a damaged file set aside, a slower journal.
    `sweeps`, `seeds`, `senders` and `times` are parts of it.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._locks = store.folder / "locks"
        self._images = store.folder / "images"
        self.remarks = store.remarks
        self.sweeps = Sweeps(store, self._dead)
        self.seeds = Seeds(store)
        self.inputs = Inputs(store)
        self.senders = Senders(store, self._dead)
        self.times = Times(store)

    @classmethod
    def open(cls, folder: Path) -> History:
        """Open the history of a home folder, which is made if it isn't there.

        Raises
        ------
        HistoryError
            If the file is newer than this version, or can't be read and written.
        """
        history = cls(Store(folder))
        clean_locks(history._locks, keep=history._owners())
        remove_free_locks(history._images)  # of images that a killed process was receiving
        for left in (folder, folder / "workflows", folder / "inputs"):
            remove_leftovers(left)
        remove_leftovers(history._images, "*/*.part")
        return history

    def close(self) -> None:
        self._store.close()

    # -- submitting ---------------------------------------------------------------------------------------------

    def claim(
        self,
        intent: RunRequest,
        *,
        fresh: bool = False,
        retry: Retry = "failed",
        costs_money: bool = True,
        resubmit_lost: bool = False,
    ) -> Decision:
        """Write the intent of a run, or find the run that stands for it; of several who ask at once one gets `new`.

        Parameters
        ----------
        costs_money
            Whether even a power cut must find the intent from here on. What costs nothing need not wait for the disk
            before it is sent: the disk has it, with the service's id, while the service works.
        resubmit_lost
            Whether a lost run is submitted again.

        Raises
        ------
        HistoryError
            If the intent can't be written. Nothing may be sent then.
        RefError
            If its name can't be one.
        """
        if intent.name is not None:
            check_name(intent.name)
        try:
            dead = self._dead_submitters()
            with self._store.write(full=costs_money) as connection:
                _hold_unanswered(connection, dead)
                rows = connection.execute("SELECT * FROM runs WHERE key = ? ORDER BY number DESC", (intent.key,))
                earlier = rows.fetchall()
                made = made_for(connection, intent.cell[0], intent.key) if fresh and intent.cell else set()
                ours = {index for index, row in enumerate(earlier) if row["token"] in made}
                statuses = [Status(row["status"]) for row in earlier]
                kind, index = decide(statuses, fresh=fresh, retry=retry, ours=ours, resubmit_lost=resubmit_lost)
                number = insert_run(connection, intent) if index is None else earlier[index]["number"]
                if intent.name is not None and kind != "held":
                    put_name(connection, intent.name, run=number)
                record = _by_number(connection, number)
                if intent.cell is not None:
                    link_cell(connection, intent.cell, record.token)
                put_words(connection, record)
        except HistoryError as error:
            raise HistoryError(f"{error}. Nothing was sent") from error
        return Decision(kind, record)

    def apply(self, token: str, event: StatusEvent, **changes: Unpack[RunChanges]) -> RunRecord | None:
        """Apply an event to a run. Return its new record; None if the event changes nothing at the run's status.

        `images` are written together with the status.
        """
        # The id is what a run is found by: the disk must have it, and with it the intent.
        with self._store.write(full=changes.get("service_run_id") is not None) as connection:
            row = connection.execute("SELECT * FROM runs WHERE token = ?", (token,)).fetchone()
            record = None if row is None else records.apply(read_runs(connection, [row])[0], event, **changes)
            if record is None:
                return None
            put_status(connection, record)
            for image in changes.get("images") or ():
                put_image(connection, record.number, image)
            return _by_number(connection, record.number)

    def ask_cancel(self, token: str) -> None:
        """Record that the service is asked to cancel a run, for other processes that track it."""
        with self._store.write() as connection:
            connection.execute("UPDATE runs SET cancel_asked_at = ? WHERE token = ?", (time.time(), token))

    def is_cancel_asked(self, token: str) -> bool:
        """Whether any client asked the service to cancel a run."""
        with self._store.read() as connection:
            row = connection.execute("SELECT cancel_asked_at FROM runs WHERE token = ?", (token,)).fetchone()
        return row is not None and row["cancel_asked_at"] is not None

    def set_image(self, token: str, image: ImageRecord) -> RunRecord:
        """Write what became of one image. An image that is on disk is not given up because somebody else failed.

        Raises
        ------
        HistoryError
            If there is no such run, or it can't be written.
        """
        with self._store.write() as connection:
            row = connection.execute("SELECT number FROM runs WHERE token = ?", (token,)).fetchone()
            if row is None:
                raise HistoryError("the history knows no such run")
            number = row["number"]
            old = connection.execute(
                "SELECT file FROM images WHERE run = ? AND position = ? AND state = 'kept'", (number, image.index)
            ).fetchone()
            lost = image.state != "kept" and old is not None and self._has_file(old["file"])
            if not lost:
                put_image(connection, number, image)
            return _by_number(connection, number)

    # -- finding ------------------------------------------------------------------------------------------------

    def get(self, token: str) -> RunRecord | None:
        return self._one("SELECT * FROM runs WHERE token = ?", token)

    def by_number(self, number: int) -> RunRecord | None:
        if number >= 2**63:  # more than a row's number can be
            return None
        return self._one("SELECT * FROM runs WHERE number = ?", number)

    def by_name(self, name: str) -> RunRecord | None:
        """The run that was given this name last, unless a sweep was given it since."""
        return self._one(f"SELECT * FROM runs WHERE number = (SELECT run {HELD_BY})", name)  # noqa: S608 - own words

    def newest(self, *, back: int = 0, without: Collection[str] = ()) -> RunRecord | None:
        """The newest run, or the one so many before it, the tokens in `without` not counted."""
        with self._store.read() as connection:
            for row in connection.execute("SELECT * FROM runs ORDER BY number DESC"):
                if row["token"] in without:
                    continue
                if back == 0:
                    return read_runs(connection, [row])[0]
                back -= 1
        return None

    def last(self, *, back: int = 0, without: Collection[str] = ()) -> RunRecord | SweepRecord | None:
        """The newest run or sweep, or the one so many before it; a run sent for a cell of a sweep is none."""
        with self._store.read() as connection:
            runs = connection.execute("SELECT * FROM runs WHERE sweep IS NULL ORDER BY number DESC")
            sweeps = connection.execute(f"{SELECT_SWEEP} ORDER BY number DESC")
            rows = heapq.merge(runs, sweeps, key=lambda row: row["created_at"], reverse=True)
            row = next(islice((row for row in rows if row["token"] not in without), back, None), None)
            if row is None:
                return None
            return read_sweep(row) if "spec" in row.keys() else read_runs(connection, [row])[0]  # noqa: SIM118 - `in row` looks through the values

    def by_service_id(self, prefix: str) -> RunRecord | None:
        """The run with this id of a service, or the only one whose id begins so.

        Raises
        ------
        RefError
            If there are several; it lists them.
        """
        with self._store.read() as connection:
            rows = search.find_by_id(connection, prefix)
            return read_runs(connection, rows)[0] if rows else None

    def by_content(self, sha256: str) -> RunRecord | None:
        """The newest run that made a file of this content."""
        return self._one(
            "SELECT runs.* FROM images JOIN runs ON runs.number = images.run WHERE images.sha256 = ? "
            "ORDER BY runs.number DESC LIMIT 1",
            sha256,
        )

    def graph(self, token: str) -> dict[str, Any] | None:
        """The graph the run was made of, where it was made of one."""
        with self._store.read() as connection:
            row = connection.execute(
                "SELECT content FROM runs JOIN graphs ON graphs.sha256 = runs.graph WHERE token = ?", (token,)
            ).fetchone()
        return None if row is None else dict(json.loads(row["content"]))

    def search(self, text: str | None = None, **filters: Unpack[search.Filters]) -> list[RunRecord]:
        """Runs, newest first."""
        with self._store.read() as connection:
            return read_runs(connection, search.find_rows(connection, search.Query(text=text, **filters)))

    def name(self, token: str, name: str) -> RunRecord:
        """Give a run a name; the newest holder of a name is who it means.

        Raises
        ------
        RefError
            If the name can't be one.
        HistoryError
            If there is no such run, or it can't be written.
        """
        check_name(name)
        with self._store.write() as connection:
            row = connection.execute("SELECT number FROM runs WHERE token = ?", (token,)).fetchone()
            if row is None:
                raise HistoryError("the history knows no such run")
            put_name(connection, name, run=row["number"])
            record = _by_number(connection, row["number"])
            put_words(connection, record)
        return record

    # -- runs whose client is gone ------------------------------------------------------------------------------

    def adopt(self, token: str, owner: str) -> RunRecord | None:
        """Make `owner` the owner of a run whose owner has died; return None if that one lives."""
        with self._store.read() as connection:
            row = connection.execute("SELECT owner FROM runs WHERE token = ?", (token,)).fetchone()
        if row is None:
            return None
        dead = self._dead({row["owner"]} - {owner})
        with self._store.write() as connection:
            row = connection.execute("SELECT number, owner FROM runs WHERE token = ?", (token,)).fetchone()
            if row["owner"] != owner and row["owner"] not in dead:  # it lives, or another client was first
                return None
            if row["owner"] != owner:
                _hold_unanswered(connection, dead)
                connection.execute("UPDATE runs SET owner = ? WHERE number = ?", (owner, row["number"]))
            return _by_number(connection, row["number"])

    def orphans(self, identity: str | None = None) -> list[RunRecord]:
        """Return the live runs, and those with images to fetch, whose process has died; oldest first."""
        dead = self._dead(self._owners())
        if not dead:
            return []
        with self._store.write() as connection:
            _hold_unanswered(connection, dead)
            rows = connection.execute(
                f"SELECT * FROM runs WHERE status IN {LIVE} "  # noqa: S608 - own words
                "OR number IN (SELECT run FROM images WHERE state = 'expected') ORDER BY number"
            ).fetchall()
            rows = [row for row in rows if identity is None or row["identity"] == identity]
            return read_runs(connection, [row for row in rows if row["owner"] in dead])

    # -- inside -------------------------------------------------------------------------------------------------

    def _one(self, query: str, value: str | int) -> RunRecord | None:
        with self._store.read() as connection:
            row = connection.execute(query, (value,)).fetchone()
            return None if row is None else read_runs(connection, [row])[0]

    def _dead_submitters(self) -> set[str]:
        """Owners that died while they submitted something."""
        with self._store.read() as connection:
            owners = submitting_owners(connection)
        return self._dead(owners)

    def _dead(self, owners: Iterable[str]) -> set[str]:
        """Which of these have ended. To find that out can take seconds: it is never done within a transaction.

        What is found stays true, for an owner's name is used once: a transaction that follows need only compare names.
        """
        return {owner for owner in owners if not is_alive(self._locks, owner)}

    def _owners(self) -> set[str]:
        with self._store.read() as connection:
            rows = connection.execute(
                f"SELECT DISTINCT owner FROM runs WHERE status IN {LIVE} "  # noqa: S608 - own words
                "OR number IN (SELECT run FROM images WHERE state = 'expected')"
            ).fetchall()
        return {row["owner"] for row in rows}

    def _has_file(self, file: str | None) -> bool:
        return file is not None and (self._images / file).is_file()


def _hold_unanswered(connection: sqlite3.Connection, dead: Collection[str]) -> None:
    """Make the runs `unknown` whose process died before it had read the response to the submit."""
    if not dead:
        return
    rows = connection.execute(
        f"SELECT * FROM runs WHERE status IN {LIVE} AND status = 'submitting'"  # noqa: S608 - own words
    ).fetchall()
    for record in read_runs(connection, [row for row in rows if row["owner"] in dead]):
        held = records.apply(record, StatusEvent.OWNER_DIED, reason=ANSWER_LOST)
        if held is not None:
            put_status(connection, held)


def _by_number(connection: sqlite3.Connection, number: int) -> RunRecord:
    rows = connection.execute("SELECT * FROM runs WHERE number = ?", (number,)).fetchall()
    return read_runs(connection, rows)[0]
