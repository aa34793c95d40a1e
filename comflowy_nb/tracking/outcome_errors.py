"""What the end of a run means to whoever waited for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comflowy_nb.errors import RunCancelled, RunError, RunFailed, RunHeld, RunRejected
from comflowy_nb.status import Status

if TYPE_CHECKING:
    from comflowy_nb.tracking.run import Run

__all__ = ["RETRY", "error_for_status", "way_on"]

RETRY = "--retry unknown"  # submits held runs again


def error_for_status(run: Run) -> RunError | None:
    """What a blocking run raises once it is settled; None for a success."""
    record, status = run.record, run.status
    if status is Status.FAILED:
        return RunFailed(f"{run.ref} failed: {run.error or 'the service gave no reason'}", run)
    if status is Status.REJECTED:
        return RunRejected(f"{run.ref} was not taken: {run.error}", run)
    if status is Status.CANCELLED:
        return RunCancelled(f"{run.ref} was cancelled", run)
    if status is Status.UNKNOWN:
        return RunHeld(
            f"{run.ref}: we can't tell whether {record.service} took it ({record.reason}), so nothing is sent again; "
            f"%comflowy run ... --retry unknown sends it once more",
            run,
        )
    if status is Status.LOST:
        return RunHeld(
            f"{run.ref} is lost: {record.reason}; {way_on(run)}, %comflowy resume {run.ref} asks once more", run
        )
    return None


def way_on(run: Run) -> str:
    """What submits a held run again."""
    if run.is_submitted_again:
        return "the same request submits it again"
    return f"nothing is sent again by itself; {RETRY} sends it once more"
