"""Small images in the column and row headers of an image axis, in a new sweep and one of the history."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from comflowy_nb import connect
from comflowy_nb.notebook.display.grids import SweepGrid

COLOURS = {"red": (220, 0, 0), "green": (0, 200, 0), "blue": (0, 0, 210)}


@pytest.fixture
def invert(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "x.png"}},
        "2": {"class_type": "ImageScaleBy", "inputs": {"image": ["1", 0], "upscale_method": "area", "scale_by": 1.0}},
        "3": {"class_type": "ImageInvert", "inputs": {"image": ["2", 0]}},
        "4": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "inverted"}},
    }
    (tmp_path / "invert.json").write_text(json.dumps(graph))
    (tmp_path / "refs").mkdir()
    for name, colour in COLOURS.items():
        Image.new("RGB", (120, 80), colour).save(tmp_path / "refs" / f"{name}.png")
    return "invert.json"


def inputs(page):
    return [box for box in page.boxes if box.tile.input_image is not None]


def seen(grid):
    """Return the colour at the middle of each header image, by name."""
    painting = grid.paint(scale=1)
    return {
        box.tile.input_image.name.partition(".")[0]: painting.paper.getpixel((box.x + 10, box.y + 10))
        for box in inputs(painting.page)
    }


def near(one, other):
    return all(abs(a - b) < 12 for a, b in zip(one, other, strict=True))


def overlaps(grid):
    page = grid.paint(scale=1).page
    for thumb in inputs(page):
        for box in page.boxes:
            if (
                box is not thumb
                and thumb.x < box.x + box.width
                and box.x < thumb.x + thumb.width
                and thumb.y < box.y + box.height
                and box.y < thumb.y + thumb.height
            ):
                return True
        for text in page.texts:
            if thumb.x <= text.x < thumb.x + thumb.width and thumb.y < text.y + 10 < thumb.y + thumb.height:
                return True
    return False


@pytest.mark.parametrize("side", ["x", "y"])
def test_each_value_shows_its_image_and_its_name(comfy, invert, side):
    with connect(f"home={comfy.url}") as client:
        sweep = client.sweep(invert, {"1::image": "file:refs/*.png", "2::scale_by": [0.5, 1.0]}, **{side: "1::image"})
        grid = SweepGrid(sweep)
        found = seen(grid)
        assert found.keys() == COLOURS.keys()
        assert all(near(found[name], colour) for name, colour in COLOURS.items())
        assert not overlaps(grid)
        texts = {text.text for text in grid.paint(scale=1).page.texts}
        assert {"red.png", "green.png", "blue.png"} <= texts
        assert grid.figure is not None


def test_a_sweep_of_the_history_shows_header_images_after_their_files_are_deleted(comfy, invert, tmp_path):
    with connect(f"home={comfy.url}") as client:
        client.sweep(invert, {"1::image": "file:refs/*.png"}, name="gone")
    for file in (tmp_path / "refs").iterdir():
        file.unlink()
    from comflowy_nb.library import open_library

    library = open_library()
    found = seen(SweepGrid(library.sweep(library.find("gone").sweep)))
    assert all(near(found[name], colour) for name, colour in COLOURS.items())
    for kept in library.inputs.iterdir():
        kept.unlink()
    found = seen(SweepGrid(library.sweep(library.find("gone").sweep)))
    assert set(found.values()) == {(255, 255, 255)}  # the names are shown


def test_an_axis_of_other_values_has_no_header_images(comfy, invert):
    with connect(f"home={comfy.url}") as client:
        grid = SweepGrid(client.sweep(invert, {"1::image": "file:refs/red.png", "2::scale_by": [0.5, 1.0]}))
        assert inputs(grid.paint(scale=1).page) == []


def test_a_narrow_cell_has_a_narrow_header_image(comfy, invert, tmp_path):
    for number in range(24):
        Image.new("RGB", (40, 40), (number * 10, 0, 0)).save(tmp_path / "refs" / f"many{number}.png")
    with connect(f"home={comfy.url}") as client:
        grid = SweepGrid(client.sweep(invert, {"1::image": "file:refs/many*.png", "2::scale_by": [0.5, 1.0]}))
        page = grid.paint(scale=1).page
        assert len(inputs(page)) == 24
        assert max(thumb.x + thumb.width for thumb in inputs(page)) <= page.width
        assert not overlaps(grid)
