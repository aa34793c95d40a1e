"""Convert the cells of a sweep to a pandas DataFrame that shows thumbnails. Only this module imports pandas."""

from __future__ import annotations

import base64
import contextlib
import io
import re
import uuid
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from PIL import Image

from comflowy_nb.database.queries.field_filters import is_equal
from comflowy_nb.errors import ImageError
from comflowy_nb.images.decode import flatten
from comflowy_nb.images.thumbnail_sizes import SMALL_THUMBNAIL_PX, thumbnail_of
from comflowy_nb.layout.text import without_mathematics
from comflowy_nb.layout.value_text import name_fields
from comflowy_nb.tracking.reviews import best_review, read_reviews
from comflowy_nb.workflow.images import InputImage, assert_decodable, open_image_file

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from comflowy_nb.exploration.table import RunRow
    from comflowy_nb.sweeps.cell import SweepCell


SIDE_PX = 96
MAX_IMAGE_BYTES = 600_000  # in one table, as base64
_QUALITY = 80
# Names of columns that no field, label or info column gets.
_OWN_COLUMNS = {
    "cell", "status", "seconds", "queued_s", "rating", "rejected", "note", "run", "error", "image", "thumbnail",
}  # fmt: skip


class Thumbnail:
    """A small image in a cell of a table; its text is the reference of the image."""

    __slots__ = ("path", "text")

    def __init__(self, text: str, path: Path) -> None:
        self.text = text
        self.path = path

    def jpeg(self) -> tuple[bytes, tuple[int, int]] | None:
        """Return the image within 96 x 96 px, and its size; None if it is not on disk."""
        # The smallest thumbnail made at download; the original if it was removed.
        for path in (thumbnail_of(self.path, SMALL_THUMBNAIL_PX), self.path):
            try:
                with open_image_file(path) as image:
                    image.draft("RGB", (2 * SIDE_PX, 2 * SIDE_PX))
                    assert_decodable(image, self.text)
                    small = flatten(image)
            except (OSError, ImageError):
                continue
            small.thumbnail((SIDE_PX, SIDE_PX), Image.Resampling.LANCZOS, reducing_gap=2.0)
            buffer = io.BytesIO()
            small.save(buffer, "JPEG", quality=_QUALITY, optimize=True)
            return buffer.getvalue(), small.size
        return None

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"<Thumbnail {self.text}>"


class ImageFrame(pd.DataFrame):
    """A DataFrame that a notebook shows with thumbnails, and with file names without their folders.

    pandas must escape the text of cells, because it comes from prompts and services. For each thumbnail it therefore
    writes a random placeholder, which is then replaced by the image.
    """

    @property
    def _constructor(self) -> type[ImageFrame]:
        return ImageFrame

    def _repr_html_(self) -> str | None:
        secret = uuid.uuid4().hex[:12]  # short: pandas cuts texts of cells at `max_colwidth`
        thumbnails: list[Thumbnail] = []

        def placeholder(value: Any) -> Any:
            if not isinstance(value, Thumbnail):
                return _display_value(value)
            thumbnails.append(value)
            return f"{secret}-{len(thumbnails) - 1}"

        markup = self._with(placeholder)._repr_html_()  # type: ignore[operator]  # pandas-stubs leave it out
        if markup is None:  # display.notebook_repr_html is off
            return None
        left_bytes = MAX_IMAGE_BYTES

        def draw(match: re.Match[str]) -> str:
            nonlocal left_bytes
            thumbnail = thumbnails[int(match[1])]
            jpeg = thumbnail.jpeg() if left_bytes > 0 else None
            if jpeg is None:
                return escape(thumbnail.text)
            content, (width_px, height_px) = jpeg
            coded = base64.b64encode(content).decode("ascii")
            left_bytes -= len(coded)
            text = escape(thumbnail.text)
            return (
                f'<img src="data:image/jpeg;base64,{coded}" width="{width_px}" height="{height_px}" '
                f'alt="{text}" title="{text}">'
            )

        return re.sub(rf"{secret}-([0-9]+)", draw, without_mathematics(str(markup)))

    def __repr__(self) -> str:
        return repr(self._with(_display_value))

    def _with(self, change: Callable[[Any], Any]) -> pd.DataFrame:
        """Return a plain copy with changed values in the columns of objects."""
        plain = pd.DataFrame(self)
        for position, dtype in enumerate(plain.dtypes):
            if pd.api.types.is_object_dtype(dtype):
                values = [change(value) for value in plain.iloc[:, position]]
                plain = plain.copy(deep=False)
                plain.isetitem(position, pd.Series(values, dtype=object, index=plain.index).array)
        return plain


def to_dataframe(cells: Sequence[SweepCell | RunRow]) -> ImageFrame:
    """Return a row for each cell, with a column `thumbnail` that a notebook shows as images."""
    rows = table_of(cells)
    frame = ImageFrame(rows)
    if rows:
        frame["image"] = pd.Series([row["image"] for row in rows], dtype=object)
        shown = [cell.first_image or _pruned_thumbnail(cell) for cell in cells]
        images = [None if path is None else Thumbnail(cell.ref, path) for cell, path in zip(cells, shown, strict=True)]
        frame["thumbnail"] = pd.Series(images, dtype=object)
    return frame


def _pruned_thumbnail(cell: SweepCell | RunRow) -> Path | None:
    """Return the path of the thumbnail of the first image that was pruned."""
    for image in cell.images:
        with contextlib.suppress(ImageError):
            if image.is_pruned:
                path: Path = image.thumbnail(SMALL_THUMBNAIL_PX)
                return path
    return None


def _display_value(value: Any) -> Any:
    return value.name if isinstance(value, Path) else value


# -- rows -------------------------------------------------------------------------------------------------------


def table_of(cells: Sequence[SweepCell | RunRow]) -> list[dict[str, Any]]:
    """Return a row for each cell, as a mapping from column name to value. All rows have the same columns.

    The columns, in order, are `cell` (`s1.7`); the labels of axes if they differ from the values; the columns of
    `--info`; the params, those that vary first, under short names if these are unique; `status`; `seconds`, the
    execution time; `queued_s`, the time before the execution; `rating`, `rejected`, `note` and the scores of the best
    image; `run` (`r41`); `error`; and `image`, the path of the first image on disk. A missing value is None.
    """
    ids = _order_params(cells)
    labels = _label_columns(cells, ids)
    infos = list(dict.fromkeys(name for cell in cells for name in cell.info))
    reserved = {*_OWN_COLUMNS, *labels.values(), *infos}
    columns = {key: key if name in reserved else name for key, name in name_fields(ids).items()}
    by_token = read_reviews(image for cell in cells for image in cell.images)
    reviews = [best_review(cell.images, by_token) for cell in cells]
    used = {*reserved, *columns.values()}
    scores = {
        name: f"{name} score" if name in used else name
        for name in sorted({name for review in reviews for name in review.scores})
    }
    return [
        {
            "cell": cell.ref,
            **{column: cell.labels.get(axis) for axis, column in labels.items()},
            **{name if name not in _OWN_COLUMNS else f"{name} info": cell.info.get(name) for name in infos},
            **{columns[key]: _plain(cell.params.get(key)) for key in ids},
            "status": cell.status_text,
            "seconds": None if cell.run is None else cell.run.seconds,
            "queued_s": None if cell.run is None else cell.run.queued_s,
            "rating": review.own.rating,
            "rejected": review.own.rejected,
            "note": review.own.note or None,
            **{column: review.scores[name].value if name in review.scores else None for name, column in scores.items()},
            "run": None if cell.run is None else cell.run.ref,
            "error": cell.error,
            "image": cell.first_image,
        }
        for cell, review in zip(cells, reviews, strict=True)
    ]


def _order_params(cells: Sequence[SweepCell | RunRow]) -> list[str]:
    """Return the field ids of the params of all cells, first the fields with different values."""
    ids = list(dict.fromkeys(key for cell in cells for key in cell.params))
    varied = {key for key in ids if any(not _is_same(cell.params, cells[0].params, key) for cell in cells)}
    return sorted(ids, key=lambda key: key not in varied)


def _label_columns(cells: Sequence[SweepCell | RunRow], ids: Sequence[str]) -> dict[str, str]:
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


def _is_same(first: Mapping[str, Any], second: Mapping[str, Any], key: str) -> bool:
    """Return whether two params have the same value and type, or are both missing."""
    if key not in first or key not in second:
        return (key in first) == (key in second)
    return type(first[key]) is type(second[key]) and bool(first[key] == second[key])
