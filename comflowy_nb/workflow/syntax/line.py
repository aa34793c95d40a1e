"""Split a line into words, and expand `{name}` in typed text.

The rules differ from those of a shell, which would remove characters of a prompt. A quoted part begins only at the
start of a word or after its first `=`, and ends at the same quote character before white space, `||`, `,` or the end.
All other quotes, apostrophes and backslashes are ordinary characters. In a sweep, a quoted part may also begin after a
`||` or `,` that separates values. A `#` between white space begins a comment. White space is space, tab and line
breaks, but not a no-break space.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from comflowy_nb.errors import LineError, did_you_mean, nearest, nearest_tip
from comflowy_nb.workflow.syntax.json_values import MAX_DEPTH, round_computed

if TYPE_CHECKING:
    from collections.abc import Mapping


SPACE = " \t\r\n\f\v"
_USE_BODY = "write a text with quotes in the body: %%comflowy {} WORKFLOW, and below it a line FIELD: TEXT"
_SPACED_KEY = re.compile(r"""(["'])(?=[^"'=]*\s)([^"'=]+::[^"'=]+)\1=""")  # a node id may contain spaces
_UNQUOTED_KEY = re.compile(rf"""(?!["'])[^={SPACE}]*=?""")
_QUOTED_KEY = re.compile(r"""(["'])([^\s"'=]+)\1=""")
_SHOWN_BEFORE, _SHOWN_AFTER = 60, 20  # characters of the line that an error shows around its position


@dataclass(frozen=True, slots=True)
class Word:
    """One word of a line.

    Attributes
    ----------
    text
        The whole word, without quotes.
    key, value
        The two sides of the first `=` of FIELD=VALUE, NAME=TARGET or --option=VALUE. None for a word in quotes, and for
        a word with a `/` or `?` before its first `=`, such as a path or a URL.
    quoted
        Whether the value or the whole word was in quotes.
    start
        The position in the line.
    raw
        The word as typed.
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
        Whether a value may consist of several values, each with its own quotes. Such a value keeps its quotes for
        `split_values` and is not `quoted`; quotes around the whole value are removed.

    Raises
    ------
    LineError
        If a quote is not closed, if text directly follows a closing quote, or if a word begins with `#` or `=`. The
        error shows the position, and how to write the line.
    """
    words = []
    at = _skip(line, 0)
    while at < len(line):
        word = _read_word(line, at, sweep=sweep)
        if word.raw == "#":
            break
        words.append(word)
        at = _skip(line, at + len(word.raw))
    return words


def split_silencer(line: str) -> tuple[str, bool]:
    """Return the line without a final `;`, and whether it had one. `;` hides the value of a magic, not the images."""
    bare = line.rstrip(SPACE)
    return (bare[:-1], True) if bare.endswith(";") else (line, False)


def closing_quote(text: str, at: int) -> int | None:
    """Return the position of the quote that closes the one at `at`, before white space, `||`, `,` or the end."""
    quote = text[at]
    close = text.find(quote, at + 1)
    while close >= 0:
        rest = text[close + 1 : close + 3]
        if not rest or rest[0] in SPACE or rest[0] == "," or rest == "||":
            return close
        close = text.find(quote, close + 1)
    return None


def unquote(text: str) -> tuple[str, bool]:
    """Return the text without quotes around it, and whether it had quotes. Inner quotes and backslashes are kept."""
    is_quoted = len(text) > 1 and text[0] in "\"'" and closing_quote(text, 0) == len(text) - 1
    return (text[1:-1], True) if is_quoted else (text, False)


def scan_flow(text: str, start: int, *, spaces: bool = False) -> tuple[int, list[str]] | None:
    """Scan the list or mapping that begins at `start`.

    Quotes begin after a bracket, `,` or `:`, and end before one of them. Brackets nested deeper than `MAX_DEPTH` are
    text. White space outside quotes is allowed only with `spaces`.

    Returns
    -------
    The position after the closing bracket, and the entries between the commas (with an optional trailing comma); None
    if the bracket is not closed.
    """
    closing: list[str] = []
    entries: list[str] = []
    at = entry_at = start
    opens = True  # a quote may open here
    while at < len(text):
        char = text[at]
        if len(closing) > MAX_DEPTH or (char in SPACE and not spaces):
            return None
        close = flow_quote_end(text, at) if opens and char in "\"'" else None
        if close is not None:
            at = close
        elif char in "[{":
            closing.append("]" if char == "[" else "}")
            if len(closing) == 1:
                entry_at = at + 1
        elif char in "]}":
            if char != closing.pop():
                return None
            if not closing:
                last = text[entry_at:at].strip(SPACE)
                return at + 1, [*entries, last] if last else entries
        elif char == "," and len(closing) == 1:
            entries.append(text[entry_at:at].strip(SPACE))
            entry_at = at + 1
        opens = char in "[{,:" or (opens and char in SPACE)
        at += 1
    return None


def flow_quote_end(text: str, at: int) -> int | None:
    """Return the position of the closing quote in a list or mapping: before `,`, `:`, a bracket or the end."""
    close = text.find(text[at], at + 1)
    while close >= 0:
        rest = text[close + 1 :].lstrip(SPACE)
        if not rest or rest[0] in ",:]}":
            return close
        close = text.find(text[at], close + 1)
    return None


def _skip(line: str, at: int) -> int:
    while at < len(line) and line[at] in SPACE:
        at += 1
    return at


def _read_word(line: str, start: int, *, sweep: bool) -> Word:
    spaced = _SPACED_KEY.match(line, start)
    prefix = spaced or _UNQUOTED_KEY.match(line, start)
    value_at = prefix.end() if prefix else start
    has_key = value_at > start and line[value_at - 1] == "="
    quoted_key = _QUOTED_KEY.match(line, start) if not prefix else None
    if quoted_key:  # as in JSON; on a line, the quote would include the words after it
        _fail(line, start, "the field is in quotes", f"write it without quotes: {quoted_key[2]}=VALUE")
    end, is_quoted = _end_of_value(line, value_at, sweep=sweep and has_key)
    raw, value = line[start:end], line[value_at:end]
    if raw.startswith("#") and raw != "#":
        _fail(
            line,
            start,
            f"{raw!r} is neither a value nor a comment",
            'write a comment as a # between spaces, and quote a text with spaces: FIELD="bottle #1"',
        )
    if is_quoted:
        value = value[1:-1]
    if not has_key:
        return Word(value if is_quoted else raw, None, None, quoted=is_quoted, start=start, raw=raw)
    key = spaced[2] if spaced else line[start : value_at - 1]
    if not key:
        _fail(line, start, "'=' has no field before it", "write FIELD=VALUE without spaces")
    if "/" in key or "?" in key:
        return Word(f"{key}={value}", None, None, quoted=False, start=start, raw=raw)
    return Word(f"{key}={value}", key, value, quoted=is_quoted, start=start, raw=raw)


def _end_of_value(line: str, start: int, *, sweep: bool) -> tuple[int, bool]:
    """Return the end of a value, or of several values of a sweep, and whether one pair of quotes encloses it."""
    use_body = _USE_BODY.format("sweep" if sweep else "run")
    at, opens, is_quoted = start, True, False
    while at < len(line) and line[at] not in SPACE:
        if opens and line[at] in "\"'":
            close = closing_quote(line, at)
            if close is None:
                _fail(line, at, f"the quote {line[at]} is not closed", use_body)
            is_quoted = at == start and line[close + 1 : close + 2] in {"", *SPACE}
            at, opens = close + 1, False
            if not sweep and not is_quoted:  # the value of a run ends at its closing quote
                separator = "||" if line.startswith("||", at) else ","
                tip = f"several values are a sweep: %comflowy sweep; {use_body}"
                _fail(line, at, f"{separator!r} follows a closing quote", tip)
            continue
        flow = scan_flow(line, at) if sweep and opens and line[at] in "[{" else None
        if flow is not None:
            at, opens = flow[0], False
            continue
        if sweep and opens and line[at] == "[" and scan_flow(line, at, spaces=True) is not None:
            _fail(
                line, at, "a list on the line can't have spaces outside quotes", 'such as cfg=[4,8] or text=["a b","c"]'
            )
        separator = "||" if line.startswith("||", at) else line[at]
        opens = sweep and separator in {"||", ","}
        at += len(separator)
    return at, is_quoted


def _fail(line: str, at: int, problem: str, tip: str) -> NoReturn:
    """Raise a LineError that shows the position in an excerpt of the line."""
    first, last = max(0, at - _SHOWN_BEFORE), at + _SHOWN_AFTER
    lead, tail = "..." if first else "", "..." if last < len(line) else ""
    excerpt = re.sub(f"[{SPACE}]", " ", line[first:last])
    pointer = " " * (len(lead) + at - first) + "^"
    raise LineError(f"{problem}:\n  {lead}{excerpt}{tail}\n  {pointer}\n{tip}")


# -- expansion -----------------------------------------------------------------------------------------------------

NAMES_ALONE = (
    "braces take only the name of a variable, as in {field}={{values}}; several values are a list: {field}=[4,8]"
)
_NAME = r"[^\W\d]\w*"
BRACED_NAME = re.compile(rf"\{{\{{({_NAME})\}}\}}|\{{({_NAME})\}}")
_BRACED_ATTRIBUTE = re.compile(rf"\{{({_NAME})\.({_NAME})\}}")


def expand(text: str, namespace: Mapping[str, Any] | None) -> Any:
    """Expand `{name}` in a text.

    Parameters
    ----------
    text
        The text. If it is exactly `{name}`, the result is the object itself. In a longer text, `{name}` is replaced by
        the `str` of the object; a float is rounded to 12 digits. `{{name}}` is the literal `{name}`. All other braces,
        and `$`, are text.
    namespace
        The variables. None returns the text unchanged, as for sweep files and the Python API.

    Raises
    ------
    LineError
        If a name is not defined. The text contains the name and shows how to write the literal.
    """
    return _look_up(text[1:-1], namespace) if namespace is not None and is_name(text) else expand_text(text, namespace)


def expand_text(text: str, namespace: Mapping[str, Any] | None) -> str:
    """Expand `{name}` as `expand` does, but always return a text (for WORKFLOW, REF and values of options)."""
    if namespace is None:
        return text
    return BRACED_NAME.sub(
        lambda match: f"{{{match[1]}}}" if match[1] else str(round_computed(_look_up(match[2], namespace))), text
    )


def expand_ref(text: str, namespace: Mapping[str, Any]) -> Any:
    """Expand a reference: exactly `{name}` is the object, and exactly `{name.attribute}` its attribute.

    An attribute is expanded in references only: in a value, `{e.current}` is text.

    Raises
    ------
    LineError
        If there is no such variable or attribute, or the attribute is None.
    """
    match = _BRACED_ATTRIBUTE.fullmatch(text)
    if match is None:
        name = text[1:-1]
        return namespace[name] if is_name(text) and name in namespace else expand_text(text, namespace)
    owner, attribute = _look_up(match[1], namespace), match[2]
    known = [name for name in dir(owner) if not name.startswith("_")]
    if attribute not in known:
        raise LineError(f"{text}: {match[1]} has no {attribute}{nearest_tip(attribute, known) or '.'}")
    value = getattr(owner, attribute)
    if value is None:
        raise LineError(f"{text} is None, so it names no run")
    return value


def is_name(text: str) -> bool:
    """Return True if a text is exactly `{name}`."""
    match = BRACED_NAME.fullmatch(text)
    return match is not None and match[2] is not None


def _look_up(name: str, namespace: Mapping[str, Any]) -> Any:
    if name in namespace:
        return namespace[name]
    near = nearest(name, [name for name in namespace if not name.startswith("_")], 1)
    tip = did_you_mean(f"{{{match}}}" for match in near) or "."
    raise LineError(f"{{{name}}}: there is no variable {name}{tip} Write {{{{{name}}}}} for the text {{{name}}}")
