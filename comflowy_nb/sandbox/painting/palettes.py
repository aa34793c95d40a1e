"""Hours and weathers: the colours that everything in a scene shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from comflowy_nb.sandbox.painting.canvas import rgb

if TYPE_CHECKING:
    from comflowy_nb.sandbox.painting.canvas import Paint


@dataclass(frozen=True, slots=True)
class Palette:
    """The light of one hour.

    Parameters
    ----------
    zenith, middle, horizon
        The sky from top to bottom.
    light, shade
        What lit and unlit ground is multiplied with.
    haze
        What distance turns into.
    lamp
        Sun or moon.
    lamp_y
        Its height, in canvas heights from the top.
    is_night
        Windows are lit, stars show.
    skies
        The kinds of sky that go with it.
    tags
        What prompts call it, and how well it fits.
    """

    name: str
    zenith: Paint
    middle: Paint
    horizon: Paint
    light: Paint
    shade: Paint
    haze: Paint
    lamp: Paint
    lamp_y: float
    is_night: bool
    skies: tuple[str, ...]
    tags: dict[str, float]


def _palette(
    name: str, colours: str, lamp_y: float, skies: str, *, tags: dict[str, float], is_night: bool = False
) -> Palette:
    zenith, middle, horizon, light, shade, haze, lamp = map(rgb, colours.split())
    kinds = tuple(skies.split())
    return Palette(name, zenith, middle, horizon, light, shade, haze, lamp, lamp_y, is_night, kinds, tags)


_DAY = {"day": 1.0, "blue": 0.5, "sun": 0.4, "bright": 0.4, "green": 0.3}
_DAWN = {"dawn": 1.0, "pale": 0.4, "warm": 0.3, "bright": 0.2}
_SUNSET = {"sunset": 1.0, "red": 0.5, "warm": 0.6, "dusk": 0.3, "sun": 0.3}
_DUSK = {"dusk": 1.0, "purple": 0.3, "dark": 0.2, "moon": 0.2}
_NIGHT = {"night": 1.0, "dark": 0.6, "moon": 0.3, "star": 0.3, "blue": 0.5, "cold": 0.2}
_GALAXY = {"purple": 1.0, "galaxy": 0.7, "night": 0.4, "star": 0.3, "vivid": 0.3}
_EMERALD = {"aurora": 1.0, "green": 0.6, "night": 0.4, "cold": 0.3, "forest": 0.1}
_MIST = {"fog": 1.0, "storm": 1.0, "pale": 0.5, "cold": 0.4}

PALETTES: Final = (
    # zenith, middle, horizon; light, shade, haze, lamp
    _palette("day", "2468c0 6bb0ec dff2fb fff4dc 62809c c2dcf0 fffbe6", 0.17, "sun clouds cirrus rainbow", tags=_DAY),
    _palette("dawn", "5873bf e3a5c2 ffe2b8 ffdcc4 77719e f1cbd2 fff2d4", 0.5, "sun clouds cirrus", tags=_DAWN),
    _palette("sunset", "2b4288 dd6c5f ffc75f ffb065 54426e ee9c70 fff2b4", 0.52, "sun clouds cirrus", tags=_SUNSET),
    _palette(
        "dusk", "1a2158 6b4d97 f79a84 b08cbc 302c5c 94699c ffe6c8", 0.26, "moon stars clouds", is_night=True, tags=_DUSK
    ),
    _palette(
        "night",
        "030820 0c2254 2c5a94 7896c8 101e40 244676 f4f5ff",
        0.24,
        "moon stars galaxy clouds",
        is_night=True,
        tags=_NIGHT,
    ),
    _palette(
        "galaxy",
        "0e0328 451578 d873c4 b58ae8 26124e 7840a2 ffe8ff",
        0.24,
        "galaxy nebula moon stars",
        is_night=True,
        tags=_GALAXY,
    ),
    _palette(
        "emerald",
        "020e18 07364a 3a9c90 80c8b8 0a2630 22666a ecfff6",
        0.24,
        "aurora stars moon",
        is_night=True,
        tags=_EMERALD,
    ),
    _palette("mist", "64798a a0b2b9 e6e8e0 ebe9e0 626f78 ced6d5 fffdf2", 0.28, "clouds cirrus sun", tags=_MIST),
)
