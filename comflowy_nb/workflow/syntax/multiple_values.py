"""The words that mean several values: a run takes one, and says where several are taken."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from comflowy_nb.errors import FieldError
from comflowy_nb.workflow.fields import FieldType

if TYPE_CHECKING:
    from comflowy_nb.workflow.fields import Field

__all__ = ["SEED_WORDS", "has_range", "is_number", "is_range", "is_several"]

SEED_WORDS = re.compile(r"random|random#[0-9]+|each")
_NUMBER = r"[+-]?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?"
_ONE = re.compile(_NUMBER)
_RANGE = re.compile(rf"{_NUMBER}\.\.{_NUMBER}(?:\.\.{_NUMBER}|#[0-9]+)?")


def is_number(text: str) -> bool:
    """Whether a text is a number as ranges have them."""
    return _ONE.fullmatch(text) is not None


def is_range(text: str) -> bool:
    """Whether a text is `a..b`, `a..b..step` or `a..b#n`."""
    return _RANGE.fullmatch(text) is not None


def has_range(text: str) -> bool:
    """Whether a text is a range, or a list of numbers and ranges with at least one range in it."""
    items = _items(text)
    return any(map(is_range, items)) and all(is_range(item) or is_number(item) for item in items)


def is_several(one: Field, text: str) -> bool:
    """Whether a text that is no value of this field reads as several: a range, or a list each of whose items is one."""
    if one.type in {FieldType.STRING, FieldType.IMAGEUPLOAD}:
        return False
    numeric = one.type in {FieldType.INT, FieldType.FLOAT}
    items = _items(text)
    if items == [text]:
        return numeric and is_range(text)
    return all(item and (_reads(one, item) or (numeric and is_range(item))) for item in items)


def _items(text: str) -> list[str]:
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    return [item.strip().strip("\"'") for item in re.split(r"\|\||,", bare)]


def _reads(one: Field, text: str) -> bool:
    try:
        one.read(text)
    except FieldError:
        return False
    return True
