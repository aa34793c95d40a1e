"""Pixels of images that are compared: a canvas for several sizes, previews, what differs and by how much."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from PIL import Image, ImageOps

from comflowy_nb.errors import ImageError
from comflowy_nb.images.thumbnails import flatten
from comflowy_nb.settings import settings
from comflowy_nb.workflow.images import assert_decodable, open_image_file

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

__all__ = [
    "HEAT",
    "PREVIEW_PX",
    "Difference",
    "canvas_of",
    "find_difference",
    "image_size",
    "open_rgb",
    "place",
    "preview_of",
]

_Read = TypeVar("_Read")

PREVIEW_PX = 512
_HEAT_PX = 2048  # the longest side of a heat map: more than a screen shows, and quick to make
_BAND_ROWS = 256  # rows in memory as numbers at once: an image of 6000 x 4000 costs its pixels and 20 MB
_LEAST_TOP = 8  # levels: a difference of one step of 256 must not glow like one of black and white
_UNCOVERED = 255  # index of the heat map's palette: where one of two images of different shape has nothing

# From no difference to the largest: level from 0 to 1 -> colour. Lighter all the way, so that it reads without colours.
HEAT: Sequence[tuple[float, tuple[int, int, int]]] = (
    (0.0, (11, 13, 23)),
    (0.2, (52, 36, 108)),
    (0.4, (132, 46, 124)),
    (0.6, (212, 84, 92)),
    (0.8, (247, 158, 74)),
    (1.0, (255, 243, 190)),
)


@dataclass(frozen=True, slots=True)
class Difference:
    """What differs between two images.

    `heat` is the map, in palette mode, transparent where only one image has pixels. `top` is the level, of 255, that
    its lightest colour stands for. The numbers are None for images of different sizes.
    """

    heat: Image.Image
    top: int
    mean_error: float | None = None  # mean absolute error, in levels of 0 to 255
    psnr_db: float | None = None  # infinite for equal images
    share: float | None = None  # of the pixels, how many differ at all


def open_rgb(source: Path | bytes, name: str) -> Image.Image:
    """The first image of a file, upright, in RGB: alpha on white, 16 bits as 8.

    Raises
    ------
    ImageError
        If it is missing, can't be decoded, or has more pixels than `image_max_px`.
    """
    return _read(source, name, lambda image: flatten(ImageOps.exif_transpose(image)))


def image_size(source: Path | bytes, name: str) -> tuple[int, int]:
    """Width and height, upright, from the file's head.

    Raises
    ------
    ImageError
        As `open_rgb`, but for damage further on.
    """

    def size(image: Image.Image) -> tuple[int, int]:
        lies = image.getexif().get(0x0112) in {5, 6, 7, 8}
        return (image.height, image.width) if lies else (image.width, image.height)

    return _read(source, name, size)


def _read(source: Path | bytes, name: str, use: Callable[[Image.Image], _Read]) -> _Read:
    try:
        with open_image_file(source) as image:
            assert_decodable(image, name)
            return use(image)
    except FileNotFoundError:
        raise ImageError(f"the file of {name} is not there any more") from None
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise ImageError(f"{name} is no image that can be read") from error


def canvas_of(sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """The size on which all are compared: that of the largest image."""
    return max(sizes, key=lambda size: (size[0] * size[1], size[0]))


def place(size: tuple[int, int], canvas: tuple[int, int]) -> tuple[int, int, int, int]:
    """Left, top, width and height of an image on the canvas: as large as it fits, in the middle."""
    scale = min(canvas[0] / size[0], canvas[1] / size[1])
    width, height = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
    return (canvas[0] - width) // 2, (canvas[1] - height) // 2, width, height


def preview_of(image: Image.Image) -> bytes:
    """A JPEG within 512 px; an image is never enlarged."""
    small = image.copy() if max(image.size) <= PREVIEW_PX else image
    if small is image:
        scale = PREVIEW_PX / max(image.size)
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        small = image.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    stream = io.BytesIO()
    small.save(stream, "JPEG", quality=settings.jpeg_quality, optimize=True)
    return stream.getvalue()


def find_difference(first: Image.Image, second: Image.Image) -> Difference:
    """The heat map of two images in RGB, and the numbers if they are of one size.

    Each pixel of the map is the mean absolute difference of its three channels. Images of different sizes are put
    on a common canvas first.
    """
    if first.size == second.size:
        return _measure([(first, 0, 0), (second, 0, 0)], first.size)
    canvas = canvas_of([first.size, second.size])
    boxes = [place(image.size, canvas) for image in (first, second)]
    left, top = max(box[0] for box in boxes), max(box[1] for box in boxes)
    right, bottom = min(box[0] + box[2] for box in boxes), min(box[1] + box[3] for box in boxes)
    parts: list[tuple[Image.Image, int, int]] = []
    for image, (x, y, width, height) in zip((first, second), boxes, strict=True):
        fitted = image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=2.0)
        parts.append((fitted, left - x, top - y))
    found = _measure(parts, (right - left, bottom - top))
    scale = found.heat.width / (right - left)
    heat = Image.new("P", (max(1, round(canvas[0] * scale)), max(1, round(canvas[1] * scale))), _UNCOVERED)
    heat.putpalette(_palette())
    heat.paste(found.heat, (round(left * scale), round(top * scale)))
    heat.info["transparency"] = _UNCOVERED
    return Difference(heat, found.top)


def _measure(parts: Sequence[tuple[Image.Image, int, int]], size: tuple[int, int]) -> Difference:
    """Compare two images of this size, each with the left and the top of its part."""
    width, height = size
    levels = np.empty((height, width), np.uint8)
    absolute = squared = differing = 0
    for top in range(0, height, _BAND_ROWS):
        low = min(height, top + _BAND_ROWS)
        one, other = (np.asarray(image.crop((x, y + top, x + width, y + low)), np.int16) for image, x, y in parts)
        apart = np.abs(one - other)
        sums = apart.sum(axis=2, dtype=np.int32)
        absolute += int(sums.sum())
        squared += int(np.square(apart, dtype=np.int32).sum(dtype=np.int64))
        differing += int(np.count_nonzero(sums))
        levels[top:low] = -(-sums // 3)  # rounded up: the least difference is one
    count = width * height
    error = squared / (3 * count)
    psnr_db = math.inf if not squared else 10 * math.log10(255**2 / error)
    heat, most = _draw_heat(levels)
    return Difference(heat, most, absolute / (3 * count), psnr_db, differing / count)


def _draw_heat(levels: np.ndarray[Any, np.dtype[np.uint8]]) -> tuple[Image.Image, int]:
    """The map in colours, and the level of its lightest one: what all but the most extreme pixels stay below."""
    small = Image.fromarray(levels)
    if max(small.size) > _HEAT_PX:
        scale = _HEAT_PX / max(small.size)
        size = (max(1, round(small.width * scale)), max(1, round(small.height * scale)))
        small = small.resize(size, Image.Resampling.BOX)
    values = np.asarray(small)
    most = max(_LEAST_TOP, math.ceil(float(np.quantile(values, 0.995))))
    table = np.minimum(np.arange(256) * (_UNCOVERED - 1) / most, _UNCOVERED - 1).round().astype(np.uint8)
    heat = Image.fromarray(table[values]).convert("P")
    heat.putpalette(_palette())
    return heat, most


def _palette() -> list[int]:
    stops = [stop for stop, _ in HEAT]
    colours = np.array([colour for _, colour in HEAT])
    at = np.linspace(0, 1, _UNCOVERED)
    ramp = np.stack([np.interp(at, stops, colours[:, channel]) for channel in range(3)], axis=1)
    return [*ramp.round().astype(int).ravel().tolist(), 0, 0, 0]
