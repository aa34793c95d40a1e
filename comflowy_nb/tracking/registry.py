"""The runs of one client: one object for each record, and the adoption of orphaned runs."""

from __future__ import annotations

import threading
import time
import weakref
from typing import TYPE_CHECKING

from comflowy_nb.errors import RefError
from comflowy_nb.status import Status
from comflowy_nb.tracking.run import Run

if TYPE_CHECKING:
    from comflowy_nb.tracking.run import Follower, RunRecord
    from comflowy_nb.tracking.tracker import Tracker

__all__ = ["RunRegistry"]

UNKNOWN_AGE_S = 86400.0


class RunRegistry:
    """Runs that were sent to one place, found in the history or made now.

    Parameters
    ----------
    origin
        The place: a run is asked about only where it was sent.
    origins
        Of all servers, where several make up the place.
    owner
        Name of the client's lock file.
    follower
        Who acts for the runs.
    """

    def __init__(
        self,
        tracker: Tracker,
        *,
        origin: str,
        owner: str,
        follower: Follower,
        origins: frozenset[str] = frozenset(),
    ) -> None:
        self.origin = origin
        self._origins = origins | {origin}
        self._tracker = tracker
        self._history = tracker.history
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
                service = self._tracker.service
                run.resubmits_lost = service.resubmits_lost and record.identity == service.identity
                return run
        if run.record != record and not run.status.is_live:
            self._read(run)  # `record` may have been read before what the run knows
        return run

    @property
    def is_idle(self) -> bool:
        """Whether no run that is followed or held by anybody can change any more."""
        with self._lock:
            runs = list(self._runs.values())
        return all(run.record.is_settled for run in runs)

    def _read(self, run: Run) -> None:
        with run.guard:
            record = self._history.get(run.token)
            if record is not None:
                run.update(record)

    def is_here(self, record: RunRecord) -> bool:
        """Whether a run was sent to this place."""
        return record.origin in self._origins

    def check_place(self, run: Run) -> None:
        """Raise a RefError for a run that was sent elsewhere."""
        if not self.is_here(run.record):
            place, label = run.record.service, self._tracker.service.label
            raise RefError(f"{run.ref} was sent to {place}, and {label} knows nothing of it; connect to {place} first")

    def adopt_orphans(self) -> list[Run]:
        """Adopt the orphaned runs of this service; return them."""
        runs = []
        for record in self._history.orphans(self._tracker.service.identity):
            if not self.is_here(record):
                continue
            taken = self._history.adopt(record.token, self._owner)
            if taken is not None and self._can_be_checked(taken):
                run = self.run(taken)
                runs.append(run)
                self._tracker.follow(run, workflow_key(taken))
        return [*runs, *self._track_unknown()]

    def _track_unknown(self) -> list[Run]:
        """Track the `unknown` runs of the last day, where the service knows them by our own id."""
        since = time.time() - UNKNOWN_AGE_S
        found = self._history.search(status=Status.UNKNOWN, since=since, limit=None)
        mine = [self.run(record) for record in found if self.is_here(record) and self._can_be_checked(record)]
        for run in mine:
            self._tracker.follow(run, workflow_key(run.record))
        return mine

    def resume_all(self) -> list[Run]:
        """Adopt the orphaned runs, and check the lost ones again."""
        lost = self._history.search(status=Status.LOST, limit=None)
        mine = [self.run(record) for record in lost if self.is_here(record)]
        for run in mine:
            self._tracker.follow(run, workflow_key(run.record))
        return [*self.adopt_orphans(), *mine]

    def resume(self, run: Run) -> None:
        """Track one run again, whatever keeps it from its end."""
        self.check_place(run)
        record = run.record
        if record.status.is_final:
            self.refresh(run)
        elif record.status.is_live:
            self._adopt(run)
        elif record.status.is_held and self._can_be_checked(record):
            self._tracker.follow(run, workflow_key(record))

    def refresh(self, run: Run) -> bool:
        """Bring a run up to date: watch one that another kernel follows, fetch images that are not on disk.

        Returns
        -------
        Whether images were wanting and are fetched now, through a fresh check.
        """
        record = run.record
        if record.status.is_live:
            self.watch(run)
        if not record.status.is_final or not self.is_here(record):
            return False
        wanting = self._tracker.downloads.expect_missing(run)
        if wanting:
            self._tracker.follow(run, workflow_key(record))
        return wanting

    def watch(self, run: Run) -> None:
        """Read a run of another kernel from the history, and take it over if that kernel ends."""
        if run.record.owner != self._owner:
            self._tracker.watch(run, workflow_key(run.record), may_adopt=self.is_here(run.record))
        elif run.status.is_live and not self._tracker.is_tracking(run):
            self._read(run)  # it ended after its record was read

    def cancel(self, run: Run) -> None:
        """Cancel a live run.

        What another kernel is submitting is cancelled when that one knows the answer: before it there is no id to name.
        """
        self.check_place(run)
        if not run.status.is_live:
            return
        if run.status is not Status.SUBMITTING or run.record.owner == self._owner:
            self._tracker.cancel(run)
            return

        run.once(
            lambda: run.status is not Status.SUBMITTING,
            lambda: self._tracker.scheduler.execute(lambda: self.cancel(run)),
        )
        self.watch(run)

    def _can_be_checked(self, record: RunRecord) -> bool:
        """Whether a run can be checked: the service knows it by an id of its own, or by one that follows from ours."""
        return record.service_run_id is not None or self._tracker.service.run_id_of(record.token) is not None

    def _adopt(self, run: Run) -> None:
        if run.record.owner != self._owner:
            with run.guard:
                taken = self._history.adopt(run.token, self._owner)
                if taken is not None:
                    run.update(taken)
            if taken is None:
                self.watch(run)
                return
        # it can be ours and not followed: the history was locked after an earlier try had taken it over
        if not self._tracker.is_tracking(run) and self._can_be_checked(run.record):
            self._tracker.follow(run, workflow_key(run.record))


def workflow_key(record: RunRecord) -> str:
    """What the time a run of this workflow takes is remembered under."""
    return record.workflow_id or record.workflow
