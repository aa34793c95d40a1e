"""Read the rows of a table: CSV, TSV, JSONL and Parquet files, DataFrames and lists of mappings."""

from __future__ import annotations

import csv
import io
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeGuard

from comflowy_nb.errors import FieldError, WorkflowError, counted
from comflowy_nb.settings import expand_home
from comflowy_nb.workflow.files import no_such_file, read_typed_file
from comflowy_nb.workflow.syntax.json_values import is_too_deep, plain, round_computed, shown
from comflowy_nb.workflow.syntax.ranges import LARGEST_AXIS

if TYPE_CHECKING:
    from pathlib import Path

_MAX_BYTES = 64 * 1024 * 1024
_SEPARATORS = {".csv": ",", ".tsv": "\t"}
TABLE_SUFFIXES = frozenset({*_SEPARATORS, ".jsonl", ".parquet"})


@dataclass(frozen=True, slots=True)
class TableRow:
    """One row: its values by column, without missing ones, and its position for errors."""

    values: Mapping[str, object]
    where: str


@dataclass(frozen=True, slots=True)
class Table:
    """The rows of a table, before they are parsed by the types of their fields.

    Attributes
    ----------
    name
        The name of the file; `the table` for Python objects.
    columns
        The names of the columns, in order.
    rows
        The rows, in order.
    is_text
        Whether the values are text to parse (CSV, TSV), not JSON or Python values.
    """

    name: str
    columns: tuple[str, ...]
    rows: tuple[TableRow, ...]
    is_text: bool = False

    def missing(self, column: str) -> int:
        """Return the number of rows without a value in a column."""
        return sum(column not in row.values for row in self.rows)


def is_table(value: object) -> TypeGuard[Any]:
    """Return whether a Python object is a table: a DataFrame, or a list of mappings, which may be empty."""
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return all(isinstance(row, Mapping) for row in value)
    return _is_frame(value)


def read_rows(value: Any, name: str = "the table") -> Table:
    """Convert a DataFrame or a list of mappings to a table.

    None, NaN, `pandas.NA` and an absent key are missing values; an empty text is a value.

    Raises
    ------
    FieldError
        If the name of a column is not text or occurs twice, or the table has no rows or too many.
    """
    rows: Iterable[dict[str, object]]
    if _is_frame(value):
        columns = [_column_name(column, name) for column in value.columns]
        rows = (dict(zip(columns, row, strict=True)) for row in value.itertuples(index=False, name=None))
    else:
        columns = list(dict.fromkeys(_column_name(key, name) for row in value for key in row))
        rows = (dict(row) for row in value)
    _check_columns(name, columns)
    table_rows = [
        TableRow(
            {key: round_computed(item) for key, item in row.items() if not _is_missing(item)}, f"{name}, row {number}"
        )
        for number, row in enumerate(rows, 1)
    ]
    return _check_rows(Table(name, tuple(columns), tuple(table_rows)))


def read_table_file(path: str | Path, *, keep_empty: bool = False) -> Table:
    """Read a table from a file, by its suffix: `.csv`, `.tsv`, `.jsonl` or `.parquet`.

    Parameters
    ----------
    path
        The file. Text files are in UTF-8, UTF-16 or UTF-32, with or without a BOM. The first row of CSV and TSV
        contains the names of the columns; values may be in double quotes and contain line breaks.
    keep_empty
        Whether an empty value of CSV and TSV is the empty text. Otherwise it is missing.

    Raises
    ------
    WorkflowError
        If the file can't be read.
    FieldError
        If rows are invalid. It contains all of them.
    """
    file = expand_home(path)
    suffix = file.suffix.lower()
    if suffix not in TABLE_SUFFIXES:
        raise WorkflowError(f"{file.name!r} is not a table: use a .csv, .tsv, .jsonl or .parquet file")
    if suffix == ".parquet":
        return _read_parquet(file, path)
    _, text = read_typed_file(path, _MAX_BYTES)
    if suffix == ".jsonl":
        return _read_jsonl(file.name, text)
    return _read_csv(file.name, text, _SEPARATORS[suffix], keep_empty=keep_empty)


def _read_csv(name: str, text: str, separator: str, *, keep_empty: bool) -> Table:
    problems: list[str] = []
    rows: list[TableRow] = []
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    before = 0
    columns: list[str] = []
    try:
        for cells in reader:
            first_line, before = before + 1, reader.line_num
            if not any(map(str.strip, cells)) and len(cells) <= 1:
                continue
            if not columns:
                columns = [cell.strip() for cell in cells]
                _check_separator(name, columns, separator)
                _check_columns(name, columns)
                continue
            where = f"{name}, row {len(rows) + 1} (line {first_line})"
            if len(cells) != len(columns):
                expected = counted(len(columns), "column")
                problems.append(
                    f"{where}: {counted(len(cells), 'value')}, but the first row has {expected}; "
                    "put a text with commas in double quotes"
                )
            values = {key: cell for key, cell in zip(columns, cells, strict=False) if cell or keep_empty}
            rows.append(TableRow(values, where))
    except csv.Error as error:
        problems.append(f'{name}, line {before + 1}: {error}; a double quote within a quoted text is doubled: ""')
    if problems:
        raise FieldError(*problems)
    return _check_rows(Table(name, tuple(columns), tuple(rows), is_text=True))


def _read_jsonl(name: str, text: str) -> Table:
    problems: list[str] = []
    objects: list[tuple[int, dict[str, object]]] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line, object_pairs_hook=_unique_keys)
        except (ValueError, RecursionError) as error:
            problems.append(f"{name}, line {number}: {_json_problem(error)}")
            continue
        if not isinstance(row, dict) or is_too_deep(row):
            problems.append(f'{name}, line {number}: a JSON object such as {{"cfg": 7}} is expected in each line')
            continue
        objects.append((number, row))
    if problems:
        raise FieldError(*problems)
    columns = list(dict.fromkeys(key for _, row in objects for key in row))
    _check_columns(name, columns)
    rows = [
        TableRow(
            {key: value for key, value in row.items() if not _is_missing(value)}, f"{name}, row {index} (line {line})"
        )
        for index, (line, row) in enumerate(objects, 1)
    ]
    return _check_rows(Table(name, tuple(columns), tuple(rows)))


def _read_parquet(file: Path, path: str | Path) -> Table:
    if not file.is_file():
        raise WorkflowError(no_such_file(path))
    try:
        import pandas as pd  # noqa: PLC0415 - an optional package, and slow to import
    except ImportError:
        raise WorkflowError(f"{file.name}: Parquet files need pandas and pyarrow: pip install pandas pyarrow") from None
    try:
        return read_rows(pd.read_parquet(file), file.name)
    except (ImportError, OSError, ValueError) as error:
        raise WorkflowError(f"{file.name} can't be read: {str(error).splitlines()[0]}") from error


# -- checks --------------------------------------------------------------------------------------------------------


def _check_rows(table: Table) -> Table:
    if not table.columns or not table.rows:
        tip = ": the first row must have the names of the columns, and each further row is a cell"
        raise FieldError(f"{table.name} has no rows{tip if table.is_text else '; each row is a cell'}")
    if len(table.rows) > LARGEST_AXIS:
        raise FieldError(f"{table.name} has {len(table.rows):,} rows; a sweep takes at most {LARGEST_AXIS:,}")
    return table


def _check_columns(name: str, columns: Sequence[str]) -> None:
    problems = [f"{name}: two columns are called {key!r}" for key, count in Counter(columns).items() if count > 1]
    if not all(columns):
        problems.append(f"{name}: column {list(columns).index('') + 1} has no name in the first row")
    if problems:
        raise FieldError(*problems)


def _check_separator(name: str, columns: Sequence[str], separator: str) -> None:
    """Raise an error if another character seems to separate the columns."""
    for other, text in ((";", "semicolons"), ("\t", "tabs"), (",", "commas")):
        if len(columns) == 1 and other != separator and other in columns[0]:
            expected = "tabs" if separator == "\t" else "commas"
            tip = " or call the file .tsv" if other == "\t" else " or call the file .csv" if other == "," else ""
            raise FieldError(f"{name}: its columns are separated by {text}; save it with {expected}{tip}")


def _column_name(key: object, name: str) -> str:
    if not isinstance(key, str):
        raise FieldError(f"{name}: {shown(key)} is not the name of a column; use text")
    return key


def _unique_keys(pairs: Iterable[tuple[str, object]]) -> dict[str, object]:
    pairs = list(pairs)
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise ValueError(f"{twice!r} is set twice")
    return mapping


def _json_problem(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"not valid JSON: {error.msg} at column {error.colno}"
    return str(error) if isinstance(error, ValueError) else "brackets are nested too deep"


def _is_frame(value: object) -> bool:
    return callable(getattr(value, "itertuples", None)) and hasattr(value, "columns")


def _is_missing(value: object) -> bool:
    """Return whether a value is None, NaN, `pandas.NA` or `pandas.NaT`."""
    if value is None or type(value).__name__ in {"NAType", "NaTType"}:
        return True
    number = plain(value)
    return isinstance(number, float) and math.isnan(number)
