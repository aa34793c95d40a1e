"""Track all live runs of one client: submit and check them, and handle the events of the service.

HTTP requests run on the threads of the tracker's scheduler.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from comflowy_nb.countdown import Countdown
from comflowy_nb.errors import ComflowyError
from comflowy_nb.scheduler import Scheduler
from comflowy_nb.services.types import RunEvent
from comflowy_nb.settings import settings
from comflowy_nb.status import Status, event_of, next_status
from comflowy_nb.tracking.concurrency import MAX_LIMIT, SubmitQueue
from comflowy_nb.tracking.downloads import Downloads
from comflowy_nb.tracking.polling import MAX_EARLY_RUNS, MAX_RUNS_SHOWN_LIVE, DurationCache, PollRule
from comflowy_nb.tracking.run_tracker import RunTracker

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from comflowy_nb.database.runs import History
    from comflowy_nb.services.base import Service
    from comflowy_nb.services.comflowy.client_webhooks import Webhooks
    from comflowy_nb.services.types import Event, Submission
    from comflowy_nb.tracking.run import Run


_READ_STATUS_S = 0.25  # between readings of the status of a held run
MIN_REPORTED_ENDS = 3  # ends in a row that webhooks must report before checks rely on webhooks


class Tracker:
    """Submits and tracks the runs of one client.

    Parameters
    ----------
    images
        Folder of the images.
    """

    def __init__(
        self,
        service: Service,
        history: History,
        *,
        images: Path,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.service = service
        self.history = history
        self.webhooks: Webhooks | None = None  # None for a service without `callback_urls`
        self.scheduler = Scheduler("comflowy-tracker", workers=settings.workers, clock=clock)
        self.durations = DurationCache(history, service.identity)
        self.downloads = Downloads(service, history, images)
        self.submit_queue = SubmitQueue(self.scheduler, self._limit_sizes)
        self.closed = False
        self._lock = threading.Lock()  # protects `_run_trackers`, `_reported_ends` and `closed`
        self._run_trackers: dict[str, RunTracker] = {}  # run token -> tracker of a live or a held run
        self._reported_ends = 0  # ends in a row that a webhook reported before a check
        self.expects_events = False  # whether webhooks delivered events of the last run that was checked

    # -- the actions of a client ----------------------------------------------------------------------------------

    def live(self) -> list[Run]:
        """Return the tracked runs that are not settled."""
        return [tracker.run for tracker in self._all() if not tracker.run.record.is_settled]

    def is_tracking(self, run: Run) -> bool:
        return run.token in self._run_trackers

    def check_open(self) -> None:
        """Raise a ComflowyError if the client is closed, so that it can't submit or track runs."""
        if self.closed:
            raise ComflowyError(f"the connection to {self.service.label} is closed; connect again")

    def submit(self, run: Run, submission: Submission) -> None:
        """Submit a run that is recorded in the history, and track it.

        If this raises, the run is not submitted.
        """
        run_tracker = RunTracker(self, run, self.durations.rule_of(run.record.workflow_key), submission)
        with self._lock:
            self.check_open()
            self._run_trackers[run.token] = run_tracker
            self.submit_queue.submit(run_tracker)

    def reject(self, run: Run, reason: str) -> None:
        """Set a run that could not be submitted to `rejected`. A failed write to the history is repeated."""
        self._tracker_of(run).reject(reason)

    def track(self, run: Run) -> None:
        """Track a run that the service accepted earlier: an adopted or lost run, or a success with missing images."""
        rule = self.durations.rule_of(run.record.workflow_key)  # outside the lock: it can read the history
        with self._lock:
            run_tracker = self._run_trackers.get(run.token)
            if run_tracker is None or not run_tracker.run.status.is_live:
                if run_tracker is not None:
                    run_tracker.poll_schedule.stop()
                run_tracker = self._run_trackers[run.token] = RunTracker(self, run, rule)
            self.submit_queue.note_status(run_tracker)
            run_tracker.poll_schedule.rule_due_s = self.scheduler.clock()
        run_tracker.poll_schedule.check_after(0.0)

    def wait_checked(self, run: Run, timeout_s: float) -> None:
        """Wait until a held run that is tracked again was found, or its checks have ended."""
        run_tracker = self._run_trackers.get(run.token)
        countdown = Countdown(timeout_s)
        while run_tracker is not None and run.status.is_held and (left_s := countdown.left_s()) > 0:
            if run_tracker.poll_schedule.stopped.wait(min(_READ_STATUS_S, left_s)):
                return

    def cancel(self, run: Run) -> None:
        """Cancel a run. A queued run is not submitted; a submit in progress is finished first."""
        run_tracker = self._tracker_of(run)
        run_tracker.cancel_requested = True
        if self.submit_queue.remove(run_tracker):
            run_tracker.execute(run_tracker.end_unsubmitted)
        elif run.status is not Status.SUBMITTING:
            run_tracker.execute(run_tracker.cancel)

    def callback_urls(self, token: str) -> Mapping[str, str]:
        """Return the addresses for the events of a run; empty if webhooks are off."""
        return {} if self.webhooks is None else self.webhooks.urls(token)

    def handle_event(self, event: Event) -> None:
        """Handle an event of the service: update the display, and check the run if the event reports its end."""
        run_tracker = self._run_trackers.get(event.token)
        if run_tracker is None or self.closed:
            return
        run = run_tracker.run
        if event.service_run_id:
            run_tracker.reported_id = event.service_run_id
            if run.status is Status.UNKNOWN:
                run_tracker.execute(run_tracker.accept_late)
                return
        if event.status is Status.RUNNING:
            run_tracker.poll_schedule.note_running()
        if event.status is not None and event.status.is_final:
            run_tracker.is_end_reported = True
            run_tracker.poll_schedule.note_reported_end()
        if event.kind is None:
            self._handle_socket_event(run_tracker, event)
        else:
            self._handle_webhook(run_tracker, event, event.kind)

    def _handle_socket_event(self, run_tracker: RunTracker, event: Event) -> None:
        """Handle an event from the service's own socket, or an event of an unknown kind."""
        run = run_tracker.run
        if event.outputs:
            self.downloads.receive_early(run, event.outputs)
        if event.progress is not None and run.status.is_live:
            run.report(progress=event.progress)
        if event.status is Status.RUNNING and self.service.starts_with is not None:
            run_tracker.execute(run_tracker.start)  # no check is needed to confirm the start
        elif event.status:
            self._check_after(run_tracker, event.status)

    def _handle_webhook(self, run_tracker: RunTracker, event: Event, kind: str) -> None:
        """Display an event. A reported end triggers a check, as does any status of a run that is not polled."""
        run = run_tracker.run
        run.note_event(RunEvent(kind, time.time(), event.text, event.progress), event.status)
        if event.status and (event.status.is_final or run.status.is_held):
            self._check_after(run_tracker, event.status)
        elif run.status.is_live:
            self.expects_events = True
            run_tracker.poll_schedule.note_event()
            if event.status is Status.RUNNING:
                age_s = self.scheduler.clock() - run_tracker.poll_schedule.accepted_s
                self.submit_queue.note_live(run, age_s, is_running=True)

    def _check_after(self, run_tracker: RunTracker, status: Status) -> None:
        """Check a run now if a reported status can follow its own."""
        run = run_tracker.run
        if run.record.service_run_id and next_status(run.status, event_of(status)):
            run_tracker.poll_schedule.check_after_event(status)

    def close(self) -> None:
        """Stop tracking. Accepted runs stay live in the history, and the next client adopts them.

        Runs that were certainly not submitted become `cancelled`. If they stayed `submitting`, the next client would
        set them to `unknown`.
        """
        with self._lock:
            self.closed = True
        self.scheduler.close()
        for run_tracker in self.submit_queue.close():
            if run_tracker.run.status is Status.SUBMITTING:
                run_tracker.end_if_unsubmitted()
        self.downloads.close()
        if self.webhooks is not None:
            self.webhooks.close()

    # -- state that the tracked runs share ------------------------------------------------------------------------

    @property
    def reports_ends(self) -> bool:
        """Whether webhooks reported the last ends of runs, so that checks can rely on them."""
        return self._reported_ends >= MIN_REPORTED_ENDS

    def note_end(self, *, was_reported: bool) -> None:
        """Count the ends in a row that a webhook reported before a check found them."""
        self._reported_ends = self._reported_ends + 1 if was_reported else 0
        self.expects_events &= was_reported

    def poll_early_runs_by_rule(self, run_tracker: RunTracker) -> None:
        """Let the first runs of a workflow follow the poll rule. The others wait until one of them has ended."""
        by_rule = [other for other in self._others(run_tracker) if other.poll_schedule.rule_due_s is not None]
        if len(by_rule) < MAX_EARLY_RUNS:
            run_tracker.poll_schedule.follow_rule()

    def note_first_end(self, run_tracker: RunTracker) -> None:
        """Let all runs of a workflow follow the poll rule, because its duration is known now."""
        now_s = self.scheduler.clock()
        for other in self._others(run_tracker):
            schedule = other.poll_schedule
            if schedule.rule_due_s is None and other.run.status.is_live and other.run.record.service_run_id:
                schedule.follow_rule(now_s)
                schedule.check_when_due(now_s)

    def release(self, run_tracker: RunTracker, *, forget: bool) -> None:
        """Stop tracking a run, and start the submits that the concurrency limit permits now."""
        run = run_tracker.run
        self.service.forget(run.record.service_run_id or run.token)
        self.downloads.forget(run)
        if forget:
            with self._lock:
                if self._run_trackers.get(run.token) is run_tracker:
                    del self._run_trackers[run.token]
            if self.webhooks is not None:
                self.webhooks.forget(run.token)
        self.submit_queue.note_status(run_tracker)
        self.submit_queue.note_released(run)
        if self.submit_queue.live_runs <= MAX_RUNS_SHOWN_LIVE:
            for other in self.submit_queue.in_flight():
                other.poll_schedule.check_earlier()

    def _all(self) -> list[RunTracker]:
        with self._lock:
            return list(self._run_trackers.values())

    def _others(self, run_tracker: RunTracker) -> list[RunTracker]:
        """Return the other tracked runs of the same workflow."""
        rule = run_tracker.poll_schedule.rule
        return [other for other in self._all() if other.poll_schedule.rule is rule and other is not run_tracker]

    def _tracker_of(self, run: Run) -> RunTracker:
        """Return the tracker of a run. Make one if the run is not tracked."""
        with self._lock:
            run_tracker = self._run_trackers.get(run.token)
            if run_tracker is None:
                run_tracker = self._run_trackers[run.token] = RunTracker(self, run, PollRule())
                self.submit_queue.note_status(run_tracker)
            return run_tracker

    def _limit_sizes(self) -> tuple[int, int]:
        max_size = self.service.starts_with or MAX_LIMIT
        return min(settings.window, max_size), max_size
