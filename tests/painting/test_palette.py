"""The colours of grids: the setting `theme`, and matplotlib's rcParams."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from comflowy_nb.layout.page import Box, CellState, Page, TextRun, Tile
from comflowy_nb.painting.pages import draw_page
from comflowy_nb.painting.palette import LIGHT, current_palette
from comflowy_nb.settings import settings

STYLES = ["dark_background", "ggplot", "grayscale", "Solarize_Light2", "seaborn-v0_8-darkgrid"]


def luminance(colour):
    """Return the relative luminance: https://www.w3.org/TR/WCAG22/#dfn-relative-luminance."""
    linear = [side / 12.92 if side <= 0.04045 else ((side + 0.055) / 1.055) ** 2.4 for side in to_rgb(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_matplotlib_s_defaults_give_the_light_theme():
    with mpl.rc_context(dict(mpl.rcParamsDefault)):
        assert current_palette() is LIGHT


def test_a_style_of_matplotlib_colours_paper_and_text():
    with mpl.style.context("dark_background"):
        palette = current_palette()
        assert palette is current_palette(), "equal colours are the same palette: drawn grids are compared by it"
    assert palette.paper == "#000000"
    assert palette.inks["strong"] == "#ffffff"


def test_a_transparent_figure_is_white():
    with mpl.rc_context({"figure.facecolor": (0, 0, 0, 0)}):
        assert current_palette().paper == "#ffffff"


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_setting_precedes_matplotlib(theme):
    settings.theme = theme
    with mpl.style.context("Solarize_Light2"):
        assert (luminance(current_palette().paper) < 0.1) == (theme == "dark")


@pytest.mark.parametrize("style", ["default", *STYLES, "dark theme"])
def test_every_text_is_legible(style):
    """WCAG 2.2 asks for a contrast of 4.5 for text; a style of low contrast gives less."""
    with mpl.style.context("default" if style == "dark theme" else style):
        settings.theme = "dark" if style == "dark theme" else "auto"
        palette = current_palette()
        least = min(4.5, contrast(palette.paper, palette.inks["strong"]) * 0.35)
    for tone, ink in palette.inks.items():
        assert contrast(palette.paper, ink) >= least, tone
    for kind, (plate, _) in palette.plates.items():
        assert contrast(plate, palette.inks[kind]) >= least * 0.85, kind


def test_a_page_is_drawn_in_the_colours_of_the_palette():
    settings.theme = "dark"
    palette = current_palette()
    failed = Tile(0, state=CellState("error", "failed"))
    page = Page(200, 120, [Box(failed, 0, 40, 200, 80)], [TextRun("cfg 7", "strong", 10, 10)])
    pixels = np.asarray(draw_page(page, 1, lambda tile, size: pytest.fail("a state has no image"), palette))
    assert tuple(pixels[2, 2]) == tuple(round(255 * side) for side in to_rgb(palette.paper))
    assert tuple(pixels[50, 100]) == tuple(round(255 * side) for side in to_rgb(palette.plates["error"][0]))
    assert pixels[:40].max() > 200, "the text is light"
