"""Mark the words by which texts differ. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import groupby
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Mark", "Piece", "mark_words"]

Mark = Literal["same", "some", "only"]

# Numbers whole, words whole; letters of scripts without spaces one by one, as is all punctuation.
_TOKEN = re.compile(r"\d+(?:\.\d+)?|[\u2e80-\u9fff\uac00-\ud7af\uff00-\uffef]|\w+|\s+|[^\w\s]")
_MAX_ALIGNED_TOKENS = 3000  # of all texts together; aligning takes quadratic time


@dataclass(frozen=True, slots=True)
class Piece:
    """Part of a text: words in all texts (`same`), in some others (`some`), or in no other text (`only`)."""

    text: str
    mark: Mark = "same"


def mark_words(texts: Sequence[str]) -> list[tuple[Piece, ...]]:
    """Split each text into pieces by which words the other texts have, in the same order.

    With two texts, every difference is `only`. With more, a word in some of the others is `some`, so that a word in one
    text alone is still distinguished. Equal texts count once.
    """
    different = list(dict.fromkeys(texts))
    tokens = [_TOKEN.findall(text) for text in different]
    found = {
        text: _pieces(words, shared, len(different) - 1)
        for text, words, shared in zip(different, tokens, _shared(tokens), strict=True)
    }
    return [found[text] for text in texts]


def _shared(tokens: Sequence[list[str]]) -> list[list[int]]:
    """Return for each word of each text how many other texts have it."""
    counts = [[0] * len(words) for words in tokens]
    is_short = sum(map(len, tokens)) <= _MAX_ALIGNED_TOKENS
    for one, words in enumerate(tokens):
        for other in range(one + 1, len(tokens)):
            pairs = _aligned(words, tokens[other]) if is_short else _contained(words, tokens[other])
            for here, there in pairs:
                if here is not None:
                    counts[one][here] += 1
                if there is not None:
                    counts[other][there] += 1
    return counts


def _aligned(one: list[str], other: list[str]) -> Iterator[tuple[int | None, int | None]]:
    matcher = SequenceMatcher(None, one, other, autojunk=False)
    for block in matcher.get_matching_blocks():
        for offset in range(block.size):
            yield block.a + offset, block.b + offset


def _contained(one: list[str], other: list[str]) -> Iterator[tuple[int | None, int | None]]:
    both = set(one) & set(other)
    yield from ((index, None) for index, word in enumerate(one) if word in both)
    yield from ((None, index) for index, word in enumerate(other) if word in both)


def _pieces(words: list[str], shared: list[int], others: int) -> tuple[Piece, ...]:
    marks: list[Mark] = ["same" if count == others else "some" if count else "only" for count in shared]
    for index, word in enumerate(words):
        if word.isspace():  # a space goes with the words around it where they are marked alike
            before = marks[index - 1] if index else "same"
            after = marks[index + 1] if index + 1 < len(words) else "same"
            marks[index] = before if before == after else "same"
    pairs = zip(marks, words, strict=True)
    return tuple(
        Piece("".join(word for _, word in group), mark) for mark, group in groupby(pairs, key=lambda pair: pair[0])
    )
