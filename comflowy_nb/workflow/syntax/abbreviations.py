"""Describe fields by short examples, as in `ipywidgets.interact`: `(1, 20)`, `["a", "b"]`, `True`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from comflowy_nb.errors import FieldError
from comflowy_nb.workflow.fields import Field, FieldType
from comflowy_nb.workflow.images import is_image
from comflowy_nb.workflow.syntax.json_values import plain, shown

__all__ = ["Abbreviated", "read_abbreviation"]


@dataclass(frozen=True, slots=True)
class Abbreviated:
    """The field that an example describes, its initial value, and a label for each option."""

    field: Field
    value: Any
    labels: tuple[str, ...] = ()


def read_abbreviation(one: Field, example: object) -> Abbreviated:
    """Return the field that an example describes.

    Parameters
    ----------
    one
        The field as described so far; an example narrows its range or options, and sets an unknown type.
    example
        A range, (lowest, highest) or (lowest, highest, step): the initial value is the field's default if the range
        contains it, else the middle. A list of options, a list of (label, option) pairs or a mapping label -> option:
        the initial value is the default if it is one of them, else the first. A boolean, a text, a number or an image:
        it is the initial value.

    Raises
    ------
    FieldError
        If the example is invalid, or outside the range or options of the field.
    """
    example = plain(example)
    if isinstance(example, tuple) and example and all(_is_number(part) for part in example):
        return _range(one, example)
    if isinstance(example, Mapping):
        return _choice(one, list(example.items()))
    if isinstance(example, Iterable) and not isinstance(example, (str, bytes)) and not is_image(example):
        items = [plain(item) for item in example]
        pairs = [item for item in items if isinstance(item, (tuple, list)) and len(item) == 2]
        if len(pairs) == len(items):
            return _choice(one, [(label, option) for label, option in pairs])
        return _choice(one, [(f"{item:g}" if isinstance(item, float) else item, item) for item in items])
    if one.type is not FieldType.UNKNOWN:
        return Abbreviated(one, example)
    return Abbreviated(replace(one, type=_type_of(example), default=None), example)


def _range(one: Field, example: tuple[Any, ...]) -> Abbreviated:
    if len(example) not in {2, 3}:
        raise FieldError(
            f"{one.where}: {shown(example)} is not a range: use (lowest, highest) or (lowest, highest, step)"
        )
    low, high = example[0], example[1]
    is_whole = all(isinstance(part, int) for part in example)
    default_step = one.step or (1 if is_whole else (high - low) / 100)
    step = example[2] if len(example) == 3 else default_step
    if not low < high or step <= 0:
        raise FieldError(
            f"{one.where}: {shown(example)} is not a range: the lowest comes first, and the step must be above 0"
        )
    if one.type is FieldType.UNKNOWN:
        one = replace(one, type=FieldType.INT if is_whole else FieldType.FLOAT)
    elif one.type not in {FieldType.INT, FieldType.FLOAT}:
        raise FieldError(f"{one.where}: {shown(example)} is a range, but the field has type {one.type}")
    for end in (low, high):
        one.check(end)
    if _is_number(one.default) and low <= one.default <= high:
        value = one.default
    else:
        middle = low + step * round((high - low) / 2 / step)
        value = int(middle) if one.type is FieldType.INT else middle
    return Abbreviated(replace(one, min=low, max=high, step=step), value)


def _choice(one: Field, pairs: list[tuple[Any, Any]]) -> Abbreviated:
    if not pairs:
        raise FieldError(f"{one.where}: the list of options is empty")
    options = tuple(plain(option) for _, option in pairs)
    if one.type is not FieldType.UNKNOWN:
        options = tuple(one.check(option) for option in options)
    labels = tuple(str(label) for label, _ in pairs)
    if len(set(labels)) < len(labels):
        raise FieldError(f"{one.where}: {shown(list(labels))} contains a duplicate label")
    value = one.default if one.default in options else options[0]
    return Abbreviated(replace(one, type=FieldType.CHOICE, options=options), value, labels)


def _type_of(value: object) -> FieldType:
    """Return the type of a value; UNKNOWN for a number, because the field of 8 may also accept 7.5."""
    if isinstance(value, bool):
        return FieldType.BOOLEAN
    if isinstance(value, str):
        return FieldType.STRING
    return FieldType.IMAGEUPLOAD if is_image(value) else FieldType.UNKNOWN


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
