"""Expand the axes of a sweep to cells: their params, their seeds, and the order in which they run."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from comflowy_nb.workflow.axes.types import Cell
from comflowy_nb.workflow.workflow import sha256_of, without_titles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from comflowy_nb.workflow.axes.types import Axes, Axis, AxisValue


_MAX_TRIES = 1000  # attempts to generate a different seed; at least half of all seeds are free


def expand(
    axes: Axes,
    *,
    workflow_content: object,
    identity: str,
    seed_of: Callable[[str, tuple[str, ...]], int],
    keeps: Callable[[Cell], bool] | None = None,
) -> list[Cell]:
    """Return a cell for every combination of the axis values. The first axis varies slowest.

    Parameters
    ----------
    workflow_content
        The workflow's id, or the nodes of its graph (`Workflow.content`).
    identity
        The identity of the service in the request key.
    seed_of
        Called with a key and the fields that share the seed. Returns the stored seed, or generates one, always the same
        for a key. The key is a hash of the service, the workflow, the fixed params, the names of the axes and, for
        `each`, the values of the cell, or for `random#N` the index of the seed. A longer axis, or another order of the
        axes, therefore does not change seeds.
    keeps
        Returns whether a cell is part of the sweep (`--where`); None keeps all. `axes.sample` chooses among the rest.
    """
    seeds = _SeedSource(axes, workflow_content, identity, seed_of)
    shared = {name: seeds.seed(word.fields, {}) for word in axes.seeds if word.word == "random" for name in word.fields}
    seed_columns = {axis.name: seeds.axis_seeds(axis) for axis in axes.simple if axis.kind == "seeds"}
    fields_per_seed = [word.fields for word in axes.seeds if word.word == "each"]
    order = {name: index for index, name in enumerate(axes.set_params)}
    cells: list[tuple[Cell, dict[str, Any]]] = []
    for at in itertools.product(*map(range, axes.shape)):
        pairs = [(axis, index) for group, index in zip(axes.axes, at, strict=True) for axis in group.simple]
        coordinates = {_canonical_name(axis): _identity(axis, index) for axis, index in pairs}
        params = dict(axes.fixed) | shared
        for fields in fields_per_seed:
            params |= dict.fromkeys(fields, seeds.seed(fields, coordinates))
        for axis, index in pairs:  # after the seeds: a table may set the seed of some rows
            params |= seed_columns[axis.name][index] if axis.kind == "seeds" else axis.values[index].params
        params |= _replaced_texts(axes.texts, [(axis, axis.values[index]) for axis, index in pairs])
        ordered = dict(sorted(params.items(), key=lambda item: order.get(item[0], len(order))))
        cell = Cell(0, at, ordered, axes.labels(at), axes.info(at))
        if keeps is None or keeps(cell):
            cells.append((cell, coordinates))
    if axes.sample is not None and axes.sample < len(cells):
        ranked = sorted(cells, key=lambda item: sha256_of([axes.sample_seed, item[1]]))
        cells = sorted(ranked[: axes.sample], key=lambda item: item[0].at)
    return [_number_cell(cell, number, axes.pinned) for number, (cell, _) in enumerate(cells, 1)]


def _number_cell(cell: Cell, number: int, pinned: Mapping[str, Sequence[int]]) -> Cell:
    """Return the cell with its number and its pinned seeds."""
    seeds = {name: values[number - 1] for name, values in pinned.items() if number <= len(values)}
    return replace(cell, number=number, params={**cell.params, **seeds})


def find_words(text: str, words: Iterable[str]) -> set[str]:
    """Return the words of `replace_words` that occur in a text."""
    return set(_any_of(words).findall(text))


def replace_words(text: str, words: Mapping[str, str]) -> str:
    """Replace all words in one pass, so that replacements are not replaced. The longest word at a position matches."""
    return _any_of(words).sub(lambda match: words[match[0]], text) if words else text


def _any_of(words: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(re.escape(word) for word in sorted(words, key=len, reverse=True)))


def even_order(positions: Sequence[Sequence[int]]) -> list[int]:
    """Return the indices of cells, from 0, in an order that fills their grid evenly, coarse to fine.

    The sort key is the bit-reversed index (van der Corput sequence), with the bits of all axes interleaved.

    Parameters
    ----------
    positions
        The index of each cell on each axis, from 0.
    """
    bits = [max(column).bit_length() for column in zip(*positions, strict=True)]
    depth = max(bits, default=0)

    def bits_reversed(at: Sequence[int]) -> list[int]:
        digits = []
        for level in range(depth):
            before = 0
            for index, width in zip(at, bits, strict=True):
                if level < width:
                    bit = index >> (width - 1 - level) & 1
                    digits.append(bit ^ before)  # the opposite corner before the neighbours
                    before = bit
        return digits[::-1]  # the coarsest bit is the least significant: all halves, then all quarters ...

    return sorted(range(len(positions)), key=lambda index: bits_reversed(positions[index]))


def _replaced_texts(texts: Mapping[str, str], chosen: Sequence[tuple[Axis, AxisValue]]) -> dict[str, str]:
    replaced = {}
    for name, text in texts.items():
        words = [(axis.name, value.word) for axis, value in chosen if name in axis.fields]
        replaced[name] = replace_words(text, {word: new for word, new in words if new is not None})
    return replaced


class _SeedSource:
    """Provides stored or new seeds, by a hash of the service, the workflow, the fixed params and a position."""

    def __init__(
        self, axes: Axes, content: object, identity: str, seed_of: Callable[[str, tuple[str, ...]], int]
    ) -> None:
        if isinstance(content, Mapping):
            content = without_titles(content)
        names = sorted(map(_canonical_name, axes.simple))
        self._base = sha256_of([identity, content, dict(axes.fixed), dict(axes.texts), names])
        self._seed_of = seed_of

    def seed(self, fields: tuple[str, ...], coordinates: Mapping[str, Any], attempt: int = 0) -> int:
        key = sha256_of([self._base, sorted(fields), dict(coordinates), *([attempt] if attempt else [])])
        return self._seed_of(key, fields)

    def axis_seeds(self, axis: Axis) -> list[dict[str, int]]:
        """Return the seeds of `random#N`. They are all different."""
        seeds: list[int] = []
        for index in range(len(axis.values)):
            coordinates = {_canonical_name(axis): index}
            candidates = (self.seed(axis.fields, coordinates, attempt) for attempt in range(_MAX_TRIES))
            seeds.append(next(seed for seed in candidates if seed not in seeds))
        return [dict.fromkeys(axis.fields, seed) for seed in seeds]


def _identity(axis: Axis, index: int) -> Any:
    """Return the identity of a cell on an axis: the value, the index of a generated seed, or the label of a row."""
    value = axis.values[index]
    match axis.kind:
        case "seeds":
            return index
        case "rows" if value.is_named:
            return value.label
        case "replace":
            return value.word
        case _:
            return value.params


def _canonical_name(axis: Axis) -> str:
    """Return an axis name without aliases, so that an alias and its field have the same seeds."""
    fields = " ".join(sorted(axis.fields))
    match axis.kind:
        case "preset":  # adding a field to a preset must not change its seeds
            return f"preset {axis.name}"
        case "rows":  # nor adding a column to a table
            return "rows"
        case "replace":
            return f"replace {fields} {axis.name}"
        case _:
            return f"{axis.kind} {fields}"
