"""Parse and evaluate conditions such as `cfg < 6 or steps > 20`. They are never evaluated as Python.

    condition  = conjunction ("or" conjunction)*
    conjunction = negation ("and" negation)*
    negation   = "not" negation | "(" condition ")" | comparison
    comparison = flag
               | operand (("<" | "<=" | ">" | ">=" | "=" | "==" | "!=" | "contains") operand)+
               | operand ["not"] "in" (list | number ".." number)
    list       = "(" operand ("," operand)* ")", also in square brackets, or operand ("," operand)+

The first word of a comparison is a name. Later words without quotes are texts, as in `sampler_name = euler`. Words in
backticks are always names, and may contain spaces. A flag is a name that is true or false by itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from comflowy_nb.errors import LineError
from comflowy_nb.workflow.syntax.comparisons import (
    EQUALITY_SIGNS,
    ORDER_SIGNS,
    Operand,
    all_of,
    any_of,
    compare,
    find_mismatch,
    negate,
)
from comflowy_nb.workflow.syntax.json_values import MAX_DEPTH, shown
from comflowy_nb.workflow.syntax.ranges import read_number

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from typing import NoReturn

    from comflowy_nb.workflow.syntax.comparisons import Test


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
_KEYWORDS = frozenset({"and", "or", "not", "in", "contains"})
_CONSTANTS = {"true": True, "false": False, "null": None}
_CLOSING = {"(": ")", "[": "]"}


@dataclass(frozen=True, slots=True)
class Condition:
    """A parsed condition.

    Attributes
    ----------
    text : str
        The text as typed.
    names : tuple of str
        The names in the condition, each once, in order.
    """

    text: str
    names: tuple[str, ...]
    _test: Test
    _comparisons: tuple[tuple[Operand, str, Operand], ...]

    def matches(self, values: Mapping[str, Any]) -> bool:
        """Return whether the condition is true. Values of a wrong type are errors.

        Parameters
        ----------
        values : mapping
            The value of each name. A name that is missing, or whose value is None, is null: only `= null` and `!=`
            with any other value are true for it.

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
        """Return whether the condition is true. Values may have any type, as values of earlier runs do.

        Parameters
        ----------
        values : mapping
            The value of each name. A comparison with a missing name or with a value of a wrong type is neither true nor
            false, as in SQL, and neither is its negation. Only `= null` and `!= null` are always true or false.

        Examples
        --------
        >>> condition = parse_condition("cfg < 6 or steps > 20")
        >>> condition.is_true({"steps": 30}), condition.is_true({"cfg": "high"})
        (True, False)
        >>> parse_condition("not cfg < 6").is_true({})
        False
        """
        return self._test(values, False) is True

    def impossible(self, known: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
        """Return the compared values whose type no known value of a name has, by that name.

        Parameters
        ----------
        known : mapping
            The values that each name has. A name without values is left out.

        Examples
        --------
        >>> parse_condition("cfg > high and steps > 20").impossible({"cfg": [4, 7.5], "steps": [20]})
        {'cfg': 'high'}
        """
        found = {}
        for left, sign, right in self._comparisons:
            name = left.name if right.name is None else right.name if left.name is None else None
            values = known.get(name, ()) if name is not None else ()
            pairs = [(value, right.constant) if right.name is None else (left.constant, value) for value in values]
            if pairs and all(None not in pair and find_mismatch(sign, *pair) is not None for pair in pairs):
                found[str(name)] = right.constant if right.name is None else left.constant
        return found


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
    return Condition(text, tuple(parser.names), test, tuple(parser.comparisons))


def unfinished_word(text: str) -> tuple[str, Literal["name", "operator", "connective", "value"], str | None]:
    """Return the last word of an unfinished condition, the kind that is expected there, and the compared name.

    The word begins with its quote, if that is open, and is empty after white space.

    Examples
    --------
    >>> unfinished_word("cfg < 6 and sampler_name = eu")
    ('eu', 'value', 'sampler_name')
    >>> unfinished_word("cfg < 6 ")
    ('', 'connective', 'cfg')
    """
    tokens: list[tuple[str, str]] = []
    end = 0
    while (match := _TOKEN.match(text, end)) is not None:
        tokens.append((str(match.lastgroup), match[match.lastgroup or 0]))
        end = match.end()
    word = text[end:].lstrip()
    if tokens and tokens[-1][0] in {"word", "name", "number"} and end and text[end:] == word:
        word = f"{tokens.pop()[1]}{word}"
    expected: Literal["name", "operator", "connective", "value"] = "name"
    name: str | None = None
    for kind, token in tokens:
        if kind == "word" and token.lower() in {"and", "or"}:
            expected, name = "name", None
        elif (kind == "word" and token.lower() in {"in", "contains"}) or token in {
            *ORDER_SIGNS,
            *EQUALITY_SIGNS,
            ",",
            "..",
        }:
            expected = "value"
        elif expected == "name" and (kind == "name" or (kind == "word" and token.lower() != "not")):
            expected, name = "operator", token.strip("`")
        elif expected == "value" and kind != "sign":
            expected = "connective"
    return word, expected, name


class _Parser:
    """A recursive descent parser, with one method for each rule of the grammar."""

    def __init__(self, text: str, flags: Collection[str] = ()) -> None:
        self._text = text
        self._flags = flags
        self._end = 0  # after the current token
        self._start = 0
        self._depth = 0
        self.names: dict[str, None] = {}
        self.comparisons: list[tuple[Operand, str, Operand]] = []
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
        return tests[0] if len(tests) == 1 else any_of(tests)

    def _conjunction(self) -> Test:
        tests = [self._negation()]
        while self._take("and"):
            tests.append(self._negation())
        return tests[0] if len(tests) == 1 else all_of(tests)

    def _negation(self) -> Test:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self.fail(f"not and brackets are nested more than {MAX_DEPTH} deep")
        if self._take("not"):
            negated = self._negation()
            self._depth -= 1
            return negate(negated)
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
            if not (sign in ORDER_SIGNS or sign in EQUALITY_SIGNS or sign == "contains"):
                break
            self._advance()
            right = self._operand(is_first=left.name is None)
            tests.append(self._compare(left, sign, right))
            left = right
        if not tests and left.name in self._flags:
            tests.append(compare(left, "=", Operand("true", constant=True)))
        if not tests:
            self.fail("expected a comparison such as cfg < 6 or sampler_name = 'euler'")
        if not self.names:
            self.fail("a comparison needs a name, such as cfg")
        return tests[0] if len(tests) == 1 else all_of(tests)

    def _membership(self, left: Operand, *, is_negated: bool) -> Test:
        """Parse the part after `in`."""
        closing = _CLOSING.get(self._current) if self.kind == "sign" else None
        if closing is not None:
            self._advance()
        options = [self._operand()]
        if closing is None and self._take(".."):
            low, high = options[0], self._operand()
            between = all_of([self._compare(low, "<=", left), self._compare(left, "<=", high)])
            return negate(between) if is_negated else between
        while self._take(","):
            options.append(self._operand())
        if closing is not None and not self._take(closing):
            self.fail(f"expected , or {closing}")
        equal = any_of([self._compare(left, "=", option) for option in options])
        return negate(equal) if is_negated else equal

    def _compare(self, left: Operand, sign: str, right: Operand) -> Test:
        self.comparisons.append((left, sign, right))
        return compare(left, sign, right)

    def _operand(self, *, is_first: bool = False) -> Operand:
        kind, token = self.kind, self._current
        if kind == "name" or (kind == "word" and is_first and token.lower() not in _CONSTANTS):
            name = token.strip("`")
            self.names[name] = None
            operand = Operand(name, name=name)
        elif kind == "number":
            operand = Operand(token, constant=read_number(token))
        elif kind == "text":
            operand = Operand(token, constant=token[1:-1])
        elif kind == "word":
            operand = Operand(token, constant=_CONSTANTS.get(token.lower(), token))
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
        """Skip the current token if it is this sign or keyword. Return whether it was skipped."""
        if self.kind not in {"sign", "keyword"} or self._current != token:
            return False
        self._advance()
        return True

    def fail(self, problem: str) -> NoReturn:
        position = f"at {shown(self._text[self._start :])}" if self._start < len(self._text) else "at the end"
        raise LineError(f"invalid condition {shown(self._text)}, {position}: {problem}")
