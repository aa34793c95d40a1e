"""Images as arrays: read, scale, blur and blend them, and write PNG files with the graph.

An array of images has the shape (n, height, width, 3), float32, 0 to 1, like ComfyUI's IMAGE.
"""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, PngImagePlugin

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Pixels: TypeAlias = NDArray[np.floating[Any]]  # float32

MAX_SIDE_PX = 4096
_MAX_SUMMED_REACH_PX = 3  # up to here adding shifted copies is faster than a cumulative sum
MAX_AREA_PX = 1 << 24  # of all images of one array together: 200 MB as float32

RESAMPLING = {
    "nearest-exact": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "area": Image.Resampling.BOX,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


def read_image(path: Path) -> tuple[Pixels, Pixels]:
    """Return the first frame of an image file as (1, h, w, 3), and its mask (1, h, w), 1 where it is transparent.

    Raises
    ------
    ValueError
        If the file is not an image, is damaged, or has more than `MAX_AREA_PX` pixels.
    """
    limit = f"the sandbox accepts up to {MAX_AREA_PX / 1e6:.1f} million"
    try:
        with Image.open(path) as opened:
            if opened.width * opened.height > MAX_AREA_PX:
                raise ValueError(f"{path.name} has {opened.width}x{opened.height} pixels; {limit}")
            turned = ImageOps.exif_transpose(opened)
            rgba = np.asarray(turned.convert("RGBA"), dtype=np.float32) / np.float32(255)
    except Image.DecompressionBombError as error:
        raise ValueError(f"{path.name} has too many pixels; {limit}") from error
    except (OSError, SyntaxError) as error:
        raise ValueError(f"cannot identify image file '{path.name}'") from error
    return rgba[None, ..., :3].copy(), 1 - rgba[None, ..., 3]


def resize_plane(plane: Pixels, width: int, height: int, method: Image.Resampling) -> Pixels:
    """Resize an (h, w) plane in float, so that gradients stay smooth."""
    image = Image.fromarray(np.ascontiguousarray(plane, dtype=np.float32))
    return np.asarray(image.resize((width, height), method), dtype=np.float32)


def scale(images: Pixels, width: int, height: int, method: str, crop: str) -> Pixels:
    """Scale all images; "center" crops to the new shape first. A side of 0 follows from the other one."""
    _, old_height, old_width, _ = images.shape
    if not width and not height:
        return images
    width = width or max(1, round(old_width * height / old_height))
    height = height or max(1, round(old_height * width / old_width))
    if crop == "center":
        if old_width * height > width * old_height:
            kept_px = max(1, round(old_height * width / height))
            start = (old_width - kept_px) // 2
            images = images[:, :, start : start + kept_px]
        else:
            kept_px = max(1, round(old_width * height / width))
            start = (old_height - kept_px) // 2
            images = images[:, start : start + kept_px]
    planes = [[resize_plane(image[..., c], width, height, RESAMPLING[method]) for c in range(3)] for image in images]
    return np.clip(np.asarray(planes, dtype=np.float32).transpose(0, 2, 3, 1), 0, 1)


def blur(images: Pixels, radius_px: int, sigma: float) -> Pixels:
    """Blur with a Gaussian of 2 * radius + 1 taps, edges mirrored. `sigma` is in units of the radius, as in ComfyUI."""
    reach = np.linspace(-1, 1, 2 * radius_px + 1)
    kernel = np.exp(-(reach**2) / (2 * sigma**2))
    kernel = (kernel / kernel.sum()).astype(np.float32)
    for axis in (1, 2):
        padding = [(0, 0)] * 4
        padding[axis] = (radius_px, radius_px)
        mode = "reflect" if images.shape[axis] > radius_px else "edge"
        padded = np.pad(images, padding, mode=mode)  # type: ignore[call-overload]  # a mode chosen at run time
        size = images.shape[axis]
        images = sum(
            (tap * np.take(padded, range(i, i + size), axis=axis) for i, tap in enumerate(kernel)),
            start=np.zeros_like(images),
        )
    return images


def blend(below: Pixels, above: Pixels, factor: float, mode: str) -> Pixels:
    """Blend like ComfyUI's ImageBlend: scale `above` to `below`; a shorter batch repeats its last image."""
    if above.shape[1:3] != below.shape[1:3]:
        above = scale(above, below.shape[2], below.shape[1], "bicubic", "center")
    count = max(len(below), len(above))
    below, above = (
        np.concatenate([batch, np.repeat(batch[-1:], count - len(batch), axis=0)]) for batch in (below, above)
    )
    mixed: Pixels
    match mode:
        case "multiply":
            mixed = below * above
        case "screen":
            mixed = 1 - (1 - below) * (1 - above)
        case "overlay":
            mixed = np.where(below <= 0.5, 2 * below * above, 1 - 2 * (1 - below) * (1 - above))
        case "soft_light":
            # ComfyUI's `ImageBlend.g`, from the soft-light formula of the W3C
            curve = np.where(below <= 0.25, ((16 * below - 12) * below + 4) * below, np.sqrt(below))
            darker = below - (1 - 2 * above) * below * (1 - below)
            mixed = np.where(above <= 0.5, darker, below + (2 * above - 1) * (curve - below))
        case "difference":
            mixed = below - above
        case _:
            mixed = above
    return np.clip(below * (1 - factor) + mixed * factor, 0, 1).astype(np.float32)


def encode_png(pixels: Pixels, graph: Mapping[str, Any]) -> bytes:
    """Return an (h, w, 3) image as PNG, with the graph as JSON in the text chunk `prompt`, as ComfyUI writes it."""
    chunks = PngImagePlugin.PngInfo()
    chunks.add_text("prompt", json.dumps(graph))
    buffer = io.BytesIO()
    eight_bit = np.clip(pixels * 255 + 0.5, 0, 255).astype(np.uint8)
    Image.fromarray(eight_bit).save(buffer, "PNG", pnginfo=chunks, compress_level=4)
    return buffer.getvalue()


def soften(planes: Pixels, reach_px: int) -> Pixels:
    """Apply a box filter of `reach_px` pixels to each side twice to (c, h, w) planes: nearly a Gaussian."""
    for axis in (1, 2):
        for _ in range(2):
            planes = _average(planes, min(reach_px, planes.shape[axis] - 1), axis)
    return planes


def _average(planes: Pixels, reach: int, axis: int) -> Pixels:
    padding = [(0, 0)] * 3
    padding[axis] = (reach, reach)
    padded = np.pad(planes, padding, mode="edge")
    size, width = planes.shape[axis], 2 * reach + 1
    if reach <= _MAX_SUMMED_REACH_PX:
        total = sum((_from(padded, k, size, axis) for k in range(1, width)), start=_from(padded, 0, size, axis))
        return np.asarray(total * np.float32(1 / width))
    sums = np.cumsum(padded, axis=axis, dtype=np.float64)
    total = _from(sums, width - 1, size, axis).copy()
    _from(total, 1, size - 1, axis)[...] -= _from(sums, 0, size - 1, axis)
    return (total / width).astype(np.float32)


def _from(planes: Pixels, start: int, size: int, axis: int) -> Pixels:
    """Return a view of `size` rows or columns that begin at `start`."""
    part = [slice(None)] * 3
    part[axis] = slice(start, start + size)
    return planes[tuple(part)]


def sharpen(planes: Pixels, amount: float) -> Pixels:
    """Sharpen (c, h, w) planes, limited to the range of the neighbours, so that edges get no halos."""
    low = high = planes
    for axis in (1, 2):
        low = _extreme(low, axis, np.minimum)
        high = _extreme(high, axis, np.maximum)
    return np.clip(planes + np.float32(amount) * (planes - soften(planes, 1)), low, high)


def _extreme(planes: Pixels, axis: int, function: np.ufunc) -> Pixels:
    """Return the minimum or maximum of each point and its two neighbours."""
    result = planes.copy()
    last = planes.shape[axis] - 1
    for into, out_of in ((0, 1), (1, 0)):
        here = _from(result, into, last, axis)
        function(here, _from(planes, out_of, last, axis), out=here)
    return result


def warp(planes: Pixels, right: Pixels, down: Pixels) -> Pixels:
    """Warp (c, h, w) planes: each point takes its value from `right` and `down` pixels away, interpolated."""
    _, rows, columns = planes.shape
    x = np.clip(np.arange(columns, dtype=np.float32)[None] + right, 0, columns - 1.001)
    y = np.clip(np.arange(rows, dtype=np.float32)[:, None] + down, 0, rows - 1.001)
    column, row = x.astype(np.intp), y.astype(np.intp)
    part_x, part_y = (x - column).astype(np.float32), (y - row).astype(np.float32)
    flat = planes.reshape(len(planes), -1)
    corner = row * columns + column
    upper = flat[:, corner] * (1 - part_x) + flat[:, corner + 1] * part_x
    lower = flat[:, corner + columns] * (1 - part_x) + flat[:, corner + columns + 1] * part_x
    return upper * (1 - part_y) + lower * part_y


def luma(colours: Pixels) -> Pixels:
    """Return the grey level of (3, ...) colours, as in ITU-R BT.601."""
    return np.asarray(0.3 * colours[0] + 0.59 * colours[1] + 0.11 * colours[2])


def grain(rows: int, columns: int) -> Pixels:
    """Return (rows, columns) noise of standard deviation 1, always the same, so that images are reproducible."""
    tile = np.random.Generator(np.random.PCG64(1)).standard_normal((251, 257), dtype=np.float32)
    return np.tile(tile, (rows // 251 + 1, columns // 257 + 1))[:rows, :columns]
