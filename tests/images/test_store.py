from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import struct
import subprocess
import sys
import threading
import time
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image, ImageFile

from comflowy_nb.errors import ImageError, ServerError
from comflowy_nb.images.receive import image_path
from comflowy_nb.images.store import store_output, write_sidecar
from comflowy_nb.images.thumbnails import thumbnail_path
from comflowy_nb.settings import settings
from comflowy_nb.status import StatusEvent
from comflowy_nb.tracking.run import ImageRecord

TOKEN = "0a5e8f0c-1111-4222-8333-444455556666"


@pytest.fixture
def folder(home):
    return home / "images"


@pytest.fixture
def keep(folder, stream, output):
    """Return a function: `keep(content)` receives and stores the image that a service sends."""

    def receive(content, *, index=0, **options):
        source = content if hasattr(content, "chunks") else stream(content, **options)
        return store_output(source, folder=folder, token=TOKEN, output=output(index))

    return receive


def files(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def flip(content, position):
    return content[:position] + bytes([content[position] ^ 0x10]) + content[position + 1 :]


def test_a_reader_waits_for_thumbnails_that_another_thread_makes(folder, stream, output, image):
    """A run is settled before its thumbnails are made; the view must not decode the original a second time."""
    deferred = []
    record = store_output(stream(image()), folder=folder, token=TOKEN, output=output(0), defer=deferred.append)
    original = image_path(folder, record)
    assert files(folder) == [original.name]
    original.unlink()  # so that only the deferred function can make them
    with ThreadPoolExecutor(1) as reader:
        reading = reader.submit(thumbnail_path, folder, record, 256)
        deferred[0]()
        assert reading.result(timeout=20).exists()


@pytest.mark.parametrize(("kind", "extension"), [("PNG", "png"), ("JPEG", "jpg"), ("WEBP", "webp")])
def test_an_image_is_kept_byte_for_byte(folder, keep, image, kind, extension):
    content = image(kind)
    record = keep(content)
    month = time.strftime("%Y-%m", time.gmtime())
    assert record == ImageRecord(
        0,
        "9",
        0,
        state="kept",
        file=f"{month}/{TOKEN}_0.{extension}",
        sha256=hashlib.sha256(content).hexdigest(),
        size_bytes=len(content),
        width_px=96,
        height_px=64,
        format=kind,
    )
    assert image_path(folder, record).read_bytes() == content
    assert files(folder) == sorted(f"{TOKEN}_0.{end}" for end in (extension, "t256.jpg", "t512.jpg"))


def test_an_image_without_a_length_is_kept(keep, image):
    assert keep(image(), length=None, piece=100).state == "kept"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("length", ["known", "unknown", "wrong"])
def test_truncated_image_leaves_no_file(folder, keep, image, kind, length):
    content = image(kind, size=(300, 200))
    truncated = content[: len(content) * 6 // 10]
    content_length = {"known": len(content), "unknown": None, "wrong": len(truncated)}[length]
    with pytest.raises(ImageError, match="truncated: " if length == "known" else "truncated or damaged"):
        keep(truncated, length=content_length)
    assert files(folder) == []


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_truncated_image_is_rejected_even_if_the_notebook_sets_load_truncated_images(
    folder, keep, image, kind, monkeypatch
):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    content = image(kind, size=(300, 200))
    with pytest.raises(ImageError, match="truncated or damaged"):
        keep(content[: len(content) * 6 // 10], length=None)
    assert files(folder) == []
    assert keep(content).state == "kept"


def test_a_png_without_its_end_is_truncated(keep, image):
    with pytest.raises(ImageError, match="truncated or damaged"):
        keep(image()[:-12], length=None)


@pytest.mark.parametrize("where", [0.2, 0.5, 0.9])
def test_a_flipped_bit_in_a_png_is_found(folder, keep, image, where):
    content = image(size=(300, 200))
    with pytest.raises(ImageError, match="truncated or damaged"):
        keep(flip(content, int(len(content) * where)))
    assert files(folder) == []


def huge_png(width_px, height_px):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width_px, height_px, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes((width_px // 8 + 1) * min(height_px, 1000)), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(8001, 8000), (13_000, 13_000), (100_000, 100_000)])
def test_a_small_file_of_too_many_pixels_is_kept_and_not_decoded(folder, keep, size):
    """The file was deleted, although it had been received completely."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Pillow's own warning would come before its decoding
        record = keep(huge_png(*size))
    assert (record.state, record.width_px, record.height_px) == ("kept", *size)
    assert "image_max_px" in record.error
    assert files(folder) == [f"{TOKEN}_0.png"]
    with pytest.raises(ImageError, match=r"no thumbnail.*image_max_px"):
        thumbnail_path(folder, record, 256)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "lossless WEBP", "WEBP with Exif"])
def test_the_pixel_limit_is_a_setting(folder, keep, image, kind):
    content = image(kind) if " " not in kind else webp_of(kind)
    settings.image_max_px = 96 * 64 - 1
    record = keep(content)
    assert (record.state, record.width_px, record.height_px) == ("kept", 96, 64)
    assert "96 x 64 pixels" in record.error
    assert len(files(folder)) == 1
    settings.image_max_px = 96 * 64
    assert thumbnail_path(folder, record, 256).exists()
    assert keep(content).error is None


def webp_of(kind):
    buffer, exif = io.BytesIO(), Image.Exif()
    exif[0x010E] = "a note"
    more = {"lossless": True} if "lossless" in kind else {"exif": exif.tobytes()}
    Image.new("RGB", (96, 64), "teal").save(buffer, "WEBP", **more)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_truncated_file_of_too_many_pixels_leaves_no_file(folder, keep, image, kind):
    settings.image_max_px = 100
    whole = image(kind, size=(300, 200))
    with pytest.raises(ImageError, match="truncated or damaged"):
        keep(whole[: len(whole) * 6 // 10], length=None)
    assert files(folder) == []


@pytest.mark.parametrize("has_length", [True, False])
def test_a_download_above_the_size_limit_is_stopped(folder, keep, image, stream, has_length):
    settings.image_max_bytes = 4096
    chunks_read = []

    class Endless(stream):
        def chunks(self):
            for _ in range(100):
                chunks_read.append(1)
                yield bytes(1024)

    with pytest.raises(ImageError, match=r"larger than 0\.0039\d* MiB"):
        keep(Endless(b"", length=100 * 1024 if has_length else None))
    assert len(chunks_read) == (0 if has_length else 5)
    assert files(folder) == []


@pytest.mark.parametrize("length", [90_000, 100])
def test_body_with_a_different_length_than_content_length_is_rejected(folder, keep, image, length):
    with pytest.raises(ImageError, match=f"of {length} bytes"):
        keep(image(), length=length)
    assert files(folder) == []


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n"


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (EPS, "PostScript"),
        (b"<!DOCTYPE html><html>Sign in</html>", "a web page"),
        (b"\n  <svg xmlns='http://www.w3.org/2000/svg'/>", "a web page or an SVG"),
        (b'{"error": "expired"}', "a text"),
        (b"GIF89a" + bytes(50), "a GIF"),
        (b"BM" + bytes(50), "a BMP"),
        (bytes(4) + b"ftypavif" + bytes(50), "an AVIF"),
        (bytes(4) + b"ftypisom" + bytes(50), "a video"),
        (b"SIMPLE  =                    T", "of an unknown format"),
        (b"x", "of an unknown format"),
    ],
)
def test_other_formats_are_rejected_without_pillow(folder, keep, content, what, monkeypatch):
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("Pillow was used"))
    with pytest.raises(ImageError, match=f"it is {what}.*not an image this version keeps"):
        keep(content)
    assert files(folder) == []


def test_an_empty_body_is_rejected(folder, keep):
    with pytest.raises(ImageError, match="empty"):
        keep(b"", length=None)
    assert files(folder) == []


@pytest.mark.parametrize("magic", [b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF\0\0\0\0WEBP"])
def test_magic_bytes_alone_are_not_an_image(keep, magic):
    with pytest.raises(ImageError, match="truncated or damaged"):
        keep(magic + b"<html>not really</html>")


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_an_animation_is_rejected(folder, keep, kind):
    frames = [Image.new("RGB", (20, 20), color) for color in ("red", "blue")]
    buffer = io.BytesIO()
    frames[0].save(buffer, kind, save_all=True, append_images=frames[1:])
    with pytest.raises(ImageError, match="animation"):
        keep(buffer.getvalue())
    assert files(folder) == []


def test_the_first_image_of_an_mpo_is_used(folder, keep):
    frames = [Image.new("RGB", (20, 20), color) for color in ("red", "blue")]
    buffer = io.BytesIO()
    frames[0].save(buffer, "MPO", save_all=True, append_images=frames[1:])
    record = keep(buffer.getvalue())
    assert (record.format, record.file[-4:]) == ("JPEG", ".jpg")
    red, _, blue = Image.open(thumbnail_path(folder, record, 256)).getpixel((10, 10))
    assert red > 200
    assert blue < 100


def test_broken_connection_leaves_no_file(folder, keep, image, stream):
    class Broken(stream):
        def chunks(self):
            yield self.content[:100]
            raise ServerError("the connection broke")

    with pytest.raises(ServerError):
        keep(Broken(image()))
    assert files(folder) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_during_a_download_is_reported(folder, keep, image, monkeypatch, code):
    class FullDisk(io.BytesIO):
        def write(self, content):
            raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", lambda *_, **__: FullDisk())
        with pytest.raises(ImageError, match="the disk is full"):
            keep(image())
    assert files(folder) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_an_image_is_kept_if_the_disk_is_too_full_for_its_thumbnails(folder, keep, image, monkeypatch):
    content, real_save = image(), Image.Image.save

    def save(self, path, *args, **options):
        path.touch()
        with Path("/dev/full").open("wb") as full:
            real_save(self, full, *args, **options)

    monkeypatch.setattr(Image.Image, "save", save)
    record = keep(content)
    assert files(folder) == [f"{TOKEN}_0.png"]
    with pytest.raises(ImageError, match="the disk is full"):
        thumbnail_path(folder, record, 256)
    monkeypatch.undo()
    assert thumbnail_path(folder, record, 256).exists()


def test_an_images_folder_that_is_a_file_is_reported(home, keep, image):
    home.mkdir(parents=True)
    (home / "images").write_text("")
    with pytest.raises(ImageError, match="can't be stored: Not a directory"):
        keep(image())


@pytest.mark.parametrize("token", ["../x", "a/b", "", "a.b", "a" * 65, "x\0"])
def test_a_token_that_is_not_a_file_name_is_rejected(folder, stream, output, image, token):
    with pytest.raises(ImageError, match="can't be a file name"):
        store_output(stream(image()), folder=folder, token=token, output=output())


def test_a_record_that_points_outside_the_folder_is_rejected(folder):
    for file in ("../history.sqlite", "/etc/passwd", "2026-01/../../x"):
        with pytest.raises(ImageError, match="outside"):
            image_path(folder, ImageRecord(0, "9", 0, "kept", file))


def test_a_month_folder_linked_outside_is_rejected(folder, keep, image, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    folder.mkdir(parents=True)
    (folder / time.strftime("%Y-%m", time.gmtime())).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ImageError, match="outside"):
        keep(image())
    assert files(tmp_path / "elsewhere") == []


# -- after a killed process -------------------------------------------------------------------------------------------


SCRIPT = """
import os, signal, sys
from pathlib import Path
from comflowy_nb.images import store as images
from comflowy_nb.services.types import Output
content = sys.stdin.buffer.read()
class Stream:
    length = len(content)
    def chunks(self):
        yield content[:1000]
        {within}
        yield content[1000:]
{before}
images.store_output(Stream(), folder=Path(sys.argv[1]), token=sys.argv[2], output=Output(0, "9", 0, "u"))
os.kill(os.getpid(), signal.SIGKILL)
"""
KILL_PROCESS = "os.kill(os.getpid(), signal.SIGKILL)"


def kill_while_keeping(folder, content, *, within="pass", before=""):
    code = SCRIPT.format(within=within, before=before)
    process = subprocess.run(
        [sys.executable, "-c", code, str(folder), TOKEN], input=content, check=False, timeout=60, capture_output=True
    )
    assert process.returncode == -9, process.stderr.decode()


def test_an_image_is_downloaded_again_after_a_kill_during_its_download(folder, keep, image):
    content = image(size=(300, 200))
    kill_while_keeping(folder, content, within=KILL_PROCESS)
    assert [name for name in files(folder) if name.endswith(".part")]
    assert image_path(folder, keep(content)).read_bytes() == content


def test_the_file_is_used_after_a_kill_before_it_was_recorded(folder, keep, image, stream):
    content = image(size=(300, 200))
    kill_while_keeping(folder, content)

    class Unread(stream):
        def chunks(self):
            pytest.fail("the image was downloaded again")

    assert keep(Unread(content)).sha256 == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    "damage", [lambda content: content[:500], lambda content: b"", lambda content: flip(content, 800)]
)
def test_a_damaged_unrecorded_file_is_downloaded_again(folder, keep, image, damage):
    content = image(size=(300, 200))
    path = image_path(folder, keep(content))
    path.write_bytes(damage(content))
    assert keep(content).sha256 == hashlib.sha256(content).hexdigest()
    assert path.read_bytes() == content


def test_an_unrecorded_file_of_another_length_is_not_used(folder, keep, image):
    keep(image(size=(30, 20)))
    content = image(size=(300, 200))
    assert keep(content).sha256 == hashlib.sha256(content).hexdigest()


def test_two_concurrent_downloads_of_an_image_store_one_file(folder, keep, image, stream):
    content = image(size=(300, 200))
    started, released, records = threading.Event(), threading.Event(), []

    class Slow(stream):
        def chunks(self):
            started.set()
            yield self.content[:1000]
            assert released.wait(30)
            yield self.content[1000:]

    first = threading.Thread(target=lambda: records.append(keep(Slow(content))))
    first.start()
    assert started.wait(30)
    second = threading.Thread(target=lambda: records.append(keep(content)))
    second.start()
    second.join(0.2)
    assert second.is_alive()  # it waits for the first
    released.set()
    first.join()
    second.join()
    assert records[0] == records[1]
    assert files(folder) == [f"{TOKEN}_0.png", f"{TOKEN}_0.t256.jpg", f"{TOKEN}_0.t512.jpg"]


# -- thumbnails ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((2000, 1000), {512: (512, 256), 256: (256, 128)}),
        ((300, 900), {512: (171, 512), 256: (85, 256)}),
        ((40, 30), {512: (40, 30), 256: (40, 30)}),
    ],
)
def test_thumbnails_fit_and_are_never_enlarged(folder, keep, image, size, expected):
    record = keep(image(size=size))
    for size_px, fitted in expected.items():
        with Image.open(thumbnail_path(folder, record, size_px)) as thumbnail:
            assert (thumbnail.format, thumbnail.mode) == ("JPEG", "RGB")
            assert all(abs(measured - wanted) <= 1 for measured, wanted in zip(thumbnail.size, fitted, strict=True))


def colour_of(folder, record, size_px=256):
    with Image.open(thumbnail_path(folder, record, size_px)) as thumbnail:
        return thumbnail.getpixel((thumbnail.width // 2, thumbnail.height // 2))


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def transparent_palette():
    image = Image.new("P", (64, 64), 0)
    image.putpalette([255, 0, 0] * 256)
    return encoded(image, transparency=0)


@pytest.mark.parametrize(
    ("content", "colour"),
    [
        (encoded(Image.new("RGBA", (64, 64), (255, 0, 0, 0))), (255, 255, 255)),
        (encoded(Image.new("RGBA", (64, 64), (255, 0, 0, 128))), (255, 127, 127)),
        (encoded(Image.new("RGBA", (64, 64), (255, 0, 0, 0)), "WEBP", lossless=True), (255, 255, 255)),
        (encoded(Image.new("LA", (64, 64), (0, 0))), (255, 255, 255)),
        (transparent_palette(), (255, 255, 255)),
        (encoded(Image.new("RGB", (64, 64), (9, 9, 9)), transparency=(9, 9, 9)), (255, 255, 255)),
        (encoded(Image.new("I;16", (64, 64), 32768)), (128, 128, 128)),
        (encoded(Image.new("L", (64, 64), 77)), (77, 77, 77)),
        (encoded(Image.new("1", (64, 64), 1)), (255, 255, 255)),
        (encoded(Image.new("P", (64, 64), 1).convert("P")), None),
        (encoded(Image.new("CMYK", (64, 64), (0, 255, 255, 0)), "JPEG"), (254, 0, 0)),
    ],
)
def test_every_mode_has_a_thumbnail_with_alpha_on_white(folder, keep, content, colour):
    record = keep(content)
    measured = colour_of(folder, record)
    if colour is not None:
        assert all(abs(a - b) <= 4 for a, b in zip(measured, colour, strict=True)), measured


def test_a_deleted_thumbnail_is_made_again(folder, keep, image):
    record = keep(image())
    path = thumbnail_path(folder, record, 512)
    before = path.read_bytes()
    path.unlink()
    assert thumbnail_path(folder, record, 512).read_bytes() == before


def test_a_thumbnail_without_an_image_is_an_error(folder, keep, image):
    record = keep(image())
    for path in folder.rglob(f"{TOKEN}_0.*"):
        path.unlink()
    with pytest.raises(ImageError, match=r"\[0\] is not on disk any more"):
        thumbnail_path(folder, record, 256)
    with pytest.raises(ImageError, match=r"\[1\] is not on disk: the host was refused"):
        thumbnail_path(folder, ImageRecord(1, "9", 1, "missing", error="the host was refused"), 256)


# -- the sidecar -----------------------------------------------------------------------------------------------------


def test_the_sidecar_describes_the_run_and_its_images(folder, keep, image, history, run_request):
    run = history.record_or_reuse(
        run_request(token=TOKEN, params={"3::seed": 2**64 - 1, "6::text": "☃ \ud800"}, name="best")
    ).record
    assert write_sidecar(folder, run) is None
    history.apply(TOKEN, StatusEvent.ACCEPTED, service_run_id="77")
    expected = [ImageRecord(0, "9", 0), ImageRecord(1, "9", 1)]
    history.apply(TOKEN, StatusEvent.SEEN_SUCCESS, images=expected)
    content = image()
    record = history.set_images(TOKEN, keep(content))
    path = write_sidecar(folder, record)
    sidecar = json.loads(path.read_text())
    assert path.name == f"{TOKEN}.json"
    assert path.parent == image_path(folder, record.images[0]).parent
    assert sidecar["params"] == run.params
    assert (sidecar["ref"], sidecar["workflow"], sidecar["service"], sidecar["service_run_id"], sidecar["name"]) == (
        "r1",
        "default",
        "sandbox",
        "77",
        "best",
    )
    assert sidecar["images"][0]["sha256"] == hashlib.sha256(content).hexdigest()
    assert sidecar["created_at"].endswith("Z")
    assert [entry["state"] for entry in sidecar["images"]] == ["kept", "expected"]
    assert "127.0.0.1" not in path.read_text()
    record = history.set_images(TOKEN, replace(expected[1], state="missing", error="gone"))
    assert write_sidecar(folder, record) == path
    assert json.loads(path.read_text())["images"][1]["error"] == "gone"
    assert not list(folder.rglob("*.part"))
