"""Images that are too large to decode are kept and submitted."""

from __future__ import annotations

import io
import json
import struct
import subprocess
import sys
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image

from comflowy_nb import params_from
from comflowy_nb.comparison.pixels import find_difference
from comflowy_nb.errors import ImageError
from comflowy_nb.settings import settings
from comflowy_nb.workflow.images import open_input

GRAPH = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 48, "batch_size": 1, "color": 255}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
}


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def black_png(width_px, height_px, *more):
    """Return a complete PNG with one bit per pixel, of a few kilobytes."""
    rows = zlib.compress(bytes(((width_px + 7) // 8 + 1) * height_px), 9)
    header = struct.pack(">IIBBBBB", width_px, height_px, 1, 0, 0, 0, 0)
    return b"".join([b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", header), *more, chunk(b"IDAT", rows), chunk(b"IEND", b"")])


@pytest.fixture
def graph(tmp_path):
    path = tmp_path / "flat.json"
    path.write_text(json.dumps(GRAPH))
    return str(path)


@pytest.fixture
def low_pillow_limit(monkeypatch):
    """Make Pillow refuse images of more than 2000 pixels, and warn of more than 1000."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield
    assert Image.MAX_IMAGE_PIXELS == 1000  # as a notebook may set it


def test_a_result_of_too_many_pixels_is_kept_without_a_thumbnail(comfy_client, graph):
    """An 8192 x 8192 result was "missing", and the server may have deleted it before the limit was raised.

    Files were kept only after they had been decoded.
    """
    settings.image_max_px = 64 * 48 - 1
    run = comfy_client.run(graph)
    image = run.images[0]
    assert (run.status, image.record.state) == ("success", "kept")
    assert (image.record.width_px, image.record.height_px) == (64, 48)
    assert "image_max_px" in image.record.error
    assert not list(image.path.parent.glob("*.jpg"))
    with pytest.raises(ImageError, match=r"r1\[0\] has 64 x 48 pixels, more than image_max_px allows"):
        image.pil()
    settings.image_max_px = 64 * 48
    assert image.pil().size == (64, 48)
    assert Image.open(image.thumbnail(256)).size == (64, 48)


def test_result_above_the_pillow_limit_is_kept_and_decoded(comfy_client, graph, low_pillow_limit):
    """A 14000 x 14000 result was lost with any `image_max_px`, because Pillow has another limit."""
    image = comfy_client.run(graph).images[0]
    assert (image.record.state, image.record.error) == ("kept", None)
    assert image.pil().size == (64, 48)
    assert image.thumbnail(256).suffix == ".jpg"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_input_image_above_the_pillow_limit_is_submitted(tmp_path, low_pillow_limit, kind):
    """`file:huge.png` was rejected as unreadable, because Pillow refuses to open it."""
    path = tmp_path / "huge.image"
    Image.new("RGB", (100, 80)).save(path, kind)
    assert open_input(path).load() == path.read_bytes()


def test_recipe_of_an_image_above_the_pillow_limit_is_read(tmp_path, low_pillow_limit):
    """`params_from("huge.png")` reported an unreadable image, because Pillow refuses to open it."""
    path = tmp_path / "huge.png"
    path.write_bytes(black_png(100, 80, chunk(b"tEXt", b"prompt\0" + json.dumps(GRAPH).encode())))
    assert params_from(path)["1::width"] == 64


def test_images_of_different_shapes_above_the_pillow_limit_are_compared(monkeypatch):
    """A comparison cropped both images to the part that they share, and Pillow refuses large crops."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 28_000)  # an image of 100 x 600 is more than twice that
    first, second = (Image.fromarray(np.zeros((height, 100, 3), np.uint8)) for height in (620, 600))
    assert find_difference(first, second).heat.size == (100, 620)


IN_LITTLE_MEMORY = """
import io, json, resource, sys, threading, time
from pathlib import Path
import numpy, PIL.PngImagePlugin, PIL.JpegImagePlugin, PIL.WebPImagePlugin
from comflowy_nb import params_from
from comflowy_nb.images.store import store_output
from comflowy_nb.images.thumbnails import thumbnail_path
from comflowy_nb.services.types import Output
from comflowy_nb.workflow.images import open_input

path, folder = Path(sys.argv[1]), Path(sys.argv[2])
content = path.read_bytes()
class Stream:
    length = len(content)
    def chunks(self):
        yield content
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
record = store_output(Stream(), folder=folder, token="t", output=Output(0, "9", 0, "u"))
open_input(path)
print(params_from(path)["1::width"])
grown_mib = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
print(record.state, record.width_px, (folder / record.file).read_bytes() == content, grown_mib < 60)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the unit of ru_maxrss differs")
def test_an_image_of_too_many_pixels_is_never_decoded(tmp_path):
    """Reading the recipe of a PNG decoded all of its pixels: Pillow looks for Exif data behind them."""
    path = tmp_path / "huge.png"
    path.write_bytes(black_png(20_000, 20_000, chunk(b"tEXt", b"prompt\0" + json.dumps(GRAPH).encode())))
    code = [sys.executable, "-c", IN_LITTLE_MEMORY, str(path), str(tmp_path / "kept")]
    done = subprocess.run(code, check=True, capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["64", "kept", "20000", "True", "True"]


def test_a_complete_image_that_pillow_cannot_decode_is_kept(comfy_client, graph, comfy):
    """A complete file was deleted because it contains a longer text than Pillow reads."""
    text = b"note\0\0" + zlib.compress(bytes(2_000_000))
    content = black_png(64, 48, chunk(b"zTXt", text))
    with pytest.raises(ValueError, match=r"(?i)too large"):
        Image.open(io.BytesIO(content)).load()
    run = comfy_client.run(graph)
    path = next(comfy.folder.rglob("x*.png"))
    path.write_bytes(content)
    run.images[0].path.unlink()
    assert comfy_client.connection.registry.refresh(run)
    run.wait(timeout=30)
    assert run.images[0].bytes == content
