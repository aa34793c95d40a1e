"""A status line as text and as HTML. `run_status_text.py` and `sweep_status_text.py` write its texts. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Literal

from comflowy_nb.layout.text import html_text
from comflowy_nb.layout.value_text import day_text
from comflowy_nb.notebook.display.html import FONT, inline_image, plain

if TYPE_CHECKING:
    from collections.abc import Mapping


Tone = Literal["ref", "plain", "muted", "live", "good", "error", "warning"]

# A status has a dot in its colour; its text keeps the page's own colour, which is legible on white and on black.
_DOTS: Mapping[Tone, str] = {
    "live": "var(--jp-brand-color1,#2684d8)",
    "good": "var(--jp-success-color1,#43a047)",
    "error": "var(--jp-error-color1,#e0483c)",
    "warning": "var(--jp-warn-color1,#ef8c00)",
}
_SEPARATOR = " - "


@dataclass(slots=True)
class StatusLine:
    """The status line of a run or a sweep.

    Attributes
    ----------
    phrases
        The parts of the line. Each consists of texts with their tones.
    fraction
        The progress, from 0 to 1.
    change_key
        A terminal prints the line only if this changes.
    preview
        The unfinished image.
    """

    phrases: list[tuple[tuple[str, Tone], ...]] = field(default_factory=list)
    fraction: float | None = None
    change_key: object = field(default=None, compare=False)
    preview: bytes | None = field(default=None, repr=False)

    def add(self, *texts: tuple[str, Tone]) -> None:
        """Append a phrase."""
        self.phrases.append(texts)

    def add_title(
        self, ref: str, name: str | None, workflow: str, *, service: str | None = None, file: str | None = None
    ) -> None:
        """Append reference, name and workflow of a run or a sweep; the service, and the file it was loaded from."""
        texts: list[tuple[str, Tone]] = [(name, "plain"), (f"({workflow})", "plain")] if name else [(workflow, "plain")]
        if service:
            texts.append((f"on {service}", "muted"))
        if file:
            texts.append((f"from {file}", "muted"))
        self.add((ref, "ref"), *texts)

    @property
    def text(self) -> str:
        return plain(_SEPARATOR.join(" ".join(text for text, _ in phrase) for phrase in self.phrases))

    @property
    def html(self) -> str:
        dash = f'<span style="opacity:.4">{_SEPARATOR}</span>'
        phrases = [" ".join(_span(text, tone) for text, tone in phrase) for phrase in self.phrases]
        line = f'<div style="{FONT};padding:2px 0">{dash.join(phrases)}{self._bar()}{inline_image(self.preview)}</div>'
        return line.replace("\n", " ")

    @property
    def bundle(self) -> dict[str, str]:
        """The line as a display bundle."""
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


def _span(text: str, tone: Tone) -> str:
    text = html_text(text)
    if tone in _DOTS:
        return (
            '<span style="display:inline-block;width:8px;height:8px;border-radius:4px;margin:0 6px 1px 2px;'
            f'background:{_DOTS[tone]}"></span><span style="font-weight:600">{text}</span>'
        )
    style = {"ref": "font-weight:600", "muted": "opacity:.7"}.get(tone)
    return f'<span style="{style}">{text}</span>' if style else f"<span>{text}</span>"


def day(seconds: float) -> str:
    """Format a time: `14:03` if it is today, else `12 Oct`, with the year if it is another year."""
    return day_text(seconds) or f"{datetime.fromtimestamp(seconds).astimezone():%H:%M}"
