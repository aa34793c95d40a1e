"""Skies, from a smooth gradient to a spiral galaxy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from comflowy_nb.sandbox.painting import glow, mix, ramp, smooth

if TYPE_CHECKING:
    from comflowy_nb.sandbox.painting import Easel, Paint
    from comflowy_nb.sandbox.palettes import Palette

HORIZON = 0.64


def paint_sky(easel: Easel, kind: str, palette: Palette) -> Paint:
    """The whole canvas as sky; what land hides is painted all the same."""
    t = np.clip(easel.y / HORIZON, 0, 1)
    sky = ramp([(0, palette.zenith), (0.55, palette.middle), (1, palette.horizon)], t)
    if kind == "stars":
        sky = glow(sky, palette.lamp, smooth(1.8, 2.6, easel.noise(5, 60, octaves=1)))
    if kind == "sun":
        sky = glow(sky, palette.lamp, smooth(0.1, 0.08, np.hypot(easel.x - 0.2, easel.y - 0.35)))
    return mix(sky, palette.haze, smooth(0.55, 0.8, easel.y) * 0.5)
