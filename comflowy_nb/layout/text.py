"""Break text in several tones into lines, and write it as HTML. Pure: the caller passes the measure function."""

from __future__ import annotations

import html
import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

Tone = Literal["text", "muted", "strong", "title", "small", "waiting", "live", "error", "warning", "done", "images"]
Measure: TypeAlias = Callable[[str, Tone], float]  # text, tone -> width in CSS pixels
Line: TypeAlias = list[tuple[float, str, Tone]]  # x, text, tone, from left to right

LINE_PX = 18
NO_LIMIT = 10**6  # a number of lines for text that must not be shortened
ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"
_TAG_OR_DELIMITER = re.compile(r"(<[^>]*>)|([$\\])")


@dataclass(frozen=True, slots=True)
class Part:
    """Text in one tone."""

    text: str
    tone: Tone = "text"


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Text to wrap. An ellipsis replaces the text after `max_lines` lines."""

    parts: tuple[Part, ...]
    max_lines: int = 3


def wrap(parts: Sequence[Part], width: float, measure: Measure, *, max_lines: int = NO_LIMIT) -> list[Line]:
    """Break text into lines no wider than `width`.

    A word wider than a line, and text in a script without spaces, may be broken anywhere. An ellipsis replaces the text
    after `max_lines` lines.
    """
    lines: list[Line] = [[]]
    x = 0.0
    words = _split_words(parts)
    while words:
        text, tone = words.pop(0)
        if not lines[-1]:
            text = text.lstrip()
        if not text:
            continue
        text_px = measure(text, tone)
        if x + text_px <= width:
            _append(lines[-1], x, text, tone, measure)
            x += text_px
            continue
        is_breakable = text_px > width or _is_without_spaces(text)
        start = _longest_fitting(text, tone, width - x, measure) if is_breakable else ""
        if not start.strip() and not lines[-1]:
            start = text[:1]  # a line has at least one letter, or the loop would not end
        if start.strip():
            _append(lines[-1], x, start, tone, measure)
            text = text[len(start) :]
        words.insert(0, (text, tone))
        if len(lines) == max_lines:
            _add_ellipsis(lines[-1], width, measure)
            break
        lines.append([])
        x = 0.0
    return [line for line in lines if line]


def _longest_fitting(text: str, tone: Tone, width: float, measure: Measure) -> str:
    """Return the longest prefix of a text that fits."""
    lengths = range(1, len(text) + 1)
    return text[: bisect_right(lengths, width, key=lambda length: measure(text[:length], tone))]


def shorten(text: str, max_chars: int) -> str:
    """Return a text of at most `max_chars` characters; an ellipsis replaces the rest."""
    return text if len(text) <= max_chars else text[: max_chars - 1].rstrip(" ,;") + ELLIPSIS


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return a table in plain text: columns of equal width, two spaces apart."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _split_words(parts: Sequence[Part]) -> list[tuple[str, Tone]]:
    """Split parts into words. Each word includes the spaces before it."""
    words: list[tuple[str, Tone]] = []
    for part in parts:
        start = 0
        for index in range(1, len(part.text)):
            if part.text[index].isspace() and not part.text[index - 1].isspace():
                words.append((part.text[start:index], part.tone))
                start = index
        words.append((part.text[start:], part.tone))
    return words


def _append(line: Line, x: float, text: str, tone: Tone, measure: Measure) -> None:
    if line and line[-1][2] == tone:
        line[-1] = (line[-1][0], line[-1][1] + text, tone)
    else:  # spaces before the first word become a distance, because a renderer may not draw them
        word = text.lstrip()
        line.append((x + measure(text[: len(text) - len(word)], tone), word, tone))


def _is_without_spaces(text: str) -> bool:
    """Return whether most of a text is in a script that is written without spaces."""
    return sum(ord(letter) > 0x2E7F for letter in text) > len(text) / 2


def _add_ellipsis(line: Line, width: float, measure: Measure) -> None:
    """Shorten the end of a line until an ellipsis fits after it."""
    while line:
        x, text, tone = line.pop()
        room = width - x - measure(ELLIPSIS, tone)
        shortened = text if measure(text, tone) <= room else _longest_fitting(text, tone, room, measure)
        if shortened.strip() or not line:
            line.append((x, shortened.rstrip(" ,;") + ELLIPSIS, tone))
            return


def html_text(text: str) -> str:
    """Escape a text for the content of an HTML element. For an attribute, use `html.escape`."""
    return without_mathematics(html.escape(text))


def without_mathematics(markup: str) -> str:
    r"""Return HTML that is not typeset as mathematics: `$...$`, `$$...$$`, `\(...\)`, `\[...\]`, `\begin{...}`.

    JupyterLab typesets HTML outputs and descriptions of widgets; nbconvert typesets whole pages. MathJax and KaTeX look
    for a pair of delimiters within one text node, so each `$` and each backslash becomes a separate element. They are
    written as character references, because ipywidgets also looks for mathematics in the markup of a description.
    """
    return _TAG_OR_DELIMITER.sub(lambda match: match[1] or f"<span>&#{ord(match[2])};</span>", markup)
