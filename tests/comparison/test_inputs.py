"""Items that can be compared, and the errors for other items."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from comflowy_nb.comparison.inputs import read_images
from comflowy_nb.errors import ImageError, RefError
from comflowy_nb.images.save import save_run
from comflowy_nb.status import Status


def plain(cell):
    return [Image.new("RGB", (96, 64), (cell.number, 0, 0))]


def two_each(cell):
    return [Image.new("RGB", (96, 64), (cell.number, index, 0)) for index in range(2)]


@pytest.fixture
def sweep(make_sweep, axis):
    """Create a sweep of two cells with one image each: s1.1 is r1, s1.2 is r2."""
    return make_sweep(axis("3::cfg", 4, 8), images=plain)


@pytest.fixture
def read(library):
    return lambda *items: read_images(items, find=library.find)


def names(images):
    return [each.name for each in images]


def test_runs_cells_references_and_run_images_are_compared(sweep, read):
    first, other = sweep.cells
    assert names(read(first.run, other)) == ["r1", "s1.2"]
    assert names(read("r1", "s1.2")) == ["r1", "s1.2"]
    assert names(read("r1[0]", "s1.2[0]", other.run.images[0])) == ["r1", "s1.2[0]", "r2"]
    assert names(read([first.run, other.run])) == ["r1", "r2"]
    assert read("r1", "r2")[1].known_fields.params == {"3::cfg": 8}
    assert read("r1", "r2")[1].open().getpixel((0, 0)) == (2, 0, 0)


def test_the_first_image_of_a_run_with_several_is_compared_with_a_warning(make_sweep, axis, read):
    make_sweep(axis("3::cfg", 4, 8), images=two_each)
    first, second, third = read("r1", "r2[1]", "s1.2")
    assert first.name == "r1[0]"
    assert first.warning == "r1 has 2 images: its first, r1[0], is compared."
    assert (second.name, second.warning) == ("r2[1]", None)
    assert second.open().getpixel((0, 0)) == (2, 1, 0)
    assert third.name == "s1.2[0]"


def test_files_images_and_arrays_are_compared(tmp_path, read):
    path = tmp_path / "mine.jpg"
    Image.new("RGB", (30, 20), "red").save(path)
    image = Image.new("RGB", (10, 20), "blue")
    array = np.zeros((5, 6, 3), np.uint8)
    images = read(path, str(path), Image.open(path), image, array)
    assert names(images) == ["mine.jpg", "mine.jpg", "mine.jpg", "image 4", "image 5"]
    assert [each.size for each in images] == [(30, 20)] * 3 + [(10, 20), (6, 5)]
    assert not any(each.known_fields.is_known for each in images)
    image.paste("white", (0, 0, 10, 20))
    assert images[3].open().getpixel((0, 0)) == (0, 0, 255), "it is the image that was given"


def test_the_params_of_a_saved_copy_are_known(sweep, library, tmp_path, read):
    (copy,) = save_run(sweep.cells[1].run.record, library.folder, tmp_path / "saved")
    _, saved = read("r1", copy)
    assert saved.name == copy.name
    assert saved.known_fields.params == {"3::cfg": 8}


def test_the_values_in_the_graph_of_an_image_are_known(tmp_path, read):
    notes = PngInfo()
    sampler = {"class_type": "KSampler", "inputs": {"cfg": 8, "model": ["4", 0]}}
    notes.add_text("prompt", json.dumps({"3": sampler, "4": {"class_type": "Loader", "inputs": {}}}))
    path = tmp_path / "a.png"
    Image.new("RGB", (4, 4)).save(path, pnginfo=notes)
    assert read(path, path)[0].known_fields.everything == {"3::cfg": 8}


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([], "a comparison takes 2 to 9 images, not 0: %comflowy compare r41 r43"),
        (["r1"], "compare needs at least two images: %comflowy compare r1 REF"),
        (["s1.1"], "compare needs at least two images: %comflowy compare s1.1 s1.2"),
        (["s1.2"], "compare needs at least two images: %comflowy compare s1.2 s1.1"),
        (["r1[0]"], "compare needs at least two images: %comflowy compare r1[0] REF"),
        (["r1"] * 11, "a comparison takes 2 to 9 images, not 11: %comflowy compare r41 r43"),
        (["s1"], "s1 is a sweep of 2 cells; name some of them: %comflowy compare s1.1 s1.2"),
        (["s1", "r1"], "s1 is a sweep of 2 cells; name some of them: %comflowy compare s1.1 s1.2"),
        (["r1", "r9"], "there is no run r9; %comflowy runs lists them"),
        (["r1", "r1[3]"], "r1 has 1 image, so there is no r1[3]"),
        (["r1", "a b"], "invalid reference 'a b'"),
    ],
)
def test_too_few_or_too_many_images_and_invalid_references_are_errors(sweep, read, items, message):
    with pytest.raises(RefError) as caught:
        read(*items)
    assert str(caught.value).startswith(message)


def test_one_run_with_several_images_is_an_error_that_shows_how_to_compare_them(make_sweep, axis, read):
    make_sweep(axis("3::cfg", 4, 8), images=two_each)
    with pytest.raises(RefError, match=r"^r1 alone has 2 images; .*: %comflowy compare r1\[0\] r1\[1\]$"):
        read("r1")


def test_runs_that_are_live_or_have_no_images_are_errors(make_sweep, axis, read):
    ends = {1: Status.FAILED, 2: Status.SUBMITTING, 3: None}
    sweep = make_sweep(axis("3::cfg", 4, 6, 8, 9), ends=ends, images=plain)
    with pytest.raises(RefError, match=r"^r1 has no images to compare \(failed: no luck with 1\)$"):
        read("s1.4", "r1")
    with pytest.raises(RefError, match=r"^r2 is not done \(submitting\); %comflowy show r2 waits for its images$"):
        read("s1.4", "s1.2")
    with pytest.raises(RefError, match=r"^s1\.3 has no run: .* To submit it, run the sweep again$"):
        read("s1.4", sweep.cells[2])
    with pytest.raises(RefError, match=r"^s1 is a sweep of 4 cells"):
        read("s1.4", sweep)


def test_missing_files_are_errors(sweep, library, tmp_path, read):
    with pytest.raises(ImageError, match=r"^there is no file or run 'nothing.png'$"):
        read("r1", "nothing.png")
    with pytest.raises(ImageError, match=r"^there is no file 'gone.jpg'$"):
        read("r1", tmp_path / "gone.jpg")
    shutil.rmtree(library.folder)
    with pytest.raises(ImageError, match=r"^the image r2\[0\] is not on disk; %comflowy show r2 fetches it again$"):
        read("r2", "r1")


def test_an_item_that_is_not_an_image_is_named_by_its_position(sweep, tmp_path, read):
    text = tmp_path / "notes.txt"
    text.write_text("hello")
    with pytest.raises(ImageError, match=r"^notes.txt can't be read as an image: use a PNG, JPEG or WebP file$"):
        read("r1", text)
    with pytest.raises(
        ImageError,
        match=r"^image 2 of the comparison: an object of type dict is not an image: use ",
    ):
        read("r1", {})
    with pytest.raises(ImageError, match=r"^image 1 of the comparison: an array of int64 is not an image"):
        read(np.zeros((3, 3), np.int64), "r1")
