"""The errors that a settled run raises."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comflowy_nb.errors import RunCancelled, RunError, RunFailed, RunHeld, RunRejected
from comflowy_nb.held_runs import held_error_text
from comflowy_nb.status import Status

if TYPE_CHECKING:
    from comflowy_nb.tracking.run import Run


def error_for_status(run: Run) -> RunError | None:
    """Return the error that `run` raises after waiting for a run; None for a success."""
    if run.status is Status.FAILED:
        return RunFailed(f"{run.ref} failed: {run.error or 'the service gave no reason'}", run)
    if run.status is Status.REJECTED:
        return RunRejected(f"{run.ref} was rejected: {run.error}", run)
    if run.status is Status.CANCELLED:
        return RunCancelled(f"{run.ref} was cancelled", run)
    if run.status.is_held:
        record = run.record
        text = held_error_text(
            run.ref,
            run.status,
            service=record.service,
            reason=record.reason,
            is_submitted_again=run.is_submitted_again,
        )
        return RunHeld(text, run)
    return None
