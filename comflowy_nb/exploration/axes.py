"""Compute the axes of an exploration: the axes of its sweeps, or the fields in which its runs differ. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from comflowy_nb.errors import RefError, nearest_tip
from comflowy_nb.layout.text import shorten
from comflowy_nb.layout.value_text import LONG_TEXT, bare_name, distinct_texts, letter_of, name_fields, write_value
from comflowy_nb.sweeps.headings import SEVERAL_FIELDS, seed_texts, value_texts
from comflowy_nb.workflow.syntax.json_values import is_finite
from comflowy_nb.workflow.workflow import canonical_json

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping, Sequence

    from comflowy_nb.sweeps.sweep import Sweep, SweepCell
    from comflowy_nb.workflow.axes.types import Axis


MAX_FIELDS = 6  # runs that differ in more fields have one axis, the run
_NOT_SET = "(not set)"  # label of runs that do not set the field
_OTHER = "(other)"  # label of cells that match no preset of another sweep
_RESERVED = frozenset({"sweep", "image", "run", "repeat"})


@dataclass(frozen=True, slots=True)
class ExploredValue:
    """A value of an axis: the full text, and a short label for headings and controls."""

    text: str
    label: str


@dataclass(frozen=True, slots=True)
class ExploredAxis:
    """An axis of an exploration.

    Attributes
    ----------
    name
        A unique name: the id of the field, the name of the preset or of the replaced word, or the role.
    label
        The short name.
    role
        The varied property: a field or preset, the sweep, the image of a cell, the run, or the repeat of equal runs.
    kind
        `number` for numeric values, else `list`.
    names
        All names that `find_axis` accepts.
    """

    name: str
    label: str
    role: Literal["field", "sweep", "image", "run", "repeat"]
    kind: Literal["number", "list"]
    values: tuple[ExploredValue, ...]
    names: frozenset[str] = frozenset()

    def as_json(self) -> dict[str, Any]:
        """Return the axis as JSON values for the document."""
        values = [{"text": value.text, "label": value.label} for value in self.values]
        return {"name": self.name, "label": self.label, "role": self.role, "kind": self.kind, "values": values}


Placed = tuple[tuple[ExploredAxis, ...], list[tuple[int, ...]]]  # axes, and the indices of each item on them


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
    listed = f"the axes are {', '.join(names)}" if len(names) > 1 else f"the only axis is {names[0]}"
    raise RefError(f"{name!r} is not an axis here; {listed}{tip}")


# -- sweeps -----------------------------------------------------------------------------------------------------------


def place_cells(sweep: Sweep) -> Placed:
    """Return the axes of a sweep, with the values in the order typed, and the indices of its cells on them."""
    axes = [_axis_of_sweep(axis, sweep) for axis in sweep.axes.axes]
    return _unique(axes), [cell.at for cell in sweep.cells]


def place_sweeps(sweeps: Sequence[Sweep]) -> Placed:
    """Return the common axes of several sweeps, and the indices of their cells. The first axis is the sweep.

    If a sweep does not vary a field of another sweep, its cells have the fixed value of the field on that axis.
    """
    first = ExploredAxis(
        "sweep",
        "sweep",
        "sweep",
        "list",
        tuple(
            ExploredValue(" ".join(filter(None, (sweep.ref, sweep.name))), sweep.name or sweep.ref) for sweep in sweeps
        ),
    )
    keys = dict.fromkeys(_merge_key(axis) for sweep in sweeps for axis in sweep.axes.axes)
    columns = [_MergedAxis(key, sweeps) for key in keys]
    cells = [(index, cell) for index, sweep in enumerate(sweeps) for cell in sweep.cells]
    placed = [column.place(cells) for column in columns]
    kept = [(axis, at) for axis, at in placed if len(axis.values) > 1]
    ats = [(index, *(at[row] for _, at in kept)) for row, (index, _) in enumerate(cells)]
    return _unique([first, *(axis for axis, _ in kept)]), ats


def _axis_of_sweep(axis: Axis, sweep: Sweep) -> ExploredAxis:
    if axis.kind == "seeds":
        texts = seed_texts(axis, sweep)
        explored = [
            ExploredValue(text or value.label, value.label) for text, value in zip(texts, axis.values, strict=True)
        ]
        return _new_axis(axis, explored, is_number=True)
    texts = _texts_of_axis(axis)
    shortened = _labels(texts)
    explored = []
    for value, text, label in zip(axis.values, texts, shortened, strict=True):
        is_named = value.is_named or axis.kind in {"rows", "lines"}
        chosen = value.label if is_named or axis.kind in SEVERAL_FIELDS else label
        full_text = f"{value.label}: {text}" if is_named and text not in {"", value.label} else text
        explored.append(ExploredValue(full_text or chosen, shorten(chosen, 2 * LONG_TEXT) or '""'))
    values = [value.params.get(axis.fields[0]) if len(axis.fields) == 1 else None for value in axis.values]
    is_number = axis.kind in {"values", "lines"} and not any(value.is_named for value in axis.values)
    return _new_axis(axis, explored, is_number=is_number and all(map(is_finite, values)))


def _texts_of_axis(axis: Axis) -> list[str]:
    if axis.kind not in SEVERAL_FIELDS:
        return value_texts(axis)
    names = name_fields(axis.fields)
    return [_write_params({names[key]: param for key, param in value.params.items()}) for value in axis.values]


def _write_params(params: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {write_value(param)}" for name, param in params.items())


def _new_axis(axis: Axis, explored: Sequence[ExploredValue], *, is_number: bool) -> ExploredAxis:
    name, label = axis.name, bare_name(axis.name)
    names = {axis.name, label}
    if axis.kind in {"values", "seeds", "lines"} and len(axis.fields) == 1:
        name = axis.fields[0]
        names |= {name, bare_name(name)}
    return ExploredAxis(name, label, "field", "number" if is_number else "list", tuple(explored), frozenset(names))


def _merge_key(axis: Axis) -> tuple[str, ...]:
    """Return a key that equal axes of several sweeps share: the fields, or the name if the values have labels."""
    if axis.kind in {"values", "seeds"}:
        return ("fields", *sorted(axis.fields))
    return (axis.kind, axis.name, *(axis.fields if axis.kind == "lines" else ()))


class _MergedAxis:
    """Merge equal axes of several sweeps into one axis.

    Values are merged by their params, or on axes of presets, rows and replaced words by their labels.
    """

    def __init__(self, key: tuple[str, ...], sweeps: Sequence[Sweep]) -> None:
        self._axes: dict[int, tuple[int, Axis]] = {}  # index of a sweep -> position and axis
        for index, sweep in enumerate(sweeps):
            for position, axis in enumerate(sweep.axes.axes):
                if _merge_key(axis) == key:
                    self._axes[index] = (position, axis)
        self._by_values = key[0] == "fields"
        self._first = next(iter(self._axes.values()))[1]
        self._values: dict[Hashable, tuple[str, str, Any]] = {}  # identity -> text, label, value
        self._by_params: dict[str, Hashable] = {}
        for _, axis in self._axes.values():
            self._add_values(axis)

    def place(self, cells: Sequence[tuple[int, SweepCell]]) -> tuple[ExploredAxis, list[int]]:
        """Return the axis, and the index of each cell on it."""
        found = [self._identity(index, cell) for index, cell in cells]
        order = list(self._values)
        numbers = [value for _, _, value in self._values.values()]
        is_number = all(map(is_finite, numbers))
        if is_number:
            order.sort(key=lambda identity: float(self._values[identity][2]))
        texts = [self._values[identity][0] for identity in order]
        labels = [self._values[identity][1] for identity in order]
        shortened = _labels(texts)
        explored = [
            ExploredValue(text, label or short) for text, label, short in zip(texts, labels, shortened, strict=True)
        ]
        positions = {identity: position for position, identity in enumerate(order)}
        axis = _new_axis(self._first, explored, is_number=is_number)
        return axis, [positions[identity] for identity in found]

    def _add_values(self, axis: Axis) -> None:
        if axis.kind == "seeds":
            return  # the cells contain the seeds
        seen: Counter[str] = Counter()
        for value, text in zip(axis.values, _texts_of_axis(axis), strict=True):
            seen[value.label] += 1
            params = canonical_json(value.params)
            identity: Hashable = params if self._by_values else (value.label, seen[value.label])
            label = value.label if value.is_named or not self._by_values else ""
            number = next(iter(value.params.values()), None) if self._by_values and not value.is_named else None
            self._values.setdefault(identity, (text or value.label, label, number))
            self._by_params.setdefault(params, identity)

    def _identity(self, index: int, cell: SweepCell) -> Hashable:
        """Return the identity of a cell's value in the sweep `index`. Add the value if it is new."""
        if index in self._axes and not self._by_values:
            position, axis = self._axes[index]
            label = axis.values[cell.at[position]].label
            count = sum(value.label == label for value in axis.values[: cell.at[position] + 1])
            return label, count
        params = {key: cell.params[key] for key in self._first.fields if key in cell.params}
        identity = self._by_params.get(canonical_json(params))
        if identity is not None:
            return identity
        if not self._by_values:
            self._values.setdefault(None, (_OTHER, _OTHER, None))
            return None
        new = canonical_json(params)
        text = write_value(next(iter(params.values()))) if params else _NOT_SET
        self._values.setdefault(new, (text, "" if params else _NOT_SET, next(iter(params.values()), None)))
        self._by_params[new] = new
        return new


# -- runs -------------------------------------------------------------------------------------------------------------


def place_runs(params: Sequence[Mapping[str, Any]], refs: Sequence[str], *, workflows: Sequence[str]) -> Placed:
    """Return an axis for each field in which runs differ, and the indices of the runs on the axes.

    If they differ in no field, or in more than `MAX_FIELDS`, the run is the only axis.
    """
    ids = list(dict.fromkeys(key for params_of_run in params for key in params_of_run))
    names = name_fields(ids)
    columns: list[tuple[str, list[Any]]] = [("workflow", [*workflows])]
    columns += [(key, [params_of_run.get(key) for params_of_run in params]) for key in ids]
    identities = {key: [canonical_json(value) for value in values] for key, values in columns}
    differing = [(key, values) for key, values in columns if len(set(identities[key])) > 1]
    if not differing or len(differing) > MAX_FIELDS:
        run_axis = ExploredAxis("run", "run", "run", "list", tuple(ExploredValue(ref, ref) for ref in refs))
        return (run_axis,), [(index,) for index in range(len(refs))]
    axes, indices = [], []
    for key, values in differing:
        axis, at = _place_values(key, names.get(key, key), values, identities[key])
        axes.append(axis)
        indices.append(at)
    return _unique(axes), list(zip(*indices, strict=True))


def _place_values(
    name: str, label: str, values: Sequence[Any], identities: Sequence[str]
) -> tuple[ExploredAxis, list[int]]:
    by_identity = dict(zip(identities, values, strict=True))
    order = list(by_identity)
    known = [value for value in by_identity.values() if value is not None]
    is_number = all(map(is_finite, known))
    if is_number:  # runs that do not set the field are first
        order.sort(key=lambda key: float("-inf") if by_identity[key] is None else float(by_identity[key]))
    present = [key for key in order if by_identity[key] is not None]
    texts = dict(zip(present, distinct_texts([by_identity[key] for key in present]), strict=True))
    labels = dict(zip(present, _labels([texts[key] for key in present]), strict=True))
    explored = tuple(ExploredValue(texts.get(key, _NOT_SET), labels.get(key, _NOT_SET)) for key in order)
    kind: Literal["number", "list"] = "number" if is_number and len(known) == len(order) else "list"
    axis = ExploredAxis(name, label, "field", kind, explored, frozenset({name, label, bare_name(name)}))
    positions = {key: position for position, key in enumerate(order)}
    return axis, [positions[key] for key in identities]


def add_repeats(placed: Placed) -> Placed:
    """Add the axis `repeat` if several items have equal indices on all axes."""
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
    explored = tuple(ExploredValue(str(number), str(number)) for number in range(1, most + 1))
    return (*axes, ExploredAxis("repeat", "repeat", "repeat", "number", explored)), repeated


# -- texts ------------------------------------------------------------------------------------------------------------


def _labels(texts: Sequence[str]) -> list[str]:
    """Return short labels. They are unique if the texts are unique."""
    short = [shorten(text, LONG_TEXT) or '""' for text in texts]
    if len(set(short)) == len(set(texts)):
        return short
    return [f"{letter_of(index)}: {label}" for index, label in enumerate(short)]


def _unique(axes: Sequence[ExploredAxis]) -> tuple[ExploredAxis, ...]:
    """Return the axes with unique names. A label that is not unique is replaced by the name."""
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
