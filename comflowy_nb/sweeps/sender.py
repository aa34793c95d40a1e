"""Sends the cells of a sweep while there is room for them, and stops when that is wiser."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections import deque
from typing import TYPE_CHECKING

from comflowy_nb.errors import ComflowyError
from comflowy_nb.status import Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from comflowy_nb.database.deduplication import Retry
    from comflowy_nb.database.runs import History
    from comflowy_nb.scheduler import Scheduler
    from comflowy_nb.sweeps.sweep import Sweep, SweepCell
    from comflowy_nb.tracking.run import Run
    from comflowy_nb.tracking.submit import Submitter
    from comflowy_nb.tracking.tracker import Tracker
    from comflowy_nb.workflow.workflow import Workflow

__all__ = ["UNKNOWNS", "SweepSender"]

_log = logging.getLogger(__name__)

FRESH_S = 0.1  # how long it counts that nobody wished it, while cells are sent
LOOK_S = 0.5  # how often another kernel's wish to stop is looked for while nothing can be sent
UNKNOWNS = 3  # lost answers in a row after which nothing more is risked
_BAD = frozenset({Status.FAILED, Status.REJECTED})


class SweepSender:
    """The feed of one sweep.

    Parameters
    ----------
    judging
        Counts the ends of runs and writes what follows from them: a listener of a run must not do that.
    order
        The cells to send, in the order in which they fill the grid evenly.
    fresh, retry
        As for a run.
    stop_after
        Failures in a row, while nothing has succeeded, after which the sweep is given up; 0 never gives up.
    window
        Runs in flight at once while it sends; None leaves it to the tracker.
    """

    def __init__(
        self,
        sweep: Sweep,
        workflow: Workflow,
        order: Sequence[SweepCell],
        *,
        submitter: Submitter,
        history: History,
        tracker: Tracker,
        judging: Scheduler,
        owner: str,
        fresh: bool,
        retry: Retry,
        stop_after: int,
        window: int | None,
    ) -> None:
        self.window = window
        self._sweep = sweep
        self._workflow = workflow
        self._waiting = list(reversed(order))
        self._submitter = submitter
        self._history = history
        self._tracker = tracker
        self._judging = judging
        self._owner = owner
        self._fresh = fresh
        self._retry: Retry = retry
        self._stop_after = stop_after
        self._lock = threading.Lock()
        self._busy = 0  # threads between taking a cell and having told of its run
        self._unattached = 0  # those of them whose cell has no run yet
        self._ends: deque[tuple[SweepCell, Run, bool]] = deque()  # to count, with whether this sweep submitted the run
        self._moved: dict[int, set[str]] = {}  # number of a cell -> its lost runs after which it was submitted again
        self._looked_s = float("-inf")  # when it was seen last whether another kernel asked us to stop
        self._failures = 0
        self._unknowns = 0
        self._succeeded = False
        self._ended = False
        self._cancelled = False
        self._enrolled = False  # whether the history says that we send it

    is_here = True

    @property
    def is_sending(self) -> bool:
        return bool(self._waiting) or self._busy > 0

    def begin(self) -> None:
        """Send from now on, while the tracker has room."""
        assert self._sweep.token is not None
        if self._waiting:
            self._history.senders.begin(self._sweep.token, self._owner)
            self._enrolled = True
        self._sweep.send_by(self)
        if self._waiting:
            self._tracker.submit_queue.add(self)
            self._judging.every(LOOK_S, self._look)
        else:
            self._end_if_done()

    # -- the tracker's feed -------------------------------------------------------------------------------------

    def send_next(self) -> bool:
        """Send the next cell that nobody has sent meanwhile; False when there is none left."""
        while (cell := self._next()) is not None:
            try:
                if self._send(cell):
                    return True
            except ComflowyError as error:
                self._stop(f"stopped: {error}")
            except Exception as error:  # noqa: BLE001 - a sweep that breaks must end, not wait for ever
                _log.exception("sending a cell of %s failed", self._sweep.ref)
                self._stop(f"stopped: {type(error).__name__}: {error}")
            finally:
                with self._lock:
                    self._unattached -= 1
                self._end_if_done()  # before it looks settled: its run may have ended while this thread was at it
                with self._lock:
                    self._busy -= 1
                self._resign_if_done()
                self._sweep.tell()
        return False

    def _look(self) -> bool:
        """See now and then whether another kernel asked us to stop, though there is no room to send anything."""
        if self.is_sending:
            self._stop_if_asked()
        return self.is_sending

    def _stop_if_asked(self) -> None:
        now_s = self._tracker.scheduler.clock()
        if now_s - self._looked_s < FRESH_S:
            return
        self._looked_s = now_s
        if self._waiting and self._history.senders.is_asked(self._sweep.token or "", self._owner):
            self._stop("cancelled from another kernel")

    def _resign_if_done(self) -> None:
        """Say to the tracker and in the history that we send no more."""
        with self._lock:
            if self._waiting or self._busy or not self._enrolled:
                return
            self._enrolled = False
        self._tracker.submit_queue.withdraw(self)
        with contextlib.suppress(ComflowyError):  # they see that we are gone when this kernel ends
            self._history.senders.end(self._sweep.token or "", self._owner)

    def _next(self) -> SweepCell | None:
        """Take the next cell, unless nothing more is to be sent."""
        try:
            self._stop_if_asked()
        except ComflowyError as error:
            self._stop(f"stopped: {error}")
        self._judge()  # an end that was told before this cell was asked for counts
        return self._take()

    def _take(self) -> SweepCell | None:
        with self._lock:
            if not self._waiting:
                return None
            self._busy += 1
            self._unattached += 1
            return self._waiting.pop()

    def _send(self, cell: SweepCell) -> bool:
        token = self._sweep.token
        assert token is not None
        request = self._submitter.build_request(
            self._workflow, cell.params, set_params=self._sweep.axes.set_params, cell=(token, cell.number)
        )
        claim, run = self._submitter.submit(request, fresh=self._fresh, retry=self._retry)
        self.attach(cell, run, is_ours=claim.kind == "new")
        if self._cancelled and run.status.is_live and run.record.owner == self._owner:
            run.cancel()  # it was on its way when the others were cancelled
        return claim.kind == "new"

    # -- what becomes of the runs -------------------------------------------------------------------------------

    def attach(self, cell: SweepCell, run: Run, *, is_ours: bool) -> None:
        """Give a cell its run; the sweep is judged by the ends of those that it submitted, each counted once."""
        self._sweep.hold(cell)
        self._sweep.attach(cell, run)

        def note_end() -> None:
            self._ends.append((cell, run, is_ours))
            self._judging.execute(self._judge)

        run.once(lambda: not run.status.is_live, note_end)

    def _judge(self) -> None:
        """Count the ends that were noted, and stop if that is wiser."""
        judged = []
        while self._ends:
            try:
                cell, run, is_ours = self._ends.popleft()
            except IndexError:  # another thread took the last one
                break
            if is_ours and run.status is Status.LOST and self._submit_elsewhere(cell, run):
                continue
            judged.append(cell)
            if is_ours:
                with self._lock:
                    why = self._count(run)
                    if why is not None:
                        self._give_up(why)
        if not judged:
            return
        self._end_if_done()  # before it looks settled
        self._sweep.let_go(judged)
        self._resign_if_done()
        self._sweep.tell()

    def _count(self, run: Run) -> str | None:
        """Count the end of one run of ours. Return why no more is to be submitted, or None. The lock is held."""
        if run.status is Status.SUCCESS:
            self._succeeded, self._failures, self._unknowns = True, 0, 0
        elif run.status in _BAD:
            self._failures, self._unknowns = self._failures + 1, 0
        elif run.status is Status.UNKNOWN:
            self._unknowns += 1
        if run.refuses_all:
            return f"stopped: {run.error}"
        if self._unknowns >= UNKNOWNS:
            return f"stopped after {self._unknowns} lost answers in a row: nobody can tell whether those were taken"
        if self._stop_after and self._failures >= self._stop_after and not self._succeeded:
            return (
                f"stopped after {self._failures} failures in a row ({run.error}); --stop-after 0 goes on all the same"
            )
        return None

    def _give_up(self, why: str) -> None:
        """Submit no more cells. The lock is held."""
        left = len(self._waiting)
        if left:
            self._sweep.stopped = f"{why}; {left} cell{'s' * (left != 1)} not sent"
            self._waiting.clear()

    def _submit_elsewhere(self, cell: SweepCell, run: Run) -> bool:
        """Submit a lost cell again at another server of the service, at most once at each; whether that is so."""
        service = self._tracker.service
        with self._lock:
            lost = self._moved.setdefault(cell.number, set())
            is_over = self._cancelled or self._sweep.stopped is not None or cell.run is not run
            if is_over or not service.resubmits_lost or self._retry == "none" or len(lost) + 1 >= len(service.origins):
                return False
            lost.add(run.token)
            self._waiting.append(cell)
            begins, self._enrolled = not self._enrolled, True
        if begins:
            with contextlib.suppress(ComflowyError):  # other kernels do not see then that cells are submitted here
                self._history.senders.begin(self._sweep.token or "", self._owner)
            self._judging.every(LOOK_S, self._look)
        self._tracker.submit_queue.add(self)
        return True

    def _stop(self, why: str) -> None:
        with self._lock:
            self._give_up(why)
        self._resign_if_done()
        self._sweep.tell()

    def _end_if_done(self) -> None:
        """Note in the history that every cell came to an end: a fresh sweep is not taken up again."""
        sweep = self._sweep
        if self._waiting or self._unattached or sweep.stopped or sweep.token is None:
            return
        if any(cell.run is None or not cell.run.status.is_final for cell in sweep.cells):
            return
        with self._lock:
            if self._ended:
                return
            self._ended = True
        try:
            self._history.sweeps.end(sweep.token)
        except ComflowyError:  # a full disk: it is taken up again, which sends nothing twice
            self._ended = False

    def cancel(self) -> None:
        """Send no more, and cancel the live runs of this client."""
        with self._lock:
            self._cancelled = True
            self._give_up("cancelled")
        self._resign_if_done()
        for cell in self._sweep.cells:
            run = cell.run
            if run is not None and run.status.is_live and run.record.owner == self._owner:
                run.cancel()
        self._sweep.tell()
