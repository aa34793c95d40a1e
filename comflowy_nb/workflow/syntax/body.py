"""The body of a cell: the API's payload, or lines of `FIELD: TEXT` with indented lists and mappings.

The text of a line is submitted as written, without white space at its ends. Quotes around the whole text, or `|`,
keep that white space. In a text after `|`, the indentation common to all its lines is removed, and no line break is
added at its end.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from comflowy_nb.errors import LineError, WorkflowError
from comflowy_nb.workflow.files import without_bom
from comflowy_nb.workflow.syntax.json_values import MAX_DEPTH, shown
from comflowy_nb.workflow.syntax.line import closing_quote
from comflowy_nb.workflow.syntax.lists import Item, Labelled, MultipleValues, Setting, read_flow
from comflowy_nb.workflow.syntax.payload import is_payload, read_payload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from comflowy_nb.workflow.syntax.lists import Written
    from comflowy_nb.workflow.workflow import Workflow

__all__ = ["Body", "read_block", "read_body"]

_EXAMPLE_ID = "test_workflow_id"  # of the API documentation's example; matches any workflow
_CLOSERS = re.compile(r"[\]},; \t]+")
_BLANK = " \t\r"
_KEEP, _FOLD = frozenset({"|", "|-"}), frozenset({">", ">-"})
_KEY_END = re.compile(r"(?<!:):(?=[ \t]|$)")
_COMMENT = re.compile(r"(?:^|[ \t])#(?=[ \t]|$)")


@dataclass(frozen=True, slots=True)
class Body:
    """The settings of a body; `workflow_id` is the one that a payload names."""

    settings: list[Setting]
    workflow_id: str | None = None
    is_payload: bool = False

    def check_workflow(self, workflow: Workflow) -> None:
        """Check that a payload is for this workflow.

        Raises
        ------
        WorkflowError
            If it names another workflow.
        """
        named = self.workflow_id
        if named in {None, _EXAMPLE_ID, workflow.id, workflow.name}:
            return
        own = f"{workflow.name} ({workflow.id})" if workflow.id not in {None, workflow.name} else workflow.name
        raise WorkflowError(f"the payload is for the workflow {named!r}, not for {own}: remove its workflow_id")


def read_body(text: str, *, sweep: bool = False) -> Body:
    """Parse the body of a cell.

    Parameters
    ----------
    text
        The text below the line of `%%comflowy`. If its first line begins with `{`, `const`, `let`, `var` or a quoted
        key, it is a payload: JSON values with JavaScript's punctuation, complete, only its inner lines, or only its
        params. Otherwise each line is FIELD: TEXT; the key ends at the first `:` before white space or the line's end;
        indented lines continue the text.
    sweep
        Allow a line of closing brackets to continue a list or mapping.

    Raises
    ------
    LineError
        If the body is invalid; the text names the line.
    """
    lines = [line.rstrip("\r") for line in without_bom(text).split("\n")]
    first = next((line for line in lines if line.strip(_BLANK) and not line.lstrip(_BLANK).startswith("#")), "")
    if is_payload(first):
        settings, workflow_id = read_payload("\n".join(lines))
        return Body(settings, workflow_id, is_payload=True)
    indent = first[: len(first) - len(first.lstrip(_BLANK))]
    if indent and all(line.startswith(indent) for line in lines if line.strip(_BLANK)):
        lines = [line[len(indent) :] for line in lines]  # the whole body is indented
    return Body(_read_lines(lines, sweep=sweep))


def _read_lines(lines: list[str], *, sweep: bool) -> list[Setting]:
    settings: list[Setting] = []
    at = 0
    while at < len(lines):
        line, number = lines[at], at + 1
        at += 1
        if not line.strip(_BLANK) or line.lstrip(_BLANK).startswith("#"):
            continue
        key, rest = _split_key(line, number)
        below = []
        while at < len(lines) and (
            not lines[at].strip(_BLANK) or lines[at][0] in " \t#" or (sweep and _CLOSERS.fullmatch(lines[at]))
        ):
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
            f"line {number}: {shown(line.strip(_BLANK))} is not a setting: write FIELD: VALUE with a space after the "
            "colon; indent a line that continues the one above"
        )
    key = line[: end.start()].strip(_BLANK)
    if len(key) > 1 and key[0] == key[-1] and key[0] in "\"'":
        key = key[1:-1]
    if not key:
        raise LineError(f"line {number}: the field before the colon is missing")
    return key, line[end.end() :].strip(_BLANK)


def _setting(key: str, rest: str, below: list[str], where: str) -> Setting:
    if below and rest in _KEEP | _FOLD:
        text = _keep_lines(below) if rest in _KEEP else _fold_lines(below)
        return Setting(key, text, quoted=True, where=where, plain=(text, True))
    block = tuple(below) if below and not rest else None
    parts = [part for part in (rest, *(line.strip(_BLANK) for line in below)) if part]
    text, quoted = _unquote(" ".join(parts))
    is_list = not rest and bool(below) and all(part == "-" or part.startswith("- ") for part in parts)
    return Setting(key, text, quoted=quoted, where=where, plain=_without_comments(parts), is_list=is_list, block=block)


def read_block(lines: Sequence[str], *, is_text: bool, is_mapping: bool = False) -> MultipleValues | Labelled | None:
    """Parse the lines below a key as a list or a mapping; return None if they are one value.

    Parameters
    ----------
    lines
        As written in the body.
    is_text
        Whether ` # ...` is a part of the values and no comment, and the field takes a text: such lines are a mapping
        only if each value is in quotes or stands after `|` or `>`, or they are `in:` and `replace:`.
    is_mapping
        The lines must be a mapping.

    Raises
    ------
    LineError
        If they begin as a list but not all of them belong to an item, may be meant as a mapping and as a text, or are
        indented too deep.
    """
    lines = [line for line in lines if is_text or not line.lstrip(_BLANK).startswith("#")]
    if _is_too_deep(lines):
        if is_text:
            return None
        raise LineError(f"the lines below are indented more than {MAX_DEPTH} times")
    parts = _parts(lines)
    if not parts:
        return None
    first = parts[0][0]
    if first == "-" or first.startswith("- "):
        odd = next((head for head, _ in parts if head != "-" and not head.startswith("- ")), None)
        if odd is not None:
            raise LineError(
                f"{shown(odd)} is not an item of the list: begin each item with '- ' (indent the lines that "
                "continue an item further); write a text of several lines below | or >"
            )
        return MultipleValues(tuple(_text(head[1:].strip(_BLANK), below, is_text=is_text) for head, below in parts))
    return _labelled_lines(parts, is_text=is_text, is_mapping=is_mapping)


def _is_too_deep(lines: Sequence[str]) -> bool:
    """Return whether lines are indented below each other more than `MAX_DEPTH` times."""
    indents: list[int] = []
    for line in lines:
        bare = line.lstrip(_BLANK)
        width = len(line) - len(bare)
        while bare and indents and indents[-1] >= width:
            indents.pop()
        if bare:
            indents.append(width)
        if len(indents) > MAX_DEPTH:
            return True
    return False


def _parts(lines: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Return the lines indented as the first one, each with the more indented lines below it."""
    found: list[tuple[str, list[str]]] = []
    indent = None
    for line in lines:
        bare = line.strip(_BLANK)
        width = len(line) - len(line.lstrip(_BLANK))
        if indent is None and bare:
            indent = width
        if indent is None:
            continue
        if bare and (width <= indent):
            found.append((bare, []))
        else:
            found[-1][1].append(line)
    return found


def _labelled_lines(parts: list[tuple[str, list[str]]], *, is_text: bool, is_mapping: bool) -> Labelled | None:
    divided = [(head, _KEY_END.search(head), below) for head, below in parts]
    pairs: list[tuple[str, Written]] = []
    for head, colon, below in divided:
        if colon is None:
            return None
        rest = head[colon.end() :].strip(_BLANK)
        label = _unquote(head[: colon.start()].strip(_BLANK))[0]
        pairs.append((label, _value(rest, below, is_text=is_text, is_mapping=label == "replace")))
    labels = [label for label, _ in pairs]
    sure = is_mapping or all(
        isinstance(value, Labelled) or (isinstance(value, Item) and value.quoted) for _, value in pairs
    )
    if not is_text or sure or ("replace" in labels and set(labels) <= {"in", "replace"}):
        return Labelled(tuple(pairs))
    if len(pairs) == 1:
        return None
    raise LineError(
        f"{shown(parts[0][0])} and the lines below it may be labelled values or one text: write labelled values in "
        'quotes (day: "TEXT"), or one text below | or >'
    )


def _value(rest: str, below: list[str], *, is_text: bool, is_mapping: bool) -> Written:
    """Return the value of a label, which may be a list or a mapping itself."""
    if rest in _KEEP | _FOLD and below:
        return _text(rest, below, is_text=is_text)
    if not rest and below:
        block = read_block(below, is_text=is_text, is_mapping=is_mapping)
        if block is not None:
            return block
    parts = [rest, *(line.strip(_BLANK) for line in below)]
    joined = " ".join(part for part in parts if part)
    flow = read_flow(joined) or (None if is_text else read_flow(_without_comments(parts)[0]))
    return flow or _text(rest, below, is_text=is_text)


def _text(rest: str, below: list[str], *, is_text: bool) -> Item:
    while below and not below[-1].strip(_BLANK):
        below = below[:-1]
    if rest in _KEEP | _FOLD and below:
        return Item(_keep_lines(below) if rest in _KEEP else _fold_lines(below), quoted=True)
    parts = [part for part in (rest, *(line.strip(_BLANK) for line in below)) if part]
    text, quoted = _unquote(" ".join(parts)) if is_text else _without_comments(parts)
    return Item(text, quoted)


def _keep_lines(below: Sequence[str]) -> str:
    """Return the lines as they are, but for the indentation they share."""
    filled = [line for line in below if line.strip(_BLANK)]
    shared = filled[0][: len(filled[0]) - len(filled[0].lstrip(_BLANK))]
    while not all(line.startswith(shared) for line in filled):
        shared = shared[:-1]
    return "\n".join(line[len(shared) :] if line.startswith(shared) else "" for line in below)


def _fold_lines(below: Sequence[str]) -> str:
    """Return the lines joined by a space; each blank line between them is a line break."""
    text, breaks = "", 0
    for part in (line.strip(_BLANK) for line in below):
        if not part:
            breaks += 1
            continue
        text += ("\n" * breaks or (" " if text else "")) + part
        breaks = 0
    return text


def _unquote(text: str) -> tuple[str, bool]:
    """Return the text without quotes around it, and whether it had any; inner quotes and backslashes are kept."""
    if len(text) > 1 and text[0] in "\"'" and closing_quote(text, 0) == len(text) - 1:
        return text[1:-1], True
    return text, False


def _without_comments(parts: Sequence[str]) -> tuple[str, bool]:
    """Return the text without ` # ...` comments, as types other than STRING read it, and whether it was quoted."""
    text = " ".join(parts)
    close = closing_quote(text, 0) if text and text[0] in "\"'" else None
    if close is not None and (close == len(text) - 1 or _COMMENT.match(text, close + 1)):
        return text[1:close], True
    bare = [_COMMENT.split(part, maxsplit=1)[0].strip(_BLANK) for part in parts]
    return " ".join(part for part in bare if part), False
