"""Brushes: a grid of points, noise, soft shapes, glazing. Everything is float32, colours 0 to 1.

Lengths are in canvas heights: x is 0 in the middle, y is 0 at the top and 1 at the bottom.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Sequence

Plane: TypeAlias = NDArray[np.float32]  # (h, w)
Paint: TypeAlias = NDArray[np.float32]  # (h, w, 3)
Colour: TypeAlias = "Sequence[float] | NDArray[np.float32]"

OVERSAMPLING = 2  # painted at twice the canvas and averaged down: the antialiasing


@dataclass(frozen=True, slots=True)
class Easel:
    """A canvas to paint on, `OVERSAMPLING` times finer than it will be kept.

    Parameters
    ----------
    x, y
        Coordinates of every point, (h, w) each.
    aspect
        Width over height.
    unit
        The size a thing of height 1 should have, smaller on narrow canvases.
    pixel
        Width of one painted pixel.
    """

    x: Plane
    y: Plane
    aspect: float
    unit: float
    pixel: float

    @classmethod
    def of(cls, height: int, width: int) -> Easel:
        rows, columns = height * OVERSAMPLING, width * OVERSAMPLING
        aspect = width / height
        down = (np.arange(rows, dtype=np.float32) + 0.5) / rows
        across = ((np.arange(columns, dtype=np.float32) + 0.5) / columns - 0.5) * aspect
        x, y = np.meshgrid(across.astype(np.float32), down)
        return cls(x, y, aspect, min(1.0, aspect * 1.25), 1 / rows)

    @property
    def shape(self) -> tuple[int, int]:
        return self.x.shape[0], self.x.shape[1]

    def noise(self, seed: int, cells: float, *, octaves: int = 4, stretch: float = 1.0, gain: float = 0.5) -> Plane:
        """Clouds of about 0 +- 1: `cells` to a canvas height, `stretch` times longer than high."""
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
        """A line of hills across the canvas, (1, w), about 0 +- 1; `sharp` ones have crests."""
        rng = np.random.Generator(np.random.PCG64(seed))
        across = self.x[:1] + np.float32(8)
        total = np.zeros_like(across)
        weight, power = 1.0, 0.0
        for _ in range(octaves):
            knots = rng.standard_normal(int(17 * cells) + 4).astype(np.float32)
            place = across * cells
            cell = np.floor(place).astype(int)
            part = place - cell
            part = part * part * (3 - 2 * part)
            line = knots[cell] * (1 - part) + knots[cell + 1] * part
            total += weight * ((0.6 - np.abs(line)) * 1.6 if sharp else line)
            power += weight**2
            weight *= gain
            cells *= 2.1
        return total / np.float32(power**0.5 * 0.8)


def rgb(text: str) -> NDArray[np.float32]:
    """`"ff8800"` as three floats."""
    return np.array([int(text[k : k + 2], 16) / 255 for k in (0, 2, 4)], dtype=np.float32)


def smooth(low: float, high: float, value: Plane) -> Plane:
    """0 below `low`, 1 above `high`, soft between (or falling, if `low` > `high`)."""
    t = np.clip((value - np.float32(low)) / np.float32(high - low), 0, 1)
    return t * t * (3 - 2 * t)


def cover(distance: Plane, soft: float) -> Plane:
    """How much of a point a shape covers, from its signed distance (inside negative)."""
    return np.clip(0.5 - distance / np.float32(soft), 0, 1)


def mix(below: Paint | Colour, above: Paint | Colour, amount: Plane | float) -> Paint:
    """`amount` of the one over the other."""
    share = np.asarray(amount, dtype=np.float32)
    if share.ndim == 2:
        share = share[..., None]
    below, above = np.asarray(below, dtype=np.float32), np.asarray(above, dtype=np.float32)
    return below + (above - below) * share


def glow(below: Paint, light: Colour, amount: Plane) -> Paint:
    """Light added so that it never burns out: screen."""
    return 1 - (1 - below) * (1 - np.asarray(light, dtype=np.float32) * np.clip(amount, 0, 1)[..., None])


def ramp(stops: Sequence[tuple[float, Colour]], value: Plane) -> Paint:
    """Colours along `value`, soft between the stops."""
    places = [place for place, _ in stops]
    colours = np.array([np.asarray(colour) for _, colour in stops], dtype=np.float32)
    return np.stack([np.interp(value, places, colours[:, c]) for c in range(3)], axis=-1).astype(np.float32)


def ellipse(easel: Easel, cx: float, cy: float, rx: float, ry: float) -> Plane:
    """Signed distance (nearly) to an ellipse."""
    radius = np.hypot((easel.x - np.float32(cx)) / np.float32(rx), (easel.y - np.float32(cy)) / np.float32(ry))
    return (radius - 1) * np.float32(min(rx, ry))


def average_down(paint: NDArray[np.float32]) -> NDArray[np.float32]:
    """The canvas itself: (h, w[, 3]) from the finer painting."""
    rows, columns = paint.shape[0] // OVERSAMPLING, paint.shape[1] // OVERSAMPLING
    grouped = paint.reshape(rows, OVERSAMPLING, columns, OVERSAMPLING, *paint.shape[2:])
    return np.ascontiguousarray(grouped.mean(axis=(1, 3)), dtype=np.float32)
