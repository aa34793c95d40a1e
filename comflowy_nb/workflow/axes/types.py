"""Axes of a sweep, the cells they produce, and both as JSON to lay out a stored grid again."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from comflowy_nb.errors import FieldError, ImageError
from comflowy_nb.workflow.images import InputImage
from comflowy_nb.workflow.workflow import canonical_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "Axes",
    "Axis",
    "AxisValue",
    "Cell",
    "SeedWord",
    "axes_from_json",
    "axes_to_json",
    "params_from_json",
    "params_to_json",
]

_MAX_SHOWN_LABELS = 4  # labels of a replaced axis that a notice names


@dataclass(frozen=True, slots=True)
class AxisValue:
    """One value of an axis.

    `params` are the values by field id as submitted; empty for `random#N`, whose seed is generated later.
    `label` is the header: the user's label (`is_named`), else the text of the value or, for seeds, its number from 1.
    `word` is the replacement of a searched word; the text in `params` then has only this word replaced.
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
class SeedWord:
    """Fields that share one generated seed: one for the whole sweep (`random`) or one for each cell (`each`)."""

    fields: tuple[str, ...]
    word: Literal["random", "each"]


@dataclass(frozen=True, slots=True)
class Axes:
    """A whole sweep before its seeds are generated.

    The first axis varies slowest in the numbers of the cells. `set_params` are the ids of all fields set, in the order
    typed. `texts` are the texts in which axes of kind `replace` replace their words, by field id.
    """

    fixed: Mapping[str, Any] = field(default_factory=dict)
    axes: tuple[Axis, ...] = ()
    seeds: tuple[SeedWord, ...] = ()
    set_params: tuple[str, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(len(axis.values) for axis in self.axes)

    @property
    def count(self) -> int:
        return math.prod(self.shape)

    def images(self) -> Iterator[InputImage]:
        """Return the images among its values."""
        values = (value.params for axis in self.axes for value in axis.values)
        for params in (self.fixed, *values):
            yield from (value for value in params.values() if isinstance(value, InputImage))

    def on(self, params: Mapping[str, Any], set_params: tuple[str, ...]) -> Axes:
        """Return the same axes on top of other values: these apply where this sweep sets nothing."""
        order = tuple(dict.fromkeys((*set_params, *self.set_params)))
        explicit = {name for name in self.set_params if name not in self.fixed}
        below = {name: value for name, value in params.items() if name not in explicit}
        return replace(self, fixed={**below, **self.fixed}, set_params=order)

    def over(self, before: Axes) -> Axes:
        """Return an earlier sweep with these settings: each replaces what the earlier sweep has for its fields.

        An axis that sets several fields (a preset, `all::seed`) keeps those that are not set again.

        Raises
        ------
        FieldError
            If values of such an axis no longer differ.
        """
        explicit = set(self.set_params)
        mine = list(self.axes)
        axes: list[Axis] = []
        for axis in before.axes:
            kept = self._kept_of(axis)
            if kept is not None:
                axes.append(kept)
                continue
            new = [one for one in mine if one.name == axis.name or set(one.fields) & set(axis.fields)]
            axes += new
            mine = [one for one in mine if one not in new]
        seeds = [replace(word, fields=self._not_set_here(word.fields)) for word in before.seeds]
        return Axes(
            {**{key: value for key, value in before.fixed.items() if key not in explicit}, **self.fixed},
            (*axes, *mine),
            (*(word for word in seeds if word.fields), *self.seeds),
            tuple(dict.fromkeys((*before.set_params, *self.set_params))),
            {**{key: text for key, text in before.texts.items() if key not in explicit}, **self.texts},
        )

    def changes(self, before: Axes) -> list[str]:
        """Return a sentence for each change that `over` makes beyond giving an axis other values."""
        found = []
        for axis in before.axes:
            kept = self._kept_of(axis)
            if kept is axis or any(_has_the_fields(one, axis) for one in self.axes):
                continue
            left = self._not_set_here(axis.fields)
            name, fields = axis.name, ", ".join(left)
            if kept is not None:
                new = ", ".join(key for key in axis.fields if key not in left)
                found.append(f"axis {name} no longer sets {new}, only {fields}")
            elif left:
                found.append(f"axis {name} is replaced; the new one does not set {fields}")
            else:
                labels = [value.label for value in axis.values]
                shown = ", ".join(labels if len(labels) <= _MAX_SHOWN_LABELS else [*labels[:_MAX_SHOWN_LABELS], "..."])
                found.append(f"axis {name} ({shown}) is replaced")
        return found

    def _not_set_here(self, field_ids: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(key for key in field_ids if key not in self.set_params)

    def _kept_of(self, axis: Axis) -> Axis | None:
        """Return the part of an earlier axis that these settings keep; None if they replace it."""
        fields = self._not_set_here(axis.fields)
        if not fields or any(one.name == axis.name for one in self.axes):
            return None
        if fields == axis.fields:
            return axis
        known: dict[str, str] = {}
        values = []
        for value in axis.values:
            params = {key: one for key, one in value.params.items() if key in fields}
            values.append(replace(value, params=params))
            same = canonical_json([value.word, params])
            if axis.kind != "seeds" and same in known:
                explicit = ", ".join(key for key in axis.fields if key not in fields)
                raise FieldError(
                    f"with new values for {explicit}, the values {known[same]!r} and {value.label!r} of axis "
                    f"{axis.name} are equal: set {axis.name} too"
                )
            known[same] = value.label
        return replace(axis, fields=fields, values=tuple(values))


def _has_the_fields(new: Axis, axis: Axis) -> bool:
    """Return whether an axis only gives other values to an earlier one: other words are another axis."""
    return set(new.fields) >= set(axis.fields) and (axis.kind != "replace" or new.name == axis.name)


@dataclass(frozen=True, slots=True)
class Cell:
    """One run of a sweep: its number from 1, its index on each axis, all its params, and its label on each axis."""

    number: int
    at: tuple[int, ...]
    params: dict[str, Any]
    labels: Mapping[str, str]


_IMAGE = "image"


def axes_to_json(axes: Axes) -> dict[str, Any]:
    """Return the axes as JSON values; an image is its name and the sha256 of its content."""
    return {
        "fixed": params_to_json(axes.fixed),
        "axes": [
            {
                "name": axis.name,
                "kind": axis.kind,
                "fields": list(axis.fields),
                "values": [_value_to_json(value) for value in axis.values],
            }
            for axis in axes.axes
        ],
        "seeds": [{"fields": list(word.fields), "word": word.word} for word in axes.seeds],
        "set_params": list(axes.set_params),
        "texts": dict(axes.texts),
    }


def axes_from_json(data: Mapping[str, Any], kept: Callable[[str], bytes | None] | None = None) -> Axes:
    """Return the axes that `axes_to_json` wrote.

    Parameters
    ----------
    kept
        Gives the content of an image by its sha256, where that was kept.
    """
    return Axes(
        params_from_json(data["fixed"], kept),
        tuple(
            Axis(
                one["name"],
                one["kind"],
                tuple(one["fields"]),
                tuple(_value_from_json(value, kept) for value in one["values"]),
            )
            for one in data["axes"]
        ),
        tuple(SeedWord(tuple(one["fields"]), one["word"]) for one in data["seeds"]),
        tuple(data["set_params"]),
        dict(data["texts"]),
    )


def _value_to_json(value: AxisValue) -> dict[str, Any]:
    found: dict[str, Any] = {"params": params_to_json(value.params), "label": value.label}
    if value.is_named:
        found["is_named"] = True
    if value.word is not None:
        found["word"] = value.word
    return found


def _value_from_json(data: Mapping[str, Any], kept: Callable[[str], bytes | None] | None) -> AxisValue:
    return AxisValue(
        params_from_json(data["params"], kept), data["label"], data.get("is_named", False), word=data.get("word")
    )


def params_to_json(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return params as JSON values; an image is its name and the sha256 of its content."""
    return {name: _to_json(value) for name, value in params.items()}


def _to_json(value: Any) -> Any:
    if isinstance(value, InputImage):
        return {_IMAGE: {"name": value.name, "sha256": value.content_sha256}}
    return value


def params_from_json(params: Mapping[str, Any], kept: Callable[[str], bytes | None] | None) -> dict[str, Any]:
    """Return the params of which `params_to_json` made JSON values; `kept` as for `axes_from_json`."""
    return {name: _from_json(value, kept) for name, value in params.items()}


def _from_json(value: Any, kept: Callable[[str], bytes | None] | None) -> Any:
    if isinstance(value, Mapping) and set(value) == {_IMAGE} and isinstance(value[_IMAGE], Mapping):
        inner = value[_IMAGE]
        if set(inner) == {"name", "sha256"}:
            return InputImage(inner["name"], inner["sha256"], _loader(inner["name"], inner["sha256"], kept))
    return value


def _loader(name: str, sha256: str, kept: Callable[[str], bytes | None] | None) -> Callable[[], bytes]:
    def load() -> bytes:
        content = None if kept is None else kept(sha256)
        if content is None:
            raise ImageError(f"the content of {name} is not stored: set the image again")
        return content

    return load
