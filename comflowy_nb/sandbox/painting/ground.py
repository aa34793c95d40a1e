"""A land being painted, from far to near: mountains, trees, water, grass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from comflowy_nb.sandbox.painting.canvas import cover, glow, mix, rgb, smooth
from comflowy_nb.sandbox.painting.skies import LAMP_X

if TYPE_CHECKING:
    from comflowy_nb.sandbox.painting.canvas import Canvas, Paint, Plane
    from comflowy_nb.sandbox.painting.palettes import Palette


class Ground:
    """A painting in progress, from far to near."""

    def __init__(self, easel: Canvas, palette: Palette) -> None:
        self.easel = easel
        self.palette = palette
        self.alpha: Plane = np.zeros(easel.shape, dtype=np.float32)
        self.paint: Paint = np.zeros((3, *easel.shape), dtype=np.float32) + palette.haze

    def lay(self, shape: Plane, colour: Paint) -> None:
        """Paint a shape over what is there."""
        self.paint = mix(self.paint, colour, shape)
        self.alpha = np.maximum(self.alpha, shape)

    def below(self, line: Plane | float, soft: float = 1.0) -> Plane:
        """All that lies below a line."""
        return cover(np.float32(line) - self.easel.y, self.easel.pixel * 1.5 * soft)

    def lit(self, albedo: Paint, light: Plane | float, far: Plane | float = 0.0) -> Paint:
        """A surface of some colour, more or less in the light, more or less far away."""
        palette = self.palette
        tint = mix(palette.shade, palette.light, light)
        return mix(albedo * tint * np.float32(1.08), palette.haze, far)

    def mountains(self, base: float, height: float, seed: int, far: float, *, snow: float = 0.0) -> Plane:
        """A range with lit and shaded slopes, and snow from its tops down; its crest line is returned."""
        easel = self.easel
        crest = base - height * (0.55 + 0.45 * easel.ridge(seed, 2.3, sharp=True, gain=0.52))
        depth = easel.y - crest
        rough = easel.noise(seed + 1, 9, octaves=4, gain=0.6)
        slope = np.gradient(crest, easel.pixel, axis=1)
        folds = easel.noise(seed + 2, 6, octaves=4, stretch=0.8)
        facing = np.tanh(slope * 1.2) * np.exp(-np.clip(depth, 0, 1) * 7)
        light = np.clip(0.52 - 0.42 * facing + 0.36 * folds, 0, 1)
        rock = self.lit(rgb("6f7484"), light, np.clip(far + depth * 0.9, 0, 0.92))
        if snow:
            white = smooth(0.05, -0.05, depth - snow * height * (0.55 + 0.3 * rough))
            rock = mix(rock, self.lit(rgb("f6f9ff"), 0.25 + 0.75 * light, far * 0.7), white)
        self.lay(self.below(crest), rock)
        return crest

    def pines(self, foot: Plane | float, height: float, seed: int, count: int, colour: Paint) -> None:
        """A row of conifers; `foot` is where they stand."""
        self.lay(self.easel.keep(("pines", seed), lambda: self._pines(foot, height, seed, count)), colour)

    def _pines(self, foot: Plane | float, height: float, seed: int, count: int) -> Plane:
        easel = self.easel
        rng = np.random.Generator(np.random.PCG64(seed))
        rows, columns = easel.shape
        line = np.broadcast_to(np.asarray(foot, dtype=np.float32), (1, columns))[0]
        shape = np.zeros(easel.shape, dtype=np.float32)
        for place, size in zip(rng.random(int(count * max(0.6, easel.aspect))), rng.random(10_000), strict=False):
            middle = int(place * columns)
            tall = height * (0.55 + 0.6 * size)
            reach = max(2, int(tall * 0.24 * rows))
            ground = float(line[middle])
            top, bottom = max(0, int((ground - tall) * rows)), min(rows, int((ground + 0.015) * rows) + 1)
            left, right = max(0, middle - reach), min(columns, middle + reach + 1)
            if bottom <= top or right <= left:
                continue
            y = (easel.y[top:bottom, left:right] - (ground - tall)) / tall
            x = np.abs(easel.x[top:bottom, left:right] - easel.x[0, middle]) / tall
            tier = (y * 5.5) % 1
            half = 0.19 * y * (0.62 + 0.38 * tier) + 0.004
            part = cover((x - half) * tall, easel.pixel * 1.5) * (y > 0)
            shape[top:bottom, left:right] = np.maximum(shape[top:bottom, left:right], part)
        return shape

    def water(self, top: float, *, glitter: float = 1.0) -> None:
        """Water from a level horizon down, bright with the sky far away and deeper nearby."""
        easel, palette = self.easel, self.palette
        near = np.clip((easel.y - top) / (1 - top), 0, 1)
        deep = mix(palette.zenith, palette.middle, 0.4)
        colour = mix(mix(palette.horizon, palette.haze, 0.25), mix(palette.middle, deep, 0.5), near**0.45)
        colour = mix(colour, deep, 0.75 * near**1.2)
        waves = self.ripples(top)
        colour = mix(colour, mix(palette.horizon, palette.lamp, 0.3), np.clip(waves * 0.2 * (1 - 0.35 * near), 0, 0.5))
        colour = mix(colour, deep, np.clip(-waves * 0.22, 0, 0.5))
        width = 0.022 + 0.16 * near
        path = np.exp(-(((easel.x - LAMP_X * easel.aspect) / width) ** 2)) * smooth(0, 0.02, near)
        colour = glow(colour, palette.lamp, glitter * path * np.clip(0.22 + 0.6 * waves, 0, 1))
        self.lay(self.below(top), colour)

    def ripples(self, top: float) -> Plane:
        """Waves, flatter and closer together towards the horizon."""
        easel = self.easel
        flat = easel.noise(207, 26, octaves=3, stretch=5, gain=0.7)
        near = np.clip((easel.y[:, 0] - top) / (1 - top), 0, 1)
        rows = np.clip((near**0.42 * (easel.shape[0] - 1)).astype(int), 0, easel.shape[0] - 1)
        return np.asarray(flat[rows])

    def grass(self, line: Plane, albedo: Paint, seed: int, *, far: float = 0.0) -> None:
        """A hill of grass below a line, its crest in the light."""
        easel = self.easel
        depth = easel.y - line
        blades = easel.noise(seed, 30, octaves=3, stretch=0.55, gain=0.75) * (1 - far)
        swell = easel.noise(seed + 1, 2.6, octaves=3, stretch=2.6)
        light = np.clip(0.88 - 1.5 * depth + 0.11 * blades + 0.24 * swell, 0.05, 1)
        self.lay(self.below(line), self.lit(albedo, light, far))

    def blossoms(self, line: Plane, colours: tuple[str, ...], seed: int, density: float) -> None:
        """Flowers below a line, larger nearby."""
        easel = self.easel
        near = smooth(0.0, 1.0, (easel.y - line) / np.float32(0.34))
        for k, colour in enumerate(colours):
            fine = easel.noise(seed + k, 44, octaves=1)
            coarse = easel.noise(seed + 20 + k, 24, octaves=1)
            spots = np.where(near > 0.45, coarse, fine)
            dots = smooth(1.5 - density, 2.3 - density, spots) * smooth(0, 0.03, easel.y - line)
            light = np.clip(0.75 + 0.3 * easel.noise(seed + 40, 9, octaves=2), 0, 1)
            self.paint = mix(self.paint, self.lit(rgb(colour), light, 0.25 * (1 - near)), dots * 0.95 * self.alpha)
