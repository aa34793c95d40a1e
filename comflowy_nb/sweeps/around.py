"""Make a sweep around a cell or a run: vary its numbers again, with values nearer to its own."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from comflowy_nb.database.references import parse_ref
from comflowy_nb.errors import ComflowyError, FieldError, RefError
from comflowy_nb.layout.text import shorten
from comflowy_nb.layout.value_text import write_value
from comflowy_nb.sweeps.cell import SweepCell
from comflowy_nb.tracking.run import Run, RunImage
from comflowy_nb.workflow.axes.narrow import narrow
from comflowy_nb.workflow.axes.read import read_axes
from comflowy_nb.workflow.fields import Field
from comflowy_nb.workflow.syntax.json_values import is_finite
from comflowy_nb.workflow.syntax.line import BRACED_NAME, split_line
from comflowy_nb.workflow.syntax.lists import Setting
from comflowy_nb.workflow.values import narrowest_field

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from comflowy_nb.library import Library
    from comflowy_nb.workflow.axes.types import Axes, Axis
    from comflowy_nb.workflow.image_metadata import RunMetadata
    from comflowy_nb.workflow.workflow import Workflow


_PLAIN_TEXT = re.compile(r"[\w./+-]+")
_MAX_LINE_CHARS = 400
_MAX_VALUE_CHARS = 40  # in the text of a fixed value
_MAX_WHOLE = 1e15  # a float is written without its fraction up to this
_FIXED_KINDS = {
    "seeds": "a seed",
    "preset": "a preset",
    "rows": "a row of a table",
    "lines": "a line of a file",
    "replace": "a text",
}


@dataclass(frozen=True, slots=True)
class Around:
    """The run or cell at the center of a sweep. `cell` is None for a run that is not a cell."""

    ref: str
    run: Run
    cell: SweepCell | None


@dataclass(frozen=True, slots=True)
class SweepAround:
    """The workflow, the axes and the other values of a sweep around a cell or a run.

    `axes.notes` has the same sweep as a line, and the axes that stay fixed.
    """

    workflow: Workflow
    axes: Axes
    base: RunMetadata
    center: Around


def find_center(library: Library, what: object) -> Around:
    """Return the center of a sweep.

    Parameters
    ----------
    what
        A cell, a run, an image of a run, or its reference.

    Raises
    ------
    RefError
        If it is another object, does not exist or was not submitted.
    """
    if isinstance(what, RunImage):
        what = what.run
    if isinstance(what, SweepCell):
        if what.run is None:
            raise RefError(f"{what.ref} was not submitted, so there is nothing to reuse; sweep around another cell")
        return Around(what.ref, what.run, what)
    if isinstance(what, Run):
        return Around(what.ref, what, None)
    if not isinstance(what, str):
        raise RefError(f"{what!r} is not a cell or a run: use around=sweep[6] or around='s1.7'")
    parsed = parse_ref(what)
    run = library.find(what).run
    if parsed.cell is None:
        return Around(run.ref, run, None)
    record = library.find(parsed.whole).sweep
    cell = library.sweep(record).cell(parsed.cell) if record is not None else None
    return Around(cell.ref if cell is not None else run.ref, run, cell)


def settings_around(
    around: Around, workflow: Workflow, *, names: Sequence[str] = (), explicit: Collection[str] = ()
) -> tuple[list[Setting], list[str]]:
    """Return the settings of the narrowed axes, and texts of the fixed ones: `sampler_name euler (not a number)`.

    Parameters
    ----------
    names
        Names of the fields to vary. By default all axes of the sweep.
    explicit
        Ids of fields that the user sets. They are left out.

    Raises
    ------
    FieldError
        If a name is not a field, or no axis can be narrowed and `explicit` is empty.
    RefError
        If a run is given without names.
    """
    settings: list[Setting] = []
    fixed: list[str] = []
    for name, ids, axis, fixed_reason in _candidates(around, workflow, names):
        if not set(explicit).isdisjoint(ids):
            continue
        reason, values = fixed_reason, []
        if not reason:
            try:
                values = _narrowed_values(around, workflow, ids, axis)
            except FieldError as error:
                reason = str(error)
        if reason:
            fixed.append(f"{name} {_fixed_text(around, workflow, ids, axis)} ({reason})")
        else:
            settings.append(Setting(name, values, where=f"--around {around.ref}", is_python_value=True))
    if not settings and not explicit:
        reasons = ", ".join(fixed) or "it has no axes"
        raise FieldError(
            f"no field of {around.ref} can vary: {reasons}. Name other number fields: "
            f"%comflowy sweep --around {around.ref} cfg"
        )
    return settings, fixed


def _candidates(
    around: Around, workflow: Workflow, names: Sequence[str]
) -> list[tuple[str, tuple[str, ...], Axis | None, str]]:
    """Return (name, field ids, axis, reason) of each axis. The reason is empty if the axis may vary."""
    groups = around.cell.sweep.axes.axes if around.cell is not None else ()
    if not names:
        if around.cell is None:
            raise RefError(
                f"{around.ref} is a run and has no axes: name the fields to vary, as in %comflowy sweep --around "
                f"{around.ref} cfg steps; or a cell of a sweep, as in s1.7"
            )
        reasons = [
            (axis, _fixed_reason(axis, is_zipped=bool(group.parts))) for group in groups for axis in group.simple
        ]
        return [(axis.name if why else _field_name(axis, workflow), axis.fields, axis, why) for axis, why in reasons]
    simple = [axis for group in groups for axis in group.simple]
    found: list[tuple[str, tuple[str, ...], Axis | None, str]] = []
    problems = []
    for name in names:
        axis = next((axis for axis in simple if axis.name == name), None)
        try:
            ids = axis.fields if axis is not None else workflow.find(name)
        except FieldError as error:
            problems.append(str(error))
            continue
        axis = axis or next((axis for axis in simple if axis.fields == ids), None)
        if axis is None:
            found.append((name, ids, None, _seed_reason(ids)))
        else:
            found.append((_field_name(axis, workflow), ids, axis, _fixed_reason(axis)))
    if problems:
        raise FieldError("\n".join(problems))
    return found


def _field_name(axis: Axis, workflow: Workflow) -> str:
    """Return a name for the fields of an axis: the typed name, else the id of the only field."""
    with suppress(FieldError):
        if workflow.find(axis.name) == axis.fields:
            return axis.name
    return axis.fields[0] if len(axis.fields) == 1 else axis.name


def _fixed_reason(axis: Axis, *, is_zipped: bool = False) -> str:
    """Return the reason why an axis stays fixed; empty if it may vary."""
    if axis.kind in _FIXED_KINDS:
        return _FIXED_KINDS[axis.kind]
    if reason := _seed_reason(axis.fields):
        return reason
    if not all(is_finite(param) for value in axis.values for param in value.params.values()):
        return "not a number"
    return "it varies together with other axes" if is_zipped else ""


def _seed_reason(ids: Sequence[str]) -> str:
    is_seed = any("seed" in field_id.partition("::")[2].lower() for field_id in ids)
    return "a seed: near seeds do not give similar images" if is_seed else ""


def _center_value(around: Around, workflow: Workflow, field_id: str) -> Any:
    """Return a field's value at the center: the run's value, else the workflow's default."""
    params = around.run.params
    return params[field_id] if field_id in params else workflow.field(field_id).default


def _narrowed_values(around: Around, workflow: Workflow, ids: tuple[str, ...], axis: Axis | None) -> list[float]:
    """Return new values of a field, around the center. Raise a FieldError with the reason if it can't vary."""
    center = _center_value(around, workflow, ids[0])
    if not is_finite(center):
        raise FieldError("not a number" if center is not None else "its value is not known")
    known = [next(iter(value.params.values())) for value in axis.values] if axis is not None else []
    return narrow(center, known, narrowest_field(workflow, ids) or Field(ids[0]))


def _fixed_text(around: Around, workflow: Workflow, ids: tuple[str, ...], axis: Axis | None) -> str:
    """Return the label or the value of a fixed axis, as in a caption."""
    labels = around.cell.labels if around.cell is not None else {}
    is_named = axis is not None and axis.kind in {"preset", "rows", "lines", "replace"}
    text = labels.get(axis.name, "") if axis is not None and is_named else ""
    return shorten(text or write_value(_center_value(around, workflow, ids[0])), _MAX_VALUE_CHARS)


# -- the same sweep as a line -----------------------------------------------------------------------------------------


def write_sweep_line(name: str, workflow: Workflow, axes: Axes) -> str | None:
    """Return a line for the same sweep without a reference; None if it can't be typed on a short line."""
    # A setting that can't be typed is None.
    words = [
        _write_setting(
            _shortest_name(axis.fields, axis, workflow), [_shared_value(value.params) for value in axis.values]
        )
        for axis in axes.axes
    ]
    words += [
        _write_setting(_shortest_name((field_id,), None, workflow), [value]) for field_id, value in axes.fixed.items()
    ]
    written = [word for word in words if word is not None]
    line = " ".join(["%comflowy sweep", name, *written])
    if len(written) < len(words) or len(line) > _MAX_LINE_CHARS or line[-1] in "?;" or axes.seeds or axes.texts:
        return None
    return line if _reads_as(line, workflow, axes) else None


def write_values(settings: Sequence[Setting]) -> str:
    """Return settings of numbers as words of a line: `cfg=6.5,7,7.5 steps=15,20,25`."""
    return " ".join(f"{setting.key}={','.join(map(_number, _as_list(setting.value)))}" for setting in settings)


def _as_list(value: object) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _shared_value(params: Mapping[str, Any]) -> Any:
    """Return the value that all fields of an axis share; None if there are several."""
    values = list(params.values())
    return values[0] if values and all(value == values[0] for value in values) else None


def _shortest_name(ids: tuple[str, ...], axis: Axis | None, workflow: Workflow) -> str:
    """Return the shortest name that finds these fields."""
    names = [ids[0].partition("::")[2], *([axis.name] if axis is not None else [])]
    for name in names:
        with suppress(FieldError):
            if workflow.find(name) == ids:
                return name
    return ids[0]


def _write_setting(key: str, values: Sequence[Any]) -> str | None:
    texts = [_write_typed(value, is_alone=len(values) == 1) for value in values]
    known = [text for text in texts if text is not None]
    return f"{key}={','.join(known)}" if len(known) == len(texts) else None


def _write_typed(value: Any, *, is_alone: bool) -> str | None:
    """Return a value as it can be typed on a line of a sweep; None if it can't."""
    if isinstance(value, bool):
        return str(value).lower()
    if is_finite(value):
        return _number(value)
    if not isinstance(value, str) or "\n" in value or "\r" in value or not (is_alone or _PLAIN_TEXT.fullmatch(value)):
        return None
    text = BRACED_NAME.sub(lambda found: "{" + found[0] + "}", value)
    if _PLAIN_TEXT.fullmatch(text):
        return text
    mark = next((mark for mark in "\"'" if mark not in text), None)
    return None if mark is None else f"{mark}{text}{mark}"


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) and abs(value) < _MAX_WHOLE else repr(value)


def _reads_as(line: str, workflow: Workflow, axes: Axes) -> bool:
    """Return True if parsing a line gives these axes and values."""
    try:
        words = split_line(line.removeprefix("%comflowy "), sweep=True)[2:]
        typed = [Setting(word.key or "", word.value or "", quoted=word.quoted) for word in words]
        read = read_axes(workflow, typed, namespace={})
    except ComflowyError:
        return False
    return dict(read.fixed) == dict(axes.fixed) and _values_of(read) == _values_of(axes)


def _values_of(axes: Axes) -> list[tuple[tuple[str, ...], list[Mapping[str, Any]]]]:
    return [(axis.fields, [value.params for value in axis.values]) for axis in axes.axes]
