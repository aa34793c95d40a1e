"""Load the painted layers of the scenes: each sky, land and subject in each palette.

`scenes.json` lists them with their tags. `scenes.zip` holds the images, painted by `tools/paint_scenes.py`: each file
is a strip of images below one another. Skies and lands exist in three formats, of which the nearest is resized to the
canvas. Subjects are resized and then placed.
"""

from __future__ import annotations

import io
import json
import math
from dataclasses import dataclass, field
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final, TypeAlias
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from comflowy_nb.sandbox.engine.latents import SCALE
from comflowy_nb.sandbox.engine.styles import STYLES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from comflowy_nb.sandbox.engine.styles import Style

Array: TypeAlias = NDArray[np.float32]
Tags: TypeAlias = "Mapping[str, float]"  # tag -> weight

# Height and width of skies and lands; heights are multiples of 8, so that no JPEG block belongs to two images.
FORMATS: Final = {"portrait": (160, 107), "square": (128, 128), "landscape": (104, 156)}
SUBJECT_ROWS: Final = 128  # the canvas height at which subjects are painted


@dataclass(frozen=True, slots=True)
class Subject:
    """A silhouette, its looks and its positions.

    Parameters
    ----------
    name : str
        The name of its files.
    tags : Tags
        Tags of prompts that select it.
    size, foot : float
        Height, and y of the foot, in canvas heights.
    reach : tuple of float
        Extent to each side, up and down, in multiples of `size`.
    places : tuple of float
        x of the middle at each position, in canvas widths from the middle of the canvas.
    looks : mapping
        Name of a look -> tags of prompts that select it.
    lands : mapping
        Land -> log-likelihood of the subject in it, in nats; `elsewhere` for all others.
    elsewhere : float
        See `lands`.
    """

    name: str
    tags: Tags
    size: float
    foot: float
    reach: tuple[float, float, float]
    places: tuple[float, ...]
    looks: Mapping[str, Tags] = field(default_factory=lambda: {"": {}})
    lands: Mapping[str, float] = field(default_factory=dict)
    elsewhere: float = 0.0

    @property
    def box(self) -> tuple[int, int, int, int]:
        """Top, bottom, left and right of the images at `SUBJECT_ROWS`; left and right count from the middle."""
        aside, above, beneath = (reach * self.size * SUBJECT_ROWS for reach in self.reach)
        foot = self.foot * SUBJECT_ROWS
        top = math.floor(foot - above)
        bottom = top + 8 * math.ceil((foot + beneath - top) / 8)
        return top, bottom, -math.ceil(aside), math.ceil(aside)


SCENES: Final[dict[str, Any]] = json.loads((files(__package__) / "scenes.json").read_bytes())
PALETTES: Final[Mapping[str, Tags]] = {name: palette["tags"] for name, palette in SCENES["palettes"].items()}
SKIES: Final = [(palette, sky) for palette, entry in SCENES["palettes"].items() for sky in entry["skies"]]
SKY_TAGS: Final[Mapping[str, Tags]] = SCENES["skies"]
LANDS: Final[Mapping[str, Tags]] = SCENES["lands"]
SUBJECTS: Final = [Subject(**entry) for entry in SCENES["subjects"]]  # the first is none, and has no image


@dataclass(frozen=True, slots=True)
class Layers:
    """The layers on a canvas of P pixels, row by row; colours are scaled around mid-grey."""

    skies: Array  # (S, 3, P)
    sky_palettes: NDArray[np.int64]  # (S,)
    lands: Array  # (L, palettes, 3, P)
    land_cover: Array  # (L, P)
    silhouettes: tuple[Silhouette, ...]  # one per subject


@dataclass(frozen=True, slots=True)
class Silhouette:
    """A subject: the p pixels it covers, and their indices on the canvas at each position."""

    looks: Array  # (looks, palettes, 3, p)
    cover: Array  # (places, p); 0 for pixels beyond the canvas
    pixels: NDArray[np.int64]  # (places, p); P for pixels beyond the canvas


def load_layers(checkpoint: str, canvas: tuple[int, int]) -> Layers:
    """Return all layers in the style of a checkpoint, on a canvas of (height, width)."""
    rows, columns = canvas
    shape = min(FORMATS, key=lambda name: abs(math.log(FORMATS[name][1] / FORMATS[name][0] * rows / columns)))
    with ZipFile(io.BytesIO((files(__package__) / "scenes.zip").read_bytes())) as archive:

        def read(name: str) -> NDArray[np.uint8]:
            return _resize(read_strip(archive, f"{shape}/{name}", FORMATS[shape][0]), (columns, rows))

        style = STYLES[checkpoint]
        return Layers(
            _recolour(read("skies.jpg"), style),
            np.array([list(PALETTES).index(palette) for palette, _ in SKIES]),
            np.stack([_recolour(read(f"{land}.jpg"), style) for land in LANDS]),
            np.stack([_as_cover(read(f"{land}.png")) for land in LANDS]),
            tuple(_load_silhouette(archive, subject, canvas, style) for subject in SUBJECTS),
        )


def read_strip(archive: ZipFile, name: str, rows: int) -> list[Image.Image]:
    """Return the images of a file; each has `rows` rows."""
    strip = Image.open(io.BytesIO(archive.read(name)))
    return [strip.crop((0, top, strip.width, top + rows)) for top in range(0, strip.height, rows)]


def _load_silhouette(archive: ZipFile, subject: Subject, canvas: tuple[int, int], style: Style) -> Silhouette:
    if subject is SUBJECTS[0]:
        return Silhouette(
            np.zeros((1, len(PALETTES), 3, 0), np.float32), np.zeros((1, 0), np.float32), np.zeros((1, 0), int)
        )
    rows, columns = canvas
    unit = min(1.0, 1.25 * columns / rows)  # subjects are smaller on narrow canvases
    scale = unit * rows / SUBJECT_ROWS
    top, bottom, left, right = subject.box
    foot, middle = subject.foot * rows * (1 - unit), columns / 2  # y of row 0, x of the middle
    y0, y1 = math.ceil(foot + top * scale), math.floor(foot + bottom * scale)
    x0, x1 = math.ceil(middle + left * scale), math.floor(middle + right * scale)
    box = (
        (x0 - middle) / scale - left,
        (y0 - foot) / scale - top,
        (x1 - middle) / scale - left,
        (y1 - foot) / scale - top,
    )

    def read(name: str) -> NDArray[np.uint8]:
        return _resize(read_strip(archive, f"subjects/{name}", bottom - top), (x1 - x0, y1 - y0), box)

    cover = _as_cover(read(f"{subject.name}.png"))
    row, column = (grid.ravel() for grid in np.mgrid[y0:y1, x0:x1])
    placed = np.stack([column + round(place * columns) for place in subject.places])
    visible = (cover > 0) & (row >= 0) & (row < rows) & (placed >= 0) & (placed < columns)
    is_used = visible.any(axis=0)
    visible, placed, row, cover = visible[:, is_used], placed[:, is_used], row[is_used], cover[is_used]
    looks = np.ascontiguousarray(_recolour(read(f"{subject.name}.jpg"), style)[..., is_used])
    return Silhouette(
        looks.reshape(len(subject.looks), len(PALETTES), 3, -1),
        np.where(visible, cover, 0).astype(np.float32),
        np.where(visible, row * columns + placed, rows * columns),
    )


def _resize(
    images: list[Image.Image], size: tuple[int, int], box: tuple[float, float, float, float] | None = None
) -> NDArray[np.uint8]:
    return np.stack([np.asarray(image.resize(size, Image.Resampling.BICUBIC, box)) for image in images])


def _as_cover(image: NDArray[np.uint8]) -> Array:
    """Return an image of coverage as (P,), 0 to 1."""
    return image.ravel().astype(np.float32) / np.float32(255)


def _recolour(images: NDArray[np.uint8], style: Style) -> Array:
    """Return (n, h, w, 3) images in a style as (n, 3, P), scaled around mid-grey."""
    channels = np.moveaxis(images, -1, 0).astype(np.float32) / np.float32(255)
    colours = np.clip(style.recolour(channels), 0, 1).reshape(3, len(images), -1)
    return np.ascontiguousarray((colours.transpose(1, 0, 2) - 0.5) * np.float32(SCALE), dtype=np.float32)
