"""From the axes of a sweep to its cells: their params, their seeds, and the order in which they are run."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from comflowy_nb.workflow.axes.types import Cell
from comflowy_nb.workflow.canonical import canonical_json

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from comflowy_nb.workflow.axes.types import Axes, Axis, AxisValue, SeedWord

__all__ = ["even_order", "expand", "replace_words"]

_TRIES = 1000  # draws for a seed that differs from the others; `read_axes` sees to it that half of all draws do


def expand(
    axes: Axes, *, workflow_content: object, identity: str, seed_of: Callable[[str, tuple[str, ...]], int]
) -> list[Cell]:
    """Every combination of the axis values; the first axis varies slowest.

    Parameters
    ----------
    workflow_content
        The workflow's id, or its graph as nodes (`Workflow.content`).
    identity
        The service, as the same-request rule names it.
    seed_of
        Gives the seed for a draw and the fields that share it: the one that is remembered under the draw's key, else a
        new one, and the same for as long as the sweep goes on. A key holds the service, the workflow, the fixed params,
        the axes' names and the cell's values, but for `random` no cell, and for `random#N` only its number; so growing
        an axis, or giving the axes in another order, changes no seed.
    """
    draws = _Draws(axes, workflow_content, identity, seed_of)
    shared = {name: draws.one(wish.fields, {}) for wish in axes.seeds if wish.word == "random" for name in wish.fields}
    columns = [
        draws.axis(axis) if axis.kind == "seeds" else [value.params for value in axis.values] for axis in axes.axes
    ]
    each = [wish for wish in axes.seeds if wish.word == "each"]
    order = {name: place for place, name in enumerate(axes.set_params)}
    cells = []
    for number, at in enumerate(itertools.product(*map(range, axes.shape)), 1):
        params = dict(axes.fixed) | shared
        for column, index in zip(columns, at, strict=True):
            params |= column[index]
        chosen = [(axis, axis.values[index]) for axis, index in zip(axes.axes, at, strict=True)]
        params |= _replaced(axes.texts, chosen)
        if each:
            params |= draws.each(each, chosen, at)
        ordered = dict(sorted(params.items(), key=lambda item: order.get(item[0], len(order))))
        cells.append(Cell(number, at, ordered, {axis.name: value.label for axis, value in chosen}))
    return cells


def replace_words(text: str, words: Mapping[str, str], found: set[str] | None = None) -> str:
    """The text with all words replaced at once, so that none is found in what another was replaced by.

    The words that were found are put into `found`. Of two that begin at the same place the longer one is taken.
    """
    if not words:
        return text

    def put(match: re.Match[str]) -> str:
        if found is not None:
            found.add(match[0])
        return words[match[0]]

    return re.sub("|".join(re.escape(word) for word in sorted(words, key=len, reverse=True)), put, text)


def even_order(shape: Sequence[int]) -> list[int]:
    """The indices of all cells in an order that fills the grid evenly from its start: coarse to fine.

    Parameters
    ----------
    shape
        The number of values on each axis.

    Returns
    -------
    Indices as the cells are numbered, from 0: the last axis varies fastest.
    """
    bits = [max(size - 1, 0).bit_length() for size in shape]
    depth = max(bits, default=0)

    def place(at: tuple[int, ...]) -> list[int]:
        digits = []
        for level in range(depth):
            before = 0
            for index, width in zip(at, bits, strict=True):
                if level < width:
                    bit = index >> (width - 1 - level) & 1
                    digits.append(bit ^ before)  # the far corner before the near ones
                    before = bit
        return digits[::-1]  # the coarsest digit counts least: all halves, then all quarters ...

    cells = list(itertools.product(*map(range, shape)))
    return sorted(range(len(cells)), key=lambda index: place(cells[index]))


def _replaced(texts: Mapping[str, str], chosen: Sequence[tuple[Axis, AxisValue]]) -> dict[str, str]:
    return {
        name: replace_words(
            text,
            {
                axis.name: value.word
                for axis, value in chosen
                if axis.kind == "replace" and name in axis.fields and value.word is not None
            },
        )
        for name, text in texts.items()
    }


class _Draws:
    def __init__(
        self, axes: Axes, content: object, identity: str, seed_of: Callable[[str, tuple[str, ...]], int]
    ) -> None:
        if isinstance(content, Mapping):  # titles are no part of what is run
            content = {node: {key: one[key] for key in one if key != "_meta"} for node, one in content.items()}
        names = sorted(map(_canonical_name, axes.axes))
        self._base = _sha256([identity, content, dict(axes.fixed), dict(axes.texts), names])
        self._seed_of = seed_of

    def one(self, fields: tuple[str, ...], at: Mapping[str, Any], again: int = 0) -> int:
        key = _sha256([self._base, sorted(fields), dict(at), *([again] if again else [])])
        return self._seed_of(key, fields)

    def axis(self, axis: Axis) -> list[dict[str, int]]:
        """The seeds of `random#N`, no two alike."""
        found: list[int] = []
        for index in range(len(axis.values)):
            at = {_canonical_name(axis): index}
            draws = (self.one(axis.fields, at, again) for again in range(_TRIES))
            found.append(next(seed for seed in draws if seed not in found))
        return [dict.fromkeys(axis.fields, seed) for seed in found]

    def each(
        self, wishes: Sequence[SeedWord], chosen: Sequence[tuple[Axis, AxisValue]], at: Sequence[int]
    ) -> dict[str, int]:
        place: dict[str, Any] = {}
        for (axis, value), index in zip(chosen, at, strict=True):
            name = _canonical_name(axis)
            place[name] = index if axis.kind == "seeds" else value.params if value.word is None else value.word
        return {name: seed for wish in wishes for seed in [self.one(wish.fields, place)] for name in wish.fields}


def _canonical_name(axis: Axis) -> str:
    """What an axis varies, whatever it was called: an alias of a field draws the seeds of the field."""
    fields = " ".join(sorted(axis.fields))
    match axis.kind:
        case "preset":  # its fields may grow with it
            return f"preset {axis.name}"
        case "replace":
            return f"replace {fields} {axis.name}"
        case _:
            return f"{axis.kind} {fields}"


def _sha256(value: object) -> str:
    return hashlib.sha256(canonical_json(value).encode("utf-8", "surrogatepass")).hexdigest()
