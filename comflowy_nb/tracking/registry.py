"""Keep one object per run, adopt orphaned runs, and watch the runs of other processes."""

from __future__ import annotations

import threading
import time
import weakref
from typing import TYPE_CHECKING

from comflowy_nb.database.process_locks import is_alive
from comflowy_nb.errors import RefError
from comflowy_nb.status import Status
from comflowy_nb.tracking.run import Run

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from comflowy_nb.tracking.run import RunRecord
    from comflowy_nb.tracking.tracker import Tracker


MAX_UNKNOWN_AGE_S = 86400.0  # maximum age of the `unknown` runs that are checked again by `connect`
WATCH_S = 0.3  # between reads of a run of another process
OWNER_CHECK_S = 2.0  # between checks whether that process is alive


class RunRegistry:
    """The runs of one service: new runs, and runs in the history.

    Parameters
    ----------
    owner
        Name of the client's lock file in the folder `owners`: only the owner of a run tracks it.
    images_folder
        Folder of the images of the runs.

    Attributes
    ----------
    origin
        Origin of the service. New runs store it, because a run can be checked only where it was submitted.
    """

    def __init__(self, tracker: Tracker, *, owner: str, owners: Path, images_folder: Path) -> None:
        service = tracker.service
        # The sandbox of a home folder is the same service at any port.
        self.origin = "sandbox" if service.kind == "sandbox" else service.origin
        self._origins = service.origins | {self.origin}
        self._tracker = tracker
        self._history = tracker.history
        self._owner = owner
        self._owners = owners
        self._images_folder = images_folder
        self._runs: weakref.WeakValueDictionary[str, Run] = weakref.WeakValueDictionary()
        self._watched: set[str] = set()  # tokens of the runs of other processes that are read
        self._lock = threading.Lock()  # protects the two attributes above

    def run(self, record: RunRecord) -> Run:
        """Return the Run object of a record. Each run has only one."""
        with self._lock:
            run = self._runs.get(record.token)
            if run is None:
                run = Run(record, self._images_folder, cancel=self.cancel, history=self._history)
                self._runs[record.token] = run
                service = self._tracker.service
                run.resubmits_lost = service.resubmits_lost and record.identity == service.identity
                return run
        if run.record != record and not run.status.is_live:
            self._read(run)  # `record` may be older than the run's own
        return run

    @property
    def is_idle(self) -> bool:
        """Whether every run that is still referenced is settled."""
        with self._lock:
            runs = list(self._runs.values())
        return all(run.record.is_settled for run in runs)

    def is_here(self, record: RunRecord) -> bool:
        """Return True if a run was submitted to this service, from this home folder."""
        return record.imported is None and record.origin in self._origins

    def check_origin(self, run: Run) -> None:
        """Raise a RefError for a run that was submitted to another service, or imported."""
        if run.record.imported is not None:
            raise RefError(
                f"{run.ref} was loaded from {run.record.imported}, so no service is asked about it; run it again with "
                f"%comflowy run --from {run.ref}"
            )
        if not self.is_here(run.record):
            other, label = run.record.service, self._tracker.service.label
            raise RefError(f"{run.ref} was submitted to {other}, not to {label}; connect to {other} first")

    def reload(self, tokens: Iterable[str]) -> None:
        """Read runs again from the history, after a cleanup has deleted them or changed their images."""
        with self._lock:
            runs = [run for token in tokens if (run := self._runs.get(token)) is not None]
        for run in runs:
            self._read(run)

    # -- tracking again -------------------------------------------------------------------------------------------

    def adopt_orphans(self) -> list[Run]:
        """Adopt the orphaned runs of this service, and check the `unknown` runs of the last day. Return both."""
        runs = []
        for record in self._history.orphans(self._tracker.service.identity):
            adopted = self._history.adopt(record.token, self._owner) if self.is_here(record) else None
            if adopted is not None and self._can_be_checked(adopted):
                runs.append(self._track(self.run(adopted)))
        since = time.time() - MAX_UNKNOWN_AGE_S
        unknown = self._history.search(status=Status.UNKNOWN, since=since, limit=None)
        here = [record for record in unknown if self.is_here(record) and self._can_be_checked(record)]
        return [*runs, *(self._track(self.run(record)) for record in here)]

    def resume_all(self) -> list[Run]:
        """Adopt the orphaned runs, and check the lost ones again."""
        lost = self._history.search(status=Status.LOST, limit=None)
        runs = [self._track(self.run(record)) for record in lost if self.is_here(record)]
        return [*self.adopt_orphans(), *runs]

    def resume(self, run: Run) -> None:
        """Track one run again, in any status."""
        self.check_origin(run)
        record = run.record
        if record.status.is_final:
            self.refresh(run)
        elif record.status.is_live:
            self._adopt(run)
        elif record.status.is_held and self._can_be_checked(record):
            self._track(run)

    def refresh(self, run: Run, *, refetch: bool = False) -> bool:
        """Bring a run up to date: watch a run of another process, or download images that are not on disk.

        Parameters
        ----------
        refetch
            Whether to also download images that were pruned.

        Returns
        -------
        True if images were missing and are being downloaded.
        """
        if run.status.is_live:
            self.watch(run)
        if not run.status.is_final or not self.is_here(run.record):
            return False
        is_missing = self._tracker.downloads.reset_missing(run, refetch=refetch)
        if is_missing:
            self._track(run)
        return is_missing

    def cancel(self, run: Run) -> None:
        """Cancel a live run.

        A run that another process is submitting is cancelled as soon as it has an id.
        """
        self.check_origin(run)
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

    def _adopt(self, run: Run) -> None:
        if run.record.owner != self._owner and not self._take_over(run):
            self.watch(run)
        # This client can own a run that it does not track: an earlier attempt adopted it, and the next read failed.
        elif not self._tracker.is_tracking(run) and self._can_be_checked(run.record):
            self._track(run)

    def _take_over(self, run: Run) -> bool:
        """Make this client the owner of a run. Return False if the owner is alive."""
        with run.record_lock:
            adopted = self._history.adopt(run.token, self._owner)
            if adopted is not None:
                run.update(adopted)
        return adopted is not None

    def _track(self, run: Run) -> Run:
        self._tracker.track(run)
        return run

    def _can_be_checked(self, record: RunRecord) -> bool:
        """Return True if the id of the run on the service is known, or can be derived from our token."""
        return record.service_run_id is not None or self._tracker.service.run_id_of(record.token) is not None

    # -- runs of other processes ----------------------------------------------------------------------------------

    def watch(self, run: Run) -> None:
        """Read a run of another process from the history until it is settled. Adopt it if that process ends."""
        if run.record.imported is not None:
            return
        if run.record.owner == self._owner:
            if run.status.is_live and not self._tracker.is_tracking(run):
                self._read(run)  # the run ended after its record was read
            return
        with self._lock:
            if run.token in self._watched:
                return
            self._watched.add(run.token)
        owner_checked_s = float("-inf")

        def read() -> bool:
            nonlocal owner_checked_s
            now_s = self._tracker.scheduler.clock()
            checks_owner = now_s - owner_checked_s >= OWNER_CHECK_S
            if checks_owner:
                owner_checked_s = now_s
            continues = self._read_watched(run, checks_owner=checks_owner)
            if not continues:
                with self._lock:
                    self._watched.discard(run.token)
            return continues

        self._tracker.scheduler.every(WATCH_S, read)

    def _read_watched(self, run: Run, *, checks_owner: bool) -> bool:
        """Read a run of another process. Return False once it is settled or adopted."""
        self._read(run)
        if run.record.is_settled:
            return False
        if checks_owner and run.record.owner != self._owner and not is_alive(self._owners, run.record.owner):
            if self.is_here(run.record):
                self._take_over(run)
            else:
                run.report(
                    warning=f"the process that tracked it has ended; connect to {run.record.service} to continue"
                )
        if run.record.owner != self._owner or not self.is_here(run.record):
            return True
        self._track(run)
        return False

    def _read(self, run: Run) -> None:
        with run.record_lock:
            record = self._history.get(run.token)
            if record is not None:
                run.update(record)
            run.is_deleted = record is None
