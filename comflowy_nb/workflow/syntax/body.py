"""Parse the body of a cell: the API's payload, or lines of `FIELD: TEXT` with indented lists and mappings.

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
from comflowy_nb.workflow.syntax.line import closing_quote, unquote
from comflowy_nb.workflow.syntax.lists import Item, Labelled, MultipleValues, Setting, read_flow
from comflowy_nb.workflow.syntax.payload import is_payload, read_payload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from comflowy_nb.workflow.syntax.lists import ParsedValue
    from comflowy_nb.workflow.workflow import Workflow


_EXAMPLE_ID = "test_workflow_id"  # the id in the example of the API documentation; it matches any workflow
_CLOSERS = re.compile(r"[\]},; \t]+")
_BLANK = " \t\r"
_KEY_END = re.compile(r"(?<!:):(?=[ \t]|$)")
_COMMENT = re.compile(r"(?:^|[ \t])#(?=[ \t]|$)")


@dataclass(frozen=True, slots=True)
class Body:
    """The settings of a body. `workflow_id` is set if the body is a payload that contains it."""

    settings: list[Setting]
    workflow_id: str | None = None

    def check_workflow(self, workflow: Workflow) -> None:
        """Raise WorkflowError if a payload names another workflow."""
        name = self.workflow_id
        if name in {None, _EXAMPLE_ID, workflow.id, workflow.name}:
            return
        own = f"{workflow.name} ({workflow.id})" if workflow.id not in {None, workflow.name} else workflow.name
        raise WorkflowError(f"the payload is for the workflow {name!r}, not for {own}: remove its workflow_id")


def read_body(text: str, *, sweep: bool = False) -> Body:
    """Parse the body of a cell.

    Parameters
    ----------
    text
        The text below the line of `%%comflowy`. If its first line is the beginning of a payload (see `is_payload`), it
        is parsed as a payload. Otherwise each line is FIELD: TEXT. The key ends at the first `:` before white space or
        the end of the line; indented lines continue the text.
    sweep
        Whether a line of closing brackets may continue a list or mapping.

    Raises
    ------
    LineError
        If the body is invalid. The text contains the line.
    """
    lines = [line.rstrip("\r") for line in without_bom(text).split("\n")]
    first = next((line for line in lines if line.strip(_BLANK) and not line.lstrip(_BLANK).startswith("#")), "")
    if is_payload(first):
        settings, workflow_id = read_payload("\n".join(lines))
        return Body(settings, workflow_id)
    indent = first[: len(first) - len(first.lstrip(_BLANK))]
    if indent and all(line.startswith(indent) for line in lines if line.strip(_BLANK)):
        lines = [line[len(indent) :] for line in lines]  # the whole body is indented
    return Body(_read_lines(lines, sweep=sweep))


def _read_lines(lines: list[str], *, sweep: bool) -> list[Setting]:
    entries: list[tuple[int, str, list[str]]] = []  # number of the line, line, lines that continue it
    for number, line in enumerate(lines, 1):
        # In a sweep, a line of closing brackets continues a list or mapping.
        continues = not line.strip(_BLANK) or line[0] in " \t#" or (sweep and _CLOSERS.fullmatch(line))
        if entries and continues:
            if not line.startswith("#"):
                entries[-1][2].append(line)
        elif line.strip(_BLANK) and not line.lstrip(_BLANK).startswith("#"):
            entries.append((number, line, []))
    settings = []
    for number, line, below in entries:
        key, rest = _split_key(line, number)
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
        raise LineError(f"line {number}: the field before the colon is missing: write FIELD: VALUE")
    return key, line[end.end() :].strip(_BLANK)


def _setting(key: str, rest: str, below: list[str], where: str) -> Setting:
    text = _block_text(rest, below)
    if text is not None:
        return Setting(key, text, quoted=True, where=where, plain=(text, True))
    block = tuple(below) if below and not rest else None
    parts = _strip_lines(rest, below)
    text, quoted = unquote(" ".join(parts))
    is_list = block is not None and all(map(_is_item, parts))
    return Setting(key, text, quoted=quoted, where=where, plain=_without_comments(parts), is_list=is_list, block=block)


# -- lists and mappings below a key --------------------------------------------------------------------------------


def read_block(
    lines: Sequence[str], *, is_text: bool, is_mapping: bool = False, depth: int = 0
) -> MultipleValues | Labelled | None:
    """Parse the lines below a key as a list or a mapping. Return None if they are one value.

    Parameters
    ----------
    lines
        The lines of the body.
    is_text
        Whether the field takes a text. Then ` # ...` is part of a value, and the lines are a mapping only if each value
        is in quotes or below `|` or `>`, or if the labels are `in` and `replace`.
    is_mapping
        Whether the lines must be a mapping.
    depth
        The number of blocks that contain this one. A text nested deeper than `MAX_DEPTH` is one value.

    Raises
    ------
    LineError
        If only some of the lines are items of a list, if the lines may be a mapping or a text, or if they are nested
        too deep.
    """
    if depth > MAX_DEPTH:
        if is_text:
            return None
        raise LineError(f"the lines below are indented more than {MAX_DEPTH} times")
    entries = _entries(lines if is_text else [line for line in lines if not line.lstrip(_BLANK).startswith("#")])
    if not entries:
        return None
    if not _is_item(entries[0][0]):
        return _read_mapping(entries, is_text=is_text, is_mapping=is_mapping, depth=depth)
    odd = next((head for head, _ in entries if not _is_item(head)), None)
    if odd is not None:
        raise LineError(
            f"{shown(odd)} is not an item of the list: write '- ' before each item, and indent the lines that "
            "continue an item. If this is a text of several lines, write | after FIELD:"
        )
    return MultipleValues(tuple(_item(head[1:].strip(_BLANK), below, is_text=is_text) for head, below in entries))


def _is_item(line: str) -> bool:
    return line == "-" or line.startswith("- ")


def _entries(lines: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Return the lines with the indentation of the first line, each with the more indented lines below it."""
    entries: list[tuple[str, list[str]]] = []
    indent: int | None = None
    for line in lines:
        bare = line.strip(_BLANK)
        width = len(line) - len(line.lstrip(_BLANK))
        if bare and (indent is None or width <= indent):
            indent = width if indent is None else indent
            entries.append((bare, []))
        elif entries:
            entries[-1][1].append(line)
    return entries


def _read_mapping(
    entries: list[tuple[str, list[str]]], *, is_text: bool, is_mapping: bool, depth: int
) -> Labelled | None:
    pairs: list[tuple[str, ParsedValue]] = []
    for head, below in entries:
        colon = _KEY_END.search(head)
        if colon is None:
            return None
        label = unquote(head[: colon.start()].strip(_BLANK))[0]
        rest = head[colon.end() :].strip(_BLANK)
        pairs.append((label, _value(rest, below, is_text=is_text, is_mapping=label == "replace", depth=depth + 1)))
    labels = {label for label, _ in pairs}
    is_replace = "replace" in labels and labels <= {"in", "replace"}
    is_sure = all(isinstance(value, Labelled) or (isinstance(value, Item) and value.quoted) for _, value in pairs)
    if not is_text or is_mapping or is_replace or is_sure:
        return Labelled(tuple(pairs))
    if len(pairs) == 1:  # a single line with a colon is probably text
        return None
    raise LineError(
        f"{shown(entries[0][0])} and the lines below it may be labelled values or one text: write labelled values in "
        'quotes (day: "TEXT"), or one text below | or >'
    )


def _value(rest: str, below: list[str], *, is_text: bool, is_mapping: bool, depth: int) -> ParsedValue:
    """Parse the value of a label, which may be a list or a mapping."""
    if _block_text(rest, below) is None:
        block = read_block(below, is_text=is_text, is_mapping=is_mapping, depth=depth) if not rest else None
        parts = _strip_lines(rest, below)
        value = block or read_flow(" ".join(parts)) or (None if is_text else read_flow(_without_comments(parts)[0]))
        if value is not None:
            return value
    return _item(rest, below, is_text=is_text)


def _item(rest: str, below: list[str], *, is_text: bool) -> Item:
    while below and not below[-1].strip(_BLANK):
        below = below[:-1]
    text = _block_text(rest, below)
    if text is not None:
        return Item(text, quoted=True)
    parts = _strip_lines(rest, below)
    return Item(*(unquote(" ".join(parts)) if is_text else _without_comments(parts)))


# -- texts ---------------------------------------------------------------------------------------------------------


def _block_text(rest: str, below: list[str]) -> str | None:
    """Return the text below `|` (line breaks kept) or `>` (lines joined); None for any other value."""
    if not below or rest not in {"|", "|-", ">", ">-"}:
        return None
    return _keep_lines(below) if rest.startswith("|") else _fold_lines(below)


def _keep_lines(below: Sequence[str]) -> str:
    """Join the lines with line breaks, without their common indentation."""
    filled = [line for line in below if line.strip(_BLANK)]
    common = filled[0][: len(filled[0]) - len(filled[0].lstrip(_BLANK))]
    while not all(line.startswith(common) for line in filled):
        common = common[:-1]
    return "\n".join(line[len(common) :] if line.startswith(common) else "" for line in below)


def _fold_lines(below: Sequence[str]) -> str:
    """Join the lines with spaces. Each blank line becomes a line break."""
    text, breaks = "", 0
    for part in (line.strip(_BLANK) for line in below):
        if not part:
            breaks += 1
            continue
        text += ("\n" * breaks or (" " if text else "")) + part
        breaks = 0
    return text


def _strip_lines(rest: str, below: Sequence[str]) -> list[str]:
    """Return the text after the key and the lines below it, stripped and without blank lines."""
    return [part for part in (rest, *(line.strip(_BLANK) for line in below)) if part]


def _without_comments(parts: Sequence[str]) -> tuple[str, bool]:
    """Return the text without comments and quotes, and whether it was quoted. STRING fields have no comments."""
    text = " ".join(parts)
    close = closing_quote(text, 0) if text and text[0] in "\"'" else None
    if close is not None and (close == len(text) - 1 or _COMMENT.match(text, close + 1)):
        return text[1:close], True
    bare = [_COMMENT.split(part, maxsplit=1)[0].strip(_BLANK) for part in parts]
    return " ".join(part for part in bare if part), False
