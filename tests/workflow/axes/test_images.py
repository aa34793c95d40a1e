from __future__ import annotations

import pytest
from PIL import Image

from comflowy_nb.errors import ImageError
from comflowy_nb.workflow.axes.images import (
    label_images,
    open_images,
    pattern_in,
    read_image,
    save_image,
)
from comflowy_nb.workflow.images import InputImage, input_of, open_input


@pytest.fixture
def refs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "refs" / "deep").mkdir(parents=True)
    for shade, name in enumerate(("x10.png", "x2.png", "[1].png", "deep/x2.png")):
        Image.new("L", (4, 4), shade).save(tmp_path / "refs" / name)
    return tmp_path / "refs"


def image(source="", sha256="0" * 64, name="p.png"):
    return InputImage(name, sha256, lambda: b"", source)


@pytest.mark.usefixtures("refs")
def test_a_pattern_is_recognised_only_after_file_and_not_for_an_existing_file():
    assert pattern_in("file:refs/*.png") == "refs/*.png"
    for text in ("refs/*.png", "file:refs/x2.png", "file:refs/[1].png", "a photo: of *", "run:r41[0]"):
        assert pattern_in(text) is None, "the path of an existing file is not a pattern"


@pytest.mark.usefixtures("refs")
def test_matches_are_in_natural_order():
    assert [one.name for one in open_images("refs/x*.png")] == ["x2.png", "x10.png"]
    assert [one.source for one in open_images("refs/**/x2.png")] == ["refs/deep/x2.png", "refs/x2.png"]


def test_a_pattern_in_the_home_folder(refs, monkeypatch):
    monkeypatch.setenv("HOME", str(refs))
    pattern = pattern_in("file:~/x*.png")
    assert [one.name for one in open_images(pattern)] == ["x2.png", "x10.png"]


def test_errors_name_a_pattern_without_a_match_and_a_file_that_is_not_an_image(refs):
    with pytest.raises(ImageError, match=r"no file matches 'refs/\*\.jpg'"):
        open_images("refs/*.jpg")
    (refs / "x3.png").write_text("no image")
    with pytest.raises(ImageError, match=r"x3\.png is not an image"):
        open_images("refs/x*.png")


def test_labels_have_as_few_folders_as_make_them_unique():
    sources = ["/mine/a/day/sky.png", "b/day/sky.png", "night/sky.png", "tree.png"]
    assert label_images([image(source) for source in sources]) == [
        "a/day/sky.png", "b/day/sky.png", "night/sky.png", "tree.png",
    ]  # fmt: skip
    assert label_images([image("r41[0]"), image("r41[1]")]) == ["r41[0]", "r41[1]"]
    assert label_images([image("sky.png"), image("sky.png")]) == ["sky.png (1)", "sky.png (2)"]


def test_an_image_without_a_name_is_labelled_by_its_position(refs):
    red, blue = (Image.new("RGB", (4, 4), color) for color in ("red", "blue"))
    given = [input_of(red), input_of(Image.open(refs / "x2.png")), input_of(blue)]
    assert label_images(given) == ["image 1", "x2.png", "image 3"]


def test_an_image_saved_with_a_sweep_file_keeps_its_name(refs, tmp_path):
    given = open_input(refs / "x2.png")
    again = read_image(tmp_path, save_image(tmp_path / "night.yaml", given))
    assert again == given
    assert label_images([again]) == ["x2.png"]
