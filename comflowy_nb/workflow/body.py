"""The body of a cell: the API's payload, or lines of FIELD: TEXT.

A line's text is sent as it stands, without the white space at its two ends; a quote round the whole of it, or `|`,
keeps that too. In a text after `|` the indentation that all its lines share is taken away, and no line break is added
at its end.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from comflowy_nb.errors import LineError, WorkflowError
from comflowy_nb.workflow.json_values import shown
from comflowy_nb.workflow.payload import is_payload, read_payload
from comflowy_nb.workflow.values import Setting
from comflowy_nb.workflow.words import closing_quote

if TYPE_CHECKING:
    from comflowy_nb.workflow.workflow import Workflow

__all__ = ["Body", "read_body"]

EXAMPLE_ID = "test_workflow_id"  # of the API page's example: it agrees with any workflow
_BLANK = " \t\r"
_KEY_END = re.compile(r"(?<!:):(?=[ \t]|$)")
_COMMENT = re.compile(r"(?:^|[ \t])#(?=[ \t]|$)")
_KEEP, _FOLD = frozenset({"|", "|-"}), frozenset({">", ">-"})


@dataclass(frozen=True, slots=True)
class Body:
    """What a body sets; `workflow_id` is what a payload says it is for."""

    settings: list[Setting]
    workflow_id: str | None = None
    is_payload: bool = False

    def check_workflow(self, workflow: Workflow) -> None:
        """Make sure that a payload is for this workflow.

        Raises
        ------
        WorkflowError
            If it names another one.
        """
        named = self.workflow_id
        if named in {None, EXAMPLE_ID, workflow.id, workflow.name}:
            return
        own = f"{workflow.name} ({workflow.id})" if workflow.id not in {None, workflow.name} else workflow.name
        raise WorkflowError(f"the payload is for the workflow {named!r}, not for {own}: leave its workflow_id out")


def read_body(text: str) -> Body:
    """What a body sets.

    Parameters
    ----------
    text
        All below the line of `%%comflowy`. If its first line begins with `{`, `const`, `let`, `var` or a quoted key
        it is a payload: JSON values with JavaScript's punctuation, whole or its inner lines or its params alone. Else
        each line is FIELD: TEXT; the key ends at the first `:` before white space or the line's end; indented lines
        go on with the text.

    Raises
    ------
    LineError
        If it can't be read; the text names the number of the line.
    """
    lines = [line.rstrip("\r") for line in text.split("\n")]
    first = next((line for line in lines if line.strip(_BLANK) and not line.lstrip(_BLANK).startswith("#")), "")
    if is_payload(first):
        settings, workflow_id = read_payload("\n".join(lines))
        return Body(settings, workflow_id, is_payload=True)
    indent = first[: len(first) - len(first.lstrip(_BLANK))]
    if indent and all(line.startswith(indent) for line in lines if line.strip(_BLANK)):
        lines = [line[len(indent) :] for line in lines]  # pasted as a whole from an indented place
    return Body(_read_lines(lines))


def _read_lines(lines: list[str]) -> list[Setting]:
    settings: list[Setting] = []
    at = 0
    while at < len(lines):
        line, number = lines[at], at + 1
        at += 1
        if not line.strip(_BLANK) or line.lstrip(_BLANK).startswith("#"):
            continue
        key, rest = _split_key(line, number)
        below = []
        while at < len(lines) and (not lines[at].strip(_BLANK) or lines[at][0] in " \t#"):
            if not lines[at].startswith("#"):
                below.append(lines[at])
            at += 1
        while below and not below[-1].strip(_BLANK):
            below.pop()
        settings.append(_setting(key, rest, below, f"line {number}"))
    return settings


def _split_key(line: str, number: int) -> tuple[str, str]:
    end = None if line[0] in " \t" else _KEY_END.search(line)
    if end is None:
        raise LineError(
            f"line {number}: {shown(line.strip(_BLANK))} sets nothing: write FIELD: VALUE with a space after the "
            "colon; a line that goes on with the one above is indented"
        )
    key = line[: end.start()].strip(_BLANK)
    if len(key) > 1 and key[0] == key[-1] and key[0] in "\"'":
        key = key[1:-1]
    if not key:
        raise LineError(f"line {number}: the field before the colon is missing")
    return key, line[end.end() :].strip(_BLANK)


def _setting(key: str, rest: str, below: list[str], where: str) -> Setting:
    if below and rest in _KEEP | _FOLD:
        text = _keep(below) if rest in _KEEP else _fold(below)
        return Setting(key, text, quoted=True, where=where, plain=(text, True))
    parts = [part for part in (rest, *(line.strip(_BLANK) for line in below)) if part]
    text, quoted = _unquote(" ".join(parts))
    is_list = not rest and bool(below) and all(part == "-" or part.startswith("- ") for part in parts)
    return Setting(key, text, quoted=quoted, where=where, plain=_without_comments(parts), is_list=is_list)


def _keep(below: list[str]) -> str:
    """The lines as they are, but for the indentation they share."""
    filled = [line for line in below if line.strip(_BLANK)]
    shared = filled[0][: len(filled[0]) - len(filled[0].lstrip(_BLANK))]
    while not all(line.startswith(shared) for line in filled):
        shared = shared[:-1]
    return "\n".join(line[len(shared) :] if line.startswith(shared) else "" for line in below)


def _fold(below: list[str]) -> str:
    """The lines joined by a space; each blank line between them is a line break."""
    text, breaks = "", 0
    for part in (line.strip(_BLANK) for line in below):
        if not part:
            breaks += 1
            continue
        text += ("\n" * breaks or (" " if text else "")) + part
        breaks = 0
    return text


def _unquote(text: str) -> tuple[str, bool]:
    """The text without a quote round the whole of it. Quotes within, and backslashes, are characters."""
    if len(text) > 1 and text[0] in "\"'" and closing_quote(text, 0) == len(text) - 1:
        return text[1:-1], True
    return text, False


def _without_comments(parts: list[str]) -> tuple[str, bool]:
    """The text as types other than STRING read it: ` # ...` behind it is a comment."""
    text = " ".join(parts)
    close = closing_quote(text, 0) if text and text[0] in "\"'" else None
    if close is not None and (close == len(text) - 1 or _COMMENT.match(text, close + 1)):
        return text[1:close], True
    bare = [_COMMENT.split(part, maxsplit=1)[0].strip(_BLANK) for part in parts]
    return " ".join(part for part in bare if part), False
