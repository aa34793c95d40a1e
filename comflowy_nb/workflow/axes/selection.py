"""The options of a sweep that make and choose its cells: tables, lines of files, `--zip`, `--where` and `--sample`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from comflowy_nb.errors import FieldError, nearest_tip
from comflowy_nb.workflow.axes.table import lines_axis, rows_axis
from comflowy_nb.workflow.axes.types import zip_axes
from comflowy_nb.workflow.images import InputImage
from comflowy_nb.workflow.syntax.conditions import parse_condition

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from comflowy_nb.workflow.axes.table_file import Table
    from comflowy_nb.workflow.axes.types import Axes, Axis, Cell
    from comflowy_nb.workflow.value_reader import ValueReader
    from comflowy_nb.workflow.workflow import Workflow

__all__ = ["AxisOptions", "add_options", "cell_filter"]


@dataclass(frozen=True, slots=True)
class AxisOptions:
    """The options of a sweep that make and choose its cells.

    Attributes
    ----------
    table
        Rows, of which each is a value of the axis `row`.
    info
        Columns of the table that are not fields.
    lines
        Field -> text file, of which each line is a value.
    zips
        Groups of axes that vary together.
    where
        A condition; combinations that do not fulfil it are left out.
    sample
        The number of cells to choose.
    sample_seed
        Another number chooses other cells.
    """

    table: Table | None = None
    info: Sequence[str] = ()
    lines: Mapping[str, str | Path] = field(default_factory=dict)
    zips: Sequence[Sequence[str]] = ()
    where: str | None = None
    sample: int | None = None
    sample_seed: int = 0


def add_options(axes: Axes, options: AxisOptions, workflow: Workflow, reader: ValueReader) -> Axes:
    """Return axes with those of tables and files, zipped axes, and the choice of cells.

    Raises
    ------
    FieldError, WorkflowError
        If an option is invalid; the texts name it.
    """
    notes = list(axes.notes)
    if options.table is not None:
        axes = _add(axes, rows_axis(options.table, workflow, reader, options.info))
        notes += _missing_notes(axes, options.table, workflow)
    elif options.info:
        raise FieldError("--info names columns of a table: add --table FILE")
    for key, path in options.lines.items():
        axis, note = lines_axis(key, path, workflow)
        axes = _add(axes, axis)
        notes += [note] if note else []
    for names in options.zips:
        axes = _zip(axes, names)
    axes = replace(
        axes, where=options.where, sample=options.sample, sample_seed=options.sample_seed, notes=tuple(notes)
    )
    cell_filter(axes, workflow)  # reports unknown names
    return axes


def cell_filter(axes: Axes, workflow: Workflow) -> Callable[[Cell], bool] | None:
    """Return the function that tells whether `axes.where` keeps a cell; None without a condition.

    Names are those of fields, aliases, axes and columns of `--info`. A value is the one that is submitted, else the
    workflow's own; an axis with labels or presets has the label as its value.

    Raises
    ------
    LineError
        If the condition does not follow the grammar.
    FieldError
        If it names an unknown field.
    """
    if axes.where is None:
        return None
    condition = parse_condition(axes.where)
    values = {name: _value_of(name, axes, workflow) for name in condition.names}

    def keeps(cell: Cell) -> bool:
        return condition.matches({name: value(cell) for name, value in values.items()})

    return keeps


def _value_of(name: str, axes: Axes, workflow: Workflow) -> Callable[[Cell], Any]:
    """Return the function that reads the value of a name from a cell."""
    simple = [axis for one in axes.axes for axis in one.simple]
    if any(axis.name == name and _has_labels(axis) for axis in simple):
        return lambda cell: cell.labels[name]
    if any(name in value.info for axis in simple for value in axis.values):
        return lambda cell: cell.info.get(name)
    try:
        ids = workflow.find(name)
    except FieldError as error:
        names = [axis.name for axis in simple]
        problem = f"{error.problems[0]}{nearest_tip(name, names)}"
        raise FieldError(f"--where {axes.where!r}: {problem}") from None
    if len(ids) > 1:
        raise FieldError(f"--where {axes.where!r}: {name} names {len(ids)} fields; use one of {', '.join(ids)}")
    default = _default(ids[0], workflow)
    return lambda cell: _comparable(cell.params.get(ids[0], default))


def _default(field_id: str, workflow: Workflow) -> Any:
    one = workflow.fields.get(field_id)
    return None if one is None else one.default


def _comparable(value: Any) -> Any:
    return value.name if isinstance(value, InputImage) else value


def _has_labels(axis: Axis) -> bool:
    return axis.kind in {"preset", "replace"} or any(value.is_named for value in axis.values)


def _add(axes: Axes, axis: Axis) -> Axes:
    """Add the axis of a table or a file. A fixed value of one of its fields is for the rows without a value."""
    varied = {name: one.name for one in axes.axes for name in one.fields}
    problems = [f"{name} is set twice: by {axis.name} and by {varied[name]}" for name in axis.fields if name in varied]
    for name in axis.fields:
        is_set = name in axes.fixed or any(name in word.fields for word in axes.seeds)
        if is_set and all(name in value.params for value in axis.values):
            problems.append(f"{name} is set twice: as one value, and in every row of {axis.name}. Keep one.")
    if any(one.name == axis.name for one in axes.axes):
        problems.append(f"two axes are called {axis.name!r}")
    if problems:
        raise FieldError(*problems)
    set_params = tuple(dict.fromkeys((*axes.set_params, *axis.fields)))
    return replace(axes, axes=(axis, *axes.axes) if axis.kind == "rows" else (*axes.axes, axis), set_params=set_params)


def _missing_notes(axes: Axes, table: Table, workflow: Workflow) -> list[str]:
    """Return a note for each column of fields with missing values."""
    notes = []
    for column in table.columns:
        count = table.missing(column)
        ids = [one for one in axes.axes[0].fields if one in _ids(workflow, column)]
        if count and ids:
            own = "the value set for all" if ids[0] in axes.fixed else "the workflow's value"
            notes.append(f"{column}: {count} of {len(table.rows)} rows have none and take {own}")
    return notes


def _ids(workflow: Workflow, column: str) -> tuple[str, ...]:
    try:
        return workflow.find(column)
    except FieldError:
        return ()


def _zip(axes: Axes, names: Sequence[str]) -> Axes:
    """Replace several axes by one, at the position of the first."""
    option = f"--zip {','.join(names)}"
    if len(set(names)) < 2:
        raise FieldError(f"{option} needs two or more axes: --zip cfg,steps")
    found: list[Axis] = []
    for name in names:
        axis = next((one for one in axes.axes if name == one.name or name in one.fields), None)
        if axis is None:
            known = [one.name for one in axes.axes]
            raise FieldError(f"{option}: {name!r} is not an axis{nearest_tip(name, known)}; axes: {', '.join(known)}")
        if axis in found or axis.parts:
            raise FieldError(f"{option}: {name} is zipped twice")
        found.append(axis)
    zipped = zip_axes(found)
    rest = [zipped if one is found[0] else one for one in axes.axes if one is found[0] or one not in found]
    return replace(axes, axes=tuple(rest))
