"""The painted layers that scenes are made of: every sky, land and subject in every light."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from comflowy_nb.sandbox.engine.latents import SCALE
from comflowy_nb.sandbox.painting.canvas import OVERSAMPLING, Canvas, average_down, mix
from comflowy_nb.sandbox.painting.landscapes import LANDS, paint_land
from comflowy_nb.sandbox.painting.palettes import PALETTES
from comflowy_nb.sandbox.painting.skies import paint_sky
from comflowy_nb.sandbox.painting.subjects import SUBJECTS, paint_subject, stand

if TYPE_CHECKING:
    from pathlib import Path

    from comflowy_nb.sandbox.painting.styles import Style

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
    """A subject with the p pixels it covers, and which of the canvas these are at each of its places."""

    subject: int
    looks: Array  # (looks, palettes, 3, p)
    cover: Array  # (places, p); 0 for what is beyond the canvas
    pixels: NDArray[np.int64]  # (places, p); P for what is beyond the canvas


def paint_layers(canvas: tuple[int, int], style: Style) -> Layers:
    """Paint everything there is on a canvas of some height and width."""
    height, width = canvas
    easel = Canvas.of(height, width)
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
        tuple(_paint_silhouette(easel, k, canvas, style) for k in range(len(SUBJECTS))),
    )


def _paint_silhouette(easel: Canvas, index: int, canvas: tuple[int, int], style: Style) -> Silhouette:
    """A subject, painted once for every look and light."""
    subject = SUBJECTS[index]
    part, (down, across) = stand(easel, subject)
    painted = [[paint_subject(part, subject, look, palette) for palette in PALETTES] for look in subject.looks]
    cover = average_down(painted[0][0][0]).ravel()
    row, column = (place.ravel() for place in np.mgrid[down, across])
    columns = np.stack([column + round(place * canvas[1]) for place in subject.places])
    seen = (cover > 0) & (row >= 0) & (row < canvas[0]) & (columns >= 0) & (columns < canvas[1])
    kept = seen.any(axis=0)
    seen, columns, row, cover = seen[:, kept], columns[:, kept], row[kept], cover[kept]
    looks = np.stack([[_flatten(paint, style)[:, kept] for _, paint in row] for row in painted])
    pixels = np.where(seen, row * canvas[1] + columns, canvas[0] * canvas[1])
    return Silhouette(index, looks, np.where(seen, cover, 0).astype(np.float32), pixels)


def _flatten(paint: Array, style: Style) -> Array:
    """(3, P), scaled around mid-grey."""
    small = np.clip(style.recolour(np.clip(average_down(paint), 0, 1)), 0, 1).reshape(3, -1)
    return np.ascontiguousarray((small - 0.5) * np.float32(SCALE))


def paint_example(path: Path) -> None:
    """Paint the image that is always there to load, 512x512: a balloon over the sea, in a light of its own."""
    easel = Canvas.of(256, 256)
    palette = replace(PALETTES[0], middle=PALETTES[1].middle, horizon=PALETTES[1].horizon, haze=PALETTES[1].haze)
    land = next(land for land in LANDS if land.name == "cliffs")
    subject = next(subject for subject in SUBJECTS if subject.name == "balloon")
    alpha, paint = paint_land(easel, land, palette)
    image = mix(paint_sky(easel, "clouds", palette), paint, alpha)
    part, (down, across) = stand(easel, subject)
    alpha, paint = paint_subject(part, subject, "red", palette)
    top, left = down.start * OVERSAMPLING, across.start * OVERSAMPLING - 60
    there = np.s_[:, top : top + part.shape[0], left : left + part.shape[1]]
    image[there] = mix(image[there], paint, alpha)
    eight_bit = np.clip(image[:, :, ::-1].transpose(1, 2, 0) * 255 + 0.5, 0, 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    Image.fromarray(eight_bit).save(beside, "PNG")
    beside.replace(path)
