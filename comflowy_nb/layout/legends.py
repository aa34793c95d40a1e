"""Long texts in captions and legends: shortened to what tells them apart. Pure."""

from __future__ import annotations

import itertools
import json
import re
import unicodedata
from typing import TYPE_CHECKING, Any

from comflowy_nb.layout.captions import Paragraph, Part, write_value
from comflowy_nb.workflow.images import InputImage

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["NO_LIMIT", "entry", "keep_differences", "write_apart"]

NO_LIMIT = 10**6  # lines: what was shortened to the differences must not be cut again

# Where at most so many texts share a legend, each gets so many characters.
_ROOM = ((6, 480), (12, 300))
_LEAST_ROOM = 160
_AROUND = (160, 80, 40, 20)  # characters shown on both sides of a difference, as many as there is room for
_GAP = 4  # characters: a shorter piece is not worth an ellipsis
_ELLIPSIS = "\N{HORIZONTAL ELLIPSIS}"
_HIDDEN = {"Cc", "Cf", "Co", "Cn", "Cs", "Mn", "Zl", "Zp", "Zs"}  # categories of characters that are hardly seen
_EDGE_SPACE = re.compile(r'(?<=[ "]) | (?=")')


def write_apart(values: Sequence[Any]) -> list[str]:
    """Write values on one line each, different values differently.

    Where values differ in something that is not seen, such as a space, a line break or a far digit, all are written
    as JSON with escapes.
    """
    texts = [write_value(value) for value in values]
    if len(set(map(_visible, texts))) >= len(set(map(_identity, values))):
        return texts
    return [_exact(value) for value in values]


def keep_differences(entries: Sequence[Sequence[Part]]) -> list[tuple[Part, ...]]:
    """Shorten texts that share a legend. Different texts stay different.

    Where a text is too long, each keeps the surroundings of every place where it begins to differ from another one;
    an ellipsis replaces the rest. With the same room around these places in all texts, two texts are shown alike up
    to the first character in which they differ, and that character is shown in both.
    """
    texts = ["".join(part.text for part in parts) for parts in entries]
    room = next((room for most, room in _ROOM if len(texts) <= most), _LEAST_ROOM)
    if all(len(text) <= room for text in texts):
        return [tuple(parts) for parts in entries]
    places = _places(texts)
    spans: list[list[tuple[int, int]]] = []
    for around in _AROUND:
        spans = [_spans(text, at, around) for text, at in zip(texts, places, strict=True)]
        if all(sum(end - start for start, end in kept) <= room for kept in spans):
            break
    return [_cut(parts, len(text), kept) for parts, text, kept in zip(entries, texts, spans, strict=True)]


def entry(start: Iterable[Part], said: Iterable[Part]) -> Paragraph:
    """One entry of a legend: what it explains, and the explanation in full."""
    return Paragraph((*start, *said), NO_LIMIT)


def _places(texts: Sequence[str]) -> list[set[int]]:
    """For each text the places where it begins to differ from another; 0 where it differs from none.

    In sorted order the place against any other text is the least of those against the neighbours in between.
    """
    order = sorted(set(texts))
    apart = [_common(one, other) for one, other in itertools.pairwise(order)]
    found: dict[str, set[int]] = {}
    for index, text in enumerate(order):
        places = set()
        for side in (reversed(apart[:index]), apart[index:]):
            least: int | None = None
            for place in side:
                least = place if least is None else min(least, place)
                places.add(least)
        found[text] = places or {0}
    return [found[text] for text in texts]


def _common(one: str, other: str) -> int:
    """How many characters two texts have in common at their beginning."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one.startswith(other[:middle]):
            low = middle
        else:
            high = middle - 1
    return low


def _spans(text: str, places: Iterable[int], around: int) -> list[tuple[int, int]]:
    """The pieces of a text around these places, from a word's beginning to a word's end where one is near."""
    found: list[tuple[int, int]] = []
    for place in sorted(places):
        start, end = max(0, place - around), min(len(text), place + around)
        if start:
            blank = text.rfind(" ", max(0, start - around // 2), start)
            start = blank + 1 if blank >= 0 else start
        if end < len(text):
            blank = text.find(" ", end, end + around // 2)
            end = blank if blank >= 0 else end
        start, end = 0 if start <= _GAP else start, len(text) if len(text) - end <= _GAP else end
        if found and start - found[-1][1] <= _GAP:
            before = found.pop()
            start, end = before[0], max(before[1], end)
        found.append((start, end))
    return found


def _cut(parts: Sequence[Part], length: int, spans: Sequence[tuple[int, int]]) -> tuple[Part, ...]:
    """These pieces of the text that the parts make, in the tones of the parts."""
    found: list[Part] = []
    if spans[0][0]:
        found.append(Part(_ELLIPSIS))
    for start, end in spans:
        at = 0
        for part in parts:
            text = part.text[max(0, start - at) : max(0, end - at)]
            if text:
                found.append(Part(text, part.tone))
            at += len(part.text)
        if end < length:
            found.append(Part(f" {_ELLIPSIS} "))
    return tuple(found)


def _visible(text: str) -> str:
    """What is seen of a text."""
    seen = "".join(letter for letter in text if letter == " " or unicodedata.category(letter) not in _HIDDEN - {"Mn"})
    return unicodedata.normalize("NFC", seen)


def _identity(value: Any) -> str:
    """The same for two values that mean the same to a service: 7 and 7.0."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, sort_keys=True, default=str)


def _exact(value: Any) -> str:
    """A value as JSON in which nothing is hidden."""
    if isinstance(value, InputImage):
        return f"{value.name} ({value.content_sha256[:6]})"
    text = _EDGE_SPACE.sub(r"\\u0020", json.dumps(value, ensure_ascii=False, default=str))
    return "".join(
        letter if letter == " " or unicodedata.category(letter) not in _HIDDEN else json.dumps(letter)[1:-1]
        for letter in text
    )
