"""Parts of captions and legends: short names of fields, values as typed, letters, differing words. Pure."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from comflowy_nb.layout.text import Part
from comflowy_nb.workflow.fields import WRAPPED
from comflowy_nb.workflow.images import InputImage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from comflowy_nb.layout.text import Tone

__all__ = [
    "LONG_TEXT",
    "add_part",
    "bare_name",
    "letter_of",
    "name_fields",
    "seeds_of",
    "stand_out",
    "write_value",
]

LONG_TEXT = 28  # characters: a longer text gets a paragraph of its own, or a letter and a legend
_SEPARATOR = " \N{MIDDLE DOT} "


def write_value(value: Any) -> str:
    """Return a value as it is typed, on one line."""
    if isinstance(value, InputImage):
        value = value.name
    if isinstance(value, str):
        return " ".join(value.split())
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, dict) and set(value) == {WRAPPED}:
        value = value[WRAPPED]
    return json.dumps(value, ensure_ascii=False, default=str)


def name_fields(field_ids: Iterable[str]) -> dict[str, str]:
    """Return the short name of each field by its id; the id itself where two fields have the same name."""
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


def stand_out(texts: Sequence[str]) -> list[tuple[Part, ...]]:
    """Split texts into parts: words that all texts contain are plain, the others strong."""
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
