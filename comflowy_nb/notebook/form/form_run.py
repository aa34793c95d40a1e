"""One run of a form: the request, the changes since the run before, and the item in the filmstrip."""

from __future__ import annotations

import base64
import io
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from comflowy_nb.comparison.differences import mark_words
from comflowy_nb.errors import ComflowyError, RunTimeout
from comflowy_nb.layout.captions import write_value
from comflowy_nb.notebook.display.html import plain
from comflowy_nb.notebook.display.status_line import StatusLine, status_line, time_text
from comflowy_nb.notebook.form.image_control import small_jpeg
from comflowy_nb.status import Status
from comflowy_nb.workflow.images import InputImage

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from comflowy_nb.tracking.submit import Submitted
    from comflowy_nb.workflow.syntax.lists import Setting

__all__ = ["FormRequest", "FormRun", "describe_changes"]

_THUMBNAIL_PX = 160
_MAX_VALUE_CHARS = 24  # characters of a value that changed


@dataclass(frozen=True, slots=True, eq=False)
class FormRequest:
    """What Run submits: the settings, the values of all fields, and the ids of those set explicitly."""

    settings: Sequence[Setting]
    values: Mapping[str, Any]
    explicit: frozenset[str]


class FormRun:
    """One run of a form, updated like other views (`live.LiveView`).

    Parameters
    ----------
    changed
        The differences from the run before.
    usual_s
        The usual time of this workflow in seconds, if known.
    draw, finish
        Draw the current and the final state in the form.
    """

    def __init__(
        self,
        submitted: Submitted,
        request: FormRequest,
        changed: str,
        usual_s: float | None,
        *,
        draw: Callable[[FormRun], None],
        finish: Callable[[FormRun], None],
    ) -> None:
        self.run = submitted.run
        self.token = submitted.run.token
        self.request = request
        self.changed = changed
        self.status_note: str | None = None
        self.thumbnail: str | None = None  # a data URL
        self._submitted = submitted
        self._usual_s = usual_s
        self._draw = draw
        self._finish = finish
        self._lock = threading.Lock()
        self._is_finished = False
        self._last_preview: bytes | None = None

    # -- as a view ------------------------------------------------------------------------------------------------

    @property
    def ref(self) -> str:
        return self.run.ref

    @property
    def is_settled(self) -> bool:
        return self.run.record.is_settled

    def wait_change(self, timeout: float) -> bool:
        return self.run.wait_change(timeout)

    def draw(self, *, force: bool = False) -> None:
        del force
        self._draw(self)

    def finish(self) -> None:
        with self._lock:
            if not self._is_finished:
                self._finish(self)
                self._is_finished = True

    def note(self, text: str) -> None:
        self.status_note = text
        self._draw(self)

    def timeout(self, timeout_s: float) -> RunTimeout:
        return RunTimeout(f"{self.ref} is not done after {timeout_s:g} s and continues", self.run)

    # -- for the form ---------------------------------------------------------------------------------------------

    def line(self) -> StatusLine:
        """Return the status line below the buttons, without the preview, which the filmstrip shows."""
        how, drawn = self._submitted.how, self._submitted.drawn
        line = status_line(self.run, how=how, drawn=drawn, usual_s=self._usual_s, note=self.status_note)
        return replace(line, preview=None)

    def item(self) -> dict[str, Any]:
        """Return the item for the filmstrip, which escapes the texts."""
        run, progress = self.run, self.run.progress
        text = str(run.status)
        if run.status is Status.SUCCESS:
            seconds = run.record.seconds
            text = "" if seconds is None else "same" if self._submitted.how == "same" else time_text(seconds)
        elif run.status is Status.RUNNING and progress is not None and progress.max and progress.max > 1:
            text = f"{progress.value or 0:g}/{progress.max:g}"
        return {
            "token": self.token,
            "ref": run.ref,
            "status": str(run.status),
            "status_text": text,
            "changed": plain(self.changed),
            "fraction": self.line().fraction if run.status.is_live else None,
            "has_images": any(image.state in {"kept", "pruned"} for image in run.record.images),
        }

    def new_preview(self) -> str | None:
        """Return the unfinished image as a small data URL; None if there is not a new one."""
        progress = self.run.progress
        preview = progress.preview if progress is not None and self.run.status is Status.RUNNING else None
        if preview is None or preview is self._last_preview:
            return None
        self._last_preview = preview
        return _data_url(io.BytesIO(preview))

    def make_thumbnail(self) -> None:
        """Make the first image a small data URL, if there is one that can be read."""
        kept = [image for image in self.run.images if image.record.state in {"kept", "pruned"}]
        try:
            self.thumbnail = _data_url(kept[0].thumbnail(256)) if kept else None
        except ComflowyError:
            self.thumbnail = None


def _data_url(source: Path | io.BytesIO) -> str | None:
    """Return an image as a data URL of a few kilobytes; None if it can't be decoded."""
    jpeg = small_jpeg(source, _THUMBNAIL_PX)
    return None if jpeg is None else f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode('ascii')}"


def describe_changes(before: Mapping[str, Any] | None, after: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """Return the differences from the run before: `cfg 8 -> 7`; of texts, the words added and removed."""
    if before is None:
        return "as it was opened"
    parts = []
    for key, value in after.items():
        old, name = before.get(key), names.get(key, key)
        if _same(old, value):
            continue
        if isinstance(old, str) and isinstance(value, str) and " " in old + value:
            parts.append(f"{name}: {_text_changes(old, value)}")
        else:
            parts.append(f"{name} {_short(old)} \N{RIGHTWARDS ARROW} {_short(value)}")
    return ", ".join(parts) or "nothing changed"


def _text_changes(old: str, new: str) -> str:
    removed, added = (
        " ".join(piece.text.strip(" ,.;") for piece in pieces if piece.mark != "same").strip()
        for pieces in mark_words([old, new])
    )
    signs = (("+", added), ("\N{MINUS SIGN}", removed))
    return " ".join(f"{sign} {_short(text)}" for sign, text in signs if text) or "other spacing"


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, InputImage) and isinstance(other, InputImage):
        return one.content_sha256 == other.content_sha256
    return bool(one == other) and isinstance(one, bool) == isinstance(other, bool)


def _short(value: Any) -> str:
    text = value.name if isinstance(value, InputImage) else "nothing" if value is None else write_value(value)
    text = text or '""'
    return text if len(text) <= _MAX_VALUE_CHARS else f"{text[: _MAX_VALUE_CHARS - 1].rstrip()}\N{HORIZONTAL ELLIPSIS}"
