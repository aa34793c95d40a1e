"""Match run params against a search: equal values, intervals, lists and conditions."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from comflowy_nb.database.queries.compared_values import values_of
from comflowy_nb.database.value_index import as_decimal
from comflowy_nb.errors import SettingsError
from comflowy_nb.workflow.syntax.json_values import read_untyped
from comflowy_nb.workflow.syntax.ranges import is_range

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from comflowy_nb.workflow.syntax.conditions import Condition


_NO_COLUMNS: Mapping[str, Sequence[Any]] = {}
# Names in a condition for the rating of an image by this user. A field with such a name is typed with its node.
REVIEW_FLAGS = frozenset({"rated", "rejected"})
REVIEW_NAMES = REVIEW_FLAGS | {"rating", "note"}
_NO_REVIEW: Mapping[str, Any] = MappingProxyType({})
_MAX_COMBINATIONS = 1000  # of the fields that share the names of a condition, in one run


@dataclass(frozen=True, slots=True)
class Interval:
    """The numbers from `low` to `high`, both included."""

    low: Decimal
    high: Decimal

    def contains(self, stored: Any) -> bool:
        """Return True if a stored value is a number in the interval."""
        number = None if isinstance(stored, bool) or not isinstance(stored, int | float) else as_decimal(stored)
        return number is not None and self.low <= number <= self.high


@dataclass(frozen=True, slots=True)
class AnyOf:
    """Alternatives. A stored value matches if it equals one of them or the whole typed text, such as `a, b`."""

    whole: Any
    options: tuple[Any, ...]  # values and intervals

    def matches(self, stored: Any) -> bool:
        """Return True if a stored value is one of the alternatives."""
        return stored == self.whole or any(
            option.contains(stored) if isinstance(option, Interval) else is_equal(stored, option)
            for option in self.options
        )


def read_wanted(text: str) -> Any:
    """Parse the unquoted value of a search: alternatives for `a,b` and `a..b`, else an untyped value.

    Raises
    ------
    SettingsError
        If a range has a step or a number of values, which only a sweep understands.

    Examples
    --------
    >>> read_wanted("2..5,8").matches(8.0), read_wanted("euler,heun").matches("heun")
    (True, True)
    >>> read_wanted("7.5")
    7.5
    """
    items = [item.strip() for item in text.split(",")]
    if text[:1] in {"[", "{"} or not all(items) or not (len(items) > 1 or is_range(text)):
        return read_untyped(text)
    return AnyOf(text, tuple(_read_interval(item) if is_range(item) else item for item in items))


def _read_interval(text: str) -> Interval:
    first, *others = text.split("..")
    if len(others) != 1 or "#" in text:
        low, high = first, others[0].partition("#")[0]
        raise SettingsError(
            f"a search takes a range without a step: use {low}..{high} instead of {text}, or put a text in quotes"
        )
    low_number, high_number = sorted([Decimal(first), Decimal(others[0])])
    return Interval(low_number, high_number)


def is_equal(stored: Any, wanted: Any) -> bool:
    """Return True if a submitted value equals the wanted value, which may be typed as text, or matches an `AnyOf`."""
    if isinstance(wanted, AnyOf):
        return wanted.matches(stored)
    if isinstance(stored, bool) or isinstance(wanted, bool):
        return str(stored).casefold() == str(wanted).casefold()
    if isinstance(stored, int | float):
        if isinstance(wanted, int | float):
            return bool(stored == wanted)
        number = as_decimal(wanted)
        return number is not None and number == as_decimal(stored)
    if isinstance(stored, str):
        return stored == str(wanted)
    if isinstance(wanted, str):
        try:
            wanted = json.loads(wanted)
        except ValueError:
            return False
    return bool(stored == wanted)


def may_equal(stored: Any, wanted: Any) -> bool:
    """Return True if values of the type of `stored` can equal `wanted`: a number can equal `7`, but not `x`."""
    if isinstance(wanted, AnyOf):
        return any(may_equal(stored, option) for option in wanted.options)
    if isinstance(stored, bool):
        return str(wanted).casefold() in {"true", "false"}
    if isinstance(stored, int | float):
        return isinstance(wanted, Interval) or as_decimal(wanted) is not None
    return not isinstance(wanted, Interval)


def has_params(
    params: Mapping[str, Any],
    wanted: Mapping[str, Any],
    columns: Mapping[str, Sequence[Any]] = _NO_COLUMNS,
    review: Mapping[str, Any] = _NO_REVIEW,
) -> bool:
    """Return True if a run has all wanted values. A bare name is any field of that name, or a column.

    `review` is as for `is_fulfilled`.
    """
    return all(
        any(is_equal(stored, value) for stored in _values(params, key, columns, review))
        for key, value in wanted.items()
    )


def is_fulfilled(
    params: Mapping[str, Any],
    condition: Condition,
    columns: Mapping[str, Sequence[Any]] = _NO_COLUMNS,
    review: Mapping[str, Any] = _NO_REVIEW,
) -> bool:
    """Return True if a condition is true of the params of a run.

    A comparison is not true if the run does not have the field, or if the value has another type. If several fields or
    columns have a name of the condition, the condition must be true for one combination of them.

    `review` has the rating (by `REVIEW_NAMES`) and the scores of one image. A name in `REVIEW_NAMES` is never a field.
    A field has precedence over a score with its name.

    Raises
    ------
    SettingsError
        If there are too many combinations of such fields.

    Examples
    --------
    >>> from comflowy_nb.workflow.syntax.conditions import parse_condition
    >>> condition = parse_condition("cfg < 6 or steps > 20")
    >>> is_fulfilled({"3::cfg": 7.5, "3::steps": 30}, condition), is_fulfilled({"3::cfg": 7.5}, condition)
    (True, False)
    """
    choices = [_values(params, name, columns, review) or [None] for name in condition.names]
    count = math.prod(map(len, choices))
    if count == 1:
        return condition.is_true({name: values[0] for name, values in zip(condition.names, choices, strict=True)})
    if count > _MAX_COMBINATIONS:
        shared = ", ".join(name for name, values in zip(condition.names, choices, strict=True) if len(values) > 1)
        raise SettingsError(f"several fields of a run have the names {shared}: use their ids, as in 3::cfg")
    return any(
        condition.is_true(dict(zip(condition.names, values, strict=True))) for values in itertools.product(*choices)
    )


def _values(
    params: Mapping[str, Any], key: str, columns: Mapping[str, Sequence[Any]], review: Mapping[str, Any]
) -> list[Any]:
    """Return the values of a field id, else of fields and columns with this bare name, else of the review."""
    if key in REVIEW_NAMES:
        return [review[key]] if review.get(key) is not None else []
    found = [*values_of(params, key), *columns.get(key, ())]
    return found or ([review[key]] if key in review else [])
