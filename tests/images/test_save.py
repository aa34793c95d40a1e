from __future__ import annotations

import errno
import io
import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from comflowy_nb.errors import ImageError, SettingsError
from comflowy_nb.images import save
from comflowy_nb.images.receive import image_path
from comflowy_nb.images.save import readable_name
from comflowy_nb.images.store import store_output
from comflowy_nb.status import StatusEvent
from comflowy_nb.tracking.run import ImageRecord


def png(image, **text):
    chunks = PngInfo()
    for key, value in text.items():
        chunks.add_text(key, value)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", pnginfo=chunks)
    return buffer.getvalue()


@pytest.fixture
def noise():
    return Image.effect_noise((60, 40), 80).convert("RGBA")


@pytest.fixture
def make_run(library, run_request, stream, output):
    """Return a function: `make_run([bytes, ...], ...)` makes a successful run; None is a missing image."""

    def make(contents, **changes):
        history = library.history
        record = history.record_or_reuse(run_request(**changes)).record
        expected = [ImageRecord(index, "9", index) for index in range(len(contents))]
        record = history.apply(record.token, StatusEvent.SEEN_SUCCESS, service_run_id="7", images=expected)
        for index, content in enumerate(contents):
            if content is None:
                image = replace(expected[index], state="missing", error="the host was refused")
            else:
                image = store_output(stream(content), folder=library.folder, token=record.token, output=output(index))
            record = history.set_images(record.token, image)
        return library.run(record)

    return make


def test_a_copy_contains_the_params_and_the_original_metadata(make_run, noise, tmp_path):
    original = png(noise, prompt='{"3": {}}', workflow='{"nodes": []}')
    run = make_run([original], params={"3::cfg": 7.0, "6::text": "☃ \ud800 bottle"})
    (path,) = run.save(tmp_path / "new" / "folder")
    assert path == tmp_path / "new" / "folder" / "r1_default_cfg-7_text-bottle_0.png"
    with Image.open(path) as copy:
        assert np.array_equal(np.asarray(copy), np.asarray(noise))
        assert copy.mode == "RGBA"
        assert copy.text["prompt"] == '{"3": {}}'
        assert copy.text["workflow"] == '{"nodes": []}'
        metadata = json.loads(copy.info["comflowy"])
    assert metadata["params"] == run.params
    assert (metadata["workflow"], metadata["workflow_id"], metadata["ref"], metadata["run"]) == (
        "default",
        "default",
        "r1",
        run.token,
    )
    assert "127.0.0.1" not in json.dumps(metadata)
    assert run.images[0].bytes == original


def test_only_one_metadata_chunk_is_added_to_the_bytes(make_run, noise, tmp_path):
    original = png(noise, prompt="{}")
    (path,) = make_run([original]).save(tmp_path)
    copy = path.read_bytes()
    at = copy.index(b"tEXtcomflowy") - 4
    length = int.from_bytes(copy[at : at + 4], "big")
    assert copy[:at] + copy[at + 12 + length :] == original


def test_existing_metadata_chunk_is_replaced(make_run, noise, tmp_path):
    (path,) = make_run([png(noise, comflowy='{"old": 1}')]).save(tmp_path)
    with Image.open(path) as copy:
        copy.load()
        assert "old" not in copy.text["comflowy"]
    assert path.read_bytes().count(b"comflowy\0") == 1


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
def test_other_formats_are_copied_unchanged_with_a_json_file(make_run, image, tmp_path, kind):
    content = image(kind)
    run = make_run([content])
    (path,) = run.save(tmp_path)
    assert path.read_bytes() == content
    json_path = path.with_suffix(path.suffix + ".json")
    assert json.loads(json_path.read_text())["params"] == run.params
    assert sorted(tmp_path.glob("r1*")) == sorted([path, json_path])


def test_saving_again_reuses_equal_files_and_overwrites_nothing(make_run, image, tmp_path):
    run = make_run([image()])
    (first,) = run.save(tmp_path)
    assert run.save(tmp_path) == [first]
    first.write_text("mine")
    (second,) = run.save(tmp_path)
    assert second.name == f"{first.stem} (2).png"
    assert first.read_text() == "mine"
    assert run.save(tmp_path) == [second]


def test_a_folder_with_the_name_of_a_copy_is_kept(make_run, image, tmp_path):
    run = make_run([image()])
    name = f"{readable_name(run.record, run.record.images[0])}.png"
    (tmp_path / name).mkdir()
    (path,) = run.save(tmp_path)
    assert path.name.endswith(" (2).png")


def test_a_missing_image_is_reported_and_the_others_are_saved(make_run, image, tmp_path):
    run = make_run([image(), None, image(size=(50, 50))])
    with pytest.raises(ImageError) as caught:
        run.save(tmp_path / "out")
    assert str(caught.value) == (
        "2 of 3 images saved in out; not on disk: r1[1] (the host was refused). %comflowy show r1 fetches them again"
    )
    assert sorted(path.name[-6:] for path in (tmp_path / "out").iterdir()) == ["_0.png", "_2.png"]


def test_a_deleted_image_is_missing(make_run, image, library, tmp_path):
    run = make_run([image()])
    image_path(library.folder, run.record.images[0]).unlink()
    with pytest.raises(ImageError, match=r"0 of 1 images saved.*r1\[0\]\. %comflowy show r1"):
        run.save(tmp_path)


def test_saving_a_run_without_images_is_an_error(library, run_request, tmp_path):
    record = library.history.record_or_reuse(run_request()).record
    with pytest.raises(ImageError, match=r"r1 has no images to save \(submitting\)"):
        library.run(record).save(tmp_path)


@pytest.mark.parametrize("damage", [lambda content: content[:-20], lambda content: content + b"x", lambda _: b""])
def test_a_damaged_original_is_named_and_not_copied(make_run, image, tmp_path, damage):
    run = make_run([image(), image(size=(50, 50))])
    path = run.images[0].path
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ImageError) as caught:
        run.save(tmp_path / "out")
    assert str(caught.value) == (
        "1 of 2 images saved in out; damaged, changed since the download: r1[0]. %comflowy show r1 --refetch "
        "fetches them again"
    )
    assert [copy.name[-6:] for copy in (tmp_path / "out").iterdir()] == ["_1.png"]


def test_another_image_in_place_of_the_original_is_not_copied(make_run, image, tmp_path):
    """`save` copied any file of that name as if the service had sent it."""
    run = make_run([image()])
    other = image(size=(50, 50))
    run.images[0].path.write_bytes(other)
    with pytest.raises(ImageError, match=r"0 of 1 images saved in .*changed since the download: r1\[0\]"):
        run.images[0].save(tmp_path / "one.png")
    assert not list(tmp_path.glob("*.png"))
    assert run.images[0].is_damaged
    for read in (lambda: run.images[0].bytes, run.images[0].pil, run.images[0].array):
        with pytest.raises(ImageError, match=r"^r1\[0\] is damaged: .* changed.*show r1 --refetch"):
            read()
    assert run.images[0].path.read_bytes() == other


def test_a_full_disk_is_reported_and_leaves_no_partial_file(make_run, image, tmp_path, monkeypatch):
    run = make_run([image()])
    real_open = save.Path.open

    class Full(io.FileIO):
        def write(self, content):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(
        save.Path,
        "open",
        lambda self, mode="r", *rest, **options: (
            Full(self, mode.replace("b", "")) if self.parent == tmp_path else real_open(self, mode, *rest, **options)
        ),
    )
    with pytest.raises(ImageError, match=r"r1 can't be saved in .*: the disk is full"):
        run.save(tmp_path)
    assert list(tmp_path.glob("r1*")) == []


def test_target_folder_that_is_a_file_is_an_error(make_run, image, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ImageError, match="r1 can't be saved in file: file is a file, not a folder"):
        make_run([image()]).save(tmp_path / "file")


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"3::cfg": 7, "3::seed": 42}, "cfg-7_seed-42"),
        ({"3::denoise": 0.35, "3::cfg": 7.0}, "denoise-0.35_cfg-7"),
        ({"6::text": "a", "7::text": "b"}, "6-text-a_7-text-b"),
        ({"6::text": "../../etc/passwd\0\n"}, "text-etc-passwd"),
        ({"6::text": ""}, "text-x"),
        ({"6::text": 'a "quoted" <b>: c|d?'}, "text-a-quoted-b-c-d"),
        ({"6::text": "beautiful scenery nature glass bottle"}, "text-beautiful-scenery"),
        ({"6::text": "x" * 500}, f"text-{'x' * 24}"),
        ({"5::on": True, "5::n": None}, "on-true_n-null"),
        ({"6::text": "Ärger"}, "text-Ärger"),
    ],
)
def test_names_contain_the_set_params(history, run_request, params, expected):
    record = history.record_or_reuse(run_request(params=params, set_params=tuple(params))).record
    assert readable_name(record, ImageRecord(0, "9", 0)) == f"r1_default_{expected}_0"


def test_a_name_contains_the_name_of_the_run(history, run_request):
    record = history.record_or_reuse(run_request(set_params=(), name="best")).record
    assert readable_name(record, ImageRecord(2, "9", 0)) == "r1_best_2"


def test_a_name_is_never_too_long(history, run_request):
    params = {f"{n}::field{n}": "紫色の銀河" * 20 for n in range(100)}
    record = history.record_or_reuse(run_request(params=params, set_params=tuple(params), workflow="絵" * 300)).record
    name = readable_name(record, ImageRecord(0, "9", 0))
    assert name.startswith("r1_絵")
    assert len(name.encode()) <= 120


def test_a_target_with_the_suffix_zip_is_a_zip_file(make_run, image, tmp_path):
    """`save r1 looks.zip` made a folder that was called looks.zip: every target was a folder."""
    run = make_run([image(), image(size=(50, 50))])
    assert run.save(tmp_path / "new" / "looks.zip") == [tmp_path / "new" / "looks.zip"]
    with zipfile.ZipFile(tmp_path / "new" / "looks.zip") as archive:
        assert archive.testzip() is None
        inside = {name: archive.read(name) for name in archive.namelist()}
    assert json.loads(inside.pop("manifest.json"))["runs"][0]["params"] == run.params
    names = [f"images/{path.name}" for path in run.save(tmp_path / "folder")]
    assert inside == dict(zip(names, [each.bytes for each in run.images], strict=True))
    assert run.save(tmp_path / "new" / "looks.zip") == [tmp_path / "new" / "looks.zip"], "it is not written twice"
    (tmp_path / "new" / "looks.zip").write_bytes(b"mine")
    assert run.save(tmp_path / "new" / "looks.zip") == [tmp_path / "new" / "looks (2).zip"]
    assert (tmp_path / "new" / "looks.zip").read_bytes() == b"mine"
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["looks (2).zip", "looks.zip"]


def test_a_zip_file_contains_the_images_that_are_on_disk(make_run, image, tmp_path):
    run = make_run([image(), None])
    with pytest.raises(ImageError, match=r"1 of 2 images saved in looks\.zip; not on disk"):
        run.save(tmp_path / "looks.zip")
    with zipfile.ZipFile(tmp_path / "looks.zip") as archive:
        assert len([name for name in archive.namelist() if name.startswith("images/")]) == 1


def test_a_run_without_images_leaves_no_zip_file(make_run, tmp_path):
    with pytest.raises(ImageError):
        make_run([None]).save(tmp_path / "looks.zip")
    assert not list(tmp_path.glob("*.zip"))


def test_one_image_can_be_saved_to_an_image_file(make_run, image, tmp_path):
    """`r.save("x.png")` made a folder x.png with the image inside."""
    run = make_run([image()])
    (path,) = run.save(tmp_path / "new" / "x.png")
    assert path == tmp_path / "new" / "x.png"
    with Image.open(path) as copy:
        assert json.loads(copy.info["comflowy"])["params"] == run.params
    jpeg = make_run([image("JPEG")], key="another")
    assert jpeg.save(tmp_path / "x.JPEG") == [tmp_path / "x.JPEG"]
    assert (tmp_path / "x.JPEG").read_bytes() == jpeg.images[0].bytes


def test_an_image_file_as_the_target_of_several_images_is_an_error(make_run, image, tmp_path):
    run = make_run([image(), image(size=(50, 50))])
    with pytest.raises(SettingsError, match=r"2 images.*x\.zip.*%comflowy save r1\[0\] x\.png"):
        run.save(tmp_path / "x.png")
    assert not (tmp_path / "x.png").exists()


def test_an_image_file_of_another_format_is_an_error(make_run, image, tmp_path):
    run = make_run([image()])
    with pytest.raises(SettingsError, match=r"r1\[0\] is a PNG image: use x\.png"):
        run.save(tmp_path / "x.jpg")


@pytest.mark.parametrize("name", ["looks.html", "looks.pdf"])
def test_a_page_and_a_figure_of_a_run_are_saved_by_another_function(make_run, image, tmp_path, name):
    run = make_run([image()])
    with pytest.raises(SettingsError, match=rf'comflowy_nb\.save\("r1", "{name}"\)'):
        run.save(tmp_path / name)
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("name", ["looks.tar.gz", "looks.json", "looks.MP4"])
def test_a_target_with_another_suffix_is_an_error(make_run, image, tmp_path, name):
    run = make_run([image()])
    with pytest.raises(SettingsError, match="zip"):
        run.save(tmp_path / name)
    assert not (tmp_path / name).exists()


@pytest.mark.parametrize("name", ["out.v2", "2026.11.28", "looks.zip", "there.png"])
def test_a_folder_may_have_dots_in_its_name(make_run, image, tmp_path, name):
    if "." in name and name.rpartition(".")[2] in {"zip", "png"}:
        (tmp_path / name).mkdir()
    (path,) = make_run([image()]).save(tmp_path / name)
    assert path.parent == tmp_path / name


def test_a_pruned_image_is_reported_with_the_way_to_fetch_it(stored, library, tmp_path):
    stored("a")
    library.prune(0)
    with pytest.raises(ImageError, match=r"not on disk: r1\[0\]\. %comflowy show r1 --refetch fetches them again"):
        library.find("r1").run.save(tmp_path / "out")
