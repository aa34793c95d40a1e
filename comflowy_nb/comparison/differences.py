"""Find the fields in which several images differ, and the words in which texts differ. Pure."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from itertools import combinations, groupby
from typing import TYPE_CHECKING, Any, Literal

from comflowy_nb.layout.text import shorten
from comflowy_nb.layout.value_text import LONG_TEXT, identity_of, name_fields, seeds_of, write_value

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


Mark = Literal["same", "some", "only"]

_MAX_SHARED_CHARS = 60  # maximum length of a value that all images share
_MAX_ALIGNED_TOKENS = 3000  # in all texts together, because aligning takes quadratic time

# A token is a number, a word, one letter of a script without spaces, white space, or one punctuation mark.
_TOKEN = re.compile(r"\d+(?:\.\d+)?|[\u2e80-\u9fff\uac00-\ud7af\uff00-\uffef]|\w+|\s+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of a text: words in all texts (`same`), in some others (`some`), or in no other text (`only`)."""

    text: str
    mark: Mark = "same"


_UNSET = Piece("not set")  # instead of the value of a field that was not set
_UNKNOWN = Piece("?")  # instead of an unknown value


# -- fields --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class KnownFields:
    """The known fields of the run that generated an image.

    Attributes
    ----------
    params
        The submitted values; None if unknown, as for a file.
    set_params
        The ids of the fields that the user set.
    others
        The values in the graph of the image, also those that were not submitted; None if unknown.
    facts
        The names of the `workflow` and the `service`.
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
        """All known values by field id, submitted or not."""
        return {**(self.others or {}), **(self.params or {})}


@dataclass(frozen=True, slots=True)
class FieldRow:
    """One field in which the images differ. The value of each image is split into pieces."""

    name: str
    values: tuple[tuple[Piece, ...], ...]
    is_long: bool = False
    is_known: tuple[bool, ...] = ()  # False if the value is not set or unknown

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple("".join(piece.text for piece in value) for value in self.values)


@dataclass(frozen=True, slots=True)
class Differences:
    """The fields that differ between images, and the set fields that are equal in all images."""

    rows: tuple[FieldRow, ...]
    shared: tuple[tuple[str, str], ...] = ()
    seeds_differ: bool = False


def find_differences(images: Sequence[KnownFields], *, sizes: Sequence[tuple[int, int]] = ()) -> Differences:
    """Compare the fields of several images.

    An unknown value is not a difference. A value that is not set is a difference if it is set in another image.

    Parameters
    ----------
    images
        The known fields of each image.
    sizes
        Width and height of each image in pixels. A row shows them if they differ.
    """
    facts: dict[str, list[str | None]] = {
        "workflow": [known.facts.get("workflow") for known in images],
        "service": [known.facts.get("service") for known in images],
        "size": [f"{width} \N{MULTIPLICATION SIGN} {height}" for width, height in sizes],
    }
    rows = [_fact_row(name, texts) for name, texts in facts.items() if len({*texts} - {None}) > 1]
    keys = _ordered_keys(images)
    values = {key: [_look_up(key, known, images) for known in images] for key in keys}
    different = [key for key in keys if len(_identities(values[key])) > 1]
    was_set = {key for known in images for key in known.set_params}
    seeds = {key for known in images for key in seeds_of(known.everything)}
    is_comparable = sum(known.is_known for known in images) > 1
    common = [key for key in keys if is_comparable and key not in different and key in was_set | seeds]
    names = name_fields([*different, *common])
    rows += sorted((_field_row(names[key], values[key]) for key in different), key=lambda row: row.is_long)
    shared = []
    for key in common:
        text = write_value(next(value for value in values[key] if value is not _UNKNOWN))
        shared.append((names[key], shorten(text, _MAX_SHARED_CHARS) or '""'))
    return Differences(tuple(rows), tuple(shared), bool(seeds & set(different)))


def _ordered_keys(images: Sequence[KnownFields]) -> list[str]:
    """Return all field ids, each once.

    First the ids that the user set, then the other submitted ids, then the ids known only from the graph.
    """
    chosen = [key for known in images for key in known.set_params if key in (known.params or {})]
    submitted = [key for known in images for key in known.params or {}]
    others = [key for known in images for key in known.others or {}]
    return list(dict.fromkeys((*chosen, *submitted, *others)))


def _look_up(key: str, known: KnownFields, images: Sequence[KnownFields]) -> Any:
    everything = known.everything
    if key in everything:
        return everything[key]
    if not known.is_known:
        return _UNKNOWN
    # A field known only from the graph of another image is unknown here.
    is_submitted_by_any = any(key in (other.params or {}) for other in images)
    return _UNSET if is_submitted_by_any or known.others is not None else _UNKNOWN


def _identities(values: Sequence[Any]) -> set[object]:
    return {value if value is _UNSET else identity_of(value) for value in values if value is not _UNKNOWN}


def _field_row(name: str, values: Sequence[Any]) -> FieldRow:
    known_values = [value for value in values if not isinstance(value, Piece)]
    texts = {identity_of(value): write_value(value) for value in known_values}
    if len(set(texts.values())) < len(texts):  # the values differ in a late digit or in white space
        texts = {identity_of(value): json.dumps(value, ensure_ascii=False, default=str) for value in known_values}
    value_texts = [texts[identity_of(value)] for value in known_values]
    is_prose = all(isinstance(value, str) for value in known_values) and any(" " in text for text in value_texts)
    marked = (
        mark_words(value_texts)
        if is_prose and len(known_values) > 1
        else [(Piece(text or '""'),) for text in value_texts]
    )
    pieces = iter(marked)
    return FieldRow(
        name,
        tuple((value,) if isinstance(value, Piece) else next(pieces) or (Piece('""'),) for value in values),
        is_long=any(len(text) > LONG_TEXT for text in value_texts),
        is_known=tuple(not isinstance(value, Piece) for value in values),
    )


def _fact_row(name: str, texts: Sequence[str | None]) -> FieldRow:
    return FieldRow(
        name,
        tuple((_UNKNOWN if text is None else Piece(text),) for text in texts),
        is_known=tuple(text is not None for text in texts),
    )


# -- words ---------------------------------------------------------------------------------------------------------


def mark_words(texts: Sequence[str]) -> list[tuple[Piece, ...]]:
    """Split each text into pieces, and mark the words that other texts do not have in the same order.

    With two texts, every difference is marked `only`. With more texts, a word that some others have is marked `some`,
    and `only` marks a word of one text alone. Equal texts count once.
    """
    different = list(dict.fromkeys(texts))
    tokens = [_TOKEN.findall(text) for text in different]
    pieces = {
        text: _split_at_marks(words, counts, len(different) - 1)
        for text, words, counts in zip(different, tokens, _count_others(tokens), strict=True)
    }
    return [pieces[text] for text in texts]


def _count_others(texts: Sequence[list[str]]) -> list[list[int]]:
    """Return, for each token of each text, the number of other texts that contain it."""
    counts = [[0] * len(tokens) for tokens in texts]
    is_short = sum(map(len, texts)) <= _MAX_ALIGNED_TOKENS
    for (i, first), (j, second) in combinations(enumerate(texts), 2):
        if is_short:
            blocks = SequenceMatcher(None, first, second, autojunk=False).get_matching_blocks()
            shared_first = [block.a + offset for block in blocks for offset in range(block.size)]
            shared_second = [block.b + offset for block in blocks for offset in range(block.size)]
        else:
            shared = set(first) & set(second)
            shared_first = [index for index, token in enumerate(first) if token in shared]
            shared_second = [index for index, token in enumerate(second) if token in shared]
        for index in shared_first:
            counts[i][index] += 1
        for index in shared_second:
            counts[j][index] += 1
    return counts


def _split_at_marks(tokens: list[str], counts: list[int], others: int) -> tuple[Piece, ...]:
    marks: list[Mark] = ["same" if count == others else "some" if count else "only" for count in counts]
    for index, token in enumerate(tokens):
        if token.isspace():  # white space gets the mark of the words around it if both have the same mark
            before = marks[index - 1] if index else "same"
            after = marks[index + 1] if index + 1 < len(tokens) else "same"
            marks[index] = before if before == after else "same"
    groups = groupby(zip(marks, tokens, strict=True), key=lambda pair: pair[0])
    return tuple(Piece("".join(token for _, token in group), mark) for mark, group in groups)
