"""What stands in the landscape: bottles and what is in them, lighthouses, cats ..."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from comflowy_nb.sandbox.painting import bottles, figures
from comflowy_nb.sandbox.painting.canvas import OVERSAMPLING
from comflowy_nb.sandbox.painting.shapes import Figure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from comflowy_nb.sandbox.painting.canvas import Canvas, Paint, Plane
    from comflowy_nb.sandbox.painting.palettes import Palette

Box: TypeAlias = "tuple[slice, slice]"


@dataclass(frozen=True, slots=True)
class Subject:
    """One silhouette, with the looks it may have and where it may stand.

    Parameters
    ----------
    tags
        What asks for it.
    looks
        Name of a look -> the tags that ask for it.
    places
        x of its middle, in widths from the canvas's middle, one for each place where it may stand.
    foot
        y of its foot.
    size
        Its height, in canvas heights.
    lands
        How much more likely it is in a land, in nats; `elsewhere` in all others.
    reach
        How far it extends, in sizes: left and right, up, down.
    """

    name: str
    tags: Mapping[str, float]
    paint: Callable[[Figure, str], None]
    looks: Mapping[str, Mapping[str, float]] = field(default_factory=lambda: {"": {}})
    places: tuple[float, ...] = (0.0,)
    foot: float = 0.95
    size: float = 0.5
    lands: Mapping[str, float] = field(default_factory=dict)
    elsewhere: float = 0.0
    reach: tuple[float, float, float] = (0.4, 1.05, 0.08)

    def fits(self, land: str) -> float:
        """How much more likely it is in a land, in nats."""
        return self.lands.get(land, self.elsewhere)


SUBJECTS: Final = (
    Subject("nothing", {"landscape": 0.25}, figures.nothing, size=0.02),
    Subject(
        "bottle",
        {"bottle": 1.6, "glass": 0.6},
        bottles.paint_bottle,
        {
            "a galaxy": {"galaxy": 1.0, "purple": 0.5, "star": 0.5},
            "a nebula": {"galaxy": 1.0, "purple": 0.5, "star": 0.5},
            "a purple night": {"galaxy": 1.0, "purple": 0.5, "star": 0.4, "mountain": 0.5, "landscape": 0.1},
            "the sea": {"sea": 0.9, "boat": 1.2, "blue": 0.5},
            "a forest": {"forest": 0.9, "tree": 0.8, "green": 0.5, "moon": 0.3, "mountain": 0.4},
            "fireflies": {"firefly": 1.2, "warm": 0.3},
            "flowers": {"flowers": 0.9, "red": 0.3},
            "a potion": {"green": 0.4, "vivid": 0.2},
        },
        places=(0.0, -0.2, 0.2),
        size=0.78,
        reach=(0.42, 1.04, 0.07),
    ),
    Subject(
        "flask",
        {"bottle": 1.5, "glass": 0.6},
        bottles.paint_flask,
        {
            "a galaxy": {"galaxy": 1.0, "purple": 0.5, "star": 0.5},
            "a nebula": {"galaxy": 1.0, "purple": 0.5, "star": 0.5},
            "the sea": {"sea": 0.9, "boat": 1.2, "blue": 0.5},
            "fireflies": {"firefly": 1.2, "warm": 0.3},
        },
        places=(-0.16, 0.16),
        size=0.7,
        reach=(0.45, 1.04, 0.07),
    ),
    Subject(
        "vase",
        {"vase": 1.6, "flowers": 0.15},
        figures.vase,
        {"bouquet": {"flowers": 0.3}, "lavender": {"purple": 0.6}, "sunflowers": {"sun": 0.4, "warm": 0.3}},
        places=(0.02, -0.2),
        size=0.66,
        reach=(0.5, 1.08, 0.07),
    ),
    Subject(
        "lighthouse",
        {"lighthouse": 1.6},
        figures.lighthouse,
        places=(-0.26, 0.3),
        foot=0.72,
        size=0.52,
        lands={"sea": 1.0, "cliffs": 1.0, "lake": -0.5},
        elsewhere=-3.0,
        reach=(0.5, 1.08, 0.12),
    ),
    Subject(
        "cabin",
        {"cabin": 1.5, "warm": 0.1},
        figures.cabin,
        places=(-0.2, 0.22),
        foot=0.83,
        size=0.3,
        lands={"sea": -3.0, "cliffs": -2.0, "lake": -2.0, "desert": -1.0},
        reach=(0.85, 1.4, 0.1),
    ),
    Subject(
        "boat",
        {"boat": 1.5},
        figures.boat,
        places=(-0.14, 0.16),
        foot=0.74,
        size=0.32,
        lands={"sea": 1.0, "lake": 0.7, "cliffs": 0.5},
        elsewhere=-8.0,
        reach=(0.6, 1.08, 0.4),
    ),
    Subject(
        "balloon",
        {"balloon": 1.6},
        figures.balloon,
        {"red": {"red": 0.5}, "blue": {"blue": 0.5}, "purple": {"purple": 0.5}},
        places=(-0.16, 0.06),
        foot=0.5,
        size=0.38,
    ),
    Subject(
        "cat",
        {"cat": 1.7},
        figures.cat,
        {"black": {"dark": 0.3}, "ginger": {"warm": 0.4, "sunset": 0.3}, "white": {"pale": 0.4, "snow": 0.2}},
        places=(0.0, -0.2),
        size=0.43,
        reach=(0.62, 1.06, 0.1),
    ),
    Subject(
        "tree",
        {"tree": 1.3},
        figures.tree,
        {"green": {"green": 0.4}, "blossom": {"flowers": 0.7, "dawn": 0.4}, "autumn": {"red": 0.5, "sunset": 0.5}},
        places=(-0.22, 0.18),
        foot=0.87,
        size=0.6,
        lands={"sea": -2.0, "desert": -1.0},
        reach=(0.62, 1.08, 0.08),
    ),
    Subject(
        "castle",
        {"castle": 1.6},
        figures.castle,
        places=(-0.15, 0.17),
        foot=0.7,
        size=0.44,
        lands={"sea": -1.5},
        reach=(0.62, 1.1, 0.16),
    ),
)


def stand(easel: Canvas, subject: Subject) -> tuple[Canvas, Box]:
    """A piece of the easel large enough for a subject in the middle, and where on the kept canvas it is.

    The box may reach over the edges of the canvas: all of a subject is painted, wherever it will stand.
    """
    size = subject.size * easel.unit
    aside, above, beneath = (reach * size for reach in subject.reach)
    step = easel.pixel * OVERSAMPLING
    top, bottom = math.floor((subject.foot - above) / step), math.ceil((subject.foot + beneath) / step)
    middle = easel.shape[1] // OVERSAMPLING / 2
    left, right = math.floor(middle - aside / step), math.ceil(middle + aside / step)
    return easel.part(top * OVERSAMPLING, bottom * OVERSAMPLING, left * OVERSAMPLING, right * OVERSAMPLING), np.s_[
        top:bottom, left:right
    ]


def paint_subject(part: Canvas, subject: Subject, look: str, palette: Palette) -> tuple[Plane, Paint]:
    """Coverage (h, w), the same for every look and light, and colours (3, h, w), on a subject's piece of the easel."""
    figure = Figure(part, 0.0, subject.foot, subject.size * part.unit, palette)
    subject.paint(figure, look)
    return figure.alpha * part.vignette, np.clip(figure.paint, 0, 1)
