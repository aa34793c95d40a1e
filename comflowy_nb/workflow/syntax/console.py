"""Parse field descriptions copied from the editor's console.

The hosted editor prints a field's `Field_id` and `Field_info` when its parameter is right-clicked twice. Consoles of
browsers write objects in their own ways, and show nested ones only from outside (`Array(2)`, `{...}`): those can't be
read, and the error says how to copy them whole.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NoReturn

from comflowy_nb.errors import FieldError, LineError
from comflowy_nb.workflow.field_spec import read_field
from comflowy_nb.workflow.files import without_bom
from comflowy_nb.workflow.syntax.payload import WORDS, Literals

if TYPE_CHECKING:
    from collections.abc import Iterator

    from comflowy_nb.workflow.fields import Field

__all__ = ["read_console"]

_MARK = re.compile(r"""["']?\bfield[_ ]?(?P<what>id|info)\b["']?[ \t]*[:=,]?\s*""", re.IGNORECASE)
_BARE_ID = re.compile(r"""[^\s"'`,;{}\[\]]+""")
_DECORATION = re.compile(r"(?:[▶▸►▼▾⯈]\s*)?(?:(?:Array|Object)?\s*(?:\([0-9]+\))?\s*(?=[\[{]))?")
_FOLDED = re.compile(r"…|\.\.\.|\b(?:Array|Object)\b")
_WORDS = {**WORDS, "undefined": None, "NaN": None}


def read_console(text: str) -> dict[str, Field]:
    """Return the fields described in a text copied from the editor's console.

    Parameters
    ----------
    text
        One or many of `Field_id: 3::cfg` with `Field_info: ["FLOAT", {...}]`, each on lines of its own or together as
        an object or a list of objects, as JSON or as a console writes it; or `{"3::cfg": ["FLOAT", {...}]}`.

    Returns
    -------
    Field id -> field.

    Raises
    ------
    LineError
        If nothing of that is there, if one of the two is missing for a field, or if the console showed a value only
        from outside.
    FieldError
        If an id or a description makes no sense.
    """
    text = without_bom(text)
    described = dict(_pairs(text)) if _MARK.search(text) else _mapping(text)
    if not described:
        raise LineError(
            "the text contains no Field_id and Field_info: in the editor right-click a parameter twice, and copy "
            "the output of the browser's console"
        )
    return {field_id: read_field(field_id, info) for field_id, info in described.items()}


def _pairs(text: str) -> Iterator[tuple[str, Any]]:
    """Yield each id with its description; either may come first."""
    waiting: dict[str, tuple[Any, int]] = {}
    at = 0
    while mark := _MARK.search(text, at):
        what = mark["what"].lower()
        line = text.count("\n", 0, mark.start()) + 1
        if what in waiting:
            break
        value, at = _id(text, mark.end()) if what == "id" else _info(text, mark.end())
        waiting[what] = (value, line)
        if len(waiting) == 2:
            yield waiting["id"][0], waiting["info"][0]
            waiting.clear()
    for what, (value, line) in waiting.items():
        missing = f"the Field_info of {value}" if what == "id" else "the Field_id of a Field_info"
        raise LineError(f"line {line}: {missing} is missing; copy both from the console")


def _id(text: str, at: int) -> tuple[str, int]:
    reader = Literals(text, at)
    if text[at : at + 1] in {'"', "'"}:
        return reader.string(), reader.at
    found = _BARE_ID.match(text, at)
    if found is None or _MARK.match(text, at):
        reader.fail("Field_id is empty")
    return found[0], found.end()


def _info(text: str, at: int) -> tuple[Any, int]:
    decoration = _DECORATION.match(text, at)
    reader = Literals(text, decoration.end() if decoration else at, words=_WORDS)
    try:
        value = reader.json()
        if isinstance(value, str):  # copied as a text
            value = Literals(value, words=_WORDS).json()
    except LineError:
        if _FOLDED.search(text[at : reader.at + 40].partition("\n")[0]):
            _say_how_to_copy(reader)
        raise
    if not isinstance(value, list):
        reader.fail('Field_info is a list like ["FLOAT", {"default": 8.0}]')
    return value, reader.at


def _say_how_to_copy(reader: Literals) -> NoReturn:
    reader.fail(
        "the console shows this value collapsed: right-click it there, choose Copy object, and paste it "
        "after Field_info:"
    )


def _mapping(text: str) -> dict[str, Any]:
    """Return the fields of `{"3::cfg": ["FLOAT", {...}]}`, as in the catalogue."""
    try:
        found = Literals(text).json()
    except LineError:
        return {}
    if not isinstance(found, dict):
        return {}
    wrong = [key for key, info in found.items() if "::" not in key or not isinstance(info, list)]
    if wrong and len(wrong) < len(found):
        raise FieldError(f"{wrong[0]!r} is not a field id with its description")
    return {} if wrong else found
