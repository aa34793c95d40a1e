"""The grid of a sweep: headings, letters and legends, blocks, pages."""

from __future__ import annotations

from itertools import pairwise
from types import SimpleNamespace

import pytest

from comflowy_nb.database.ratings import Rating, Review
from comflowy_nb.database.scores import Score
from comflowy_nb.errors import RefError, SettingsError
from comflowy_nb.layout.review_text import write_review
from comflowy_nb.layout.sweep_grid import arrange_sweep, cell_size
from comflowy_nb.layout.sweep_page import PageLimits
from comflowy_nb.layout.text import LINE_PX
from comflowy_nb.sweeps.headings import choose_axes, sheet_of_sweep
from comflowy_nb.workflow.axes.expand import expand
from comflowy_nb.workflow.axes.types import Axes, Axis, AxisValue, SeedWord

PAGE_PX = PageLimits(1200).height_px
DEFAULT_LAYOUT = {"x": None, "y": None, "z": None}
LONG = "beautiful scenery nature glass bottle landscape, {} bottle, at {}"


def measure(text, tone):
    return len(text) * (6 if tone == "small" else 7)


def axis(field, values, labels=None, kind="values"):
    names = labels or [str(value) for value in values]
    return Axis(
        field, kind, (field,),
        tuple(AxisValue({field: value}, name, labels is not None) for value, name in zip(values, names, strict=True)),
    )  # fmt: skip


def sweep_of(*axes, fixed=None, seeds=(), texts=None, set_params=None):
    fixed = fixed or {}
    all_axes = Axes(fixed, axes, seeds, set_params or (*fixed, *(axis_.name for axis_ in axes)), texts or {})
    cells = expand(all_axes, workflow_content="default", identity="sandbox", seed_of=lambda key, fields: 1234567890)
    return SimpleNamespace(axes=all_axes, cells=cells, workflow="default", name="bottles", ref="s1", record=object())


def page_and_sheet(sweep, layout=DEFAULT_LAYOUT, **options):
    """Return the page and its content."""
    sheets = []

    def make_sheet(lettered):
        sheets.append(sheet_of_sweep(sweep, layout, lettered=lettered))
        return sheets[-1]

    limits = PageLimits(options.pop("width_px", 1200))
    return arrange_sweep(make_sheet, limits=limits, measure=measure, **options), sheets[-1]


def texts_of(page):
    return [text.text.strip() for text in page.texts]


def headers(page):
    return [text.text for text in page.texts if text.tone == "title"]


def test_first_axis_defines_columns_second_rows_others_grids():
    sweep = sweep_of(axis("3::cfg", [2, 4]), axis("3::steps", [5, 6, 7]), axis("3::scheduler", ["normal", "karras"]))
    page, sheet = page_and_sheet(sweep)
    assert [len(sheet.panels), len(sheet.panels[0].cells), len(sheet.panels[0].cells[0])] == [2, 3, 2]
    position = {box.tile.cell: (box.x, box.y) for box in page.boxes}
    number_at = {cell.at: cell.number for cell in sweep.cells}
    assert position[number_at[0, 0, 0]][0] < position[number_at[1, 0, 0]][0]
    assert position[number_at[0, 0, 0]][1] == position[number_at[1, 0, 0]][1]
    assert position[number_at[0, 0, 0]][1] < position[number_at[0, 1, 0]][1]
    assert {"cfg", "steps", "normal", "karras", "s1.1", "s1.12"} <= set(texts_of(page))


def test_layout_names_axes_and_the_others_keep_their_order():
    axes = Axes({}, (axis("3::cfg", [1, 2]), axis("3::steps", [1, 2]), axis("seed", [1, 2])), (), ())
    assert [axis_ and axis_.name for axis_ in choose_axes(axes, {"x": "seed", "y": None, "z": None})[:2]] == [
        "seed",
        "3::cfg",
    ]
    assert choose_axes(axes, {"x": "steps", "y": "cfg"})[0].name == "3::steps", "an axis can be named without its node"
    x, y, further = choose_axes(axes, {"z": "3::cfg"})
    assert (x.name, y.name, [axis_.name for axis_ in further]) == ("3::steps", "seed", ["3::cfg"])
    with pytest.raises(RefError, match="Did you mean 3::steps"):
        choose_axes(axes, {"x": "3::step"})
    with pytest.raises(RefError, match="both x and z"):
        choose_axes(axes, {"x": "cfg", "z": "3::cfg"})


def test_long_texts_become_letters_and_different_words_are_bold():
    values = [
        LONG.format("purple galaxy", "noon"),
        LONG.format("green sea", "noon"),
        LONG.format("purple galaxy", "night"),
    ]
    page, sheet = page_and_sheet(sweep_of(axis("6::text", values), axis("3::cfg", [1, 2])))
    assert headers(page)[:3] == ["A", "B", "C"]
    legend = {index: paragraph for name, index, paragraph in sheet.legend}
    assert "".join(part.text for part in legend[1].parts).split() == ["B", "text", *values[1].split()]
    strong = " ".join(part.text for part in legend[1].parts if part.tone == "strong")
    assert "green sea" in " ".join(strong.split())
    assert "scenery" not in strong


def test_labels_are_headings_and_the_legend_has_their_texts():
    page, sheet = page_and_sheet(
        sweep_of(axis("6::text", [LONG.format("a", "b"), LONG.format("c", "d")], ["day", "night"]))
    )
    assert headers(page)[:2] == ["day", "night"]
    assert ["".join(part.text for part in paragraph.parts)[:5] for _, _, paragraph in sheet.legend] == [
        "day  ",
        "night",
    ]


def test_the_legend_has_the_params_of_a_preset():
    values = (
        AxisValue({"3::cfg": 4, "3::sampler_name": "euler"}, "soft", True),
        AxisValue({"3::cfg": 8}, "crisp", True),
    )
    _, sheet = page_and_sheet(sweep_of(Axis("look", "preset", ("3::cfg", "3::sampler_name"), values)))
    texts = ["".join(part.text for part in paragraph.parts) for _, _, paragraph in sheet.legend]
    assert texts == ["soft  cfg 4 \N{MIDDLE DOT} sampler_name euler", "crisp  cfg 8"]


def test_the_title_has_the_params_that_all_cells_share():
    sweep = sweep_of(
        axis("3::cfg", [1, 2]),
        fixed={"3::steps": 20, "6::text": LONG.format("x", "y")},
        seeds=(SeedWord(("3::seed",), "random"),),
        set_params=("3::steps", "6::text", "3::cfg", "3::seed"),
    )
    _, sheet = page_and_sheet(sweep)
    title = "".join(part.text for part in sheet.head[0].parts)
    assert title == "s1 bottles · default · steps 20 · seed 1234567890 (generated)"
    assert "".join(part.text for part in sheet.head[1].parts) == f"text {LONG.format('x', 'y')}"
    assert "cfg" not in title


def test_replaced_words_are_bold_in_the_title():
    text = "a glass bottle on a beach"
    values = tuple(
        AxisValue({"6::text": text.replace("bottle", word)}, word, False, word) for word in ("bottle", "vase")
    )
    sweep = sweep_of(Axis("bottle", "replace", ("6::text",), values), texts={"6::text": text}, set_params=("6::text",))
    _, sheet = page_and_sheet(sweep)
    assert [(part.text, part.tone) for part in sheet.head[1].parts][1:] == [
        ("a glass ", "text"), ("bottle", "strong"), (" on a beach", "text")
    ]  # fmt: skip
    assert sheet.x.name == '"bottle"'


def test_generated_seeds_are_below_their_index_if_all_of_them_fit():
    seeds = Axis("3::seed", "seeds", ("3::seed",), tuple(AxisValue({}, str(n)) for n in range(1, 4)))
    draws = iter([18446744073709551615, 7, 8])
    all_axes = Axes({}, (seeds,), (), ("3::seed",))
    cells = expand(all_axes, workflow_content="w", identity="i", seed_of=lambda key, fields: next(draws))
    sweep = SimpleNamespace(axes=all_axes, cells=cells, workflow="w", name=None, ref="s1", record=object())
    page, _ = page_and_sheet(sweep)
    assert {"1", "2", "3", "18446744073709551615", "7", "8"} <= set(texts_of(page))
    narrow, _ = page_and_sheet(sweep, images=[((64, 64),)])
    assert "7" not in texts_of(narrow)


def test_heading_that_does_not_fit_becomes_a_letter():
    page, sheet = page_and_sheet(
        sweep_of(axis("3::cfg", [12345678901234567890 + n for n in range(12)]), axis("3::steps", [1, 2])),
        width_px=500,
    )
    assert headers(page)[:3] == ["A", "B", "C"]
    assert any(
        "12345678901234567890" in "".join(part.text for part in paragraph.parts) for _, _, paragraph in sheet.legend
    )


def test_cells_of_one_axis_fill_several_rows_with_a_heading_each():
    page, _ = page_and_sheet(sweep_of(axis("3::seed", list(range(10)))))
    assert len({box.y for box in page.boxes}) == 3
    assert len({box.x for box in page.boxes}) == 4
    assert headers(page) == [str(n) for n in range(10)]
    assert texts_of(page).count("seed") == 1


def test_high_and_narrow_grid_continues_in_more_columns():
    page, _ = page_and_sheet(sweep_of(axis("3::cfg", [1, 2]), axis("3::seed", list(range(60)))), images=[((512, 512),)])
    assert page.of == 1
    assert len(page.boxes) == 120
    assert texts_of(page).count("seed") == texts_of(page).count("cfg") > 1
    labels = [text for text in headers(page) if int(text) > 2]
    assert sorted(map(int, labels)) == list(range(3, 60)), "each row has its label once"


def test_sweep_without_axes_has_one_cell():
    page, _ = page_and_sheet(sweep_of(fixed={"3::cfg": 4}))
    assert len(page.boxes) == 1


@pytest.mark.parametrize(
    "shape", [(1,), (3,), (7,), (40,), (2, 2), (4, 3), (12, 12), (30, 3), (2, 60), (3, 2, 5), (2, 2, 2, 3)]
)
@pytest.mark.parametrize("image", [(512, 512), (1024, 512), (64, 64), (384, 1024)])
def test_cells_never_overlap_and_stay_on_the_page(shape, image):
    sweep = sweep_of(*(axis(f"3::axis{n}", list(range(size))) for n, size in enumerate(shape)))
    page, _ = page_and_sheet(sweep, images=[(image,)])
    assert len(page.boxes) == len(sweep.cells)
    assert page.height <= PAGE_PX
    for box in page.boxes:
        assert box.x >= 20
        assert box.x + box.width <= page.width - 20 <= 1180
        assert box.y + box.height <= page.height
    rectangles = sorted((box.y, box.x, box.height, box.width) for box in page.boxes)
    for first, second in pairwise(rectangles):
        assert second[0] >= first[0] + first[2] or second[1] >= first[1] + first[3]
    for text in page.texts:
        assert text.x >= 0
        assert text.x + measure(text.text, text.tone) <= page.width
        assert 0 <= text.y <= page.height - LINE_PX


def test_pages_of_1000_cells_contain_each_cell_once():
    sweep = sweep_of(axis("3::cfg", list(range(25))), axis("3::steps", list(range(40))))
    first, _ = page_and_sheet(sweep, images=[((512, 512),)])
    assert first.of > 1
    cells_on_pages = []
    for number in range(1, first.of + 1):
        page, _ = page_and_sheet(sweep, images=[((512, 512),)], page=number)
        assert page.height <= PAGE_PX + LINE_PX
        assert any(text.startswith(f"page {number} of {first.of}") for text in texts_of(page))
        cells_on_pages += [box.tile.cell for box in page.boxes]
    assert sorted(cells_on_pages) == list(range(1, 1001))
    with pytest.raises(SettingsError, match="there is no page 99"):
        page_and_sheet(sweep, page=99)


def test_legend_of_a_page_has_only_the_values_of_that_page():
    texts = [f"{LONG.format(n, n)} and {n}" for n in range(40)]
    sweep = sweep_of(axis("3::cfg", list(range(12))), axis("6::text", texts))
    first, sheet = page_and_sheet(sweep, images=[((512, 512),)])
    assert first.of > 1
    rows = {cell.at[1] for cell in sweep.cells if cell.number in {box.tile.cell for box in first.boxes}}
    letters = {sheet.y.values[row].text for row in rows}
    legend = {text.text.strip() for text in first.texts if text.tone == "strong" and text.x < 21 and len(text.text) < 5}
    assert legend == letters


def test_cell_has_the_size_of_its_mosaic_and_never_enlarges_images():
    limits = PageLimits(1200)
    assert cell_size([((64, 64),)], 256, limits) == (96, 64)
    assert cell_size([((1024, 512),)], 256, limits) == (256, 128)
    assert cell_size([((512, 512),) * 3], 256, limits) == (256, 256)
    assert cell_size([((512, 256),) * 2], 256, limits) == (256, 64)
    assert cell_size([], 700, limits) == (256, 256)


# -- ratings and scores -----------------------------------------------------------------------------------------------


def reviewed(sweep, reviews, **options):
    """Return the page of a sweep with these reviews, by the number of the cell."""
    limits = PageLimits(options.pop("width_px", 1200))
    return arrange_sweep(
        lambda lettered: sheet_of_sweep(sweep, DEFAULT_LAYOUT, lettered=lettered, reviews=reviews),
        limits=limits,
        measure=measure,
        **options,
    )


def review(rating=None, *, rejected=False, note="", **scores):
    values = {name: Score(value) for name, value in scores.items()}
    return write_review(Review(Rating(rating, rejected, note), scores=values))


def test_marks_do_not_move_the_cells():
    sweep = sweep_of(axis("3::cfg", range(4)), axis("3::steps", range(3)))
    marked = {number: review(5, rejected=True, sharpness=0.312) for number in range(1, 13)}
    assert reviewed(sweep, marked).boxes == reviewed(sweep, {}).boxes
    assert (reviewed(sweep, marked).width, reviewed(sweep, marked).height) == (
        reviewed(sweep, {}).width,
        reviewed(sweep, {}).height,
    )


@pytest.mark.parametrize("count", [2, 12, 60, 150])
def test_no_text_below_a_cell_is_wider_than_the_cell(count):
    sweep = sweep_of(axis("3::cfg", range(count)))
    marked = {number: review(5, rejected=True, sharpness=0.312, aesthetic=5.25) for number in range(1, count + 1)}
    page = reviewed(sweep, marked)
    boxes = {box.tile.cell: box for box in page.boxes}
    below = [text for text in page.texts if text.text.startswith(("\N{MULTIPLICATION SIGN}", "sharpness", "aesthetic"))]
    assert len(below) >= len(boxes)
    for text in below:
        box = next(box for box in boxes.values() if box.x <= text.x < box.x + box.width and text.y > box.y)
        assert text.x + measure(text.text, text.tone) <= box.x + box.width


def test_notes_are_below_the_grid_and_only_those_of_the_page():
    sweep = sweep_of(axis("3::cfg", range(400)))
    marked = {1: review(note="first"), 400: review(note="last  \n one")}
    first, last = reviewed(sweep, marked), reviewed(sweep, marked, page=reviewed(sweep, marked).of)
    assert any("first" in text for text in texts_of(first))
    assert not any("one" in text for text in texts_of(first))
    assert any("last one" in text for text in texts_of(last))
    assert first.height <= PAGE_PX
