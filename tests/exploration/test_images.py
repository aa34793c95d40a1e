"""The pixels that an explorer sends: thumbnails, and full images as a browser shows them."""

from __future__ import annotations

import io

import pytest
from PIL import Image

from comflowy_nb.errors import ImageError
from comflowy_nb.exploration.images import read_full, read_thumbnail


@pytest.fixture
def stored_image(make_sweep, axis):
    """Return the image of a cell, 700 px wide and in one colour."""
    sweep = make_sweep(axis("3::cfg", 4), images=lambda _: [Image.new("RGB", (700, 350), (200, 40, 40))])
    return sweep.cells[0].images[0]


def opened(content):
    return Image.open(io.BytesIO(content)).convert("RGB")


@pytest.mark.parametrize("side", [256, 512])
def test_a_thumbnail_is_the_file_made_at_download(stored_image, side):
    content = read_thumbnail(stored_image, side)
    assert content == stored_image.path.with_suffix(f".t{side}.jpg").read_bytes()
    assert opened(content).size == (side, side // 2)


def test_a_full_image_is_the_file_byte_for_byte(stored_image):
    content, kind, note = read_full(stored_image)
    assert (content, kind, note) == (stored_image.bytes, "image/png", None)


def test_an_image_that_browsers_show_differently_is_converted(stored_image):
    Image.new("CMYK", (70, 35), (0, 200, 0, 0)).save(stored_image.path, "JPEG")
    content, kind, _ = read_full(stored_image)
    assert kind == "image/png"
    red, green, blue = opened(content).getpixel((5, 5))
    assert green < min(red, blue)


def test_a_pruned_image_is_shown_by_its_thumbnail_with_a_note(library, make_sweep, axis):
    sweep = make_sweep(axis("3::cfg", 4))
    library.history.sweeps.end(sweep.token)
    assert library.prune(0, all=True).is_done
    image = library.find("r1[0]").image
    content, kind, note = read_full(image)
    assert (kind, opened(content).size) == ("image/jpeg", (96, 64))
    assert "show r1 --refetch" in note


def test_a_deleted_file_is_an_error_that_names_the_image(stored_image):
    for path in stored_image.path.parent.glob("*"):
        path.unlink()
    for read in (lambda: read_thumbnail(stored_image, 256), lambda: read_full(stored_image)):
        with pytest.raises(ImageError, match=r"r1\[0\]"):
            read()


def test_an_image_without_a_thumbnail_is_not_sent_in_full_size(stored_image):
    """`RunImage.thumbnail` returns the original if a thumbnail can't be made."""
    for thumbnail in stored_image.path.parent.glob("*.jpg"):
        thumbnail.unlink()
    stored_image.path.write_bytes(b"\x89PNG\r\n\x1a\n damaged")
    with pytest.raises(ImageError, match=r"r1\[0\] is damaged"):
        read_thumbnail(stored_image, 256)
