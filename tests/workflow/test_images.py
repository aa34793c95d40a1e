from __future__ import annotations

import hashlib
import io

import numpy as np
import pytest
from PIL import Image

from comflowy_nb.errors import ImageError
from comflowy_nb.settings import settings
from comflowy_nb.workflow.images import (
    InputImage,
    input_of,
    is_image,
    label_images,
    open_images,
    open_input,
    open_saved_image,
    pattern_in,
    save_image,
)


def decoded(image):
    return Image.open(io.BytesIO(image.load()))


def test_file_is_identified_by_its_content_and_read_immediately(tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGB", (3, 2), "red").save(path)
    content = path.read_bytes()
    image = open_input(path)
    path.unlink()
    assert image.content_sha256 == hashlib.sha256(content).hexdigest()
    assert image.load() == content
    assert image.name == "a.png"


def test_images_with_the_same_content_are_equal(tmp_path):
    for name in ("a.png", "b.png"):
        Image.new("RGB", (3, 2), "red").save(tmp_path / name)
    first, second = (open_input(tmp_path / name, name="x") for name in ("a.png", "b.png"))
    assert first == second


def test_file_that_is_not_an_image_is_rejected_with_a_reason(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "empty.png").write_bytes(b"")
    for name in ("notes.txt", "empty.png"):
        with pytest.raises(ImageError, match=f"{name} can't be read as an image"):
            open_input(tmp_path / name)
    with pytest.raises(ImageError, match="there is no file"):
        open_input(tmp_path / "gone.png")
    with pytest.raises(ImageError, match="is a folder, not a file"):
        open_input(tmp_path)


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"\0" * 2000)
    settings.image_max_bytes = 1024
    with pytest.raises(ImageError, match="image_max_bytes"):
        open_input(path)


def test_an_error_contains_no_path(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(ImageError) as caught:
        open_input(tmp_path / "notes.txt")
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "CMYK"])
def test_an_image_of_any_mode_becomes_a_png(mode):
    image = Image.new("RGB", (5, 4), (200, 30, 40)).convert(mode)
    input_image = input_of(image)
    assert decoded(input_image).format == "PNG"
    assert (
        np.abs(np.asarray(decoded(input_image).convert("RGB"), int) - np.asarray(image.convert("RGB"), int)).max() <= 1
    )


def test_a_python_image_is_identified_by_its_pixels(tmp_path):
    first, same, other = (
        Image.new("RGB", (4, 4), "red"),
        Image.new("RGB", (4, 4), "red"),
        Image.new("RGB", (2, 8), "red"),
    )
    same.info["comment"] = "of no account"
    assert input_of(first).content_sha256 == input_of(same).content_sha256 != input_of(other).content_sha256


def test_transparency_is_kept():
    image = Image.new("P", (2, 2), 0)
    image.info["transparency"] = 0
    assert decoded(input_of(image)).convert("RGBA").getpixel((0, 0))[3] == 0


def test_arrays_are_read_as_pixels():
    whole = np.array([[[255, 0, 0], [0, 128, 255]]], np.uint8)
    assert (np.asarray(decoded(input_of(whole))) == whole).all()
    assert input_of(whole / 255).content_sha256 == input_of(whole).content_sha256
    assert decoded(input_of(np.zeros((3, 4), np.uint8))).size == (4, 3)
    assert decoded(input_of(np.zeros((3, 4, 1), np.uint8))).mode == "L"
    assert decoded(input_of(np.zeros((3, 4, 4), np.uint8))).mode == "RGBA"
    assert input_of(whole[:, ::-1]).content_sha256 != input_of(whole).content_sha256


@pytest.mark.parametrize(
    "array",
    [np.zeros((2, 2), int), np.full((2, 2), 1.5), np.full((2, 2), np.nan), np.full((2, 2), -0.1), np.zeros((0, 4))],
)
def test_arrays_that_are_not_pixels_are_rejected(array):
    with pytest.raises(ImageError, match=r"not an image|is an image only"):
        input_of(array)


def test_files_arrays_and_pil_images_are_recognised_as_images(tmp_path):
    for value in (tmp_path, Image.new("L", (1, 1)), np.zeros((2, 2)), InputImage("a", "b", bytes)):
        assert is_image(value)
    for value in (1, "a.png", [1], np.zeros(3), np.zeros((2, 2, 7)), b"", None, {}):
        assert not is_image(value)
    with pytest.raises(ImageError):
        input_of("a.png")


def test_an_image_of_a_run_is_read_from_its_file(tmp_path):
    from comflowy_nb.tracking.run import ImageRecord, RunImage

    class Run:
        ref = "r1"

    path = tmp_path / "token_0.png"
    Image.new("RGB", (3, 2), "red").save(path)
    image = RunImage(Run, ImageRecord(0, "9", 0, "kept", path.name), tmp_path)
    assert is_image(image)
    assert input_of(image) == open_input(path, name="r1_0.png")
    assert input_of(image).source == "r1[0]", "what its reference is, not the name of the file it is kept in"


def test_the_repr_does_not_contain_the_content():
    assert "lambda" not in repr(InputImage("a.png", "0" * 64, lambda: b"x"))


# -- images of a sweep ------------------------------------------------------------


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
    assert [image.name for image in open_images("refs/x*.png")] == ["x2.png", "x10.png"]
    assert [image.source for image in open_images("refs/**/x2.png")] == ["refs/deep/x2.png", "refs/x2.png"]


def test_pattern_in_the_home_folder_is_expanded(refs, monkeypatch):
    monkeypatch.setenv("HOME", str(refs))
    pattern = pattern_in("file:~/x*.png")
    assert [image.name for image in open_images(pattern)] == ["x2.png", "x10.png"]


def test_pattern_without_a_match_and_file_that_is_not_an_image_are_errors(refs):
    with pytest.raises(ImageError, match=r"no file matches 'refs/\*\.jpg'"):
        open_images("refs/*.jpg")
    (refs / "x3.png").write_text("no image")
    with pytest.raises(ImageError, match=r"x3\.png can't be read as an image"):
        open_images("refs/x*.png")


def test_labels_contain_only_the_folders_that_make_them_unique():
    sources = ["/mine/a/day/sky.png", "b/day/sky.png", "night/sky.png", "tree.png"]
    assert label_images([image(source) for source in sources]) == [
        "a/day/sky.png", "b/day/sky.png", "night/sky.png", "tree.png",
    ]  # fmt: skip
    assert label_images([image("r41[0]"), image("r41[1]")]) == ["r41[0]", "r41[1]"]
    assert label_images([image("sky.png"), image("sky.png")]) == ["sky.png (1)", "sky.png (2)"]


def test_an_image_without_a_name_is_labelled_by_its_position(refs):
    red, blue = (Image.new("RGB", (4, 4), color) for color in ("red", "blue"))
    images = [input_of(red), input_of(Image.open(refs / "x2.png")), input_of(blue)]
    assert label_images(images) == ["image 1", "x2.png", "image 3"]


def test_an_image_saved_with_a_sweep_file_keeps_its_name(refs, tmp_path):
    input_image = open_input(refs / "x2.png")
    again = open_saved_image(tmp_path, save_image(tmp_path / "night.yaml", input_image))
    assert again == input_image
    assert label_images([again]) == ["x2.png"]
