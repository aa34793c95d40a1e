"""What captions and legends are made of: parts of text, short names of fields, values as typed, letters. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from comflowy_nb.workflow.fields import WRAPPED
from comflowy_nb.workflow.images import InputImage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = [
    "Cell",
    "Paragraph",
    "Part",
    "Section",
    "Sheet",
    "Tile",
    "Tone",
    "add_part",
    "bare_name",
    "letter_of",
    "name_fields",
    "seeds_of",
    "stand_out",
    "write_value",
]

Tone = Literal["text", "muted", "strong", "title", "error", "small"]

LONG_TEXT = 28  # characters: a longer text gets a paragraph of its own, or a letter and a legend
_SEPARATOR = " \N{MIDDLE DOT} "


@dataclass(frozen=True, slots=True)
class Part:
    """Some words in one tone."""

    text: str
    tone: Tone = "text"


@dataclass(frozen=True, slots=True)
class Paragraph:
    """Words that flow; what goes beyond `max_lines` ends in an ellipsis."""

    parts: tuple[Part, ...]
    max_lines: int = 3


@dataclass(frozen=True, slots=True)
class Tile:
    """One rectangle: an image, or a note in its place."""

    run: int  # position of the run in the grid
    image: int | None = None  # index of the image within its run
    size_px: tuple[int, int] | None = None
    note: str | None = None
    is_error: bool = False


@dataclass(frozen=True, slots=True)
class Cell:
    """What belongs together in a grid: an image, or the mosaic of all images of a run, and its caption."""

    tiles: tuple[Tile, ...]
    caption: tuple[Paragraph, ...] = ()
    title: str | None = None


@dataclass(frozen=True, slots=True)
class Section:
    """Cells under one heading: the images of one node."""

    cells: tuple[Cell, ...]
    title: str | None = None


@dataclass(frozen=True, slots=True)
class Sheet:
    """A whole grid, before anything is measured."""

    sections: tuple[Section, ...]
    head: tuple[Paragraph, ...] = ()
    foot: tuple[Paragraph, ...] = ()
    legend: tuple[Paragraph, ...] = field(default=())


def write_value(value: Any) -> str:
    """A value as a person would type it, on one line."""
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
    """Field id -> the short name of the field, or the id itself where two would read the same."""
    ids = list(dict.fromkeys(field_ids))
    names = [bare_name(field_id) for field_id in ids]
    return {field_id: name if names.count(name) == 1 else field_id for field_id, name in zip(ids, names, strict=True)}


def seeds_of(params: Mapping[str, Any]) -> dict[str, int]:
    """The seeds among params: whole numbers in fields whose name contains `seed`."""
    return {
        key: value
        for key, value in params.items()
        if "seed" in bare_name(key) and isinstance(value, int) and not isinstance(value, bool)
    }


def add_part(parts: list[Part], name: str, text: str, *, tone: Tone = "text") -> None:
    """`name text` behind what is there, with a dot between."""
    if parts:
        parts.append(Part(_SEPARATOR, "muted"))
    if name:
        parts.append(Part(f"{name} ", "muted"))
    parts.append(Part(text or '""', tone))


def letter_of(position: int) -> str:
    """A, B ... Z, AA, AB ..."""
    word = ""
    position += 1
    while position:
        position, rest = divmod(position - 1, 26)
        word = chr(ord("A") + rest) + word
    return word


def stand_out(texts: Sequence[str]) -> list[tuple[Part, ...]]:
    """The texts in parts: words that every text has are plain, the others strong."""
    common = set.intersection(*(set(text.split()) for text in texts)) if len(texts) > 1 else set()
    found = []
    for text in texts:
        parts: list[Part] = []
        for word in text.split():
            tone: Tone = "text" if word in common else "strong"
            if parts and parts[-1].tone == tone:
                parts[-1] = Part(f"{parts[-1].text} {word}", tone)
            else:
                parts.append(Part(f" {word}" if parts else word, tone))
        found.append(tuple(parts))
    return found


def bare_name(field_id: str) -> str:
    """The name of a field without its node."""
    return field_id.split("::", 1)[-1]
