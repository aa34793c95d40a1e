"""Format params, durations and days as text, and find the differences of texts. Pure."""

from __future__ import annotations

import itertools
import json
import re
import unicodedata
from datetime import datetime
from typing import TYPE_CHECKING, Any

from comflowy_nb.errors import RefError, nearest_tip
from comflowy_nb.layout.text import ELLIPSIS, Part
from comflowy_nb.workflow.images import InputImage
from comflowy_nb.workflow.syntax.json_values import unwrap

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from comflowy_nb.layout.text import Tone


LONG_TEXT = 28  # characters: a longer text gets a separate paragraph, or a letter and a legend
_SEPARATOR = " \N{MIDDLE DOT} "
# (number of texts in a legend, limit of the characters of each), for legends of up to this number of texts.
_MAX_CHARACTERS = ((6, 480), (12, 300), (10**6, 160))
_CONTEXTS = (160, 80, 40, 20)  # characters on both sides of a difference; the largest that fits is used
_MIN_OMITTED = 4  # characters: an ellipsis does not replace a shorter passage
_INVISIBLE = {"Cc", "Cf", "Co", "Cn", "Cs", "Mn", "Zl", "Zp", "Zs"}  # Unicode categories
_EDGE_SPACE = re.compile(r'(?<=[ "]) | (?=")')


def write_value(value: Any) -> str:
    """Return a value in the notation of a cell, on one line."""
    if isinstance(value, InputImage):
        value = value.name
    if isinstance(value, str):
        return " ".join(value.split())
    if isinstance(value, float):
        return f"{value:g}"
    return json.dumps(unwrap(value), ensure_ascii=False, default=str)


def name_fields(field_ids: Iterable[str]) -> dict[str, str]:
    """Return a mapping from field id to short name. Fields with the same short name keep their ids."""
    ids = list(dict.fromkeys(field_ids))
    names = [bare_name(field_id) for field_id in ids]
    return {field_id: name if names.count(name) == 1 else field_id for field_id, name in zip(ids, names, strict=True)}


def seeds_of(params: Mapping[str, Any]) -> dict[str, int]:
    """Return the seeds among params: integers in fields whose name contains `seed`."""
    return {
        key: value
        for key, value in params.items()
        if "seed" in bare_name(key) and isinstance(value, int) and not isinstance(value, bool)
    }


def add_part(parts: list[Part], name: str, text: str, *, tone: Tone = "text") -> None:
    """Append `name text`, separated by a dot."""
    if parts:
        parts.append(Part(_SEPARATOR, "muted"))
    if name:
        parts.append(Part(f"{name} ", "muted"))
    parts.append(Part(text or '""', tone))


def letter_of(position: int) -> str:
    """Return the letter of a position: A, B ... Z, AA, AB ..."""
    letters = ""
    position += 1
    while position:
        position, rest = divmod(position - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters


def mark_differing_words(texts: Sequence[str]) -> list[tuple[Part, ...]]:
    """Split texts into parts. Words that all texts contain have the tone `text`, the others `strong`."""
    common = set.intersection(*(set(text.split()) for text in texts)) if len(texts) > 1 else set()
    split = []
    for text in texts:
        parts: list[Part] = []
        for word in text.split():
            tone: Tone = "text" if word in common else "strong"
            if parts and parts[-1].tone == tone:
                parts[-1] = Part(f"{parts[-1].text} {word}", tone)
            else:
                parts.append(Part(f" {word}" if parts else word, tone))
        split.append(tuple(parts))
    return split


def bare_name(field_id: str) -> str:
    """Return the name of a field without its node."""
    return field_id.split("::", 1)[-1]


def find_names(names: Iterable[str], field_ids: Iterable[str], columns: Collection[str]) -> list[str]:
    """Return the field ids and the columns that `--label` names; a bare name selects all fields of that name.

    Raises
    ------
    RefError
        If a bare name is neither of them.
    """
    ids = list(dict.fromkeys(field_ids))
    found: list[str] = []
    for name in names:
        matching = [key for key in ids if bare_name(key) == name]
        if name not in columns and "::" not in name and not matching:
            known = nearest_tip(name, [*map(bare_name, ids), *columns])
            raise RefError(f"{name!r} is neither a field of these runs nor a column of their tables{known}")
        found += [name] if name in columns or "::" in name else matching
    return found


def time_text(seconds: float, *, roughly: bool = False) -> str:
    """Format a duration: `4.1 s`, `42 s`, `2 min 5 s`, `1 h 4 min`; with `roughly` `4 s` instead of `4.1 s`."""
    if seconds < 9.95 and not (roughly and seconds >= 1):  # 9.95 would round to 10.0
        return f"{seconds:.1f} s"
    total_s = round(seconds)
    if total_s < 60:
        return f"{total_s} s"
    if total_s < 3600:
        return f"{total_s // 60} min {total_s % 60} s" if total_s % 60 else f"{total_s // 60} min"
    return f"{total_s // 3600} h {total_s % 3600 // 60} min"


def day_text(seconds: float, *, now: datetime | None = None) -> str:
    """Return the local day of a time: `12 Oct`, with the year if it is another year; empty if it is today."""
    now = now or datetime.now().astimezone()
    then = datetime.fromtimestamp(seconds).astimezone()
    if then.date() == now.date():
        return ""
    return f"{then.day} {then:%b}" if then.year == now.year else f"{then.day} {then:%b %Y}"


# -- differences -----------------------------------------------------------------------------------------------------


def distinct_texts(values: Sequence[Any]) -> list[str]:
    """Write each value on one line, so that different values have different texts.

    If values differ only in invisible characters, such as spaces or line breaks, all are written as JSON with escapes.
    """
    texts = [write_value(value) for value in values]
    if len(set(map(_visible_text, texts))) >= len(set(map(identity_of, values))):
        return texts
    return [_text_with_escapes(value) for value in values]


def identity_of(value: Any) -> str:
    """Return a text that is the same for values that a service treats as equal, such as 7 and 7.0."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, sort_keys=True, default=str)


def shorten_keeping_differences(entries: Sequence[Sequence[Part]]) -> list[tuple[Part, ...]]:
    """Shorten the texts of a legend so that different texts remain different.

    A long text keeps the context around each position at which it begins to differ from another text; ellipses replace
    the rest. All texts keep the same amount of context, so that two shortened texts both contain the first character
    in which they differ.
    """
    texts = ["".join(part.text for part in parts) for parts in entries]
    limit = next(limit for most, limit in _MAX_CHARACTERS if len(texts) <= most)
    if all(len(text) <= limit for text in texts):
        return [tuple(parts) for parts in entries]
    positions = _difference_positions(texts)
    spans: list[list[tuple[int, int]]] = []
    for context in _CONTEXTS:
        spans = [_spans(text, starts, context) for text, starts in zip(texts, positions, strict=True)]
        if all(sum(end - start for start, end in intervals) <= limit for intervals in spans):
            break
    return [_extract(parts, len(text), intervals) for parts, text, intervals in zip(entries, texts, spans, strict=True)]


def _difference_positions(texts: Sequence[str]) -> list[set[int]]:
    """Return, for each text, the positions at which it begins to differ from another text; {0} if all are equal.

    In sorted order, the common prefix of two texts is as long as the shortest common prefix of the neighbours between
    them. One pass over the neighbours is therefore sufficient.
    """
    order = sorted(set(texts))
    common = [_common_length(text, other) for text, other in itertools.pairwise(order)]
    positions = {
        text: {*itertools.accumulate(reversed(common[:index]), min), *itertools.accumulate(common[index:], min)} or {0}
        for index, text in enumerate(order)
    }
    return [positions[text] for text in texts]


def _common_length(text: str, other: str) -> int:
    """Return the length of the common prefix of two texts."""
    pairs = enumerate(zip(text, other, strict=False))
    return next((index for index, (a, b) in pairs if a != b), min(len(text), len(other)))


def _spans(text: str, positions: Iterable[int], context: int) -> list[tuple[int, int]]:
    """Return the intervals of a text around the positions.

    An interval is extended to whole words if the word ends within half of the context, and to the start or the end of
    the text, or to the interval before it, if that is only a few characters away.
    """
    spans: list[tuple[int, int]] = []
    for position in sorted(positions):
        start, end = max(0, position - context), min(len(text), position + context)
        if start:
            blank = text.rfind(" ", max(0, start - context // 2), start)
            start = blank + 1 if blank >= 0 else start
        if end < len(text):
            blank = text.find(" ", end, end + context // 2)
            end = blank if blank >= 0 else end
        if start <= _MIN_OMITTED:
            start = 0
        if len(text) - end <= _MIN_OMITTED:
            end = len(text)
        if spans and start - spans[-1][1] <= _MIN_OMITTED:
            before = spans.pop()
            start, end = before[0], max(before[1], end)
        spans.append((start, end))
    return spans


def _extract(parts: Sequence[Part], length: int, spans: Sequence[tuple[int, int]]) -> tuple[Part, ...]:
    """Return the parts reduced to the intervals `spans` of their joined text, with an ellipsis for each gap."""
    passages: list[Part] = [Part(ELLIPSIS)] if spans[0][0] else []
    for start, end in spans:
        offset = 0  # of the part in the whole text
        for part in parts:
            text = part.text[max(0, start - offset) : max(0, end - offset)]
            if text:
                passages.append(Part(text, part.tone))
            offset += len(part.text)
        if end < length:
            passages.append(Part(f" {ELLIPSIS} "))
    return tuple(passages)


def _visible_text(text: str) -> str:
    """Return a text without its invisible characters. Combining accents (Mn) and the plain space are visible."""
    invisible = _INVISIBLE - {"Mn"}
    visible = "".join(letter for letter in text if letter == " " or unicodedata.category(letter) not in invisible)
    return unicodedata.normalize("NFC", visible)


def _text_with_escapes(value: Any) -> str:
    """Return a value as JSON with escapes for invisible characters."""
    if isinstance(value, InputImage):
        return f"{value.name} ({value.content_sha256[:6]})"
    text = _EDGE_SPACE.sub(r"\\u0020", json.dumps(value, ensure_ascii=False, default=str))
    return "".join(
        letter if letter == " " or unicodedata.category(letter) not in _INVISIBLE else json.dumps(letter)[1:-1]
        for letter in text
    )
