"""The runs of a form: the values of each, what changed since the run before, and the status."""

from __future__ import annotations

import base64
import io
import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from comflowy_nb.errors import ComflowyError, RunTimeout
from comflowy_nb.layout.captions import write_value
from comflowy_nb.notebook.display.html import plain
from comflowy_nb.notebook.display.status import StatusLine, status_line, time_text
from comflowy_nb.notebook.form.image_control import small_jpeg
from comflowy_nb.status import Status
from comflowy_nb.workflow.images import InputImage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from comflowy_nb.client import Submitted
    from comflowy_nb.tracking.run import Run
    from comflowy_nb.workflow.syntax.lists import Setting

__all__ = ["Entry", "EntryView", "FormRequest", "describe_changes"]

THUMBNAIL_PX = 160
_MAX_VALUE_CHARS = 24  # characters of a value that changed
_STATUS_TEXTS = {
    Status.SUBMITTING: "sending", Status.SUCCESS: "", Status.UNKNOWN: "unknown", Status.LOST: "lost",
}  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class FormRequest:
    """What Run submits: the settings, the values of all fields, and the ids of those set explicitly."""

    settings: Sequence[Setting]
    values: Mapping[str, Any]
    explicit: frozenset[str]


@dataclass(slots=True)
class Entry:
    """One run of a form."""

    submitted: Submitted
    request: FormRequest
    changed: str
    usual_s: float | None = None
    note: str | None = None
    thumb: str | None = None  # a data address
    seen: bytes | None = None  # the preview that was shown last
    began_s: float = field(default_factory=time.monotonic)

    @property
    def run(self) -> Run:
        return self.submitted.run

    @property
    def token(self) -> str:
        return self.run.token

    @property
    def values(self) -> Mapping[str, Any]:
        return self.request.values

    def line(self) -> StatusLine:
        """Return the status line below the buttons."""
        how, drawn = self.submitted.how, self.submitted.drawn
        line = status_line(self.run, how=how, drawn=drawn, usual_s=self.usual_s, note=self.note)
        return replace(line, preview=None)  # the filmstrip shows the preview, without moving other parts

    def item(self) -> dict[str, Any]:
        """Return the item for the filmstrip, which escapes the texts."""
        run = self.run
        line = self.line()
        word = _STATUS_TEXTS.get(run.status, str(run.status))
        if run.status is Status.SUCCESS and run.record.seconds is not None:
            word = "same" if self.submitted.how == "same" else time_text(run.record.seconds)
        progress = run.progress
        if run.status is Status.RUNNING and progress is not None and progress.max and progress.max > 1:
            word = f"{progress.value or 0:g}/{progress.max:g}"
        return {
            "token": self.token,
            "ref": run.ref,
            "status": str(run.status),
            "word": plain(word),
            "changed": plain(self.changed),
            "fraction": line.fraction if run.status.is_live else None,
            "has_images": any(image.state == "kept" for image in run.record.images),
        }

    def new_preview(self) -> str | None:
        """Return the unfinished image as a small data URL; None if there is not a new one."""
        progress = self.run.progress
        preview = progress.preview if progress is not None and self.run.status is Status.RUNNING else None
        if preview is None or preview is self.seen:
            return None
        self.seen = preview
        return _data_url(io.BytesIO(preview))

    def make_thumb(self) -> str | None:
        """Return the first image as a small data URL; None if there is none."""
        kept = [image for image in self.run.images if image.record.state == "kept"]
        if not kept:
            return None
        try:
            return _data_url(kept[0].thumbnail(256))
        except ComflowyError:
            return None


class EntryView:
    """A view of one run in a form, updated like other views (`live.LiveView`)."""

    def __init__(self, entry: Entry, draw: Callable[[Entry], None], finish: Callable[[Entry], None]) -> None:
        self._entry = entry
        self._draw = draw
        self._finish = finish
        self._lock = threading.Lock()
        self._finished = False

    @property
    def run(self) -> Run:
        return self._entry.run

    @property
    def ref(self) -> str:
        return self._entry.run.ref

    @property
    def is_settled(self) -> bool:
        return self._entry.run.record.is_settled

    def wait_change(self, timeout: float) -> bool:
        return self._entry.run.wait_change(timeout)

    def draw(self, *, force: bool = False) -> None:
        del force
        self._draw(self._entry)

    def finish(self) -> None:
        with self._lock:
            if self._finished:
                return
            self._finish(self._entry)
            self._finished = True

    def note(self, text: str) -> None:
        self._entry.note = text
        self._draw(self._entry)

    def timeout(self, timeout_s: float) -> RunTimeout:
        run = self._entry.run
        return RunTimeout(f"{run.ref} is not done after {timeout_s:g} s and goes on", run)


def _data_url(source: Path | io.BytesIO) -> str | None:
    """Return an image as a data URL of a few kilobytes; None if it can't be decoded."""
    jpeg = small_jpeg(source, THUMBNAIL_PX)
    return None if jpeg is None else f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode('ascii')}"


def describe_changes(before: Mapping[str, Any] | None, after: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """Return what differs from the run before: `cfg 8 -> 7`; of texts, the words added and removed."""
    if before is None:
        return "as it was opened"
    parts = []
    for key, value in after.items():
        old = before.get(key)
        if _same(old, value):
            continue
        name = names.get(key, key)
        if isinstance(old, str) and isinstance(value, str) and " " in old + value:
            parts.append(f"{name}: {_text_changes(old, value)}")
        else:
            parts.append(f"{name} {_short(old)} \N{RIGHTWARDS ARROW} {_short(value)}")
    return ", ".join(parts) or "nothing changed"


def _text_changes(old: str, new: str) -> str:
    from comflowy_nb.comparison.differences import mark_words  # noqa: PLC0415

    removed, added = (
        " ".join(piece.text.strip(" ,.;") for piece in pieces if piece.mark != "same").strip()
        for pieces in mark_words([old, new])
    )
    shown = [f"+ {_short(added)}"] if added else []
    return " ".join([*shown, *([f"\N{MINUS SIGN} {_short(removed)}"] if removed else [])]) or "other spacing"


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, InputImage) and isinstance(other, InputImage):
        return one.content_sha256 == other.content_sha256
    return type(one) is type(other) and bool(one == other) if isinstance(one, bool) else bool(one == other)


def _short(value: Any) -> str:
    text = value.name if isinstance(value, InputImage) else "nothing" if value is None else write_value(value)
    text = text or '""'
    return text if len(text) <= _MAX_VALUE_CHARS else f"{text[: _MAX_VALUE_CHARS - 1].rstrip()}\N{HORIZONTAL ELLIPSIS}"
