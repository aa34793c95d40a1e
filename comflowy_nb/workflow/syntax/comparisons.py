"""Compare values in three-valued logic: true, false, or None for neither. `conditions.py` has the grammar."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from comflowy_nb.errors import FieldError
from comflowy_nb.workflow.syntax.json_values import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import TypeAlias

    # Arguments: the values of the names, and whether to raise for different types. None is neither true nor false.
    Test: TypeAlias = Callable[[Mapping[str, Any], bool], bool | None]


ORDER_SIGNS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_KINDS = {bool: "true or false", int: "a number", float: "a number", str: "a text"}
EQUALITY_SIGNS = {"=": "=", "==": "=", "!=": "!="}


@dataclass(frozen=True, slots=True)
class Operand:
    """A name, or a value."""

    shown: str
    name: str | None = None
    constant: Any = None

    def value(self, values: Mapping[str, Any]) -> Any:
        return self.constant if self.name is None else values.get(self.name)


def any_of(tests: Sequence[Test]) -> Test:
    def test(values: Mapping[str, Any], is_strict: bool) -> bool | None:  # noqa: FBT001 - positional in Test
        result: bool | None = False
        for part in tests:
            found = part(values, is_strict)
            if found:
                return True
            if found is None:
                result = None
        return result

    return test


def all_of(tests: Sequence[Test]) -> Test:
    return negate(any_of([negate(test) for test in tests]))


def negate(test: Test) -> Test:
    def negated(values: Mapping[str, Any], is_strict: bool) -> bool | None:  # noqa: FBT001 - positional in Test
        found = test(values, is_strict)
        return None if found is None else not found

    return negated


def compare(left: Operand, sign: str, right: Operand) -> Test:
    names_null = any(operand.name is None and operand.constant is None for operand in (left, right))

    def test(values: Mapping[str, Any], is_strict: bool) -> bool | None:  # noqa: FBT001 - positional in Test
        first, second = left.value(values), right.value(values)
        if first is None or second is None:
            if not is_strict and not names_null:
                return None
            is_equal = first is None and second is None
            return not is_equal if sign == "!=" else is_equal and sign in EQUALITY_SIGNS
        problem = find_mismatch(sign, first, second)
        if problem is not None:
            if not is_strict:
                return None
            raise FieldError(f"can't evaluate {left.shown} {sign} {right.shown}: {problem}")
        if sign in ORDER_SIGNS:
            return ORDER_SIGNS[sign](first, second)
        if sign == "contains":
            return _contains(first, second)
        return bool(first == second) is (EQUALITY_SIGNS[sign] == "=")

    return test


def find_mismatch(sign: str, first: object, second: object) -> str | None:
    """Return why two values can't be compared; None if they can."""
    kinds = [kind_of(first), kind_of(second)]
    if sign == "contains":
        if kinds[0] == "a text" and kinds[1] != "a text":
            return f"{shown(second)} is {kinds[1]}, write it in quotes"
        return None if kinds[0] in {"a text", "a list"} else f"{shown(first)} is {kinds[0]}, not a text"
    if kinds[0] != kinds[1]:
        return f"{shown(first)} is {kinds[0]}, {shown(second)} is {kinds[1]}"
    if sign in ORDER_SIGNS and kinds[0] != "a number":
        return f"{shown(first)} is {kinds[0]}, and only numbers have an order"
    return None


def kind_of(value: object) -> str:
    """Return the type of a value as comparisons know it: `a number`, `a text`, `true or false` or `a list`."""
    return _KINDS.get(type(value), "a list")


def _contains(first: Any, second: Any) -> bool:
    """Return whether a text contains another text, without regard to case, or a list contains an item."""
    if isinstance(first, str):
        return str(second).casefold() in first.casefold()
    items: Sequence[Any] = first.get("__value__", ()) if isinstance(first, dict) else first
    return second in items
