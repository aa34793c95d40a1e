"""Paint houses, towers, boats, trees and animals."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np
from painting.canvas import OUTLINES, WHITE, bell, cover, mix, rgb, smooth

if TYPE_CHECKING:
    from painting.canvas import Plane
    from painting.figure import Figure

_WARM: Final = rgb("ffd88a")


def _round(figure: Figure, middle: float, half: float) -> Plane:
    """Return the light on a round wall, from the right."""
    return np.asarray(np.clip(0.55 + 0.45 * (figure.u - np.float32(middle)) / np.float32(half), 0.05, 1))


def _window(figure: Figure, u: float, v: float, half: float, tall: float) -> None:
    """Paint a window, lit at night and dark by day."""
    colour = _WARM if figure.palette.is_night else figure.lit(rgb("3a4a5c"), 0.5)
    figure.lay(figure.box(u - half, u + half, v - tall, v, rounding=half * 0.5), colour)
    if figure.palette.is_night:
        reach = np.hypot((figure.u - u) / (half * 3.2), (figure.v - v + tall / 2) / (tall * 1.8))
        figure.shine(0.5 * np.exp(-(reach**2)), _WARM)


def lighthouse(figure: Figure, _look: str) -> None:
    """Paint a white lighthouse with red bands, on a rock."""
    palette, u, v = figure.palette, figure.u, figure.v
    lamp = np.hypot(u, v + 0.87)
    halo = bell(lamp, 0.11) * 0.5 + bell(lamp, 0.3) * 0.16
    figure.wash(halo, mix(_WARM, palette.horizon, 0.15 if palette.is_night else 0.6))
    rough = figure.canvas.noise(501, 5, octaves=4)
    top = -0.045 + np.abs(u) ** 1.6 * 0.42 + 0.018 * rough
    rock = np.maximum(top - v, np.abs(u) - 0.42 - 0.02 * rough)
    figure.lay(
        np.maximum(rock, v - 0.075 + 0.1 * np.abs(u)), figure.lit(rgb("7b7268"), np.clip(0.5 + 0.35 * rough + u, 0, 1))
    )
    tower, half = figure.profile(((-0.8, 0.062), (-0.4, 0.08), (0.0, 0.115)))
    band = ((v + 0.8) * 5.01).astype(int) % 2
    light = np.clip(0.55 + 0.5 * u / half, 0.05, 1)
    figure.lay(tower, mix(figure.lit(rgb("fbf6ee"), light), figure.lit(rgb("d2403c"), light), band.astype(np.float32)))
    _window(figure, 0.0, -0.56, 0.016, 0.06)
    _window(figure, 0.0, -0.24, 0.018, 0.07)
    figure.lay(figure.box(-0.03, 0.03, -0.1, 0.0, rounding=0.015), figure.lit(rgb("5a3a34"), 0.5))
    figure.lay(figure.box(-0.095, 0.095, -0.825, -0.8), figure.lit(rgb("454b58"), 0.7))
    figure.lay(figure.box(-0.055, 0.055, -0.92, -0.825), mix(_WARM, WHITE, 0.4) if palette.is_night else rgb("f7f3d8"))
    for bar in (-0.05, -0.018, 0.018, 0.05):
        figure.lay(figure.box(bar - 0.004, bar + 0.004, -0.92, -0.825), figure.lit(rgb("454b58"), 0.6))
    roof, _ = figure.profile(((-1.0, 0.004), (-0.97, 0.03), (-0.915, 0.072)))
    figure.lay(roof, figure.lit(rgb("b8332f"), _round(figure, 0, 0.07)))


def cabin(figure: Figure, _look: str) -> None:
    """Paint a log house with smoke from its chimney."""
    u, v, palette = figure.u, figure.v, figure.palette
    figure.shadow(0.75, 0.07, 0.45)
    rise = np.clip(-v - 0.95, 0, 1)
    drift = 0.27 + 0.25 * rise + 0.05 * np.sin(rise * 16)
    smoke = bell(u - drift, 0.03 + 0.14 * rise) * smooth(-0.93, -1.0, v) * smooth(-1.4, -1.1, v)
    figure.wash(0.55 * smoke, mix(palette.haze, WHITE, 0.25))
    logs = 0.5 + 0.5 * np.cos(v * 88)
    wall = figure.lit(mix(rgb("a8713f"), rgb("7d4f2c"), (1 - logs) ** 3), np.clip(0.72 + 0.25 * u + 0.1 * logs, 0, 1))
    figure.lay(figure.box(0.21, 0.31, -0.98, -0.5), figure.lit(rgb("8a7f7a"), 0.6))
    figure.lay(figure.box(-0.5, 0.5, -0.5, 0.0), wall)
    figure.lay(figure.polygon([(0.0, -0.86), (0.52, -0.48), (-0.52, -0.48)]), wall)
    white = palette.name in {"mist", "emerald"}
    roof = figure.lit(rgb("f2f6ff") if white else rgb("8c4a3c"), np.clip(0.6 + 0.5 * u, 0, 1))
    figure.lay(figure.stroke([(-0.62, -0.44), (0.0, -0.9), (0.62, -0.44)], 0.045), roof)
    figure.lay(figure.box(-0.09, 0.09, -0.31, 0.0, rounding=0.02), figure.lit(rgb("5c3a28"), 0.55))
    for place in (-0.29, 0.29):
        _window(figure, place, -0.16, 0.085, 0.17)
        figure.lay(figure.box(place - 0.006, place + 0.006, -0.33, -0.16), figure.lit(rgb("5c3a28"), 0.5))
        figure.lay(figure.box(place - 0.085, place + 0.085, -0.252, -0.238), figure.lit(rgb("5c3a28"), 0.5))
    _window(figure, 0.0, -0.53, 0.06, 0.12)


def boat(figure: Figure, _look: str) -> None:
    """Paint a boat with two sails, and their reflection on the water."""
    u, v = figure.u, figure.v
    waves = np.sin(v * 95 + 2 * np.sin(u * 9))
    mirror = bell(u - 0.06, 0.16 + 0.12 * v) * smooth(0.0, 0.03, v) * smooth(0.38, 0.0, v)
    figure.wash(mirror * np.clip(0.42 + 0.3 * waves, 0, 1), mix(figure.palette.lamp, figure.palette.light, 0.5))
    figure.wash(0.5 * np.exp(-((u / 0.4) ** 2) - ((v - 0.01) / 0.02) ** 2), figure.lit(rgb("24364a"), 0.2))
    belly = 0.035 * np.sin(np.clip((v + 0.98) / 0.8, 0, 1) * np.pi)
    main = np.maximum(figure.polygon([(0.02, -1.0), (0.45, -0.2), (0.02, -0.2)]) - belly, 0.02 - u)
    light = np.clip(0.95 - 0.9 * (u - 0.02), 0.3, 1)
    figure.lay(main, figure.lit(rgb("fff8ea"), light))
    figure.tint(cover(main, figure.pixel) * 0.12 * (np.cos(v * 40) > 0.9), rgb("9a8a7a"))
    figure.lay(
        figure.polygon([(-0.02, -0.92), (-0.02, -0.2), (-0.36, -0.2)]) - belly * 0.6, figure.lit(rgb("ffd9c4"), 0.6 + u)
    )
    figure.lay(figure.box(-0.008, 0.01, -1.02, -0.1), figure.lit(rgb("6a4a34"), 0.6))
    sheer = 0.04 * u**2
    hull = np.maximum(
        figure.polygon([(-0.5, -0.165), (0.52, -0.165), (0.38, 0.02), (-0.33, 0.02)]), -0.14 - sheer * 3 - v
    )
    figure.lay(hull, figure.lit(rgb("a8452f"), np.clip(0.65 - 2.5 * (v + 0.1) + 0.3 * u, 0, 1)))
    figure.tint(cover(hull, figure.pixel) * smooth(-0.105, -0.12, v), figure.lit(rgb("fff2dc"), 0.85))


def balloon(figure: Figure, look: str) -> None:
    """Paint a balloon of stripes in two colours, which is lit from inside at night."""
    u, v = figure.u, figure.v
    first, second = {"red": ("e8483c", "ffd257"), "blue": ("2f7fd6", "f4f8ff"), "purple": ("8a3fd0", "ff9ed8")}[look]
    envelope, half = figure.profile(OUTLINES["balloon"])
    across = np.clip(u / np.maximum(half, 1e-3), -1, 1)
    gore = np.arcsin(across) / np.pi * 9 + 0.5
    stripe = (np.floor(gore) % 2).astype(np.float32)
    seam = np.abs(gore - np.round(gore))
    light = np.clip(0.62 + 0.42 * across - 0.35 * (v + 0.65), 0.08, 1)
    skin = figure.lit(mix(rgb(first), rgb(second), stripe), light)
    figure.lay(envelope, skin)
    figure.tint(cover(envelope, figure.pixel) * 0.3 * smooth(0.06, 0.0, seam), figure.lit(rgb("50303a"), 0.3))
    if figure.palette.is_night:
        figure.shine(0.6 * np.exp(-(((v + 0.3) / 0.26) ** 2) - (u / 0.2) ** 2), _WARM)
    figure.shine(0.35 * np.exp(-(np.hypot((u - 0.13) / 0.09, (v + 0.8) / 0.1) ** 2)), WHITE)
    for side in (-1, 1):
        figure.lay(figure.stroke([(side * 0.075, -0.26), (side * 0.045, -0.11)], 0.005), figure.lit(rgb("4a3a30"), 0.5))
    figure.lay(
        figure.box(-0.06, 0.06, -0.12, -0.02, rounding=0.015), figure.lit(rgb("9a6a3c"), np.clip(0.6 + 4 * u, 0, 1))
    )


def cat(figure: Figure, look: str) -> None:
    """Paint a cat that sits with its back to the viewer."""
    palette, u, v = figure.palette, figure.u, figure.v
    fur = rgb({"black": "2c2a36", "ginger": "d9853c", "white": "f4efe8"}[look])
    figure.shadow(0.42, 0.06, 0.5)
    tail = figure.stroke(
        [(0.2, -0.05), (0.36, -0.035), (0.46, -0.1), (0.47, -0.22), (0.41, -0.31), (0.45, -0.38)],
        [0.055, 0.052, 0.048, 0.044, 0.038, 0.025],
    )
    body, _ = figure.profile(OUTLINES["cat"])
    head = figure.disc(0.0, -0.745, 0.185, 0.155)
    ears = [
        figure.polygon([(s * 0.165, -0.99), (s * 0.03 + 0.0, -0.85), (s * 0.185, -0.76)][:: 1 if s < 0 else -1]) - 0.012
        for s in (-1, 1)
    ]
    whole = np.minimum.reduce([body, head, tail, *ears])
    stripes: Plane | float = 0.0
    if look == "ginger":
        stripes = 0.35 * smooth(0.5, 0.95, np.sin(v * 46 + 5 * np.abs(u))) * smooth(0.3, 0.05, np.abs(u))
    tufts = figure.canvas.noise(521, 16, octaves=3)
    inside = np.clip(-whole / 0.09, 0, 1)
    light = np.clip(0.25 + 0.5 * inside * (0.6 + u) + 0.08 * tufts, 0, 1)
    figure.lay(whole + 0.004 * tufts, figure.lit(mix(fur, fur * 0.55, stripes), light))
    figure.tint(
        cover(whole, figure.pixel) * smooth(-0.035, 0.0, whole) * smooth(-0.2, 0.15, u - 0.3 * (v + 0.5)),
        mix(palette.lamp, fur, 0.25),
    )
    edge = np.maximum(-0.012 - np.minimum(head, 9), 0)
    figure.tint(cover(body, figure.pixel) * 0.4 * bell(edge, 0.02) * (v > -0.68), figure.lit(fur * 0.5, 0.2))
    collar = bell(v + 0.605 - 0.25 * u**2, 0.016) * cover(body, figure.pixel)
    figure.tint(0.9 * collar, figure.lit(rgb("e0435c"), 0.8))


def tree(figure: Figure, look: str) -> None:
    """Paint a single old tree."""
    u = figure.u
    figure.shadow(0.42, 0.05, 0.5)
    bark = figure.lit(rgb("6a4a36"), np.clip(0.45 + 6 * u, 0.05, 1))
    trunk, _ = figure.profile(((-0.6, 0.03), (-0.3, 0.04), (-0.08, 0.055), (-0.02, 0.085), (0.0, 0.12)))
    limbs = [
        figure.stroke([(0.0, -0.3), (-0.14, -0.5), (-0.27, -0.6)], [0.03, 0.02, 0.008]),
        figure.stroke([(0.0, -0.34), (0.12, -0.52), (0.26, -0.6)], [0.03, 0.02, 0.008]),
    ]
    figure.lay(np.minimum.reduce([trunk, *limbs]), bark)
    _leaves(figure, look)


def _leaves(figure: Figure, look: str) -> None:
    u, v = figure.u, figure.v
    rng = np.random.Generator(np.random.PCG64(531))
    leaf = rgb({"green": "5f9a3c", "blossom": "f4a6c6", "autumn": "e0762c"}[look])
    pale = rgb({"green": "b4d66a", "blossom": "ffe6f0", "autumn": "ffc24a"}[look])
    rough = figure.canvas.noise(533, 12, octaves=4, gain=0.65)
    for k in range(26):
        angle, out = rng.uniform(0, 2 * np.pi), rng.uniform(0, 1) ** 0.55
        cu, cv = 0.34 * out * np.cos(angle), -0.69 + 0.2 * out * np.sin(angle)
        size = rng.uniform(0.11, 0.17)
        distance = figure.disc(cu, cv + 0.03 * (1 - k / 26), size, size * 0.8) + 0.035 * rough
        slant = (u - np.float32(cu)) / size * 0.28 - (v - np.float32(cv)) / size * 0.35
        light = np.clip(0.35 + 0.35 * k / 26 + slant + 0.2 * rough, 0, 1)
        figure.lay(distance, figure.lit(mix(leaf * np.float32(0.8), pale, light**1.5), light), soft=3)


def castle(figure: Figure, _look: str) -> None:
    """Paint a castle: towers with pointed roofs on a hill."""
    u, v = figure.u, figure.v
    rough = figure.canvas.noise(541, 5, octaves=4)
    hill = np.maximum(-0.17 + 0.62 * np.abs(u) ** 1.7 + 0.015 * rough - v, v - 0.13 + 0.16 * np.abs(u))
    figure.lay(
        np.maximum(hill, np.abs(u) - 0.58),
        figure.lit(rgb("5f7a4a"), np.clip(0.55 + 0.3 * rough + 0.5 * u, 0, 1)),
        soft=3,
    )
    stone, slate = rgb("d8cfc4"), rgb("4f5f9a")

    def tower(middle: float, half: float, top: float, foot: float, roof: float) -> None:
        wall = figure.box(middle - half, middle + half, top, foot)
        courses = 0.06 * np.cos(v * 120) + 0.05 * rough
        figure.lay(wall, figure.lit(stone, np.clip(_round(figure, middle, half) + courses, 0, 1)))
        figure.lay(figure.box(middle - half * 1.2, middle + half * 1.2, top, top + 0.025), figure.lit(stone, 0.75))
        spire = figure.polygon([(middle, top - roof), (middle + half * 1.35, top), (middle - half * 1.35, top)])
        figure.lay(spire, figure.lit(slate, _round(figure, middle, half)))
        _window(figure, middle, top + 0.13, half * 0.2, 0.055)

    tower(0.0, 0.075, -0.74, -0.15, 0.27)
    figure.lay(figure.box(-0.3, 0.3, -0.38, -0.12), figure.lit(stone, np.clip(0.55 + 0.5 * u + 0.06 * rough, 0, 1)))
    for place in np.arange(-0.27, 0.3, 0.09):
        figure.lay(figure.box(place - 0.02, place + 0.02, -0.415, -0.38), figure.lit(stone, 0.6 + 0.5 * place))
    tower(-0.17, 0.055, -0.58, -0.12, 0.2)
    tower(0.17, 0.055, -0.54, -0.12, 0.2)
    tower(-0.32, 0.06, -0.47, -0.1, 0.2)
    tower(0.32, 0.06, -0.47, -0.1, 0.2)
    figure.lay(figure.box(-0.05, 0.05, -0.26, -0.1, rounding=0.04), figure.lit(rgb("4a3426"), 0.5))
    for place in (-0.22, 0.22, -0.11, 0.11):
        _window(figure, place, -0.24, 0.014, 0.045)


def vase(figure: Figure, look: str) -> None:
    """Paint a vase of blue and white porcelain with flowers."""
    u, v = figure.u, figure.v
    figure.shadow(0.34, 0.05, 0.55)
    _bouquet(figure, look)
    body, half = figure.profile(OUTLINES["vase"])
    across = np.clip(u / half, -1, 1)
    light = np.clip(0.62 + 0.42 * across, 0.05, 1)
    scrolls = np.sin(np.arcsin(across) * 7) * np.sin((v + 0.05) * 46) + 0.45 * np.cos(np.arcsin(across) * 14 + v * 20)
    bands = np.minimum(np.abs(v + 0.33), np.abs(v + 0.1)) - 0.01
    painted = np.maximum(smooth(0.25, 0.6, scrolls) * (np.abs(v + 0.215) < 0.095), smooth(0.004, 0.0, bands))
    figure.lay(body, figure.lit(mix(rgb("fbfaf6"), rgb("2f57b8"), 0.9 * painted), light))
    glint = np.exp(-(((across + 0.45) / 0.12) ** 2) - ((v + 0.25) / 0.09) ** 2)
    figure.shine(0.75 * glint * cover(body, figure.pixel), WHITE)


def _bouquet(figure: Figure, look: str) -> None:
    u, v = figure.u, figure.v
    rng = np.random.Generator(np.random.PCG64(551))
    blooms, petals, heart = {
        "bouquet": (("f06a9a", "ffd04a", "fff4ec", "e84a6a", "ff9f6a"), 6, (0.2, "ffe9a0")),
        "lavender": (("8f63d8", "b48cf0", "6f48b8", "cfaaf6", "9f78e0"), 6, (0.2, "ffe9a0")),
        "sunflowers": (("ffc824", "ffb014", "ffd94a", "f7a814", "ffcf3c"), 12, (0.42, "5a3418")),
    }[look]
    heads = []
    for k in range(17):
        angle = np.pi * (0.06 + 0.88 * ((k * 0.618) % 1))
        out = 0.16 + 0.27 * rng.uniform(0.35, 1)
        heads.append((out * np.cos(angle), -0.56 - 1.02 * out * np.sin(angle), rng.uniform(0.075, 0.105)))
    heads.sort(key=lambda head: head[1])
    stems = [figure.stroke([(0.04 * np.sign(x), -0.47), (x * 0.6, (y - 0.47) / 2), (x, y)], 0.008) for x, y, _ in heads]
    figure.lay(np.minimum.reduce(stems), figure.lit(rgb("4f7f3c"), 0.5))
    for k in range(12):
        angle = np.pi * (0.02 + 0.96 * ((k * 0.618 + 0.3) % 1))
        x, y = float(0.3 * np.cos(angle)), float(-0.54 - 0.24 * np.sin(angle))
        leaf = figure.disc(x, y, 0.1, 0.035) + np.float32(0.12 * np.sin(angle)) * np.abs(u - x)
        figure.lay(leaf, figure.lit(rgb("5c9a48"), np.clip(0.5 + u, 0, 1)))
    for k, (x, y, size) in enumerate(heads):
        right, down = u - np.float32(x), v - np.float32(y)
        reach = np.hypot(right, down) / np.float32(size)
        edge = 0.8 + 0.2 * np.cos(np.arctan2(down, right) * petals + k)
        light = np.clip(0.55 + 1.1 * u + 0.35 * reach - 0.3 * down / np.float32(size), 0.15, 1)
        rings = 0.85 + 0.15 * np.cos(reach * 14)
        figure.lay((reach - edge) * np.float32(size), figure.lit(rgb(blooms[k % 5]) * rings, light))
        figure.lay((reach - heart[0]) * np.float32(size), figure.lit(rgb(heart[1]), light))
