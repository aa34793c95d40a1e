"""Split a setting of a sweep into its values, before each value is parsed by the type of its field.

A text of type STRING is split at `||`, also inside quotes. Numbers, choices and booleans are split at commas outside
brackets and quotes. If the type is unknown, an unquoted text is split at `||`, or at commas if the meaning is
unambiguous. White space around a separator is ignored. The items of a list are not split again.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from comflowy_nb.errors import LineError
from comflowy_nb.workflow.fields import FieldType
from comflowy_nb.workflow.syntax.body import read_block
from comflowy_nb.workflow.syntax.json_values import read_untyped, shown
from comflowy_nb.workflow.syntax.line import SPACE, closing_quote, expand_text, is_name, unquote
from comflowy_nb.workflow.syntax.lists import Item, Labelled, MultipleValues, from_python, read_flow
from comflowy_nb.workflow.syntax.ranges import is_number, is_range

if TYPE_CHECKING:
    from collections.abc import Mapping

    from comflowy_nb.workflow.fields import Field
    from comflowy_nb.workflow.syntax.lists import ParsedValue, Setting


def split_values(setting: Setting, field: Field, namespace: Mapping[str, Any] | None = None) -> ParsedValue:
    """Split a setting of one field into its values.

    Raises
    ------
    LineError
        If the setting is ambiguous or invalid. The text shows how to write each meaning.
    ValueError
        If it is a list with more values than an axis can have.
    """
    if not isinstance(setting.value, str):
        values = from_python(setting.value, takes_images=field.type.takes_images, computed=setting.computed)
        return _reject_text(values, field)
    text, quoted = setting.value, setting.quoted
    in_body = setting.plain is not None
    if setting.plain is not None and field.type is not FieldType.STRING:
        text, quoted = setting.plain
    if (namespace is not None and is_name(text)) or (setting.is_python_value and field.separator != ","):
        return Item(text, quoted, is_python_value=setting.is_python_value)
    if setting.block is not None:
        block = read_block(setting.block, is_text=field.type is FieldType.STRING)
        if block is not None:
            return block
    flow = read_flow(text) if not quoted and (text[:1] == "[" or in_body) else None  # a line has no labels
    if flow is not None:
        return _reject_text(flow, field)
    parts = _split_text(text, field, namespace, quoted=quoted, in_body=in_body)
    return MultipleValues(tuple(parts)) if len(parts) > 1 else parts[0]


def read_mapping(setting: Setting) -> Labelled | None:
    """Return the value of a preset axis, which is not a field, as a mapping; None for any other value.

    Raises
    ------
    LineError, ValueError
        As `split_values`.
    """
    value: ParsedValue | None
    if not isinstance(setting.value, str):
        value = from_python(setting.value, takes_images=False, computed=setting.computed)
    elif setting.plain is None:
        return None
    else:
        block = read_block(setting.block, is_text=False) if setting.block is not None else None
        value = block or read_flow(setting.value) or read_flow(setting.plain[0])
    return value if isinstance(value, Labelled) else None


def _reject_text(value: ParsedValue, field: Field) -> ParsedValue:
    """Return the value; raise a LineError for a list without quotes, which may be a text in brackets."""
    if not isinstance(value, MultipleValues) or value.text is None or field.separator == ",":
        return value
    for item in value.items:
        is_sure = isinstance(item, Item) and (
            item.quoted or item.is_python_value or is_name(str(item.value)) or _is_numeric(str(item.value))
        )
        if not is_sure:
            listed = ", ".join(f'"{item.value}"' if isinstance(item, Item) else '"..."' for item in value.items)
            raise LineError(
                f"{shown(value.text)} may be a list or a text with brackets: a list has its items in quotes, "
                f'[{listed}]; a text is quoted as a whole, "{value.text}"'
            )
    return value


def _split_text(
    text: str, field: Field, namespace: Mapping[str, Any] | None, *, quoted: bool, in_body: bool
) -> list[Item]:
    if field.separator == "||":
        return _split_at_bars(text, quoted=quoted, in_body=in_body)
    if quoted or (field.separator == "," and text in {str(option) for option in field.options}):
        return [Item(text, quoted)]
    if field.separator == ",":
        return _split(expand_text(text, namespace) if field.type.is_number else text, ",")
    if text[:1] in {"[", "{"} and not isinstance(read_untyped(text), str):
        return [Item(text)]  # JSON
    bars = _split(text, "||")
    if len(bars) > 1:
        return bars
    parts = _split(text, ",")
    if in_body:
        is_list = all(
            not part.quoted and (_is_numeric(str(part.value)) or part.value in {"true", "false"}) for part in parts
        )
    else:  # on the line a quote only serves to separate
        is_list = all(part.quoted or not re.search(r"\s", str(part.value)) for part in parts)
    return parts if is_list else [Item(text)]


def _split_at_bars(text: str, *, quoted: bool, in_body: bool) -> list[Item]:
    """Split a text at `||`, also inside quotes."""
    if quoted:
        return _split_quoted(text)
    items: list[Item] = []
    at = 0
    while True:
        at += len(text[at:]) - len(text[at:].lstrip(SPACE)) if items else 0
        close = closing_quote(text, at) if text[at : at + 1] in {'"', "'"} else None
        rest = text[close + 1 :].lstrip(SPACE) if close is not None else ""
        if close is not None and (not rest or rest.startswith("||")):
            items += _split_quoted(text[at + 1 : close])
            at = len(text) - len(rest)
        else:
            if close is not None and not in_body:
                raise LineError(f'{shown(text)}: separate several texts by ||, as in "a"||"b"')
            part, bars, _ = text[at:].partition("||")
            items.append(Item(part.rstrip(SPACE) if bars else part))
            at += len(part)
        if at >= len(text):
            return items
        at += len("||")


def _split_quoted(text: str) -> list[Item]:
    """Split a quoted text at `||`. White space at the ends of the whole text is kept."""
    parts = text.split("||")
    last = len(parts) - 1
    return [
        Item((part.lstrip(SPACE) if index else part).rstrip(SPACE if index < last else ""), quoted=True)
        for index, part in enumerate(parts)
    ]


def _split(text: str, separator: str) -> list[Item]:
    """Split a text at separators outside quotes; if the separator is a comma, also outside brackets."""
    items: list[Item] = []
    start, at, depth, opens = 0, 0, 0, True
    while at <= len(text):
        if at >= len(text) or (not depth and text.startswith(separator, at)):
            items.append(Item(*unquote(text[start:at].strip(SPACE))))
            at += len(separator)
            start, opens = at, True
            continue
        char = text[at]
        close = closing_quote(text, at) if opens and char in "\"'" else None
        if close is not None:
            at = close
        elif separator == "," and char in "[{(":
            depth += 1
        elif separator == "," and char in "]})":
            depth = max(0, depth - 1)
        opens = opens and char in SPACE
        at += 1
    return items


def _is_numeric(text: str) -> bool:
    return is_number(text) or is_range(text)
