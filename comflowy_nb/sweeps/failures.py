"""The cells of a sweep that did not succeed: the warning about held ones, and the error of a strict sweep."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comflowy_nb.errors import RunFailed
from comflowy_nb.status import Status
from comflowy_nb.sweeps.cell import cell_count
from comflowy_nb.tracking.run_errors import RETRY

if TYPE_CHECKING:
    from comflowy_nb.sweeps.sweep import Sweep

__all__ = ["held_text", "raise_for_failures"]


def held_text(sweep: Sweep, *, option: str = RETRY) -> str | None:
    """Return the warning about the held cells of a sweep; None if there are none.

    Parameters
    ----------
    option
        The option that submits them again, as typed here.
    """
    held = [cell.run for cell in sweep.cells if cell.run is not None and cell.run.status.is_held]
    again = sum(run.is_submitted_again for run in held)
    parts = []
    if len(held) > again:
        parts.append(f"{cell_count(len(held) - again)} without a known result skipped: {option} submits them again")
    if again:
        parts.append(f"{cell_count(again)} lost: the same sweep run again submits them again")
    return "; ".join(parts) or None


def raise_for_failures(sweep: Sweep) -> None:
    """Raise RunFailed, with the sweep as `.run`, if a cell did not succeed."""
    bad = [cell for cell in sweep.cells if cell.status is not Status.SUCCESS]
    if not bad:
        return
    first = next((f": {text}" for text in sweep.errors.values()), "")
    held = held_text(sweep)
    more = f" ({held})" if held else ""
    raise RunFailed(f"{len(bad)} of {len(sweep.cells)} cells of {sweep.ref} did not succeed{first}{more}", sweep)
