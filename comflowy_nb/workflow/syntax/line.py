"""Split a line into words.

The rules differ from a shell's, which would remove characters of a prompt. A quote opens only at the start of a word or
after its first `=`, and closes only at the same quote before white space, `||`, `,` or the end; all other quotes,
apostrophes and backslashes are ordinary characters. In a sweep a quote also opens after a `||` or `,` that separates
values. A `#` between white space begins a comment. White space is space, tab and line breaks, but not a no-break space.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NoReturn

from comflowy_nb.errors import LineError
from comflowy_nb.workflow.syntax.json_values import MAX_DEPTH

__all__ = ["SPACE", "Word", "closing_quote", "flow_end", "flow_quote_end", "split_line", "split_silencer"]

SPACE = " \t\r\n\f\v"
_USE_BODY = "write a text with quotes in the body: %%comflowy run WORKFLOW, and below it a line FIELD: TEXT"
_SPACED_KEY = re.compile(r"""(["'])(?=[^"'=]*\s)([^"'=]+::[^"'=]+)\1=""")  # a node id may contain spaces
_QUOTED_KEY = re.compile(r"""(["'])([^\s"'=]+)\1=""")
_BEFORE, _AFTER = 60, 20  # characters shown around the position of an error


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a line.

    `text` is the whole word without quotes. `key` and `value` are the two sides of the first `=` of FIELD=VALUE,
    NAME=TARGET or --option=VALUE; None for a word in quotes and for one with a `/` or `?` before its first `=` (a path,
    an address). `quoted` is True if the value, or the whole word, was in quotes. `raw` is the word as typed,
    `start` its position in the line.
    """

    text: str
    key: str | None
    value: str | None
    quoted: bool
    start: int
    raw: str


def split_line(line: str, *, sweep: bool = False) -> list[Word]:
    """Return the words of a line, without its comment.

    Parameters
    ----------
    line
        The text after `%comflowy`, or a part of it, without a final `;` (see `split_silencer`).
    sweep
        Allow several values, each with its own quotes. Such a value keeps its quotes for `split_values` and is not
        `quoted`; quotes around the whole value are removed.

    Raises
    ------
    LineError
        If a quote is not closed, if text directly follows a closing quote, or if a word begins with `#` or `=`. The
        error shows the position, and what to type instead.
    """
    words = []
    at = _skip(line, 0)
    while at < len(line):
        end, quote_at = _end_of_word(line, at, sweep=sweep)
        raw = line[at:end]
        if raw == "#":
            break
        words.append(_word(line, raw, at, quote_at))
        at = _skip(line, end)
    return words


def split_silencer(line: str) -> tuple[str, bool]:
    """Return the line without a final `;`, and whether it had one: `;` hides a magic's value, never the images."""
    bare = line.rstrip(SPACE)
    return (bare[:-1], True) if bare.endswith(";") else (line, False)


def closing_quote(text: str, at: int) -> int | None:
    """Return the end of the quote that opens at `at`: the same quote before white space, `||`, `,` or the end."""
    quote = text[at]
    close = text.find(quote, at + 1)
    while close >= 0:
        rest = text[close + 1 : close + 3]
        if not rest or rest[0] in SPACE or rest[0] == "," or rest == "||":
            return close
        close = text.find(quote, close + 1)
    return None


def _skip(line: str, at: int) -> int:
    while at < len(line) and line[at] in SPACE:
        at += 1
    return at


def flow_end(text: str, start: int, *, spaces: bool = False) -> int | None:
    """Return the end of the list or mapping that opens at `start`, after its bracket; None if it never closes.

    A quote opens behind a bracket, `,` or `:` and closes before one of them. Outside quotes there is no white space
    but with `spaces`. Brackets nested more than `MAX_DEPTH` deep are text.
    """
    closing: list[str] = []
    at, opens = start, True
    while at < len(text):
        char = text[at]
        if opens and char in "\"'":
            close = flow_quote_end(text, at)
            if close is None:
                opens = False
            else:
                at = close
        elif char in "[{":
            if len(closing) == MAX_DEPTH:
                return None
            closing.append("]" if char == "[" else "}")
        elif char in "]}":
            if char != closing.pop():
                return None
            if not closing:
                return at + 1
        elif char in SPACE and not spaces:
            return None
        opens = char in "[{,:" or (opens and char in SPACE)
        at += 1
    return None


def flow_quote_end(text: str, at: int) -> int | None:
    """Return the end of the quote that opens at `at` in a list or mapping: before `,`, `:`, a bracket or the end."""
    close = text.find(text[at], at + 1)
    while close >= 0:
        rest = text[close + 1 :].lstrip(SPACE)
        if not rest or rest[0] in ",:]}":
            return close
        close = text.find(text[at], close + 1)
    return None


def _end_of_key(line: str, start: int) -> int:
    """Return the start of the value after the first `=`; the end of a word without one; the start of a quote."""
    spaced = _SPACED_KEY.match(line, start)
    if spaced is not None:
        return spaced.end()
    at = start
    if line[at] not in "\"'":
        while at < len(line) and line[at] not in SPACE and line[at] != "=":
            at += 1
        at += line[at : at + 1] == "="
    return at


def _end_of_word(line: str, start: int, *, sweep: bool) -> tuple[int, int | None]:
    """Return the end of the word, and the start of the quote around all of it or of its value."""
    at = _end_of_key(line, start)
    if sweep and at > start and line[at - 1] == "=":
        return _end_of_values(line, at)
    quote_at = at if line[at : at + 1] in {'"', "'"} else None
    if quote_at is not None:
        named = _QUOTED_KEY.match(line, quote_at) if quote_at == start else None
        if named:  # written as in JSON; the quote would extend over the words after it
            _fail(line, start, "the field is in quotes", f"write it without quotes: {named[2]}=VALUE")
        close = closing_quote(line, quote_at)
        if close is None:
            _fail(line, quote_at, f"the quote {line[quote_at]} is never closed", _USE_BODY)
        at = close + 1
        if line[at : at + 1] not in {"", *SPACE}:
            behind = "||" if line.startswith("||", at) else ","
            _fail(
                line,
                at,
                f"{behind!r} follows a closing quote",
                f"several values are a sweep: %comflowy sweep; {_USE_BODY}",
            )
    while at < len(line) and line[at] not in SPACE:
        at += 1
    return at, quote_at


def _end_of_values(line: str, start: int) -> tuple[int, int | None]:
    """Return the end of a sweep's values, and the start of the quote if one contains all of them."""
    at, opens, holds = start, True, None
    while at < len(line) and line[at] not in SPACE:
        if opens and line[at] in "\"'":
            close = closing_quote(line, at)
            if close is None:
                tip = _USE_BODY.replace("run", "sweep")
                _fail(line, at, f"the quote {line[at]} is never closed", tip)
            whole = at == start and line[close + 1 : close + 2] in {"", *SPACE}
            at, holds, opens = close + 1, start if whole else None, False
            continue
        end = flow_end(line, at) if opens and line[at] in "[{" else None
        if end is None and opens and line[at] == "[" and flow_end(line, at, spaces=True) is not None:
            _fail(
                line, at, "a list on the line can't have spaces outside quotes", 'such as cfg=[4,8] or text=["a b","c"]'
            )
        if end is not None:
            at, opens = end, False
            continue
        width = 2 if line.startswith("||", at) else 1
        opens = width == 2 or line[at] == ","
        at += width
    return at, holds


def _word(line: str, raw: str, start: int, quote_at: int | None) -> Word:
    if quote_at == start:
        return Word(raw[1:-1], None, None, quoted=True, start=start, raw=raw)
    if raw.startswith("#"):
        _fail(
            line,
            start,
            f"{raw!r} is neither a value nor a comment",
            'write a comment as a # between spaces, and quote a text with spaces: FIELD="bottle #1"',
        )
    spaced = _SPACED_KEY.match(raw)
    key, equals, value = (spaced[2], "=", raw[spaced.end() :]) if spaced is not None else raw.partition("=")
    if equals and not key:
        _fail(line, start, "'=' has no field before it", "write FIELD=VALUE without spaces")
    if quote_at is not None:
        value = value[1:-1]
    if not equals or "/" in key or "?" in key:
        return Word(key + equals + value, None, None, quoted=False, start=start, raw=raw)
    return Word(f"{key}={value}", key, value, quoted=quote_at is not None, start=start, raw=raw)


def _fail(line: str, at: int, what: str, tip: str) -> NoReturn:
    """Raise a LineError that shows the position in an excerpt of the line."""
    first = max(0, at - _BEFORE)
    window = re.sub(f"[{SPACE}]", " ", line[first : at + _AFTER])
    lead = "..." if first else ""
    tail = "..." if at + _AFTER < len(line) else ""
    pointer = " " * (len(lead) + at - first) + "^"
    raise LineError(f"{what}:\n  {lead}{window}{tail}\n  {pointer}\n{tip}")
