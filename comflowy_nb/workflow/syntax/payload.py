"""Bodies written as the API's payload: an object, its inner lines, or its params, with JavaScript's punctuation.

Text copied from a page or a browser console is rarely JSON: keys are unquoted, strings use `'` or backticks, and there
are trailing commas, `;` and comments. Values are those of JSON, or Python's None, True and False. Escapes are those of
JavaScript; an unknown escape is an error, because JavaScript would drop its backslash.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

from comflowy_nb.errors import LineError
from comflowy_nb.workflow.syntax.json_values import MAX_DEPTH, TOO_DEEP, read_json_number, shown
from comflowy_nb.workflow.syntax.lists import Setting

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["WORDS", "Literals", "Pair", "Pairs", "is_payload", "read_payload"]

_PARTS = ("workflow_id", "params", "callback_urls")
_PAYLOAD = re.compile(
    r"""\{|//|/\*                                     # an object, or a comment before one
    |(?:const|let|var)\s+[\w$]                        # const run_payload =
    |(?P<quote>["'])(?:(?!(?P=quote)).)+(?P=quote)\s*:  # a quoted key
    |params\s*:\s*(?:\{|$)|callback_urls\s*:\s*(?:\{|$)|workflow_id\s*:\s*["'`]  # the page's inner lines
    """,
    re.VERBOSE,
)
_ASSIGNMENT = re.compile(r"(?:const|let|var)\s+[\w$]+\s*(?::[^={\n]*)?=")


def is_payload(first_line: str) -> bool:
    """Return whether a body whose first line this is (no blank one and no comment) is a payload."""
    return _PAYLOAD.match(first_line.lstrip("\ufeff \t")) is not None


def read_payload(text: str) -> tuple[list[Setting], str | None]:
    """Return the settings and the workflow id of a payload.

    Raises
    ------
    LineError
        If it can't be read, with the number of the line.
    """
    reader = Literals(text)
    pairs = _top(reader)
    parts = {pair.key: pair for pair in pairs if pair.key in _PARTS}
    if not parts:
        return [_setting(reader, pair) for pair in pairs], None
    if len(parts) < len(pairs):
        other = next((pair for pair in pairs if pair.key not in parts), None)
        if other is None:
            raise LineError(f"line {pairs[-1].line}: a part of the payload is written twice")
        raise LineError(f"line {other.line}: {other.key!r} is not a part of a payload; use {', '.join(_PARTS)}")
    workflow_id = parts["workflow_id"].value if "workflow_id" in parts else None
    if "workflow_id" in parts and not isinstance(workflow_id, str):
        raise LineError(f"line {parts['workflow_id'].line}: workflow_id must be a text")
    params = parts["params"].value if "params" in parts else Pairs()
    if not isinstance(params, Pairs):
        raise LineError(f"line {parts['params'].line}: params must be an object, {{...}}")
    return [_setting(reader, pair) for pair in params], workflow_id


def _top(reader: Literals) -> Pairs:
    reader.skip()
    assignment = _ASSIGNMENT.match(reader.text, reader.at)
    if assignment:
        reader.at = assignment.end()
    if reader.peek() != "{":
        if assignment:
            reader.fail("an object, {...}, is missing after the =")
        return reader.pairs("")
    reader.at += 1
    pairs = reader.pairs("}")
    while reader.peek() in {";", ","}:
        reader.at += 1
    if reader.peek():
        reader.fail("unexpected text after the payload")
    return pairs


def _setting(reader: Literals, pair: Pair) -> Setting:
    return Setting(pair.key, reader.as_json(pair.value), where=f"line {pair.line}", typed=True)


T = TypeVar("T")

_KEY = re.compile(r"""(?:[^\s"'`,;:{}\[\]()]|::)+""")
_TOKEN = re.compile(r"""[^\s"'`,;:{}\[\]()]+""")
_NAME = re.compile(r"\{[^\W\d]\w*\}")
_ESCAPE = re.compile(r"u\{([0-9a-fA-F]{1,6})\}|u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})")
_ESCAPES = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "0": "\0", "\n": ""} | {
    one: one for one in "\"'`\\/$"
}
WORDS: Mapping[str, Any] = {"true": True, "false": False, "null": None}
_PYTHON_WORDS: Mapping[str, Any] = {"True": True, "False": False, "None": None}


@dataclass(frozen=True, slots=True)
class Pair:
    """A key, its value (an object is still its `Pairs`), and the line it stands in."""

    key: str
    value: Any
    line: int


class Pairs(list[Pair]):
    """An object as it was written: the same key may stand in it twice."""


class Literals:
    """Reads values one after another from a text; `at` is where it is.

    Every method raises LineError, with the number of the line, where the text is not what it asks for.
    """

    def __init__(self, text: str, at: int = 0, *, words: Mapping[str, Any] | None = None) -> None:
        self.text = text
        self.at = at
        self._depth = 0
        self._words = {**(words or WORDS), **_PYTHON_WORDS}  # bare words that are values

    @property
    def line(self) -> int:
        return self.text.count("\n", 0, self.at) + 1

    def skip(self) -> None:
        """Skip white space and comments; a `#` at the start of a token begins one too."""
        while self.at < len(self.text):
            if self.text[self.at].isspace() or self.text[self.at] == "\ufeff":
                self.at += 1
            elif self.text.startswith(("//", "#"), self.at):
                end = self.text.find("\n", self.at)
                self.at = len(self.text) if end < 0 else end
            elif self.text.startswith("/*", self.at):
                end = self.text.find("*/", self.at + 2)
                if end < 0:
                    self.fail("a comment /* is never closed")
                self.at = end + 2
            else:
                return

    def peek(self) -> str:
        """Return the next character that counts; empty at the end."""
        self.skip()
        return self.text[self.at : self.at + 1]

    def value(self) -> Any:
        """Return the next value; an object comes as its `Pairs`."""
        first = self.peek()
        if first == "{":
            name = _NAME.match(self.text, self.at)
            if name:  # a Python name, to be expanded: nothing that JSON could mean
                self.at = name.end()
                return name[0]
            self.at += 1
            return self._nested(lambda: self.pairs("}"))
        if first == "[":
            return self._nested(self._list)
        if first and first in "\"'`":
            return self.string()
        return self._bare()

    def json(self) -> Any:
        """Return the next value in Python's own lists and dicts."""
        return self.as_json(self.value())

    def as_json(self, value: Any) -> Any:
        """Return a value in Python's own lists and dicts."""
        if isinstance(value, Pairs):
            found: dict[str, Any] = {}
            for pair in value:
                if pair.key in found:
                    raise LineError(f"line {pair.line}: the key {pair.key!r} is written twice in one object")
                found[pair.key] = self.as_json(pair.value)
            return found
        return [self.as_json(item) for item in value] if isinstance(value, list) else value

    def pairs(self, closing: str) -> Pairs:
        """Return the pairs of an object through its closing brace, or to the end of the text if `closing` is empty."""
        found = Pairs()

        def pair() -> None:
            self.skip()
            line = self.line
            key = self._key()
            if self.peek() != ":":
                self.fail(f"a colon is missing after the key {key!r}")
            self.at += 1
            found.append(Pair(key, self.value(), line))

        self._separated(pair, closing, ",;")
        return found

    def string(self) -> str:
        """Return the next string, without its quotes."""
        quote, first_line = self.text[self.at], self.line
        self.at += 1
        parts: list[str] = []
        while True:
            char = self.text[self.at : self.at + 1]
            if not char or (char == "\n" and quote != "`"):
                raise LineError(
                    f"line {first_line}: the string {shown(quote + ''.join(parts), 40)} is never closed; write a text "
                    "of several lines between backticks"
                )
            self.at += 1
            if char == quote:
                return "".join(parts).encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")
            if char == "\\":
                char = self._escaped()
            elif char == "$" and quote == "`" and self.text[self.at : self.at + 1] == "{":
                self.fail("${...} is not supported; write {name} for a Python variable")
            parts.append(char)

    def fail(self, what: str) -> NoReturn:
        raise LineError(f"line {self.line}: {what}")

    def _nested(self, read: Callable[[], T]) -> T:
        if self._depth == MAX_DEPTH:
            self.fail(TOO_DEEP)
        self._depth += 1
        found = read()
        self._depth -= 1
        return found

    def _list(self) -> list[Any]:
        self.at += 1
        found: list[Any] = []
        self._separated(lambda: found.append(self.value()), "]", ",")
        return found

    def _separated(self, item: Callable[[], None], closing: str, separators: str) -> None:
        opened = self.line
        while True:
            char = self.peek()
            if char == closing:
                self.at += len(closing)
                return
            if char:
                item()
                char = self.peek()
            if char and char in separators:
                self.at += 1
            elif not char and closing:
                self.fail(f"{closing!r} is missing for the bracket opened in line {opened}")
            elif char != closing:
                self.fail(f"a comma is missing before {shown(self._ahead())}")

    def _key(self) -> str:
        if self.peek() in {'"', "'"}:
            return self.string()
        found = _KEY.match(self.text, self.at)
        if not found:
            self.fail(f"a key is missing before {shown(self._ahead())}")
        self.at = found.end()
        return found[0]

    def _bare(self) -> Any:
        found = _TOKEN.match(self.text, self.at)
        if not found:
            self.fail(f"a value is missing before {shown(self._ahead())}" if self._ahead() else "a value is missing")
        token = found[0]
        number = self._number(token)
        if number is None and token not in self._words:
            self.fail(f"{shown(self._ahead())} is not a value; quote a text")
        self.at = found.end()
        return number if number is not None else self._words[token]

    def _number(self, token: str) -> float | None:
        if re.match(r"-?\.[0-9]", token):
            token = token.replace(".", "0.", 1)
        try:
            return read_json_number(token)
        except ValueError as error:
            self.fail(str(error))

    def _escaped(self) -> str:
        found = _ESCAPE.match(self.text, self.at)
        if found:
            code = int(next(digits for digits in found.groups() if digits), 16)
            if code <= 0x10FFFF:
                self.at = found.end()
                return chr(code)
        char = self.text[self.at : self.at + 1]
        if char not in _ESCAPES:
            self.fail(f"\\{char} is not an escape; in a payload write a backslash as \\\\")
        self.at += 1
        return _ESCAPES[char]

    def _ahead(self) -> str:
        return self.text[self.at : self.at + 30].partition("\n")[0]
