from __future__ import annotations

import hashlib
import io

import numpy as np
import pytest
from PIL import Image

from comflowy_nb.errors import ImageError
from comflowy_nb.settings import settings
from comflowy_nb.workflow.images import InputImage, input_of, is_image, open_input


def decoded(image):
    return Image.open(io.BytesIO(image.load()))


def test_a_file_is_identified_by_its_content_and_read_at_once(tmp_path):
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


def test_other_files_than_images_are_rejected_with_a_reason(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "empty.png").write_bytes(b"")
    for name in ("notes.txt", "empty.png"):
        with pytest.raises(ImageError, match=f"{name} is not an image"):
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
    made = input_of(image)
    assert decoded(made).format == "PNG"
    assert np.abs(np.asarray(decoded(made).convert("RGB"), int) - np.asarray(image.convert("RGB"), int)).max() <= 1


def test_a_python_image_is_identified_by_its_pixels(tmp_path):
    one, same, other = Image.new("RGB", (4, 4), "red"), Image.new("RGB", (4, 4), "red"), Image.new("RGB", (2, 8), "red")
    same.info["comment"] = "of no account"
    assert input_of(one).content_sha256 == input_of(same).content_sha256 != input_of(other).content_sha256


def test_transparency_is_kept():
    image = Image.new("P", (2, 2), 0)
    image.info["transparency"] = 0
    assert decoded(input_of(image)).convert("RGBA").getpixel((0, 0))[3] == 0


def test_arrays_are_pixels():
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


def test_which_objects_are_images(tmp_path):
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
    image = RunImage(Run, ImageRecord(0, "9", 0, "kept"), path)
    assert is_image(image)
    assert input_of(image) == open_input(path, name="r1_0.png")
    assert input_of(image).source == "r1[0]", "what its reference is, not the name of the file it is kept in"


def test_the_repr_does_not_contain_the_content():
    assert "lambda" not in repr(InputImage("a.png", "0" * 64, lambda: b"x"))
