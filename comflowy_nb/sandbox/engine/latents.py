"""Latents: the small canvas on which images are sampled, and the conversion to full size and back.

A latent has 8 channels on a canvas of about 128x128 pixels with the aspect ratio of the image: 0-2 colour (around
mid-grey), 3-5 light (exposure in stops, warmth, saturation), 6-7 displacement of the strokes to the right and down, in
canvas heights. All are scaled by `SCALE`, so that the noise levels of Stable Diffusion fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image

from comflowy_nb.sandbox.engine.image_ops import luma, resize_plane, sharpen, warp
from comflowy_nb.sandbox.engine.styles import STYLES

if TYPE_CHECKING:
    from comflowy_nb.sandbox.engine.image_ops import Pixels

CHANNELS: Final = 8
SCALE: Final = 0.14
CLIP: Final = 0.5 * SCALE  # colours reach from -0.5 to 0.5
CANVAS_PX: Final = 128 * 128

# Standard deviation of each channel, unscaled, and the spatial frequency (cycles per canvas) above which it falls.
_SPREAD: Final = (0.03, 0.03, 0.03, 0.08, 0.08, 0.09, 0.022, 0.022)
_KNEE: Final = (3.0, 3.0, 3.0, 1.5, 1.5, 1.5, 1.2, 1.2)
_BEND: Final = 0.03  # the part of the displacement that may bend straight lines


@dataclass(frozen=True, slots=True)
class Latent:
    """ComfyUI's LATENT: samples (n, 8, h, w), and the size of the images in pixels."""

    samples: Pixels
    width: int
    height: int

    @property
    def canvas(self) -> tuple[int, int]:
        """Height and width of the canvas."""
        return self.samples.shape[2], self.samples.shape[3]


def canvas_size(width: int, height: int) -> tuple[int, int]:
    """Return (height, width) of the canvas: the aspect ratio of the image, and not larger than it."""
    factor = min(1.0, (CANVAS_PX / (width * height)) ** 0.5)
    return max(8, round(height * factor)), max(8, round(width * factor))


def empty_latent(width: int, height: int, count: int) -> Latent:
    return Latent(np.zeros((count, CHANNELS, *canvas_size(width, height)), dtype=np.float32), width, height)


def encode(images: Pixels) -> Latent:
    """Convert images (n, H, W, 3) to latents without light or displacement."""
    count, height, width, _ = images.shape
    latent = empty_latent(width, height, count)
    rows, columns = latent.canvas
    for k, image in enumerate(images):
        for c in range(3):
            plane = resize_plane(image[..., c], columns, rows, Image.Resampling.BOX)
            latent.samples[k, c] = (plane - 0.5) * SCALE
    return latent


def decode(latent: Latent, image: int, checkpoint: str) -> Pixels:
    """Convert one image of a latent to full size, (H, W, 3), 0 to 1.

    The image is enlarged in two steps and sharpened after each. The displacement is applied after the first.
    """
    natural = latent.samples[image] / np.float32(SCALE)
    colour = natural[:3] + np.float32(0.5)
    rows, columns = latent.canvas
    enlarged = latent.height > rows or latent.width > columns
    if enlarged:
        rows, columns = min(latent.height, 2 * rows), min(latent.width, 2 * columns)
        colour = sharpen(_resize(colour, columns, rows), 1.0)
    colour = warp(colour, *_drift(_resize(natural[6:8], columns, rows)))
    if enlarged:
        colour = sharpen(_resize(colour, latent.width, latent.height), 1.2)
    light = np.tanh(_resize(natural[3:6], latent.width, latent.height))
    finished = STYLES[checkpoint].finish(np.clip(_light(colour, light), 0, 1))
    return np.ascontiguousarray(np.clip(finished, 0, 1).transpose(1, 2, 0), dtype=np.float32)


def _resize(planes: Pixels, width: int, height: int) -> Pixels:
    if planes.shape[1:] == (height, width):
        return planes
    return np.stack([resize_plane(plane, width, height, Image.Resampling.LANCZOS) for plane in planes])


def _drift(planes: Pixels) -> Pixels:
    """Return the displacement of each point in pixels: 0 at the edges, because there are no points beyond them."""
    rows = planes.shape[1]
    # 0 at an edge, 1 from a fifth of the side on
    down, across = (
        np.clip(np.minimum(np.arange(n) + 0.5, n - 0.5 - np.arange(n)) / (0.2 * n), 0, 1) for n in planes.shape[1:]
    )
    moved = 0.06 * np.tanh(planes / 0.06) * rows  # less than 6 % of the height
    return np.stack([moved[0] * across[None, :], moved[1] * down[:, None]]).astype(np.float32)


def _light(colour: Pixels, light: Pixels) -> Pixels:
    exposure, warmth, saturation = light
    grey = luma(colour)
    colour = (grey + (colour - grey) * (1 + 0.9 * saturation)) * np.exp2(exposure)
    return np.asarray(colour * np.stack([1 + 0.3 * warmth, np.ones_like(warmth), 1 - 0.3 * warmth]))


@lru_cache(maxsize=16)
def spectrum(height: int, width: int) -> Pixels:
    """Return the variance of each coefficient of an orthonormal rfft2 for each channel, (8, h, w//2+1)."""
    down = np.fft.fftfreq(height, 1 / height)[:, None]
    across = np.fft.rfftfreq(width, 1 / width)[None, :]
    radius = np.hypot(down, across)
    planes = []
    for channel, (spread, knee) in enumerate(zip(_SPREAD, _KNEE, strict=True)):
        shape = 1 / (1 + (radius / knee) ** 2) ** 1.5
        if channel == 6:  # the same displacement for a whole column keeps vertical lines vertical
            shape = np.where(down == 0, shape, _BEND * shape)
        elif channel == 7:  # and for a whole row keeps the horizon level
            shape = np.where(across == 0, shape, _BEND * shape)
        both_halves = np.concatenate([shape, shape[:, 1 : (width + 1) // 2]], axis=1)
        planes.append(shape * (spread * SCALE) ** 2 * height * width / both_halves.sum())
    result = np.asarray(planes, dtype=np.float32)
    result.flags.writeable = False
    return result
