"""Tracks every live run of one client: when it is submitted and checked, and what the events of the service mean.

All HTTP runs on the threads of the tracker's scheduler.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from comflowy_nb.errors import ComflowyError
from comflowy_nb.scheduler import Scheduler
from comflowy_nb.status import Status, event_of, next_status
from comflowy_nb.tracking.concurrency import LARGEST, SendQueue
from comflowy_nb.tracking.downloads import Downloads
from comflowy_nb.tracking.polling import SCOUTS, DurationCache, PollRule
from comflowy_nb.tracking.run_tracker import RunTracker
from comflowy_nb.tracking.run_watch import RunWatch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from comflowy_nb.database.runs import History
    from comflowy_nb.services.base import Event, Service, Submission
    from comflowy_nb.services.comflowy.webhooks import Receiver
    from comflowy_nb.settings import Settings
    from comflowy_nb.tracking.run import Run

__all__ = ["Tracker"]

# The newest run is checked at this share of its usual duration, to see whether it has begun.
FIRST_CHECK_S, FIRST_CHECK_SHARE = 0.05, 0.25
REPORTED_ENDS = 3  # ends in a row that webhooks reported: then they report the next as well


class Tracker:
    """Submits and tracks the runs of one client.

    Parameters
    ----------
    owner
        Name of the client's lock file in the folder `owners`: only the owner of a run tracks it.
    images
        Where images are kept.
    receiver
        Receives the webhooks of the service; None where they are off.
    """

    def __init__(
        self,
        service: Service,
        history: History,
        *,
        owner: str,
        owners: Path,
        images: Path,
        settings: Settings,
        receiver: Receiver | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.service = service
        self.history = history
        self.settings = settings
        self.receiver = receiver
        self.scheduler = Scheduler("comflowy-tracker", workers=settings.workers, clock=clock)
        self.durations = DurationCache(history, service.identity, self.scheduler)
        self.downloads = Downloads(service, history, images, settings, service.check)
        self.closed = False
        self._owner = owner
        self._owners = owners
        self._lock = threading.RLock()
        self._run_trackers: dict[str, RunTracker] = {}
        self._watched: set[str] = set()  # tokens of the runs of other processes that are read
        self._live: set[RunTracker] = set()  # those of them whose runs are live, those outside the window too
        self._newest: RunTracker | None = None  # the one the service took last
        self._queued: list[RunTracker] = []  # of the window, in order
        self.feeds = SendQueue(
            self.scheduler,
            self._lock,
            live_runs=lambda: None if self.closed else self.live_runs(),
            sizes=self._window_sizes,
        )
        self._reported_ends = 0  # ends in a row that a webhook reported before a check

    # -- what a client asks for ---------------------------------------------------------------------------------

    def live(self) -> list[Run]:
        with self._lock:
            return [
                run_tracker.run for run_tracker in self._run_trackers.values() if not run_tracker.run.record.is_settled
            ]

    def is_tracking(self, run: Run) -> bool:
        with self._lock:
            return run.token in self._run_trackers

    def pace(self, workflow_key: str) -> PollRule:
        """Return the poll rule of a workflow on this service, with the durations that earlier processes saw."""
        return self.durations.of(workflow_key)

    def check_open(self) -> None:
        """Raise a ComflowyError once the client is closed: nothing submits or tracks a run any more."""
        if self.closed:
            raise ComflowyError(f"the connection to {self.service.label} is closed; connect again")

    def submit(self, run: Run, submission: Submission, workflow_key: str) -> None:
        """Submit a run that is recorded in the history, and track it.

        If this raises, the run is not submitted.
        """
        self.check_open()
        run_tracker = RunTracker(self, run, self.pace(workflow_key), workflow_key, submission)
        with self._lock:
            self.check_open()  # again: it may have been closed since
            fits = self.live_runs() < self.feeds.window.size
            self._run_trackers[run.token] = run_tracker
            self._live.add(run_tracker)
            if not fits:
                self._queued.append(run_tracker)
            if fits:
                self.feeds.window.begin(self.scheduler.clock())
        if fits:
            run_tracker.execute(run_tracker.submit)

    def reject(self, run: Run, reason: str) -> None:
        """End a run that could not be submitted, at once; a failed write to the history is repeated."""
        with self._lock:
            run_tracker = self._run_trackers.setdefault(run.token, RunTracker(self, run, PollRule(), "", None))
        run_tracker.reject(reason)

    def follow(self, run: Run, workflow_key: str) -> None:
        """Track a run that the service accepted earlier: adopted, lost, or a success with images to fetch."""
        pace = self.pace(workflow_key)  # before the lock: webhooks and submits must not wait for the history
        with self._lock:
            run_tracker = self._run_trackers.get(run.token)
            if run_tracker is None or not run_tracker.run.status.is_live:
                if run_tracker is not None:
                    run_tracker.poll_schedule.stop()
                run_tracker = RunTracker(self, run, pace, workflow_key, None)
                self._run_trackers[run.token] = run_tracker
            self.note_status(run_tracker)
            run_tracker.poll_schedule.rule_due_s = self.scheduler.clock()
        run_tracker.poll_schedule.after(0.0)

    def watch(self, run: Run, workflow_key: str, *, may_adopt: bool) -> None:
        """Read a run of another process from the history, and adopt it if that process ends. Each run is read once."""
        with self._lock:
            if run.token in self._watched:
                return
            self._watched.add(run.token)
        watch = RunWatch(
            run,
            self.history,
            self.scheduler,
            owner=self._owner,
            owners=self._owners,
            adopt=(lambda taken: self.follow(taken, workflow_key)) if may_adopt else None,
        )
        watch.begin(on_end=lambda: self._watched.discard(run.token))

    def cancel(self, run: Run) -> None:
        """Cancel a run: a submit in flight is awaited first, one that has not begun is dropped."""
        with self._lock:
            run_tracker = self._run_trackers.get(run.token)
            if run_tracker is None:
                run_tracker = RunTracker(self, run, PollRule(), "", None)
                self._run_trackers[run.token] = run_tracker
                self.note_status(run_tracker)
            run_tracker.cancel_wanted = True
            unsent = run_tracker in self._queued
            if unsent:
                self._queued.remove(run_tracker)
        if unsent:
            run_tracker.execute(run_tracker.drop_unsent)
        elif run.status is not Status.SUBMITTING:
            run_tracker.execute(run_tracker.cancel)

    def hear(self, event: Event) -> None:
        """Take an event of the service: progress is displayed, anything else leads to a check."""
        with self._lock:
            run_tracker = self._run_trackers.get(event.token)
        if run_tracker is None or self.closed:
            return
        run = run_tracker.run
        if event.service_run_id:
            run_tracker.hinted_id = event.service_run_id
            if run.status is Status.UNKNOWN:
                run_tracker.execute(run_tracker.accept_late)
                return
        if event.progress is not None and run.status.is_live:
            run.report(progress=event.progress)
        run_tracker.is_end_reported |= event.status is not None and event.status.is_final
        if event.status is Status.RUNNING and self.service.starts_with is not None:
            run_tracker.report_start()  # from the service's own socket, which needs no check
        elif event.status and run.record.service_run_id and next_status(run.status, event_of(event.status)):
            run_tracker.poll_schedule.hint(event.status)

    def close(self) -> None:
        """Stop tracking. Accepted runs stay live in the history: the next client adopts them.

        What was certainly not submitted is `cancelled`: left `submitting`, it would become `unknown`, and be held.
        """
        with self._lock:
            self.closed = True
            self._queued.clear()
            submitting = [run_tracker for run_tracker in self._live if run_tracker.run.status is Status.SUBMITTING]
        self.scheduler.close()
        for run_tracker in submitting:
            run_tracker.drop_if_unsent()
        self.durations.write()
        self.downloads.close()

    # -- what the tracked runs share ---------------------------------------------------------------------------

    def live_runs(self) -> int:
        return len(self._live) - len(self._queued)

    def _window_sizes(self) -> tuple[int, int]:
        most = self.service.starts_with or LARGEST
        return min(self.settings.window, most), most

    def note_status(self, run_tracker: RunTracker) -> None:
        """Count the live runs: the status of one has changed."""
        with self._lock:
            (self._live.add if run_tracker.run.status.is_live else self._live.discard)(run_tracker)

    def first_check_wait_s(self, run_tracker: RunTracker) -> float | None:
        """Return how soon to check whether an accepted run has begun, in seconds; None where that shows nothing."""
        with self._lock:
            self._newest = run_tracker
            if not self._shows_room(run_tracker):
                return None
            if any(other.run.status is Status.SUBMITTING for other in self._live if other not in self._queued):
                return None
        estimate_s = run_tracker.pace.estimate_s
        return FIRST_CHECK_S if estimate_s is None else min(1.0, FIRST_CHECK_SHARE * estimate_s)

    def note_first_check(self, run_tracker: RunTracker) -> None:
        """Grow the concurrency limit if the first check of a live run shows that it has begun."""
        with self._lock:
            if not self._shows_room(run_tracker):
                return
            is_wider = self.feeds.window.look(
                running=run_tracker.run.status is Status.RUNNING, now_s=self.scheduler.clock()
            )
        if is_wider:
            self.feeds.fill()

    def _shows_room(self, run_tracker: RunTracker) -> bool:
        """Whether it says something of the service that this run has begun: all in flight went before it."""
        return (
            bool(self.feeds)
            and run_tracker is self._newest
            and self.feeds.window.is_tried
            and self.live_runs() >= self.feeds.window.size
        )

    @property
    def reports_ends(self) -> bool:
        """Whether a webhook reports every end, as far as can be seen."""
        return self._reported_ends >= REPORTED_ENDS

    def note_end(self, *, was_reported: bool) -> None:
        """Count the ends in a row that a webhook reported before a check."""
        self._reported_ends = self._reported_ends + 1 if was_reported else 0

    def poll_if_scout(self, run_tracker: RunTracker) -> None:
        """Check by the rule a run of a workflow of unknown duration, if few others are."""
        with self._lock:
            others = [other for other in self._run_trackers.values() if other is not run_tracker]
            if (
                sum(other.pace is run_tracker.pace and other.poll_schedule.rule_due_s is not None for other in others)
                < SCOUTS
            ):
                run_tracker.poll_schedule.follow_rule()

    def note_first_end(self, run_tracker: RunTracker) -> None:
        """Check by the rule the runs of a workflow whose duration has become known."""
        with self._lock:
            waiting = [
                other
                for other in self._run_trackers.values()
                if other.pace is run_tracker.pace
                and other is not run_tracker
                and other.poll_schedule.rule_due_s is None
            ]
        now_s = self.scheduler.clock()
        for other in waiting:
            if other.run.status.is_live and other.run.record.service_run_id:
                other.poll_schedule.follow_rule(now_s)
                other.poll_schedule.at(other.poll_schedule.next_due_s(now_s))

    def release(self, run_tracker: RunTracker, *, forget: bool) -> None:
        """Stop tracking a run, and begin those for which there is room now."""
        record = run_tracker.run.record
        self.service.forget(record.service_run_id or record.token)
        with self._lock:
            self.note_status(run_tracker)
            if forget and self._run_trackers.get(run_tracker.run.token) is run_tracker:
                del self._run_trackers[run_tracker.run.token]
            if run_tracker.run.status is Status.SUCCESS:
                more = bool(self.feeds or self._queued)
                self.feeds.window.end(self.scheduler.clock()) if more else self.feeds.window.rest()
            ready = []
            while self._queued and self.live_runs() < self.feeds.window.size:
                ready.append(self._queued.pop(0))
        if forget and self.receiver is not None:
            self.receiver.forget(run_tracker.run.token)
        for other in ready:
            other.execute(other.submit)
        self.feeds.fill()
