"""Positions on a grid of runs: for any images and texts nothing is clipped and nothing overlaps."""

from __future__ import annotations

import pytest

from comflowy_nb.layout.page import CellState, Tile, fit, longest_side_px, mosaic
from comflowy_nb.layout.run_grid import Cell, Section, Sheet, arrange
from comflowy_nb.layout.text import LINE_PX, Paragraph, Part

WIDTH = 1200


def measure(text, tone):
    return len(text) * (7 if tone == "strong" else 6)


def cell(*sizes, caption="r1[0]"):
    tiles = tuple(
        Tile(0, index, size) if size else Tile(0, state=CellState("error", "failed"))
        for index, size in enumerate(sizes)
    )
    return Cell(tiles, (Paragraph((Part(caption),), 2),))


def page_of(*sections, **texts):
    return arrange(Sheet(tuple(sections), **texts), width_px=WIDTH, measure=measure)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 9, 12, 16, 64, 144])
@pytest.mark.parametrize("size", [(512, 512), (64, 64), (512, 768), (2048, 300), (300, 2048), None])
def test_images_and_texts_neither_overlap_nor_leave_the_page(count, size):
    page = page_of(Section(tuple(cell(size, caption="cfg 7 seed 42") for _ in range(count))))
    assert page.width <= WIDTH
    assert len(page.boxes) == count
    rectangles = [(box.x, box.y, box.x + box.width, box.y + box.height) for box in page.boxes]
    rectangles += [(text.x, text.y, text.x + measure(text.text, text.tone), text.y + LINE_PX) for text in page.texts]
    for left, top, right, bottom in rectangles:
        assert left >= 0
        assert top >= 0
        assert right <= page.width
        assert bottom <= page.height
    for number, first in enumerate(rectangles):
        for second in rectangles[number + 1 :]:
            are_apart = first[2] <= second[0] or second[2] <= first[0] or first[3] <= second[1] or second[3] <= first[1]
            assert are_apart, (first, second)


def test_an_image_is_never_enlarged_and_keeps_its_shape():
    assert fit((64, 32), (768, 768)) == (64, 32)
    assert fit((1024, 512), (256, 256)) == (256, 128)
    assert fit((10_000, 2), (256, 256)) == (256, 1)


def test_image_size_depends_on_the_number_of_runs():
    assert [longest_side_px(count) for count in (1, 4, 5, 9, 10, 144)] == [768, 768, 512, 512, 256, 256]


def test_number_of_columns_makes_the_grid_about_square():
    for count, columns in ((1, 1), (3, 3), (4, 2), (5, 3), (9, 3), (10, 4), (16, 4), (200, 12)):
        page = page_of(Section(tuple(cell((64, 64)) for _ in range(count))))
        assert len({box.x for box in page.boxes}) == columns


def test_a_mosaic_stays_within_its_cell():
    tiles = [Tile(0, index, (512, 512)) for index in range(7)]
    boxes = mosaic(tiles, (300, 300))
    assert len(boxes) == 7
    assert max(box.x + box.width for box in boxes) <= 300
    assert max(box.y + box.height for box in boxes) <= 300


def test_images_of_a_node_are_below_its_title():
    page = page_of(
        Section((cell((512, 512)), cell((512, 512))), "Save Image (9)"), Section((cell((64, 64)),), "Preview (12)")
    )
    titles = [text for text in page.texts if text.tone == "title"]
    assert [text.text for text in titles] == ["Save Image (9)", "Preview (12)"]
    assert titles[0].y < page.boxes[0].y < page.boxes[1].y + 1 < titles[1].y < page.boxes[2].y


@pytest.mark.parametrize("count", [1, 2, 3, 4, 9, 16, 25])
@pytest.mark.parametrize("side", [64, 256, 512, 1024])
def test_text_is_legible_where_the_page_is_shown_560_pixels_wide(count, side):
    """On a page 1,200 pixels wide that a front end reduced to 560, captions had 5.6 pixels."""
    cells = tuple(Cell((Tile(index, 0, (side, side)),)) for index in range(count))
    page = arrange(Sheet((Section(cells),)), width_px=1200, measure=lambda text, tone: 7 * len(text))
    width, _ = page.size_px
    assert width <= 1200
    assert 11 * page.zoom * min(1.0, 560 / width) >= 8.99
    assert all(box.width * page.zoom <= 1.05 * side for box in page.boxes), "no image is visibly enlarged"


def test_more_than_25_cells_have_no_zoom():
    cells = tuple(Cell((Tile(index, 0, (256, 256)),)) for index in range(26))
    assert arrange(Sheet((Section(cells),)), width_px=1200, measure=lambda text, tone: 7 * len(text)).zoom == 1
