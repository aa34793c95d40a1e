"""Colours of grids, from the setting `theme` or from matplotlib's rcParams.

With `theme = "auto"` the colours are `figure.facecolor` and `text.color`, so that `plt.style.use("dark_background")`
applies to grids. For matplotlib's defaults, black on white, the light theme is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import matplotlib as mpl
from matplotlib.colors import to_hex, to_rgba

from comflowy_nb.settings import settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib import RcParams

    from comflowy_nb.layout.page import CellStateKind
    from comflowy_nb.layout.text import Tone


_StatusKind: TypeAlias = Literal["live", "error", "warning", "done"]

_DARK_PAPER, _DARK_INK = "#16181c", "#e8eaed"  # for `theme = "dark"`
_INK_SHARES: Mapping[Tone, float] = {
    "strong": 1.0, "title": 1.0, "text": 0.84, "muted": 0.66, "small": 0.66, "waiting": 0.66,
}  # fmt: skip
_ON_LIGHT: Mapping[_StatusKind, str] = {"live": "#1b6fb8", "error": "#b3261e", "warning": "#8a5a00", "done": "#2e7d32"}
_ON_DARK: Mapping[_StatusKind, str] = {"live": "#6cb6f5", "error": "#ff8a80", "warning": "#f2b950", "done": "#81c784"}
_DARK_LUMINANCE = 0.2
_MIN_CONTRAST = 4.5  # for text, by WCAG 2.2 (level AA)
_PLATE_SHARE, _EDGE_SHARE = 0.10, 0.30  # share of the status colour in a plate and in its edge


@dataclass(frozen=True, slots=True, eq=False)
class Palette:
    """The colours of one grid, as `#rrggbb`.

    Attributes
    ----------
    paper
        The background.
    inks
        Colour of each tone of text.
    plates
        Kind of state that is shown instead of an image -> colours of its plate and of the edge.
    track, bar
        The empty and the filled part of a progress bar.
    """

    paper: str
    inks: Mapping[Tone, str]
    plates: Mapping[CellStateKind, tuple[str, str]]
    track: str
    bar: str


LIGHT = Palette(
    paper="#ffffff",
    inks={
        "text": "#4a4f57", "muted": "#6d737a", "strong": "#1f2329", "title": "#1f2329", "small": "#6d737a",
        "waiting": "#6d737a", "live": "#1b6fb8", "error": "#b3261e", "warning": "#8a5a00", "done": "#2e7d32",
    },
    plates={
        "waiting": ("#f7f8fa", "#e6e9ed"),
        "live": ("#f2f8fd", "#cfe3f5"),
        "error": ("#fdf3f2", "#f0cfcc"),
        "warning": ("#fff8eb", "#f0ddb8"),
        "done": ("#f0f8f1", "#cde6cf"),
    },
    track="#d5e4f1",
    bar="#2684d8",
)  # fmt: skip


def current_palette() -> Palette:
    """Return the palette of the current settings."""
    if settings.theme == "light":
        return LIGHT
    if settings.theme == "dark":
        return _derive(_DARK_PAPER, _DARK_INK)
    paper, ink = _colours_of(mpl.rcParams)
    return LIGHT if (paper, ink) == _colours_of(mpl.rcParamsDefault) else _derive(paper, ink)


def _colours_of(params: RcParams) -> tuple[str, str]:
    return _on_white(params["figure.facecolor"]), _on_white(params["text.color"])


@lru_cache(maxsize=32)  # equal colours return the same object
def _derive(paper: str, ink: str) -> Palette:
    """Return the palette of a background colour and a text colour."""
    named = _ON_DARK if _luminance(paper) < _DARK_LUMINANCE else _ON_LIGHT
    statuses = {kind: _legible(colour, paper, ink) for kind, colour in named.items()}
    plates: dict[CellStateKind, tuple[str, str]] = {
        kind: (_mix(paper, colour, _PLATE_SHARE), _mix(paper, colour, _EDGE_SHARE)) for kind, colour in statuses.items()
    }
    plates["waiting"] = (_mix(paper, ink, _PLATE_SHARE / 2), _mix(paper, ink, _EDGE_SHARE / 2))
    return Palette(
        paper,
        {tone: _mix(paper, ink, share) for tone, share in _INK_SHARES.items()} | dict(statuses),
        plates,
        _mix(paper, statuses["live"], _EDGE_SHARE),
        statuses["live"],
    )


def _on_white(colour: Any) -> str:
    """Blend a matplotlib colour with white, and drop its alpha."""
    return _mix("#ffffff", to_hex(colour), to_rgba(colour)[3])


def _rgb(colour: str) -> tuple[float, float, float]:
    red, green, blue, _ = to_rgba(colour)
    return red, green, blue


def _mix(below: str, above: str, share: float) -> str:
    red, green, blue = (a + (b - a) * share for a, b in zip(_rgb(below), _rgb(above), strict=True))
    return to_hex((red, green, blue))


def _legible(colour: str, paper: str, ink: str) -> str:
    """Mix a colour with the text colour until its contrast to the background is sufficient."""
    shares = (step / 10 for step in range(11))
    mixed = (_mix(colour, ink, share) for share in shares)
    return next((colour for colour in mixed if _contrast(colour, paper) >= _MIN_CONTRAST), ink)


def _contrast(one: str, other: str) -> float:
    """Return the contrast ratio, 1 to 21: https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    """Return the relative luminance, 0 to 1: https://www.w3.org/TR/WCAG22/#dfn-relative-luminance."""
    red, green, blue = (side / 12.92 if side <= 0.04045 else ((side + 0.055) / 1.055) ** 2.4 for side in _rgb(colour))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
