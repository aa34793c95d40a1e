"""The axes and the cells of a sweep, and the conversion of axes to JSON and back."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, fields, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from comflowy_nb.errors import FieldError, ImageError, option
from comflowy_nb.workflow.images import InputImage
from comflowy_nb.workflow.workflow import canonical_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence


AxisKind: TypeAlias = Literal["values", "preset", "replace", "seeds", "rows", "lines", "zip"]

LABEL = "label"  # the column of a table with the headers of its rows
_OPTIONAL = frozenset({"info", "parts", "sample_seed", "pinned"})  # omitted from the JSON if empty or 0
_MAY_REPEAT = frozenset({"rows", "lines", "seeds"})  # kinds of axes with equal values
_MAX_SHOWN_LABELS = 4  # labels of a replaced axis in a notice


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
    info : mapping
        Text by the name of a column of a table that is not a field.
    """

    params: Mapping[str, Any]
    label: str
    is_named: bool = False
    word: str | None = None
    info: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Axis:
    """An axis of a sweep.

    Attributes
    ----------
    name : str
        The name as typed: a field, an alias, the name of a preset axis, or the word that is replaced.
    kind : {"values", "preset", "replace", "seeds", "rows", "lines", "zip"}
        The form in which it was written: `rows` of a table, `lines` of a file, `zip` for axes that vary together.
    fields : tuple of str
        Ids of all fields that the values set.
    values : tuple of AxisValue
        The values in order.
    parts : tuple of Axis
        The axes of a `zip`, of equal length; empty for every other kind.
    """

    name: str
    kind: AxisKind
    fields: tuple[str, ...]
    values: tuple[AxisValue, ...]
    parts: tuple[Axis, ...] = ()

    @property
    def simple(self) -> tuple[Axis, ...]:
        """The axes that vary together: the parts of a `zip`, else the axis itself."""
        return self.parts or (self,)

    @property
    def has_labels(self) -> bool:
        """Whether the labels are names, not texts of the values: of presets, rows, replaced words, and named values."""
        return self.kind in {"preset", "replace", "rows"} or any(value.is_named for value in self.values)

    @property
    def columns(self) -> tuple[Mapping[str, str], ...]:
        """For each value, its label and the columns of `--info` by name.

        The label of a row is called `row` and `label`.
        """
        names = () if not self.has_labels else (self.name, LABEL) if self.kind == "rows" else (self.name,)
        return tuple({**dict.fromkeys(names, value.label), **value.info} for value in self.values)


def zip_axes(parts: Sequence[Axis]) -> Axis:
    """Return one axis from several axes of equal length: its first value sets all first values, and so on.

    Raises
    ------
    FieldError
        If the axes have different numbers of values.
    """
    lengths = {axis.name: len(axis.values) for axis in parts}
    if len(set(lengths.values())) > 1:
        sizes = ", ".join(f"{name} has {count}" for name, count in lengths.items())
        typed = option("zipped", [list(lengths)])
        raise FieldError(f"{typed} needs axes of equal length, and {sizes} values")
    values = [
        AxisValue(
            {name: param for value in row for name, param in value.params.items()},
            " + ".join(value.label for value in row),
            is_named=any(value.is_named for value in row),
            info={name: text for value in row for name, text in value.info.items()},
        )
        for row in zip(*(axis.values for axis in parts), strict=True)
    ]
    fields = tuple(name for axis in parts for name in axis.fields)
    return Axis("+".join(lengths), "zip", fields, tuple(values), tuple(parts))


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
        The axes. The first one varies slowest in the order of the cells.
    seeds : tuple of SeedWord
        Fields set to `random` or `each`.
    set_params : tuple of str
        Ids of all fields set, in the order typed.
    texts : mapping
        Field id -> text in which axes of kind `replace` replace words.
    where : str or None
        A condition on the cells. Combinations that do not satisfy it are left out.
    sample : int or None
        The number of cells, which are chosen by a hash of their values and `sample_seed`.
    pinned : mapping
        Field id -> seeds of all cells, in order, instead of generated seeds.
    notes : tuple of str
        Information about files for the plan, such as skipped lines. Not stored.
    """

    fixed: Mapping[str, Any] = field(default_factory=dict)
    axes: tuple[Axis, ...] = ()
    seeds: tuple[SeedWord, ...] = ()
    set_params: tuple[str, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    where: str | None = None
    sample: int | None = None
    sample_seed: int = 0
    pinned: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = field(default=(), compare=False)

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(len(axis.values) for axis in self.axes)

    @property
    def count(self) -> int:
        return math.prod(self.shape)

    @property
    def simple(self) -> Iterator[Axis]:
        """The axes, with the parts of a `zip` instead of it."""
        return (axis for group in self.axes for axis in group.simple)

    def labels(self, at: Sequence[int]) -> dict[str, str]:
        """Return the labels of a cell by axis name, including the parts of a `zip`."""
        chosen = [(axis, index) for group, index in zip(self.axes, at, strict=True) for axis in (group, *group.parts)]
        return {axis.name: axis.values[index].label for axis, index in chosen}

    def info(self, at: Sequence[int]) -> dict[str, str]:
        """Return the `--info` texts of a cell by column name."""
        values = [axis.values[index] for axis, index in zip(self.axes, at, strict=True)]
        return {name: text for value in values for name, text in value.info.items()}

    @property
    def columns(self) -> dict[str, list[str]]:
        """Labels by axis name, and `--info` values by column name."""
        found: dict[str, dict[str, None]] = {}
        for axis in self.simple:
            for texts in axis.columns:
                for name, text in texts.items():
                    found.setdefault(name, {})[text] = None
        return {name: list(texts) for name, texts in found.items()}

    def images(self) -> Iterator[InputImage]:
        """Return the images among the values."""
        values = (value.params for axis in self.axes for value in axis.values)
        for params in (self.fixed, *values):
            yield from (value for value in params.values() if isinstance(value, InputImage))

    def based_on(self, params: Mapping[str, Any], set_params: tuple[str, ...]) -> Axes:
        """Return these axes with the params of a run as fixed values. Fields that this sweep sets are unchanged."""
        varied = {name for name in self.set_params if name not in self.fixed}
        inherited = {name: value for name, value in params.items() if name not in varied}
        set_params = tuple(dict.fromkeys((*set_params, *self.set_params)))
        return replace(self, fixed={**inherited, **self.fixed}, set_params=set_params)

    def override(self, before: Axes) -> Axes:
        """Return the axes of an earlier sweep, with the settings of the same fields replaced by these.

        An axis that sets several fields (a preset, `all::seed`) keeps the fields that are not set again.

        Raises
        ------
        FieldError
            If the values of such an axis are no longer different.
        """
        own_axes = list(self.axes)
        axes: list[Axis] = []
        for axis in before.axes:
            kept = self._keep_part(axis)
            if kept is not None:
                axes.append(kept)
                continue
            new = [own_axis for own_axis in own_axes if _replaces(own_axis, axis)]
            axes += new
            own_axes = [own_axis for own_axis in own_axes if own_axis not in new]
        seeds = [replace(word, fields=self._not_set_here(word.fields)) for word in before.seeds]
        return Axes(
            {**{key: value for key, value in before.fixed.items() if key not in self.set_params}, **self.fixed},
            (*axes, *own_axes),
            (*(word for word in seeds if word.fields), *self.seeds),
            tuple(dict.fromkeys((*before.set_params, *self.set_params))),
            {**{key: text for key, text in before.texts.items() if key not in self.set_params}, **self.texts},
            before.where if self.where is None else self.where,
            before.sample if self.sample is None else self.sample,
            before.sample_seed if self.sample is None else self.sample_seed,
            notes=self.notes,
        )

    def changes(self, before: Axes) -> list[str]:
        """Return a sentence for each change of `override` other than new values of an axis."""
        changes = []
        for axis in before.axes:
            kept = self._keep_part(axis)
            if kept is axis or any(_replaces_values(own_axis, axis) for own_axis in self.axes):
                continue
            left = self._not_set_here(axis.fields)
            if kept is not None:
                new = ", ".join(key for key in axis.fields if key not in left)
                changes.append(f"axis {axis.name} no longer sets {new}, only {', '.join(left)}")
            elif left:
                changes.append(f"axis {axis.name} is replaced; the new one does not set {', '.join(left)}")
            else:
                labels = [value.label for value in axis.values[: _MAX_SHOWN_LABELS + 1]]
                labels[_MAX_SHOWN_LABELS:] = ["..."] if len(labels) > _MAX_SHOWN_LABELS else []
                changes.append(f"axis {axis.name} ({', '.join(labels)}) is replaced")
        return changes

    def _not_set_here(self, field_ids: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(key for key in field_ids if key not in self.set_params)

    def _keep_part(self, axis: Axis) -> Axis | None:
        """Return an earlier axis without the fields that these settings set; None if they replace the axis."""
        fields = self._not_set_here(axis.fields)
        if not fields or any(own_axis.name == axis.name for own_axis in self.axes):
            return None
        if fields == axis.fields:
            return axis
        if axis.parts:
            kept = [part for part in map(self._keep_part, axis.parts) if part is not None]
            return zip_axes(kept) if len(kept) > 1 else kept[0]
        known: dict[str, str] = {}
        values = []
        for value in axis.values:
            params = {key: param for key, param in value.params.items() if key in fields}
            values.append(replace(value, params=params))
            content = canonical_json([value.word, params])
            if axis.kind not in _MAY_REPEAT and content in known:
                explicit = ", ".join(key for key in axis.fields if key not in fields)
                raise FieldError(
                    f"with new values for {explicit}, the values {known[content]!r} and {value.label!r} of axis "
                    f"{axis.name} are equal: set {axis.name} too"
                )
            known[content] = value.label
        return replace(axis, fields=fields, values=tuple(values))


def _replaces(new: Axis, axis: Axis) -> bool:
    """Return True if an axis has the name or a field of an earlier axis."""
    return new.name == axis.name or not set(new.fields).isdisjoint(axis.fields)


def _replaces_values(new: Axis, axis: Axis) -> bool:
    """Return True if an axis differs from an earlier axis only in its values.

    An axis for another word is a new one, and so are the rows of another table.
    """
    is_new = (axis.kind == "replace" and new.name != axis.name) or any(part.kind == "rows" for part in axis.simple)
    return set(new.fields) >= set(axis.fields) and not is_new


@dataclass(frozen=True, slots=True)
class Cell:
    """One combination of the values of a sweep.

    Attributes
    ----------
    number : int
        The number of the cell, from 1. The last axis varies fastest.
    at : tuple of int
        The index on each axis, from 0.
    params : dict
        Field id -> value of all fields set.
    labels : mapping
        Axis name -> label of the value.
    info : mapping
        Column name -> text, for the columns of a table that are not fields.
    """

    number: int
    at: tuple[int, ...]
    params: dict[str, Any]
    labels: Mapping[str, str]
    info: Mapping[str, str] = field(default_factory=dict)


# -- as JSON -------------------------------------------------------------------------------------------------------


def axes_to_json(axes: Axes) -> dict[str, Any]:
    """Convert axes to JSON values. An image becomes its name and the sha256 of its content."""
    return json.loads(json.dumps(axes, default=_encode))  # type: ignore[no-any-return]  # a mapping


def _encode(value: Any) -> dict[str, Any]:
    """Convert a dataclass to a mapping, without the optional properties that are not set."""
    if isinstance(value, InputImage):
        return {"image": {"name": value.name, "sha256": value.content_sha256}}
    if isinstance(value, Axis) and value.parts:  # derived from the values of its parts
        return {"parts": value.parts}
    names = [attribute.name for attribute in fields(value) if attribute.name != "notes"]
    attributes = {name: getattr(value, name) for name in names}
    return {
        name: content
        for name, content in attributes.items()
        if content is not None and content is not False and (content or name not in _OPTIONAL)
    }


def axes_from_json(data: Mapping[str, Any], read_image: Callable[[str], bytes | None] | None = None) -> Axes:
    """Convert the result of `axes_to_json` back to axes.

    Parameters
    ----------
    read_image
        Called with the sha256 of an image; returns its content, or None if it is not stored. None reads no image.
    """

    def params(values: Mapping[str, Any]) -> dict[str, Any]:
        return {name: _value_from_json(value, read_image) for name, value in values.items()}

    def axis(content: Mapping[str, Any]) -> Axis:
        if "parts" in content:
            return zip_axes([axis(part) for part in content["parts"]])
        values = tuple(AxisValue(**{**value, "params": params(value["params"])}) for value in content["values"])
        return Axis(content["name"], content["kind"], tuple(content["fields"]), values)

    return Axes(
        params(data["fixed"]),
        tuple(map(axis, data["axes"])),
        tuple(SeedWord(tuple(seed_word["fields"]), seed_word["word"]) for seed_word in data["seeds"]),
        tuple(data["set_params"]),
        dict(data["texts"]),
        data.get("where"),
        data.get("sample"),
        data.get("sample_seed", 0),
        {name: tuple(seeds) for name, seeds in data.get("pinned", {}).items()},
    )


def _value_from_json(value: Any, read_image: Callable[[str], bytes | None] | None) -> Any:
    match value:
        case {"image": {"name": name, "sha256": sha256, **others}, **more} if not others and not more:
            return InputImage(name, sha256, partial(_load_image, name, sha256, read_image))
    return value


def _load_image(name: str, sha256: str, read_image: Callable[[str], bytes | None] | None) -> bytes:
    content = None if read_image is None else read_image(sha256)
    if content is None:
        raise ImageError(f"the content of {name} is not stored: set the image again")
    return content
