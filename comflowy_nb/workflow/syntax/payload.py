"""Bodies that are the API's own payload, as its page prints it: whole, as an object, its inner lines, or its params."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from comflowy_nb.errors import LineError
from comflowy_nb.workflow.syntax.js_literals import Literals, Pairs
from comflowy_nb.workflow.values import Setting

if TYPE_CHECKING:
    from comflowy_nb.workflow.syntax.js_literals import Pair

__all__ = ["is_payload", "read_payload"]

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
    """Whether a body whose first line this is (no blank one and no comment) is a payload."""
    return _PAYLOAD.match(first_line.lstrip("\ufeff \t")) is not None


def read_payload(text: str) -> tuple[list[Setting], str | None]:
    """The settings and the workflow id of a payload.

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
            raise LineError(f"line {pairs[-1].line}: a part of the payload stands there twice")
        raise LineError(f"line {other.line}: {other.key!r} is no part of a payload; {', '.join(_PARTS)} are")
    workflow_id = parts["workflow_id"].value if "workflow_id" in parts else None
    if "workflow_id" in parts and not isinstance(workflow_id, str):
        raise LineError(f"line {parts['workflow_id'].line}: workflow_id is a text")
    params = parts["params"].value if "params" in parts else Pairs()
    if not isinstance(params, Pairs):
        raise LineError(f"line {parts['params'].line}: params is an object, {{...}}")
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
        reader.fail("something stands behind the payload's end")
    return pairs


def _setting(reader: Literals, pair: Pair) -> Setting:
    return Setting(pair.key, reader.as_json(pair.value), where=f"line {pair.line}", typed=True)
