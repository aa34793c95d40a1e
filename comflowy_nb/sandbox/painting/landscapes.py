"""Lands and waters: what lies between the sky and the viewer's feet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from comflowy_nb.sandbox.painting.canvas import cover, mix, rgb, smooth
from comflowy_nb.sandbox.painting.ground import Ground

if TYPE_CHECKING:
    from collections.abc import Callable

    from comflowy_nb.sandbox.painting.canvas import Canvas, Paint, Plane
    from comflowy_nb.sandbox.painting.palettes import Palette


@dataclass(frozen=True, slots=True)
class Land:
    """A kind of land and the tags that ask for it."""

    name: str
    tags: dict[str, float]


LANDS: Final = (
    Land("sea", {"sea": 1.0, "landscape": 0.1}),
    Land("cliffs", {"cliffs": 1.0, "sea": 0.6, "landscape": 0.2}),
    Land("lake", {"lake": 1.0, "mountain": 0.7, "landscape": 0.5}),
    Land("meadow", {"meadow": 1.0, "green": 0.3, "landscape": 0.5}),
    Land("flowers", {"flowers": 1.0, "meadow": 0.3, "landscape": 0.4}),
    Land("forest", {"forest": 1.0, "tree": 0.3, "landscape": 0.3}),
    Land("desert", {"desert": 1.0, "landscape": 0.2}),
    Land("snow", {"snow": 1.0, "mountain": 0.6, "cold": 0.2, "landscape": 0.3}),
)


def paint_land(easel: Canvas, land: Land, palette: Palette) -> tuple[Plane, Paint]:
    """Coverage (h, w), the same in every light, and colours (3, h, w)."""
    scene = Ground(easel, palette)
    _LANDS[land.name](scene)
    return scene.alpha, np.clip(scene.paint, 0, 1)


def _sea(scene: Ground) -> None:
    easel = scene.easel
    scene.lay(
        scene.below(0.617 - 0.012 * np.clip(easel.ridge(213, 3), 0, 1) * (np.abs(easel.x[:1]) > 0.1 * easel.aspect)),
        scene.lit(rgb("6a7a90"), 0.4, 0.7),
    )
    scene.water(0.62)
    shore = 0.895 + 0.03 * np.sin(easel.x[:1] * 4.3 + 0.6) + 0.008 * easel.ridge(215, 5)
    wet = smooth(0.05, 0.0, easel.y - shore)
    sand = scene.lit(rgb("e8cfa0"), np.clip(0.78 + 0.07 * easel.noise(217, 30, octaves=3, stretch=2.5), 0, 1))
    scene.lay(scene.below(shore), mix(sand, sand * 0.72, wet))
    foam = np.exp(-(((easel.y - shore) / 0.006) ** 2)) * np.clip(0.75 + 0.4 * easel.noise(219, 20, octaves=2), 0, 1)
    scene.paint = mix(scene.paint, scene.lit(rgb("ffffff"), 0.9), foam)
    wave = np.exp(-(((easel.y - shore + 0.045) / 0.007) ** 2)) * smooth(0.1, 0.8, easel.noise(221, 4, stretch=3))
    scene.paint = mix(scene.paint, scene.lit(rgb("ffffff"), 0.9), 0.8 * wave)


def _cliffs(scene: Ground) -> None:
    easel = scene.easel
    scene.water(0.62)
    x = easel.x / easel.aspect
    rough = easel.noise(231, 10, octaves=4)
    for middle, width, top, far in ((0.16, 0.035, 0.47, 0.45), (0.285, 0.06, 0.4, 0.3)):
        shape = (np.abs(x - middle) - width * (0.75 + 0.6 * (easel.y - top)) + 0.012 * rough) * easel.aspect
        inside = cover(
            np.maximum(np.maximum(shape, top + 0.02 * rough - easel.y), easel.y - 0.66 - 0.01 * rough),
            easel.pixel * 1.5,
        )
        light = np.clip(0.5 - (x - middle) / width * 0.4 + 0.3 * rough, 0, 1)
        scene.lay(inside, scene.lit(rgb("8f8178"), light, far))
        foam = np.exp(-(((easel.y - 0.66) / 0.006) ** 2)) * smooth(0.02, -0.01, np.abs(x - middle) - width)
        scene.paint = mix(scene.paint, scene.lit(rgb("ffffff"), 0.8), 0.7 * foam)
    edge = 0.36 + (x + 0.5) * 1.5 + 0.02 * rough + 0.05 * np.tanh((x + 0.36) * 14)
    strata = np.sin(easel.y * 70 + rough * 1.8)
    light = np.clip(0.5 + 0.35 * rough + 0.16 * strata, 0, 1)
    face = cover((edge - easel.y) * 0.6, easel.pixel * 1.5) * (easel.y < 1.1)
    scene.lay(face, scene.lit(rgb("9a8876"), light, np.clip(0.2 - easel.y * 0.15, 0, 1)))
    turf = smooth(0.075, 0.03, easel.y - edge + 0.02 * rough) * face
    scene.paint = mix(scene.paint, scene.lit(rgb("6f9a4c"), np.clip(0.7 + 0.3 * rough, 0, 1)), turf)
    shore = 0.9 + 0.02 * easel.ridge(235, 4) - 0.04 * np.clip(-x[:1] * 2, 0, 1)
    scene.grass(shore, rgb("6c8f4a"), 237)


def _lake(scene: Ground) -> None:
    easel, palette = scene.easel, scene.palette
    scene.mountains(0.6, 0.24, 241, 0.62)
    scene.mountains(0.63, 0.2, 245, 0.38, snow=0.5)
    scene.pines(0.632, 0.05, 249, 130, scene.lit(rgb("2f4f44"), 0.25, 0.35))
    level = 0.64
    above = scene.paint.copy(), scene.alpha.copy()
    scene.water(level, glitter=0.6)
    # the mountains once more, upside down and shaken by the ripples
    ripple = scene.ripples(level)
    rows = easel.shape[0]
    mirror = np.clip(2 * level - easel.y - 0.012 * ripple * smooth(level, 1, easel.y) * 2, 0, level - 0.003)
    source = np.clip((mirror * rows).astype(int), 0, rows - 1)
    columns = np.broadcast_to(np.arange(easel.shape[1]), easel.shape)
    image, shown = above[0][:, source, columns], above[1][source, columns]
    water = easel.y > level
    scene.paint = mix(
        scene.paint,
        mix(image, mix(palette.zenith, palette.middle, 0.5), 0.25),
        0.72 * shown * water * smooth(1.0, 0.72, easel.y),
    )
    bank = 0.9 - 0.05 * np.cos(easel.x[:1] / easel.aspect * 5.5 + 2.4) + 0.01 * easel.ridge(251, 6)
    scene.grass(bank, rgb("5f8a48"), 253)
    scene.blossoms(bank, ("fff2c0", "e9b8f2"), 255, 0.0)


def _meadow(scene: Ground) -> None:
    easel = scene.easel
    scene.mountains(0.615, 0.15, 261, 0.66)
    for k, (level, swing, far, green) in enumerate(
        ((0.63, 0.03, 0.5, "86b06a"), (0.68, 0.045, 0.3, "7db356"), (0.745, 0.05, 0.14, "74b047"))
    ):
        hill = level + swing * easel.ridge(263 + 3 * k, 1.2, octaves=2, gain=0.35)
        scene.pines(hill + 0.004, 0.03 + 0.022 * k, 267 + 3 * k, 16, scene.lit(rgb("3c6a42"), 0.35, far))
        scene.grass(hill, rgb(green), 268 + 5 * k, far=far)
    near = 0.83 + 0.035 * easel.ridge(281, 0.9, octaves=2)
    scene.grass(near, rgb("69a43c"), 292)
    scene.blossoms(near, ("fff6d8", "f8d24a", "f08aa0"), 275, -0.1)


def _flowers(scene: Ground) -> None:
    """Lavender in rows that run to one point, with poppies between."""
    easel = scene.easel
    scene.mountains(0.615, 0.1, 281, 0.72)
    scene.grass(0.618 + 0.01 * easel.ridge(283, 2), rgb("7ea05c"), 284, far=0.42)
    scene.pines(0.627, 0.045, 285, 40, scene.lit(rgb("3c5c44"), 0.35, 0.36))
    top = 0.632
    depth = np.clip((easel.y - top) / (1 - top), 1e-3, 1)
    along = (easel.x - 0.05) / (depth + 0.03)
    row = 0.5 + 0.5 * np.cos(along * 10.5 + 0.9)
    tuft = easel.noise(287, 40, octaves=3, stretch=0.8, gain=0.8)
    bushes = smooth(0.3, 0.62, row + 0.13 * tuft * depth)
    earth = scene.lit(rgb("7f8a52"), np.clip(0.55 + 0.2 * tuft, 0, 1), 0.3 * (1 - depth) ** 2)
    bloom = mix(rgb("8a5fd0"), rgb("c79bf0"), np.clip(0.5 + 0.45 * tuft, 0, 1))
    light = np.clip(0.45 + 0.6 * row + 0.2 * tuft, 0, 1)
    scene.lay(scene.below(top), mix(earth, scene.lit(bloom, light, 0.42 * (1 - depth) ** 2), bushes))
    scene.blossoms(np.full((1, easel.shape[1]), 0.72, dtype=np.float32), ("f2545b", "ffd76a"), 289, -0.35)


def _forest(scene: Ground) -> None:
    easel = scene.easel
    scene.mountains(0.6, 0.17, 291, 0.66)
    for k, (foot, tall, count, far) in enumerate(((0.63, 0.13, 70, 0.6), (0.68, 0.19, 50, 0.4), (0.75, 0.28, 30, 0.2))):
        line = foot + 0.016 * easel.ridge(293 + k, 2)
        scene.pines(line, tall, 296 + k, count, scene.lit(rgb("2f5540"), 0.3, far))
        ground = scene.lit(rgb("3f6044"), 0.35, far)
        veil = smooth(0.0, 0.1, easel.y - line)
        scene.lay(scene.below(line), mix(ground, mix(scene.palette.haze, ground, 0.35), 0.8 * veil))
    near = 0.83 + 0.03 * np.cos(easel.x[:1] / easel.aspect * 6.0) + 0.008 * easel.ridge(303, 5)
    scene.grass(near, rgb("4f7c42"), 304)
    side = scene.lit(rgb("203a30"), 0.12)
    rng = np.random.Generator(np.random.PCG64(305))
    for place in (-0.5, -0.41, 0.43, 0.51):
        tall = 0.55 + 0.2 * rng.random()
        _big_pine(scene, place * easel.aspect, 0.93 + 0.03 * rng.random(), tall * easel.unit, side)
    scene.blossoms(near, ("e6f0ff", "d0a0f0"), 307, -0.2)


def _big_pine(scene: Ground, x: float, foot: float, tall: float, colour: Paint) -> None:
    easel = scene.easel
    y = (easel.y - (foot - tall)) / np.float32(tall)
    reach = np.abs(easel.x - np.float32(x)) / np.float32(tall)
    tier = (y * 8.5 + reach * 2.2) % 1
    half = 0.2 * y * (0.55 + 0.45 * tier) + 0.004
    needles = (reach - half) * tall
    shape = np.where((y > 0) & (y < 0.93), cover(needles, easel.pixel * 2), 0)
    trunk = cover((reach - 0.018) * tall, easel.pixel * 1.5) * (y > 0.5) * (y < 1)
    scene.lay(np.maximum(shape, trunk).astype(np.float32), colour)


def _desert(scene: Ground) -> None:
    easel = scene.easel
    scene.mountains(0.62, 0.08, 311, 0.66)
    for k, (level, swing, far) in enumerate(
        ((0.63, 0.04, 0.5), (0.685, 0.05, 0.3), (0.76, 0.055, 0.12), (0.87, 0.05, 0.0))
    ):
        line = level + swing * easel.ridge(313 + k, 1.7 - 0.15 * k, octaves=2, gain=0.25)
        depth = easel.y - line
        slope = np.gradient(line[0], easel.pixel)
        # the lee side leans away from its crest, so it is looked up further left the lower one is
        columns = np.arange(easel.shape[1]) - np.clip(depth, 0, 1) * 0.9 / easel.pixel
        fall = slope[np.clip(columns, 0, easel.shape[1] - 1).astype(int)]
        ripple = np.sin((easel.y - 0.35 * line) * (150 - 55 * far) + 3 * easel.noise(318 + k, 3, octaves=2))
        lee = smooth(-0.02, 0.16, fall) * smooth(0.3, 0.05, depth)
        light = np.clip(0.95 - 0.75 * lee - 0.5 * depth + 0.04 * ripple * (1 - far), 0, 1)
        scene.lay(scene.below(line), scene.lit(rgb("e9bd7e"), light, far))


def _snow(scene: Ground) -> None:
    easel = scene.easel
    scene.mountains(0.62, 0.3, 321, 0.5, snow=0.9)
    scene.mountains(0.66, 0.2, 325, 0.3, snow=1.0)
    for k, (level, far) in enumerate(((0.66, 0.34), (0.73, 0.16), (0.83, 0.0))):
        line = level + 0.028 * easel.ridge(327 + k, 1.3, octaves=2)
        depth = easel.y - line
        swell = easel.noise(331 + k, 3.4, octaves=3, stretch=2.4)
        light = np.clip(0.95 - 1.3 * depth + 0.22 * swell, 0.1, 1)
        scene.pines(line - 0.002, 0.09 + 0.05 * k, 335 + k, 24 - 5 * k, scene.lit(rgb("3a5a5c"), 0.3, far + 0.12))
        scene.lay(scene.below(line), scene.lit(rgb("eef4ff"), light, far))


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
