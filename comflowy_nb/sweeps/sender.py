"""Submit the cells of a sweep, or watch another process that submits them."""

from __future__ import annotations

import contextlib
import logging
import threading
import weakref
from collections import deque
from typing import TYPE_CHECKING

from comflowy_nb.errors import ComflowyError, counted, option
from comflowy_nb.status import Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from comflowy_nb.scheduler import Scheduler
    from comflowy_nb.sweeps.planner import Draft
    from comflowy_nb.sweeps.sweep import Sweep, SweepCell
    from comflowy_nb.tracking.registry import RunRegistry
    from comflowy_nb.tracking.run import Run
    from comflowy_nb.tracking.submit import Submitter
    from comflowy_nb.tracking.tracker import Tracker


_log = logging.getLogger(__name__)

STOP_CHECK_S = 0.5  # interval of checks for a stop request from another process while nothing can be submitted
HISTORY_CHECK_S = 0.4  # interval at which the cells that another process submits are read
MAX_UNKNOWN_IN_A_ROW = 3  # lost responses after which nothing more is submitted


class SweepSender:
    """Submits the cells of one sweep. The tracker calls `submit_next` while the concurrency limit permits it.

    Parameters
    ----------
    order
        The cells to submit, in an order that fills the grid evenly.
    scheduler
        The scheduler on which the ends of runs are counted and recorded. Listeners of runs must not do that.
    owner
        Name of this client's lock file.
    stop_after
        Number of failures in a row, before any success, after which the sweep stops; 0 never stops it.
    window
        Fixed concurrency limit while the sweep is submitted. With None, the limit adapts.
    """

    is_here = True

    def __init__(
        self,
        draft: Draft,
        order: Sequence[SweepCell],
        *,
        tracker: Tracker,
        submitter: Submitter,
        scheduler: Scheduler,
        owner: str,
        stop_after: int,
        window: int | None,
    ) -> None:
        assert draft.sweep.token is not None
        self.window = window
        self._sweep = draft.sweep
        self._token = draft.sweep.token
        self._workflow = draft.workflow
        self._fresh = draft.request.fresh
        self._retry = draft.retry
        self._cells_of: dict[str, list[SweepCell]] = {}  # cells with the same request, by its key: they share a run
        for cell in order:
            self._cells_of.setdefault(cell.key, []).append(cell)
        self._waiting = [cells[0] for cells in reversed(self._cells_of.values())]
        self._tracker = tracker
        self._history = tracker.history
        self._submitter = submitter
        self._scheduler = scheduler
        self._owner = owner
        self._stop_after = stop_after
        self._never_stops = f"{option('stop_after', 0)} never stops"  # `spelled` applies to this thread only
        self._lock = threading.Lock()
        self._busy = 0  # cells that were taken, and whose listeners were not yet notified of the run
        self._without_run = 0  # busy cells that have no run yet
        self._ends: deque[tuple[SweepCell, Run, bool]] = deque()  # not counted yet; True if this sweep submitted it
        self._resubmitted: dict[int, set[str]] = {}  # number of a cell -> its lost runs that were submitted again
        self._failures = 0  # consecutive failures
        self._unknowns = 0  # consecutive lost responses
        self._succeeded = False
        self._cancelled = False
        self._registered = False  # whether the history says that this process submits the sweep

    @property
    def is_submitting(self) -> bool:
        """Whether cells are waiting or being submitted."""
        return bool(self._waiting) or self._busy > 0

    def begin(self) -> None:
        """Start to submit cells."""
        if self._waiting:
            self._history.senders.begin(self._token, self._owner)
            self._registered = True
        self._sweep.sender = self
        if self._waiting:
            self._tracker.submit_queue.add(self)
            self._scheduler.every(STOP_CHECK_S, self._check_stop_request)
        else:
            self._end_if_done()

    def submit_next(self) -> bool:
        """Submit the next cell that no other process has submitted. Return False if there are no more cells."""
        while (cell := self._take_cell()) is not None:
            try:
                if self._submit(cell):
                    return True
            except ComflowyError as error:
                self._stop(f"stopped: {error}")
            except Exception as error:  # noqa: BLE001 - after an unexpected error the sweep must end
                _log.exception("submitting a cell of %s failed", self._sweep.ref)
                self._stop(f"stopped: {type(error).__name__}: {error}")
            finally:
                with self._lock:
                    self._without_run -= 1
                self._end_if_done()  # must precede the settled state; the run may have ended meanwhile
                with self._lock:
                    self._busy -= 1
                self._unregister_if_done()
                self._sweep.notify()
        return False

    def cancel(self) -> None:
        """Submit no more cells, and cancel the live runs of this client."""
        self._cancelled = True
        self._stop("cancelled")
        for run in self._sweep.runs:
            self._cancel_own(run)

    def attach(self, cell: SweepCell, run: Run, *, is_ours: bool) -> None:
        """Set the run of a cell, and count its end. Only runs that this sweep submitted count for `stop_after`."""
        self._sweep.await_end_count(cell)
        self._sweep.attach(cell, run)

        def note_end() -> None:
            self._ends.append((cell, run, is_ours))
            self._scheduler.execute(self._count_ends)

        run.once(lambda: not run.status.is_live, note_end)

    # -- submitting -----------------------------------------------------------------------------------------------

    def _take_cell(self) -> SweepCell | None:
        """Return the next cell to submit; None if there is none or the sweep was stopped."""
        try:
            self._stop_if_requested()
        except ComflowyError as error:
            self._stop(f"stopped: {error}")
        self._count_ends()  # ends that were noted before may stop the sweep
        with self._lock:
            if not self._waiting:
                return None
            self._busy += 1
            self._without_run += 1
            return self._waiting.pop()

    def _submit(self, cell: SweepCell) -> bool:
        """Submit a cell or reuse an earlier run. Return whether a run was submitted."""
        request = self._submitter.build_request(
            self._workflow, cell.params, set_params=self._sweep.axes.set_params, cell=(self._token, cell.number)
        )
        decision, run = self._submitter.submit(request, fresh=self._fresh, retry=self._retry)
        self.attach(cell, run, is_ours=decision.kind == "new")
        self._share_run(cell, run)
        if self._cancelled:
            self._cancel_own(run)  # `cancel` was called during its submit
        return decision.kind == "new"

    def _share_run(self, cell: SweepCell, run: Run) -> None:
        """Set the run of the other cells with the same request."""
        others = [other for other in self._cells_of[cell.key] if other is not cell]
        if others:
            self._history.sweeps.set_cells(self._token, {other.number: run.token for other in others})
        for other in others:
            self._sweep.attach(other, run)

    def _cancel_own(self, run: Run) -> None:
        if run.status.is_live and run.record.owner == self._owner:
            run.cancel()

    def _check_stop_request(self) -> bool:
        """Stop if another process has requested it. Return whether to check again later."""
        self._stop_if_requested()
        return self.is_submitting

    def _stop_if_requested(self) -> None:
        if self._waiting and self._history.senders.is_stop_requested(self._token, self._owner):
            self._stop("cancelled from another kernel")

    def _unregister_if_done(self) -> None:
        """Record in the tracker and the history that this process submits no more cells."""
        with self._lock:
            if self._waiting or self._busy or not self._registered:
                return
            self._registered = False
        self._tracker.submit_queue.withdraw(self)
        with contextlib.suppress(ComflowyError):  # the row becomes invalid when this process ends
            self._history.senders.end(self._token, self._owner)

    # -- ends of runs ---------------------------------------------------------------------------------------------

    def _count_ends(self) -> None:
        """Count the ends of runs, and stop after too many failures."""
        counted = []
        while self._ends:
            try:
                cell, run, is_ours = self._ends.popleft()
            except IndexError:  # another thread counted the last end
                break
            if is_ours and run.status is Status.LOST and self._submit_elsewhere(cell, run):
                continue
            counted.append(cell)
            if is_ours:
                with self._lock:
                    reason = self._count_end(run)
                    if reason is not None:
                        self._give_up(reason)
        if not counted:
            return
        self._end_if_done()  # before `confirm_ends`, which may settle the sweep
        self._sweep.confirm_ends(counted)
        self._unregister_if_done()
        self._sweep.notify()

    def _count_end(self, run: Run) -> str | None:
        """Count the end of a run that this sweep submitted; return a reason to stop. The caller holds the lock."""
        match run.status:
            case Status.SUCCESS:
                self._succeeded, self._failures, self._unknowns = True, 0, 0
            case Status.FAILED | Status.REJECTED:
                self._failures, self._unknowns = self._failures + 1, 0
            case Status.UNKNOWN:
                self._unknowns += 1
        if run.rejects_all:
            return f"stopped: {run.error}"
        if self._unknowns >= MAX_UNKNOWN_IN_A_ROW:
            return f"stopped after {self._unknowns} lost responses in a row: the service may have accepted these runs"
        if self._stop_after and self._failures >= self._stop_after and not self._succeeded:
            return f"stopped after {self._failures} failures in a row ({run.error}); {self._never_stops}"
        return None

    def _give_up(self, reason: str) -> None:
        """Remove all cells that were not submitted. The caller holds the lock."""
        left = len(self._waiting)
        if left:
            self._sweep.stopped = f"{reason}; {counted(left, 'cell')} not submitted"
            self._waiting.clear()

    def _stop(self, reason: str) -> None:
        with self._lock:
            self._give_up(reason)
        self._unregister_if_done()
        self._sweep.notify()

    def _submit_elsewhere(self, cell: SweepCell, run: Run) -> bool:
        """Queue a cell whose run is lost for another server, at most once per server. Return whether it was queued."""
        service = self._tracker.service
        with self._lock:
            lost = self._resubmitted.setdefault(cell.number, set())
            is_over = self._cancelled or self._sweep.stopped is not None or cell.run is not run
            if is_over or not service.resubmits_lost or self._retry == "none" or len(lost) + 1 >= len(service.origins):
                return False
            lost.add(run.token)
            self._waiting.append(cell)
            begins, self._registered = not self._registered, True
        if begins:
            with contextlib.suppress(ComflowyError):  # then other processes do not know that this process submits cells
                self._history.senders.begin(self._token, self._owner)
            self._scheduler.every(STOP_CHECK_S, self._check_stop_request)
        self._tracker.submit_queue.add(self)
        return True

    def _end_if_done(self) -> None:
        """If all runs are final, record that the sweep has ended, so that a later fresh sweep does not continue it."""
        sweep = self._sweep
        if self._waiting or self._without_run or sweep.stopped:
            return
        if any(cell.run is None or not cell.run.status.is_final for cell in sweep.cells):
            return
        with contextlib.suppress(ComflowyError):  # then a later fresh sweep continues this one, and submits nothing
            self._history.sweeps.end(self._token)


class SweepWatcher:
    """Updates a sweep that another process submits, by reading its cells from the history.

    Parameters
    ----------
    owner
        Name of this client's lock file.
    """

    is_here = False

    def __init__(self, sweep: Sweep, *, tracker: Tracker, registry: RunRegistry, owner: str) -> None:
        assert sweep.token is not None
        self._token = sweep.token
        self._sweep = weakref.ref(sweep)  # an unreferenced sweep needs no watcher
        self._history = tracker.history
        self._scheduler = tracker.scheduler
        self._registry = registry
        self._owner = owner
        self._is_stopping = False
        self.is_submitting = True

    def begin(self) -> None:
        """Start to read the cells, if another process is submitting the sweep."""
        sweep = self._sweep()
        if sweep is None:
            return
        if self._is_submitted_elsewhere():
            sweep.sender = self
            self._scheduler.every(HISTORY_CHECK_S, self._check)
        elif sweep.is_submitted_elsewhere:  # the other process has finished after the cells were read
            self._read_cells(sweep)
            sweep.is_submitted_elsewhere = False

    def cancel(self) -> None:
        """Request the processes that submit the sweep to stop, and cancel the live runs."""
        self._is_stopping = True
        self._history.senders.request_stop(self._token)
        sweep = self._sweep()
        for run in sweep.runs if sweep is not None else ():
            if run.status.is_live and self._registry.is_here(run.record):
                run.cancel()

    def _is_submitted_elsewhere(self) -> bool:
        return bool(self._history.senders.live_owners(self._token, except_for=self._owner))

    def _check(self) -> bool:
        """Read the cells. Return whether the sweep is still being submitted."""
        sweep = self._sweep()
        if sweep is None:
            return False
        continues = self._is_submitted_elsewhere()  # before the cells are read
        self._read_cells(sweep)
        if not continues:
            self.is_submitting = sweep.is_submitted_elsewhere = False
            sweep.notify()
        return continues

    def _read_cells(self, sweep: Sweep) -> None:
        """Set the current runs of the cells."""
        for number, token in self._history.sweeps.runs_of(self._token).items():
            if number > len(sweep.cells):  # the sweep was extended meanwhile
                continue
            cell = sweep.cells[number - 1]
            if cell.run is not None and cell.run.token == token:
                continue
            record = self._history.get(token)
            if record is None or record.key != cell.key:
                continue
            run = self._registry.run(record)
            sweep.attach(cell, run)
            if self._registry.is_here(run.record):
                self._registry.refresh(run)
                if self._is_stopping and run.status.is_live:
                    run.cancel()
