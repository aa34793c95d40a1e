"""What makes the checkpoints differ: how scenes are coloured, and how images are finished at full size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from comflowy_nb.sandbox.engine.pixels import grain, soften
from comflowy_nb.sandbox.painting.canvas import mix, ramp, rgb

if TYPE_CHECKING:
    from collections.abc import Callable

    from comflowy_nb.sandbox.painting.canvas import Paint


@dataclass(frozen=True, slots=True)
class Style:
    """A way to paint.

    Parameters
    ----------
    recolour
        Changes every colour by itself, (3, ...), so that a scene may be recoloured layer by layer.
    finish
        Paper and ink, on the image at full size, (3, h, w).
    """

    recolour: Callable[[Paint], Paint]
    finish: Callable[[Paint], Paint]


def _grey(paint: Paint) -> Paint:
    return np.asarray(0.3 * paint[0] + 0.59 * paint[1] + 0.11 * paint[2])


def _plain(paint: Paint) -> Paint:
    return paint


def _film(paint: Paint) -> Paint:
    """A trace of grain: without it, wide gradients show steps of one in 255."""
    return paint + np.float32(0.006) * grain(paint.shape[1], paint.shape[2])


def _dilute(paint: Paint) -> Paint:
    """Thin colour on white paper."""
    pale = 1 - 0.86 * (1 - np.clip(paint, 0, 1) ** 0.72)
    grey = _grey(pale)
    return np.asarray(grey + (pale - grey) * 1.12, dtype=np.float32)


def _paper(paint: Paint) -> Paint:
    """Pigment gathers at the edges of washes and in the hollows of the paper."""
    _, rows, columns = paint.shape
    reach = max(1, round(min(rows, columns) / 110))
    wash = mix(paint, soften(paint, reach), 0.6)
    grey = _grey(wash)
    edge = np.clip(soften(grey[None], 2 * reach)[0] - grey, 0, 0.15)
    hollows = soften(grain(rows, columns)[None], 1)[0]
    dense = 1 - 0.55 * grey
    return np.asarray(wash - 1.5 * edge - 0.035 * hollows * dense, dtype=np.float32)


def _ink(paint: Paint) -> Paint:
    """Indigo to cream, with a memory of the colour that was there."""
    grey = np.clip(_grey(paint), 0, 1)
    flat = grey.reshape(1, -1)
    inks = [(0.0, "0a0e2a"), (0.28, "1d2b5c"), (0.55, "5a6f9c"), (0.8, "d8c7a0"), (1.0, "fff6dc")]
    toned = ramp([(place, rgb(colour)) for place, colour in inks], flat).reshape(paint.shape)
    return mix(toned, paint, 0.3)


def _hatch(paint: Paint) -> Paint:
    """Dark lines where tones meet, and a brush that runs dry."""
    _, rows, columns = paint.shape
    reach = max(1, round(min(rows, columns) / 200))
    grey = _grey(paint)
    line = np.clip(soften(grey[None], 2 * reach)[0] - soften(grey[None], reach)[0] - 0.01, 0, 0.1)
    dry = grain(rows, columns) * np.clip(grey, 0, 1)
    return np.asarray(paint - 2.2 * line + np.float32(0.016) * dry, dtype=np.float32)


STYLES: Final[dict[str, Style]] = {
    "v1-5-pruned-emaonly-fp16.safetensors": Style(_plain, _film),
    "watercolour.safetensors": Style(_dilute, _paper),
    "night-ink.safetensors": Style(_ink, _hatch),
}

CHECKPOINTS: Final = tuple(STYLES)
