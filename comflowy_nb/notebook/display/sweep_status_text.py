"""The text of the status line of a sweep, and the table of its cells with their ratings and scores."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from comflowy_nb.errors import spelled
from comflowy_nb.layout.review_text import write_review
from comflowy_nb.layout.value_text import time_text
from comflowy_nb.notebook.display.html import table
from comflowy_nb.notebook.display.status_line import StatusLine
from comflowy_nb.status import Status
from comflowy_nb.sweeps.cell import held_text
from comflowy_nb.tracking.reviews import best_review, reviews_to_show

if TYPE_CHECKING:
    from collections.abc import Mapping

    from comflowy_nb.database.ratings import Review
    from comflowy_nb.notebook.display.status_line import Tone
    from comflowy_nb.sweeps.sweep import Sweep, SweepCell


_MAX_NAMED_CELLS = 3  # per status; the grid shows all
_PROBLEMS: Mapping[Status, Tone] = {
    Status.FAILED: "error",
    Status.REJECTED: "error",
    Status.UNKNOWN: "warning",
    Status.LOST: "warning",
    Status.CANCELLED: "warning",
}
_MIN_ENDED_RUNS = 3  # required to estimate the remaining time from the runs of this sweep


def sweep_line(sweep: Sweep, *, began_s: float, submitted_here: bool = True, note: str | None = None) -> StatusLine:
    """Return the status line of a sweep.

    Parameters
    ----------
    began_s
        When this view was created, on the monotonic clock.
    submitted_here
        Whether this notebook cell submitted the sweep. False if it shows an earlier sweep.
    note
        A text for the end of the line.
    """
    total = len(sweep.cells)
    done = sum(cell.status is Status.SUCCESS for cell in sweep.cells)
    line = StatusLine()
    if sweep.is_settled:
        _add_end(line, sweep, done, submitted_here=submitted_here)
    else:
        _add_live(line, sweep, done, began_s=began_s)
    for text in (sweep.stopped, note):
        if text:
            line.add((text, "warning"))
    line.change_key = (sweep.is_settled, sweep.stopped, note, list(sweep.errors), 10 * done // max(1, total))
    return line


def plain_sweep_line(sweep: Sweep) -> str:
    """Return one line about a sweep, for a list."""
    return sweep_line(sweep, began_s=time.monotonic(), submitted_here=False).text


def seconds_left(sweep: Sweep, *, began_s: float) -> float | None:
    """Return the estimated remaining time in seconds: from the ended runs of the sweep, or at first from its plan."""
    plan = sweep.plan
    if plan is None or not plan.to_submit:
        return None
    left = sum(cell.status is None or cell.status.is_live for cell in sweep.cells)
    ended = plan.to_submit - left
    elapsed_s = time.monotonic() - began_s
    if ended >= _MIN_ENDED_RUNS:
        return elapsed_s / ended * left
    return None if plan.seconds is None else max(0.0, plan.seconds - elapsed_s)


def cells_table(sweep: Sweep) -> dict[str, str]:
    """Return a table of the cells of a sweep: reference, run, status, execution time, waiting time, labels, review."""
    names = [axis.name for axis in sweep.axes.axes]
    reviews = reviews_to_show(image for cell in sweep.cells for image in cell.images)
    rows = []
    for cell in sweep.cells:
        record = cell.run.record if cell.run is not None else None
        text = f"{cell.status_text}: {cell.error}" if cell.error else cell.status_text
        times = (None, None) if record is None else (record.seconds, record.queued_s)
        took, queued = ("" if seconds is None else time_text(seconds) for seconds in times)
        run = record.ref if record is not None else ""
        rows.append((cell.ref, run, text, took, queued, *cell.axis_texts.values(), *_review_columns(cell, reviews)))
    return table(("cell", "run", "status", "took", "queued", *names, "rating", "scores", "note"), rows)


def _review_columns(cell: SweepCell, reviews: Mapping[str, Review]) -> tuple[str, str, str]:
    """Return the mark of the best image of a cell, its scores and its note."""
    review = write_review(best_review(cell.images, reviews))
    return "" if review.mark is None else review.mark.text, ", ".join(review.scores), review.note


def _add_live(line: StatusLine, sweep: Sweep, done: int, *, began_s: float) -> None:
    total = len(sweep.cells)
    running = sum(run.shown_record.status is Status.RUNNING for run in sweep.runs)
    ended = sum(not run.status.is_live for run in sweep.runs)
    fetching = sum(run.status is Status.SUCCESS and not run.record.is_settled for run in sweep.runs)
    line.fraction = ended / total if total else None
    line.add_title(sweep.ref, sweep.name, sweep.workflow, service=sweep.service)
    line.add((f"{done} of {total} done" + (f", {running} running" if running else ""), "live"))
    if fetching:
        line.add((f"fetching images of {fetching}", "plain"))
    _add_problems(line, sweep)
    elapsed = time_text(time.monotonic() - began_s)
    left_s = seconds_left(sweep, began_s=began_s)
    if left_s is None:
        line.add((elapsed, "plain"))
    else:
        line.add((f"{elapsed},", "plain"), (f"about {time_text(max(1.0, left_s), roughly=True)} left", "muted"))
    warning = next((run.warning for run in sweep.runs if run.warning), None)
    if warning:
        line.add((warning, "warning"))


def _add_end(line: StatusLine, sweep: Sweep, done: int, *, submitted_here: bool) -> None:
    total = len(sweep.cells)
    nothing_submitted = submitted_here and sweep.plan is not None and not sweep.plan.to_submit
    text = f"{done} of {total} success"
    duration_s = _duration_s(sweep)
    if duration_s is not None and done and not nothing_submitted:
        text += f" in {time_text(duration_s)}"
    file = None if sweep.record is None else sweep.record.imported
    line.add_title(sweep.ref, sweep.name, sweep.workflow, file=file)
    line.add((text, "good" if done == total else "warning" if done else "error"))
    if nothing_submitted and done == total:
        line.add(("nothing submitted;", "plain"), ("--fresh runs it again", "muted"))
    elif nothing_submitted:
        line.add(("nothing submitted", "plain"))
    _add_problems(line, sweep)
    with spelled("magic"):
        held = held_text(sweep)
    if held:
        line.add((held, "warning"))
    images = [run.record.images for run in sweep.runs]
    fetch = f"%comflowy show {sweep.ref}"
    missing_hint = f"not in {file}" if file else f"{fetch} fetches them again"
    for state, hint in (("missing", missing_hint), ("pruned", f"{fetch} --refetch fetches them again")):
        count = sum(any(image.state == state for image in images_of_run) for images_of_run in images)
        if count:
            line.add((f"images of {count} are {state};", "warning"), (hint, "muted"))
    kept = [image for images_of_run in images for image in images_of_run if image.state == "kept"]
    undecoded = [image.error for image in kept if image.error]
    if undecoded:
        line.add((f"{len(undecoded)} kept without a thumbnail: {undecoded[0]}", "warning"))


def _add_problems(line: StatusLine, sweep: Sweep) -> None:
    """Append the cells that did not succeed, by status, and the number of cells that were not submitted."""
    for status, tone in _PROBLEMS.items():
        cells = [cell for cell in sweep.cells if cell.status is status]
        if not cells:
            continue
        names = ", ".join(cell.ref for cell in cells[:_MAX_NAMED_CELLS])
        more = " ..." if len(cells) > _MAX_NAMED_CELLS else ""
        reasons = {cell.error for cell in cells if cell.error}
        reason = f": {reasons.pop()}" if len(reasons) == 1 and status is not Status.CANCELLED else ""
        line.add((f"{len(cells)} {status}", tone), (f"({names}{more}{reason})", "plain"))
    left = sum(cell.status is None for cell in sweep.cells)
    if not left or not sweep.is_settled:
        return
    if sweep.is_submitted_elsewhere and not sweep.is_submitted_here:
        line.add((f"{left} not submitted yet", "warning"), ("another kernel is submitting them", "muted"))
    elif not sweep.stopped:
        them = "it" if left == 1 else "them"
        line.add((f"{left} not submitted.", "warning"), (f"Run the cell again to submit {them}.", "muted"))


def _duration_s(sweep: Sweep) -> float | None:
    """Return the seconds from the first submit of the sweep to the last end; None if it submitted no runs."""
    if sweep.record is None:
        return None
    # Other cells reuse earlier runs. The second allows for the order in which the sweep and its runs are recorded.
    submitted = [run.record for run in sweep.runs if run.record.created_at >= sweep.record.created_at - 1]
    ends = [record.finished_at for record in submitted if record.finished_at is not None]
    return max(ends) - min(record.created_at for record in submitted) if ends else None
