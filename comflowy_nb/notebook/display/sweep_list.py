"""Lists of sweeps: a table, and a line about each sweep that is not finished. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comflowy_nb.layout.value_text import time_text
from comflowy_nb.notebook.display.html import table
from comflowy_nb.notebook.display.status_line import day
from comflowy_nb.status import Status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from comflowy_nb.database.queries.sweep_summaries import SweepSummary
    from comflowy_nb.database.records import SweepRecord


_OTHER = (Status.CANCELLED, Status.UNKNOWN, Status.LOST)


def sweeps_table(found: Sequence[SweepSummary]) -> dict[str, str]:
    """Return a table of sweeps: reference, name, workflow, service, axes, cells, time, duration."""
    rows = []
    for summary in found:
        record = summary.record
        rows.append(
            (
                record.ref,
                record.name or "",
                record.workflow,
                record.ran_on,
                describe_axes(record.spec),
                counts_text(summary),
                day(record.created_at),
                summary_duration(summary),
            )
        )
    if len({row[3] for row in rows}) == 1:
        rows = [(*row[:3], "", *row[4:]) for row in rows]
    return table(("sweep", "name", "workflow", "on", "varied", "cells", "when", "took"), rows)


def counts_text(summary: SweepSummary) -> str:
    """Return the numbers of cells: `9 of 24 done, 2 failed, 6 running, 7 not submitted`."""
    parts = [f"{summary.done} of {summary.record.count} done"]
    parts += [f"{summary.failed} failed"] if summary.failed else []
    parts += [f"{summary.counts[status]} {status}" for status in _OTHER if status in summary.counts]
    parts += [f"{summary.live} running"] if summary.live else []
    parts += [f"{summary.missing} not submitted"] if summary.missing else []
    return ", ".join(parts)


def summary_duration(summary: SweepSummary) -> str:
    """Return the duration of a sweep that has no live runs; empty if it is not known."""
    return "" if summary.live or summary.seconds is None else time_text(max(0.0, summary.seconds))


def submit_command(record: SweepRecord) -> str:
    """Return the command that submits the cells without a run, for a sweep whose notebook cell is lost.

    The command contains `--fresh` if the sweep was submitted with `--fresh`.
    """
    return f"%comflowy sweep --from {record.ref}{' --fresh' if record.fresh else ''}"


def describe_axes(spec: Mapping[str, Any]) -> str:
    """Return the axes of a stored sweep, each with the number of its values: `3 cfg x 2 sampler_name`.

    Examples
    --------
    >>> describe_axes({"axes": [{"name": "cfg", "values": [{}, {}]}, {"parts": [{"name": "a"}, {"name": "b"}]}]})
    '2 cfg x a+b'
    """
    texts = []
    for axis in spec.get("axes", ()):
        parts = axis.get("parts", [axis])
        count = len(parts[0].get("values", ()))
        name = "+".join(str(part.get("name", "")) for part in parts)
        texts.append(f"{count} {name}" if count else name)
    return " x ".join(texts)


def unfinished_line(summary: SweepSummary, advice: str) -> str:
    """Return a line such as `s23 looks: 9 of 24 done, 6 running, 9 not submitted`, with the command to type."""
    record = summary.record
    title = " ".join(filter(None, (record.ref, record.name)))
    return f"{title}: {counts_text(summary)}" + (f"; {advice}" if advice else "")
