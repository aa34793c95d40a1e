"""The cells of a sweep as a table: rows of plain values, or a pandas frame that shows thumbnails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comflowy_nb.database.search import is_equal
from comflowy_nb.errors import ImageError, SettingsError
from comflowy_nb.layout.captions import name_fields
from comflowy_nb.workflow.images import InputImage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    import pandas as pd

    from comflowy_nb.sweeps.cell import SweepCell

__all__ = ["image_of_cell", "table_of", "to_dataframe"]

_OWN_COLUMNS = {"cell", "status", "seconds", "run", "error", "image", "thumbnail"}  # not for fields


def table_of(cells: Iterable[SweepCell]) -> list[dict[str, Any]]:
    """Return a row for each cell, all with the same columns.

    Returns
    -------
    In their order: `cell` (`s1.7`); the labels of axes that differ from the values; the params, those that vary first,
    under short names where these are unique; `status`, `seconds` from submit to end, `run` (`r41`), `error`, and
    `image`, the path of the first image on disk. None where there is no value.
    """
    cells = list(cells)
    ids = _order_params(cells)
    labels = _label_columns(cells, ids)
    reserved = {*_OWN_COLUMNS, *labels.values()}
    columns = {key: key if name in reserved else name for key, name in name_fields(ids).items()}
    return [
        {
            "cell": cell.ref,
            **{column: cell.labels.get(axis) for axis, column in labels.items()},
            **{columns[key]: _plain(cell.params.get(key)) for key in ids},
            "status": cell.status_text,
            "seconds": None if cell.run is None else cell.run.record.seconds,
            "run": None if cell.run is None else cell.run.ref,
            "error": cell.error,
            "image": image_of_cell(cell),
        }
        for cell in cells
    ]


def to_dataframe(cells: Iterable[SweepCell]) -> pd.DataFrame:
    """Return the table as a pandas frame with a column `thumbnail` that a notebook shows as images.

    Raises
    ------
    SettingsError
        If pandas is not installed.
    """
    try:
        from comflowy_nb.sweeps.dataframe import frame_of  # noqa: PLC0415 - loads pandas
    except ModuleNotFoundError as error:
        if error.name != "pandas":
            raise
        raise SettingsError("a table needs pandas: pip install 'comflowy_nb[dataframe]'") from error
    cells = list(cells)
    return frame_of(table_of(cells), [image_of_cell(cell) or _thumbnail_of_cell(cell) for cell in cells])


def image_of_cell(cell: SweepCell) -> Path | None:
    """Return the path of the first image on disk."""
    for image in cell.images:
        try:
            path: Path = image.path
        except ImageError:
            continue
        return path
    return None


def _thumbnail_of_cell(cell: SweepCell) -> Path | None:
    """Return the path of the thumbnail of the first image that was pruned."""
    for image in cell.images:
        try:
            path: Path | None = image.thumbnail(256) if image.is_pruned else None
        except ImageError:
            continue
        if path is not None:
            return path
    return None


def _order_params(cells: Sequence[SweepCell]) -> list[str]:
    """Return the field ids of the cells' params, those that vary first."""
    ids = list(dict.fromkeys(key for cell in cells for key in cell.params))
    varied = {key for key in ids if any(not _is_same(cell.params, cells[0].params, key) for cell in cells)}
    return sorted(ids, key=lambda key: key not in varied)


def _label_columns(cells: Sequence[SweepCell], ids: Sequence[str]) -> dict[str, str]:
    """Return a column for each axis whose labels differ from the values of its field."""
    names = name_fields(ids)
    columns = {}
    for axis in dict.fromkeys(axis for cell in cells for axis in cell.labels):
        key = next((key for key, name in names.items() if axis in {name, key}), None)
        if key is None:
            columns[axis] = axis if axis not in _OWN_COLUMNS else f"{axis} label"
        elif any(axis not in cell.labels or not is_equal(cell.params.get(key), cell.labels[axis]) for cell in cells):
            columns[axis] = f"{names[key]} label"
    return columns


def _plain(value: Any) -> Any:
    return value.name if isinstance(value, InputImage) else value


def _is_same(one: Mapping[str, Any], other: Mapping[str, Any], key: str) -> bool:
    """Return whether two params have the same value of the same type, or both have none."""
    if key not in one or key not in other:
        return (key in one) == (key in other)
    return type(one[key]) is type(other[key]) and bool(one[key] == other[key])
