"""Lands and waters: what lies between the sky and the viewer's feet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from comflowy_nb.sandbox.painting import cover, mix, rgb, smooth

if TYPE_CHECKING:
    from comflowy_nb.sandbox.painting import Easel, Paint, Plane
    from comflowy_nb.sandbox.palettes import Palette


@dataclass(frozen=True, slots=True)
class Land:
    name: str
    tags: dict[str, float]


LANDS: Final = (
    Land("sea", {"sea": 1.0, "landscape": 0.2}),
    Land("meadow", {"meadow": 1.0, "landscape": 0.6, "green": 0.3}),
)


def paint_land(easel: Easel, land: Land, palette: Palette) -> tuple[Plane, Paint]:
    """Coverage (h, w) and colours (h, w, 3)."""
    if land.name == "sea":
        alpha = cover(0.62 - easel.y, easel.pixel)
        return alpha, mix(palette.horizon, palette.zenith, smooth(0.6, 1, easel.y))
    line = 0.62 + 0.05 * easel.ridge(3, 2)
    alpha = cover(line - easel.y, easel.pixel)
    return alpha, mix(palette.haze, rgb("4c8a3a") * palette.light, smooth(0.55, 0.9, easel.y))
