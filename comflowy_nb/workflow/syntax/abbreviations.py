"""Fields described by a short example, as `ipywidgets.interact` takes them: `(1, 20)`, `["a", "b"]`, `True`."""

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
    """What an example says: the field it describes, the value to begin with, and a word for each of its options."""

    field: Field
    value: Any
    labels: tuple[str, ...] = ()


def read_abbreviation(one: Field, given: object) -> Abbreviated:
    """Return a field as an example describes it.

    Parameters
    ----------
    one
        What is known of the field; an example narrows its range or its options, and gives a type to one without.
    given
        `(1, 20)` or `(0.0, 1.0, 0.05)`, lowest, highest and step, begins in the middle, or at the field's own default
        where that lies between; a list of options, or of pairs of a word and an option, or a mapping of them, begins
        with the first; `True`, a text, a number, an image are the value to begin with.

    Raises
    ------
    FieldError
        If it is none of that, or not within what the field may be.
    """
    given = plain(given)
    if isinstance(given, tuple) and given and all(_is_number(part) for part in given):
        return _range(one, given)
    if isinstance(given, Mapping):
        return _choice(one, list(given.items()))
    if isinstance(given, Iterable) and not isinstance(given, (str, bytes)) and not is_image(given):
        listed = [plain(item) for item in given]
        pairs = [item for item in listed if isinstance(item, (tuple, list)) and len(item) == 2]
        if listed and len(pairs) == len(listed):
            return _choice(one, [(str(label), option) for label, option in pairs])
        return _choice(one, [(_text(item), item) for item in listed])
    if one.type is not FieldType.UNKNOWN:
        return Abbreviated(one, given)
    return Abbreviated(replace(one, type=_type_of(given), default=None), given)


def _range(one: Field, given: tuple[Any, ...]) -> Abbreviated:
    if len(given) not in {2, 3}:
        raise FieldError(
            f"{one.where}: {shown(given)} is not a range: use (lowest, highest) or (lowest, highest, step)"
        )
    low, high = given[0], given[1]
    is_whole = all(isinstance(part, int) for part in given)
    step = given[2] if len(given) == 3 else one.step or (1 if is_whole else (high - low) / 100)
    if not low < high or step <= 0:
        raise FieldError(
            f"{one.where}: {shown(given)} is not a range: the lowest comes first, and the step must be above 0"
        )
    if one.type is FieldType.UNKNOWN:
        one = replace(one, type=FieldType.INT if is_whole else FieldType.FLOAT)
    elif one.type not in {FieldType.INT, FieldType.FLOAT}:
        raise FieldError(f"{one.where}: {shown(given)} is a range, but the field has type {one.type}")
    for end in (low, high):
        one.check(end)
    default = one.default if _is_number(one.default) and low <= one.default <= high else None
    middle = low + step * round((high - low) / 2 / step)
    value = default if default is not None else int(middle) if one.type is FieldType.INT else middle
    return Abbreviated(replace(one, min=low, max=high, step=step), value)


def _choice(one: Field, pairs: list[tuple[str, Any]]) -> Abbreviated:
    if not pairs:
        raise FieldError(f"{one.where}: the list of options is empty")
    options = tuple(plain(option) for _, option in pairs)
    if one.type is not FieldType.UNKNOWN:
        options = tuple(one.check(option) for option in options)
    labels = tuple(str(label) for label, _ in pairs)
    if len(set(labels)) < len(labels):
        raise FieldError(f"{one.where}: {shown(list(labels))} contains a label twice")
    value = one.default if one.default in options else options[0]
    return Abbreviated(replace(one, type=FieldType.CHOICE, options=options), value, labels)


def _type_of(value: object) -> FieldType:
    """Return a number's type stays open: 8 may be meant for a field that takes 7.5."""
    if isinstance(value, bool):
        return FieldType.BOOLEAN
    if isinstance(value, str):
        return FieldType.STRING
    return FieldType.IMAGEUPLOAD if is_image(value) else FieldType.UNKNOWN


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _text(value: object) -> str:
    return value if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else str(value)
