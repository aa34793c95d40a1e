"""Where things stand on a grid: nothing clipped, nothing over another, whatever the images and texts are."""

from __future__ import annotations

import pytest

from comflowy_nb.layout.captions import Cell, Paragraph, Part, Section, Sheet, Tile
from comflowy_nb.layout.text_and_grid import ELLIPSIS, LINE_PX, arrange, columns_for, fit, longest_side_px, mosaic, wrap

WIDTH = 1200


def measure(text, tone):
    return len(text) * (7 if tone == "strong" else 6)


def cell(*sizes, caption="r1[0]"):
    tiles = tuple(Tile(0, index, size) if size else Tile(0, note="failed") for index, size in enumerate(sizes))
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
        (words.x, words.y, words.x + measure(words.text, words.tone), words.y + LINE_PX) for words in page.words
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


def test_a_image_is_never_enlarged_and_keeps_its_shape():
    assert fit((64, 32), (768, 768)) == (64, 32)
    assert fit((1024, 512), (256, 256)) == (256, 128)
    assert fit((10_000, 2), (256, 256)) == (256, 1)


def test_up_to_four_large_up_to_nine_middling_then_small():
    assert [longest_side_px(count) for count in (1, 4, 5, 9, 10, 144)] == [768, 768, 512, 512, 256, 256]


def test_columns_make_about_a_square():
    assert [columns_for(count) for count in (0, 1, 3, 4, 5, 9, 10, 16, 1000)] == [1, 1, 3, 2, 3, 3, 4, 4, 12]


def test_a_mosaic_stays_within_its_cell():
    tiles = [Tile(0, index, (512, 512)) for index in range(7)]
    boxes = mosaic(tiles, (300, 300))
    assert len(boxes) == 7
    assert max(box.x + box.width for box in boxes) <= 300
    assert max(box.y + box.height for box in boxes) <= 300


def test_nodes_stand_under_their_titles():
    page = page_of(
        Section((cell((512, 512)), cell((512, 512))), "Save Image (9)"), Section((cell((64, 64)),), "Preview (12)")
    )
    titles = [words for words in page.words if words.tone == "title"]
    assert [words.text for words in titles] == ["Save Image (9)", "Preview (12)"]
    assert titles[0].y < page.boxes[0].y < page.boxes[1].y + 1 < titles[1].y < page.boxes[2].y


def test_words_break_at_spaces_and_lines_are_no_wider_than_asked():
    lines = wrap([Part("name ", "muted"), Part("one two three four five")], 66, measure, max_lines=9)
    assert ["".join(text for _, text, _ in line) for line in lines] == ["name one", "two three", "four five"]
    for line in lines:
        x, text, tone = line[-1]
        assert x + measure(text, tone) <= 66


def test_a_space_between_tones_is_a_distance():
    (line,) = wrap([Part("glass"), Part(" bottle", "strong")], 400, measure, max_lines=1)
    assert line == [(0.0, "glass", "text"), (5 * 6 + 7, "bottle", "strong")]


def test_what_is_left_out_is_an_ellipsis_that_fits():
    lines = wrap([Part("one two three four five six seven")], 60, measure, max_lines=2)
    assert len(lines) == 2
    x, text, tone = lines[-1][-1]
    assert text.endswith(ELLIPSIS)
    assert x + measure(text, tone) <= 60


def test_a_text_without_spaces_is_broken_anywhere():
    for text in ("x" * 300, "美しい風景" * 60, "see " + "y" * 100):
        lines = wrap([Part(text)], 120, measure, max_lines=99)
        assert "".join(part for line in lines for _, part, _ in line).replace(" ", "") == text.replace(" ", "")
        assert all(x + measure(part, tone) <= 120 for line in lines for x, part, tone in line)


def test_a_line_narrower_than_a_letter_still_ends():
    assert wrap([Part("abc")], 1, measure, max_lines=3)


def test_an_empty_text_has_no_lines():
    assert wrap([Part("")], 100, measure, max_lines=3) == []
