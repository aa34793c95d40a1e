"""Paint glass bottles, each with a small landscape inside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from painting.canvas import OUTLINES, WHITE, bell, cover, glow, mix, ramp, rgb, smooth
from painting.skies import spiral, stars

if TYPE_CHECKING:
    from collections.abc import Callable

    from painting.canvas import Paint, Plane
    from painting.figure import Figure


def bottle(figure: Figure, look: str, *, shape: str, level: float) -> None:
    """Paint a corked bottle that is filled up to a level: its shadow, the landscape inside, then the glass."""
    palette, u, v = figure.palette, figure.u, figure.v
    outline, half = figure.profile(OUTLINES[shape])
    across = u / half  # -1 to 1 from wall to wall
    world = np.clip(_WORLDS[look](figure), 0, 1)
    figure.shadow(0.34, 0.05, 0.55)
    shine = np.percentile(world[:, world.shape[1] // 2 :: 4, ::4], 85, axis=(1, 2)).astype(np.float32).reshape(3, 1, 1)
    figure.wash(0.42 * np.exp(-(((u + 0.05) / 0.3) ** 2) - ((v - 0.005) / 0.035) ** 2), shine)

    empty = mix(mix(palette.middle, palette.haze, 0.6), WHITE, 0.18)
    figure.lay(outline, empty, opacity=0.6)
    inside = cover(outline + 0.014, figure.pixel * 2)
    # the edge of a liquid in a round bottle is an ellipse seen from above
    rim = level + 0.018 * np.sqrt(np.clip(1 - across**2, 0, 1))
    filled = inside * smooth(-0.008, 0.008, v - rim)
    figure.wash(filled * 0.98, world)
    surface = bell(v - rim, 0.012) * inside
    figure.wash(surface * 0.45, mix(shine, WHITE, 0.5))
    _glaze(figure, outline, across, inside)
    _cork(figure)


def _glaze(figure: Figure, outline: Plane, across: Plane, inside: Plane) -> None:
    """Paint the glass: walls, reflections, and the thick foot."""
    palette, v = figure.palette, figure.v
    glass = cover(outline, figure.pixel * 1.5)
    bright = mix(palette.lamp, WHITE, 0.35)
    body = smooth(-0.66, -0.5, v) * smooth(-0.03, -0.1, v)
    wall = glass * (1 - inside)
    figure.tint(0.35 * glass * smooth(0.7, 1.0, np.abs(across)), mix(palette.zenith, palette.shade, 0.5))
    figure.wash(0.75 * wall, mix(palette.haze, bright, 0.45))
    figure.wash(0.5 * glass * bell(across - 0.9, 0.05), bright)
    figure.wash(0.4 * glass * bell(across + 0.91, 0.045), bright)
    streak = bell(across + 0.66, 0.085) * body * smooth(-0.08, -0.22, v)
    figure.wash(0.78 * glass * streak, WHITE)
    thin = bell(across + 0.44, 0.03) * body * smooth(-0.22, -0.3, v)
    figure.wash(0.45 * glass * thin, WHITE)
    figure.wash(0.4 * glass * bell(across - 0.7, 0.05) * body * smooth(-0.5, -0.3, v), bright)
    neck = smooth(-0.92, -0.88, v) * smooth(-0.64, -0.72, v)
    figure.wash(0.7 * glass * neck * bell(across + 0.45, 0.16), WHITE)
    lip = figure.box(-0.09, 0.09, -0.935, -0.895, rounding=0.018)
    figure.lay(lip, mix(palette.haze, bright, 0.55), opacity=0.85)
    figure.wash(cover(lip, figure.pixel) * 0.8 * bell(figure.u + 0.045, 0.02), WHITE)
    foot = bell(v + 0.03, 0.014) * glass * (1 - across**2)
    figure.wash(0.55 * np.clip(foot, 0, 1), bright)


def _cork(figure: Figure) -> None:
    cork = figure.box(-0.066, 0.066, -1.0, -0.925, rounding=0.012)
    light = np.clip(0.75 - 0.5 * figure.u / 0.066 + 0.3 * figure.canvas.noise(401, 30, octaves=2), 0, 1)
    figure.lay(cork, figure.lit(rgb("c89a66"), light))


def _gas(figure: Figure, seed: int, ground: str, glows: str) -> Paint:
    """Paint glowing clouds among stars."""
    canvas = figure.canvas
    gas = canvas.noise(seed, 3.2, octaves=6, gain=0.6)
    fold = canvas.noise(seed + 1, 4.2, octaves=5, gain=0.58)
    stops = [(k / 3, rgb(colour)) for k, colour in enumerate(ground.split())]
    world = ramp(stops, np.clip((figure.v + 0.6) / 0.6 + 0.16 * gas, 0, 1))
    first, second, threads = (rgb(colour) for colour in glows.split())
    world = glow(world, first, 0.5 * smooth(0.0, 1.5, gas))
    world = glow(world, second, 0.5 * smooth(0.1, 1.6, -gas))
    return glow(world, threads, 0.32 * np.clip(1 - np.abs(fold) * 1.5, 0, 1) ** 2)


def _galaxy(figure: Figure) -> Paint:
    """Paint a spiral galaxy in violet gas."""
    canvas = figure.canvas
    world = _gas(figure, 411, "16053c 34107c 6a1fae b03cc4", "f05ad0 3f74ff ffb8ee")
    return glow(_spiral(figure, world, -0.31, 0.3), rgb("ffffff"), stars(canvas, 415, 120, size=0.9))


def _nebula(figure: Figure) -> Paint:
    """Paint a pillar of gas, blue outside and pink inside."""
    canvas, u, v = figure.canvas, figure.u, figure.v
    world = _gas(figure, 417, "0a0a34 231a7a 5a24a8 8a3ac8", "7a4aff 18a0e8 c8b4ff")
    bend = 0.05 * canvas.noise(419, 4, octaves=4)
    pillar = bell(u + bend + 0.1 * np.sin(v * 7), 0.1) * smooth(-0.62, -0.5, v)
    world = glow(world, rgb("ff6ab0"), 0.7 * pillar)
    world = glow(world, rgb("ffe0c0"), 0.75 * pillar**4)
    return glow(world, rgb("ffffff"), stars(canvas, 421, 150, size=0.9))


def _night(figure: Figure) -> Paint:
    """Paint a purple night sky with a galaxy over small mountains."""
    canvas, u, v = figure.canvas, figure.u, figure.v
    world = _gas(figure, 423, "12052e 3c127a 8a30b8 f088c8", "c060f0 4a60f0 ffc8f0")
    world = _spiral(figure, world, -0.42, 0.24)
    world = glow(world, rgb("ffffff"), stars(canvas, 427, 130, size=0.9))
    for k, (level, tall, colour) in enumerate(
        ((-0.2, 0.1, "6a2f9a"), (-0.13, 0.07, "3c1a6a"), (-0.06, 0.04, "1c0c3c"))
    ):
        crest = level - tall * (np.abs((u * (4 + k) + 0.3 * k) % 1 - 0.5) * 2 - 0.5) + 0.012 * np.sin(u * 40 + k)
        world = mix(world, rgb(colour), smooth(-0.006, 0.006, v - crest))
    return world


def _spiral(figure: Figure, world: Paint, v: float, size: float) -> Paint:
    scale = figure.canvas.pixel / figure.pixel
    x = float(figure.canvas.x[0, 0] - figure.u[0, 0] * scale)
    y = float(figure.canvas.y[0, 0] - (figure.v[0, 0] - v) * scale)
    return spiral(figure.canvas, world, (x, y, size * scale), rgb("fff4ff"))


def _sea(figure: Figure) -> Paint:
    u, v, canvas = figure.u, figure.v, figure.canvas
    world = ramp([(0, rgb("ffcf8a")), (0.5, rgb("ffe9c4")), (1, rgb("9fd8ee"))], np.clip((-v - 0.28) / 0.32, 0, 1))
    level = -0.27 + 0.02 * np.sin(u * 19 + 0.6) + 0.012 * np.sin(u * 41)
    depth = np.clip((v - level) / 0.27, 0, 1)
    sea = ramp([(0, rgb("58d0d8")), (0.4, rgb("1f86c0")), (1, rgb("0a2f78"))], depth)
    sea = glow(sea, rgb("b8fff4"), 0.35 * smooth(0.3, 1.6, canvas.noise(421, 7, octaves=4, stretch=2)))
    hull = figure.polygon([(-0.1, -0.32), (0.11, -0.32), (0.075, -0.262), (-0.07, -0.262)])
    sail = figure.polygon([(0.0, -0.55), (0.105, -0.345), (0.0, -0.345)])
    jib = figure.polygon([(-0.014, -0.52), (-0.014, -0.345), (-0.085, -0.345)])
    for distance, colour in ((hull, "8a3d2e"), (sail, "fffaf0"), (jib, "ffe3d0")):
        world = mix(world, rgb(colour), cover(distance, figure.pixel * 1.5))
    world = mix(world, sea, smooth(-0.006, 0.006, v - level))
    return mix(world, rgb("f4ffff"), bell(v - level, 0.009) * 0.85)


def _forest(figure: Figure) -> Paint:
    u, v, canvas = figure.u, figure.v, figure.canvas
    world = ramp([(0, rgb("0d3a4c")), (0.6, rgb("1c6a78")), (1, rgb("aee8d0"))], np.clip((v + 0.62) / 0.4, 0, 1))
    world = glow(world, rgb("ffffff"), stars(canvas, 431, 60) * smooth(-0.3, -0.45, v))
    world = glow(world, rgb("fff6d8"), 0.5 * np.exp(-np.hypot(u - 0.1, v + 0.5) * 9))
    world = mix(world, rgb("fffbe8"), cover(figure.disc(0.1, -0.5, 0.05), figure.pixel * 1.5))
    for k, (base, tall, tone) in enumerate(((-0.3, 0.11, "4f9a8c"), (-0.23, 0.13, "2c7264"), (-0.14, 0.16, "123f3a"))):
        phase = (u * (17 - 3 * k) + 0.37 * k) % 1 - 0.5
        vary = 0.7 + 0.3 * np.sin(np.floor(u * (17 - 3 * k) + 0.37 * k) * 2.4 + k)
        line = base - tall * vary * np.clip(1 - np.abs(phase) * 2.1, 0, 1) + 0.03 * np.sin(u * 9 + k)
        world = mix(world, rgb(tone), smooth(-0.006, 0.006, v - line))
        world = mix(world, rgb("bff0dc"), 0.35 * smooth(0.02, 0.09, v - line) * smooth(0.2, 0.08, v - line))
    return mix(world, rgb("0b2b26"), smooth(-0.1, -0.02, v))


def _fireflies(figure: Figure) -> Paint:
    u, v, canvas = figure.u, figure.v, figure.canvas
    world = ramp([(0, rgb("10283c")), (0.6, rgb("1d4a48")), (1, rgb("2c5a2c"))], np.clip((v + 0.6) / 0.6, 0, 1))
    world = glow(world, rgb("ffb84a"), 0.6 * np.exp(-np.hypot(u, (v + 0.26) * 0.8) * 6.5))
    blades = 0.09 + 0.07 * np.abs(np.sin(u * 47)) * np.abs(np.sin(u * 13 + 1)) + 0.02 * np.sin(u * 90)
    world = mix(world, rgb("16331a"), smooth(-0.01, 0.01, v + blades))
    rng = np.random.Generator(np.random.PCG64(441))
    for _ in range(22):
        x, y = rng.uniform(-0.2, 0.2), rng.uniform(-0.54, -0.1)
        size = rng.uniform(0.006, 0.017)
        reach = np.hypot(u - np.float32(x), v - np.float32(y))
        world = glow(world, rgb("ffd45e"), bell(reach, size * 2.6) * 0.8)
        world = glow(world, rgb("fffbe0"), bell(reach, size))
    return mix(world, rgb("0c2013"), 0.15 * np.clip(canvas.noise(443, 6, octaves=3), 0, 1))


def _flowers(figure: Figure) -> Paint:
    u, v = figure.u, figure.v
    world = ramp([(0, rgb("fbe4ee")), (0.6, rgb("dff0dc")), (1, rgb("7fae6a"))], np.clip((v + 0.6) / 0.6, 0, 1))
    rng = np.random.Generator(np.random.PCG64(451))
    petals = [rgb(c) for c in ("f06a9a", "ffd04a", "b58af0", "ff8f6a", "ffffff", "e84a6a")]
    for k in range(30):
        x, y = rng.uniform(-0.24, 0.24), -0.52 + 0.44 * (k / 30) ** 0.8 + rng.uniform(-0.04, 0.04)
        size = rng.uniform(0.03, 0.05)
        stem = bell(u - np.float32(x * 0.8), 0.006) * (v > y)
        world = mix(world, rgb("4f8a46"), 0.5 * stem)
        angle = np.arctan2(v - np.float32(y), u - np.float32(x)) * 5 + rng.uniform(0, 6)
        reach = np.hypot(u - np.float32(x), v - np.float32(y))
        flower = reach - size * (0.72 + 0.28 * np.cos(angle))
        shade = np.clip(1.1 - 0.45 * reach / np.float32(size), 0.5, 1)
        world = mix(world, petals[k % len(petals)] * shade, cover(flower, figure.pixel * 1.5))
        world = mix(world, rgb("ffe27a"), cover(reach - size * 0.27, figure.pixel * 1.5))
    return world


def _potion(figure: Figure) -> Paint:
    u, v, canvas = figure.u, figure.v, figure.canvas
    swirl = canvas.noise(461, 3.5, octaves=4, stretch=1.6)
    world = ramp(
        [(0, rgb("e8fff0")), (0.3, rgb("6af0b4")), (0.65, rgb("18a88c")), (1, rgb("085a66"))],
        np.clip((v + 0.6) / 0.6 + 0.13 * swirl, 0, 1),
    )
    world = glow(world, rgb("f6ff9a"), 0.4 * smooth(0.2, 1.6, swirl))
    rng = np.random.Generator(np.random.PCG64(463))
    for _ in range(26):
        x, y, size = rng.uniform(-0.22, 0.22), rng.uniform(-0.56, -0.06), rng.uniform(0.005, 0.018)
        reach = np.hypot(u - np.float32(x), v - np.float32(y)) / np.float32(size)
        world = glow(world, rgb("f2fff6"), 0.75 * bell(reach - 0.8, 0.28))
    return world


_WORLDS: Final[dict[str, Callable[[Figure], Paint]]] = {
    "a galaxy": _galaxy,
    "a nebula": _nebula,
    "a purple night": _night,
    "the sea": _sea,
    "a forest": _forest,
    "fireflies": _fireflies,
    "flowers": _flowers,
    "a potion": _potion,
}
