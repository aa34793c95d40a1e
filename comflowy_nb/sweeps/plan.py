"""What a sweep will do, said before anything is sent. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from comflowy_nb.errors import SettingsError
from comflowy_nb.status import Status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from comflowy_nb.database.deduplication import Kind
    from comflowy_nb.tracking.run import RunRecord

__all__ = ["SweepPlan", "check_count", "make_plan", "needs_permit", "planned_word"]

PAID_RUNS = 64  # submits that need no --max-runs on a service that costs money
MOST_RUNS = 500  # submits that need no --max-runs on any service
_TRIED_AGAIN = frozenset({Status.FAILED, Status.REJECTED, Status.CANCELLED, Status.UNKNOWN, Status.LOST})


@dataclass(frozen=True, slots=True)
class SweepPlan:
    """Cells by what becomes of them, with the time and the cost of what is sent.

    `held_as` counts by status the held ones, which are skipped, `again_as` by status those submitted once more, `left`
    the ended ones that are not to be tried again. `done_when` says of the successes when and where they ran.
    """

    total: int
    done: int = 0
    running: int = 0
    held_as: Mapping[Status, int] = field(default_factory=dict)
    again_as: Mapping[Status, int] = field(default_factory=dict)
    left: int = 0
    new: int = 0
    done_when: str = ""
    seconds: float | None = None
    cost: float | None = None

    @property
    def held(self) -> int:
        return sum(self.held_as.values())

    @property
    def again(self) -> int:
        return sum(self.again_as.values())

    @property
    def to_send(self) -> int:
        return self.again + self.new

    @property
    def text(self) -> str:
        """`45 cells: 31 done (12 Oct, cloud), 1 running, 1 unknown (skipped), 10 new, about 5 min`."""
        counts = [
            (self.done, f"done ({self.done_when})" if self.done_when else "done"),
            (self.running, "running"),
            *((count, f"{status} (skipped)") for status, count in self.held_as.items()),
            (self.left, "ended badly (left alone)"),
            *((count, f"{status} (tried again)") for status, count in self.again_as.items()),
            (self.new, "new"),
        ]
        said = [f"{count} {words}" for count, words in counts if count]
        if self.to_send and self.seconds is not None:
            said.append(f"about {_duration(self.seconds)}")
        if self.to_send and self.cost is not None:
            said.append(f"cost about {self.cost:g}")
        return f"{self.total} cell{'s' * (self.total != 1)}: {', '.join(said)}"


def make_plan(
    found: Sequence[tuple[Kind, RunRecord | None]],
    *,
    now: datetime,
    seconds_each: float | None,
    cost_per_run: float | None,
) -> SweepPlan:
    """The plan for cells of which this was found, one entry for each cell.

    Parameters
    ----------
    found
        What a claim would say now, and the earlier run that stands for the request or ended badly.
    seconds_each
        How long one run adds to a sweep here, in seconds; None while nothing is known.
    """
    kinds = Counter(kind for kind, _ in found)
    held = Counter(record.status for kind, record in found if kind == "held" and record is not None)
    ended = [record.status for kind, record in found if record is not None and _is_again(kind, record)]
    again = Counter[Status](Status.FAILED if status is Status.REJECTED else status for status in ended)
    to_send = kinds["new"]
    return SweepPlan(
        total=len(found),
        done=kinds["same"],
        running=kinds["joined"],
        held_as={status: held[status] for status in Status if held[status]},
        left=kinds["ended"],
        again_as={status: again[status] for status in Status if again[status]},
        new=kinds["new"] - again.total(),
        done_when=_when([record for kind, record in found if kind == "same" and record is not None], now),
        seconds=None if seconds_each is None else to_send * seconds_each,
        cost=None if cost_per_run is None else to_send * cost_per_run,
    )


def planned_word(kind: Kind, record: RunRecord | None) -> str:
    """What a plan makes of one cell, for a person."""
    if _is_again(kind, record):
        assert record is not None
        return f"{record.status}, tried again"
    if kind == "held" and record is not None:
        return str(record.status)
    return {"same": "done", "joined": "running", "ended": "left alone"}.get(kind, "new")


def check_count(plan: SweepPlan, *, max_runs: int | None, costs_money: bool, label: str) -> None:
    """Check that a sweep may submit as many runs as its plan says.

    Raises
    ------
    SettingsError
        If these are more than `max_runs`; without it, more than 64 on a service that costs money, or 500 on any.
    """
    count = plan.to_send
    if max_runs is not None and count > max_runs:
        raise SettingsError(f"{count} runs to submit, and --max-runs permits {max_runs}; nothing submitted")
    if max_runs is None and needs_permit(plan, costs_money=costs_money):
        why = f"{label} may cost money" if costs_money else f"more than {MOST_RUNS} need a permit"
        permit = f"--max-runs {count} permits them (max_runs in Python and in a sweep file)"
        raise SettingsError(f"{count} runs to submit, and {why}: {permit}; nothing submitted")


def needs_permit(plan: SweepPlan, *, costs_money: bool) -> bool:
    """Return whether the sweep submits so many runs that it needs `--max-runs`."""
    return plan.to_send > (PAID_RUNS if costs_money else MOST_RUNS)


def _is_again(kind: Kind, record: RunRecord | None) -> bool:
    return kind == "new" and record is not None and record.status in _TRIED_AGAIN


def _when(records: Sequence[RunRecord], now: datetime) -> str:
    """`today, sandbox` or `12 Oct, cloud`: the newest day, and the service where it is one."""
    if not records:
        return ""
    newest = max(record.finished_at or record.created_at for record in records)
    then = datetime.fromtimestamp(newest).astimezone()
    if then.date() == now.date():
        day = "today"
    else:
        day = f"{then.day} {then:%b}" if then.year == now.year else f"{then.day} {then:%b %Y}"
    services = {record.service for record in records}
    return f"{day}, {services.pop()}" if len(services) == 1 else day


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h"
