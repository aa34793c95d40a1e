"""The painted layers that scenes are made of: every sky, land and subject in every light."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from comflowy_nb.sandbox.lands import LANDS, paint_land
from comflowy_nb.sandbox.latents import SCALE
from comflowy_nb.sandbox.painting import OVERSAMPLING, Easel, average_down, mix
from comflowy_nb.sandbox.palettes import PALETTES
from comflowy_nb.sandbox.skies import paint_sky
from comflowy_nb.sandbox.subjects import SUBJECTS, paint_subject, stand

if TYPE_CHECKING:
    from pathlib import Path

    from comflowy_nb.sandbox.styles import Style

Array: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Layers:
    """The painted layers of a canvas with P pixels; colours scaled around mid-grey, pixels in rows."""

    skies: Array  # (S, 3, P)
    sky_palettes: NDArray[np.int64]  # (S,)
    sky_names: tuple[str, ...]
    lands: Array  # (L, palettes, 3, P)
    land_cover: Array  # (L, P)
    silhouettes: tuple[Silhouette, ...]


@dataclass(frozen=True, slots=True)
class Silhouette:
    """A subject at one of its places: its coverage, and its looks within the box that holds it."""

    subject: int
    cover: Array  # (P,)
    pixels: NDArray[np.int64]  # the p pixels it touches
    looks: Array  # (looks, palettes, 3, p)


def paint_layers(canvas: tuple[int, int], style: Style) -> Layers:
    """Paint everything there is on a canvas of some height and width."""
    height, width = canvas
    easel = Easel.of(height, width)
    skies = [(k, name, paint_sky(easel, name, p)) for k, p in enumerate(PALETTES) for name in p.skies]
    covers, lands = [], []
    for land in LANDS:
        painted = [paint_land(easel, land, palette) for palette in PALETTES]
        covers.append(average_down(painted[0][0]).ravel())
        lands.append(np.stack([_flatten(paint, style) for _, paint in painted]))
    return Layers(
        np.stack([_flatten(paint, style) for _, _, paint in skies]),
        np.array([k for k, _, _ in skies]),
        tuple(name for _, name, _ in skies),
        np.stack(lands),
        np.stack(covers),
        tuple(found for k in range(len(SUBJECTS)) for found in _silhouettes(easel, k, canvas, style)),
    )


def _silhouettes(easel: Easel, index: int, canvas: tuple[int, int], style: Style) -> list[Silhouette]:
    """A subject, painted once for every look and light, at each of its places."""
    subject = SUBJECTS[index]
    part, (down, across) = stand(easel, subject)
    painted = [[paint_subject(part, subject, look, palette) for palette in PALETTES] for look in subject.looks]
    cover = average_down(painted[0][0][0])
    looks = np.stack([[_flatten(paint, style) for _, paint in row] for row in painted])
    row, column = np.mgrid[down, across]
    found = []
    for place in subject.places:
        there = column + round(place * canvas[1])
        seen = ((cover > 0) & (row >= 0) & (row < canvas[0]) & (there >= 0) & (there < canvas[1])).ravel()
        pixels = (row * canvas[1] + there).ravel()[seen]
        whole = np.zeros(canvas[0] * canvas[1], dtype=np.float32)
        whole[pixels] = cover.ravel()[seen]
        found.append(Silhouette(index, whole, pixels, np.ascontiguousarray(looks[..., seen])))
    return found


def _flatten(paint: Array, style: Style) -> Array:
    """(3, P), scaled around mid-grey."""
    small = np.clip(style.recolour(np.clip(average_down(paint), 0, 1)), 0, 1).reshape(3, -1)
    return np.ascontiguousarray((small - 0.5) * np.float32(SCALE))


def paint_example(path: Path) -> None:
    """Paint the picture that is always there to load, 512x512: a balloon over the sea, in a light of its own."""
    easel = Easel.of(256, 256)
    palette = replace(PALETTES[0], middle=PALETTES[1].middle, horizon=PALETTES[1].horizon, haze=PALETTES[1].haze)
    land = next(land for land in LANDS if land.name == "cliffs")
    subject = next(subject for subject in SUBJECTS if subject.name == "balloon")
    alpha, paint = paint_land(easel, land, palette)
    picture = mix(paint_sky(easel, "clouds", palette), paint, alpha)
    part, (down, across) = stand(easel, subject)
    alpha, paint = paint_subject(part, subject, "red", palette)
    top, left = down.start * OVERSAMPLING, across.start * OVERSAMPLING - 60
    there = np.s_[:, top : top + part.shape[0], left : left + part.shape[1]]
    picture[there] = mix(picture[there], paint, alpha)
    eight_bit = np.clip(picture[:, :, ::-1].transpose(1, 2, 0) * 255 + 0.5, 0, 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    Image.fromarray(eight_bit).save(beside, "PNG")
    beside.replace(path)
