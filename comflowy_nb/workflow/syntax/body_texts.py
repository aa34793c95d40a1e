"""The texts of a body's lines: joined, kept, folded, without the quotes or the comments that are none of theirs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from comflowy_nb.workflow.syntax.line import closing_quote

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["BLANK", "FOLD", "KEEP", "KEY_END", "fold_lines", "keep_lines", "unquote", "without_comments"]

BLANK = " \t\r"
KEEP, FOLD = frozenset({"|", "|-"}), frozenset({">", ">-"})
KEY_END = re.compile(r"(?<!:):(?=[ \t]|$)")
_COMMENT = re.compile(r"(?:^|[ \t])#(?=[ \t]|$)")


def keep_lines(below: Sequence[str]) -> str:
    """The lines as they are, but for the indentation they share."""
    filled = [line for line in below if line.strip(BLANK)]
    shared = filled[0][: len(filled[0]) - len(filled[0].lstrip(BLANK))]
    while not all(line.startswith(shared) for line in filled):
        shared = shared[:-1]
    return "\n".join(line[len(shared) :] if line.startswith(shared) else "" for line in below)


def fold_lines(below: Sequence[str]) -> str:
    """The lines joined by a space; each blank line between them is a line break."""
    text, breaks = "", 0
    for part in (line.strip(BLANK) for line in below):
        if not part:
            breaks += 1
            continue
        text += ("\n" * breaks or (" " if text else "")) + part
        breaks = 0
    return text


def unquote(text: str) -> tuple[str, bool]:
    """The text without a quote round the whole of it. Quotes within, and backslashes, are characters."""
    if len(text) > 1 and text[0] in "\"'" and closing_quote(text, 0) == len(text) - 1:
        return text[1:-1], True
    return text, False


def without_comments(parts: Sequence[str]) -> tuple[str, bool]:
    """The text as types other than STRING read it: ` # ...` behind it is a comment."""
    text = " ".join(parts)
    close = closing_quote(text, 0) if text and text[0] in "\"'" else None
    if close is not None and (close == len(text) - 1 or _COMMENT.match(text, close + 1)):
        return text[1:close], True
    bare = [_COMMENT.split(part, maxsplit=1)[0].strip(BLANK) for part in parts]
    return " ".join(part for part in bare if part), False
