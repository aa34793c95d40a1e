"""Pixels of the images of a comparison."""

from __future__ import annotations

import io
import math

import numpy as np
import pytest
from PIL import Image

from comflowy_nb.comparison.pixels import (
    canvas_size,
    find_difference,
    fit_on_canvas,
    for_browser,
    image_size,
    open_rgb,
    preview_of,
    without_metadata,
)
from comflowy_nb.errors import ImageError
from comflowy_nb.settings import settings


def noise(width=40, height=30, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encoded(image, kind="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def test_the_canvas_has_the_size_of_the_largest_image_and_others_are_centred():
    canvas = canvas_size([(512, 512), (768, 512), (100, 100)])
    assert canvas == (768, 512)
    assert fit_on_canvas((512, 512), canvas) == (128, 0, 512, 512)
    assert fit_on_canvas((100, 50), canvas) == (0, 64, 768, 384)
    assert fit_on_canvas((768, 512), canvas) == (0, 0, 768, 512)


def test_error_and_psnr_follow_their_definitions():
    first, second = noise(seed=1), noise(seed=2)
    difference = find_difference(Image.fromarray(first), Image.fromarray(second))
    apart = first.astype(float) - second
    assert difference.mean_error == pytest.approx(np.abs(apart).mean())
    assert difference.psnr_db == pytest.approx(10 * np.log10(255**2 / np.square(apart).mean()))
    assert difference.share == pytest.approx((apart != 0).any(axis=2).mean())


def test_equal_images_have_no_error_and_a_dark_map():
    image = Image.fromarray(noise())
    difference = find_difference(image, image)
    assert (difference.mean_error, difference.psnr_db, difference.share) == (0, math.inf, 0)
    assert difference.heat.convert("RGB").getextrema() == ((11, 11), (13, 13), (23, 23))


def test_the_map_is_bright_where_the_images_differ_and_dark_for_small_differences():
    first = np.full((20, 20, 3), 100, np.uint8)
    second = first.copy()
    second[5:10, 5:10] = 200
    difference = find_difference(Image.fromarray(first), Image.fromarray(second))
    heat = np.asarray(difference.heat.convert("L")).astype(int)
    assert heat[5:10, 5:10].min() > 200
    assert heat[15:, 15:].max() < 30
    assert difference.top == 100
    second[:] = first + 1
    slight = np.asarray(find_difference(Image.fromarray(first), Image.fromarray(second)).heat.convert("L"))
    assert slight.max() < 80
    assert slight.min() > heat[15:, 15:].max(), "the smallest difference is visible"


def test_images_of_two_sizes_have_a_map_of_their_overlap_and_no_numbers():
    first = Image.new("RGB", (60, 30), "white")
    second = Image.new("RGB", (30, 30), "black")
    difference = find_difference(first, second)
    assert (difference.mean_error, difference.psnr_db, difference.share) == (None, None, None)
    alpha = np.asarray(difference.heat.convert("RGBA"))[:, :, 3]
    assert difference.heat.size == (60, 30)
    assert (alpha[:, 15:45] == 255).all()
    assert (alpha[:, :15] == 0).all()
    assert (alpha[:, 45:] == 0).all()


def test_the_map_of_large_images_is_smaller():
    first = Image.new("RGB", (5000, 100), "white")
    second = Image.new("RGB", (5000, 100), "black")
    difference = find_difference(first, second)
    assert difference.heat.size == (2048, 41)
    assert difference.mean_error == 255


@pytest.mark.parametrize(
    ("image", "pixel"),
    [
        (Image.new("RGBA", (4, 4), (255, 0, 0, 0)), (255, 255, 255)),
        (Image.new("LA", (4, 4), (0, 0)), (255, 255, 255)),
        (Image.new("L", (4, 4), 100), (100, 100, 100)),
        (Image.new("1", (4, 4), 1), (255, 255, 255)),
        (Image.new("RGB", (4, 4), (1, 2, 3)).quantize(), (1, 2, 3)),
        (Image.fromarray(np.full((4, 4), 0x8000, np.uint16)), (128, 128, 128)),
    ],
    ids=lambda value: getattr(value, "mode", ""),
)
def test_every_mode_is_decoded_as_a_browser_displays_it(image, pixel):
    content = encoded(image)
    assert open_rgb(content, "x").getpixel((0, 0)) == pixel
    assert image_size(content, "x") == (4, 4)


def test_first_image_of_an_animation_is_compared_in_python_and_in_the_browser():
    frames = [Image.new("RGB", (5, 5), colour) for colour in ("red", "blue")]
    for kind in ("GIF", "PNG", "WEBP"):
        options = {"lossless": True} if kind == "WEBP" else {}
        content = encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options)
        assert open_rgb(content, "x").getpixel((0, 0)) == (255, 0, 0)
        sent_content, media_type = for_browser(content, "x")
        assert media_type == "image/png"
        assert getattr(Image.open(io.BytesIO(sent_content)), "n_frames", 1) == 1


def test_the_exif_orientation_is_applied():
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encoded(Image.new("RGB", (40, 20), "red"), "JPEG", exif=exif)
    assert image_size(content, "x") == (20, 40)
    assert open_rgb(content, "x").size == (20, 40)
    assert for_browser(content, "x") == (content, "image/jpeg")  # browsers apply the orientation
    bare, kind = without_metadata(content, "image/jpeg", "x")
    assert Image.open(io.BytesIO(bare)).size == (20, 40)
    assert not Image.open(io.BytesIO(bare)).getexif()
    assert kind == "image/png"


def test_a_format_that_browsers_display_is_sent_unchanged():
    image = Image.fromarray(noise())
    for kind in ("PNG", "JPEG", "WEBP"):
        content = encoded(image, kind)
        assert for_browser(content, "x") == (content, f"image/{kind.lower()}")
    for kind in ("BMP", "TIFF"):
        sent_content, media_type = for_browser(encoded(image, kind), "x")
        assert media_type == "image/png"
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(sent_content))), np.asarray(image))
    assert for_browser(encoded(image.convert("CMYK"), "JPEG"), "x")[1] == "image/png"


def test_a_png_without_metadata_has_the_same_pixels_and_no_graph():
    from PIL.PngImagePlugin import PngInfo

    notes = PngInfo()
    notes.add_text("prompt", '{"1": "a secret garden"}')
    image = Image.fromarray(noise())
    bare, kind = without_metadata(encoded(image, pnginfo=notes), "image/png", "x")
    assert b"garden" not in bare
    assert kind == "image/png"
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(bare))), np.asarray(image))


def test_previews_are_small_and_never_enlarged():
    small = Image.open(io.BytesIO(preview_of(Image.new("RGB", (100, 60)))))
    assert small.size == (100, 60)
    large = Image.open(io.BytesIO(preview_of(Image.new("RGB", (6000, 40)))))
    assert large.size == (512, 3)


def test_missing_and_invalid_files_are_errors(tmp_path):
    with pytest.raises(ImageError, match=r"^notes can't be read as an image: use a PNG, JPEG or WebP file$"):
        open_rgb(b"hello", "notes")
    with pytest.raises(ImageError, match=r"the file of a.png does not exist any more"):
        open_rgb(tmp_path / "a.png", "a.png")
    with pytest.raises(ImageError, match=r"the file of a.png can't be read"):
        for_browser(tmp_path / "a.png", "a.png")
    broken = encoded(Image.fromarray(noise()))[:-200]
    with pytest.raises(ImageError, match="half can't be read as an image"):
        open_rgb(broken, "half")


def test_an_image_of_too_many_pixels_is_not_decoded():
    settings.image_max_px = 1000
    with pytest.raises(ImageError, match="large has 40 x 30 pixels, more than image_max_px allows"):
        open_rgb(encoded(Image.fromarray(noise())), "large")
