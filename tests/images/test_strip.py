"""Metadata is removed from image files without a change of their pixels."""

from __future__ import annotations

import io
import zlib

import numpy as np
import pytest
from archives import contains_text
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from comflowy_nb.errors import ImageError
from comflowy_nb.images.strip import embedded_texts, strip_metadata

PROMPT = "a glass bottle, Café ☃"
XMP = f"<x:xmpmeta>{PROMPT}</x:xmpmeta>".encode()


def exif(orientation=1):
    data = Image.Exif()
    data[0x010E] = PROMPT
    data[0x0112] = orientation
    data[0x8769] = {0x9286: b"UNICODE\0" + PROMPT.encode("utf-16-be")}  # Pillow 10 does not save a change of `get_ifd`
    return data


def encode(image, kind, **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.fixture
def photo():
    return Image.effect_noise((60, 40), 80).convert("RGB")


def files(photo, **more):
    text = PngInfo()
    text.add_text("prompt", PROMPT)
    text.add_text("workflow", PROMPT * 40, zip=True)
    text.add_itxt("parameters", PROMPT, zip=True)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    common = {"icc_profile": profile, "exif": exif(**more)}
    return {
        "PNG": encode(photo, "PNG", pnginfo=text, **common),
        "JPEG": encode(photo, "JPEG", xmp=XMP, comment=PROMPT, **common),
        "progressive JPEG": encode(photo, "JPEG", progressive=True, xmp=XMP, **common),
        "WEBP": encode(photo, "WEBP", xmp=XMP, **common),
        "lossless WEBP": encode(photo.convert("RGBA"), "WEBP", lossless=True, xmp=XMP, **common),
        "animated WEBP": encode(
            photo, "WEBP", save_all=True, append_images=[photo.rotate(90)], duration=50, xmp=XMP, **common
        ),
    }


def pixels(content):
    with Image.open(io.BytesIO(content)) as image:
        frames = []
        for number in range(getattr(image, "n_frames", 1)):
            image.seek(number)
            frames.append(np.asarray(image.convert("RGBA")))
        return frames, image.info.get("icc_profile")


@pytest.mark.parametrize("orientation", [1, 6])
def test_all_text_is_removed_and_all_pixels_are_kept(photo, orientation):
    for kind, content in files(photo, orientation=orientation).items():
        assert contains_text(embedded_texts(content), PROMPT), kind
        stripped = strip_metadata(content)
        assert not contains_text([stripped, *embedded_texts(stripped)], PROMPT), kind
        before, profile = pixels(content)
        after, profile_after = pixels(stripped)
        assert all(np.array_equal(one, other) for one, other in zip(before, after, strict=True)), kind
        assert profile_after == profile
        with Image.open(io.BytesIO(stripped)) as image:
            assert Image.Image.getexif(image).get(0x0112, 1) == orientation, kind
            assert set(Image.Image.getexif(image)) <= {0x0112}
        assert strip_metadata(stripped) == stripped


def test_text_behind_the_end_of_a_file_is_removed(photo):
    for content in (encode(photo, "PNG"), encode(photo, "JPEG"), encode(photo, "WEBP")):
        assert strip_metadata(content + PROMPT.encode()) == content


def test_a_file_without_metadata_is_not_changed(photo):
    for kind in ("PNG", "JPEG", "WEBP"):
        content = encode(photo, kind)
        assert strip_metadata(content) == content


def test_the_colour_profile_can_be_removed_too(photo):
    for content in files(photo).values():
        stripped = strip_metadata(content, keep_profile=False)
        assert pixels(stripped)[1] is None
        assert pixels(stripped)[0][0].shape == (40, 60, 4)


def test_text_in_a_compressed_chunk_and_in_a_profile_is_found(photo):
    text = PngInfo()
    text.add_text("a", PROMPT * 50, zip=True)
    content = encode(photo, "PNG", pnginfo=text)
    assert PROMPT.encode() not in content
    assert contains_text(embedded_texts(content), "glass bottle")
    with_profile = encode(photo, "PNG", icc_profile=b"\0" * 128 + PROMPT.encode() * 9)
    assert contains_text(embedded_texts(with_profile), PROMPT)


@pytest.mark.parametrize("cut", [30, 200, -5])
def test_a_damaged_file_is_an_error(photo, cut):
    for content in (encode(photo, "PNG"), encode(photo, "JPEG")):
        with pytest.raises(ImageError, match="truncated or damaged"):
            strip_metadata(content[:cut])


def test_other_formats_are_an_error(photo):
    with pytest.raises(ImageError, match="only of PNG, JPEG and WebP"):
        strip_metadata(encode(photo, "GIF"))


def test_a_compressed_chunk_that_is_a_bomb_is_not_expanded_without_a_limit(photo):
    bomb = zlib.compress(b"\0" * (80 * 1024 * 1024))
    body = b"zTXta\0\0" + bomb
    chunk = (len(body) - 4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    content = encode(photo, "PNG")
    content = content[:33] + chunk + content[33:]
    assert max(map(len, embedded_texts(content))) == 64 * 1024 * 1024
