"""Axes of a sweep, its cells, and the axes as JSON, to draw a stored grid again."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from comflowy_nb.errors import FieldError, ImageError
from comflowy_nb.workflow.images import InputImage
from comflowy_nb.workflow.workflow import canonical_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["Axes", "Axis", "AxisValue", "Cell", "SeedWord", "axes_from_json", "axes_to_json"]

_MAX_SHOWN_LABELS = 4  # of a replaced axis, in a notice


@dataclass(frozen=True, slots=True)
class AxisValue:
    """One value of an axis.

    Attributes
    ----------
    params : mapping
        Field id -> value as submitted; empty for `random#N`, whose seeds are generated later.
    label : str
        The header: the user's label, else the text of the value or, for seeds, its number from 1.
    is_named : bool
        Whether the label is the user's.
    word : str or None
        The replacement of a searched word; the text in `params` then has only this word replaced.
    """

    params: Mapping[str, Any]
    label: str
    is_named: bool = False
    word: str | None = None


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis of a sweep.

    Attributes
    ----------
    name : str
        As typed: a field, an alias, the name of a preset axis, or the word that is replaced.
    kind : {"values", "preset", "replace", "seeds"}
        The form in which it was written.
    fields : tuple of str
        Ids of all fields that the values set.
    values : tuple of AxisValue
        The values in order.
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
    """The settings of a whole sweep, before its seeds are generated.

    Attributes
    ----------
    fixed : mapping
        Field id -> value that is the same in all cells.
    axes : tuple of Axis
        The first axis varies slowest in the numbers of the cells.
    seeds : tuple of SeedWord
        Fields set to `random` or `each`.
    set_params : tuple of str
        Ids of all fields set, in the order typed.
    texts : mapping
        Field id -> text in which axes of kind `replace` replace their words.
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
        """Return the images among the values."""
        values = (value.params for axis in self.axes for value in axis.values)
        for params in (self.fixed, *values):
            yield from (value for value in params.values() if isinstance(value, InputImage))

    def on(self, params: Mapping[str, Any], set_params: tuple[str, ...]) -> Axes:
        """Return the same axes based on the params of a run, which apply to the fields that this sweep does not set."""
        varied = {name for name in self.set_params if name not in self.fixed}
        inherited = {name: value for name, value in params.items() if name not in varied}
        set_params = tuple(dict.fromkeys((*set_params, *self.set_params)))
        return replace(self, fixed={**inherited, **self.fixed}, set_params=set_params)

    def over(self, before: Axes) -> Axes:
        """Return an earlier sweep with these settings, which replace the earlier ones of the same fields.

        An axis that sets several fields (a preset, `all::seed`) keeps those that are not set again.

        Raises
        ------
        FieldError
            If values of such an axis no longer differ.
        """
        own_axes = list(self.axes)
        axes: list[Axis] = []
        for axis in before.axes:
            kept = self._kept_of(axis)
            if kept is not None:
                axes.append(kept)
                continue
            new = [one for one in own_axes if one.name == axis.name or set(one.fields) & set(axis.fields)]
            axes += new
            own_axes = [one for one in own_axes if one not in new]
        seeds = [replace(word, fields=self._not_set_here(word.fields)) for word in before.seeds]
        return Axes(
            {**{key: value for key, value in before.fixed.items() if key not in self.set_params}, **self.fixed},
            (*axes, *own_axes),
            (*(word for word in seeds if word.fields), *self.seeds),
            tuple(dict.fromkeys((*before.set_params, *self.set_params))),
            {**{key: text for key, text in before.texts.items() if key not in self.set_params}, **self.texts},
        )

    def changes(self, before: Axes) -> list[str]:
        """Return a sentence for each change that `over` makes beyond giving an axis other values."""
        found = []
        for axis in before.axes:
            kept = self._kept_of(axis)
            if kept is axis or any(_replaces_values(one, axis) for one in self.axes):
                continue
            left = self._not_set_here(axis.fields)
            if kept is not None:
                new = ", ".join(key for key in axis.fields if key not in left)
                found.append(f"axis {axis.name} no longer sets {new}, only {', '.join(left)}")
            elif left:
                found.append(f"axis {axis.name} is replaced; the new one does not set {', '.join(left)}")
            else:
                labels = [value.label for value in axis.values[: _MAX_SHOWN_LABELS + 1]]
                labels[_MAX_SHOWN_LABELS:] = ["..."] if len(labels) > _MAX_SHOWN_LABELS else []
                found.append(f"axis {axis.name} ({', '.join(labels)}) is replaced")
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
            content = canonical_json([value.word, params])
            if axis.kind != "seeds" and content in known:
                explicit = ", ".join(key for key in axis.fields if key not in fields)
                raise FieldError(
                    f"with new values for {explicit}, the values {known[content]!r} and {value.label!r} of axis "
                    f"{axis.name} are equal: set {axis.name} too"
                )
            known[content] = value.label
        return replace(axis, fields=fields, values=tuple(values))


def _replaces_values(new: Axis, axis: Axis) -> bool:
    """Return True if an axis only has other values than an earlier one; an axis for another word is a new one."""
    return set(new.fields) >= set(axis.fields) and (axis.kind != "replace" or new.name == axis.name)


@dataclass(frozen=True, slots=True)
class Cell:
    """One combination of the values of a sweep.

    Attributes
    ----------
    number : int
        From 1; the last axis varies fastest.
    at : tuple of int
        The index on each axis, from 0.
    params : dict
        Field id -> value of all fields set.
    labels : mapping
        Name of an axis -> label of the value.
    """

    number: int
    at: tuple[int, ...]
    params: dict[str, Any]
    labels: Mapping[str, str]


# -- as JSON -------------------------------------------------------------------------------------------------------


def axes_to_json(axes: Axes) -> dict[str, Any]:
    """Return the axes as JSON values; an image is its name and the sha256 of its content."""
    return json.loads(json.dumps(axes, default=_encode))  # type: ignore[no-any-return]  # a mapping


def _encode(value: Any) -> dict[str, Any]:
    """Return a dataclass as a mapping, without the optional properties of an AxisValue that are not set."""
    if isinstance(value, InputImage):
        return {"image": {"name": value.name, "sha256": value.content_sha256}}
    found = {one.name: getattr(value, one.name) for one in fields(value)}
    return {name: one for name, one in found.items() if one is not None and one is not False}


def axes_from_json(data: Mapping[str, Any], kept: Callable[[str], bytes | None] | None = None) -> Axes:
    """Return the axes that `axes_to_json` wrote.

    Parameters
    ----------
    kept
        Return the content of an image by its sha256; None if it is not stored.
    """

    def params(values: Mapping[str, Any]) -> dict[str, Any]:
        return {name: _value_from_json(value, kept) for name, value in values.items()}

    def axis(one: Mapping[str, Any]) -> Axis:
        values = tuple(AxisValue(**{**value, "params": params(value["params"])}) for value in one["values"])
        return Axis(one["name"], one["kind"], tuple(one["fields"]), values)

    return Axes(
        params(data["fixed"]),
        tuple(map(axis, data["axes"])),
        tuple(SeedWord(tuple(one["fields"]), one["word"]) for one in data["seeds"]),
        tuple(data["set_params"]),
        dict(data["texts"]),
    )


def _value_from_json(value: Any, kept: Callable[[str], bytes | None] | None) -> Any:
    match value:
        case {"image": {"name": name, "sha256": sha256, **others}, **more} if not others and not more:
            return InputImage(name, sha256, partial(_load, name, sha256, kept))
    return value


def _load(name: str, sha256: str, kept: Callable[[str], bytes | None] | None) -> bytes:
    content = None if kept is None else kept(sha256)
    if content is None:
        raise ImageError(f"the content of {name} is not stored: set the image again")
    return content
