"""Submit the cells of a sweep, or follow another process that submits them."""

from __future__ import annotations

import contextlib
import logging
import threading
import weakref
from collections import deque
from typing import TYPE_CHECKING, TypedDict, Unpack

from comflowy_nb.errors import ComflowyError, option
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


class SendLimits(TypedDict):
    """When a sweep submits no more cells, and how many runs it has at once.

    Attributes
    ----------
    stop_after : int
        Failures in a row, before any success, after which the sweep stops; 0 never stops.
    window : int or None
        Concurrency limit while the sweep is submitted; None leaves it to the tracker.
    """

    stop_after: int
    window: int | None


class SweepSender:
    """Submits the cells of one sweep while the concurrency limit permits; the tracker calls `send_next`.

    Parameters
    ----------
    order
        The cells to submit, in the order in which they fill the grid evenly.
    scheduler
        The scheduler that counts the ends of runs and records what follows from them. A listener of a run must not
        do that.
    owner
        Name of this client's lock file.
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
        **limits: Unpack[SendLimits],
    ) -> None:
        assert draft.sweep.token is not None
        self.window = limits["window"]
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
        self._stop_after = limits["stop_after"]
        self._never_stops = f"{option('stop_after', 0)} never stops"  # as the thread that submits the sweep spells it
        self._lock = threading.Lock()
        self._busy = 0  # threads that have taken a cell and not yet notified the listeners of its run
        self._unattached = 0  # those of them whose cell has no run yet
        self._ends: deque[tuple[SweepCell, Run, bool]] = deque()  # to count; True if this sweep submitted the run
        self._resubmitted: dict[int, set[str]] = {}  # number of a cell -> its lost runs that were submitted again
        self._failures = 0  # in a row
        self._unknowns = 0  # in a row
        self._succeeded = False
        self._cancelled = False
        self._registered = False  # whether the history says that this process submits the sweep

    @property
    def is_sending(self) -> bool:
        """Whether cells are waiting or being submitted."""
        return bool(self._waiting) or self._busy > 0

    def begin(self) -> None:
        """Submit cells from now on."""
        if self._waiting:
            self._history.senders.begin(self._token, self._owner)
            self._registered = True
        self._sweep.sender = self
        if self._waiting:
            self._tracker.submit_queue.add(self)
            self._scheduler.every(STOP_CHECK_S, self._check_stop_request)
        else:
            self._end_if_done()

    def send_next(self) -> bool:
        """Submit the next cell that no other process has submitted; return False if there is none left."""
        while (cell := self._take()) is not None:
            try:
                if self._submit(cell):
                    return True
            except ComflowyError as error:
                self._stop(f"stopped: {error}")
            except Exception as error:  # noqa: BLE001 - a sweep that breaks must end, not wait for ever
                _log.exception("submitting a cell of %s failed", self._sweep.ref)
                self._stop(f"stopped: {type(error).__name__}: {error}")
            finally:
                with self._lock:
                    self._unattached -= 1
                self._end_if_done()  # before the sweep is settled: the run may have ended meanwhile
                with self._lock:
                    self._busy -= 1
                self._unregister_if_done()
                self._sweep.notify()
        return False

    def cancel(self) -> None:
        """Submit no more cells, and cancel the live runs of this client."""
        with self._lock:
            self._cancelled = True
            self._give_up("cancelled")
        self._unregister_if_done()
        for cell in self._sweep.cells:
            self._cancel_own(cell.run)
        self._sweep.notify()

    def attach(self, cell: SweepCell, run: Run, *, is_ours: bool) -> None:
        """Give a cell its run. Runs that this sweep submitted decide by their ends whether it stops."""
        self._sweep.expect_end(cell)
        self._sweep.attach(cell, run)

        def note_end() -> None:
            self._ends.append((cell, run, is_ours))
            self._scheduler.execute(self._count_ends)

        run.once(lambda: not run.status.is_live, note_end)

    # -- submitting -----------------------------------------------------------------------------------------------

    def _take(self) -> SweepCell | None:
        """Take the next cell, unless the sweep stops."""
        try:
            self._stop_if_asked()
        except ComflowyError as error:
            self._stop(f"stopped: {error}")
        self._count_ends()  # an end that was noted before may stop the sweep
        with self._lock:
            if not self._waiting:
                return None
            self._busy += 1
            self._unattached += 1
            return self._waiting.pop()

    def _submit(self, cell: SweepCell) -> bool:
        """Submit a cell or reuse an earlier run; return whether it was submitted."""
        request = self._submitter.build_request(
            self._workflow, cell.params, set_params=self._sweep.axes.set_params, cell=(self._token, cell.number)
        )
        decision, run = self._submitter.submit(request, fresh=self._fresh, retry=self._retry)
        self.attach(cell, run, is_ours=decision.kind == "new")
        self._share(cell, run)
        if self._cancelled:
            self._cancel_own(run)  # it was being submitted when the others were cancelled
        return decision.kind == "new"

    def _share(self, cell: SweepCell, run: Run) -> None:
        """Give the cells with the same request the same run."""
        others = [other for other in self._cells_of[cell.key] if other is not cell]
        if others:
            self._history.sweeps.set_cells(self._token, {other.number: run.token for other in others})
        for other in others:
            self._sweep.attach(other, run)

    def _cancel_own(self, run: Run | None) -> None:
        if run is not None and run.status.is_live and run.record.owner == self._owner:
            run.cancel()

    def _check_stop_request(self) -> bool:
        """Stop if another process asked for it, even if nothing can be submitted now; return whether to check again."""
        self._stop_if_asked()
        return self.is_sending

    def _stop_if_asked(self) -> None:
        if self._waiting and self._history.senders.is_asked(self._token, self._owner):
            self._stop("cancelled from another kernel")

    def _unregister_if_done(self) -> None:
        """Tell the tracker and the history that this process submits no more cells."""
        with self._lock:
            if self._waiting or self._busy or not self._registered:
                return
            self._registered = False
        self._tracker.submit_queue.withdraw(self)
        with contextlib.suppress(ComflowyError):  # other processes see it when this one ends
            self._history.senders.end(self._token, self._owner)

    # -- ends of runs ---------------------------------------------------------------------------------------------

    def _count_ends(self) -> None:
        """Count the noted ends, and stop after too many failures."""
        counted = []
        while self._ends:
            try:
                cell, run, is_ours = self._ends.popleft()
            except IndexError:  # another thread took the last one
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
        self._end_if_done()  # before the sweep is settled
        self._sweep.confirm_ends(counted)
        self._unregister_if_done()
        self._sweep.notify()

    def _count_end(self, run: Run) -> str | None:
        """Count the end of a run that this sweep submitted. Return the reason to stop, or None. The lock is held."""
        match run.status:
            case Status.SUCCESS:
                self._succeeded, self._failures, self._unknowns = True, 0, 0
            case Status.FAILED | Status.REJECTED:
                self._failures, self._unknowns = self._failures + 1, 0
            case Status.UNKNOWN:
                self._unknowns += 1
        if run.refuses_all:
            return f"stopped: {run.error}"
        if self._unknowns >= MAX_UNKNOWN_IN_A_ROW:
            return (
                f"stopped after {self._unknowns} lost responses in a row: the service may or may not have accepted them"
            )
        if self._stop_after and self._failures >= self._stop_after and not self._succeeded:
            return f"stopped after {self._failures} failures in a row ({run.error}); {self._never_stops}"
        return None

    def _give_up(self, reason: str) -> None:
        """Submit no more cells. The lock is held."""
        left = len(self._waiting)
        if left:
            self._sweep.stopped = f"{reason}; {left} cell{'s' * (left != 1)} not submitted"
            self._waiting.clear()

    def _stop(self, reason: str) -> None:
        with self._lock:
            self._give_up(reason)
        self._unregister_if_done()
        self._sweep.notify()

    def _submit_elsewhere(self, cell: SweepCell, run: Run) -> bool:
        """Queue a lost cell for another server of the service, at most once for each; return whether it is queued."""
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
            with contextlib.suppress(ComflowyError):  # other processes do not see then that cells are submitted here
                self._history.senders.begin(self._token, self._owner)
            self._scheduler.every(STOP_CHECK_S, self._check_stop_request)
        self._tracker.submit_queue.add(self)
        return True

    def _end_if_done(self) -> None:
        """Record that all runs of the sweep are final, so that a later fresh sweep does not continue it."""
        sweep = self._sweep
        if self._waiting or self._unattached or sweep.stopped:
            return
        if any(cell.run is None or not cell.run.status.is_final for cell in sweep.cells):
            return
        with contextlib.suppress(ComflowyError):  # a full disk: a fresh sweep continues this one, and repeats nothing
            self._history.sweeps.end(self._token)


class SweepWatcher:
    """Track a sweep that another process submits, by reading its cells from the history.

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
        self.is_sending = True

    def begin(self) -> None:
        """Track the sweep while another process submits it."""
        sweep = self._sweep()
        if sweep is None:
            return
        if self._is_sent_elsewhere():
            sweep.sender = self
            self._scheduler.every(HISTORY_CHECK_S, self._check)
        elif sweep.is_sent_elsewhere:  # the last cells were submitted since it was read
            self._read_cells(sweep)
            sweep.is_sent_elsewhere = False

    def cancel(self) -> None:
        """Ask the processes that submit the sweep to stop, and cancel the live runs."""
        self._is_stopping = True
        self._history.senders.ask_stop(self._token)
        sweep = self._sweep()
        for cell in sweep.cells if sweep is not None else ():
            if cell.run is not None and cell.run.status.is_live and self._registry.is_here(cell.run.record):
                cell.run.cancel()

    def _is_sent_elsewhere(self) -> bool:
        return bool(self._history.senders.living(self._token, except_for=self._owner))

    def _check(self) -> bool:
        """Read the cells. Return whether the sweep is still being submitted."""
        sweep = self._sweep()
        if sweep is None:
            return False
        continues = self._is_sent_elsewhere()  # before the cells are read
        self._read_cells(sweep)
        if not continues:
            self.is_sending = sweep.is_sent_elsewhere = False
            sweep.notify()
        return continues

    def _read_cells(self, sweep: Sweep) -> None:
        """Give the cells their current runs."""
        for number, token in self._history.sweeps.runs_of(self._token).items():
            if number > len(sweep.cells):  # the sweep has been extended since
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
