"""Compare the fields that made several images. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from comflowy_nb.comparison.text_diff import Piece, mark_words
from comflowy_nb.layout.captions import LONG_TEXT, name_fields, seeds_of, write_value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["Differences", "FieldRow", "Maker", "find_differences"]

_MAX_SHARED_CHARS = 60  # of a value that all images share
_NOT_SET = (Piece("not set"),)
_NOT_KNOWN = (Piece("?"),)


@dataclass(frozen=True, slots=True)
class Maker:
    """The known fields of the run that made an image.

    Attributes
    ----------
    params
        The values sent; None if unknown, as for a file.
    set_params
        The ids of the fields that the user set.
    others
        The values not sent, from the graph in the image; None if unknown.
    facts
        Other facts by name: the workflow, the service.
    """

    params: Mapping[str, Any] | None = None
    set_params: tuple[str, ...] = ()
    others: Mapping[str, Any] | None = None
    facts: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_known(self) -> bool:
        return self.params is not None or self.others is not None

    @property
    def everything(self) -> dict[str, Any]:
        """Field id -> value, for all known values."""
        return {**(self.others or {}), **(self.params or {})}


@dataclass(frozen=True, slots=True)
class FieldRow:
    """One field in which the images differ, with the value of each in pieces."""

    name: str
    values: tuple[tuple[Piece, ...], ...]
    is_long: bool = False
    is_known: tuple[bool, ...] = ()  # False if the value is not set or unknown

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple("".join(piece.text for piece in value) for value in self.values)


@dataclass(frozen=True, slots=True)
class Differences:
    """The fields that differ, and name and value of the fields that the user set and all share."""

    rows: tuple[FieldRow, ...]
    shared: tuple[tuple[str, str], ...] = ()
    seeds_differ: bool = False


def find_differences(makers: Sequence[Maker], *, sizes: Sequence[tuple[int, int]] = ()) -> Differences:
    """Compare the fields of several images.

    An unknown value is not a difference. A value not set is one, if another image has it set.

    Parameters
    ----------
    sizes
        Width and height of the images in pixels: a row of their own where they differ.
    """
    rows = [row for name in ("workflow", "service") if (row := _fact_row(name, makers))]
    if len(set(sizes)) > 1:
        rows.append(_plain_row("size", [f"{width} \N{MULTIPLICATION SIGN} {height}" for width, height in sizes]))
    keys = _keys(makers)
    values = {key: [_look_up(key, maker, makers) for maker in makers] for key in keys}
    different = [key for key in keys if len({_identity(value) for value in values[key] if value is not _UNKNOWN}) > 1]
    was_set = {key for maker in makers for key in maker.set_params}
    seeds = {key for maker in makers for key in seeds_of(maker.everything)}
    is_comparable = sum(maker.is_known for maker in makers) > 1
    common = [key for key in keys if is_comparable and key not in different and key in was_set | seeds]
    names = name_fields([*different, *common])
    found = [_field_row(names[key], values[key]) for key in different]
    rows += [row for row in found if not row.is_long] + [row for row in found if row.is_long]
    shared = [
        (names[key], _shorten(write_value(next(value for value in values[key] if value is not _UNKNOWN))))
        for key in common
    ]
    return Differences(tuple(rows), tuple(shared), bool(seeds & set(different)))


class _Missing:
    """Marker for a value that is not set or not known."""

    __slots__ = ("pieces",)

    def __init__(self, pieces: tuple[Piece, ...]) -> None:
        self.pieces = pieces


_UNSET = _Missing(_NOT_SET)
_UNKNOWN = _Missing(_NOT_KNOWN)


def _keys(makers: Sequence[Maker]) -> list[str]:
    """Return all fields: first those the user set, in their order, then the others that were sent, then the rest."""
    chosen = [key for maker in makers for key in maker.set_params if key in (maker.params or {})]
    sent = [key for maker in makers for key in maker.params or {}]
    others = [key for maker in makers for key in maker.others or {}]
    return list(dict.fromkeys((*chosen, *sent, *others)))


def _look_up(key: str, maker: Maker, makers: Sequence[Maker]) -> Any:
    everything = maker.everything
    if key in everything:
        return everything[key]
    if not maker.is_known:
        return _UNKNOWN
    # A field known only from the graph of another image is unknown here.
    is_sent_by_any = any(key in (other.params or {}) for other in makers)
    return _UNSET if is_sent_by_any or maker.others is not None else _UNKNOWN


def _identity(value: Any) -> object:
    """Return a key that is equal for values equal to a service: 7 and 7.0, but not 7.1234567 and 7.1234568."""
    if isinstance(value, _Missing):
        return value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, sort_keys=True, default=str)


def _field_row(name: str, values: Sequence[Any]) -> FieldRow:
    known = [value for value in values if not isinstance(value, _Missing)]
    texts = {_identity(value): write_value(value) for value in known}
    if len(set(texts.values())) < len(texts):  # they differ in a late digit or in white space
        texts = {_identity(value): json.dumps(value, ensure_ascii=False, default=str) for value in known}
    written = [texts[_identity(value)] for value in known]
    is_prose = all(isinstance(value, str) for value in known) and any(" " in text for text in written)
    marked = mark_words(written) if is_prose and len(known) > 1 else [(Piece(text or '""'),) for text in written]
    pieces = iter(marked)
    return FieldRow(
        name,
        tuple(value.pieces if isinstance(value, _Missing) else next(pieces) or (Piece('""'),) for value in values),
        is_long=any(len(text) > LONG_TEXT for text in written),
        is_known=tuple(not isinstance(value, _Missing) for value in values),
    )


def _fact_row(name: str, makers: Sequence[Maker]) -> FieldRow | None:
    texts = [maker.facts.get(name) for maker in makers]
    if len({text for text in texts if text is not None}) < 2:
        return None
    pieces = tuple((Piece(text),) if text is not None else _NOT_KNOWN for text in texts)
    return FieldRow(name, pieces, is_known=tuple(text is not None for text in texts))


def _plain_row(name: str, texts: Sequence[str]) -> FieldRow:
    return FieldRow(name, tuple((Piece(text),) for text in texts), is_known=(True,) * len(texts))


def _shorten(text: str) -> str:
    if len(text) <= _MAX_SHARED_CHARS:
        return text or '""'
    return text[: _MAX_SHARED_CHARS - 1].rstrip(" ,;") + "\N{HORIZONTAL ELLIPSIS}"
