"""Track one run from its submit to its images. Each step runs on a thread of the tracker's scheduler."""

from __future__ import annotations

import contextlib
import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Unpack

from comflowy_nb.database.records import apply
from comflowy_nb.errors import AuthError, HistoryError, NotFoundError, RateLimitError, ServiceError, UnreachableError
from comflowy_nb.services.types import Accepted, Progress, Rejected, Submission, Unknown
from comflowy_nb.settings import settings
from comflowy_nb.status import Status, StatusEvent, event_of, next_status
from comflowy_nb.tracking.execution_times import end_times
from comflowy_nb.tracking.polling import PollSchedule, SpacedCounter, backoff_s

if TYPE_CHECKING:
    from collections.abc import Callable

    from comflowy_nb.database.records import RunChanges
    from comflowy_nb.services.types import Snapshot
    from comflowy_nb.tracking.polling import PollRule
    from comflowy_nb.tracking.run import Run
    from comflowy_nb.tracking.tracker import Tracker


_log = logging.getLogger(__name__)
AUTH_PAUSE_S = 30.0  # between checks while the service rejects the key
LOCK_WAIT_S = 0.2  # maximum wait for a step in progress, when the tracker is closed
FLUSH_WAIT_S = 3.0  # between attempts to write events to the history
MAX_NOT_FOUND = 3  # responses "not found", `lost_gap_s` apart, after which a run is lost
MAX_REFUSED_CONNECTIONS = 4  # refused connections, `lost_gap_s` apart, after which a run is lost: in 30 s


class RunTracker:
    """Submits, checks and cancels one live run.

    Parameters
    ----------
    submission
        The request to submit; None for a run that the service accepted earlier.
    """

    def __init__(self, tracker: Tracker, run: Run, rule: PollRule, submission: Submission | None = None) -> None:
        self.run = run
        self.cancel_requested = False
        self.is_end_reported = False  # a webhook reported the end of the run
        self.reported_id: str | None = None  # the id that a webhook reported before the response to the submit was read
        self._tracker = tracker
        self._scheduler = tracker.scheduler
        self._service = tracker.service
        self._submission = submission
        self._attempts = 0  # number of submits
        self._may_be_accepted = False  # a submit has begun, and was not rejected
        self._failures = 0  # consecutive failed checks
        self._not_found_checks = SpacedCounter(tracker.scheduler.clock)
        self._refused_connections = SpacedCounter(tracker.scheduler.clock)
        self._cancel_confirmed = False
        self.poll_schedule = PollSchedule(
            tracker, run, rule, check=lambda is_due: self._act(lambda: self._check(is_due))
        )

    def execute(self, step: Callable[[], None]) -> None:
        """Run a step of this run, such as `submit`, on a thread of the scheduler."""
        self._scheduler.execute(lambda: self._act(step))

    def reject(self, reason: str) -> None:
        """Set a run that could not be submitted to `rejected`, on the calling thread."""
        with self.run.record_lock:
            self._record(StatusEvent.REJECTED, reason=reason, finished_at=time.time())
            self._release()

    def end_if_unsubmitted(self) -> None:
        """Set a run that was certainly not submitted to `cancelled`, on the thread that closes the tracker."""
        # A submit in progress holds the lock, at most until its timeout.
        if self._may_be_accepted or not self.run.record_lock.acquire(timeout=LOCK_WAIT_S):
            return
        try:
            if not self._may_be_accepted:
                self.end_unsubmitted("the connection was closed before it was submitted")
        finally:
            self.run.record_lock.release()

    def _act(self, step: Callable[[], None]) -> None:
        with self.run.record_lock:
            if self._tracker.closed:
                return
            try:
                step()
            except Exception as error:  # noqa: BLE001 - a broken step must not leave the run untracked
                _log.exception("tracking %s failed", self.run.ref)
                if self.run.status is Status.SUBMITTING:
                    self._record(StatusEvent.RESPONSE_LOST, reason=f"{type(error).__name__}: {error}")
                    self._release(forget=False)
                else:
                    self.run.report(warning=f"{type(error).__name__}: {error}")
                    self._check_later()

    def submit(self) -> None:
        """Submit the run, unless its cancel was requested before."""
        if self.cancel_requested:
            self.end_unsubmitted()
            return
        submission = self._submission
        assert submission is not None
        submission = replace(submission, callback_urls=self._tracker.callback_urls(submission.token))
        self._may_be_accepted = True
        outcome = self._service.submit(submission)
        self.poll_schedule.accepted_s = self._scheduler.clock()
        if isinstance(outcome, Unknown) and self.reported_id:
            outcome = Accepted(self.reported_id)
        if isinstance(outcome, Accepted):
            self._set_accepted(outcome)
        elif isinstance(outcome, Rejected):
            self._handle_rejection(outcome)
        else:
            self._record(StatusEvent.RESPONSE_LOST, reason=outcome.reason)
            self._release(forget=False)
            if self._service.run_id_of(self.run.token) is not None:
                self.poll_schedule.check_after(settings.lost_gap_s)

    def end_unsubmitted(self, reason: str = "it was cancelled before it was submitted") -> None:
        """Set a run that was not submitted to `cancelled`."""
        self._record(StatusEvent.DROPPED, reason=reason, finished_at=time.time())
        self._release()

    def accept_late(self) -> None:
        """Track an `unknown` run after a webhook has reported its id, which shows that the service accepted it."""
        if self.run.status is Status.UNKNOWN and self.reported_id:
            self._set_accepted(Accepted(self.reported_id))

    def start(self) -> None:
        """Record that the run has begun, after an event of the service."""
        run, event = self.run, StatusEvent.SEEN_RUNNING
        if run.record.service_run_id and not self.is_end_reported and next_status(run.status, event):
            self._record(event, service_status=str(Status.RUNNING), started_at=self.poll_schedule.seen_running_at)

    def _set_accepted(self, accepted: Accepted) -> None:
        self._record(
            StatusEvent.FOUND if self.run.status.is_held else StatusEvent.ACCEPTED,
            service_run_id=accepted.run_id,
            accepted_at=time.time(),
            warning=accepted.warning,
            origin=accepted.origin,
            service=accepted.label,
        )
        self._tracker.submit_queue.note_accepted(self.run)
        if self.poll_schedule.rule.estimate_s is not None:
            self.poll_schedule.follow_rule()
        else:
            self._tracker.poll_early_runs_by_rule(self)
        # A webhook may report the end before the response to the submit is read.
        self.poll_schedule.check_first(is_end_reported=self.is_end_reported)
        if self.cancel_requested:
            self.cancel()

    def _handle_rejection(self, outcome: Rejected) -> None:
        self._attempts += 1
        self._may_be_accepted = False
        if outcome.may_retry and self._attempts <= settings.retries:
            if isinstance(outcome.error, RateLimitError):
                wait_s = self._pause(outcome.error, self._attempts)
            else:
                wait_s = backoff_s(self._attempts)
            self.run.report(warning=f"{outcome.error} - trying again in {wait_s:.0f} s")
            self._scheduler.submit_at(self._scheduler.clock() + wait_s, lambda: self._act(self.submit))
            return
        self.run.rejects_all = outcome.rejects_all
        self._record(StatusEvent.REJECTED, reason=str(outcome.error), finished_at=time.time())
        self._release()

    def _pause(self, error: RateLimitError, failures: int) -> float:
        """Pause all requests of the client, at least for the backoff: Retry-After may be 0. Return the seconds."""
        wait_s = max(backoff_s(failures), error.retry_after_s or 0.0)
        self._scheduler.pause(wait_s)
        return wait_s

    # -- the cancel -----------------------------------------------------------------------------------------------

    def cancel(self) -> None:
        """Ask the service to cancel the run."""
        service, service_run_id = self._service, self.run.record.service_run_id
        if service_run_id is None or not self.run.status.is_live or self._cancel_confirmed:
            return
        if not service.can_cancel:
            self.run.report(warning=f"{service.label} can't cancel a run; it continues")
            return
        with contextlib.suppress(HistoryError):  # then another process that tracks the run records a failure
            self._tracker.history.request_cancel(self.run.token)
        try:
            self._cancel_confirmed = service.cancel(service_run_id)
        except ServiceError as error:
            self.run.report(warning=f"the request to cancel failed: {error}")
        self.poll_schedule.check_after(0.0)

    def _is_cancelled_elsewhere(self) -> bool:
        """Return True if another client cancelled the run. The service then confirms a repeated cancel."""
        service_run_id = self.run.record.service_run_id
        if self._cancel_confirmed or service_run_id is None or not self._service.can_cancel:
            return False
        try:
            if self._tracker.history.is_cancel_requested(self.run.token):
                self._cancel_confirmed = self._service.cancel(service_run_id)
        except (HistoryError, ServiceError):
            return False
        return self._cancel_confirmed

    # -- a check --------------------------------------------------------------------------------------------------

    def _check(self, is_due: Callable[[], bool]) -> None:
        if not is_due() or self.poll_schedule.is_postponed():
            return
        run, record = self.run, self.run.record
        if run.unwritten:
            self._flush()
            if record.status.is_final:  # only the write of its end had failed; the images are being downloaded
                self._release()
                return
        run_id = record.service_run_id or self._service.run_id_of(record.token)
        if run_id is None or (record.is_settled and not record.status.is_held):
            self._release(forget=record.status is not Status.UNKNOWN)
            return
        checked_s = self.poll_schedule.begin()
        try:
            snapshot = self._service.check(run_id)
        except NotFoundError:
            self._handle_not_found()
        except RateLimitError as error:
            wait_s = self._pause(error, self._failures + 1)
            run.report(warning=f"{error}; checking again in {wait_s:.0f} s")
            self.poll_schedule.check_after(wait_s)
        except ServiceError as error:
            self._handle_no_response(error)
        else:
            self.poll_schedule.end(checked_s)
            self._failures = 0
            self._not_found_checks.reset()
            self._refused_connections.reset()
            if record.service_run_id is None and run.status is Status.UNKNOWN:
                self._set_accepted(Accepted(run_id))  # the response to its submit was lost
            self._handle_snapshot(snapshot, checked_s - self.poll_schedule.accepted_s)

    def _handle_snapshot(self, snapshot: Snapshot, age_s: float) -> None:
        if self.run.status.is_final:  # its images are downloaded again
            self._tracker.downloads.fetch(self.run, snapshot.outputs)
            self._release()
        elif snapshot.status.is_live:
            self._handle_live(snapshot, age_s)
        elif snapshot.status is Status.FAILED and self._is_cancelled_elsewhere():
            self.poll_schedule.check_after(0.0)
        else:
            # The age of an adopted run is unknown, and the age of another run may contain a pause
            is_known = snapshot.status is Status.SUCCESS and self._submission and not self.poll_schedule.was_paused
            self._handle_end(snapshot, self._learn(age_s) if is_known else None)

    def _handle_end(self, snapshot: Snapshot, sample_s: float | None) -> None:
        event, record, downloads = event_of(snapshot.status), self.run.record, self._tracker.downloads
        seen_running_at = self.poll_schedule.seen_running_at
        times = end_times(record, snapshot.times, seen_running_at=seen_running_at, now=time.time())
        changes: RunChanges = {
            "service_status": snapshot.service_status,
            "problem": snapshot.problem,
            "warning": snapshot.warning,
            "images": downloads.store_early(self.run, snapshot.outputs),
            "started_at": times[0],
            "finished_at": times[1],
            "sample_s": sample_s,
        }
        downloads.write_early_sidecar(apply(record, event, **changes))
        self._record(event, **changes)
        downloads.fetch(self.run, snapshot.outputs)
        self._release()

    def _learn(self, age_s: float) -> float:
        """Return the duration of the run, which determines when later runs of the workflow are checked."""
        # After a reported end the run is checked at once, so its age is its duration, not an upper bound.
        missed_age_s = age_s if self.is_end_reported else self.poll_schedule.missed_age_s
        sample_s = self.poll_schedule.rule.add(done_age_s=age_s, missed_age_s=missed_age_s)
        self._tracker.note_end(was_reported=self.is_end_reported)
        self._tracker.note_first_end(self)
        return sample_s

    def _handle_live(self, snapshot: Snapshot, age_s: float) -> None:
        run, now_s = self.run, self._scheduler.clock()
        event, service_status = event_of(snapshot.status), snapshot.service_status
        self.poll_schedule.note_live(age_s, is_known=not next_status(run.shown_record.status, event))
        run.clear_reported()
        if snapshot.service_status == str(Status.RUNNING):  # an unrecognised status does not set the start
            self.poll_schedule.note_running()
        if next_status(run.status, event):
            started_at = self.poll_schedule.seen_running_at
            self._record(event, service_status=service_status, warning=snapshot.warning, started_at=started_at)
        elif service_status != run.service_status:  # another text for the same status is only displayed
            run.update(replace(run.record, service_status=service_status))
        self._tracker.submit_queue.note_live(run, age_s, is_running=run.status is Status.RUNNING)
        progress = Progress(ahead=snapshot.ahead) if snapshot.ahead is not None else None
        if run.status in {Status.WAITING, Status.PENDING} and age_s > settings.stall_s:
            idle = "; no run is before it, so check whether the service hangs" if snapshot.ahead == 0 else ""
            warning = f"{self._service.label} accepted it {age_s:.0f} s ago and has not started it yet{idle}"
            run.report(progress=progress, warning=warning)
        elif not run.unwritten and (run.warning or (progress is not None and progress != run.progress)):
            run.report(progress=progress)
        if self.cancel_requested and self._service.can_cancel and not self._cancel_confirmed:
            self.cancel()  # a request to cancel can be lost
            return
        self.poll_schedule.schedule_next(now_s, age_s)

    def _handle_not_found(self) -> None:
        run, label = self.run, self._service.label
        self._refused_connections.reset()
        if run.status.is_final:
            self._tracker.downloads.give_up(run, f"{label} no longer has it")
            self._release()
        elif self._is_cancelled_elsewhere():
            self.poll_schedule.check_after(0.0)
        elif run.status is Status.LOST:
            self._release(forget=False)
        elif self._not_found_checks.add() < MAX_NOT_FOUND:
            run.report(warning=f"{label} reports that it has no such run; checking again")
            self.poll_schedule.check_after(self._not_found_checks.wait_s())
        else:
            why = "has no such run" if run.status is Status.UNKNOWN else "accepted it but no longer has it"
            self._record(StatusEvent.GONE, reason=f"{label} {why}")
            self._release(forget=False)

    def _handle_no_response(self, error: ServiceError) -> None:
        """Check a live run again later. Give up the missing images of a final run after several attempts."""
        run = self.run
        if run.status.is_final and self._failures >= settings.retries:
            self._tracker.downloads.give_up(run, str(error))
            self._release()
            return
        is_refused = isinstance(error, UnreachableError) and error.refused
        if is_refused and self._service.queue_in_memory and not run.status.is_final:
            self._handle_refused_connection(error)
            return
        self._refused_connections.reset()
        run.report(warning=str(error))
        if isinstance(error, AuthError) and not run.status.is_final:
            self.poll_schedule.check_after(AUTH_PAUSE_S)
        else:
            self._check_later()

    def _handle_refused_connection(self, error: ServiceError) -> None:
        """Count the refused connections of a server with its queue in memory. After several, the run is lost."""
        if self._refused_connections.add() >= MAX_REFUSED_CONNECTIONS:
            reason = f"{self._service.label} refuses connections; its queue ended with its process"
            self._record(StatusEvent.GONE, reason=reason)
            self._release(forget=False)
            return
        self.run.report(warning=str(error))
        self._failures += 1
        self.poll_schedule.check_after(min(backoff_s(self._failures), self._refused_connections.wait_s()))

    def _check_later(self) -> None:
        self._failures += 1
        self.poll_schedule.check_after(backoff_s(self._failures))

    # -- the history ----------------------------------------------------------------------------------------------

    def _record(self, event: StatusEvent, **changes: Unpack[RunChanges]) -> None:
        """Apply an event to the run: in the history first, then in memory."""
        self.run.unwritten.append((event, changes))
        self._flush()

    def _flush(self) -> None:
        """Write the unwritten events to the history, in order. If a write fails, apply them in memory only."""
        run, history, record, warning = self.run, self._tracker.history, self.run.record, None
        try:
            while run.unwritten:
                event, changes = run.unwritten[0]
                if "images" in changes and run.record.outputs:  # some may have been downloaded meanwhile
                    changes = {**changes, "images": run.record.outputs}
                applied = history.apply(run.token, event, **changes)
                # `applied` is None if another process changed the status, or the run had this status already.
                record = applied or history.get(run.token) or record
                del run.unwritten[0]
                if applied is not None and "images" in changes:
                    run.unwritten_images.clear()
        except HistoryError as error:
            warning = f"the history can't be written: {error}"
            self.poll_schedule.check_after(FLUSH_WAIT_S)
        run.update(record)
        if run.unwritten_images and not run.unwritten:
            self._tracker.downloads.write_images(run)
        if warning:
            run.report(warning=warning)
        self._tracker.submit_queue.note_status(self)

    def _release(self, *, forget: bool = True) -> None:
        """Stop tracking the run, unless a write must be repeated. `forget=False` still accepts webhooks for it."""
        if not self.run.unwritten:
            self.poll_schedule.stop()
            self._tracker.release(self, forget=forget)
