"""From the axes of a sweep to its cells: their params, their seeds, and the order in which they are run."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from comflowy_nb.workflow.axes.types import Cell
from comflowy_nb.workflow.workflow import canonical_json

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from comflowy_nb.workflow.axes.types import Axes, Axis, AxisValue, SeedWord

__all__ = ["even_order", "expand", "replace_words"]

_MAX_TRIES = 1000  # for a seed that differs from the others; `seed_values` ensures that at least half of them do


def expand(
    axes: Axes, *, workflow_content: object, identity: str, seed_of: Callable[[str, tuple[str, ...]], int]
) -> list[Cell]:
    """Return a cell for every combination of the axis values; the first axis varies slowest.

    Parameters
    ----------
    workflow_content
        The workflow's id, or its graph as nodes (`Workflow.content`).
    identity
        The service, as the same-request rule names it.
    seed_of
        Return the seed for a key and the fields that share it: the stored one, else a new one, which must stay the same
        during the sweep. The key is a hash of the service, the workflow, the fixed params, the names of the axes and
        the values of the cell; for `random` without the cell, for `random#N` with its index only. So a longer axis, or
        another order of the axes, changes no seed.
    """
    seeds = _SeedSource(axes, workflow_content, identity, seed_of)
    shared = {name: seeds.of(word.fields, {}) for word in axes.seeds if word.word == "random" for name in word.fields}
    columns = [
        seeds.of_axis(axis) if axis.kind == "seeds" else [value.params for value in axis.values] for axis in axes.axes
    ]
    cell_words = [word for word in axes.seeds if word.word == "each"]
    order = {name: index for index, name in enumerate(axes.set_params)}
    cells = []
    for number, at in enumerate(itertools.product(*map(range, axes.shape)), 1):
        params = dict(axes.fixed) | shared
        for column, index in zip(columns, at, strict=True):
            params |= column[index]
        chosen = [(axis, axis.values[index]) for axis, index in zip(axes.axes, at, strict=True)]
        params |= _replaced(axes.texts, chosen)
        if cell_words:
            params |= seeds.of_cell(cell_words, chosen, at)
        ordered = dict(sorted(params.items(), key=lambda item: order.get(item[0], len(order))))
        cells.append(Cell(number, at, ordered, {axis.name: value.label for axis, value in chosen}))
    return cells


def replace_words(text: str, words: Mapping[str, str], found: set[str] | None = None) -> str:
    """Return the text with all words replaced at once, so that none is found in what another was replaced by.

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
    """Return the indices of all cells in an order that fills the grid evenly from its start: coarse to fine.

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

    def bits_reversed(at: tuple[int, ...]) -> list[int]:
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
    return sorted(range(len(cells)), key=lambda index: bits_reversed(cells[index]))


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


class _SeedSource:
    def __init__(
        self, axes: Axes, content: object, identity: str, seed_of: Callable[[str, tuple[str, ...]], int]
    ) -> None:
        if isinstance(content, Mapping):  # titles do not change the run
            content = {node: {key: one[key] for key in one if key != "_meta"} for node, one in content.items()}
        names = sorted(map(_canonical_name, axes.axes))
        self._base = _sha256([identity, content, dict(axes.fixed), dict(axes.texts), names])
        self._seed_of = seed_of

    def of(self, fields: tuple[str, ...], at: Mapping[str, Any], again: int = 0) -> int:
        key = _sha256([self._base, sorted(fields), dict(at), *([again] if again else [])])
        return self._seed_of(key, fields)

    def of_axis(self, axis: Axis) -> list[dict[str, int]]:
        """Return the seeds of `random#N`, no two alike."""
        found: list[int] = []
        for index in range(len(axis.values)):
            at = {_canonical_name(axis): index}
            candidates = (self.of(axis.fields, at, again) for again in range(_MAX_TRIES))
            found.append(next(seed for seed in candidates if seed not in found))
        return [dict.fromkeys(axis.fields, seed) for seed in found]

    def of_cell(
        self, words: Sequence[SeedWord], chosen: Sequence[tuple[Axis, AxisValue]], at: Sequence[int]
    ) -> dict[str, int]:
        position: dict[str, Any] = {}
        for (axis, value), index in zip(chosen, at, strict=True):
            name = _canonical_name(axis)
            position[name] = index if axis.kind == "seeds" else value.params if value.word is None else value.word
        return {name: seed for word in words for seed in [self.of(word.fields, position)] for name in word.fields}


def _canonical_name(axis: Axis) -> str:
    """Return a name for an axis that does not depend on aliases, so that an alias gets the seeds of its field."""
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
