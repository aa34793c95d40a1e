"""Decode images, encode them for a browser, and compute the difference of two images."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from PIL import Image, ImageChops, ImageOps

from comflowy_nb.errors import ImageError
from comflowy_nb.images.decode import PNG_MAGIC, flatten, png_chunks
from comflowy_nb.images.thumbnail_sizes import LARGE_THUMBNAIL_PX
from comflowy_nb.settings import settings
from comflowy_nb.workflow.images import assert_decodable, open_image_file

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


_Read = TypeVar("_Read")

PREVIEW_PX = LARGE_THUMBNAIL_PX

_BROWSER_TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
_BROWSER_MODES = {"1", "L", "LA", "P", "RGB", "RGBA", "I;16"}  # browsers display CMYK differently, for example
_JPEG_ABOVE_PX = 16_000_000  # encoding a larger PNG takes seconds
_JPEG_QUALITY = 95
_PIXEL_CHUNKS = {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"sBIT", b"cICP"}
_METADATA_KEYS = {"exif", "xmp", "comment", "photoshop", "mpoffset", "XML:com.adobe.xmp"}

_MAX_HEAT_MAP_PX = 2048  # limit of the longest side
_MIN_TOP_LEVEL = 8  # so that a difference of 1 level does not look like one of 255
_UNCOVERED = 255  # palette index where only one of the images has pixels

# The colours of a heat map: level from 0 (equal) to 1 -> colour. Brightness increases with the level.
HEAT: Sequence[tuple[float, tuple[int, int, int]]] = (
    (0.0, (11, 13, 23)),
    (0.2, (52, 36, 108)),
    (0.4, (132, 46, 124)),
    (0.6, (212, 84, 92)),
    (0.8, (247, 158, 74)),
    (1.0, (255, 243, 190)),
)


# -- decoding ------------------------------------------------------------------------------------------------------


def open_rgb(source: Path | bytes, name: str) -> Image.Image:
    """Open the first image of a file: upright, in RGB with 8 bits per channel, on a white background.

    Raises
    ------
    ImageError
        If the file is missing, can't be decoded, or has more pixels than `image_max_px`.
    """
    return _read(source, name, lambda image: flatten(ImageOps.exif_transpose(image)))


def image_size(source: Path | bytes, name: str) -> tuple[int, int]:
    """Return width and height of the upright image, in pixels, from the file's header.

    Raises
    ------
    ImageError
        If the file is missing, its header can't be read, or it has more pixels than `image_max_px`.
    """

    def size(image: Image.Image) -> tuple[int, int]:
        is_rotated = image.getexif().get(0x0112) in {5, 6, 7, 8}
        return (image.height, image.width) if is_rotated else (image.width, image.height)

    return _read(source, name, size)


def _read(source: Path | bytes, name: str, use: Callable[[Image.Image], _Read]) -> _Read:
    try:
        with open_image_file(source) as image:
            assert_decodable(image, name)
            return use(image)
    except FileNotFoundError:
        raise ImageError(f"the file of {name} does not exist any more") from None
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise ImageError(f"{name} can't be read as an image: use a PNG, JPEG or WebP file") from error


# -- encoding ------------------------------------------------------------------------------------------------------


def for_browser(source: Path | bytes, name: str) -> tuple[bytes, str]:
    """Return an image in full size and its media type. A file that browsers display correctly is unchanged.

    Raises
    ------
    ImageError
        If the file is missing or can't be decoded.
    """
    try:
        content = source.read_bytes() if isinstance(source, Path) else source
    except OSError as error:
        raise ImageError(f"the file of {name} can't be read: {error.strerror}") from None
    media_type = _read(content, name, _browser_type)
    return (content, media_type) if media_type else _encode(open_rgb(content, name))


def _browser_type(image: Image.Image) -> str | None:
    """Return the media type of an image if browsers display it as Pillow decodes it, else None."""
    is_shown_alike = image.mode in _BROWSER_MODES and getattr(image, "n_frames", 1) == 1
    return _BROWSER_TYPES.get(image.format or "") if is_shown_alike else None


def without_metadata(content: bytes, media_type: str, name: str) -> tuple[bytes, str]:
    """Remove graph, Exif data and comments from an image file. Return the file and its media type.

    Raises
    ------
    ImageError
        If the content can't be decoded.
    """
    if media_type == "image/png" and content.startswith(PNG_MAGIC):
        return b"".join(
            [PNG_MAGIC, *(chunk for chunk_type, chunk in png_chunks(content) if chunk_type in _PIXEL_CHUNKS)]
        ), media_type
    with open_image_file(content) as image:
        has_metadata = not _METADATA_KEYS.isdisjoint(image.info)
    return _encode(open_rgb(content, name)) if has_metadata else (content, media_type)


def _encode(image: Image.Image) -> tuple[bytes, str]:
    if image.width * image.height > _JPEG_ABOVE_PX:
        return jpeg_of(image, quality=_JPEG_QUALITY), "image/jpeg"
    stream = io.BytesIO()
    image.save(stream, "PNG", compress_level=4)  # fast rather than small
    return stream.getvalue(), "image/png"


def jpeg_of(image: Image.Image, *, quality: int, subsampling: str = "4:4:4") -> bytes:
    """Return an image as JPEG."""
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality, subsampling=subsampling)
    return stream.getvalue()


def preview_of(image: Image.Image, side_px: int = PREVIEW_PX) -> bytes:
    """Return a JPEG whose longest side has at most `side_px` pixels. An image is never enlarged."""
    small = image.copy()
    small.thumbnail((side_px, side_px), Image.Resampling.LANCZOS)
    return jpeg_of(small, quality=settings.jpeg_quality, subsampling="4:2:0")


# -- difference ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Difference:
    """The difference of two images. The numbers are None for images of different sizes.

    Attributes
    ----------
    heat
        The heat map, in palette mode, transparent where only one image has pixels.
    top
        The level, from 0 to 255, of its brightest colour.
    mean_error
        Mean absolute error in levels, from 0 to 255.
    psnr_db
        Peak signal-to-noise ratio in dB; infinite for equal images.
    share
        The share of pixels that differ, from 0 to 1.
    """

    heat: Image.Image
    top: int
    mean_error: float | None = None
    psnr_db: float | None = None
    share: float | None = None


def canvas_size(sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """Return the size of the largest image. The images are scaled to it before they are compared."""
    return max(sizes, key=lambda size: (size[0] * size[1], size[0]))


def fit_on_canvas(size: tuple[int, int], canvas: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return left, top, width and height of an image scaled to fit into a canvas and centred on it."""
    scale = min(canvas[0] / size[0], canvas[1] / size[1])
    width, height = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
    return (canvas[0] - width) // 2, (canvas[1] - height) // 2, width, height


def find_difference(first: Image.Image, second: Image.Image) -> Difference:
    """Compare two RGB images: return their heat map, and the numbers if they have the same size.

    A pixel of the map is the mean absolute difference of the three channels. Images of different sizes are scaled to a
    common canvas first.
    """
    if first.size == second.size:
        return _measure(first, second)
    canvas = canvas_size([first.size, second.size])
    boxes = [fit_on_canvas(image.size, canvas) for image in (first, second)]
    left, top = max(box[0] for box in boxes), max(box[1] for box in boxes)
    right, bottom = min(box[0] + box[2] for box in boxes), min(box[1] + box[3] for box in boxes)
    parts = []
    for image, (x, y, width, height) in zip((first, second), boxes, strict=True):
        x_scale, y_scale = image.width / width, image.height / height
        box = ((left - x) * x_scale, (top - y) * y_scale, (right - x) * x_scale, (bottom - y) * y_scale)
        parts.append(image.resize((right - left, bottom - top), Image.Resampling.LANCZOS, box, reducing_gap=2.0))
    overlap = _measure(*parts)
    scale = overlap.heat.width / (right - left)
    heat = Image.new("P", (max(1, round(canvas[0] * scale)), max(1, round(canvas[1] * scale))), _UNCOVERED)
    heat.putpalette(_palette())
    heat.paste(overlap.heat, (round(left * scale), round(top * scale)))
    heat.info["transparency"] = _UNCOVERED
    return Difference(heat, overlap.top)


def _measure(first: Image.Image, second: Image.Image) -> Difference:
    difference = ImageChops.difference(first, second)
    counts = np.array(difference.histogram()).reshape(3, 256).sum(axis=0)  # level -> number of values
    levels = np.arange(256)
    mean_square = float(counts @ levels**2) / counts.sum()
    psnr_db = 10 * math.log10(255**2 / mean_square) if mean_square else math.inf
    sums = np.asarray(difference).sum(axis=2, dtype=np.uint16)
    # Rounded up, so that the smallest difference is visible.
    heat, top = _draw_heat(((sums + 2) // 3).astype(np.uint8))
    return Difference(heat, top, float(counts @ levels / counts.sum()), psnr_db, np.count_nonzero(sums) / sums.size)


def _draw_heat(levels: np.ndarray[Any, np.dtype[np.uint8]]) -> tuple[Image.Image, int]:
    """Return the heat map, and the level of its brightest colour: the 99.5th percentile of the levels."""
    small = Image.fromarray(levels)
    small.thumbnail((_MAX_HEAT_MAP_PX, _MAX_HEAT_MAP_PX), Image.Resampling.BOX, reducing_gap=None)
    values = np.asarray(small)
    top = max(_MIN_TOP_LEVEL, math.ceil(float(np.quantile(values, 0.995))))
    indices = np.minimum(np.arange(256) * (_UNCOVERED - 1) / top, _UNCOVERED - 1).round().astype(np.uint8)
    heat = Image.fromarray(indices[values]).convert("P")
    heat.putpalette(_palette())
    return heat, top


def _palette() -> list[int]:
    stops = [stop for stop, _ in HEAT]
    colours = np.array([colour for _, colour in HEAT])
    positions = np.linspace(0, 1, _UNCOVERED)
    ramp = np.stack([np.interp(positions, stops, colours[:, channel]) for channel in range(3)], axis=1)
    return [*ramp.round().astype(int).ravel().tolist(), 0, 0, 0]
