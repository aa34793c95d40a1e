"""Paint skies, from a smooth gradient to a spiral galaxy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from painting.canvas import WHITE, bell, cover, glow, mix, ramp, rgb, smooth

if TYPE_CHECKING:
    from collections.abc import Callable

    from painting.canvas import Canvas, Paint, Palette, Plane

HORIZON: Final = 0.62
LAMP_X: Final = 0.22  # of the width, to the right of the middle


def paint_sky(canvas: Canvas, kind: str, palette: Palette) -> Paint:
    """Return a sky on the whole canvas, including the part that the land will cover."""
    height = np.clip(canvas.y / HORIZON, 0, 1)
    stops = [(0, palette.zenith), (0.55, palette.middle), (1, palette.horizon)]
    sky = ramp(stops, height + 0.03 * canvas.noise(11, 2.5, octaves=2))
    if not palette.is_night:
        reach = np.hypot((canvas.x - LAMP_X * canvas.aspect) * 0.8, canvas.y - palette.lamp_y)
        sky = glow(sky, palette.lamp, 0.55 * np.exp(-reach * 5))
    return np.clip(_SKIES[kind](canvas, palette, sky), 0, 1)


def stars(canvas: Canvas, seed: int, count: int, *, inside: Plane | None = None, size: float = 1.0) -> Plane:
    """Return stars of many magnitudes; the brightest have a cross. `inside` is the probability at each point."""
    rng = np.random.Generator(np.random.PCG64(seed))
    rows, columns = canvas.shape
    light = np.zeros(canvas.shape, dtype=np.float32)
    number = int(count * min(1.5, max(0.6, canvas.aspect)))
    places = rng.random((number, 3))
    magnitudes = 0.25 + 0.75 * rng.random(number) ** 5
    reach = max(3, rows // 42)
    near = np.arange(-reach, reach + 1, dtype=np.float32) / (rows / 256) / size
    dot = np.exp(-(near[:, None] ** 2 + near[None, :] ** 2) / 1.7)
    flare = 0.5 * np.exp(-np.abs(near[:, None]) * 0.55 - near[None, :] ** 2 / 0.6)
    cross = np.minimum(1, dot * 1.4 + flare + flare.T)
    for (u, v, chance), magnitude in zip(places, magnitudes, strict=True):
        row, column = int(v * rows), int(u * columns)
        if inside is not None and inside[row, column] < chance:
            continue
        top, left = max(0, row - reach), max(0, column - reach)
        bottom, right = min(rows, row + reach + 1), min(columns, column + reach + 1)
        stamp = cross if magnitude > 0.82 else dot
        part = stamp[top - row + reach : bottom - row + reach, left - column + reach : right - column + reach]
        light[top:bottom, left:right] = np.maximum(light[top:bottom, left:right], part * magnitude)
    return light


def _high(canvas: Canvas) -> Plane:
    """Return the visibility of stars, which falls to 0 towards the horizon."""
    return smooth(HORIZON, 0.3, canvas.y)


def _lamp(canvas: Canvas, palette: Palette) -> Plane:
    return np.asarray(np.hypot(canvas.x - LAMP_X * canvas.aspect, canvas.y - palette.lamp_y))


def _cloud(canvas: Canvas, seed: int, cells: float, stretch: float, amount: float) -> tuple[Plane, Plane]:
    """Return the thickness of clouds, and the light that falls on them from above."""
    field = canvas.noise(seed, cells, octaves=5, stretch=stretch, gain=0.55)
    depth = smooth(-amount, 1.6 - amount, field)
    rise = max(1, canvas.shape[0] // 40)
    below = np.roll(field, -rise, axis=0)
    return depth, np.clip(0.5 + 0.55 * (below - field), 0, 1)


def _sun(canvas: Canvas, palette: Palette, sky: Paint) -> Paint:
    reach = _lamp(canvas, palette)
    angle = np.arctan2(canvas.y - palette.lamp_y, canvas.x - LAMP_X * canvas.aspect)
    rays = 0.5 + 0.5 * np.sin(angle * 11 + 2 * np.sin(angle * 3))
    sky = glow(sky, palette.lamp, 0.22 * rays * np.exp(-reach * 4.5))
    streaks = smooth(0.3, 1.6, canvas.noise(21, 5, octaves=4, stretch=7)) * smooth(0.1, 0.45, canvas.y)
    sky = mix(sky, mix(palette.horizon, palette.light, 0.5), 0.5 * streaks)
    sky = glow(sky, palette.lamp, 0.9 * bell(reach, 0.085))
    return mix(sky, mix(palette.lamp, WHITE, 0.6), cover(reach - 0.062, 0.012))


def _clouds(canvas: Canvas, palette: Palette, sky: Paint) -> Paint:
    if palette.is_night:
        sky = glow(sky, palette.lamp, 0.8 * stars(canvas, 31, 90) * _high(canvas))
    lit = mix(palette.light, palette.lamp, 0.55)
    shaded = mix(mix(palette.middle, palette.shade, 0.55), palette.horizon, 0.15)
    dim = 0.55 if palette.is_night else 1.0
    for seed, cells, stretch, amount, low, high in ((42, 7, 3.2, 0.1, 0.66, 0.42), (45, 3, 1.7, 0.25, 0.56, 0.3)):
        depth, light = _cloud(canvas, seed, cells, stretch, amount)
        depth = depth * smooth(low, high, canvas.y)
        colour = mix(shaded, lit, np.clip(light * 1.15 * dim + 0.25 * (1 - depth) * dim, 0, 1))
        sky = mix(sky, colour, np.clip(depth * 1.25, 0, 0.95))
    return sky


def _cirrus(canvas: Canvas, palette: Palette, sky: Paint) -> Paint:
    veil = canvas.noise(51, 4.5, octaves=5, stretch=5, gain=0.6)
    fan = smooth(-0.1, 1.9, veil) * smooth(0.66, 0.3, canvas.y) * 0.85
    sky = mix(sky, mix(palette.horizon, palette.lamp, 0.45), fan)
    low = smooth(0.1, 1.4, canvas.noise(53, 7, octaves=4, stretch=9)) * smooth(0.25, 0.5, canvas.y)
    return mix(sky, mix(palette.horizon, palette.light, 0.7), 0.6 * low)


def _rainbow(canvas: Canvas, palette: Palette, sky: Paint) -> Paint:
    sky = mix(sky, palette.haze, 0.25)
    sky = _clouds(canvas, palette, sky)
    radius = np.hypot(canvas.x + 0.12 * canvas.aspect, (canvas.y - HORIZON - 0.1) * 1.0)
    band = (radius - 0.46) / 0.075  # 0 violet, inside, to 1 red, outside
    colours = [rgb(c) for c in ("7a4ad8", "3d6be8", "32c8c0", "5ad24a", "f7e03a", "fb9a2c", "f0483c")]
    bow = ramp([(k / 6, colour) for k, colour in enumerate(colours)], band)
    strength = smooth(-0.25, 0.1, band) * smooth(1.25, 0.9, band) * smooth(0.7, 0.4, canvas.y)
    return mix(sky, np.clip(bow * 0.8 + 0.25, 0, 1), 0.62 * strength)


def _moon(canvas: Canvas, palette: Palette, sky: Paint) -> Paint:
    reach = _lamp(canvas, palette)
    sky = glow(sky, palette.lamp, 0.85 * stars(canvas, 61, 80) * _high(canvas))
    sky = glow(sky, palette.lamp, 0.5 * np.exp(-reach * 7) + 0.2 * np.exp(-reach * 2.5))
    seas = smooth(0.1, 1.3, canvas.noise(63, 16, octaves=3))
    face = mix(palette.lamp, mix(palette.lamp, palette.middle, 0.55), 0.6 * seas)
    sky = mix(sky, face, cover(reach - 0.082, 0.008))
    depth, _ = _cloud(canvas, 65, 4.5, 4.5, 0.0)
    veil = depth * smooth(0.1, 0.3, canvas.y) * smooth(0.62, 0.4, canvas.y)
    return mix(sky, mix(palette.middle, palette.light, 0.5), 0.6 * veil)


def _stars(canvas: Canvas, palette: Palette, sky: Paint) -> Paint:
    dust = smooth(-0.2, 2.0, canvas.noise(71, 2.5, octaves=5)) * _high(canvas)
    sky = mix(sky, mix(palette.middle, palette.horizon, 0.4), 0.5 * dust)
    sky = glow(sky, palette.lamp, stars(canvas, 72, 260) * _high(canvas))
    # a shooting star, from the upper left
    along = (canvas.x + 0.28 * canvas.aspect) * 0.88 + (canvas.y - 0.12) * 0.47
    beside = -(canvas.x + 0.28 * canvas.aspect) * 0.47 + (canvas.y - 0.12) * 0.88
    tail = np.clip(along / 0.22, 0, 1) * (along < 0.22)
    return glow(sky, WHITE, tail**1.5 * bell(beside, 0.0022 + 0.003 * tail))


def _galaxy(canvas: Canvas, palette: Palette, sky: Paint) -> Paint:
    """Paint the Milky Way, from the lower left upwards."""
    bend = 0.05 * canvas.noise(81, 2, octaves=3)
    beside = canvas.x * 0.62 / max(0.8, canvas.aspect) + (canvas.y - 0.27) * 0.78 + bend
    grain = canvas.noise(82, 5, octaves=5, gain=0.62)
    band = bell(beside, 0.13) * np.clip(0.75 + 0.35 * grain, 0, 1.5) * smooth(0.66, 0.45, canvas.y)
    core = bell(beside, 0.055) * smooth(0.62, 0.35, canvas.y)
    lane = bell(beside + 0.012 + 0.022 * canvas.noise(83, 6, octaves=4), 0.02)
    outer, inner = mix(palette.middle, palette.horizon, 0.55), mix(palette.horizon, palette.lamp, 0.6)
    sky = glow(sky, outer, 0.75 * band)
    sky = glow(sky, inner, 0.6 * core * np.clip(0.7 + 0.4 * grain, 0, 1.3))
    sky = mix(sky, mix(palette.zenith, palette.middle, 0.35), 0.65 * lane * np.clip(band, 0, 1))
    crowd = stars(canvas, 85, 520, inside=np.clip(band, 0, 1), size=0.8)
    return glow(sky, palette.lamp, np.maximum(crowd * 0.9, stars(canvas, 86, 110)) * _high(canvas))


def _nebula(canvas: Canvas, palette: Palette, sky: Paint) -> Paint:
    """Paint glowing gas with a spiral galaxy in it."""
    gas = canvas.noise(91, 2.2, octaves=6, gain=0.58)
    fold = canvas.noise(92, 3.0, octaves=5, gain=0.55)
    high = smooth(0.66, 0.4, canvas.y)
    ridges = np.clip(1 - np.abs(fold - 0.4 * gas) * 0.9, 0, 1) ** 2
    sky = glow(sky, palette.horizon, 0.55 * smooth(-0.2, 1.6, gas) * high)
    sky = glow(sky, rgb("4f7dff"), 0.42 * smooth(0.0, 1.8, -gas) * high)
    sky = glow(sky, rgb("ff9ad0"), 0.5 * ridges * smooth(-0.4, 1.2, gas) * high)
    sky = glow(sky, palette.lamp, stars(canvas, 95, 210) * high)
    return spiral(canvas, sky, (-0.17 * canvas.aspect, 0.25, 0.2), palette.lamp)


def spiral(canvas: Canvas, below: Paint, place: tuple[float, float, float], light: Paint) -> Paint:
    """Paint a galaxy with two arms, seen at an angle. `place` is x, y and radius."""
    cx, cy, size = place
    dx, dy = (canvas.x - np.float32(cx)) / np.float32(size), (canvas.y - np.float32(cy)) / np.float32(size)
    u, v = dx * 0.94 + dy * 0.34, (-dx * 0.34 + dy * 0.94) * 1.75
    radius = np.hypot(u, v) + 1e-4
    turn = np.arctan2(v, u) * 2 + 5.2 * np.log(radius + 0.12)
    fade = bell(radius, 0.62)
    arms = (0.5 + 0.5 * np.cos(turn)) ** 2.2 * fade * smooth(0.03, 0.25, radius)
    dim = 1 - 0.25 * np.clip(canvas.noise(97, 14, octaves=3), 0, 1)
    below = glow(below, rgb("a06bff"), 0.75 * fade)
    below = glow(below, rgb("ff8fd8"), 0.85 * arms * dim)
    below = glow(below, rgb("9fd0ff"), 0.6 * arms**2 * dim)
    return glow(below, light, bell(radius, 0.14) + 0.4 * np.exp(-radius * 5))


def _aurora(canvas: Canvas, palette: Palette, sky: Paint) -> Paint:
    sky = glow(sky, palette.lamp, 0.9 * stars(canvas, 101, 170) * _high(canvas))
    rays = np.broadcast_to(canvas.noise(102, 30, octaves=3, gain=0.8)[canvas.shape[0] // 2], canvas.shape)
    for seed, base, reach, green, strength in (
        (103, 0.36, 0.17, "36f0b0", 0.75),
        (104, 0.48, 0.22, "58ff9c", 0.9),
        (107, 0.27, 0.12, "4fd8ff", 0.5),
    ):
        foot = base + 0.085 * canvas.ridge(seed, 1.7, octaves=3, gain=0.4)
        above = foot - canvas.y
        sheet = smooth(-0.022, 0.012, above) * np.exp(-np.clip(above, 0, 1) / np.float32(reach * 0.6))
        sheet = sheet * np.clip(0.72 + 0.26 * rays, 0.15, 1.3)
        violet = smooth(0.1, 1.0, above / reach)
        colour = mix(rgb(green), rgb("9a5cff"), violet)
        sky = 1 - (1 - sky) * (1 - colour * (np.float32(strength) * sheet))
    return sky


_SKIES: Final[dict[str, Callable[[Canvas, Palette, Paint], Paint]]] = {
    "sun": _sun,
    "clouds": _clouds,
    "cirrus": _cirrus,
    "rainbow": _rainbow,
    "moon": _moon,
    "stars": _stars,
    "galaxy": _galaxy,
    "nebula": _nebula,
    "aurora": _aurora,
}
