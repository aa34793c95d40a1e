"""Submit cells of an explored sweep: only cells that were never submitted, or cells that failed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from comflowy_nb.errors import SettingsError, counted
from comflowy_nb.sweeps.cell import SweepCell
from comflowy_nb.sweeps.plan import SweepPlan, check_count

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from comflowy_nb.client import Client
    from comflowy_nb.exploration.entries import Entry
    from comflowy_nb.status import Retry
    from comflowy_nb.sweeps.planner import Draft
    from comflowy_nb.sweeps.sweep import Sweep


Action = Literal["missing", "retry"]

_MAX_NAMED_CELLS = 8
_STOP_AFTER = 3  # failures in a row without a success, as for a sweep
_NOTHING = {"missing": "every cell was submitted", "retry": "no cell has failed"}


@dataclass(frozen=True, slots=True)
class CellPlan:
    """The plan for a submit of cells. Planning records and submits nothing.

    Attributes
    ----------
    drafts
        The planned submit of each sweep.
    text
        The plan as text for the user, with the cells whose result is unknown.
    submits
        Number of runs to submit.
    problem
        The reason why the runs may not be submitted, or None.
    """

    drafts: Sequence[Draft]
    text: str
    submits: int
    problem: str | None


def plan_cells(
    entries: Sequence[Entry], client: Client, action: Action, *, only: Collection[int] | None, max_runs: int | None
) -> CellPlan:
    """Plan the submit of the cells that were never submitted (`missing`) or that failed (`retry`).

    Parameters
    ----------
    only
        Numbers of the entries; None for all.
    max_runs
        The number of submits that the user permits.

    Raises
    ------
    ComflowyError
        If a sweep can't be submitted again. The message has the reason.
    """
    chosen = [entry for entry in entries if only is None or entry.number in only]
    cells: dict[Sweep, list[SweepCell]] = {}
    for entry in chosen:
        if isinstance(entry.source, SweepCell) and (entry.is_missing if action == "missing" else entry.is_failed):
            cells.setdefault(entry.source.sweep, []).append(entry.source)
    retry: Retry = "none" if action == "missing" else "failed"
    connection = client.connection
    drafts = [connection.draft_cells(sweep, chosen_cells, retry=retry) for sweep, chosen_cells in cells.items()]
    submits = sum(draft.plan.to_submit for draft in drafts)
    several = len(drafts) > 1
    lines = [f"{draft.sweep.ref}: {draft.plan.text}" if several else draft.plan.text for draft in drafts]
    lines = lines or [_NOTHING[action]]
    held = [entry.ref for entry in chosen if entry.is_held]
    if held:
        named = ", ".join(held[:_MAX_NAMED_CELLS]) + (" ..." if len(held) > _MAX_NAMED_CELLS else "")
        lines.append(f"{counted(len(held), 'cell')} without a known result, not submitted again: {named}")
    return CellPlan(drafts, "\n".join(lines), submits, _problem(client, submits, max_runs))


def start_cells(plan: CellPlan, client: Client, *, confirmed: int, max_runs: int | None) -> str:
    """Submit the cells of a plan, and return a message for the user.

    Parameters
    ----------
    confirmed
        The number of submits that the user confirmed.

    Raises
    ------
    SettingsError
        If the plan has more submits than confirmed, or than permitted. Nothing was submitted.
    ComflowyError
        As `SweepPlanner.start`.
    """
    if plan.submits > confirmed:
        raise SettingsError(f"the plan has changed from {confirmed} to {plan.submits} submits; nothing was submitted")
    if plan.problem is not None:
        raise SettingsError(plan.problem)
    for draft in plan.drafts:
        sweep = client.connection.planner.start(draft, max_runs=max_runs, stop_after=_STOP_AFTER, window=None)
        assert sweep.record is not None
        client.library.set_newest(sweep.record)
    runs = "1 run is" if plan.submits == 1 else f"{plan.submits} runs are"
    return f"{runs} submitted" if plan.submits else "nothing is submitted"


def _problem(client: Client, submits: int, max_runs: int | None) -> str | None:
    """Return the reason why this total number of runs may not be submitted, or None."""
    plan = SweepPlan(submits, new=submits)
    try:
        check_count(plan, max_runs=max_runs, costs_money=client.service.costs_money, label=client.service.label)
    except SettingsError as error:
        return str(error)
    return None
