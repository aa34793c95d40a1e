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
from comflowy_nb.workflow.files.encodings import without_bom
from comflowy_nb.workflow.syntax.body_texts import (
    BLANK,
    FOLD,
    KEEP,
    KEY_END,
    fold_lines,
    keep_lines,
    unquote,
    without_comments,
)
from comflowy_nb.workflow.syntax.json_values import shown
from comflowy_nb.workflow.syntax.payload import is_payload, read_payload
from comflowy_nb.workflow.values import Setting

if TYPE_CHECKING:
    from comflowy_nb.workflow.workflow import Workflow

__all__ = ["Body", "read_body"]

EXAMPLE_ID = "test_workflow_id"  # of the API page's example: it agrees with any workflow
_CLOSERS = re.compile(r"[\]},; \t]+")


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


def read_body(text: str, *, sweep: bool = False) -> Body:
    """What a body sets.

    Parameters
    ----------
    text
        All below the line of `%%comflowy`. If its first line begins with `{`, `const`, `let`, `var` or a quoted key
        it is a payload: JSON values with JavaScript's punctuation, whole or its inner lines or its params alone. Else
        each line is FIELD: TEXT; the key ends at the first `:` before white space or the line's end; indented lines
        go on with the text.
    sweep
        Whether a line of closing brackets alone goes on too: lists and mappings may end so.

    Raises
    ------
    LineError
        If it can't be read; the text names the number of the line.
    """
    lines = [line.rstrip("\r") for line in without_bom(text).split("\n")]
    first = next((line for line in lines if line.strip(BLANK) and not line.lstrip(BLANK).startswith("#")), "")
    if is_payload(first):
        settings, workflow_id = read_payload("\n".join(lines))
        return Body(settings, workflow_id, is_payload=True)
    indent = first[: len(first) - len(first.lstrip(BLANK))]
    if indent and all(line.startswith(indent) for line in lines if line.strip(BLANK)):
        lines = [line[len(indent) :] for line in lines]  # pasted as a whole from an indented place
    return Body(_read_lines(lines, sweep=sweep))


def _read_lines(lines: list[str], *, sweep: bool) -> list[Setting]:
    settings: list[Setting] = []
    at = 0
    while at < len(lines):
        line, number = lines[at], at + 1
        at += 1
        if not line.strip(BLANK) or line.lstrip(BLANK).startswith("#"):
            continue
        key, rest = _split_key(line, number)
        below = []
        while at < len(lines) and (
            not lines[at].strip(BLANK) or lines[at][0] in " \t#" or (sweep and _CLOSERS.fullmatch(lines[at]))
        ):
            if not lines[at].startswith("#"):
                below.append(lines[at])
            at += 1
        while below and not below[-1].strip(BLANK):
            below.pop()
        settings.append(_setting(key, rest, below, f"line {number}"))
    return settings


def _split_key(line: str, number: int) -> tuple[str, str]:
    end = None if line[0] in " \t" else KEY_END.search(line)
    if end is None:
        raise LineError(
            f"line {number}: {shown(line.strip(BLANK))} sets nothing: write FIELD: VALUE with a space after the "
            "colon; a line that goes on with the one above is indented"
        )
    key = line[: end.start()].strip(BLANK)
    if len(key) > 1 and key[0] == key[-1] and key[0] in "\"'":
        key = key[1:-1]
    if not key:
        raise LineError(f"line {number}: the field before the colon is missing")
    return key, line[end.end() :].strip(BLANK)


def _setting(key: str, rest: str, below: list[str], where: str) -> Setting:
    if below and rest in KEEP | FOLD:
        text = keep_lines(below) if rest in KEEP else fold_lines(below)
        return Setting(key, text, quoted=True, where=where, plain=(text, True))
    block = tuple(below) if below and not rest else None
    parts = [part for part in (rest, *(line.strip(BLANK) for line in below)) if part]
    text, quoted = unquote(" ".join(parts))
    is_list = not rest and bool(below) and all(part == "-" or part.startswith("- ") for part in parts)
    return Setting(key, text, quoted=quoted, where=where, plain=without_comments(parts), is_list=is_list, block=block)
