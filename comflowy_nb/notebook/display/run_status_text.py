"""The text of the status line of a run. Pure: `views` displays it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from comflowy_nb.errors import counted, spelled
from comflowy_nb.held_runs import HELD_TEXTS, submit_again_hint
from comflowy_nb.layout.text import shorten
from comflowy_nb.layout.value_text import day_text, time_text
from comflowy_nb.notebook.display.status_line import StatusLine
from comflowy_nb.services.types import MESSAGE, Progress
from comflowy_nb.status import Status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from comflowy_nb.database.records import ImageRecord
    from comflowy_nb.notebook.display.status_line import Tone
    from comflowy_nb.tracking.run import Run, RunRecord


_MAX_MESSAGE_CHARS = 100
_LONG_WAIT_S = 5.0  # the final line of a run mentions a wait in the queue only if it was longer


def run_line(
    run: Run,
    *,
    outcome: str = "new",
    generated_seeds: Mapping[str, int] | None = None,
    usual_s: float | None = None,
    note: str | None = None,
) -> StatusLine:
    """Return the status line of a run.

    Parameters
    ----------
    outcome
        Outcome of the submit: `new`, `same`, `joined` or `ended`. `shown` if this cell did not submit the run.
    generated_seeds
        Field id -> seed generated for this run.
    usual_s
        The usual duration of a run of this workflow, in seconds.
    note
        A text for the end of the line, such as the result of an interrupt.
    """
    record, progress = run.shown_record, run.progress or Progress()
    line = StatusLine()
    if outcome == "same" and record.status is Status.SUCCESS:
        when = _date(record)
        line.add(
            (f"same as {record.ref}{f' ({when})' if when else ''}, nothing submitted;", "ref"),
            ("--fresh runs it again", "muted"),
        )
        _add_images(line, record)
    elif record.status.is_live:
        _add_live(line, run, outcome, usual_s)
    else:
        _add_end(line, run, outcome, generated_seeds or {})
    if note:
        line.add((note, "warning"))
    if record.status is Status.RUNNING:
        line.preview = progress.preview
    outputs = [output.state for output in record.outputs]
    state = (record.status, record.service_status, progress.node, _newest_message(run))
    line.change_key = (*state, run.reported_end, run.warning, note, outputs)
    return line


def _elapsed_s(run: Run, outcome: str) -> float:
    """Return how long a live run has taken until now, in seconds."""
    elapsed_s = max(0.0, time.monotonic() - run.started_clock_s)
    since_created_s = time.time() - run.record.created_at
    if outcome == "shown" or elapsed_s < since_created_s - 60:  # resumed: created before this process knew the run
        return max(elapsed_s, since_created_s)
    return elapsed_s


def _add_live(line: StatusLine, run: Run, outcome: str, usual_s: float | None) -> None:
    record, progress = run.shown_record, run.progress or Progress()
    is_running = record.status is Status.RUNNING
    status = (record.service_status if is_running else None) or str(record.status)
    line.add_title(record.ref, record.name, record.workflow, service=record.service)
    line.add((f"{status} {_step(progress)}".rstrip() if is_running else status, "live"))
    if progress.ahead and record.status in {Status.WAITING, Status.PENDING}:
        line.add((f"{counted(progress.ahead, 'run')} before it", "plain"))
    if progress.message and not is_running:
        line.add((progress.message, "plain"))
    if progress.nodes_total and is_running:
        line.add((f"{progress.nodes_done or 0} of {progress.nodes_total} nodes", "plain"))
    elapsed_s = _elapsed_s(run, outcome)
    usual: list[tuple[str, Tone]] = []
    if usual_s is not None:
        usual = [(f"(usually {time_text(usual_s, roughly=True)})", "muted")]
    line.add((time_text(elapsed_s), "plain"), *usual)
    if run.reported_end is not None:
        line.add((f"the service reports its end ({run.reported_end}), checking", "muted"))
    elif (message := _newest_message(run)) is not None:
        line.add((message, "muted"))
    if outcome == "joined":
        line.add(("this request was already in progress: joined, nothing submitted", "muted"))
    if run.warning:
        line.add((run.warning, "warning"))
    line.fraction = _fraction(progress) if is_running else 0.0
    if line.fraction is None and usual_s:
        line.fraction = min(0.95, elapsed_s / usual_s)


def _newest_message(run: Run) -> str | None:
    """Return the text of the newest `message` event, shortened."""
    texts = [event.text for event in run.events if event.kind == MESSAGE and event.text]
    return shorten(texts[-1], _MAX_MESSAGE_CHARS) if texts else None


def _add_end(line: StatusLine, run: Run, outcome: str, generated_seeds: Mapping[str, int]) -> None:
    record = run.record
    line.add_title(record.ref, record.name, record.workflow, file=record.imported)
    if record.status is Status.SUCCESS:
        line.add((_success_text(record), "good"))
        if generated_seeds:
            seeds = ", ".join(f"{key} {value}" for key, value in generated_seeds.items())
            if len(set(generated_seeds.values())) == 1:
                seeds = f"seed {next(iter(generated_seeds.values()))}"
            line.add((f"{seeds} (generated)", "plain"))
        _add_images(line, record)
        if outcome == "shown" and (when := _date(record)):
            line.add((when, "muted"))
    else:
        _add_problem(line, run)
    if outcome == "ended":
        line.add(("nothing submitted; --retry failed runs it again", "muted"))
    if record.warning:
        line.add((record.warning, "warning"))


def _success_text(record: RunRecord) -> str:
    """Return a text such as `success in 2.4 s`, with the wait before the execution if it was long."""
    if record.seconds is None:
        return "success"
    text = f"success in {time_text(record.seconds)}"
    waited_s = record.queued_s or 0.0
    return f"{text}, after {time_text(waited_s)} in the queue" if waited_s >= _LONG_WAIT_S else text


def _add_problem(line: StatusLine, run: Run) -> None:
    """Append why a run did not succeed, and which of its images were downloaded."""
    record, status, seconds = run.record, run.record.status, run.record.seconds
    if status.is_held:
        line.add((f"{status}: {HELD_TEXTS[status]}", "warning"))
    else:
        after = f" after {time_text(seconds)}" if seconds is not None and status is not Status.REJECTED else ""
        line.add((f"{status}{after}", "warning" if status is Status.CANCELLED else "error"))
    reason = str(record.problem) if record.problem is not None else record.reason
    if reason:
        line.add((reason, "plain"))
    if status.is_held:
        with spelled("magic"):
            line.add((submit_again_hint(is_submitted_again=run.is_submitted_again), "muted"))
    if any(output.state == "kept" for output in record.outputs):
        line.add(("the finished outputs are kept", "muted"))
    _add_images(line, record)


def plain_run_line(run: Run) -> str:
    """Return one line about a run, for a list."""
    return run_line(run, outcome="shown").text


def _date(record: RunRecord) -> str:
    """Return the date of a run; empty if it was today."""
    return day_text(record.finished_at or record.created_at)


def _step(progress: Progress) -> str:
    """Return the node that is executed and its step: `KSampler 12/20`."""
    step = f"{progress.value or 0:g}/{progress.max:g}" if progress.max and progress.max > 1 else ""
    text = f"{progress.title or progress.node or ''} {step}"
    return " ".join((text if text.strip() else progress.message or "").split())


def _fraction(progress: Progress) -> float | None:
    within = (progress.value or 0) / progress.max if progress.max else 0.0
    if progress.nodes_total:
        return ((progress.nodes_done or 0) + min(1.0, within)) / progress.nodes_total
    return within if progress.max else None


def _add_images(line: StatusLine, record: RunRecord) -> None:
    """Append the images that are pending, missing or without a thumbnail."""
    total = len(record.outputs)
    expected = sum(output.state == "expected" for output in record.outputs)
    if expected:
        noun = "file" if record.files else "image"
        line.add((f"fetching {expected} of {counted(total, noun)}", "live"))
        return
    if not total and record.status is Status.SUCCESS:
        line.add(("the run made no images", "warning"))
    for state, option in (("missing", ""), ("pruned", " --refetch")):
        images = [image for image in record.images if image.state == state]
        if images:
            text = _describe_images(record, images, state)
            pronoun = "it" if len(images) == 1 else "them"
            line.add((f"{text};", "warning"), (record.fetch_tip(f"fetches {pronoun}", option=option), "muted"))
    undecoded = [image for image in record.images if image.state == "kept" and image.error]
    if undecoded:
        line.add((_describe_images(record, undecoded, "kept, without a thumbnail"), "warning"))


def _describe_images(record: RunRecord, images: Sequence[ImageRecord], state: str) -> str:
    """Return a text about images in the same state, with the reason of the first: `r1[0] is missing: REASON`."""
    names = ", ".join(f"{record.ref}[{image.index}]" for image in images[:3])
    verb = "is" if len(images) == 1 else "are"
    reason = f": {images[0].error}" if images[0].error else ""
    return f"{names}{' ...' if len(images) > 3 else ''} {verb} {state}{reason}"
