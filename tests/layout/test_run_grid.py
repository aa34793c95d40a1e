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
        Tile(0, index, size) if size else Tile(0, state=CellState("bad", "failed")) for index, size in enumerate(sizes)
    )
    return Cell(tiles, (Paragraph((Part(caption),), 2),))


def page_of(*sections, **texts):
    return arrange(Sheet(tuple(sections), **texts), width_px=WIDTH, measure=measure)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 9, 12, 16, 64, 144])
@pytest.mark.parametrize("size", [(512, 512), (64, 64), (512, 768), (2048, 300), (300, 2048), None])
def test_nothing_overlaps_and_nothing_leaves_the_page(count, size):
    page = page_of(Section(tuple(cell(size, caption="cfg 7 seed 42") for _ in range(count))))
    assert page.width <= WIDTH
    assert len(page.boxes) == count
    rectangles = [(box.x, box.y, box.x + box.width, box.y + box.height) for box in page.boxes]
    rectangles += [
        (words.x, words.y, words.x + measure(words.text, words.tone), words.y + LINE_PX) for words in page.texts
    ]
    for left, top, right, bottom in rectangles:
        assert left >= 0
        assert top >= 0
        assert right <= page.width
        assert bottom <= page.height
    for number, one in enumerate(rectangles):
        for other in rectangles[number + 1 :]:
            apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
            assert apart, (one, other)


def test_an_image_is_never_enlarged_and_keeps_its_shape():
    assert fit((64, 32), (768, 768)) == (64, 32)
    assert fit((1024, 512), (256, 256)) == (256, 128)
    assert fit((10_000, 2), (256, 256)) == (256, 1)


def test_up_to_four_large_up_to_nine_middling_then_small():
    assert [longest_side_px(count) for count in (1, 4, 5, 9, 10, 144)] == [768, 768, 512, 512, 256, 256]


def test_columns_make_about_a_square():
    for count, columns in ((1, 1), (3, 3), (4, 2), (5, 3), (9, 3), (10, 4), (16, 4), (200, 12)):
        page = page_of(Section(tuple(cell((64, 64)) for _ in range(count))))
        assert len({box.x for box in page.boxes}) == columns


def test_a_mosaic_stays_within_its_cell():
    tiles = [Tile(0, index, (512, 512)) for index in range(7)]
    boxes = mosaic(tiles, (300, 300))
    assert len(boxes) == 7
    assert max(box.x + box.width for box in boxes) <= 300
    assert max(box.y + box.height for box in boxes) <= 300


def test_nodes_are_below_their_titles():
    page = page_of(
        Section((cell((512, 512)), cell((512, 512))), "Save Image (9)"), Section((cell((64, 64)),), "Preview (12)")
    )
    titles = [words for words in page.texts if words.tone == "title"]
    assert [words.text for words in titles] == ["Save Image (9)", "Preview (12)"]
    assert titles[0].y < page.boxes[0].y < page.boxes[1].y + 1 < titles[1].y < page.boxes[2].y
