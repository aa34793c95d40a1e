"""The status of a run: all statuses, events and transitions, and the kinds of decisions about a request.

`notebook/display/run_status_text.py` writes the text about a status.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Literal

DecisionKind = Literal["new", "same", "joined", "held", "ended"]
Retry = Literal["failed", "unknown", "all", "none"]


class Status(StrEnum):
    """Status of a run.

    A status is live (the tracker polls the run), final (it never changes) or held (only a webhook, `resume` or a new
    connection changes it). Each status equals its text.

    Attributes
    ----------
    SUBMITTING
        Live: the run is recorded, and the response to the submit has not been read.
    WAITING, PENDING, RUNNING
        Live: as defined by the API.
    SUCCESS, FAILED
        Final: as defined by the API.
    REJECTED
        Final: the service certainly did not accept the run.
    CANCELLED
        Final: the service confirmed the cancellation, or the run was never submitted.
    UNKNOWN
        Held: the response to the submit was lost. See `decide_submit` for when the same request is submitted again.
    LOST
        Held: the service accepted the run but no longer has it.

    Examples
    --------
    >>> run.status
    <Status.SUCCESS: 'success'>
    >>> run.status == "success", run.status.is_final
    (True, True)
    """

    SUBMITTING = "submitting"
    WAITING = "waiting"
    PENDING = "pending"
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"
    LOST = "lost"

    @property
    def is_final(self) -> bool:
        """Whether the status never changes again."""
        return self in _FINAL

    @property
    def is_held(self) -> bool:
        """Whether the status is neither final nor polled."""
        return self in _HELD

    @property
    def is_live(self) -> bool:
        """Whether the tracker polls the run."""
        return self not in _FINAL | _HELD


class StatusEvent(StrEnum):
    """An event that can change the status of a run."""

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
    GONE = "gone"  # the service reported repeatedly that it has no such run
    FOUND = "found again"  # a held run turned out to be accepted


_FINAL = frozenset({Status.SUCCESS, Status.FAILED, Status.REJECTED, Status.CANCELLED})
_HELD = frozenset({Status.UNKNOWN, Status.LOST})
UNSUCCESSFUL = (_FINAL | _HELD) - {Status.SUCCESS}
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
    """Return the event for a status that the service reports."""
    return _EVENTS[status]


def next_status(status: Status, event: StatusEvent) -> Status | None:
    """Return the status after an event; None if the event changes nothing."""
    return TRANSITIONS.get((status, event))


def may_follow(old: Status, new: Status) -> bool:
    """Return True if `new` may be read after `old`. Live statuses between them may have been missed."""
    following = {target for (status, _), target in TRANSITIONS.items() if status is old}
    return new in following or any(may_follow(live, new) for live in following if live.is_live)
