"""What a sweep varies, and the cells that come of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from comflowy_nb.workflow.pictures import PictureInput

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Axes", "Axis", "AxisValue", "Cell", "SeedWish"]


@dataclass(frozen=True, slots=True)
class AxisValue:
    """One value of an axis.

    `params` are field ids with their values as they are sent; none for one of `random#N`, whose seed is drawn later.
    `label` is what a header says: the person's own word (`is_named`), else the value's text or, for seeds, its number
    from 1. `word` is what a searched word is replaced by: the text in `params` is then that with this word alone
    replaced.
    """

    params: Mapping[str, Any]
    label: str
    is_named: bool = False
    word: str | None = None


@dataclass(frozen=True, slots=True)
class Axis:
    """Values that a sweep goes through.

    `name` is as typed: a field, an alias, a preset's name, the word that is replaced. `fields` are the ids of all
    fields that its values set.
    """

    name: str
    kind: Literal["values", "preset", "replace", "seeds"]
    fields: tuple[str, ...]
    values: tuple[AxisValue, ...]


@dataclass(frozen=True, slots=True)
class SeedWish:
    """Fields that share one drawn seed: one for the whole sweep (`random`) or one for each cell (`each`)."""

    fields: tuple[str, ...]
    word: Literal["random", "each"]


@dataclass(frozen=True, slots=True)
class Axes:
    """A whole sweep before its seeds are drawn.

    The first axis varies slowest in the numbers of the cells. `set_params` are the ids of all fields set, in the order
    typed. `texts` are the texts in which axes of kind `replace` replace their words, by field id.
    """

    fixed: Mapping[str, Any] = field(default_factory=dict)
    axes: tuple[Axis, ...] = ()
    seeds: tuple[SeedWish, ...] = ()
    set_params: tuple[str, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(len(axis.values) for axis in self.axes)

    @property
    def count(self) -> int:
        return math.prod(self.shape)

    def pictures(self) -> Iterator[PictureInput]:
        """The pictures among its values."""
        values = (value.params for axis in self.axes for value in axis.values)
        for params in (self.fixed, *values):
            yield from (value for value in params.values() if isinstance(value, PictureInput))

    def on(self, params: Mapping[str, Any], set_params: tuple[str, ...]) -> Axes:
        """The same axes on top of other values: these hold where nothing else was given."""
        order = tuple(dict.fromkeys((*set_params, *self.set_params)))
        given = {name for name in self.set_params if name not in self.fixed}
        below = {name: value for name, value in params.items() if name not in given}
        return replace(self, fixed={**below, **self.fixed}, set_params=order)

    def over(self, before: Axes) -> Axes:
        """An earlier sweep with these changes: what was given anew stands in the place of what it replaces."""
        given = set(self.set_params)
        mine = list(self.axes)
        axes: list[Axis] = []
        for axis in before.axes:
            new = next((one for one in mine if one.name == axis.name or set(one.fields) & set(axis.fields)), None)
            if new is not None:
                mine.remove(new)
                axes.append(new)
            elif not given & set(axis.fields):
                axes.append(axis)
        return Axes(
            {**{key: value for key, value in before.fixed.items() if key not in given}, **self.fixed},
            (*axes, *mine),
            (*(wish for wish in before.seeds if not given & set(wish.fields)), *self.seeds),
            tuple(dict.fromkeys((*before.set_params, *self.set_params))),
            {**{key: text for key, text in before.texts.items() if key not in given}, **self.texts},
        )


@dataclass(frozen=True, slots=True)
class Cell:
    """One run of a sweep: its number from 1, its index on each axis, all its params, and its label on each axis."""

    number: int
    at: tuple[int, ...]
    params: dict[str, Any]
    labels: Mapping[str, str]
