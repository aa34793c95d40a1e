"""Parse and evaluate conditions such as `cfg < 6 or steps > 20`. The text is parsed by a grammar, never run as Python.

    condition  = conjunction ("or" conjunction)*
    conjunction = negation ("and" negation)*
    negation   = "not" negation | "(" condition ")" | comparison
    comparison = flag
               | operand (("<" | "<=" | ">" | ">=" | "=" | "==" | "!=" | "contains") operand)+
               | operand ["not"] "in" (list | number ".." number)
    list       = "(" operand ("," operand)* ")", also in square brackets, or operand ("," operand)+

The first word of a comparison is a name. A later word without quotes is a text: `sampler_name = euler`. A name in
backticks is a name anywhere, and may contain spaces. A flag is a name that is true or false by itself.
"""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from comflowy_nb.errors import FieldError, LineError
from comflowy_nb.workflow.syntax.json_values import MAX_DEPTH, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from typing import NoReturn, TypeAlias

    # of the values of the names, and whether a comparison of different types raises; None is neither true nor false
    Test: TypeAlias = Callable[[Mapping[str, Any], bool], bool | None]


_TOKEN = re.compile(
    r"""\s*(?:
      (?P<name>`[^`]+`|\w+::\w+)
    | (?P<number>[+-]?(?:[0-9]+(?:\.[0-9]+)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?(?![\w]))
    | (?P<text>"[^"]*"|'[^']*')
    | (?P<sign><=|>=|==|!=|\.\.|[<>=(),\[\]])
    | (?P<word>[^\W\d][\w.-]*)
    )""",
    re.VERBOSE,
)
_MAX_LENGTH = 10_000  # characters
_WHOLE = re.compile(r"[+-]?[0-9]{1,400}")
_KEYWORDS = frozenset({"and", "or", "not", "in", "contains"})
_CONSTANTS = {"true": True, "false": False, "null": None}
_CLOSING = {"(": ")", "[": "]"}
_ORDER: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_EQUAL = {"=": "=", "==": "=", "!=": "!="}


@dataclass(frozen=True, slots=True)
class Condition:
    """A parsed condition.

    Attributes
    ----------
    text : str
        As typed.
    names : tuple of str
        The names that it uses, each once, in order.
    """

    text: str
    names: tuple[str, ...]
    _test: Test

    def matches(self, values: Mapping[str, Any]) -> bool:
        """Return whether the condition holds.

        Parameters
        ----------
        values : mapping
            The value of each name. A name that is missing, or whose value is None, is null: it fulfils only
            `= null` and `!=` any other value.

        Raises
        ------
        FieldError
            If a value has a type that the comparison does not accept, such as a number compared with a text.

        Examples
        --------
        >>> condition = parse_condition("cfg < 6 or steps > 20")
        >>> condition.names
        ('cfg', 'steps')
        >>> condition.matches({"cfg": 7.5, "steps": 30})
        True
        """
        return bool(self._test(values, True))

    def is_true(self, values: Mapping[str, Any]) -> bool:
        """Return whether the condition is true of values of any types, such as those of an earlier run.

        Parameters
        ----------
        values : mapping
            The value of each name. A comparison with a name that is missing, or with a value of a type that it does
            not accept, is neither true nor false, and its `not` neither; only `= null` and `!= null` are.

        Examples
        --------
        >>> condition = parse_condition("cfg < 6 or steps > 20")
        >>> condition.is_true({"steps": 30}), condition.is_true({"cfg": "high"})
        (True, False)
        >>> parse_condition("not cfg < 6").is_true({})
        False
        """
        return self._test(values, False) is True


@dataclass(frozen=True, slots=True)
class _Operand:
    """A name, or a value."""

    shown: str
    name: str | None = None
    constant: Any = None

    def value(self, values: Mapping[str, Any]) -> Any:
        return self.constant if self.name is None else values.get(self.name)


def parse_condition(text: str, *, flags: Collection[str] = ()) -> Condition:
    """Parse a condition.

    Parameters
    ----------
    flags
        The names that may be used without a comparison.

    Raises
    ------
    LineError
        If the text does not follow the grammar. The message shows the position.
    """
    parser = _Parser(text, flags)
    test = parser.condition()
    if parser.kind != "end":
        parser.fail("expected and, or, or the end")
    return Condition(text, tuple(parser.names), test)


class _Parser:
    """A parser by recursive descent: one method for each rule of the grammar."""

    def __init__(self, text: str, flags: Collection[str] = ()) -> None:
        self._text = text
        self._flags = flags
        self._end = 0  # after the current token
        self._start = 0
        self._depth = 0
        self.names: dict[str, None] = {}
        self.kind = ""
        self._current = ""
        if len(text) > _MAX_LENGTH:
            raise LineError(f"a condition has at most {_MAX_LENGTH:,} characters, this one has {len(text):,}")
        self._advance()

    # -- rules -------------------------------------------------------------------------------------------------------

    def condition(self) -> Test:
        tests = [self._conjunction()]
        while self._take("or"):
            tests.append(self._conjunction())
        return tests[0] if len(tests) == 1 else _any(tests)

    def _conjunction(self) -> Test:
        tests = [self._negation()]
        while self._take("and"):
            tests.append(self._negation())
        return tests[0] if len(tests) == 1 else _all(tests)

    def _negation(self) -> Test:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self.fail(f"not and brackets are nested more than {MAX_DEPTH} deep")
        if self._take("not"):
            negated = self._negation()
            self._depth -= 1
            return _not(negated)
        if self._take("("):
            test = self.condition()
            if not self._take(")"):
                self.fail("expected )")
        else:
            test = self._comparison()
        self._depth -= 1
        return test

    def _comparison(self) -> Test:
        left = self._operand(is_first=True)
        tests = []
        while True:
            is_negated = self._take("not")
            if is_negated or self._current == "in":
                if not self._take("in"):
                    self.fail("expected in")
                tests.append(self._membership(left, is_negated=is_negated))
                break
            sign = self._current if self.kind in {"sign", "keyword"} else ""
            if not (sign in _ORDER or sign in _EQUAL or sign == "contains"):
                break
            self._advance()
            right = self._operand(is_first=left.name is None)
            tests.append(_compare(left, sign, right))
            left = right
        if not tests and left.name in self._flags:
            tests.append(_compare(left, "=", _Operand("true", constant=True)))
        if not tests:
            self.fail("expected a comparison such as cfg < 6 or sampler_name = 'euler'")
        if not self.names:
            self.fail("a comparison needs a name, such as cfg")
        return tests[0] if len(tests) == 1 else _all(tests)

    def _membership(self, left: _Operand, *, is_negated: bool) -> Test:
        """Parse what follows `in`."""
        closing = _CLOSING.get(self._current) if self.kind == "sign" else None
        if closing is not None:
            self._advance()
        options = [self._operand()]
        if closing is None and self._take(".."):
            low, high = options[0], self._operand()
            between = _all([_compare(low, "<=", left), _compare(left, "<=", high)])
            return _not(between) if is_negated else between
        while self._take(","):
            options.append(self._operand())
        if closing is not None and not self._take(closing):
            self.fail(f"expected , or {closing}")
        equal = _any([_compare(left, "=", option) for option in options])
        return _not(equal) if is_negated else equal

    def _operand(self, *, is_first: bool = False) -> _Operand:
        kind, token = self.kind, self._current
        if kind == "name" or (kind == "word" and is_first and token.lower() not in _CONSTANTS):
            name = token.strip("`")
            self.names[name] = None
            operand = _Operand(name, name=name)
        elif kind == "number":
            operand = _Operand(token, constant=int(token) if _WHOLE.fullmatch(token) else float(token))
        elif kind == "text":
            operand = _Operand(token, constant=token[1:-1])
        elif kind == "word":
            operand = _Operand(token, constant=_CONSTANTS.get(token.lower(), token))
        else:
            self.fail("expected a name" if is_first else "expected a number, a text or a name in backticks")
        self._advance()
        return operand

    # -- tokens ------------------------------------------------------------------------------------------------------

    def _advance(self) -> None:
        rest = self._text[self._end :]
        if not rest.strip():
            self._start, self._end, self.kind, self._current = len(self._text), len(self._text), "end", ""
            return
        match = _TOKEN.match(self._text, self._end)
        if match is None:
            self._start = self._end + len(rest) - len(rest.lstrip())
            first = self._text[self._start]
            self.fail(f"the {first} is not closed" if first in "\"'`" else "expected a name, a number or a text")
        self.kind = str(match.lastgroup)
        self._current = match[self.kind]
        self._start, self._end = match.start(self.kind), match.end()
        if self.kind == "word" and self._current.lower() in _KEYWORDS:
            self.kind, self._current = "keyword", self._current.lower()

    def _take(self, token: str) -> bool:
        """Advance if the current token is this sign or keyword; return whether it is."""
        if self.kind not in {"sign", "keyword"} or self._current != token:
            return False
        self._advance()
        return True

    def fail(self, problem: str) -> NoReturn:
        position = f"at {shown(self._text[self._start :])}" if self._start < len(self._text) else "at the end"
        raise LineError(f"invalid condition {shown(self._text)}, {position}: {problem}")


# -- comparing, in the logic of three values: True, False, and None for neither ----------------------------------------


def _any(tests: Sequence[Test]) -> Test:
    def test(values: Mapping[str, Any], is_strict: bool) -> bool | None:  # noqa: FBT001 - positional in Test
        result: bool | None = False
        for one in tests:
            found = one(values, is_strict)
            if found:
                return True
            if found is None:
                result = None
        return result

    return test


def _all(tests: Sequence[Test]) -> Test:
    return _not(_any([_not(test) for test in tests]))


def _not(test: Test) -> Test:
    def negated(values: Mapping[str, Any], is_strict: bool) -> bool | None:  # noqa: FBT001 - positional in Test
        found = test(values, is_strict)
        return None if found is None else not found

    return negated


def _compare(left: _Operand, sign: str, right: _Operand) -> Test:
    names_null = any(operand.name is None and operand.constant is None for operand in (left, right))

    def test(values: Mapping[str, Any], is_strict: bool) -> bool | None:  # noqa: FBT001 - positional in Test
        first, second = left.value(values), right.value(values)
        if first is None or second is None:
            if not is_strict and not names_null:
                return None
            is_equal = first is None and second is None
            return not is_equal if sign == "!=" else is_equal and sign in _EQUAL
        problem = _mismatch(sign, first, second)
        if problem is not None:
            if not is_strict:
                return None
            raise FieldError(f"{left.shown} {sign} {right.shown} can't be compared: {problem}")
        if sign in _ORDER:
            return _ORDER[sign](first, second)
        if sign == "contains":
            return _contains(first, second)
        return bool(first == second) is (_EQUAL[sign] == "=")

    return test


def _mismatch(sign: str, first: object, second: object) -> str | None:
    """Return why two values can't be compared; None if they can."""
    kinds = [_kind(first), _kind(second)]
    if sign == "contains":
        if kinds[0] == "a text" and kinds[1] != "a text":
            return f"{shown(second)} is {kinds[1]}, write it in quotes"
        return None if kinds[0] in {"a text", "a list"} else f"{shown(first)} is {kinds[0]}, not a text"
    if kinds[0] != kinds[1]:
        return f"{shown(first)} is {kinds[0]}, {shown(second)} is {kinds[1]}"
    if sign in _ORDER and kinds[0] != "a number":
        return f"{shown(first)} is {kinds[0]}, and only numbers have an order"
    return None


def _kind(value: object) -> str:
    match value:
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "a text"
    return "a list"


def _contains(first: Any, second: Any) -> bool:
    """Return whether a text contains another, without regard to case, or a list an item."""
    if isinstance(first, str):
        return str(second).casefold() in first.casefold()
    items: Sequence[Any] = first.get("__value__", ()) if isinstance(first, dict) else first
    return second in items
