"""Damaged and malicious archives are rejected, and nothing is written."""

from __future__ import annotations

import io
import json
import stat
import struct
import zipfile
import zlib

import pytest
from archives import all_files, change_manifest, png, read_zip, write_zip

from comflowy_nb.errors import ImageError
from comflowy_nb.settings import settings


@pytest.fixture(scope="module")
def contents():
    """Return a dict that keeps the content of the archive for all tests of this module."""
    return {}


@pytest.fixture
def archive(contents, request, tmp_path):
    """Return the path of bottles.zip, which is made once."""
    path = tmp_path / "bottles.zip"
    if path.name not in contents:
        contents[path.name] = request.getfixturevalue("bottles").save(path)[0].read_bytes()
    path.write_bytes(contents[path.name])
    return path


@pytest.fixture
def refused(other, tmp_path):
    """Return a function that loads a file and returns the error, after checking that nothing was written."""

    def load(path):
        assert other.history.count() == 0
        before = all_files(tmp_path / "other")
        with pytest.raises(ImageError) as caught:
            other.load(path)
        assert other.history.count() == 0
        assert other.history.sweeps.count() == 0
        assert [name for name in all_files(tmp_path / "other") if name not in before] in ([], ["loading.lock"])
        return str(caught.value)

    return load


def add(path, info, content=b"x"):
    """Write an archive with one more file."""
    target = path.with_name("more.zip")
    with zipfile.ZipFile(target, "w") as archive:
        for name, each in read_zip(path).items():
            archive.writestr(name, each)
        archive.writestr(info, content)
    return target


@pytest.mark.parametrize(
    "name",
    ["/etc/passwd", "../x.png", "images/../../x.png", "C:\\x.png", "C:/x.png", "images\\..\\x", "..", "\\\\h\\x"],
)
def test_paths_that_lead_out_of_a_folder(archive, refused, name):
    info = zipfile.ZipInfo("placeholder")
    info.filename = info.orig_filename = name
    assert "has a path that leads out of its folder" in refused(add(archive, info))


@pytest.mark.parametrize("name", ["a\nb.png", "a\x1b[31m.png", "a\u202egnp.exe", "x" * 400])
def test_names_with_control_characters(archive, refused, name):
    assert "control characters" in refused(add(archive, zipfile.ZipInfo(name)))


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_links_and_devices(archive, refused, kind):
    info = zipfile.ZipInfo("images/link.png")
    info.external_attr = (kind | 0o777) << 16
    assert "is a link or a device" in refused(add(archive, info, b"/etc/passwd"))


def test_a_link_in_place_of_an_image(archive, refused):
    files = read_zip(archive)
    first = next(iter(files))
    with zipfile.ZipFile(archive.with_name("x.zip"), "w") as changed:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.external_attr = ((stat.S_IFLNK if name == first else stat.S_IFREG) | 0o644) << 16
            changed.writestr(info, content)
    assert "is a link" in refused(archive.with_name("x.zip"))


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("change", [str, str.upper])
def test_a_name_that_occurs_twice(archive, refused, change):
    first = next(iter(read_zip(archive)))
    assert "occurs twice" in refused(add(archive, zipfile.ZipInfo(change(first))))


def test_an_encrypted_file(archive, refused):
    content = bytearray(archive.read_bytes())
    at = content.index(b"PK\x01\x02")
    content[at + 8] |= 1
    archive.write_bytes(content)
    assert "is encrypted" in refused(archive)


def test_an_unsupported_compression_method(archive, refused):
    target = archive.with_name("x.zip")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_BZIP2) as changed:
        for name, content in read_zip(archive).items():
            changed.writestr(name, content)
    assert "is compressed by a method that is not supported" in refused(target)


# -- sizes ------------------------------------------------------------------------------------------------------------


def test_a_zip_bomb(archive, refused):
    info = zipfile.ZipInfo("images/bomb.png")
    info.compress_type = zipfile.ZIP_DEFLATED
    path = add(archive, info, b"\0" * 50_000_000)
    assert path.stat().st_size < 100_000
    assert "times as large as the zip file" in refused(path)


def set_size(content, name, size, *, at):
    """Change the declared size of a file, in the central directory and in its local header."""
    content = bytearray(content)
    for signature, name_at, size_at in ((b"PK\x01\x02", 46, 24), (b"PK\x03\x04", 30, 22)):
        start = 0
        while (start := content.find(signature, start)) >= 0:
            if content[start + name_at : start + name_at + len(name)] == name.encode() and signature in at:
                content[start + size_at : start + size_at + 4] = struct.pack("<I", size)
            start += 4
    return bytes(content)


@pytest.mark.parametrize("change", [-1, 1, 1000])
def test_wrong_declared_sizes(archive, refused, change):
    target = archive.with_name("x.zip")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as changed:
        for name, content in read_zip(archive).items():
            changed.writestr(name, content)
    first = next(iter(read_zip(archive)))
    size = len(read_zip(archive)[first]) + change
    target.write_bytes(set_size(target.read_bytes(), first, size, at={b"PK\x01\x02", b"PK\x03\x04"}))
    assert "Nothing was loaded" in refused(target)


def test_a_bomb_that_declares_a_small_size_is_not_expanded(archive, refused):
    first = next(iter(read_zip(archive)))
    target = archive.with_name("x.zip")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as changed:
        for name, content in read_zip(archive).items():
            changed.writestr(name, b"\0" * 80_000_000 if name == first else content)
    target.write_bytes(set_size(target.read_bytes(), first, 1000, at={b"PK\x01\x02", b"PK\x03\x04"}))
    assert "is damaged" in refused(target)


def test_a_file_above_the_size_limit_of_images(archive, refused):
    settings.image_max_bytes = 1024
    first = next(iter(read_zip(archive)))
    files = read_zip(archive)
    files[first] = png() + b"\1" * 2000
    assert "is larger than" in refused(write_zip(archive, files))


def test_too_many_files(archive, refused, tmp_path):
    """Only the list of the files is written, because zipfile is slow to write 100,001 files."""
    header = struct.pack("<4s6H3L5H2L", b"PK\1\2", 20, 20, *[0] * 7, 6, *[0] * 6)
    entries = b"".join(header + b"%06d" % number for number in range(100_001))
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, len(entries), 0, 0)
    path = tmp_path / "many.zip"
    path.write_bytes(entries + end)
    assert "more than 100,000" in refused(path)


def test_a_list_of_files_that_is_longer_than_the_file(archive, refused):
    content = bytearray(archive.read_bytes())
    at = content.rindex(b"PK\x05\x06")
    content[at + 12 : at + 16] = struct.pack("<I", 0xFFFFFFF0)
    archive.write_bytes(content)
    assert "is not a zip file, or it is damaged" in refused(archive)


# -- images -----------------------------------------------------------------------------------------------------------


def test_an_image_with_another_content(archive, refused):
    files = read_zip(archive)
    files[next(iter(files))] = png((1, 2, 3))
    assert "the sha256 of its file" in refused(write_zip(archive, files))


@pytest.mark.parametrize(
    "content", [b"<svg onload='alert(1)'/>", b"%!PS", b"GIF89a" + b"\0" * 99, b"MZ\x90", png()[:60]]
)
def test_an_image_entry_that_is_not_an_image(archive, refused, content):
    import hashlib

    files = read_zip(archive)
    first = next(iter(files))
    files[first] = content
    manifest = json.loads(files["manifest.json"])
    manifest["runs"][0]["outputs"][0]["sha256"] = hashlib.sha256(content).hexdigest()
    files["manifest.json"] = json.dumps(manifest).encode()
    assert "is not an image" in refused(write_zip(archive, files))


def test_an_output_that_is_a_program(archive, refused):
    def change(manifest):
        manifest["runs"][0]["outputs"][0]["format"] = "EXE"

    assert "has the type exe" in refused(change_manifest(archive, change))


def test_an_invalid_last_image_leaves_no_other_image(archive, refused):
    files = read_zip(archive)
    files[list(files)[3]] = b"no image"
    assert "the sha256 of its file" in refused(write_zip(archive, files))


# -- the manifest -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "its JSON is invalid"),
        (b"\xff\xfe", "its JSON is invalid"),
        (b"[1, 2", "its JSON is invalid"),
        (b"[" * 100_000, "nested too deep"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested too deep"),  # Python 3.13 reads 5,000 levels
        (b'{"format": "comflowy_nb archive", "version": ' + b"9" * 5000 + b"}", "too large"),
        (b'{"format": "comflowy_nb archive", "version": 1e999}', "too large"),
        (b'{"format": "comflowy_nb archive", "version": NaN}', "is not allowed"),
        (b"[]", "another format"),
        (b'"comflowy_nb archive"', "another format"),
        (b'{"format": "x", "version": 1}', "another format"),
        (b'{"format": "comflowy_nb archive", "version": "1"}', "another format"),
        (b'{"format": "comflowy_nb archive", "version": 1}', "missing required field"),
        (b'{"format": "comflowy_nb archive", "version": 2}', "saved by a newer comflowy_nb"),
    ],
)
def test_a_manifest_that_can_not_be_read(archive, refused, content, text):
    files = read_zip(archive)
    files["manifest.json"] = content
    assert text in refused(write_zip(archive, files))


def put(*path):
    """Return a function that sets a value in a manifest; the last of `path` is the value."""
    *keys, last, value = path

    def change(manifest):
        for key in keys:
            manifest = manifest[key]
        manifest[last] = value

    return change


RUN, SWEEP = ("runs", 0), ("sweeps", 0)
IMAGE = (*RUN, "outputs", 0)
DEEP = json.loads("[" * 80 + "]" * 80)
RATING = {"source": "", "rating": 3, "rejected": False, "note": None, "rated_at": 1.0}


@pytest.mark.parametrize(
    "change",
    [
        put("unknown", 1),
        put("version", 0),
        put("runs", {}),
        put("runs", 0, None),
        put(*RUN, "token", "../../x"),
        put(*RUN, "token", 7),
        put(*RUN, "status", "running"),
        put(*RUN, "status", "good"),
        put(*RUN, "created_at", "yesterday"),
        put(*RUN, "created_at", -1.0),
        put(*RUN, "finished_at", 1e300),
        put(*RUN, "name", "r1"),
        put(*RUN, "name", "no name"),
        put(*RUN, "name", "import"),
        put(*RUN, "workflow", ""),
        put(*RUN, "workflow", "a\nb"),
        put(*RUN, "service", "\x1b[31m"),
        put(*RUN, "workflow", "x" * 1000),
        put(*RUN, "error", "\0"),
        # Half of a surrogate pair ended in a UnicodeEncodeError of SQLite or msgspec.
        put(*RUN, "workflow", "\ud800"),
        put(*RUN, "error", "\udce9"),
        put(*RUN, "created_at", "\ud800"),
        put(*IMAGE, "ratings", [{**RATING, "note": "\ud800"}]),
        put(*RUN, "params", []),
        put(*RUN, "params", "3::cfg", DEEP),
        put(*RUN, "params", "a\0b", 1),
        put(*RUN, "set_params", "cfg"),
        put(*RUN, "graph", "none"),
        put(*RUN, "sweep", "00000000-0000-4000-8000-000000000000"),
        put(*RUN, "outputs", {}),
        put(*RUN, "extra", 1),
        put(*IMAGE, "index", -1),
        put(*IMAGE, "index", 2**40),
        put(*IMAGE, "index", "0"),
        put(*IMAGE, "file", "manifest.json"),
        put(*IMAGE, "file", "nowhere.png"),
        put(*IMAGE, "file", None),
        put(*IMAGE, "sha256", "x"),
        put(*IMAGE, "format", "../png"),
        put(*IMAGE, "ratings", [{**RATING, "rating": 6}]),
        put(*IMAGE, "ratings", [{**RATING, "rating": 0}]),
        put(*IMAGE, "ratings", [{**RATING, "rating": True}]),
        put(*IMAGE, "ratings", [{**RATING, "note": "\x1b"}]),
        put(*IMAGE, "ratings", [{**RATING, "source": "a\nb"}]),
        put(*IMAGE, "ratings", [RATING, RATING]),
        put(*IMAGE, "scores", [{"name": "a", "value": "x", "error": None}]),
        put(*IMAGE, "scores", [{"name": "a", "value": 1.0, "error": None}] * 2),
        put(*SWEEP, "token", "s1"),
        put(*SWEEP, "spec", {}),
        put(*SWEEP, "spec", "axes", 0, "kind", "shell"),
        put(*SWEEP, "spec", "axes", 0, "values", []),
        put(*SWEEP, "spec", "axes", 0, "name", "6::text"),
        put(*SWEEP, "spec", "axes", 0, {"parts": [{"name": "x"}]}),
        put(*SWEEP, "spec", "layout", {"x": "nothing"}),
        put(*SWEEP, "spec", "layout", {"w": "3::cfg"}),
        put(*SWEEP, "cells", 0, "number", 2),
        put(*SWEEP, "cells", 0, "at", [0]),
        put(*SWEEP, "cells", 0, "at", [0, 99]),
        put(*SWEEP, "cells", 0, "at", [0, -1]),
        put(*SWEEP, "cells", 0, "run", "00000000-0000-4000-8000-000000000000"),
        put(*SWEEP, "cells", 0, "params", {"a": DEEP}),
        put("graphs", {"a": {"3": 1}}),
        put("graphs", {"a": {"3": {"inputs": DEEP}}}),
        put("inputs", [{"identity": "../x", "names": ["a"], "file": "manifest.json", "sha256": "0" * 64}]),
        put("left_out", "prompts"),
    ],
)
def test_a_manifest_with_an_invalid_value(archive, refused, change):
    assert "Nothing was loaded" in refused(change_manifest(archive, change))


def test_two_runs_with_one_token_or_one_file(archive, refused):
    def one_token(manifest):
        manifest["runs"][1]["token"] = manifest["runs"][0]["token"]

    def one_file(manifest):
        manifest["runs"][1]["outputs"][0]["file"] = manifest["runs"][0]["outputs"][0]["file"]

    assert "two entries have the same token" in refused(change_manifest(archive, one_token))
    assert "two entries have the same file" in refused(change_manifest(archive, one_file))


def test_a_zip_file_of_something_else(refused, tmp_path):
    assert "has no manifest.json" in refused(write_zip(tmp_path / "x.zip", {"a.txt": b"a"}))
    (tmp_path / "y.zip").write_bytes(b"no zip")
    assert "is not a zip file" in refused(tmp_path / "y.zip")
    (tmp_path / "z.zip").mkdir()
    assert "is a folder" in refused(tmp_path / "z.zip")


def test_files_that_the_manifest_does_not_name_are_ignored(archive, other, tmp_path):
    path = add(archive, zipfile.ZipInfo("__MACOSX/._x"), b"mac")
    assert other.load(path).sweeps == ("s1",)
    assert not [name for name in all_files(tmp_path / "other") if "MAC" in name]


def test_truncated_archives(archive, refused):
    content = archive.read_bytes()
    for length in range(0, len(content), max(1, len(content) // 40)):
        archive.write_bytes(content[:length])
        refused(archive)


def test_archives_with_changed_bytes_are_refused_or_loaded_but_never_crash(archive, tmp_path):
    """Change single bytes: the only exceptions are errors of this package."""
    from comflowy_nb.library import Library

    content = archive.read_bytes()
    for number, position in enumerate(range(0, len(content), max(1, len(content) // 120))):
        changed = bytearray(content)
        changed[position] ^= 0x41
        archive.write_bytes(changed)
        library = Library(tmp_path / f"home{number}")
        try:
            library.load(archive)
        except ImageError:
            assert library.history.count() == 0
        library.close()


def test_a_png_that_decompresses_to_much_more_is_kept_without_being_decoded(archive, other):
    """A PNG of 30,000 x 30,000 pixels is a small file. It is stored without a thumbnail."""
    import hashlib

    rows = zlib.compress(b"\0" * (30_000 // 8 + 1) * 30_000, 9)

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 1, 0, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    files = read_zip(archive)
    files[next(iter(files))] = content
    manifest = json.loads(files["manifest.json"])
    manifest["runs"][0]["outputs"][0]["sha256"] = hashlib.sha256(content).hexdigest()
    files["manifest.json"] = json.dumps(manifest).encode()
    other.load(write_zip(archive, files))
    image = other.find("s1.1[0]").image
    assert (image.record.width_px, image.record.state) == (30_000, "kept")
    assert "pixels" in image.record.error
    assert io.BytesIO(image.bytes).read(4) == b"\x89PNG"
