"""The images of an axis, small in its headers: across, down, and in a sweep of the history."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from comflowy_nb import connect
from comflowy_nb.notebook.display.sweep_grid import SweepGrid

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


def seen(grid):
    """The colours at the middle of the small images, by name, as the grid was painted."""
    painting = grid.paint(scale=1)
    thumbs = painting.page.thumbs
    return {
        thumb.image.name.partition(".")[0]: painting.paper.getpixel((thumb.x + 10, thumb.y + 10)) for thumb in thumbs
    }


def near(one, other):
    return all(abs(a - b) < 12 for a, b in zip(one, other, strict=True))


def overlaps(grid):
    page = grid.paint(scale=1).page
    for thumb in page.thumbs:
        for slot in page.slots:
            if (
                thumb.x < slot.x + slot.width
                and slot.x < thumb.x + thumb.side
                and thumb.y < slot.y + slot.height
                and slot.y < thumb.y + thumb.side
            ):
                return True
        for words in page.words:
            if words.x < thumb.x + thumb.side and thumb.x <= words.x and thumb.y < words.y + 10 < thumb.y + thumb.side:
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
        words = {words.text for words in grid.paint(scale=1).page.words}
        assert {"red.png", "green.png", "blue.png"} <= words
        assert grid.figure is not None


def test_a_sweep_of_the_history_shows_them_though_the_files_are_gone(comfy, invert, tmp_path):
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
    assert set(found.values()) == {(255, 255, 255)}  # the names stand there all the same


def test_an_axis_of_anything_else_has_no_images(comfy, invert):
    with connect(f"home={comfy.url}") as client:
        grid = SweepGrid(client.sweep(invert, {"1::image": "file:refs/red.png", "2::scale_by": [0.5, 1.0]}))
        assert grid.paint(scale=1).page.thumbs == []


def test_a_narrow_cell_has_a_narrow_image(comfy, invert, tmp_path):
    for number in range(24):
        Image.new("RGB", (40, 40), (number * 10, 0, 0)).save(tmp_path / "refs" / f"many{number}.png")
    with connect(f"home={comfy.url}") as client:
        grid = SweepGrid(client.sweep(invert, {"1::image": "file:refs/many*.png", "2::scale_by": [0.5, 1.0]}))
        page = grid.paint(scale=1).page
        assert len(page.thumbs) == 24
        assert max(thumb.x + thumb.side for thumb in page.thumbs) <= page.width
        assert not overlaps(grid)
