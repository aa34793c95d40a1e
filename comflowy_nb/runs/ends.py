"""What the end of a run means to whoever waited for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comflowy_nb.errors import RunCancelled, RunError, RunFailed, RunHeld, RunRejected
from comflowy_nb.services.base import Status

if TYPE_CHECKING:
    from comflowy_nb.runs.run import Run
    from comflowy_nb.runs.sweep import Sweep

__all__ = ["error_of", "raise_unless_whole"]


def error_of(run: Run) -> RunError | None:
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
            f"{run.ref} is lost: {record.reason}; %comflowy resume {run.ref} asks again, --retry unknown resends",
            run,
        )
    return None


def raise_unless_whole(sweep: Sweep) -> None:
    """Raise RunFailed, with the sweep as `.run`, if a cell did not succeed."""
    bad = [cell for cell in sweep.cells if cell.status is not Status.SUCCESS]
    if not bad:
        return
    first = next((f": {text}" for text in sweep.errors.values()), "")
    raise RunFailed(f"{len(bad)} of {len(sweep.cells)} cells of {sweep.ref} did not succeed{first}", sweep)
