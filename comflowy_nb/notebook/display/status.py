"""The status line of a run, as text and as HTML. Pure: `views` draws it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from comflowy_nb.layout.html_text import html_text
from comflowy_nb.notebook.display.html import FONT, inline_image
from comflowy_nb.status import Status
from comflowy_nb.tracking.run import way_on

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from comflowy_nb.database.records import ImageRecord
    from comflowy_nb.services.base import Progress
    from comflowy_nb.tracking.run import Run, RunRecord

__all__ = ["Phrase", "StatusLine", "Tone", "day", "plain_line", "status_line", "time_text"]

Tone = Literal["ref", "plain", "muted", "live", "good", "bad", "odd"]

Phrase = tuple[tuple[str, Tone], ...]

# A state has a dot in its colour; the words keep the page's own colour, which can be read on white and on black.
_DOTS: Mapping[Tone, str] = {
    "live": "var(--jp-brand-color1,#2684d8)",
    "good": "var(--jp-success-color1,#43a047)",
    "bad": "var(--jp-error-color1,#e0483c)",
    "odd": "var(--jp-warn-color1,#ef8c00)",
}
_SEPARATOR = " - "


@dataclass(frozen=True, slots=True)
class StatusLine:
    """The status of a run or a sweep: phrases, each of words in a tone, and its progress from 0 to 1."""

    phrases: tuple[Phrase, ...]
    fraction: float | None = None
    news: str = field(default="", compare=False)  # a terminal prints a line only when this changes
    preview: bytes | None = field(default=None, repr=False)  # the unfinished image

    @property
    def text(self) -> str:
        return _SEPARATOR.join(" ".join(words for words, _ in phrase) for phrase in self.phrases)

    @property
    def html(self) -> str:
        dash = f'<span style="opacity:.4">{_SEPARATOR}</span>'
        phrases = [" ".join(_span(words, tone) for words, tone in phrase) for phrase in self.phrases]
        line = f'<div style="{FONT};padding:2px 0">{dash.join(phrases)}{self._bar()}{inline_image(self.preview)}</div>'
        return line.replace("\n", " ")

    @property
    def bundle(self) -> dict[str, str]:
        """The line as data for a display."""
        return {"text/plain": self.text, "text/html": self.html}

    def _bar(self) -> str:
        if self.fraction is None:
            return ""
        width = f"{100 * min(1.0, max(0.0, self.fraction)):.1f}"
        return (
            '<div style="height:4px;max-width:512px;margin:6px 0 4px;border-radius:2px;overflow:hidden;'
            'background:rgba(128,128,128,.25)">'
            f'<div style="height:4px;width:{width}%;border-radius:2px;'
            'background:var(--jp-brand-color1,#2684d8)"></div></div>'
        )


def status_line(
    run: Run,
    *,
    how: str = "new",
    drawn: Mapping[str, int] | None = None,
    usual_s: float | None = None,
    note: str | None = None,
) -> StatusLine:
    """Return the status of a run.

    Parameters
    ----------
    how
        How the request was handled: `new`, `same`, `joined` or `ended`; `shown` if there was none.
    drawn
        Field id -> seed generated for this run.
    usual_s
        How long a run of this workflow usually takes, in seconds.
    note
        A text for the end of the line, such as the effect of an interrupt.
    """
    record = run.record
    phrases: list[Phrase]
    fraction = None
    if how == "same" and record.status is Status.SUCCESS:
        when = _when(record)
        phrases = [
            ((f"same as {record.ref}{f' ({when})' if when else ''}, nothing submitted;", "ref"),
             ("--fresh runs it again", "muted")),
        ]  # fmt: skip
        phrases += _images(record)
    elif record.status.is_live:
        phrases, fraction = _live(run, how, usual_s)
    else:
        phrases = _ended(run, how, drawn or {})
    if note:
        phrases.append(((note, "odd"),))
    progress = run.progress
    news = (record.status, record.service_status, progress.node if progress else None, run.warning, note)
    preview = progress.preview if progress is not None and record.status is Status.RUNNING else None
    images = [output.state for output in record.outputs]
    return StatusLine(tuple(phrases), fraction, repr((*news, images)), preview)


def _live(run: Run, how: str, usual_s: float | None) -> tuple[list[Phrase], float | None]:
    record, progress = run.record, run.progress
    word = record.service_status if record.service_status and record.status is Status.RUNNING else str(record.status)
    doing = f"{word} {_doing(progress)}".rstrip() if record.status is Status.RUNNING else word
    phrases: list[Phrase] = [
        (*_who(record), (f"on {record.service}", "muted")),
        ((doing, "live"),),
    ]
    if progress and progress.ahead and record.status in {Status.WAITING, Status.PENDING}:
        phrases.append(((f"{progress.ahead} run{'s' * (progress.ahead != 1)} before it", "plain"),))
    if progress and progress.nodes_total and record.status is Status.RUNNING:
        phrases.append(((f"{progress.nodes_done or 0} of {progress.nodes_total} nodes", "plain"),))
    elapsed_s = max(0.0, time.monotonic() - run.started_clock_s)
    if how == "shown" or elapsed_s < time.time() - record.created_at - 60:  # resumed: older than this process knows
        elapsed_s = max(elapsed_s, time.time() - record.created_at)
    took: Phrase = ((time_text(elapsed_s), "plain"),)
    if usual_s is not None:
        took = (*took, (f"(usually {time_text(usual_s, roughly=True)})", "muted"))
    phrases.append(took)
    if how == "joined":
        phrases.append((("this request was running already: joined, nothing submitted", "muted"),))
    if run.warning:
        phrases.append(((run.warning, "odd"),))
    fraction = _fraction(progress) if record.status is Status.RUNNING else 0.0
    if fraction is None:
        fraction = min(0.95, elapsed_s / usual_s) if usual_s else None
    return phrases, fraction


def _ended(run: Run, how: str, drawn: Mapping[str, int]) -> list[Phrase]:
    record = run.record
    phrases: list[Phrase] = [_who(record)]
    status = record.status
    seconds = record.seconds
    why = str(record.problem) if record.problem is not None else record.reason
    if status is Status.SUCCESS:
        phrases.append(((f"success in {time_text(seconds)}" if seconds is not None else "success", "good"),))
        phrases += _seeds(drawn)
        phrases += _images(record)
        when = _when(record)
        if how == "shown" and when:
            phrases.append(((when, "muted"),))
    elif status is Status.UNKNOWN:
        phrases.append((("unknown: we can't tell whether the service took it", "odd"),))
    elif status is Status.LOST:
        phrases.append((("lost: the service no longer knows it", "odd"),))
    else:
        after = f" after {time_text(seconds)}" if seconds is not None and status is not Status.REJECTED else ""
        phrases.append(((f"{status}{after}", "odd" if status is Status.CANCELLED else "bad"),))
    if why and status is not Status.SUCCESS:
        phrases.append(((why, "plain"),))
    if status.is_held:
        phrases.append(((way_on(run), "muted"),))
    if status is not Status.SUCCESS:
        phrases += _partial_images(record)
    if how == "ended":
        phrases.append((("nothing submitted; --retry failed runs it again", "muted"),))
    if record.remark:
        phrases.append(((record.remark, "odd"),))
    return phrases


def plain_line(run: Run) -> str:
    """Return one line about a run, for a list."""
    return status_line(run, how="shown").text


def time_text(seconds: float, *, roughly: bool = False) -> str:
    """Format a duration: `4.1 s`, `42 s`, `2 min 5 s`, `1 h 4 min`; roughly `4 s`."""
    if seconds < 9.95 and not (roughly and seconds >= 1):
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def day(seconds: float) -> str:
    """Format a time: `14:03` today, else `12 Oct`, with the year if it is not this year."""
    then, now = datetime.fromtimestamp(seconds).astimezone(), datetime.now().astimezone()
    if then.date() == now.date():
        return f"{then:%H:%M}"
    return f"{then.day} {then:%b}" if then.year == now.year else f"{then.day} {then:%b %Y}"


def _who(record: RunRecord) -> Phrase:
    named: Phrase = ((record.name, "plain"),) if record.name else ()
    workflow: tuple[str, Tone] = (f"({record.workflow})" if record.name else record.workflow, "plain")
    return ((record.ref, "ref"), *named, workflow)


def _when(record: RunRecord) -> str:
    """Return the day of a run, empty if it was today."""
    seconds = record.finished_at or record.created_at
    written = day(seconds)
    return "" if ":" in written else written


def _doing(progress: Progress | None) -> str:
    if progress is None:
        return ""
    words = [progress.title or progress.node or ""]
    if progress.max and progress.max > 1:
        words.append(f"{progress.value or 0:g}/{progress.max:g}")
    if progress.message and not any(words):
        words.append(progress.message)
    return " ".join(" ".join(word for word in words if word).split())


def _fraction(progress: Progress | None) -> float | None:
    if progress is None:
        return None
    within = (progress.value or 0) / progress.max if progress.max else 0.0
    if progress.nodes_total:
        return ((progress.nodes_done or 0) + min(1.0, within)) / progress.nodes_total
    return within if progress.max else None


def _seeds(drawn: Mapping[str, int]) -> list[Phrase]:
    if not drawn:
        return []
    if len(set(drawn.values())) == 1:
        return [((f"seed {next(iter(drawn.values()))} (drawn)", "plain"),)]
    return [((", ".join(f"{key} {value}" for key, value in drawn.items()) + " (drawn)", "plain"),)]


def _partial_images(record: RunRecord) -> list[Phrase]:
    """Return which images of a failed or cancelled run are downloaded, pending or missing."""
    phrases = _images(record)
    if any(output.state == "kept" for output in record.outputs):
        phrases.insert(0, (("what it had made is here", "muted"),))
    return phrases


def _images(record: RunRecord) -> list[Phrase]:
    """Return which images are pending or missing; empty if all are downloaded."""
    total = len(record.outputs)
    expected = sum(output.state == "expected" for output in record.outputs)
    missing = [image for image in record.images if image.state == "missing"]
    if expected:
        what = "file" if record.files else "image"
        return [((f"fetching {expected} of {total} {what}{'s' * (total != 1)}", "live"),)]
    if not total and record.status is Status.SUCCESS:
        return [(("no images came", "odd"),)]
    phrases: list[Phrase] = []
    if missing:
        text = _named(record, missing, "missing")
        phrases.append(((f"{text};", "odd"), (f"%comflowy show {record.ref} fetches again", "muted")))
    undecoded = [image for image in record.images if image.state == "kept" and image.error]
    if undecoded:
        phrases.append(((_named(record, undecoded, "kept, without a thumbnail"), "odd"),))
    return phrases


def _named(record: RunRecord, images: Sequence[ImageRecord], how: str) -> str:
    """Return the first of these images, their state, and the reason of the first: `r1[0] is missing: REASON`."""
    names = ", ".join(f"{record.ref}[{image.index}]" for image in images[:3])
    verb = "is" if len(images) == 1 else "are"
    why = f": {images[0].error}" if images[0].error else ""
    return f"{names}{' ...' if len(images) > 3 else ''} {verb} {how}{why}"


def _span(words: str, tone: Tone) -> str:
    text = html_text(words)
    if tone in _DOTS:
        return (
            '<span style="display:inline-block;width:8px;height:8px;border-radius:4px;margin:0 6px 1px 2px;'
            f'background:{_DOTS[tone]}"></span><span style="font-weight:600">{text}</span>'
        )
    style = {"ref": "font-weight:600", "muted": "opacity:.7"}.get(tone)
    return f'<span style="{style}">{text}</span>' if style else f"<span>{text}</span>"
