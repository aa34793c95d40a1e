"""What the end of a run means to whoever waited for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comflowy_nb.errors import RunCancelled, RunError, RunFailed, RunHeld, RunRejected
from comflowy_nb.services.base import Status

if TYPE_CHECKING:
    from comflowy_nb.sweeps.sweep import Sweep
    from comflowy_nb.tracking.run import Run

__all__ = ["error_of", "held_text", "raise_unless_whole", "way_on"]

RETRY = "--retry unknown"  # submits held runs again


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
            f"{run.ref} is lost: {record.reason}; {way_on(run)}, %comflowy resume {run.ref} asks once more", run
        )
    return None


def way_on(run: Run) -> str:
    """What submits a held run again."""
    if run.is_submitted_again:
        return "the same request submits it again"
    return f"nothing is sent again by itself; {RETRY} sends it once more"


def held_text(sweep: Sweep, *, option: str = RETRY) -> str | None:
    """The warning at the end of a sweep about its held cells, with what to type; None if there are none.

    Parameters
    ----------
    option
        What submits them again, as it is typed here.
    """
    held = [cell.run for cell in sweep.cells if cell.run is not None and cell.run.status.is_held]
    again = sum(run.is_submitted_again for run in held)
    parts = []
    if len(held) > again:
        parts.append(f"{_cells(len(held) - again)} without a known result skipped: {option} submits them again")
    if again:
        parts.append(f"{_cells(again)} lost: the same sweep run again submits them again")
    return "; ".join(parts) or None


def _cells(count: int) -> str:
    return f"{count} cell{'s' * (count != 1)}"


def raise_unless_whole(sweep: Sweep) -> None:
    """Raise RunFailed, with the sweep as `.run`, if a cell did not succeed."""
    bad = [cell for cell in sweep.cells if cell.status is not Status.SUCCESS]
    if not bad:
        return
    first = next((f": {text}" for text in sweep.errors.values()), "")
    held = held_text(sweep)
    more = f" ({held})" if held else ""
    raise RunFailed(f"{len(bad)} of {len(sweep.cells)} cells of {sweep.ref} did not succeed{first}{more}", sweep)
