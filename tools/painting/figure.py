"""A figure: shapes in figure coordinates, painted over one another."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from painting.canvas import Painting, cover, glow, mix

if TYPE_CHECKING:
    from collections.abc import Sequence

    from painting.canvas import Canvas, Paint, Palette, Plane


class Figure(Painting):
    """A figure in coordinates u (0 in the middle) and v (0 at the foot, -1 at the top), with its paint so far.

    Distances are signed, inside negative, in figure heights.
    """

    def __init__(self, canvas: Canvas, cx: float, foot: float, size: float, palette: Palette) -> None:
        super().__init__(canvas, palette)
        self.u: Plane = (canvas.x - np.float32(cx)) / np.float32(size)
        self.v: Plane = (canvas.y - np.float32(foot)) / np.float32(size)
        self.pixel = canvas.pixel / size

    def lay(self, distance: Plane, colour: Paint, *, soft: float = 1.5, opacity: Plane | float = 1.0) -> None:
        """Paint a shape, given as a distance, over the figure."""
        self.wash(cover(distance, self.pixel * soft) * np.float32(opacity), colour)

    def wash(self, amount: Plane, colour: Paint) -> None:
        """Paint a colour everywhere with an opacity. Points without paint get the colour unmixed."""
        total = amount + self.alpha * (1 - amount)
        share = np.divide(amount, total, out=np.zeros_like(amount), where=total > 1e-6)
        self.paint = mix(self.paint, colour, share)
        self.alpha = total

    def tint(self, amount: Plane, colour: Paint) -> None:
        """Change the colours of the figure, but not its outline."""
        self.paint = mix(self.paint, colour, amount)

    def shine(self, amount: Plane, colour: Paint) -> None:
        """Add light to the figure, but not outside of its outline."""
        self.paint = glow(self.paint, colour, amount)

    def shadow(self, width: float, height: float = 0.045, strength: float = 0.5) -> None:
        """Paint a soft shadow on the ground around the foot."""
        reach = np.hypot(self.u / np.float32(width), self.v / np.float32(height))
        self.wash(strength * np.exp(-(reach**2)), self.palette.shade * np.float32(0.4))

    def disc(self, u: float, v: float, rx: float, ry: float | None = None) -> Plane:
        ry = rx if ry is None else ry
        reach = np.hypot((self.u - np.float32(u)) / np.float32(rx), (self.v - np.float32(v)) / np.float32(ry))
        return np.asarray((reach - 1) * np.float32(min(rx, ry)))

    def box(self, left: float, right: float, top: float, bottom: float, *, rounding: float = 0.0) -> Plane:
        aside = np.abs(self.u - np.float32((left + right) / 2)) - np.float32((right - left) / 2 - rounding)
        along = np.abs(self.v - np.float32((top + bottom) / 2)) - np.float32((bottom - top) / 2 - rounding)
        outside = np.hypot(np.maximum(aside, 0), np.maximum(along, 0))
        return np.asarray(outside + np.minimum(np.maximum(aside, along), 0) - np.float32(rounding))

    def polygon(self, corners: Sequence[tuple[float, float]]) -> Plane:
        """Return the distance to a convex polygon, with its corners clockwise on the screen."""
        distance = np.full(self.canvas.shape, -9, dtype=np.float32)
        for (u0, v0), (u1, v1) in zip(corners, [*corners[1:], corners[0]], strict=True):
            du, dv = u1 - u0, v1 - v0
            length = max(1e-6, (du * du + dv * dv) ** 0.5)
            side = ((self.u - np.float32(u0)) * dv - (self.v - np.float32(v0)) * du) / np.float32(length)
            distance = np.maximum(distance, side)
        return distance

    def stroke(self, points: Sequence[tuple[float, float]], width: float | Sequence[float]) -> Plane:
        """Return the distance to a line through points, with a width at each point."""
        widths = [width] * len(points) if isinstance(width, float) else list(width)
        distance = np.full(self.canvas.shape, 9, dtype=np.float32)
        for k, ((u0, v0), (u1, v1)) in enumerate(pairwise(points)):
            du, dv = u1 - u0, v1 - v0
            square = max(1e-9, du * du + dv * dv)
            t = np.clip(((self.u - u0) * du + (self.v - v0) * dv) / np.float32(square), 0, 1)
            thick = widths[k] + (widths[k + 1] - widths[k]) * t
            near = np.hypot(self.u - u0 - t * np.float32(du), self.v - v0 - t * np.float32(dv)) - thick
            distance = np.minimum(distance, near)
        return distance

    def profile(self, points: Sequence[tuple[float, float]]) -> tuple[Plane, Plane]:
        """Return the distance to a symmetric shape of (v, half width) pairs, and its half width at every point."""
        heights, halves = zip(*points, strict=True)
        half = np.interp(self.v[:, 0], heights, halves).astype(np.float32)[:, None]
        slope = np.gradient(half[:, 0], self.pixel)[:, None] if half.shape[0] > 1 else np.zeros_like(half)
        lean = np.sqrt(1 + np.clip(slope, -3, 3) ** 2)
        distance = (np.abs(self.u) - half) / lean
        ends = np.maximum(np.float32(heights[0]) - self.v, self.v - np.float32(heights[-1]))
        return np.maximum(distance, ends).astype(np.float32), np.broadcast_to(half, self.canvas.shape)
