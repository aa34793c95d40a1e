"""Make axes from tables and files of lines: each row or line is one value. Values are never split or expanded."""

from __future__ import annotations

import itertools
import re
import textwrap
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comflowy_nb.errors import ComflowyError, FieldError, WorkflowError, counted, nearest_tip, option
from comflowy_nb.workflow.axes.types import LABEL, Axis, AxisValue
from comflowy_nb.workflow.fields import Field, FieldType
from comflowy_nb.workflow.files import read_typed_file
from comflowy_nb.workflow.images import InputImage
from comflowy_nb.workflow.syntax.json_values import plain, shown, text_of
from comflowy_nb.workflow.syntax.lists import Item
from comflowy_nb.workflow.syntax.ranges import LARGEST_AXIS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from comflowy_nb.workflow.axes.table_file import Table
    from comflowy_nb.workflow.value_reader import ValueReader
    from comflowy_nb.workflow.workflow import Workflow


_HEADER_CHARS = 28  # limit of a header made from a text
_MAX_FLOAT_INT = 2**53  # a float stores larger whole numbers inexactly
_WHOLE_FLOAT = re.compile(r"[+-]?[0-9]{1,400}\.0+")  # spreadsheets write whole numbers like this
_MAX_PROBLEMS = 20  # in one error; others are counted
_MAX_LINES_BYTES = 16 * 1024 * 1024


def rows_axis(table: Table, workflow: Workflow, reader: ValueReader, info: Sequence[str] = ()) -> Axis:
    """Return the axis `row` of a table.

    Parameters
    ----------
    table
        The table. Its columns are fields (ids, names or aliases), `label`, and the columns in `info`.
    reader
        The reader for the values, including images of `file:` and `run:`. It must not expand names.
    info
        Columns that are not fields, which are kept as text.

    Raises
    ------
    FieldError
        If values are invalid. The error lists the problems with their rows and columns.
    """
    fields, problems = _fields_of(table, workflow, info)
    if not fields and not problems:
        problems.append(f"{table.name}: no column is a field of {workflow.name}")
    labels = [str(row.values.get(LABEL, "")).strip() for row in table.rows]
    counts = Counter(labels)
    values = []
    for number, (row, label) in enumerate(zip(table.rows, labels, strict=True), 1):
        params: dict[str, Any] = {}
        for column, members in fields.items():
            if column in row.values:
                for field in members:
                    try:
                        params[field.id] = _read(field, row.values[column], reader, is_text=table.is_text)
                    except ComflowyError as error:
                        text = str(error).removeprefix(f"{field.where}: ")
                        problems.append(f"{row.where}, column {column}: {text}")
        is_named = bool(label) and counts[label] == 1
        notes = {name: text_of(plain(row.values[name])) for name in info if name in row.values}
        values.append(AxisValue(params, label or _header(number, params.values()), is_named, info=notes))
    if problems:
        others = len(problems) - _MAX_PROBLEMS
        more = [f"and {counted(others, 'more problem')}"] if others > 0 else []
        raise FieldError(*problems[:_MAX_PROBLEMS], *more)
    ids = tuple(field.id for members in fields.values() for field in members)
    return Axis("row", "rows", ids, tuple(values))


def lines_axis(key: str, source: str | Path | Sequence[str], workflow: Workflow) -> tuple[Axis, str | None]:
    """Return an axis whose values are the lines of a text file, and a note about skipped lines.

    Empty lines, and lines that begin with `#` and a space, are skipped.

    Parameters
    ----------
    key
        The field, as in `6::text`.
    source
        A file in UTF-8, UTF-16 or UTF-32, or a list of texts. No text of a list is skipped.

    Raises
    ------
    WorkflowError
        If the file can't be read, or has no lines.
    FieldError
        If the field is unknown, or lines are not valid values. The error lists these lines.
    """
    ids = workflow.find(key)
    if isinstance(source, (str, Path)):
        file, text = read_typed_file(source, _MAX_LINES_BYTES)
        name, lines = file.name, text.removesuffix("\n").split("\n")
        is_kept = [bool(line.strip()) and not line.startswith("# ") for line in lines]
    else:
        name, lines = key, list(source)
        is_kept = [True] * len(lines)
    values: list[AxisValue] = []
    problems = []
    for number, line in itertools.compress(enumerate(lines, 1), is_kept):
        try:
            fields = map(workflow.field, ids)
            params = {field.id: field.read(line if field.type.takes_texts else line.strip()) for field in fields}
        except FieldError as error:
            problems.append(f"{name}, line {number}: {error}")
            continue
        values.append(AxisValue(params, _header(len(values) + 1, [line])))
    if problems:
        raise FieldError(*problems[:_MAX_PROBLEMS])
    if not values:
        raise WorkflowError(f"{name} has no lines with text; empty lines and lines that begin with '# ' are skipped")
    if len(values) > LARGEST_AXIS:
        raise FieldError(f"{name} has {len(values):,} lines; an axis has at most {LARGEST_AXIS:,} values")
    skipped = len(lines) - len(values)
    note = f"{name}: {counted(skipped, 'empty or comment line')} skipped" if skipped else None
    return Axis(key, "lines", ids, tuple(values)), note


def _fields_of(table: Table, workflow: Workflow, info: Sequence[str]) -> tuple[dict[str, list[Field]], list[str]]:
    """Return the fields of each column, and the problems."""
    fields: dict[str, list[Field]] = {}
    column_of: dict[str, str] = {}
    problems = [
        f"{table.name} has no column {name!r} for {option('info')}{nearest_tip(name, table.columns)}"
        for name in info
        if name not in table.columns
    ]
    for column in table.columns:
        if column == LABEL or column in info:
            continue
        try:
            ids = workflow.find(column)
        except FieldError as error:
            problem = f"{table.name}, column {column!r}: {error.problems[0]}"
            end = "" if problem.endswith("?") else "."
            problems.append(f"{problem}{end} {option('info', [column])} keeps the column as information")
            continue
        for field_id in ids:
            if field_id in column_of:
                problems.append(f"{table.name}: the columns {column_of[field_id]!r} and {column!r} are the same field")
            column_of[field_id] = column
        fields[column] = list(map(workflow.field, ids))
    return fields, problems


def _read(field: Field, value: object, reader: ValueReader, *, is_text: bool) -> Any:
    """Parse one table cell by the type of its field."""
    if isinstance(value, str) and (is_text or not field.type.takes_texts):
        if field.type.takes_images or field.is_multiple:
            return reader.value(field, Item(value))
        text = value if field.type is FieldType.STRING else value.strip()
        if reader.seed_word(field, Item(text.lower())) is not None:
            raise FieldError(
                f"{shown(text)} is not one value: leave it empty and type {field.name}=each, which generates a seed "
                f"for each row, or {field.name}=random, one for all rows"
            )
        if field.type is FieldType.INT and _WHOLE_FLOAT.fullmatch(text):
            text = text.partition(".")[0]
            _check_exact(int(text), value)
        return field.read(text)
    number = plain(value)
    if field.type is FieldType.INT and isinstance(number, float):
        _check_exact(number, number)
    return reader.value(field, Item(number, is_python_value=True, exact=True))


def _check_exact(number: float, value: object) -> None:
    """Raise a FieldError for the whole number of a float that is too large to be exact."""
    if abs(number) > _MAX_FLOAT_INT:
        raise FieldError(f"{shown(value)} is a float, which stores whole numbers above 2**53 inexactly; use integers")


def _header(number: int, values: Iterable[object]) -> str:
    """Return a row header such as `3 glass bottle, stars`: the number, and the first words of a text or value."""
    ordered = sorted(values, key=lambda value: not (isinstance(value, str) and " " in value))
    value = next(iter(ordered), "")
    text = value.name if isinstance(value, InputImage) else text_of(value)
    return f"{number} {textwrap.shorten(text, _HEADER_CHARS, placeholder='...')}".rstrip()
