"""The axes of an exploration: those of one sweep, of several together, or the fields in which runs differ. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from comflowy_nb.errors import RefError, nearest_tip
from comflowy_nb.layout.text import shorten
from comflowy_nb.layout.value_text import LONG_TEXT, bare_name, letter_of, name_fields, write_apart, write_value
from comflowy_nb.workflow.workflow import canonical_json

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from comflowy_nb.sweeps.sweep import Sweep, SweepCell
    from comflowy_nb.workflow.axes.types import Axis


MAX_FIELDS = 6  # in which runs differ, as axes; with more, the runs are one axis
_NOT_SET = "(not set)"  # the label of the place of a run that does not set the field
_OTHER = "(other)"  # of a cell whose values are none of the presets of another sweep
_SEVERAL_FIELDS = frozenset({"preset", "rows", "zip"})
_RESERVED = frozenset({"sweep", "image", "run", "repeat"})


@dataclass(frozen=True, slots=True)
class Place:
    """One value of an axis: the whole text, and a short label for headings and controls."""

    text: str
    label: str


@dataclass(frozen=True, slots=True)
class ExploredAxis:
    """An axis of an exploration.

    Attributes
    ----------
    name
        Unique in the exploration: the id of the field, the name of a preset or of a replaced word, or the role.
    label
        The short name.
    role
        What varies: a field or preset, the sweep, the image of a cell, the run, or runs with equal values.
    kind
        `number` for values in an order, `list` for all others.
    names
        The names by which it can be chosen.
    """

    name: str
    label: str
    role: Literal["field", "sweep", "image", "run", "repeat"]
    kind: Literal["number", "list"]
    places: tuple[Place, ...]
    names: frozenset[str] = frozenset()

    def as_json(self) -> dict[str, Any]:
        """Return the axis as the explorer's page reads it."""
        values = [{"text": place.text, "label": place.label} for place in self.places]
        return {"name": self.name, "label": self.label, "role": self.role, "kind": self.kind, "values": values}


Placed = tuple[tuple[ExploredAxis, ...], list[tuple[int, ...]]]  # axes, and the index of each item on each of them


def find_axis(axes: Sequence[ExploredAxis], name: str) -> ExploredAxis:
    """Return the axis with this name.

    Raises
    ------
    RefError
        If there is no such axis, or there are several.
    """
    exact = [axis for axis in axes if axis.name == name]
    found = exact or [axis for axis in axes if name in axis.names]
    if len(found) == 1:
        return found[0]
    names = [axis.label for axis in axes]
    if found:
        raise RefError(f"{name!r} names {len(found)} axes; use one of {', '.join(axis.name for axis in found)}")
    if not names:
        raise RefError(f"{name!r} is not an axis: there is only one combination")
    tip = nearest_tip(name, names)
    are = "the axes are" if len(names) > 1 else "the only axis is"
    raise RefError(f"{name!r} is not an axis here; {are} {', '.join(names)}{tip}")


# -- sweeps -----------------------------------------------------------------------------------------------------------


def place_cells(sweep: Sweep) -> Placed:
    """Return the axes of a sweep, with their values in the order typed, and the places of its cells."""
    axes = [_axis_of_sweep(axis, position, sweep) for position, axis in enumerate(sweep.axes.axes)]
    return _unique(axes), [cell.at for cell in sweep.cells]


def place_sweeps(sweeps: Sequence[Sweep]) -> Placed:
    """Return the axes of several sweeps together, the sweep first, and the places of their cells.

    A sweep that lacks an axis of another one has its own value there.
    """
    first = ExploredAxis(
        "sweep",
        "sweep",
        "sweep",
        "list",
        tuple(Place(" ".join(filter(None, (sweep.ref, sweep.name))), sweep.name or sweep.ref) for sweep in sweeps),
    )
    keys = dict.fromkeys(_key(axis) for sweep in sweeps for axis in sweep.axes.axes)
    columns = [_MergedAxis(key, sweeps) for key in keys]
    cells = [(index, cell) for index, sweep in enumerate(sweeps) for cell in sweep.cells]
    placed = [column.place(cells) for column in columns]
    kept = [(axis, at) for axis, at in placed if len(axis.places) > 1]
    ats = [(index, *(at[row] for _, at in kept)) for row, (index, _) in enumerate(cells)]
    return _unique([first, *(axis for axis, _ in kept)]), ats


def _axis_of_sweep(axis: Axis, position: int, sweep: Sweep) -> ExploredAxis:
    if axis.kind == "seeds":
        texts = ["" for _ in axis.values]
        for cell in sweep.cells:
            texts[cell.at[position]] = next((str(cell.params[key]) for key in axis.fields if key in cell.params), "")
        places = [Place(text or value.label, value.label) for text, value in zip(texts, axis.values, strict=True)]
        return _new_axis(axis, places, is_number=True)
    texts = _texts_of_axis(axis)
    shortened = _labels(texts)
    places = []
    for value, text, label in zip(axis.values, texts, shortened, strict=True):
        is_named = value.is_named or axis.kind in {"rows", "lines"}
        chosen = value.label if is_named or axis.kind in _SEVERAL_FIELDS else label
        whole = f"{value.label}: {text}" if is_named and text not in {"", value.label} else text
        places.append(Place(whole or chosen, shorten(chosen, 2 * LONG_TEXT) or '""'))
    values = [value.params.get(axis.fields[0]) if len(axis.fields) == 1 else None for value in axis.values]
    is_number = axis.kind in {"values", "lines"} and not any(value.is_named for value in axis.values)
    return _new_axis(axis, places, is_number=is_number and all(map(_is_number, values)))


def _texts_of_axis(axis: Axis) -> list[str]:
    if axis.kind == "replace":
        return write_apart([value.word or "" for value in axis.values])
    if axis.kind not in _SEVERAL_FIELDS:
        return write_apart([next(iter(value.params.values()), "") for value in axis.values])
    names = name_fields(axis.fields)
    return [_written({names[key]: param for key, param in value.params.items()}) for value in axis.values]


def _written(params: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {write_value(param)}" for name, param in params.items())


def _new_axis(axis: Axis, places: Sequence[Place], *, is_number: bool) -> ExploredAxis:
    name, label = axis.name, bare_name(axis.name)
    names = {axis.name, label}
    if axis.kind in {"values", "seeds", "lines"} and len(axis.fields) == 1:
        name = axis.fields[0]
        names |= {name, bare_name(name)}
    return ExploredAxis(name, label, "field", "number" if is_number else "list", tuple(places), frozenset(names))


def _key(axis: Axis) -> tuple[str, ...]:
    """Return the identity of an axis in several sweeps: that of its fields, or its name where values have labels."""
    if axis.kind in {"values", "seeds"}:
        return ("fields", *sorted(axis.fields))
    return (axis.kind, axis.name, *(axis.fields if axis.kind == "lines" else ()))


class _MergedAxis:
    """One axis of several sweeps, under construction."""

    def __init__(self, key: tuple[str, ...], sweeps: Sequence[Sweep]) -> None:
        self._axes: dict[int, tuple[int, Axis]] = {}  # index of a sweep -> position and axis
        for index, sweep in enumerate(sweeps):
            for position, axis in enumerate(sweep.axes.axes):
                if _key(axis) == key:
                    self._axes[index] = (position, axis)
        self._by_values = key[0] == "fields"
        self._first = next(iter(self._axes.values()))[1]
        self._places: dict[Hashable, tuple[str, str, Any]] = {}  # identity -> text, label, value
        self._by_params: dict[str, Hashable] = {}
        for _, axis in self._axes.values():
            self._add_values(axis)

    def place(self, cells: Sequence[tuple[int, SweepCell]]) -> tuple[ExploredAxis, list[int]]:
        """Return the axis, and the index of each cell on it."""
        found = [self._identity(index, cell) for index, cell in cells]
        order = list(self._places)
        numbers = [value for _, _, value in self._places.values()]
        is_number = all(map(_is_number, numbers))
        if is_number:
            order.sort(key=lambda identity: float(self._places[identity][2]))
        texts = [self._places[identity][0] for identity in order]
        labels = [self._places[identity][1] for identity in order]
        shortened = _labels(texts)
        places = [Place(text, label or short) for text, label, short in zip(texts, labels, shortened, strict=True)]
        positions = {identity: position for position, identity in enumerate(order)}
        axis = _new_axis(self._first, places, is_number=is_number)
        return axis, [positions[identity] for identity in found]

    def _add_values(self, axis: Axis) -> None:
        if axis.kind == "seeds":
            return  # known from the cells
        seen: Counter[str] = Counter()
        for value, text in zip(axis.values, _texts_of_axis(axis), strict=True):
            seen[value.label] += 1
            params = canonical_json(value.params)
            identity: Hashable = params if self._by_values else (value.label, seen[value.label])
            label = value.label if value.is_named or not self._by_values else ""
            number = next(iter(value.params.values()), None) if self._by_values and not value.is_named else None
            self._places.setdefault(identity, (text or value.label, label, number))
            self._by_params.setdefault(params, identity)

    def _identity(self, index: int, cell: SweepCell) -> Hashable:
        if index in self._axes and not self._by_values:
            position, axis = self._axes[index]
            label = axis.values[cell.at[position]].label
            count = sum(value.label == label for value in axis.values[: cell.at[position] + 1])
            return label, count
        own = {key: cell.params[key] for key in self._first.fields if key in cell.params}
        identity = self._by_params.get(canonical_json(own))
        if identity is not None:
            return identity
        if not self._by_values:
            self._places.setdefault(None, (_OTHER, _OTHER, None))
            return None
        new = canonical_json(own)
        text = write_value(next(iter(own.values()))) if own else _NOT_SET
        self._places.setdefault(new, (text, "" if own else _NOT_SET, next(iter(own.values()), None)))
        self._by_params[new] = new
        return new


# -- runs -------------------------------------------------------------------------------------------------------------


def place_runs(params: Sequence[Mapping[str, Any]], refs: Sequence[str], *, workflows: Sequence[str]) -> Placed:
    """Return the fields in which runs differ as axes, and the places of the runs.

    Where they differ in more than `MAX_FIELDS`, the run is the only axis.
    """
    several = [("workflow", [*workflows])] if len(set(workflows)) > 1 else []
    ids = list(dict.fromkeys(key for each in params for key in each))
    names = name_fields(ids)
    columns: list[tuple[str, list[Any]]] = [*several, *((key, [each.get(key) for each in params]) for key in ids)]
    identities = {key: [canonical_json(value) for value in values] for key, values in columns}
    differing = [(key, values) for key, values in columns if len(set(identities[key])) > 1]
    if not differing or len(differing) > MAX_FIELDS:
        run_axis = ExploredAxis("run", "run", "run", "list", tuple(Place(ref, ref) for ref in refs))
        return (run_axis,), [(index,) for index in range(len(refs))]
    axes, places = [], []
    for key, values in differing:
        axis, at = _place_values(key, names.get(key, key), values, identities[key])
        axes.append(axis)
        places.append(at)
    return _unique(axes), list(zip(*places, strict=True))


def _place_values(
    name: str, label: str, values: Sequence[Any], identities: Sequence[str]
) -> tuple[ExploredAxis, list[int]]:
    by_identity = dict(zip(identities, values, strict=True))
    order = list(by_identity)
    known = [value for value in by_identity.values() if value is not None]
    is_number = all(map(_is_number, known))
    if is_number:  # a run that does not set the field comes first
        order.sort(key=lambda each: float("-inf") if by_identity[each] is None else float(by_identity[each]))
    given = [each for each in order if by_identity[each] is not None]
    texts = dict(zip(given, write_apart([by_identity[each] for each in given]), strict=True))
    labels = dict(zip(given, _labels([texts[each] for each in given]), strict=True))
    places = tuple(Place(texts.get(each, _NOT_SET), labels.get(each, _NOT_SET)) for each in order)
    kind: Literal["number", "list"] = "number" if is_number and len(known) == len(order) else "list"
    axis = ExploredAxis(name, label, "field", kind, places, frozenset({name, label, bare_name(name)}))
    positions = {each: position for position, each in enumerate(order)}
    return axis, [positions[each] for each in identities]


def add_repeats(placed: Placed) -> Placed:
    """Add an axis on which items with equal places on all others differ, if there are any."""
    axes, ats = placed
    counts = Counter(ats)
    most = max(counts.values(), default=1)
    if most < 2:
        return placed
    seen: Counter[tuple[int, ...]] = Counter()
    repeated = []
    for at in ats:
        repeated.append((*at, seen[at]))
        seen[at] += 1
    places = tuple(Place(str(number), str(number)) for number in range(1, most + 1))
    return (*axes, ExploredAxis("repeat", "repeat", "repeat", "number", places)), repeated


# -- texts ------------------------------------------------------------------------------------------------------------


def _labels(texts: Sequence[str]) -> list[str]:
    """Return short labels, all of them different if the texts are."""
    short = [shorten(text, LONG_TEXT) or '""' for text in texts]
    if len(set(short)) == len(set(texts)):
        return short
    return [f"{letter_of(index)}: {label}" for index, label in enumerate(short)]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _unique(axes: Sequence[ExploredAxis]) -> tuple[ExploredAxis, ...]:
    """Return the axes with unique names, and with short labels only where these are unique."""
    names = Counter(axis.name for axis in axes)
    labels = Counter(axis.label for axis in axes)
    used: Counter[str] = Counter()
    unique = []
    for axis in axes:
        used[axis.name] += 1
        is_taken = axis.role == "field" and axis.name in _RESERVED
        name = f"{axis.name} ({used[axis.name]})" if names[axis.name] > 1 or is_taken else axis.name
        label = axis.label if labels[axis.label] == 1 else name
        unique.append(replace(axis, name=name, label=label, names=axis.names | {name, label, axis.name, axis.label}))
    return tuple(unique)
