"""What stands in the landscape: bottles and what is in them, lighthouses, cats ..."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from comflowy_nb.sandbox.painting import cover, ellipse, mix, rgb, smooth

if TYPE_CHECKING:
    from collections.abc import Mapping

    from comflowy_nb.sandbox.painting import Easel, Paint, Plane
    from comflowy_nb.sandbox.palettes import Palette


@dataclass(frozen=True, slots=True)
class Subject:
    """One silhouette, with the looks it may have and where it may stand.

    Parameters
    ----------
    looks
        Name of a look -> the tags that ask for it.
    places
        (x of its middle in widths from the canvas's middle, y of its foot, size in canvas heights).
    lands
        Lands it belongs to -> how much more (or less) likely it is there, in nats.
    """

    name: str
    tags: dict[str, float]
    looks: Mapping[str, dict[str, float]]
    places: tuple[tuple[float, float, float], ...]
    lands: Mapping[str, float]


SUBJECTS: Final = (
    Subject("nothing", {"landscape": 0.15}, {"": {}}, ((0.0, 0.9, 0.0),), {}),
    Subject(
        "bottle",
        {"bottle": 1.3, "glass": 0.5},
        {"galaxy": {"galaxy": 1.0, "purple": 0.6, "star": 0.4}, "sea": {"sea": 0.8, "blue": 0.5}},
        ((0.0, 0.93, 0.72), (-0.2, 0.93, 0.62), (0.2, 0.93, 0.62)),
        {},
    ),
)


def paint_subject(
    easel: Easel, subject: Subject, look: str, place: tuple[float, float, float], palette: Palette
) -> tuple[Plane, Paint]:
    """Coverage (h, w), the same for every look and palette, and colours (h, w, 3)."""
    if subject.name == "nothing":
        return np.zeros(easel.shape, dtype=np.float32), np.zeros((*easel.shape, 3), dtype=np.float32)
    cx, foot, size = place[0] * easel.aspect, place[1], place[2] * easel.unit
    alpha = cover(ellipse(easel, cx, foot - size / 2, size * 0.2, size / 2), easel.pixel)
    colour = rgb("5a1a9a") if look == "galaxy" else rgb("2a6a9a")
    return alpha, mix(colour, palette.lamp, smooth(0.5, 0.8, easel.noise(4, 12)))
