"""The options that determine the cells of a sweep: tables, lines of files, `zipped`, `where` and `sample`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from comflowy_nb.errors import FieldError, nearest_tip, option
from comflowy_nb.workflow.axes.table import lines_axis, rows_axis
from comflowy_nb.workflow.axes.table_file import is_table, read_rows, read_table_file
from comflowy_nb.workflow.axes.types import zip_axes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from comflowy_nb.workflow.axes.table_file import Table
    from comflowy_nb.workflow.axes.types import Axes, Axis
    from comflowy_nb.workflow.value_reader import ValueReader
    from comflowy_nb.workflow.workflow import Workflow


class CellOptions(TypedDict, total=False):
    """The options that determine the cells of a sweep.

    Attributes
    ----------
    table : str, pathlib.Path, pandas.DataFrame or list of mappings
        A table: a `.csv`, `.tsv`, `.jsonl` or `.parquet` file, or an object. Each row is a value of the axis `row`.
    empty : {"missing", "text"}
        How to read an empty value of CSV and TSV: as missing (the default), or as the empty text.
    info : sequence of str
        Columns of the table that are not fields.
    lines : mapping of str to str or pathlib.Path
        Field -> text file whose lines are the values, or a list of texts.
    zipped : sequence of sequences of str
        Groups of axes that vary together.
    where : str
        A condition. Combinations that do not satisfy it are left out.
    sample : int
        The number of cells to choose, from 1.
    sample_seed : int
        The seed of the choice; another number chooses other cells. 0 by default.
    pinned : mapping of str to int or sequence of int
        Field -> seed, or a seed for each cell in order, instead of generated seeds.
    """

    table: Any
    empty: Literal["missing", "text"]
    info: Sequence[str]
    lines: Mapping[str, str | Path | Sequence[str]]
    zipped: Sequence[Sequence[str]]
    where: str
    sample: int
    sample_seed: int
    pinned: Mapping[str, int | Sequence[int]]


# The options of `Client.sweep` that are not options of the cells.
_SUBMIT_OPTIONS = (
    "fresh", "retry", "name", "max_runs", "stop_after", "window", "x", "y", "z", "strict", "timeout", "save",
)  # fmt: skip


def check_options(options: Mapping[str, object]) -> None:
    """Raise a FieldError for an option that `CellOptions` does not have, with the nearest one."""
    known = CellOptions.__annotations__
    for name in options:
        if name not in known:
            names = [*_SUBMIT_OPTIONS, *known]
            tip = nearest_tip(name, names) or f": use {', '.join(names)}"
            if name in _SUBMIT_OPTIONS:
                tip = ": it is an option of client.sweep, not of a plan"
            elif name == "dry_run":
                tip = ": client.plan_sweep returns the plan and submits nothing"
            raise FieldError(f"a sweep has no option {name!r}{tip}")


def add_options(axes: Axes, options: CellOptions, workflow: Workflow, reader: ValueReader) -> Axes:
    """Return the axes with the options applied: axes of tables and files, zipped axes, and the choice of cells.

    Raises
    ------
    FieldError, WorkflowError
        If an option is invalid. The text names the option.
    """
    notes: list[str] = []
    if "table" in options:
        table = _read_table(options["table"], keep_empty=options.get("empty") == "text")
        axes = _add(axes, rows_axis(table, workflow, reader, _names(options.get("info", ()), "info")))
        notes += _missing_notes(axes, table, workflow)
    elif options.keys() & {"info", "empty"}:
        named = f"{option('info')} and {option('empty')}"
        raise FieldError(f"{named} are for the columns of a table: add {option('table', 'FILE.csv')}")
    for key, path in options.get("lines", {}).items():
        axis, note = lines_axis(key, path, workflow)
        axes = _add(axes, axis)
        notes += [note] if note else []
    for group in options.get("zipped", ()):
        axes = _zip(axes, _names(group, "each group of zipped"))
    sample = options.get("sample")
    if sample is not None and (not isinstance(sample, int) or sample < 1):
        raise FieldError(f"{option('sample', sample)}: use a whole number, 1 or greater")
    axes = replace(
        axes,
        where=options.get("where"),
        sample=sample,
        sample_seed=options.get("sample_seed", 0),
        notes=tuple(notes),
    )
    for key, seeds in options.get("pinned", {}).items():
        axes = _pin(axes, key, seeds, workflow)
    return axes


def _names(names: object, title: str) -> list[str]:
    """Return the names of an option. A text alone would be taken as its letters."""
    if isinstance(names, str) or not isinstance(names, Iterable) or not all(isinstance(name, str) for name in names):
        raise FieldError(f"{title} is a list of names, such as ['cfg', 'steps'], not {names!r}")
    return list(names)


def _pin(axes: Axes, key: str, seeds: int | Sequence[int], workflow: Workflow) -> Axes:
    """Replace generated seeds by pinned seeds: one for all cells, or one for each cell."""
    pinned = dict(axes.pinned)
    fixed = dict(axes.fixed)
    ids = workflow.find(key)
    for field in map(workflow.field, ids):
        if isinstance(seeds, int):
            fixed[field.id] = field.check(seeds)
        else:
            pinned[field.id] = tuple(field.check(seed) for seed in seeds)
    words = [replace(word, fields=tuple(name for name in word.fields if name not in fixed)) for word in axes.seeds]
    return replace(axes, fixed=fixed, pinned=pinned, seeds=tuple(word for word in words if word.fields))


def _read_table(source: Any, *, keep_empty: bool) -> Table:
    if isinstance(source, (str, Path)):
        return read_table_file(source, keep_empty=keep_empty)
    if not is_table(source):
        kind = type(source).__name__
        raise FieldError(f"invalid table of type {kind}: use a file, a DataFrame or a list of mappings, [{{'cfg': 7}}]")
    return read_rows(source)


def _add(axes: Axes, axis: Axis) -> Axes:
    """Add the axis of a table or a file. Rows without a value get the fixed value of the field."""
    varied = {name: axis.name for axis in axes.axes for name in axis.fields}
    problems = [
        f"{name} is set twice, by the axes {axis.name} and {varied[name]}. Keep one."
        for name in axis.fields
        if name in varied
    ]
    problems += [
        f"{name} is set twice: as one value, and in every row of the table. Keep one."
        for name in axis.fields
        if _has_one_value(axes, name) and all(name in value.params for value in axis.values)
    ]
    if any(other.name == axis.name for other in axes.axes):
        problems.append(f"two axes are called {axis.name!r}")
    if problems:
        raise FieldError(*problems)
    set_params = tuple(dict.fromkeys((*axes.set_params, *axis.fields)))
    return replace(axes, axes=(axis, *axes.axes) if axis.kind == "rows" else (*axes.axes, axis), set_params=set_params)


def _has_one_value(axes: Axes, field_id: str) -> bool:
    """Return whether a field is set outside of the axes, to a value or to a seed word."""
    return field_id in axes.fixed or any(field_id in word.fields for word in axes.seeds)


def _missing_notes(axes: Axes, table: Table, workflow: Workflow) -> list[str]:
    """Return a note for each column with missing values."""
    notes = []
    for column in table.columns:
        count = table.missing(column)
        found = _ids(workflow, column)
        ids = [field_id for field_id in axes.axes[0].fields if field_id in found]
        if count and ids:
            own = "the value set for all" if _has_one_value(axes, ids[0]) else "the workflow's value"
            notes.append(f"{column}: {count} of {len(table.rows)} rows have no value and use {own}")
    return notes


def _ids(workflow: Workflow, column: str) -> tuple[str, ...]:
    try:
        return workflow.find(column)
    except FieldError:
        return ()


def _zip(axes: Axes, names: Sequence[str]) -> Axes:
    """Replace several axes by one, at the position of the first."""
    typed = option("zipped", [list(names)])
    if len(set(names)) < 2:
        raise FieldError(f"{typed} needs two or more axes: {option('zipped', [['cfg', 'steps']])}")
    zipped_axes: list[Axis] = []
    for name in names:
        axis = next((axis for axis in axes.axes if name == axis.name or name in axis.fields), None)
        if axis is None:
            known = [axis.name for axis in axes.axes]
            listed = f"the axes are {', '.join(known)}" if known else "the sweep has no axes"
            raise FieldError(f"{typed}: {name!r} is not an axis; {listed}{nearest_tip(name, known)}")
        if axis in zipped_axes or axis.parts:
            raise FieldError(f"{typed}: {name} is zipped twice; name each axis once")
        zipped_axes.append(axis)
    zipped = zip_axes(zipped_axes)
    first, *others = zipped_axes
    return replace(axes, axes=tuple(zipped if axis is first else axis for axis in axes.axes if axis not in others))
