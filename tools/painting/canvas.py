"""Brushes: a grid of points, noise, soft shapes, glazing. Everything is float32, colours 0 to 1.

Lengths are in canvas heights: x is 0 in the middle, y is 0 at the top and 1 at the bottom. Channels come first, in
paintings as in single colours: numpy is several times faster with long rows than with many triples.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Sequence

Plane: TypeAlias = NDArray[np.floating[Any]]  # (h, w), float32 but where a sum is wider on its way
Paint: TypeAlias = NDArray[np.floating[Any]]  # (3, h, w), or (3, 1, 1) for a single colour

OVERSAMPLING: Final = 2  # painted at twice the canvas and averaged down: the antialiasing


@dataclass(frozen=True, slots=True)
class Palette:
    """The light of one hour.

    Parameters
    ----------
    zenith, middle, horizon
        The sky from top to bottom.
    light, shade
        Factors for lit and unlit ground.
    haze
        The colour of far things.
    lamp, lamp_y
        Colour of sun or moon, and its height in canvas heights from the top.
    is_night
        Whether windows are lit and stars show.
    """

    name: str
    zenith: Paint
    middle: Paint
    horizon: Paint
    light: Paint
    shade: Paint
    haze: Paint
    lamp: Paint
    lamp_y: float
    is_night: bool


@dataclass(frozen=True, slots=True)
class Canvas:
    """A canvas to paint on, `OVERSAMPLING` times finer than the image that is kept.

    Parameters
    ----------
    x, y
        Coordinates of every point, (h, w) each.
    aspect
        Width over height.
    pixel
        Width of one painted pixel.
    """

    x: Plane
    y: Plane
    aspect: float
    pixel: float

    @classmethod
    def of(cls, height: int, width: int) -> Canvas:
        """Return the canvas of an image with a height and width in pixels."""
        return cls.part(height, 0, height, -width / 2, width / 2)

    @classmethod
    def part(cls, height: int, top: int, bottom: int, left: float, right: float) -> Canvas:
        """Return a part of an image of some height. `left` and `right` count from its middle and may exceed it."""
        pixel = 1 / (height * OVERSAMPLING)
        down = (np.arange(top * OVERSAMPLING, bottom * OVERSAMPLING, dtype=np.float32) + 0.5) * pixel
        across = (np.arange(left * OVERSAMPLING, right * OVERSAMPLING, dtype=np.float32) + 0.5) * pixel
        x, y = np.meshgrid(across.astype(np.float32), down.astype(np.float32))
        return cls(x, y, x.shape[1] / x.shape[0], pixel)

    @property
    def shape(self) -> tuple[int, int]:
        return self.x.shape[0], self.x.shape[1]

    @property
    def vignette(self) -> Plane:
        """Weights that are 1 in the middle and fall to 0 at the edges, so that no shadow ends at a straight line."""
        rows, columns = (np.minimum(np.arange(n) + 0.5, n - 0.5 - np.arange(n)) / (0.05 * n) for n in self.shape)
        return np.asarray(np.clip(np.minimum(rows[:, None], columns[None, :]), 0, 1), dtype=np.float32)

    def noise(self, seed: int, cells: float, *, octaves: int = 4, stretch: float = 1.0, gain: float = 0.5) -> Plane:
        """Return cloud noise of about 0 +- 1, with `cells` in a canvas height, each `stretch` times as wide as high."""
        rng = np.random.Generator(np.random.PCG64(seed))
        total = np.zeros(self.shape, dtype=np.float32)
        weight, power = 1.0, 0.0
        for _ in range(octaves):
            if cells > self.shape[0] / 2:
                break
            rows, columns = max(3, round(cells) + 2), max(3, round(cells * self.aspect / stretch) + 2)
            lattice = Image.fromarray(rng.standard_normal((rows, columns), dtype=np.float32))
            box = (0.5, 0.5, columns - 0.5, rows - 0.5)
            size = (self.shape[1], self.shape[0])
            total += weight * np.asarray(lattice.resize(size, Image.Resampling.BICUBIC, box=box), dtype=np.float32)
            power += weight**2
            weight *= gain
            cells *= 2
        return total / np.float32(max(power, 1e-6) ** 0.5 * 0.62)

    def ridge(self, seed: int, cells: float, *, octaves: int = 5, gain: float = 0.5, sharp: bool = False) -> Plane:
        """Return a line of hills across the canvas, (1, w), of about 0 +- 1. `sharp` hills have crests."""
        rng = np.random.Generator(np.random.PCG64(seed))
        across = self.x[:1] + np.float32(8)
        total = np.zeros_like(across)
        weight, power = 1.0, 0.0
        for _ in range(octaves):
            knots = rng.standard_normal(int(17 * cells) + 4).astype(np.float32)
            position = across * cells
            cell = np.floor(position).astype(int)
            part = position - cell
            part = part * part * (3 - 2 * part)
            line = knots[cell] * (1 - part) + knots[cell + 1] * part
            total += weight * ((0.6 - np.abs(line)) * 1.6 if sharp else line)
            power += weight**2
            weight *= gain
            cells *= 2.1
        return total / np.float32(power**0.5 * 0.8)


def rgb(text: str) -> Paint:
    """Return the colour of a hexadecimal text such as `"ff8800"`."""
    return np.array([int(text[k : k + 2], 16) / 255 for k in (0, 2, 4)], dtype=np.float32).reshape(3, 1, 1)


_DATA: Final = json.loads((Path(__file__).parent / "painting.json").read_bytes())
OUTLINES: Final = _DATA["outlines"]  # name -> (height, half width) pairs of a turned shape, from the top down
PALETTES: Final = [
    Palette(name, **{key: rgb(value) if isinstance(value, str) else value for key, value in colours.items()})
    for name, colours in _DATA["palettes"].items()
]
WHITE: Final = rgb("ffffff")


def smooth(low: float, high: float, value: Plane) -> Plane:
    """Return 0 below `low`, 1 above `high`, and a smooth step between. If `low` > `high`, the step falls."""
    t = np.clip((value - np.float32(low)) / np.float32(high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t))


def cover(distance: Plane, soft: float) -> Plane:
    """Return the part of each point that a shape covers, from its signed distance (inside negative)."""
    return np.asarray(np.clip(0.5 - distance / np.float32(soft), 0, 1))


def bell(offset: Plane, width: Plane | float) -> Plane:
    """Return a Gaussian of an offset: 1 at 0, and 1/e at `width`."""
    return np.asarray(np.exp(-((offset / width) ** 2)))


def mix(below: Paint, above: Paint, amount: Plane | float) -> Paint:
    """Blend a colour over another. `amount` is the opacity, 0 to 1."""
    mixed = (above - below) * np.asarray(amount, dtype=np.float32)
    mixed += below
    return np.asarray(mixed)


def glow(below: Paint, light: Paint, amount: Plane) -> Paint:
    """Add light in screen mode, so that no value exceeds 1."""
    return np.asarray(1 - (1 - below) * (1 - light * np.clip(amount, 0, 1)))


def ramp(stops: Sequence[tuple[float, Paint]], value: Plane) -> Paint:
    """Return the colours of `value` in a gradient that is linear between its stops."""
    positions = [position for position, _ in stops]
    channels = [np.interp(value, positions, [float(colour[c, 0, 0]) for _, colour in stops]) for c in range(3)]
    return np.asarray(channels, dtype=np.float32)


class Painting:
    """What is painted on a canvas so far, in one light."""

    def __init__(self, canvas: Canvas, palette: Palette) -> None:
        self.canvas = canvas
        self.palette = palette
        self.alpha: Plane = np.zeros(canvas.shape, dtype=np.float32)
        self.paint: Paint = np.zeros((3, *canvas.shape), dtype=np.float32) + palette.haze

    def lit(self, albedo: Paint, light: Plane | float, far: Plane | float = 0.0) -> Paint:
        """Return the colour of a surface for an amount of light and a distance."""
        tint = mix(self.palette.shade, self.palette.light, light)
        return mix(albedo * tint * np.float32(1.08), self.palette.haze, far)


def average_down(painted: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the image, ([3,] h, w), of a painting that is `OVERSAMPLING` times finer."""
    *channels, rows, columns = painted.shape
    blocks = painted.reshape(*channels, rows // OVERSAMPLING, OVERSAMPLING, columns // OVERSAMPLING, OVERSAMPLING)
    return np.asarray(blocks.mean(axis=(-3, -1)), dtype=np.float32)
