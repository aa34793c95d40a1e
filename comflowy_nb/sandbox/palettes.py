"""Hours and weathers: the colours that everything in a scene shares."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from comflowy_nb.sandbox.painting import rgb

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


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
    is_night
        Stars, galaxies and aurorae show.
    skies
        The kinds of sky that go with it.
    tags
        What prompts call it, and how well it fits.
    """

    name: str
    zenith: NDArray[np.float32]
    middle: NDArray[np.float32]
    horizon: NDArray[np.float32]
    light: NDArray[np.float32]
    shade: NDArray[np.float32]
    haze: NDArray[np.float32]
    lamp: NDArray[np.float32]
    is_night: bool
    skies: tuple[str, ...]
    tags: dict[str, float]


def _palette(name: str, colours: str, skies: str, *, is_night: bool = False, **tags: float) -> Palette:
    return Palette(name, *map(rgb, colours.split()), is_night, tuple(skies.split()), tags)


#        zenith middle horizon | light shade haze lamp
PALETTES: Final = (
    _palette(
        "day",
        "2a6cc4 6fb1ea dcf0fa fff6e0 6d86a8 c4def0 fffbe8",
        "sun clouds cirrus rainbow",
        day=1, blue=0.5, sun=0.4, bright=0.4, green=0.3,
    ),
    _palette(
        "dawn",
        "5a74bd e6a9c0 ffe3bd ffdcc8 7a76a0 f3cdd0 fff0d8",
        "sun clouds cirrus",
        dawn=1, pale=0.4, warm=0.3, bright=0.2,
    ),
    _palette(
        "sunset",
        "2d4686 e2755e ffc766 ffb46a 5c4a72 f0a074 fff0b0",
        "sun clouds cirrus",
        sunset=1, red=0.5, warm=0.6, dusk=0.3, sun=0.3,
    ),
    _palette(
        "dusk",
        "1b2358 6d4f97 f49a86 b58fb8 34305f 9d6f9c ffe9cf",
        "moon stars clouds",
        is_night=True,
        dusk=1, purple=0.3, dark=0.2, moon=0.2,
    ),
    _palette(
        "night",
        "040a22 0e2456 2f5c92 6f8fc4 14234a 29497e f2f4ff",
        "moon stars galaxy clouds",
        is_night=True,
        night=1, dark=0.6, moon=0.3, star=0.3, blue=0.5, cold=0.2,
    ),
    _palette(
        "galaxy",
        "10042c 47167a d572c4 b184e0 2a1458 7a3fa0 ffe6ff",
        "galaxy nebula moon stars",
        is_night=True,
        purple=1, galaxy=0.7, night=0.4, star=0.3, vivid=0.3,
    ),
    _palette(
        "emerald",
        "031018 083a48 3f9f8c 7cc4b0 0c2c38 256a6c eafff4",
        "aurora stars moon",
        is_night=True,
        aurora=1, green=0.6, night=0.4, cold=0.3, forest=0.1,
    ),
    _palette(
        "mist",
        "6f8492 a3b3b8 e4e6de e8e6dc 66767e cfd6d4 fbfaf0",
        "clouds cirrus sun",
        fog=1, storm=1, pale=0.5, cold=0.4,
    ),
)  # fmt: skip
