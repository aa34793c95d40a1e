"""Styles of the checkpoints: recolour scenes, and finish images at full size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from comflowy_nb.sandbox.engine.image_ops import grain, luma, soften

if TYPE_CHECKING:
    from collections.abc import Callable

    from comflowy_nb.sandbox.engine.image_ops import Pixels


_INK_TONES: Final = (0.0, 0.28, 0.55, 0.8, 1.0)  # grey level of each ink
_INKS: Final = np.array([list(bytes.fromhex(ink)) for ink in ["0a0e2a", "1d2b5c", "5a6f9c", "d8c7a0", "fff6dc"]]) / 255


@dataclass(frozen=True, slots=True)
class Style:
    """The style of one checkpoint.

    Parameters
    ----------
    recolour : callable
        Map each colour of a (3, ...) array separately, so that layers can be recoloured one by one.
    finish : callable
        Add paper and ink to the (3, h, w) image at full size.
    """

    recolour: Callable[[Pixels], Pixels]
    finish: Callable[[Pixels], Pixels]


def _mix(below: Pixels, above: Pixels, amount: float) -> Pixels:
    return below + (above - below) * np.float32(amount)


def _plain(colours: Pixels) -> Pixels:
    return colours


def _film(colours: Pixels) -> Pixels:
    """Add a little grain, so that wide gradients show no banding."""
    return colours + np.float32(0.006) * grain(colours.shape[1], colours.shape[2])


def _dilute(colours: Pixels) -> Pixels:
    """Return thin colours on white paper."""
    pale = 1 - 0.86 * (1 - np.clip(colours, 0, 1) ** 0.72)
    grey = luma(pale)
    return np.asarray(grey + (pale - grey) * 1.12, dtype=np.float32)


def _paper(colours: Pixels) -> Pixels:
    """Darken the edges of washes and the hollows of the paper."""
    _, rows, columns = colours.shape
    reach = max(1, round(min(rows, columns) / 110))
    wash = _mix(colours, soften(colours, reach), 0.6)
    grey = luma(wash)
    edge = np.clip(soften(grey[None], 2 * reach)[0] - grey, 0, 0.15)
    hollows = soften(grain(rows, columns)[None], 1)[0]
    dense = 1 - 0.55 * grey
    return np.asarray(wash - 1.5 * edge - 0.035 * hollows * dense, dtype=np.float32)


def _ink(colours: Pixels) -> Pixels:
    """Map grey levels to inks from indigo to cream, mixed with 30 % of the original colour."""
    grey = np.clip(luma(colours), 0, 1)
    toned = np.stack([np.interp(grey, _INK_TONES, channel) for channel in _INKS.T]).astype(np.float32)
    return _mix(toned, colours, 0.3)


def _hatch(colours: Pixels) -> Pixels:
    """Draw dark lines along edges, and grain in light areas."""
    _, rows, columns = colours.shape
    reach = max(1, round(min(rows, columns) / 200))
    grey = luma(colours)
    line = np.clip(soften(grey[None], 2 * reach)[0] - soften(grey[None], reach)[0] - 0.01, 0, 0.1)
    dry = grain(rows, columns) * np.clip(grey, 0, 1)
    return np.asarray(colours - 2.2 * line + np.float32(0.016) * dry, dtype=np.float32)


STYLES: Final[dict[str, Style]] = {
    "v1-5-pruned-emaonly-fp16.safetensors": Style(_plain, _film),
    "watercolour.safetensors": Style(_dilute, _paper),
    "night-ink.safetensors": Style(_ink, _hatch),
}

CHECKPOINTS: Final = tuple(STYLES)
