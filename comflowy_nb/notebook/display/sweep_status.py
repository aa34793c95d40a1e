"""The status line of a sweep, as text and as HTML. Pure."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from comflowy_nb.notebook.display.status import StatusLine, time_text
from comflowy_nb.status import Status
from comflowy_nb.sweeps.sweep import held_text

if TYPE_CHECKING:
    from comflowy_nb.notebook.display.status import Phrase
    from comflowy_nb.sweeps.sweep import Sweep

__all__ = ["plain_sweep_line", "seconds_left", "sweep_line"]

_NAMED = 3  # cells whose errors are told; the grid tells the others
_BAD = (Status.FAILED, Status.REJECTED, Status.UNKNOWN, Status.LOST)
_ENOUGH = 3  # ended runs of this sweep from which the rest is reckoned


def sweep_line(sweep: Sweep, *, began_s: float, sent: bool = True, note: str | None = None) -> StatusLine:
    """What to say about a sweep now.

    Parameters
    ----------
    began_s
        When it was begun here, on the monotonic clock.
    sent
        Whether this cell of the notebook sent it; else it is one that is looked at again.
    note
        A last phrase of the view's own.
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
    """One line about a sweep, for a list."""
    return sweep_line(sweep, began_s=time.monotonic(), sent=False).text


def seconds_left(sweep: Sweep, *, began_s: float) -> float | None:
    """How long the rest takes, in seconds: reckoned from what has ended, before that from the plan."""
    plan = sweep.plan
    if plan is None or not plan.to_send:
        return None
    left = sum(cell.status is None or cell.status.is_live for cell in sweep.cells)
    ended = plan.to_send - left
    elapsed_s = time.monotonic() - began_s
    if ended >= _ENOUGH:
        return elapsed_s / ended * left
    return None if plan.seconds is None else max(0.0, plan.seconds - elapsed_s)


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
    phrases += _troubles(sweep, counts)
    took: Phrase = ((time_text(time.monotonic() - began_s), "plain"),)
    left_s = seconds_left(sweep, began_s=began_s)
    if left_s is not None:
        took = ((f"{time_text(time.monotonic() - began_s)},", "plain"), (_about(left_s), "muted"))
    phrases.append(took)
    trouble = next((cell.run.trouble for cell in sweep.cells if cell.run is not None and cell.run.trouble), None)
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
            phrases.append((("nothing sent;", "plain"), ("--fresh runs it again", "muted")))
        else:
            phrases.append((("nothing sent", "plain"),))
    phrases += _troubles(sweep, counts)
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


def _troubles(sweep: Sweep, counts: dict[str, int]) -> list[Phrase]:
    """What ended badly, by name, and what was never sent."""
    phrases: list[Phrase] = []
    for status in (*_BAD, Status.CANCELLED):
        count = counts.get(status, 0)
        if not count:
            continue
        names = [cell.ref for cell in sweep.cells if cell.status is status]
        told = ", ".join(names[:_NAMED]) + (" ..." if count > _NAMED else "")
        reasons = {cell.error for cell in sweep.cells if cell.status is status and cell.error}
        why = f": {reasons.pop()}" if len(reasons) == 1 and status is not Status.CANCELLED else ""
        tone = "bad" if status in {Status.FAILED, Status.REJECTED} else "odd"
        phrases.append(((f"{count} {status}", tone), (f"({told}{why})", "plain")))  # type: ignore[arg-type]  # a Tone
    unsent = counts.get("not sent", 0)
    if unsent and sweep.is_settled and sweep.is_sent_elsewhere and not sweep.is_sent_here:
        phrases.append(((f"{unsent} not sent yet", "odd"), ("another kernel is sending them", "muted")))
    elif unsent and sweep.is_settled and not sweep.stopped:
        them = "it" if unsent == 1 else "them"
        phrases.append(((f"{unsent} not submitted.", "odd"), (f"Run the cell again to submit {them}.", "muted")))
    return phrases


def _took_s(sweep: Sweep) -> float | None:
    """From the first submit after it was entered to the last end; None where all of it was there before."""
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
