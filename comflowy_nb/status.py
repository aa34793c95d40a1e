"""The status of a run: the statuses, the events that change one, and the table of all transitions."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["TRANSITIONS", "Status", "StatusEvent", "event_of", "may_follow", "next_status"]


class Status(StrEnum):
    """Status of a run; five of them are the API's own."""

    SUBMITTING = "submitting"  # the run is recorded, the response to the submit has not been read
    WAITING = "waiting"
    PENDING = "pending"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    REJECTED = "rejected"  # the service certainly did not accept the run
    CANCELLED = "cancelled"  # the service confirmed it, or the run was never submitted
    UNKNOWN = "unknown"  # the response to the submit was lost
    LOST = "lost"  # accepted once, and the service no longer knows it

    @property
    def is_final(self) -> bool:
        return self in _FINAL

    @property
    def is_held(self) -> bool:
        """Neither final nor polled: only a user, a webhook or `resume` changes it."""
        return self in _HELD

    @property
    def is_live(self) -> bool:
        return self not in _FINAL | _HELD


class StatusEvent(StrEnum):
    """Something that can change the status of a run."""

    ACCEPTED = "accepted"  # the service accepted the submit
    REJECTED = "rejected"  # the service certainly did not accept it
    RESPONSE_LOST = "response lost"  # the response to the submit could not be read
    DROPPED = "dropped"  # cancelled before the submit
    OWNER_DIED = "owner died"  # the process that was submitting it ended
    SEEN_WAITING = "seen waiting"  # the service reports a status
    SEEN_PENDING = "seen pending"
    SEEN_RUNNING = "seen running"
    SEEN_SUCCESS = "seen success"
    SEEN_FAILED = "seen failed"
    CANCEL_CONFIRMED = "cancel confirmed"  # the service reports the end of a run that it was asked to cancel
    GONE = "gone"  # the service repeatedly did not know it
    FOUND = "found again"  # a held run turned out to be accepted


_FINAL = frozenset({Status.SUCCESS, Status.FAILED, Status.REJECTED, Status.CANCELLED})
_HELD = frozenset({Status.UNKNOWN, Status.LOST})
_SUBMITTING = frozenset({Status.SUBMITTING})
_WAITING = frozenset({Status.WAITING})
_PENDING = frozenset({Status.PENDING})
_RUNNING = frozenset({Status.RUNNING})
_ACCEPTED = _WAITING | _PENDING | _RUNNING

# event, next status, statuses in which the event is valid. Every other combination changes nothing.
_RULES = (
    (StatusEvent.ACCEPTED, Status.WAITING, _SUBMITTING | _HELD),
    (StatusEvent.REJECTED, Status.REJECTED, _SUBMITTING),
    (StatusEvent.RESPONSE_LOST, Status.UNKNOWN, _SUBMITTING),
    (StatusEvent.DROPPED, Status.CANCELLED, _SUBMITTING),
    (StatusEvent.OWNER_DIED, Status.UNKNOWN, _SUBMITTING),
    (StatusEvent.SEEN_WAITING, Status.WAITING, _SUBMITTING | _HELD),
    (StatusEvent.SEEN_PENDING, Status.PENDING, _SUBMITTING | _HELD | _WAITING),
    (StatusEvent.SEEN_RUNNING, Status.RUNNING, _SUBMITTING | _HELD | _WAITING | _PENDING),
    (StatusEvent.SEEN_SUCCESS, Status.SUCCESS, _SUBMITTING | _HELD | _ACCEPTED),
    (StatusEvent.SEEN_FAILED, Status.FAILED, _SUBMITTING | _HELD | _ACCEPTED),
    (StatusEvent.CANCEL_CONFIRMED, Status.CANCELLED, _HELD | _ACCEPTED),
    (StatusEvent.GONE, Status.LOST, _ACCEPTED | {Status.UNKNOWN}),
    (StatusEvent.FOUND, Status.WAITING, _HELD),
)
TRANSITIONS = {(status, event): target for event, target, sources in _RULES for status in sources}

_EVENTS = {
    Status.WAITING: StatusEvent.SEEN_WAITING,
    Status.PENDING: StatusEvent.SEEN_PENDING,
    Status.RUNNING: StatusEvent.SEEN_RUNNING,
    Status.SUCCESS: StatusEvent.SEEN_SUCCESS,
    Status.FAILED: StatusEvent.SEEN_FAILED,
    Status.CANCELLED: StatusEvent.CANCEL_CONFIRMED,
}


def event_of(status: Status) -> StatusEvent:
    """Return the event of a service that reports this status."""
    return _EVENTS[status]


def next_status(status: Status, event: StatusEvent) -> Status | None:
    """Return the status after an event; None if the event changes nothing."""
    return TRANSITIONS.get((status, event))


def may_follow(old: Status, new: Status) -> bool:
    """Return True if a reader that saw `old` may see `new` next: it may have missed live statuses between them."""
    following = {target for (status, _), target in TRANSITIONS.items() if status is old}
    return new in following or any(may_follow(live, new) for live in following if live.is_live)
