"""The cells of a sweep as a table: rows of plain values, or a pandas frame that shows small images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from comflowy_nb.database.search import is_equal
from comflowy_nb.errors import ImageError, SettingsError
from comflowy_nb.layout.captions import name_fields
from comflowy_nb.workflow.images import InputImage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    import pandas as pd

    from comflowy_nb.status import Status
    from comflowy_nb.tracking.run import Images, Run

__all__ = ["NOT_SENT", "TableCell", "image_of_cell", "label_columns", "order_params", "table_of", "to_dataframe"]

NOT_SENT = "not sent"
_OWN = ("cell", "status", "seconds", "run", "error", "image", "thumbnail")  # columns that no field may take


class TableCell(Protocol):
    """One cell of a sweep: its place, what it asks for, and its run once there is one."""

    @property
    def number(self) -> int: ...
    @property
    def ref(self) -> str: ...
    @property
    def at(self) -> tuple[int, ...]: ...
    @property
    def params(self) -> Mapping[str, Any]: ...
    @property
    def labels(self) -> Mapping[str, str]: ...
    @property
    def status(self) -> Status | None: ...
    @property
    def error(self) -> str | None: ...
    @property
    def run(self) -> Run | None: ...
    @property
    def images(self) -> Images | Sequence[Any]: ...


def table_of(cells: Iterable[TableCell]) -> list[dict[str, Any]]:
    """A row for each cell, all with the same columns.

    Returns
    -------
    In their order: `cell` (`s1.7`); the labels of the axes that say more than a value does; the params, those that vary
    first, under short names where these are unique; `status`, `seconds` from submit to end, `run` (`r41`), `error`, and
    `image`, the path of the first image on disk. None where there is nothing to say.
    """
    cells = list(cells)
    ids = order_params(cells)
    labels = label_columns(cells, ids)
    columns = _columns(ids, labels.values())
    rows = []
    for cell in cells:
        row: dict[str, Any] = {"cell": cell.ref}
        row |= {column: cell.labels.get(axis) for axis, column in labels.items()}
        row |= {columns[key]: _plain(cell.params.get(key)) for key in ids}
        row["status"] = NOT_SENT if cell.status is None else str(cell.status)
        row["seconds"] = None if cell.run is None else cell.run.record.seconds
        row["run"] = None if cell.run is None else cell.run.ref
        row["error"] = cell.error
        row["image"] = image_of_cell(cell)
        rows.append(row)
    return rows


def to_dataframe(cells: Iterable[TableCell]) -> pd.DataFrame:
    """The table as a pandas frame, with a column `thumbnail` that a notebook shows as small images.

    Raises
    ------
    SettingsError
        If pandas is not installed; it says how to get it.
    """
    try:
        from comflowy_nb.sweeps.dataframe import frame_of  # noqa: PLC0415 - loads pandas
    except ModuleNotFoundError as error:
        if error.name != "pandas":
            raise
        raise SettingsError("a table needs pandas: pip install 'comflowy_nb[dataframe]'") from error
    return frame_of(table_of(cells))


def image_of_cell(cell: TableCell) -> Path | None:
    """The path of its first image that is on disk."""
    for image in cell.images:
        try:
            path: Path = image.path
        except ImageError:
            continue
        return path
    return None


def order_params(cells: Sequence[TableCell]) -> list[str]:
    """The field ids of the cells' params: those that vary first."""
    ids = list(dict.fromkeys(key for cell in cells for key in cell.params))
    varied = {key for key in ids if any(not _is_same(cell.params, cells[0].params, key) for cell in cells)}
    return sorted(ids, key=lambda key: key not in varied)


def label_columns(cells: Sequence[TableCell], ids: Sequence[str]) -> dict[str, str]:
    """The axes whose labels say more than the values in the column of the same name do, and a column for each."""
    names = name_fields(ids)
    columns = {}
    for axis in dict.fromkeys(axis for cell in cells for axis in cell.labels):
        key = next((key for key, name in names.items() if axis in {name, key}), None)
        if key is None:
            columns[axis] = axis if axis not in _OWN else f"{axis} label"
        elif any(not _is_text_of(cell.labels.get(axis), cell.params.get(key)) for cell in cells):
            columns[axis] = f"{names[key]} label"
    return columns


def _columns(ids: Sequence[str], taken: Iterable[str]) -> dict[str, str]:
    """Field id -> its column: the short name, or the id where two columns would be called the same."""
    reserved = {*_OWN, *taken}
    return {key: key if name in reserved else name for key, name in name_fields(ids).items()}


def _plain(value: Any) -> Any:
    return value.name if isinstance(value, InputImage) else value


def _is_same(one: Mapping[str, Any], other: Mapping[str, Any], key: str) -> bool:
    if (key in one) != (key in other):
        return False
    return key not in one or (type(one[key]) is type(other[key]) and bool(one[key] == other[key]))


def _is_text_of(label: str | None, value: Any) -> bool:
    return label is not None and is_equal(value, label)
