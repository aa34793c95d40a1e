"""Follows every live run of one client: who is sent when, who waits, who is heard of by a webhook.

All HTTP happens on the tracker's threads.
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

LOOK_S, LOOK_SHARE = 0.05, 0.25  # when it is looked whether the newest run has begun: at this share of its usual time
HEARD = 3  # ends in a row that we were told of: then the next will be told as well


class Tracker:
    """Sends and follows the runs of one client.

    Parameters
    ----------
    owner
        Name of the client's lock file in the folder `owners`: only the owner of a run follows it.
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
        self._followed: dict[str, RunTracker] = {}
        self._watched: set[str] = set()  # tokens of the runs of other processes that are read
        self._live: set[RunTracker] = set()  # those of them whose runs are live, those outside the window too
        self._newest: RunTracker | None = None  # the one the service took last
        self._outside: list[RunTracker] = []  # of the window, in order
        self.feeds = SendQueue(
            self.scheduler,
            self._lock,
            live_runs=lambda: None if self.closed else self.live_runs(),
            sizes=self._window_sizes,
        )
        self._heard_in_a_row = 0  # ends that we were told of before we asked

    # -- what a client asks for ---------------------------------------------------------------------------------

    def live(self) -> list[Run]:
        with self._lock:
            return [following.run for following in self._followed.values() if not following.run.record.is_settled]

    def is_following(self, run: Run) -> bool:
        with self._lock:
            return run.token in self._followed

    def pace(self, workflow_key: str) -> PollRule:
        """What is known of a workflow's time here, with what earlier kernels learned."""
        return self.durations.of(workflow_key)

    def check_open(self) -> None:
        """Raise a ComflowyError once the client is closed: nobody would send or follow a run."""
        if self.closed:
            raise ComflowyError(f"the connection to {self.service.label} is closed; connect again")

    def submit(self, run: Run, submission: Submission, workflow_key: str) -> None:
        """Send a run whose intent is in the history, and follow it.

        What it raises comes before the run is handed over: it is not sent then.
        """
        self.check_open()
        following = RunTracker(self, run, self.pace(workflow_key), workflow_key, submission)
        with self._lock:
            fits = self.live_runs() < self.feeds.window.size
            self._followed[run.token] = following
            self._live.add(following)
            if not fits:
                self._outside.append(following)
            if fits:
                self.feeds.window.begin(self.scheduler.clock())
        if fits:
            following.begin()

    def reject(self, run: Run, reason: str) -> None:
        """End a run that could not be handed over, at once; a history that can't take that is tried again."""
        with self._lock:
            following = self._followed.setdefault(run.token, RunTracker(self, run, PollRule(), "", None))
        following.reject(reason)

    def follow(self, run: Run, workflow_key: str) -> None:
        """Ask about a run the service took earlier: taken over, lost, or a success whose images are owed."""
        pace = self.pace(workflow_key)  # before the lock: webhooks and submits must not wait for the history
        with self._lock:
            following = self._followed.get(run.token)
            if following is None or not following.run.status.is_live:
                if following is not None:
                    following.poll_schedule.stop()
                following = RunTracker(self, run, pace, workflow_key, None)
                self._followed[run.token] = following
            self.note_status(following)
            following.poll_schedule.rule_due_s = self.scheduler.clock()
        following.poll_schedule.after(0.0)

    def watch(self, run: Run, workflow_key: str, *, may_take_over: bool) -> None:
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
            take_over=(lambda taken: self.follow(taken, workflow_key)) if may_take_over else None,
        )
        watch.begin(on_end=lambda: self._watched.discard(run.token))

    def cancel(self, run: Run) -> None:
        """Ask the service for an end; a submit in flight is awaited first, one not begun is not sent."""
        with self._lock:
            following = self._followed.get(run.token)
            if following is None:
                following = RunTracker(self, run, PollRule(), "", None)
                self._followed[run.token] = following
                self.note_status(following)
            following.cancel_wanted = True
            unsent = following in self._outside
            if unsent:
                self._outside.remove(following)
        if unsent:
            following.drop()
        elif run.status is not Status.SUBMITTING:
            following.cancel()

    def hear(self, event: Event) -> None:
        """A webhook's word: progress goes to the display, anything else means ask now."""
        with self._lock:
            following = self._followed.get(event.token)
        if following is None or self.closed:
            return
        run = following.run
        if event.service_run_id:
            following.hinted_id = event.service_run_id
            if run.status is Status.UNKNOWN:
                following.adopt()
                return
        if event.progress is not None and run.status.is_live:
            run.report(progress=event.progress)
        if event.outputs and run.status.is_live:
            self.downloads.receive_ahead(run, event.outputs)
        following.heard_end |= event.status is not None and event.status.is_final
        if event.status is Status.RUNNING and self.service.starts_with is not None:
            following.hear_start()  # a word of the service's own socket, which need not be asked for
        elif event.status and run.record.service_run_id and next_status(run.status, event_of(event.status)):
            following.poll_schedule.hint(event.status)

    def close(self) -> None:
        """Stop tracking. Accepted runs stay live in the history: the next client adopts them.

        What was certainly not submitted is `cancelled`: left `submitting`, it would become `unknown`, and be held.
        """
        self.closed = True
        self.scheduler.close()
        with self._lock:
            self._outside.clear()
            submitting = [following for following in self._live if following.run.status is Status.SUBMITTING]
        for following in submitting:
            following.drop_if_unsent()
        self.durations.write()
        self.downloads.close()

    # -- what the tracked runs share ---------------------------------------------------------------------------

    def live_runs(self) -> int:
        return len(self._live) - len(self._outside)

    def _window_sizes(self) -> tuple[int, int]:
        most = self.service.starts_with or LARGEST
        return min(self.settings.window, most), most

    def note_status(self, following: RunTracker) -> None:
        """Count the live runs: the status of one has changed."""
        with self._lock:
            (self._live.add if following.run.status.is_live else self._live.discard)(following)

    def look_wait_s(self, following: RunTracker) -> float | None:
        """Return how soon to check whether an accepted run has begun, in seconds; None where that shows nothing."""
        with self._lock:
            self._newest = following
            if not self._tells_of_room(following):
                return None
            if any(other.run.status is Status.SUBMITTING for other in self._live if other not in self._outside):
                return None
        estimate_s = following.pace.estimate_s
        return LOOK_S if estimate_s is None else min(1.0, LOOK_SHARE * estimate_s)

    def note_look(self, following: RunTracker) -> None:
        """Grow the concurrency limit if the first check of a live run shows that it has begun."""
        with self._lock:
            if not self._tells_of_room(following):
                return
            is_wider = self.feeds.window.look(
                running=following.run.status is Status.RUNNING, now_s=self.scheduler.clock()
            )
        if is_wider:
            self.feeds.fill()

    def _tells_of_room(self, following: RunTracker) -> bool:
        """Whether it says something of the service that this run has begun: all in flight went before it."""
        return (
            bool(self.feeds)
            and following is self._newest
            and self.feeds.window.is_tried
            and self.live_runs() >= self.feeds.window.size
        )

    @property
    def hears(self) -> bool:
        """Whether a webhook reports every end, as far as can be seen."""
        return self._heard_in_a_row >= HEARD

    def note_end(self, *, heard: bool) -> None:
        """Count the ends in a row that a webhook reported before a check."""
        self._heard_in_a_row = self._heard_in_a_row + 1 if heard else 0

    def time_if_scout(self, following: RunTracker) -> None:
        """Check by the rule a run of a workflow of unknown duration, if few others are."""
        with self._lock:
            others = [other for other in self._followed.values() if other is not following]
            if (
                sum(other.pace is following.pace and other.poll_schedule.rule_due_s is not None for other in others)
                < SCOUTS
            ):
                following.poll_schedule.follow_rule()

    def first_end(self, following: RunTracker) -> None:
        """Check by the rule the runs of a workflow whose duration has become known."""
        with self._lock:
            waiting = [
                other
                for other in self._followed.values()
                if other.pace is following.pace and other is not following and other.poll_schedule.rule_due_s is None
            ]
        now_s = self.scheduler.clock()
        for other in waiting:
            if other.run.status.is_live and other.run.record.service_run_id:
                other.poll_schedule.follow_rule(now_s)
                other.poll_schedule.at(other.poll_schedule.next_due_s(now_s))

    def release(self, following: RunTracker, *, forget: bool) -> None:
        """Stop tracking a run, and begin those for which there is room now."""
        record = following.run.record
        self.service.forget(record.service_run_id or record.token)
        with self._lock:
            self.note_status(following)
            if following.run.record.is_settled:
                self.downloads.drop_ahead(following.run)
            if forget and self._followed.get(following.run.token) is following:
                del self._followed[following.run.token]
            if following.run.status is Status.SUCCESS:
                more = bool(self.feeds or self._outside)
                self.feeds.window.end(self.scheduler.clock()) if more else self.feeds.window.rest()
            ready = []
            while self._outside and self.live_runs() < self.feeds.window.size:
                ready.append(self._outside.pop(0))
        if forget and self.receiver is not None:
            self.receiver.forget(following.run.token)
        for other in ready:
            other.begin()
        self.feeds.fill()
