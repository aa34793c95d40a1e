"""The painter: pixels of pages and panels, widths of texts, files."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from comflowy_nb.errors import ImageError
from comflowy_nb.layout.page import Box, CellState, Page, TextRun, Tile
from comflowy_nb.painting.cell_states import draw_panel
from comflowy_nb.painting.pages import DrawnPage, draw_page, encode, read_image
from comflowy_nb.painting.palette import LIGHT
from comflowy_nb.painting.text import DRAWING, measure, writable


def teal(tile, size):
    return Image.new("RGB", size, "teal")


@pytest.mark.parametrize("scale", [1, 2])
def test_a_page_has_its_images_and_texts_at_either_scale(scale):
    page = Page(60, 40, [Box(Tile(0), 10, 0, 20, 15)], [TextRun("cfg 7", "strong", 0, 20)])
    pixels = np.asarray(draw_page(page, scale, teal, LIGHT)).astype(int)
    assert pixels.shape == (40 * scale, 60 * scale, 3)
    assert (pixels[: 15 * scale, 10 * scale : 30 * scale] == (0, 128, 128)).all()
    assert (pixels[: 20 * scale, 30 * scale :] == 255).all()
    assert pixels[20 * scale :].min() < 100
    right = np.argwhere(pixels[20 * scale :].min(axis=2) < 128)[:, 1].max()
    assert right <= scale * (measure("cfg 7", "strong") + 1), "texts are no wider than measured"


def test_a_box_whose_image_can_t_be_read_shows_the_reason():
    def fail(tile, size):
        raise ImageError("no such image")

    page = Page(200, 100, [Box(Tile(0), 0, 0, 200, 100)])
    expected = draw_panel(CellState("error", "not shown", "no such image"), (200, 100), 1, LIGHT)
    assert draw_page(page, 1, fail, LIGHT).tobytes() == expected.tobytes()


@pytest.mark.parametrize("size", [(64, 64), (96, 40), (256, 256), (512, 128)])
def test_a_panel_has_its_size_and_its_text_does_not_touch_the_edge(size):
    state = CellState("error", "failed", "out of memory " * 9, 0.5)
    for scale in (1, 2):
        panel = np.asarray(draw_panel(state, (size[0] * scale, size[1] * scale), scale, LIGHT)).astype(int)
        assert panel.shape == (size[1] * scale, size[0] * scale, 3)
        dark = np.argwhere(panel.min(axis=2) < 120)
        assert dark[:, 1].min() >= 3 * scale
        assert dark[:, 1].max() < (size[0] - 3) * scale


def test_a_figure_has_the_size_of_the_page_and_texts():
    """With matplotlib 3.8 a comparison of 828 pixels was 827 pixels high: 4.3125 inches were rounded down."""
    for side in (29, 57, 58, 113, 114, 414, 1200):
        page = Page(side, side, texts=[TextRun("$5 and $10", "text", 0, 0)])
        figure = DrawnPage(page, draw_page(page, 1, teal, LIGHT), 1, b"", LIGHT).figure
        assert tuple(int(pixels) for pixels in figure.canvas.get_width_height(physical=True)) == (2 * side, 2 * side)
        assert [text.get_text() for text in figure.axes[0].texts] == ["$5 and $10"]


def test_a_lower_quality_needs_fewer_bytes():
    noise = Image.effect_noise((64, 64), 60).convert("RGB")
    assert len(encode(noise, quality=40)) < len(encode(noise))


def test_longer_texts_are_wider_and_line_breaks_are_not_drawn():
    assert 0 < measure("cfg", "text") < measure("cfg cfg", "text")
    assert "\n" not in writable("two\nlines")


def test_a_file_that_can_t_be_decoded_is_named(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"broken\.png"):
        read_image(tmp_path / "broken.png", (8, 8))


@pytest.mark.parametrize("scale", [1, 2])
def test_a_progress_bar_of_any_length_is_drawn(scale):
    """A running cell raised `x1 must be greater than or equal to x0`: Pillow 10.1 draws no narrow round rectangle."""
    for step in range(201):
        state = CellState("live", "running", fraction=step / 200)
        with DRAWING:
            assert draw_panel(state, (90 * scale, 90 * scale), scale, LIGHT).size == (90 * scale, 90 * scale)


def test_a_zoomed_page_has_larger_texts_and_images():
    page = Page(60, 40, [Box(Tile(0), 10, 0, 20, 15)], [TextRun("cfg 7", "strong", 0, 20)], zoom=1.5)
    pixels = np.asarray(draw_page(page, 2, teal, LIGHT)).astype(int)
    assert pixels.shape == (120, 180, 3)
    assert (pixels[:45, 30:90] == (0, 128, 128)).all()
    right = np.argwhere(pixels[60:].min(axis=2) < 128)[:, 1].max()
    assert 2.5 * measure("cfg 7", "strong") < right <= 3 * (measure("cfg 7", "strong") + 1)
    drawn = DrawnPage(page, draw_page(page, 2, teal, LIGHT), 2, b"", LIGHT)
    assert drawn.page.size_px == (90, 60)
    assert drawn.figure.axes[0].texts[0].get_fontsize() == pytest.approx(1.5 * 12 * 72 / 100)
