"""The errors that a settled run raises, and the texts with the command that submits a held run again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comflowy_nb.errors import RunCancelled, RunError, RunFailed, RunHeld, RunRejected, option
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
    if run.status is Status.UNKNOWN:
        return RunHeld(
            f"{run.ref}: it is not known whether {run.record.service} accepted this run ({run.record.reason}), "
            f"so nothing is submitted again; {option('retry', 'unknown')} submits it again",
            run,
        )
    if run.status is Status.LOST:
        return RunHeld(
            f"{run.ref} is lost: {run.record.reason}; {resubmit_hint(run)}, %comflowy resume {run.ref} checks it again",
            run,
        )
    return None


def resubmit_hint(run: Run) -> str:
    """Return a text with the option or command that submits a held run again."""
    if run.is_submitted_again:
        return "the same request submits it again"
    return f"nothing is submitted again automatically; {option('retry', 'unknown')} submits it again"
