"""Animations along an axis: a frame for each value, each with the image of its cell."""

from __future__ import annotations

import numpy as np
import pytest
from history_fixtures import colour_of
from PIL import Image

from comflowy_nb.errors import ComflowyError, ImageError, SettingsError
from comflowy_nb.status import Status


def frames_of(path):
    """Return the frames, as arrays of RGB."""
    with Image.open(path) as animation:
        frames = []
        for number in range(animation.n_frames):
            animation.seek(number)
            frames.append(np.asarray(animation.convert("RGB")))
        return frames, animation.info


def middle_of(frame):
    """Return the colour in the middle of the image above the caption strip: images are 96 x 64, frames 256 wide."""
    return tuple(int(value) for value in frame[32, 128])


def assert_cells(path, numbers):
    """Assert that the frames show the images of these cells. Each cell has a different colour."""
    frames, _ = frames_of(path)
    assert len(frames) == len(numbers)
    for frame, number in zip(frames, numbers, strict=True):
        assert is_close(middle_of(frame), colour_of(number)), number


def is_close(colour, other):
    return max(abs(one - two) for one, two in zip(colour, other, strict=True)) <= 8


@pytest.mark.parametrize("suffix", ["gif", "webp"])
def test_each_frame_has_the_image_of_its_value(make_sweep, axis, tmp_path, suffix):
    sweep = make_sweep(axis("3::cfg", 4, 6, 8), axis("3::steps", 10, 20))
    (path,) = sweep.save(tmp_path / f"cfg.{suffix}", along="cfg", duration=0.2)
    frames, info = frames_of(path)
    assert len(frames) == 3
    assert info["duration"] == 200
    assert info["loop"] == 0
    assert_cells(path, (1, 3, 5))
    assert all(frame.shape == frames[0].shape for frame in frames)
    assert (frames[0][64:] < 128).any(), "the caption strip has text"
    assert (frames[0][64:] != frames[1][64:]).any(), "the captions differ"


def test_a_condition_chooses_the_other_axes(make_sweep, axis, tmp_path):
    sweep = make_sweep(axis("3::cfg", 4, 6, 8), axis("3::steps", 10, 20))
    (path,) = sweep.save(tmp_path / "cfg.gif", along="cfg", where={"steps": 20})
    assert [
        is_close(middle_of(frame), colour_of(n)) for frame, n in zip(frames_of(path)[0], (2, 4, 6), strict=True)
    ] == [True] * 3
    (path,) = sweep.save(tmp_path / "steps.gif", along="3::steps", where={"cfg": "8"})
    assert_cells(path, (5, 6))


def test_cells_without_an_image_are_left_out(make_sweep, axis, tmp_path):
    sweep = make_sweep(axis("3::cfg", 4, 6, 8), ends={2: Status.FAILED})
    (path,) = sweep.save(tmp_path / "cfg.gif", along="cfg")
    assert_cells(path, (1, 3))


def test_the_first_value_with_images_is_taken(make_sweep, axis, tmp_path):
    sweep = make_sweep(axis("3::cfg", 4, 6), axis("3::steps", 10, 20), ends={1: Status.FAILED, 3: None})
    (path,) = sweep.save(tmp_path / "cfg.gif", along="cfg")
    assert is_close(middle_of(frames_of(path)[0][0]), colour_of(2))


def test_images_of_several_sizes_are_centred_in_one_frame(make_sweep, axis, tmp_path):
    sizes = {1: (64, 128), 2: (1600, 400)}
    sweep = make_sweep(axis("3::cfg", 4, 6), images=lambda cell: [Image.new("RGB", sizes[cell.number], "blue")])
    (path,) = sweep.save(tmp_path / "cfg.webp", along="cfg")
    first, second = frames_of(path)[0]
    assert first.shape == second.shape
    assert first.shape[1] == 1024
    assert tuple(first[5, 5]) == (255, 255, 255)


def test_equal_frames_are_shown_for_the_same_time(make_sweep, axis, tmp_path):
    """A GIF of equal frames was one frame: Pillow merges them, and the captions make them differ."""
    sweep = make_sweep(axis("3::cfg", 4, 6, 8), images=lambda _: [Image.new("RGB", (64, 64), "red")])
    assert len(frames_of(sweep.save(tmp_path / "cfg.gif", along="cfg")[0])[0]) == 3


def test_hostile_labels_are_drawn_as_text(make_sweep, axis, tmp_path):
    sweep = make_sweep(axis("6::text", "<b>$x$</b>", "\u202eabc\n" * 40))
    assert len(frames_of(sweep.save(tmp_path / "x.webp", along="text")[0])[0]) == 2


def test_invalid_options_of_an_animation_are_errors(make_sweep, axis, tmp_path):
    sweep = make_sweep(axis("3::cfg", 4, 6), ends={1: Status.FAILED, 2: Status.FAILED})
    with pytest.raises(ImageError, match="no images"):
        sweep.save(tmp_path / "x.gif", along="cfg")
    good = make_sweep(axis("3::cfg", 1, 2), key="good")
    for duration in (0, 61, float("nan"), "1", True):
        with pytest.raises(SettingsError, match=r"frame duration of .* s: use 0\.02 to 60 seconds"):
            good.save(tmp_path / "x.gif", along="cfg", duration=duration)
    with pytest.raises(ComflowyError, match="'size' is not an axis"):
        good.save(tmp_path / "x.gif", along="size")
    assert not list(tmp_path.glob("x.*"))
