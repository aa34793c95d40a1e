"""Lists and mappings that stand as indented lines in a body."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comflowy_nb.errors import LineError
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
from comflowy_nb.workflow.syntax.json_values import MAX_DEPTH, shown
from comflowy_nb.workflow.syntax.lists import Item, Labelled, MultipleValues, read_flow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from comflowy_nb.workflow.syntax.lists import Written

__all__ = ["read_block"]


def read_block(lines: Sequence[str], *, is_text: bool, is_mapping: bool = False) -> MultipleValues | Labelled | None:
    """The list or the mapping that the lines below a key are; None if they are the lines of one value.

    Parameters
    ----------
    lines
        As they stand in the body.
    is_text
        Whether ` # ...` is a part of the values and no comment, and the field takes a text: such lines are a mapping
        only if each value is in quotes or stands after `|` or `>`, or they are `in:` and `replace:`.
    is_mapping
        Whether a mapping is meant for sure.

    Raises
    ------
    LineError
        If they begin as a list but not all of them belong to an item, may be meant as a mapping and as a text, or are
        indented too deep.
    """
    lines = [line for line in lines if is_text or not line.lstrip(BLANK).startswith("#")]
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
                f"{shown(odd)} stands in a list, whose items each begin with '- ' (a longer one goes on further to the "
                "right); a text of several lines stands below a | or >"
            )
        return MultipleValues(tuple(_item(head[1:].strip(BLANK), below, is_text=is_text) for head, below in parts))
    return _mapping(parts, is_text=is_text, is_mapping=is_mapping)


def _is_too_deep(lines: Sequence[str]) -> bool:
    """Whether lines are indented below each other more than `MAX_DEPTH` times."""
    indents: list[int] = []
    for line in lines:
        bare = line.lstrip(BLANK)
        width = len(line) - len(bare)
        while bare and indents and indents[-1] >= width:
            indents.pop()
        if bare:
            indents.append(width)
        if len(indents) > MAX_DEPTH:
            return True
    return False


def _parts(lines: Sequence[str]) -> list[tuple[str, list[str]]]:
    """The lines that stand furthest to the left, as the first does, each with those below it."""
    found: list[tuple[str, list[str]]] = []
    indent = None
    for line in lines:
        bare = line.strip(BLANK)
        width = len(line) - len(line.lstrip(BLANK))
        if indent is None and bare:
            indent = width
        if indent is None:
            continue
        if bare and (width <= indent):
            found.append((bare, []))
        else:
            found[-1][1].append(line)
    return found


def _mapping(parts: list[tuple[str, list[str]]], *, is_text: bool, is_mapping: bool) -> Labelled | None:
    divided = [(head, KEY_END.search(head), below) for head, below in parts]
    pairs: list[tuple[str, Written]] = []
    for head, colon, below in divided:
        if colon is None:
            return None
        rest = head[colon.end() :].strip(BLANK)
        label = unquote(head[: colon.start()].strip(BLANK))[0]
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
        f"{shown(parts[0][0])} and the lines below it may be labelled values or one text: labelled values stand in "
        'quotes (day: "TEXT"), one text stands below a | or >'
    )


def _item(rest: str, below: list[str], *, is_text: bool) -> Written:
    """An item of a list: all that stands there is its text."""
    return _text(rest, below, is_text=is_text)


def _value(rest: str, below: list[str], *, is_text: bool, is_mapping: bool) -> Written:
    """The value of a label, which may be a list or a mapping itself."""
    if rest in KEEP | FOLD and below:
        return _text(rest, below, is_text=is_text)
    if not rest and below:
        block = read_block(below, is_text=is_text, is_mapping=is_mapping)
        if block is not None:
            return block
    parts = [rest, *(line.strip(BLANK) for line in below)]
    joined = " ".join(part for part in parts if part)
    flow = read_flow(joined) or (None if is_text else read_flow(without_comments(parts)[0]))
    return flow or _text(rest, below, is_text=is_text)


def _text(rest: str, below: list[str], *, is_text: bool) -> Item:
    while below and not below[-1].strip(BLANK):
        below = below[:-1]
    if rest in KEEP | FOLD and below:
        return Item(keep_lines(below) if rest in KEEP else fold_lines(below), quoted=True)
    parts = [part for part in (rest, *(line.strip(BLANK) for line in below)) if part]
    text, quoted = unquote(" ".join(parts)) if is_text else without_comments(parts)
    return Item(text, quoted)
