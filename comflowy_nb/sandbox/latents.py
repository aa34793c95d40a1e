"""Latents: the small canvas on which pictures are sampled, and the way to full size and back.

A latent picture has 8 channels on a canvas of at most 128x128 pixels, in the shape of the picture it stands for:
0-2 colour (around mid-grey), 3-5 light (exposure in stops, warmth, saturation), 6-7 drift (how far the strokes are
moved sideways and down, in canvas heights). All are scaled by `SCALE`, so that the noise levels of Stable Diffusion fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np
from PIL import Image

from comflowy_nb.sandbox.pixels import resize_plane

if TYPE_CHECKING:
    from comflowy_nb.sandbox.pixels import Pixels

CHANNELS: Final = 8
SCALE: Final = 0.2
CLIP: Final = 0.5 * SCALE  # colours reach from -0.5 to 0.5
CANVAS_PX: Final = 128 * 128
_LANCZOS: Final = Image.Resampling.LANCZOS

# Spread of each channel in natural units, and the spatial frequency (cycles across the canvas) above which it falls.
_SPREAD: Final = (0.045, 0.045, 0.045, 0.16, 0.12, 0.12, 0.012, 0.012)
_KNEE: Final = (3.0, 3.0, 3.0, 1.5, 1.5, 1.5, 1.0, 1.0)


@dataclass(frozen=True, slots=True)
class Latent:
    """ComfyUI's LATENT: samples (n, 8, h, w), and the size in pixels of the pictures they stand for."""

    samples: Pixels
    width: int
    height: int

    @property
    def canvas(self) -> tuple[int, int]:
        """Height and width of the canvas."""
        return self.samples.shape[2], self.samples.shape[3]


def canvas_size(width: int, height: int) -> tuple[int, int]:
    """(height, width) of the canvas: the picture's own shape, no larger than the picture."""
    factor = min(1.0, (CANVAS_PX / (width * height)) ** 0.5)
    return max(8, round(height * factor)), max(8, round(width * factor))


def empty_latent(width: int, height: int, count: int) -> Latent:
    return Latent(np.zeros((count, CHANNELS, *canvas_size(width, height)), dtype=np.float32), width, height)


def encode(images: Pixels) -> Latent:
    """Pictures (n, H, W, 3) as latents without light or drift."""
    count, height, width, _ = images.shape
    latent = empty_latent(width, height, count)
    rows, columns = latent.canvas
    for k, image in enumerate(images):
        for c in range(3):
            plane = resize_plane(image[..., c], columns, rows, Image.Resampling.BOX)
            latent.samples[k, c] = (plane - 0.5) * SCALE
    return latent


def decode(latent: Latent, picture: int, checkpoint: str) -> Pixels:
    """One picture of a latent at full size, (H, W, 3), 0 to 1."""
    del checkpoint
    natural = latent.samples[picture] / np.float32(SCALE)
    planes = [resize_plane(plane, latent.width, latent.height, _LANCZOS) for plane in natural]
    colour = np.stack(planes[:3], axis=-1) + np.float32(0.5)
    exposure, warmth, saturation = (np.tanh(plane)[..., None] for plane in planes[3:6])
    return np.clip(_light(colour, exposure, warmth, saturation), 0, 1).astype(np.float32)


def _light(colour: Pixels, exposure: Pixels, warmth: Pixels, saturation: Pixels) -> Pixels:
    grey = colour @ np.array([0.3, 0.59, 0.11], dtype=np.float32)
    colour = grey[..., None] + (colour - grey[..., None]) * (1 + saturation)
    colour = colour * np.exp2(exposure)
    return colour * (1 + warmth * np.array([0.35, 0.0, -0.35], dtype=np.float32))


@lru_cache(maxsize=16)
def spectrum(height: int, width: int) -> Pixels:
    """Variance of each Fourier coefficient (as numpy's orthonormal rfft2 has them) of each channel, (8, h, w//2+1)."""
    down = np.fft.fftfreq(height, 1 / height)[:, None]
    across = np.fft.rfftfreq(width, 1 / width)[None, :]
    radius = np.hypot(down, across)
    planes = []
    for spread, knee in zip(_SPREAD, _KNEE, strict=True):
        shape = 1 / (1 + (radius / knee) ** 2) ** 1.5
        full = np.concatenate([shape, shape[:, 1 : (width + 1) // 2]], axis=1)
        planes.append(shape * (spread * SCALE) ** 2 * height * width / full.sum())
    result = np.asarray(planes, dtype=np.float32)
    result.flags.writeable = False
    return result
