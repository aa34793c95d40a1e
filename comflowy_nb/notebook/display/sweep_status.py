"""The status line of a sweep, and tables of sweeps and of the cells of one. Pure."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from comflowy_nb.notebook.display.html import Table
from comflowy_nb.notebook.display.status import StatusLine, day, time_text
from comflowy_nb.status import Status
from comflowy_nb.sweeps.sweep import held_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from comflowy_nb.database.records import SweepRecord
    from comflowy_nb.notebook.display.status import Phrase
    from comflowy_nb.sweeps.sweep import Sweep

__all__ = ["cells_table", "plain_sweep_line", "seconds_left", "sweep_line", "sweeps_table"]

_MAX_NAMED_CELLS = 3  # of each bad status; the grid shows the others
_BAD = (Status.FAILED, Status.REJECTED, Status.UNKNOWN, Status.LOST)
_MIN_ENDED_RUNS = 3  # before the time left is estimated from this sweep


def sweep_line(sweep: Sweep, *, began_s: float, sent: bool = True, note: str | None = None) -> StatusLine:
    """Return the status of a sweep.

    Parameters
    ----------
    began_s
        When this view was created, on the monotonic clock.
    sent
        Whether this notebook cell submitted the sweep, rather than showing an earlier one.
    note
        A text for the end of the line.
    """
    counts = sweep.status_counts()
    total = len(sweep.cells)
    done = counts.get(Status.SUCCESS, 0)
    phrases: list[Phrase]
    fraction = None
    if sweep.is_settled:
        phrases = _ended(sweep, counts, done, sent=sent)
    else:
        ended = sum(counts.get(word, 0) for word in (*_BAD, Status.CANCELLED))
        phrases = _live(sweep, counts, done, began_s=began_s)
        fraction = (done + ended) / total if total else None
    if sweep.stopped:
        phrases.append(((sweep.stopped, "odd"),))
    if note:
        phrases.append(((note, "odd"),))
    news = (sweep.is_settled, sweep.stopped, note, list(sweep.errors), 10 * done // max(1, total))
    return StatusLine(tuple(phrases), fraction, repr(news))


def plain_sweep_line(sweep: Sweep) -> str:
    """Return one line about a sweep, for a list."""
    return sweep_line(sweep, began_s=time.monotonic(), sent=False).text


def seconds_left(sweep: Sweep, *, began_s: float) -> float | None:
    """Return the estimated time left, in seconds: from the runs that have ended, before that from the plan."""
    plan = sweep.plan
    if plan is None or not plan.to_send:
        return None
    left = sum(cell.status is None or cell.status.is_live for cell in sweep.cells)
    ended = plan.to_send - left
    elapsed_s = time.monotonic() - began_s
    if ended >= _MIN_ENDED_RUNS:
        return elapsed_s / ended * left
    return None if plan.seconds is None else max(0.0, plan.seconds - elapsed_s)


def sweeps_table(found: Sequence[SweepRecord]) -> Table:
    """Return sweeps as rows: reference, name, workflow, number of cells, time, axes."""
    rows = []
    for record in found:
        axes = record.spec.get("axes", [])
        varied = " x ".join(f"{len(axis.get('values', ()))} {axis.get('name', '')}" for axis in axes)
        cells = f"{record.count} cell{'s' * (record.count != 1)}"
        rows.append((record.ref, record.name or "", record.workflow, cells, day(record.created_at), varied))
    return Table(("sweep", "name", "workflow", "cells", "when", "varied"), rows)


def cells_table(sweep: Sweep) -> Table:
    """Return the cells of a sweep as rows: reference, run, status, duration, labels."""
    names = [axis.name for axis in sweep.axes.axes]
    rows = []
    for cell in sweep.cells:
        record = cell.run.record if cell.run is not None else None
        status = "not sent" if cell.status is None else str(cell.status)
        text = status if not cell.error else f"{status}: {cell.error}"
        took = time_text(record.seconds) if record is not None and record.seconds is not None else ""
        labels = [cell.labels.get(name, "") for name in names]
        rows.append((cell.ref, record.ref if record is not None else "", text, took, *labels))
    return Table(("cell", "run", "status", "took", *names), rows)


def _live(sweep: Sweep, counts: dict[str, int], done: int, *, began_s: float) -> list[Phrase]:
    total = len(sweep.cells)
    running = counts.get(Status.RUNNING, 0)
    fetching = sum(
        cell.status is Status.SUCCESS and cell.run is not None and not cell.run.record.is_settled
        for cell in sweep.cells
    )
    phrases: list[Phrase] = [
        (*_who(sweep), (f"on {sweep.service}", "muted")),
        ((f"{done} of {total} done" + (f", {running} running" if running else ""), "live"),),
    ]
    if fetching:
        phrases.append(((f"fetching images of {fetching}", "plain"),))
    phrases += _problems(sweep, counts)
    took: Phrase = ((time_text(time.monotonic() - began_s), "plain"),)
    left_s = seconds_left(sweep, began_s=began_s)
    if left_s is not None:
        took = ((f"{time_text(time.monotonic() - began_s)},", "plain"), (_about(left_s), "muted"))
    phrases.append(took)
    trouble = next((cell.run.warning for cell in sweep.cells if cell.run is not None and cell.run.warning), None)
    if trouble:
        phrases.append(((trouble, "odd"),))
    return phrases


def _ended(sweep: Sweep, counts: dict[str, int], done: int, *, sent: bool) -> list[Phrase]:
    total = len(sweep.cells)
    took_s = _took_s(sweep)
    nothing_sent = sent and sweep.plan is not None and not sweep.plan.to_send
    words = f"{done} of {total} success"
    if took_s is not None and done and not nothing_sent:
        words += f" in {time_text(took_s)}"
    phrases: list[Phrase] = [_who(sweep), ((words, "good" if done == total else "odd" if done else "bad"),)]
    if nothing_sent:
        if done == total:
            phrases.append((("nothing submitted;", "plain"), ("--fresh runs it again", "muted")))
        else:
            phrases.append((("nothing submitted", "plain"),))
    phrases += _problems(sweep, counts)
    held = held_text(sweep)
    if held:
        phrases.append(((held, "odd"),))
    missing = sum(
        any(image.state == "missing" for image in cell.run.record.images)
        for cell in sweep.cells
        if cell.run is not None
    )
    if missing:
        phrases.append(
            ((f"images of {missing} are missing;", "odd"), (f"%comflowy show {sweep.ref} fetches again", "muted"))
        )
    undecoded = [
        image.error
        for cell in sweep.cells
        if cell.run is not None
        for image in cell.run.record.images
        if image.state == "kept" and image.error
    ]
    if undecoded:
        phrases.append(((f"{len(undecoded)} kept without a thumbnail: {undecoded[0]}", "odd"),))
    return phrases


def _problems(sweep: Sweep, counts: dict[str, int]) -> list[Phrase]:
    """Return the failed cells by name, and the number of cells not submitted."""
    phrases: list[Phrase] = []
    for status in (*_BAD, Status.CANCELLED):
        count = counts.get(status, 0)
        if not count:
            continue
        names = [cell.ref for cell in sweep.cells if cell.status is status]
        listed = ", ".join(names[:_MAX_NAMED_CELLS]) + (" ..." if count > _MAX_NAMED_CELLS else "")
        reasons = {cell.error for cell in sweep.cells if cell.status is status and cell.error}
        why = f": {reasons.pop()}" if len(reasons) == 1 and status is not Status.CANCELLED else ""
        tone = "bad" if status in {Status.FAILED, Status.REJECTED} else "odd"
        phrases.append(((f"{count} {status}", tone), (f"({listed}{why})", "plain")))  # type: ignore[arg-type]  # a Tone
    unsent = counts.get("not sent", 0)
    if unsent and sweep.is_settled and sweep.is_sent_elsewhere and not sweep.is_sent_here:
        phrases.append(((f"{unsent} not sent yet", "odd"), ("another kernel is sending them", "muted")))
    elif unsent and sweep.is_settled and not sweep.stopped:
        them = "it" if unsent == 1 else "them"
        phrases.append(((f"{unsent} not submitted.", "odd"), (f"Run the cell again to submit {them}.", "muted")))
    return phrases


def _took_s(sweep: Sweep) -> float | None:
    """Return the seconds from the first submit of this sweep to the last end; None if all cells existed before."""
    if sweep.record is None:
        return None
    since = sweep.record.created_at
    records = [cell.run.record for cell in sweep.cells if cell.run is not None]
    own = [record for record in records if record.created_at >= since - 1 and record.finished_at is not None]
    if not own:
        return None
    return max(record.finished_at or 0.0 for record in own) - min(record.created_at for record in own)


def _who(sweep: Sweep) -> Phrase:
    if sweep.name:
        return ((sweep.ref, "ref"), (sweep.name, "plain"), (f"({sweep.workflow})", "plain"))
    return ((sweep.ref, "ref"), (sweep.workflow, "plain"))


def _about(seconds: float) -> str:
    return f"about {time_text(max(1.0, seconds), roughly=True)} left"
