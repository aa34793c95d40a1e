"""Determine start and end of an execution, from the service's times or the observed statuses. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from comflowy_nb.database.records import RunRecord


CLOCK_TOLERANCE_S = 1.0  # difference between the clocks of a service and of this machine that is ignored


def end_times(
    record: RunRecord, reported: tuple[float, float] | None, *, seen_running_at: float | None, now: float
) -> tuple[float | None, float]:
    """Return the start and the end of the execution of an ended run. The start is None if it is not known.

    Parameters
    ----------
    record
        The run before its end.
    reported
        Start and end of the execution as reported by the service, in seconds since 1970. If the service's clock differs
        from the clock of this machine, only the duration between the two is used.
    seen_running_at
        When `running` was first seen; None if it was not seen, as for a run shorter than the time between two checks.
    now
        When the end was seen.
    """
    if reported is None:
        return record.started_at or seen_running_at, now
    start_at, end_at = reported
    if start_at < record.created_at - CLOCK_TOLERANCE_S or end_at > now + CLOCK_TOLERANCE_S:
        start_at, end_at = max(record.created_at, now - (end_at - start_at)), now
    return start_at, end_at
