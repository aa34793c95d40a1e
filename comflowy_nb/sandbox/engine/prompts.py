"""Convert prompts to weights of the parts of a scene.

A small vocabulary maps words to tags (galaxy, nebula and cosmos are one tag). Each word, known or not, also has a small
fixed bias towards each part, so that every word has an effect. `(word:1.3)` and `(word)` weigh as in ComfyUI.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from comflowy_nb.sandbox.engine.layers import SCENES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SYNONYMS: Final[dict[str, str]] = {word: tag for tag, words in SCENES["vocabulary"].items() for word in words.split()}
_LIGHT: Final[Mapping[str, list[float]]] = SCENES["light"]  # exposure in stops, warmth, saturation: each about +-0.5
_TOKEN: Final = re.compile(r"\\[()]|[()]|:\s*([-+]?\d*\.?\d+)\s*\)|[^\W\d_]+|\d+")
_MAX_WEIGHT: Final = 3.0


@dataclass(frozen=True, slots=True)
class Conditioning:
    """A prompt as weights.

    Parameters
    ----------
    tags : mapping of str to float
        Tag -> weight; 1 for one plain mention.
    words : mapping of str to float
        Word -> weight.
    """

    tags: Mapping[str, float]
    words: Mapping[str, float]

    def lean(self, names: Iterable[str]) -> np.ndarray:
        """Return the fixed bias of the words for each name, between about -1 and 1."""
        names = list(names)
        total = np.zeros(len(names))
        for word, weight in self.words.items():
            total += weight * np.array([_lean(word, name) for name in names])
        return np.asarray(total / max(4, len(self.words)) ** 0.5)

    @property
    def light(self) -> np.ndarray:
        """Exposure in stops, warmth and saturation.

        Longer prompts are more colourful, so that high guidance oversaturates, as it does with real models.
        """
        light = np.zeros(3)
        for tag, weight in self.tags.items():
            light += weight * np.array(_LIGHT.get(tag, (0.0, 0.0, 0.0)))
        light[2] += 0.1 * np.tanh(sum(map(abs, self.tags.values())) / 2)
        return np.clip(light, -0.8, 0.8) + 0.02 * self.lean(("exposure", "warmth", "saturation"))


def read_prompt(text: str) -> Conditioning:
    """Return the weights of a prompt. Each repetition of a word adds half of its weight."""
    words: dict[str, float] = {}
    for word, weight in _weigh(text):
        plain = word.lower()
        before = words.get(plain)
        words[plain] = weight if before is None else min(_MAX_WEIGHT, before + 0.5 * weight)
    tags: dict[str, float] = {}
    for word, weight in words.items():
        tag = SYNONYMS.get(word) or SYNONYMS.get(_singular(word))
        if tag:
            tags[tag] = min(_MAX_WEIGHT, tags.get(tag, 0.0) * 0.5 + weight)
    return Conditioning(tags, words)


def _weigh(text: str) -> list[tuple[str, float]]:
    weighted: list[tuple[str, float]] = []
    opened: list[int] = []  # index in `weighted` at which each open bracket began
    for token in _TOKEN.finditer(text):
        match token[0]:
            case "(":
                opened.append(len(weighted))
            case part if part.endswith(")") and not part.startswith("\\"):
                factor = float(token[1]) if token[1] else 1.1
                start = opened.pop() if opened else len(weighted)
                factor = min(max(factor, -_MAX_WEIGHT), _MAX_WEIGHT)
                weighted[start:] = [(word, weight * factor) for word, weight in weighted[start:]]
            case part if part[0] != "\\":
                weighted.append((part, 1.0))
    return weighted


def _singular(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    if word.endswith("s") and len(word) > 3:
        return word[:-1]
    return word


def _lean(word: str, name: str) -> float:
    digest = hashlib.blake2b(f"{word}\0{name}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**63 - 1  # 8 bytes scaled to -1 to 1
