"""The runs of one client: which object stands for a record, whose it is, and who takes it up."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING

from comflowy_nb.errors import RefError
from comflowy_nb.runs.run import Run
from comflowy_nb.services.base import Status

if TYPE_CHECKING:
    from comflowy_nb.runs.library import Library
    from comflowy_nb.runs.run import Follower, RunRecord
    from comflowy_nb.runs.tracker import Tracker

__all__ = ["Roster"]


class Roster:
    """Runs that were sent to one place, found in the history or made now.

    Parameters
    ----------
    origin
        The place: a run is asked about only where it was sent.
    owner
        Name of the client's lock file.
    follower
        Who acts for the runs: the client.
    """

    def __init__(self, library: Library, tracker: Tracker, *, origin: str, owner: str, follower: Follower) -> None:
        self.origin = origin
        self._library = library
        self._tracker = tracker
        self._owner = owner
        self._follower = follower
        self._runs: weakref.WeakValueDictionary[str, Run] = weakref.WeakValueDictionary()
        self._lock = threading.Lock()

    def run(self, record: RunRecord) -> Run:
        """The one Run object of a record; a live one stays the object that everybody watches."""
        with self._lock:
            run = self._runs.get(record.token)
            if run is None:
                run = self._runs[record.token] = Run(record, self._follower)
                return run
        if run.record != record and not run.status.is_live:
            self._read(run)  # `record` may have been read before what the run knows
        return run

    def _read(self, run: Run) -> None:
        with run.guard:
            record = self._library.history.get(run.token)
            if record is not None:
                run.update(record)

    def is_here(self, run: Run) -> bool:
        """Whether a run was sent to this place."""
        return run.record.origin == self.origin

    def check_place(self, run: Run) -> None:
        """Raise a RefError for a run that was sent elsewhere."""
        if not self.is_here(run):
            place, label = run.record.service, self._tracker.service.label
            raise RefError(f"{run.ref} was sent to {place}, and {label} knows nothing of it; connect to {place} first")

    def take_up(self) -> list[Run]:
        """Follow what dead kernels left with this service; the runs taken up."""
        runs = []
        for record in self._library.history.orphans(self._tracker.service.identity):
            if record.origin != self.origin:
                continue
            taken = self._library.history.take_over(record.token, self._owner)
            if taken is not None and taken.service_run_id is not None:
                run = self.run(taken)
                runs.append(run)
                self._tracker.follow(run, workflow_key(taken))
        return runs

    def resume_all(self) -> list[Run]:
        """Follow all that nobody follows, and ask about the lost ones again."""
        lost = [self.run(run.record) for run in self._library.runs(status=Status.LOST, limit=None)]
        mine = [run for run in lost if run.record.origin == self.origin]
        for run in mine:
            self._tracker.follow(run, workflow_key(run.record))
        return [*self.take_up(), *mine]

    def resume(self, run: Run) -> None:
        """Follow one run again, whatever keeps it from its end."""
        self.check_place(run)
        record = run.record
        if record.status is Status.SUCCESS:
            self.refresh(run)
        elif record.status.is_live:
            self._adopt(run)
        elif record.status.is_held and record.service_run_id is not None:
            self._tracker.follow(run, workflow_key(record))

    def refresh(self, run: Run) -> bool:
        """Bring a run up to date: watch one that another kernel follows, fetch pictures that are not on disk.

        Returns
        -------
        Whether pictures were wanting and are fetched now, through a fresh check.
        """
        record = run.record
        if record.status.is_live:
            self.watch(run)
        if record.status is not Status.SUCCESS or record.origin != self.origin:
            return False
        wanting = self._library.expect_missing(run)
        if wanting:
            self._tracker.follow(run, workflow_key(record))
        return wanting

    def watch(self, run: Run) -> None:
        """Read a run of another kernel from the history, and take it over if that kernel ends."""
        if run.record.owner != self._owner:
            self._tracker.watch(run, workflow_key(run.record), may_take_over=run.record.origin == self.origin)
        elif run.status.is_live and not self._tracker.is_following(run):
            self._read(run)  # it ended after its record was read

    def cancel(self, run: Run) -> None:
        """Ask the service for an end of a live run.

        What another kernel is submitting is cancelled when that one knows the answer: before it there is no id to name.
        """
        self.check_place(run)
        if not run.status.is_live:
            return
        if run.status is not Status.SUBMITTING or run.record.owner == self._owner:
            self._tracker.cancel(run)
            return

        def cancel_once_taken(changed: Run) -> None:
            if changed.status is not Status.SUBMITTING:
                stop()
                self._tracker.times.soon(lambda: self.cancel(changed))

        stop = run.listen(cancel_once_taken)
        self.watch(run)

    def _adopt(self, run: Run) -> None:
        if run.record.owner == self._owner:
            return
        taken = self._library.history.take_over(run.token, self._owner)
        if taken is None:
            self.watch(run)
            return
        run.update(taken)
        if taken.service_run_id is not None:
            self._tracker.follow(run, workflow_key(taken))


def workflow_key(record: RunRecord) -> str:
    """What the time a run of this workflow takes is remembered under."""
    return record.workflow_id or record.workflow
