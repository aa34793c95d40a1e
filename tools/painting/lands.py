"""Paint lands and waters, the part of a scene below the sky."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from painting.canvas import Painting, bell, cover, glow, mix, rgb, smooth
from painting.skies import LAMP_X

if TYPE_CHECKING:
    from collections.abc import Callable

    from painting.canvas import Canvas, Paint, Palette, Plane


class Ground(Painting):
    """A land that is painted in layers, from far to near."""

    def lay(self, shape: Plane, colour: Paint) -> None:
        """Paint a shape over the earlier layers."""
        self.paint = mix(self.paint, colour, shape)
        self.alpha = np.maximum(self.alpha, shape)

    def below(self, line: Plane | float) -> Plane:
        """Return the coverage of the area below a line."""
        return cover(np.float32(line) - self.canvas.y, self.canvas.pixel * 1.5)

    def mountains(self, base: float, height: float, seed: int, far: float, *, snow: float = 0.0) -> Plane:
        """Paint mountains with lit and shaded slopes and snow on their tops. Return the line of their crest."""
        canvas = self.canvas
        crest = base - height * (0.55 + 0.45 * canvas.ridge(seed, 2.3, sharp=True, gain=0.52))
        depth = canvas.y - crest
        rough = canvas.noise(seed + 1, 9, octaves=4, gain=0.6)
        slope = np.gradient(crest, canvas.pixel, axis=1)
        folds = canvas.noise(seed + 2, 6, octaves=4, stretch=0.8)
        facing = np.tanh(slope * 1.2) * np.exp(-np.clip(depth, 0, 1) * 7)
        light = np.clip(0.52 - 0.42 * facing + 0.36 * folds, 0, 1)
        rock = self.lit(rgb("6f7484"), light, np.clip(far + depth * 0.9, 0, 0.92))
        if snow:
            white = smooth(0.05, -0.05, depth - snow * height * (0.55 + 0.3 * rough))
            rock = mix(rock, self.lit(rgb("f6f9ff"), 0.25 + 0.75 * light, far * 0.7), white)
        self.lay(self.below(crest), rock)
        return crest

    def pines(self, foot: Plane | float, height: float, seed: int, count: int, colour: Paint) -> None:
        """Paint a row of conifers. `foot` is the height of the ground."""
        canvas = self.canvas
        rng = np.random.Generator(np.random.PCG64(seed))
        rows, columns = canvas.shape
        line = np.broadcast_to(np.asarray(foot, dtype=np.float32), (1, columns))[0]
        shape = np.zeros(canvas.shape, dtype=np.float32)
        for place, size in zip(rng.random(int(count * max(0.6, canvas.aspect))), rng.random(10_000), strict=False):
            middle = int(place * columns)
            tall = height * (0.55 + 0.6 * size)
            reach = max(2, int(tall * 0.24 * rows))
            ground = float(line[middle])
            top, bottom = max(0, int((ground - tall) * rows)), min(rows, int((ground + 0.015) * rows) + 1)
            left, right = max(0, middle - reach), min(columns, middle + reach + 1)
            if bottom <= top or right <= left:
                continue
            y = (canvas.y[top:bottom, left:right] - (ground - tall)) / tall
            x = np.abs(canvas.x[top:bottom, left:right] - canvas.x[0, middle]) / tall
            tier = (y * 5.5) % 1
            half = 0.19 * y * (0.62 + 0.38 * tier) + 0.004
            part = cover((x - half) * tall, canvas.pixel * 1.5) * (y > 0)
            shape[top:bottom, left:right] = np.maximum(shape[top:bottom, left:right], part)
        self.lay(shape, colour)

    def water(self, top: float, *, glitter: float = 1.0) -> None:
        """Paint water below a level horizon: as bright as the sky far away, darker nearby."""
        canvas, palette = self.canvas, self.palette
        near = np.clip((canvas.y - top) / (1 - top), 0, 1)
        deep = mix(palette.zenith, palette.middle, 0.4)
        colour = mix(mix(palette.horizon, palette.haze, 0.25), mix(palette.middle, deep, 0.5), near**0.45)
        colour = mix(colour, deep, 0.75 * near**1.2)
        waves = self.ripples(top)
        colour = mix(colour, mix(palette.horizon, palette.lamp, 0.3), np.clip(waves * 0.2 * (1 - 0.35 * near), 0, 0.5))
        colour = mix(colour, deep, np.clip(-waves * 0.22, 0, 0.5))
        width = 0.022 + 0.16 * near
        path = bell(canvas.x - LAMP_X * canvas.aspect, width) * smooth(0, 0.02, near)
        colour = glow(colour, palette.lamp, glitter * path * np.clip(0.22 + 0.6 * waves, 0, 1))
        self.lay(self.below(top), colour)

    def ripples(self, top: float) -> Plane:
        """Return waves, which are flatter and closer together towards the horizon."""
        canvas = self.canvas
        flat = canvas.noise(207, 26, octaves=3, stretch=5, gain=0.7)
        near = np.clip((canvas.y[:, 0] - top) / (1 - top), 0, 1)
        rows = np.clip((near**0.42 * (canvas.shape[0] - 1)).astype(int), 0, canvas.shape[0] - 1)
        return np.asarray(flat[rows])

    def grass(self, line: Plane, albedo: Paint, seed: int, *, far: float = 0.0) -> None:
        """Paint a hill of grass below a line, with light on its crest."""
        canvas = self.canvas
        depth = canvas.y - line
        blades = canvas.noise(seed, 30, octaves=3, stretch=0.55, gain=0.75) * (1 - far)
        swell = canvas.noise(seed + 1, 2.6, octaves=3, stretch=2.6)
        light = np.clip(0.88 - 1.5 * depth + 0.11 * blades + 0.24 * swell, 0.05, 1)
        self.lay(self.below(line), self.lit(albedo, light, far))

    def blossoms(self, line: Plane, colours: tuple[str, ...], seed: int, density: float) -> None:
        """Paint flowers below a line, larger nearby."""
        canvas = self.canvas
        near = smooth(0.0, 1.0, (canvas.y - line) / np.float32(0.34))
        for k, colour in enumerate(colours):
            fine = canvas.noise(seed + k, 44, octaves=1)
            coarse = canvas.noise(seed + 20 + k, 24, octaves=1)
            spots = np.where(near > 0.45, coarse, fine)
            dots = smooth(1.5 - density, 2.3 - density, spots) * smooth(0, 0.03, canvas.y - line)
            light = np.clip(0.75 + 0.3 * canvas.noise(seed + 40, 9, octaves=2), 0, 1)
            self.paint = mix(self.paint, self.lit(rgb(colour), light, 0.25 * (1 - near)), dots * 0.95 * self.alpha)


def paint_land(canvas: Canvas, name: str, palette: Palette) -> tuple[Plane, Paint]:
    """Paint a land. Return its coverage (h, w), the same in every light, and its colours (3, h, w)."""
    ground = Ground(canvas, palette)
    _LANDS[name](ground)
    return ground.alpha, np.clip(ground.paint, 0, 1)


def _sea(ground: Ground) -> None:
    canvas = ground.canvas
    ground.lay(
        ground.below(
            0.617 - 0.012 * np.clip(canvas.ridge(213, 3), 0, 1) * (np.abs(canvas.x[:1]) > 0.1 * canvas.aspect)
        ),
        ground.lit(rgb("6a7a90"), 0.4, 0.7),
    )
    ground.water(0.62)
    shore = 0.895 + 0.03 * np.sin(canvas.x[:1] * 4.3 + 0.6) + 0.008 * canvas.ridge(215, 5)
    wet = smooth(0.05, 0.0, canvas.y - shore)
    sand = ground.lit(rgb("e8cfa0"), np.clip(0.78 + 0.07 * canvas.noise(217, 30, octaves=3, stretch=2.5), 0, 1))
    ground.lay(ground.below(shore), mix(sand, sand * 0.72, wet))
    foam = bell(canvas.y - shore, 0.006) * np.clip(0.75 + 0.4 * canvas.noise(219, 20, octaves=2), 0, 1)
    ground.paint = mix(ground.paint, ground.lit(rgb("ffffff"), 0.9), foam)
    wave = bell(canvas.y - shore + 0.045, 0.007) * smooth(0.1, 0.8, canvas.noise(221, 4, stretch=3))
    ground.paint = mix(ground.paint, ground.lit(rgb("ffffff"), 0.9), 0.8 * wave)


def _cliffs(ground: Ground) -> None:
    canvas = ground.canvas
    ground.water(0.62)
    x = canvas.x / canvas.aspect
    rough = canvas.noise(231, 10, octaves=4)
    for middle, width, top, far in ((0.16, 0.035, 0.47, 0.45), (0.285, 0.06, 0.4, 0.3)):
        shape = (np.abs(x - middle) - width * (0.75 + 0.6 * (canvas.y - top)) + 0.012 * rough) * canvas.aspect
        inside = cover(
            np.maximum(np.maximum(shape, top + 0.02 * rough - canvas.y), canvas.y - 0.66 - 0.01 * rough),
            canvas.pixel * 1.5,
        )
        light = np.clip(0.5 - (x - middle) / width * 0.4 + 0.3 * rough, 0, 1)
        ground.lay(inside, ground.lit(rgb("8f8178"), light, far))
        foam = bell(canvas.y - 0.66, 0.006) * smooth(0.02, -0.01, np.abs(x - middle) - width)
        ground.paint = mix(ground.paint, ground.lit(rgb("ffffff"), 0.8), 0.7 * foam)
    edge = 0.36 + (x + 0.5) * 1.5 + 0.02 * rough + 0.05 * np.tanh((x + 0.36) * 14)
    strata = np.sin(canvas.y * 70 + rough * 1.8)
    light = np.clip(0.5 + 0.35 * rough + 0.16 * strata, 0, 1)
    face = cover((edge - canvas.y) * 0.6, canvas.pixel * 1.5) * (canvas.y < 1.1)
    ground.lay(face, ground.lit(rgb("9a8876"), light, np.clip(0.2 - canvas.y * 0.15, 0, 1)))
    turf = smooth(0.075, 0.03, canvas.y - edge + 0.02 * rough) * face
    ground.paint = mix(ground.paint, ground.lit(rgb("6f9a4c"), np.clip(0.7 + 0.3 * rough, 0, 1)), turf)
    shore = 0.9 + 0.02 * canvas.ridge(235, 4) - 0.04 * np.clip(-x[:1] * 2, 0, 1)
    ground.grass(shore, rgb("6c8f4a"), 237)


def _lake(ground: Ground) -> None:
    canvas, palette = ground.canvas, ground.palette
    ground.mountains(0.6, 0.24, 241, 0.62)
    ground.mountains(0.63, 0.2, 245, 0.38, snow=0.5)
    ground.pines(0.632, 0.05, 249, 130, ground.lit(rgb("2f4f44"), 0.25, 0.35))
    level = 0.64
    above = ground.paint.copy(), ground.alpha.copy()
    ground.water(level, glitter=0.6)
    # the reflection of the mountains, distorted by the waves
    ripple = ground.ripples(level)
    rows = canvas.shape[0]
    mirror = np.clip(2 * level - canvas.y - 0.012 * ripple * smooth(level, 1, canvas.y) * 2, 0, level - 0.003)
    source = np.clip((mirror * rows).astype(int), 0, rows - 1)
    columns = np.broadcast_to(np.arange(canvas.shape[1]), canvas.shape)
    image, shown = above[0][:, source, columns], above[1][source, columns]
    water = canvas.y > level
    ground.paint = mix(
        ground.paint,
        mix(image, mix(palette.zenith, palette.middle, 0.5), 0.25),
        0.72 * shown * water * smooth(1.0, 0.72, canvas.y),
    )
    bank = 0.9 - 0.05 * np.cos(canvas.x[:1] / canvas.aspect * 5.5 + 2.4) + 0.01 * canvas.ridge(251, 6)
    ground.grass(bank, rgb("5f8a48"), 253)
    ground.blossoms(bank, ("fff2c0", "e9b8f2"), 255, 0.0)


def _meadow(ground: Ground) -> None:
    canvas = ground.canvas
    ground.mountains(0.615, 0.15, 261, 0.66)
    for k, (level, swing, far, green) in enumerate(
        ((0.63, 0.03, 0.5, "86b06a"), (0.68, 0.045, 0.3, "7db356"), (0.745, 0.05, 0.14, "74b047"))
    ):
        hill = level + swing * canvas.ridge(263 + 3 * k, 1.2, octaves=2, gain=0.35)
        ground.pines(hill + 0.004, 0.03 + 0.022 * k, 267 + 3 * k, 16, ground.lit(rgb("3c6a42"), 0.35, far))
        ground.grass(hill, rgb(green), 268 + 5 * k, far=far)
    near = 0.83 + 0.035 * canvas.ridge(281, 0.9, octaves=2)
    ground.grass(near, rgb("69a43c"), 292)
    ground.blossoms(near, ("fff6d8", "f8d24a", "f08aa0"), 275, -0.1)


def _flowers(ground: Ground) -> None:
    """Paint rows of lavender that meet at one point of the horizon, with poppies between them."""
    canvas = ground.canvas
    ground.mountains(0.615, 0.1, 281, 0.72)
    ground.grass(0.618 + 0.01 * canvas.ridge(283, 2), rgb("7ea05c"), 284, far=0.42)
    ground.pines(0.627, 0.045, 285, 40, ground.lit(rgb("3c5c44"), 0.35, 0.36))
    top = 0.632
    depth = np.clip((canvas.y - top) / (1 - top), 1e-3, 1)
    along = (canvas.x - 0.05) / (depth + 0.03)
    row = 0.5 + 0.5 * np.cos(along * 10.5 + 0.9)
    tuft = canvas.noise(287, 40, octaves=3, stretch=0.8, gain=0.8)
    bushes = smooth(0.3, 0.62, row + 0.13 * tuft * depth)
    earth = ground.lit(rgb("7f8a52"), np.clip(0.55 + 0.2 * tuft, 0, 1), 0.3 * (1 - depth) ** 2)
    bloom = mix(rgb("8a5fd0"), rgb("c79bf0"), np.clip(0.5 + 0.45 * tuft, 0, 1))
    light = np.clip(0.45 + 0.6 * row + 0.2 * tuft, 0, 1)
    ground.lay(ground.below(top), mix(earth, ground.lit(bloom, light, 0.42 * (1 - depth) ** 2), bushes))
    ground.blossoms(np.full((1, canvas.shape[1]), 0.72, dtype=np.float32), ("f2545b", "ffd76a"), 289, -0.35)


def _forest(ground: Ground) -> None:
    canvas = ground.canvas
    ground.mountains(0.6, 0.17, 291, 0.66)
    for k, (foot, tall, count, far) in enumerate(((0.63, 0.13, 70, 0.6), (0.68, 0.19, 50, 0.4), (0.75, 0.28, 30, 0.2))):
        line = foot + 0.016 * canvas.ridge(293 + k, 2)
        ground.pines(line, tall, 296 + k, count, ground.lit(rgb("2f5540"), 0.3, far))
        soil = ground.lit(rgb("3f6044"), 0.35, far)
        veil = smooth(0.0, 0.1, canvas.y - line)
        ground.lay(ground.below(line), mix(soil, mix(ground.palette.haze, soil, 0.35), 0.8 * veil))
    near = 0.83 + 0.03 * np.cos(canvas.x[:1] / canvas.aspect * 6.0) + 0.008 * canvas.ridge(303, 5)
    ground.grass(near, rgb("4f7c42"), 304)
    side = ground.lit(rgb("203a30"), 0.12)
    rng = np.random.Generator(np.random.PCG64(305))
    for place in (-0.5, -0.41, 0.43, 0.51):
        tall = 0.55 + 0.2 * rng.random()
        _big_pine(
            ground, place * canvas.aspect, 0.93 + 0.03 * rng.random(), tall * min(1.0, canvas.aspect * 1.25), side
        )
    ground.blossoms(near, ("e6f0ff", "d0a0f0"), 307, -0.2)


def _big_pine(ground: Ground, x: float, foot: float, tall: float, colour: Paint) -> None:
    canvas = ground.canvas
    y = (canvas.y - (foot - tall)) / np.float32(tall)
    reach = np.abs(canvas.x - np.float32(x)) / np.float32(tall)
    tier = (y * 8.5 + reach * 2.2) % 1
    half = 0.2 * y * (0.55 + 0.45 * tier) + 0.004
    needles = (reach - half) * tall
    shape = np.where((y > 0) & (y < 0.93), cover(needles, canvas.pixel * 2), 0)
    trunk = cover((reach - 0.018) * tall, canvas.pixel * 1.5) * (y > 0.5) * (y < 1)
    ground.lay(np.maximum(shape, trunk).astype(np.float32), colour)


def _desert(ground: Ground) -> None:
    canvas = ground.canvas
    ground.mountains(0.62, 0.08, 311, 0.66)
    for k, (level, swing, far) in enumerate(
        ((0.63, 0.04, 0.5), (0.685, 0.05, 0.3), (0.76, 0.055, 0.12), (0.87, 0.05, 0.0))
    ):
        line = level + swing * canvas.ridge(313 + k, 1.7 - 0.15 * k, octaves=2, gain=0.25)
        depth = canvas.y - line
        slope = np.gradient(line[0], canvas.pixel)
        # the lee side is inclined: the lower a point is, the further left is its crest
        columns = np.arange(canvas.shape[1]) - np.clip(depth, 0, 1) * 0.9 / canvas.pixel
        fall = slope[np.clip(columns, 0, canvas.shape[1] - 1).astype(int)]
        ripple = np.sin((canvas.y - 0.35 * line) * (150 - 55 * far) + 3 * canvas.noise(318 + k, 3, octaves=2))
        lee = smooth(-0.02, 0.16, fall) * smooth(0.3, 0.05, depth)
        light = np.clip(0.95 - 0.75 * lee - 0.5 * depth + 0.04 * ripple * (1 - far), 0, 1)
        ground.lay(ground.below(line), ground.lit(rgb("e9bd7e"), light, far))


def _snow(ground: Ground) -> None:
    canvas = ground.canvas
    ground.mountains(0.62, 0.3, 321, 0.5, snow=0.9)
    ground.mountains(0.66, 0.2, 325, 0.3, snow=1.0)
    for k, (level, far) in enumerate(((0.66, 0.34), (0.73, 0.16), (0.83, 0.0))):
        line = level + 0.028 * canvas.ridge(327 + k, 1.3, octaves=2)
        depth = canvas.y - line
        swell = canvas.noise(331 + k, 3.4, octaves=3, stretch=2.4)
        light = np.clip(0.95 - 1.3 * depth + 0.22 * swell, 0.1, 1)
        ground.pines(line - 0.002, 0.09 + 0.05 * k, 335 + k, 24 - 5 * k, ground.lit(rgb("3a5a5c"), 0.3, far + 0.12))
        ground.lay(ground.below(line), ground.lit(rgb("eef4ff"), light, far))


_LANDS: Final[dict[str, Callable[[Ground], None]]] = {
    "sea": _sea,
    "cliffs": _cliffs,
    "lake": _lake,
    "meadow": _meadow,
    "flowers": _flowers,
    "forest": _forest,
    "desert": _desert,
    "snow": _snow,
}
