"""Keep the events that webhooks delivered for a run, and the status that they report until a check."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from comflowy_nb.status import event_of, next_status

if TYPE_CHECKING:
    from comflowy_nb.database.records import RunRecord
    from comflowy_nb.services.types import RunEvent
    from comflowy_nb.status import Status
    from comflowy_nb.tracking.run import Run


MAX_EVENTS = 50  # of a run, in memory


class Reported:
    """Mixin of `Run` for webhook events. They update the display; only a check sets the status."""

    record: RunRecord
    _changed: Any

    def __init__(self) -> None:
        self._events: deque[RunEvent] = deque(maxlen=MAX_EVENTS)
        self._reported: Status | None = None  # the latest status that an event reported since the last check

    @property
    def events(self) -> tuple[RunEvent, ...]:
        """The events that webhooks delivered to this process, oldest first; see `RunEvent`.

        The newest 50 are kept, and of the steps of one node only the last. They are not stored in the history, and
        `status` changes only after a check.
        """
        with self._changed:
            return tuple(self._events)

    @property
    def shown_record(self) -> RunRecord:
        """The record with the later of its status and the status that events have reported since the last check."""
        record, reported = self.record, self._reported
        if reported is None or not (reported.is_live and record.status.is_live):
            return record
        if not next_status(record.status, event_of(reported)):
            return record
        return replace(record, status=reported, service_status=str(reported))

    @property
    def reported_end(self) -> Status | None:
        """The end that an event reported, if no check has confirmed it yet; None otherwise."""
        reported = self._reported
        return reported if reported is not None and reported.is_final and self.record.status.is_live else None

    def note_event(self, event: RunEvent, status: Status | None = None) -> None:
        """Add an event, show its status and progress, and call the listeners.

        The event replaces the previous event if both are steps of the same node, or equal events without a text.

        Parameters
        ----------
        event : RunEvent
            The event.
        status : Status, optional
            The status that the event reports. A status before the shown status is ignored, because the event was late
            or repeated.
        """
        run = cast("Run", self)
        with self._changed:
            last = self._events[-1] if self._events else None
            if (
                last is not None
                and not (last.text or event.text)
                and (last.kind, _node_of(last)) == (event.kind, _node_of(event))
            ):
                self._events.pop()
            self._events.append(event)
            if status is not None and next_status(self._reported or run.status, event_of(status)):
                self._reported = status
        run.report(progress=event.progress, warning=run.warning)

    def clear_reported(self) -> None:
        """Show the status of the record again, because a check is newer than the events before it."""
        self._reported = None


def _node_of(event: RunEvent) -> str | None:
    return event.progress.node if event.progress is not None else None
