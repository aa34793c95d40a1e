from __future__ import annotations

import errno
import json
import re
import time
import zipfile
from dataclasses import replace

import pytest
from PIL import Image, ImageChops, ImageStat

from comflowy_nb.errors import ImageError, SettingsError
from comflowy_nb.images.receive import image_path
from comflowy_nb.layout.text import LINE_PX
from comflowy_nb.painting.cell_states import draw_panel
from comflowy_nb.painting.text import measure
from comflowy_nb.status import Status
from comflowy_nb.sweeps import save as save_sweep
from comflowy_nb.sweeps.headings import cell_state_of
from comflowy_nb.sweeps.sweep_painting import draw_contact_sheets
from comflowy_nb.workflow.axes.types import Axis, AxisValue
from comflowy_nb.workflow.image_metadata import metadata_of_image


def texts_of(sweep):
    """Return all texts on the contact sheets of a sweep as (text, x, y, width), in pixels."""
    return [
        (text.text, 2 * text.x, 2 * text.y, 2 * measure(text.text, text.tone))
        for painting in draw_contact_sheets(sweep)
        for text in painting.page.texts
    ]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def read_json(folder):
    return json.loads((folder / "sweep.json").read_text())


def middle_of(sheet, number):
    """Return the middle of the pixels in a cell's colour on a sheet."""
    colour = (number * 53 % 256, number * 101 % 256, number * 197 % 256)
    small = sheet.convert("RGB")
    pixels = small.load()
    positions = [
        (x, y)
        for y in range(0, small.height, 4)
        for x in range(0, small.width, 4)
        if all(abs(a - b) < 9 for a, b in zip(pixels[x, y], colour, strict=True))
    ]
    assert len(positions) > 50, f"cell {number} is not on the sheet"
    return sum(x for x, _ in positions) / len(positions), sum(y for _, y in positions) / len(positions)


def test_copies_are_named_by_the_values_that_vary(make_sweep, axis, tmp_path):
    sweep = make_sweep(
        axis("3::cfg", 4, 6.5), axis("prompt", field="6::text", day="beautiful scenery, noon"), fixed={"3::steps": 20}
    )
    paths = sweep.save(tmp_path / "new" / "out")
    assert [path.name for path in paths] == [
        "s1.1_cfg-4_prompt-day_steps-20.png",
        "s1.2_cfg-6.5_prompt-day_steps-20.png",
        "contact_sheet.jpg",
        "sweep.json",
    ]
    assert names(tmp_path / "new" / "out") == sorted(path.name for path in paths)
    for cell, path in zip(sweep.cells, paths[:2], strict=True):
        with Image.open(path) as copy:
            assert copy.convert("RGB").tobytes() == cell.images[0].pil().convert("RGB").tobytes()
            metadata = json.loads(copy.text["comflowy"])
        assert metadata["params"] == dict(cell.params)
        assert (metadata["sweep"], metadata["cell"], metadata["labels"]) == ("s1", cell.ref, dict(cell.labels))
        assert metadata_of_image(path).params == dict(cell.params)


def test_names_sort_by_number_and_contain_the_generated_seed(make_sweep, tmp_path):
    seeds = Axis("3::seed", "seeds", ("3::seed",), tuple(AxisValue({}, str(n)) for n in range(1, 12)))
    paths = make_sweep(seeds).save(tmp_path / "out")
    assert [path.name for path in paths[:2]] == ["s1.01_seed-1000.png", "s1.02_seed-1001.png"]
    assert names(tmp_path / "out")[1:12] == [path.name for path in paths[:11]]


def test_long_texts_with_the_same_beginning_are_named_by_their_differences(make_sweep, axis, tmp_path):
    start = "beautiful scenery nature glass bottle landscape, purple galaxy bottle,"
    paths = make_sweep(axis("6::text", f"{start} noon", f"{start} midnight and stars")).save(tmp_path)
    assert [path.name for path in paths[:2]] == ["s1.1_text-noon.png", "s1.2_text-midnight-and-stars.png"]


def test_fields_of_the_same_name_have_their_node(make_sweep, axis, tmp_path):
    sweep = make_sweep(axis("6::text", "a/b"), axis("7::text", "../c"))
    assert sweep.save(tmp_path)[0].name == "s1.1_text-a-b_text-c.png"


def test_several_images_of_a_cell_are_numbered(make_sweep, axis, tmp_path):
    sweep = make_sweep(axis("3::cfg", 4), images=lambda _: [Image.new("RGB", (20, 20), c) for c in ("red", "blue")])
    assert [path.name for path in sweep.save(tmp_path)[:2]] == ["s1.1_cfg-4_0.png", "s1.1_cfg-4_1.png"]


def test_sweep_json_has_spec_counts_cells_and_images(make_sweep, axis, tmp_path):
    ends = {2: Status.FAILED, 3: None, 4: Status.SUBMITTING}
    sweep = make_sweep(axis("3::cfg", 4, 6, 8, 10), ends=ends, name="bottles", layout={"x": "3::cfg"})
    sweep.save(tmp_path)
    content = read_json(tmp_path)
    assert (content["ref"], content["name"], content["sweep"]) == ("s1", "bottles", sweep.token)
    assert content["spec"]["axes"][0]["name"] == "3::cfg"
    assert content["counts"] == {"submitting": 1, "success": 1, "failed": 1, "not submitted": 1}
    first, failed, waiting, _ = content["cells"]
    assert (first["ref"], first["at"], first["labels"], first["params"]) == (
        "s1.1",
        [0],
        {"3::cfg": "4"},
        {"3::cfg": 4},
    )
    assert (first["run"]["ref"], first["run"]["service_run_id"]) == ("r1", "id1")
    assert first["images"][0]["file"] == "s1.1_cfg-4.png"
    assert first["images"][0]["sha256"] == sweep.cells[0].run.record.images[0].sha256
    assert (failed["status"], failed["error"], failed["images"]) == ("failed", "no luck with 2", [])
    assert (waiting["status"], "run" in waiting) == ("not submitted", False)
    assert "127.0.0.1" not in (tmp_path / "sweep.json").read_text()


def test_contact_sheet_shows_each_cell_in_its_row_and_column(make_sweep, axis, tmp_path):
    sweep = make_sweep(axis("3::cfg", 4, 6, 8), axis("3::sampler_name", "euler", "heun"))
    sheet = Image.open(sweep.save(tmp_path)[-2])
    middles = [middle_of(sheet, cell.number) for cell in sweep.cells]
    for cell, (x, y) in zip(sweep.cells, middles, strict=True):
        column, row = cell.at
        assert x == pytest.approx(middles[column * 2][0], abs=6)
        assert y == pytest.approx(middles[row][1], abs=6)
    assert middles[0][0] < middles[2][0] < middles[4][0]
    assert middles[0][1] < middles[1][1]
    positions = {text: (x, y) for text, x, y, _ in texts_of(sweep)}
    for column, label in enumerate(("4", "6", "8")):
        assert abs(positions[label][0] - middles[column * 2][0]) < 120
        assert positions[label][1] < middles[0][1] - 32
    for row, label in enumerate(("euler", "heun")):
        assert positions[label][0] < middles[0][0] - 48
        assert abs(positions[label][1] - middles[row][1]) < 60
    assert {f"s1.{n}" for n in range(1, 7)} <= set(positions)


def test_the_layout_option_swaps_columns_and_rows_of_the_sheet(make_sweep, axis, tmp_path):
    sweep = make_sweep(axis("3::cfg", 4, 6, 8), axis("3::sampler_name", "euler", "heun"), layout={"x": "sampler_name"})
    sheet = Image.open(sweep.save(tmp_path)[-2])
    first, second, third = (middle_of(sheet, number) for number in (1, 2, 3))
    assert second[0] > first[0] + 50
    assert third[1] > first[1] + 50


def test_a_third_axis_makes_one_grid_for_each_value(make_sweep, axis, tmp_path):
    sweep = make_sweep(axis("3::cfg", 4, 6), axis("3::seed", 1, 2), axis("6::text", day="at noon", night="stars"))
    sheet = Image.open(sweep.save(tmp_path)[-2])
    day, night, below = (middle_of(sheet, number) for number in (1, 2, 3))
    assert day[1] == pytest.approx(night[1], abs=6)
    assert night[0] > day[0] + 180
    assert below[0] == pytest.approx(day[0], abs=6)
    heads = {text: x for text, x, *_ in texts_of(sweep)}
    assert heads["day"] < day[0] < heads["night"] < night[0]


def test_a_cell_without_images_shows_the_reason(make_sweep, axis, tmp_path):
    ends = {1: Status.FAILED, 2: None, 3: Status.SUBMITTING}
    sweep = make_sweep(axis("3::cfg", 4, 6, 8, 10), ends=ends)
    sheet = Image.open(sweep.save(tmp_path)[-2])
    (painting,) = draw_contact_sheets(sweep)
    for box, state in zip(painting.page.boxes, map(cell_state_of, sweep.cells), strict=True):
        if state.images:
            continue
        panel = draw_panel(state, (2 * box.width, 2 * box.height), 2, painting.palette)
        x, y = 2 * box.x, 2 * box.y
        panel_image = sheet.crop((x, y, x + panel.width, y + panel.height))
        assert ImageStat.Stat(ImageChops.difference(panel_image.convert("L"), panel.convert("L"))).mean[0] < 2


def test_long_prompts_become_letters_and_no_text_is_clipped(make_sweep, axis, tmp_path):
    texts = [f"beautiful scenery nature glass bottle landscape, purple galaxy bottle, {'very ' * 30}{word}"
             for word in ("noon", "midnight", "x" * 200)]  # fmt: skip
    sweep = make_sweep(axis("6::text", *texts), axis("7::text", "a", "ugly, " * 20))
    sheet = Image.open(sweep.save(tmp_path)[-2])
    texts_on_sheet = texts_of(sweep)
    words = [text for text, *_ in texts_on_sheet]
    assert {"A", "B", "C"} <= {word.strip() for word in words}
    assert any("midnight" in word for word in words)
    for text, x, y, width in texts_on_sheet:
        assert x >= 0, text
        assert x + width <= sheet.width, text
        assert y + 2 * LINE_PX <= sheet.height, text


def test_several_images_of_a_cell_are_a_mosaic(make_sweep, axis, tmp_path):
    colours = ["red", "lime", "blue", "yellow"]
    sweep = make_sweep(axis("3::cfg", 4), images=lambda _: [Image.new("RGB", (200, 200), c) for c in colours])
    sheet = Image.open(sweep.save(tmp_path)[-2]).convert("RGB")
    seen = {(r > 128, g > 128, b > 128) for _, (r, g, b) in sheet.resize((200, 200)).getcolors(40_000)}
    assert {(True, False, False), (False, True, False), (False, False, True), (True, True, False)} <= seen


def test_saving_again_updates_sheet_and_json_and_writes_no_copy_twice(make_sweep, axis, tmp_path):
    sweep = make_sweep(axis("3::cfg", 4, 6))
    first = sweep.save(tmp_path)
    stamp = first[0].stat().st_mtime_ns
    sweep.record = replace(sweep.record, name="best")
    assert sweep.save(tmp_path) == first
    assert first[0].stat().st_mtime_ns == stamp
    assert read_json(tmp_path)["name"] == "best"


def test_other_files_are_not_replaced(make_sweep, axis, tmp_path):
    folder = tmp_path / "out"
    make_sweep(axis("3::cfg", 4), key="one").save(folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    paths = make_sweep(axis("3::steps", 5), key="two").save(folder)
    assert [path.name for path in paths] == ["s2.1_steps-5.png", "contact_sheet (2).jpg", "sweep (2).json"]
    assert {name: (folder / name).read_bytes() for name in before} == before
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "contact_sheet.jpg").write_text("mine")
    (tmp_path / "own" / "sweep (2).json").write_text("not json")
    paths = make_sweep(axis("3::cfg", 4), key="three").save(tmp_path / "own")
    assert [path.name for path in paths[-2:]] == ["contact_sheet (3).jpg", "sweep (3).json"]
    assert (tmp_path / "own" / "contact_sheet.jpg").read_text() == "mine"


def test_missing_images_are_reported_after_everything_else_is_saved(make_sweep, axis, tmp_path, library):
    sweep = make_sweep(axis("3::cfg", 4, 6, 8))
    image = sweep.cells[1].run.record.images[0]
    image_path(library.folder, image).unlink()
    with pytest.raises(ImageError) as error:
        sweep.save(tmp_path / "out")
    assert str(error.value) == (
        "2 of 3 images saved in out; not on disk: s1.2[0]. %comflowy show s1 fetches them again"
    )
    assert names(tmp_path / "out") == ["contact_sheet.jpg", "s1.1_cfg-4.png", "s1.3_cfg-8.png", "sweep.json"]
    assert read_json(tmp_path / "out")["cells"][1]["images"][0]["file"] is None


def test_sweep_without_images_can_not_be_saved(make_sweep, axis, tmp_path):
    sweep = make_sweep(axis("3::cfg", 4, 6), ends={1: Status.FAILED, 2: None})
    with pytest.raises(ImageError, match=r"s1 has no images to save \(1 failed, 1 not submitted\)"):
        sweep.save(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_full_disk_is_reported(make_sweep, axis, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(save_sweep, "write_file", fail)
    with pytest.raises(ImageError, match=r"s1 can't be saved in out: the disk is full"):
        make_sweep(axis("3::cfg", 4)).save(tmp_path / "out")


def test_a_sheet_reads_thumbnails_and_never_an_original(make_sweep, axis, library):
    sweep = make_sweep(axis("3::cfg", 4, 6), images=lambda _: [Image.effect_noise((1200, 900), 60)])
    (before,) = draw_contact_sheets(sweep)
    for cell in sweep.cells:  # only the thumbnails exist on disk
        image_path(library.folder, cell.run.record.images[0]).write_bytes(b"")
    (after,) = draw_contact_sheets(sweep)
    assert after.paper.tobytes() == before.paper.tobytes()


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(25, 40), (1000,), (40, 25), (10, 10, 10), (1, 1000), (100, 10)])
def test_1000_cells_are_saved_on_several_sheets(make_sweep, axis, shape):
    axes = [axis(f"{n}::a{n}", *range(size)) for n, size in enumerate(shape, 3)]
    # All cells show the same image, because creating a thousand takes long.
    sweep = make_sweep(*axes, ends=dict.fromkeys(range(2, 1001)))
    for cell in sweep.cells[1:]:
        cell.run = sweep.cells[0].run
    started = time.perf_counter()
    pages, texts = [], []
    for painting in draw_contact_sheets(sweep):
        assert painting.paper.width <= 3840
        assert painting.paper.height <= 4800
        pages.append(painting.paper.size)
        texts += [text.text for text in painting.page.texts]
    print(shape, pages, f"{time.perf_counter() - started:.1f} s")
    assert 1 <= len(pages) <= 6
    cells = [text for text in texts if re.fullmatch(r"s1\.[0-9]+", text)]
    assert sorted(cells, key=lambda text: int(text[3:])) == [f"s1.{n}" for n in range(1, 1001)]
    if len(pages) > 1:
        assert any(text.startswith(f"page {len(pages)} of {len(pages)}: ") for text in texts)


def test_sweep_is_saved_as_a_zip_file(make_sweep, axis, tmp_path):
    """`sweep ... --save looks.zip` made a folder that was called looks.zip."""
    sweep = make_sweep(axis("3::cfg", 4, 6.5))
    assert sweep.save(tmp_path / "out" / "looks.zip") == [tmp_path / "out" / "looks.zip"]
    with zipfile.ZipFile(tmp_path / "out" / "looks.zip") as archive:
        assert sorted(archive.namelist()) == ["images/s1.1_cfg-4_0.png", "images/s1.2_cfg-6.5_0.png", "manifest.json"]
    assert names(tmp_path / "out") == ["looks.zip"]


@pytest.mark.parametrize(
    ("name", "text"), [("x.gif", "--along"), ("x.jpg", r"x\.zip.*x\.png"), ("x.tar.gz", r"x\.tar\.zip")]
)
def test_image_file_as_the_target_of_a_sweep_is_an_error(make_sweep, axis, tmp_path, name, text):
    sweep = make_sweep(axis("3::cfg", 4, 6.5))
    with pytest.raises(SettingsError, match=text):
        sweep.save(tmp_path / name)
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("ends", [{}, {1: Status.FAILED}, {2: Status.CANCELLED}, {2: None}, {2: Status.UNKNOWN}])
def test_sweep_json_has_the_time_of_the_end(make_sweep, axis, tmp_path, ends):
    """`sweep.json` had `"ended_at": null`: it was written from the record before the submits."""
    sweep = make_sweep(axis("3::cfg", 4, 6.5, 8), ends=ends)
    sweep.save(tmp_path)
    ended = max(
        run["finished_at"] for cell in read_json(tmp_path)["cells"] if (run := cell.get("run")) and run["finished_at"]
    )
    assert read_json(tmp_path)["ended_at"] == ended
    assert read_json(tmp_path)["created_at"] <= ended


def test_sweep_json_of_a_sweep_in_progress_has_no_end(make_sweep, axis, tmp_path):
    sweep = make_sweep(axis("3::cfg", 4, 6.5), ends={2: Status.SUBMITTING})
    sweep.save(tmp_path)
    assert read_json(tmp_path)["ended_at"] is None


def above(sheet, number):
    """Return the heading above a cell's image."""
    x, y = (int(value) for value in middle_of(sheet, number))
    pixels = sheet.convert("RGB").load()
    ink = pixels[x, y]

    def is_image(x, y):
        return all(abs(a - b) < 40 for a, b in zip(pixels[x, y], ink, strict=True))

    left, top = x, y
    while is_image(left - 1, y):
        left -= 1
    while is_image(x, top - 1):
        top -= 1
    return sheet.crop((left, top - 40, left + 60, top - 8)).convert("L")


@pytest.mark.parametrize(
    "letters",
    ["\u00c4\u00d6", "\u03a9\u03a8", "\u0416\u0429", "\u2190\u2192", "\u732b\u72ac", "\u304c\u304e", "\ud55c\uae00"],
    ids=["Latin", "Greek", "Cyrillic", "arrows", "Chinese", "Japanese", "Korean"],
)
def test_texts_in_other_scripts_are_drawn(make_sweep, axis, library, tmp_path, letters):
    """Prompts in Chinese were boxes on the contact sheet: it used only one font, which lacks these letters."""
    from comflowy_nb.painting.text import writable

    if writable(letters) != letters:
        pytest.skip(f"no font on this machine has {letters}")
    make_sweep(axis("6::text", *letters)).save(tmp_path)
    with Image.open(tmp_path / "contact_sheet.jpg") as sheet:
        first, second = (above(sheet, number) for number in (1, 2))
        assert min(first.getextrema()[0], second.getextrema()[0]) < 128, "there are headings"
        assert ImageChops.difference(first, second).getextrema()[1] > 128, "two letters look different"


def test_heading_that_does_not_fit_is_a_letter_on_the_contact_sheet(make_sweep, axis):
    """Labels that differ in their last words were cut at the same place above narrow columns."""
    labels = {f"a_label_{'of_many_letters' * 2}{number}".replace("_", ""): f"text {number}" for number in range(28)}
    texts = [text.strip() for text, *_ in texts_of(make_sweep(axis("prompt", field="6::text", **labels)))]
    assert not [text for text in texts if text.endswith("\N{HORIZONTAL ELLIPSIS}")]
    assert {"A", "AB"} <= set(texts)
    for number in range(28):
        assert any(f"letters{number} " in f"{text} " for text in texts)


def test_pruned_images_are_drawn_and_reported_as_not_on_disk(make_sweep, axis, library, tmp_path):
    make_sweep(axis("3::cfg", 4, 6))
    library.prune(0)
    sweep = library.sweep(library.find("s1").sweep)
    with pytest.raises(
        ImageError, match=r"0 of 2 images saved in out; .*%comflowy show s1 --refetch fetches them again"
    ):
        sweep.save(tmp_path / "out")
    assert (tmp_path / "out" / "contact_sheet.jpg").is_file()
