"""Parse text pasted from the API page or a browser console: payloads, and descriptions of fields.

Such text is often not JSON: keys are not quoted, strings use `'` or backticks, and there are trailing commas, `;` and
comments. `LiteralReader` parses this JavaScript notation, and Python's None, True and False. An unknown escape is an
error, because JavaScript would silently remove its backslash.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from comflowy_nb.errors import FieldError, LineError
from comflowy_nb.workflow.files import without_bom
from comflowy_nb.workflow.object_info import read_field
from comflowy_nb.workflow.syntax.json_values import MAX_DEPTH, TOO_DEEP, read_json_number, shown
from comflowy_nb.workflow.syntax.lists import Setting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from comflowy_nb.workflow.fields import Field


# -- payloads ------------------------------------------------------------------------------------------------------

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
    """Return True if a body is a payload, judged by its first line that is neither blank nor a `#` comment."""
    return _PAYLOAD.match(first_line.lstrip("\ufeff \t")) is not None


def read_payload(text: str) -> tuple[list[Setting], str | None]:
    """Parse a payload: an object, the lines inside it, or its params.

    Returns
    -------
    The params as settings, including duplicate keys, and the workflow id.

    Raises
    ------
    LineError
        If the payload is invalid. The text contains the line.
    """
    reader = LiteralReader(text)
    pairs = _top_level_pairs(reader)
    parts = {pair.key: pair for pair in pairs if pair.key in _PARTS}
    if not parts:
        return [_setting(pair) for pair in pairs], None
    if len(parts) < len(pairs):
        other = next((pair for pair in pairs if pair.key not in parts), None)
        if other is None:
            twice = next(pair for index, pair in enumerate(pairs) if pair.key in {prior.key for prior in pairs[:index]})
            raise LineError(f"line {twice.line}: {twice.key} is set twice in the payload. Keep one.")
        tip = "use workflow_id, params or callback_urls"
        raise LineError(f"line {other.line}: unknown key {other.key!r} in a payload: {tip}")
    workflow_id = parts["workflow_id"].value if "workflow_id" in parts else None
    if "workflow_id" in parts and not isinstance(workflow_id, str):
        raise LineError(f"line {parts['workflow_id'].line}: workflow_id must be a text in quotes, not {workflow_id!r}")
    params = parts["params"].value if "params" in parts else Pairs()
    if not isinstance(params, Pairs):
        raise LineError(f'line {parts["params"].line}: params must be an object, as in "params": {{"3::cfg": 7}}')
    return [_setting(pair) for pair in params], workflow_id


def _top_level_pairs(reader: LiteralReader) -> Pairs:
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


def _setting(pair: Pair) -> Setting:
    return Setting(pair.key, _as_json(pair.value), where=f"line {pair.line}", is_python_value=True)


# -- field descriptions from a console -----------------------------------------------------------------------------

_MARK = re.compile(r"""["']?\bfield[_ ]?(?P<part>id|info)\b["']?[ \t]*[:=,]?\s*""", re.IGNORECASE)
_BARE_ID = re.compile(r"""[^\s"'`,;{}\[\]]+""")
_DECORATION = re.compile(r"(?:[▶▸►▼▾⯈]\s*)?(?:(?:Array|Object)?\s*(?:\([0-9]+\))?\s*(?=[\[{]))?")
_COLLAPSED = re.compile(r"…|\.\.\.|\b(?:Array|Object)\b")


def read_console(text: str) -> dict[str, Field]:
    """Parse the field descriptions in text copied from the editor's browser console.

    The hosted editor prints a field's `Field_id` and `Field_info` when its parameter is right-clicked twice.

    Parameters
    ----------
    text
        One or many of `Field_id: 3::cfg` with `Field_info: ["FLOAT", {...}]`, in either order, on their own lines or
        together as an object or a list of objects, as JSON or as a console writes it; or
        `{"3::cfg": ["FLOAT", {...}]}`.

    Returns
    -------
    Field id -> field.

    Raises
    ------
    LineError
        If there is no description, if one of the two parts is missing for a field, or if the console has collapsed a
        value (`Array(2)`, `{...}`).
    FieldError
        If an id or a description is invalid.
    """
    text = without_bom(text)
    described = dict(_described_ids(text)) if _MARK.search(text) else _field_mapping(text)
    if not described:
        raise LineError(
            "the text contains no Field_id and Field_info: in the editor right-click a parameter twice, and copy "
            "the output of the browser's console"
        )
    return {field_id: read_field(field_id, info) for field_id, info in described.items()}


def _described_ids(text: str) -> Iterator[tuple[str, Any]]:
    """Parse pairs of Field_id and Field_info. Yield each field id with its description."""
    parts: dict[str, tuple[Any, int]] = {}
    at = 0
    while mark := _MARK.search(text, at):
        part = mark["part"].lower()
        if part in parts:
            break
        value, at = _field_id(text, mark.end()) if part == "id" else _field_info(text, mark.end())
        parts[part] = value, text.count("\n", 0, mark.start()) + 1
        if len(parts) == 2:
            yield parts["id"][0], parts["info"][0]
            parts.clear()
    for part, (value, line) in parts.items():
        missing = f"the Field_info of {value}" if part == "id" else "the Field_id of a Field_info"
        raise LineError(f"line {line}: {missing} is missing; copy both from the console")


def _field_id(text: str, at: int) -> tuple[str, int]:
    reader = LiteralReader(text, at)
    if text[at : at + 1] in {'"', "'"}:
        return reader.string(), reader.at
    match = _BARE_ID.match(text, at)
    if match is None or _MARK.match(text, at):
        reader.fail("Field_id is empty")
    return match[0], match.end()


def _field_info(text: str, at: int) -> tuple[Any, int]:
    decoration = _DECORATION.match(text, at)
    reader = LiteralReader(text, decoration.end() if decoration else at, is_console=True)
    try:
        value = reader.json()
        if isinstance(value, str):  # copied as a text
            value = LiteralReader(value, is_console=True).json()
    except LineError:
        if _COLLAPSED.search(text[at : reader.at + 40].partition("\n")[0]):
            reader.fail(
                "the console shows this value collapsed: right-click it there, choose Copy object, and paste it "
                "after Field_info:"
            )
        raise
    if not isinstance(value, list):
        reader.fail('Field_info is a list like ["FLOAT", {"default": 8.0}]')
    return value, reader.at


def _field_mapping(text: str) -> dict[str, Any]:
    """Parse `{"3::cfg": ["FLOAT", {...}]}`, the notation of the catalogue; return no fields for any other text."""
    try:
        mapping = LiteralReader(text).json()
    except LineError:
        return {}
    if not isinstance(mapping, dict):
        return {}
    invalid = [key for key, info in mapping.items() if "::" not in key or not isinstance(info, list)]
    if invalid and len(invalid) < len(mapping):
        raise FieldError(f'{invalid[0]!r} is not a field id with a description: write {{"3::steps": ["INT", {{}}]}}')
    return {} if invalid else mapping


# -- literals ------------------------------------------------------------------------------------------------------

_IGNORED = re.compile(r"[\s\ufeff]+|(?://|#)[^\n]*|/\*[\s\S]*?\*/")
_KEY = re.compile(r"""(?:[^\s"'`,;:{}\[\]()]|::)+""")
_TOKEN = re.compile(r"""[^\s"'`,;:{}\[\]()]+""")
_NAME = re.compile(r"\{[^\W\d]\w*\}")
_STRING = re.compile(
    r'"[^"\\\n]*(?:\\[\s\S][^"\\\n]*)*"'
    r"|'[^'\\\n]*(?:\\[\s\S][^'\\\n]*)*'"
    r"|`[^`\\]*(?:\\[\s\S][^`\\]*)*`"
)  # fmt: skip
_ESCAPE = re.compile(r"\\(?:u\{([0-9a-fA-F]{1,6})\}|u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|([\s\S]))|\$\{")
_ESCAPED = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "0": "\0", "\n": ""} | {
    char: char for char in "\"'`\\/$"
}
_CONSTANTS = {"true": True, "false": False, "null": None, "True": True, "False": False, "None": None}
_CONSOLE_CONSTANTS = {**_CONSTANTS, "undefined": None, "NaN": None}


@dataclass(frozen=True, slots=True)
class Pair:
    """A key, its value and its line. Nested objects are `Pairs`."""

    key: str
    value: Any
    line: int


class Pairs(list[Pair]):
    """The pairs of an object. Keys may occur more than once."""


def _as_json(value: Any) -> Any:
    """Convert a value to builtin lists and dicts. A duplicate key is an error."""
    if isinstance(value, Pairs):
        mapping: dict[str, Any] = {}
        for pair in value:
            if pair.key in mapping:
                raise LineError(f"line {pair.line}: duplicate key {pair.key!r} in one object")
            mapping[pair.key] = _as_json(pair.value)
        return mapping
    return [_as_json(item) for item in value] if isinstance(value, list) else value


class LiteralReader:
    """Reads JavaScript literals one after another. Each method raises LineError with the line of invalid text.

    Parameters
    ----------
    text, at
        The text, and the position of the next character.
    is_console
        Whether to read `undefined` and `NaN`, which only a console writes, as None.
    """

    def __init__(self, text: str, at: int = 0, *, is_console: bool = False) -> None:
        self.text = text
        self.at = at
        self._depth = 0
        self._constants = _CONSOLE_CONSTANTS if is_console else _CONSTANTS

    @property
    def line(self) -> int:
        return self.text.count("\n", 0, self.at) + 1

    def skip(self) -> None:
        """Skip white space and comments."""
        while ignored := _IGNORED.match(self.text, self.at):
            self.at = ignored.end()
        if self.text.startswith("/*", self.at):
            self.fail("a comment /* is not closed")

    def peek(self) -> str:
        """Return the next character after white space and comments; empty at the end."""
        self.skip()
        return self.text[self.at : self.at + 1]

    def json(self) -> Any:
        """Read a value as builtin lists and dicts."""
        return _as_json(self.value())

    def value(self) -> Any:
        """Read a value. Objects become `Pairs`."""
        first = self.peek()
        if first == "{" and (name := _NAME.match(self.text, self.at)):  # a Python name to expand: JSON has no such form
            self.at = name.end()
            return name[0]
        if first and first in "{[":
            if self._depth == MAX_DEPTH:
                self.fail(TOO_DEEP)
            self._depth += 1
            self.at += 1
            value = self.pairs("}") if first == "{" else [self.value() for _ in self._items("]", ",")]
            self._depth -= 1
            return value
        return self.string() if first and first in "\"'`" else self._number_or_constant()

    def pairs(self, closing: str) -> Pairs:
        """Read the pairs of an object up to its closing brace, or to the end of the text if `closing` is empty."""
        pairs = Pairs()
        for _ in self._items(closing, ",;"):
            line, key = self.line, self._key()
            if self.peek() != ":":
                self.fail(f"a colon is missing after the key {key!r}")
            self.at += 1
            pairs.append(Pair(key, self.value(), line))
        return pairs

    def string(self) -> str:
        """Read a string."""
        match = _STRING.match(self.text, self.at)
        if match is None:
            self.fail(
                f"the string {shown(self._ahead())} is not closed; write a text of several lines between backticks, "
                "and a backslash as \\\\"
            )
        inner, quote = self.at + 1, match[0][0]

        def unescape(escape: re.Match[str]) -> str:
            if escape[0] == "${" and quote != "`":
                return "${"
            self.at = inner + escape.start()
            if escape[0] == "${":
                self.fail("${...} is not supported; write {name} for a Python variable")
            digits = escape[1] or escape[2] or escape[3]
            if digits and int(digits, 16) <= 0x10FFFF:
                return chr(int(digits, 16))
            char = escape[0][1]
            if char not in _ESCAPED:
                self.fail(f"\\{char} is not an escape; in a payload write a backslash as \\\\")
            return _ESCAPED[char]

        text = _ESCAPE.sub(unescape, match[0][1:-1])
        self.at = match.end()
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")  # joins \ud83e\udd8a

    def fail(self, problem: str) -> NoReturn:
        """Raise LineError with the line of the position."""
        raise LineError(f"line {self.line}: {problem}")

    def _items(self, closing: str, separators: str) -> Iterator[None]:
        """Yield at the start of each item, where the caller reads the item, and read the closing bracket."""
        opened = self.line
        while (char := self.peek()) != closing:
            if not char:
                self.fail(f"{closing!r} is missing for the bracket opened in line {opened}")
            yield
            char = self.peek()
            if char and char in separators:
                self.at += 1
            elif char and char != closing:
                self.fail(f"a comma is missing before {shown(self._ahead())}")
        self.at += len(closing)

    def _key(self) -> str:
        if self.peek() in {'"', "'"}:
            return self.string()
        match = _KEY.match(self.text, self.at)
        if not match:
            self.fail(f"a key is missing before {shown(self._ahead())}")
        self.at = match.end()
        return match[0]

    def _number_or_constant(self) -> Any:
        match = _TOKEN.match(self.text, self.at)
        if not match:
            self.fail(f"a value is missing before {shown(self._ahead())}" if self._ahead() else "a value is missing")
        token = match[0]
        try:
            number = read_json_number(re.sub(r"^(-?)\.(?=[0-9])", r"\g<1>0.", token))
        except ValueError as error:
            self.fail(str(error))
        if number is None and token not in self._constants:
            self.fail(f"{shown(self._ahead())} is not a value; quote a text")
        self.at = match.end()
        return number if number is not None else self._constants[token]

    def _ahead(self) -> str:
        """Return the next characters of the line, for an error."""
        return self.text[self.at : self.at + 30].partition("\n")[0]
