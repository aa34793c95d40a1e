"""The plan of a sweep: the decision about each cell, before anything is submitted. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from comflowy_nb.errors import SettingsError, counted, option
from comflowy_nb.layout.value_text import day_text
from comflowy_nb.status import UNSUCCESSFUL, Status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from comflowy_nb.status import DecisionKind
    from comflowy_nb.tracking.run import RunRecord


MAX_PAID_RUNS = 64  # without --max-runs, on a service that costs money
MAX_FREE_RUNS = 500  # without --max-runs, on any other service


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """The numbers of cells that are done, running, skipped or submitted, with the time and cost of the submits.

    Attributes
    ----------
    total
        Number of all cells.
    done, running, new
        Numbers of cells that succeeded before, that are in progress, and that are submitted for the first time.
    held_by_status
        Status -> number of held cells. They are skipped.
    retried_by_status
        Status -> number of failed cells that are submitted again.
    left
        Number of failed cells that are not submitted again.
    equal
        Number of cells with the same request as a cell to submit. They share its run.
    done_when
        Day and service of the successes, such as `12 Oct, cloud`.
    seconds, cost
        Time and cost of the runs to submit; None if unknown. The cost has the unit of the setting `cost_per_run`.

    Examples
    --------
    >>> SweepPlan(45, done=31, new=14, done_when="12 Oct, cloud", seconds=300).text
    '45 cells: 31 done (12 Oct, cloud), 14 new, about 5 min'
    """

    total: int
    done: int = 0
    running: int = 0
    held_by_status: Mapping[Status, int] = field(default_factory=dict)
    retried_by_status: Mapping[Status, int] = field(default_factory=dict)
    left: int = 0
    new: int = 0
    equal: int = 0
    done_when: str = ""
    seconds: float | None = None
    cost: float | None = None

    @property
    def held(self) -> int:
        """Number of held cells."""
        return sum(self.held_by_status.values())

    @property
    def retries(self) -> int:
        """Number of failed cells that are submitted again."""
        return sum(self.retried_by_status.values())

    @property
    def to_submit(self) -> int:
        """Number of runs to submit."""
        return self.retries + self.new

    @property
    def text(self) -> str:
        """The plan in one line."""
        counts = [
            (self.done, f"done ({self.done_when})" if self.done_when else "done"),
            (self.running, "running"),
            *((count, f"{status} (skipped)") for status, count in self.held_by_status.items()),
            (self.left, "unsuccessful (skipped)"),
            *((count, f"{status} (tried again)") for status, count in self.retried_by_status.items()),
            (self.new, "new"),
            (self.equal, "equal to other cells (one run each)"),
        ]
        phrases = [f"{count} {words}" for count, words in counts if count]
        if self.to_submit and self.seconds is not None:
            phrases.append(f"about {_duration(self.seconds)}")
        if self.to_submit and self.cost is not None:
            phrases.append(f"cost about {self.cost:g}")
        return f"{counted(self.total, 'cell')}: {', '.join(phrases)}"


def make_plan(
    decisions: Sequence[tuple[DecisionKind, RunRecord | None]],
    *,
    total: int,
    now: datetime,
    seconds: float | None,
    cost_per_run: float | None,
) -> SweepPlan:
    """Make the plan of a sweep.

    Parameters
    ----------
    decisions
        For each cell, the decision about its request, and the earlier run with the same request, if there is one. If
        several cells to submit have the same request, only the first is included.
    total
        Number of all cells.
    now
        The current time, with a time zone.
    seconds
        Total time of the runs to submit; None if unknown.
    cost_per_run
        Cost of one run; None if unknown.
    """
    kinds = Counter(kind for kind, _ in decisions)
    held = Counter(record.status for kind, record in decisions if kind == "held" and record is not None)
    ended = [record.status for kind, record in decisions if record is not None and _is_retry(kind, record)]
    again = Counter[Status](Status.FAILED if status is Status.REJECTED else status for status in ended)
    return SweepPlan(
        total=total,
        equal=total - len(decisions),
        done=kinds["same"],
        running=kinds["joined"],
        held_by_status={status: held[status] for status in Status if held[status]},
        left=kinds["ended"],
        retried_by_status={status: again[status] for status in Status if again[status]},
        new=kinds["new"] - again.total(),
        done_when=_describe_successes(
            [record for kind, record in decisions if kind == "same" and record is not None], now
        ),
        seconds=seconds,
        cost=None if cost_per_run is None else kinds["new"] * cost_per_run,
    )


def planned_text(kind: DecisionKind, record: RunRecord | None) -> str:
    """Return the decision of the plan about one cell, as text."""
    if _is_retry(kind, record):
        assert record is not None
        return f"{record.status}, tried again"
    if kind == "held" and record is not None:
        return str(record.status)
    return {"same": "done", "joined": "running", "ended": "skipped"}.get(kind, "new")


def check_count(plan: SweepPlan, *, max_runs: int | None, costs_money: bool, label: str) -> None:
    """Check that a sweep may submit the number of runs in its plan.

    Raises
    ------
    SettingsError
        If there are more runs than `max_runs`. If that is None: more than 64 on a service that costs money, or more
        than 500 on any other.
    """
    count = plan.to_submit
    if max_runs is not None and count > max_runs:
        raise SettingsError(
            f"{count} runs to submit, and {option('max_runs')} permits {max_runs}: use {option('max_runs', count)} or "
            "fewer values; nothing submitted"
        )
    if max_runs is None and needs_permit(plan, costs_money=costs_money):
        limit = MAX_PAID_RUNS if costs_money else MAX_FREE_RUNS
        why = f", because {label} may cost money" if costs_money else ""
        permit = option("max_runs", count)
        raise SettingsError(
            f"{count} runs to submit, but the limit is {limit}{why}: {permit} permits them; nothing submitted"
        )


def check_limits(**limits: int | None) -> None:
    """Check the numbers that limit a sweep, before anything is submitted.

    Parameters
    ----------
    **limits
        `max_runs` and `stop_after` from 0, `window` from 1. None is no limit.

    Raises
    ------
    SettingsError
        If a value is not a whole number in this range.
    """
    for name, value in limits.items():
        minimum = 1 if name == "window" else 0
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < minimum):
            raise SettingsError(f"invalid {name} {value!r}: use a whole number, {minimum} or greater")


def needs_permit(plan: SweepPlan, *, costs_money: bool) -> bool:
    """Return whether the number of submits requires `--max-runs`."""
    return plan.to_submit > (MAX_PAID_RUNS if costs_money else MAX_FREE_RUNS)


def _is_retry(kind: DecisionKind, record: RunRecord | None) -> bool:
    return kind == "new" and record is not None and record.status in UNSUCCESSFUL


def _describe_successes(records: Sequence[RunRecord], now: datetime) -> str:
    """Return the newest day, and the service if all runs have the same: `today, sandbox` or `12 Oct, cloud`."""
    if not records:
        return ""
    newest = max(record.finished_at or record.created_at for record in records)
    day = day_text(newest, now=now) or "today"
    services = {record.service for record in records}
    return f"{day}, {services.pop()}" if len(services) == 1 else day


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"
