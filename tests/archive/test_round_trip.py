"""One person saves an archive, and another loads it into a history, without a service."""

from __future__ import annotations

import io
import json
import time

import numpy as np
import pytest
from archives import all_files, change_manifest, png, read_manifest, read_zip
from history_fixtures import advance_to
from PIL import Image

import comflowy_nb
from comflowy_nb.database.ratings import Rating
from comflowy_nb.database.scores import Score
from comflowy_nb.errors import ImageError, RefError, SettingsError
from comflowy_nb.images.store import store_output
from comflowy_nb.services.types import Output
from comflowy_nb.status import Status, StatusEvent
from comflowy_nb.tracking.run import ImageRecord


def test_a_loaded_sweep_is_the_sweep_that_was_saved(bottles, archive, other):
    loaded = other.load(archive)
    assert (loaded.sweeps, len(loaded.runs), loaded.images) == (("s1",), 4, 4)
    sweep = other.sweep(other.find("bottles").sweep)
    assert [cell.labels for cell in sweep] == [cell.labels for cell in bottles]
    assert [dict(cell.params) for cell in sweep] == [dict(cell.params) for cell in bottles]
    assert [cell.run.params for cell in sweep] == [cell.run.params for cell in bottles]
    assert [cell.images[0].bytes for cell in sweep] == [cell.images[0].bytes for cell in bottles]
    for cell, original in zip(sweep, bottles, strict=True):
        assert np.array_equal(cell.images[0].array(), original.images[0].array())
        assert Image.open(cell.images[0].thumbnail(256)).size == (96, 64)
        record = cell.run.record
        assert (record.imported, record.status, record.workflow) == ("bottles.zip", Status.SUCCESS, "default")
        assert record.finished_at == original.run.record.finished_at
    assert sweep.record.imported == "bottles.zip"
    assert sweep.is_settled


def test_loading_twice_adds_nothing(archive, other, tmp_path):
    other.load(archive)
    before = all_files(tmp_path / "other")
    again = other.load(archive)
    assert not again.is_new
    assert again.known == ("s1", "r1", "r2", "r3", "r4")
    assert other.history.count() == 4
    assert all_files(tmp_path / "other") == before


def test_loading_into_the_history_that_saved_it_adds_nothing(archive, library, bottles):
    loaded = library.load(archive)
    assert not loaded.is_new
    assert library.history.get(bottles[0].run.token).imported is None


def test_an_equal_archive_is_not_written_twice(bottles, archive, tmp_path):
    assert bottles.save(tmp_path / "bottles.zip") == [archive]
    bottles[0].images[0].rate(5)
    assert bottles.save(tmp_path / "bottles.zip") == [tmp_path / "bottles (2).zip"]


def test_the_files_have_readable_names_and_the_original_bytes(bottles, archive):
    files = read_zip(archive)
    assert next(iter(files)).startswith("images/s1.1_cfg-4_text-a-glass-bottle")
    assert files.pop("manifest.json")
    assert list(files.values()) == [cell.images[0].bytes for cell in bottles]


def test_a_graph_an_error_and_several_images_are_kept(library, other, run_request, stream, tmp_path):
    graph = {"3": {"class_type": "KSampler", "inputs": {"cfg": 7.0}}}
    history = library.history
    record = history.record_or_reuse(run_request("a", graph=graph, workflow_id=None, name="two")).record
    expected = [ImageRecord(0, "9", 0), ImageRecord(1, "12", 0)]
    history.apply(record.token, StatusEvent.SEEN_SUCCESS, service_run_id="x", images=expected)
    for index, node in ((0, "9"), (1, "12")):
        output = Output(index, node, 0, url="")
        content = stream(png((index, 0, 0)))
        history.set_images(
            record.token, store_output(content, folder=library.folder, token=record.token, output=output)
        )
    failed = history.record_or_reuse(run_request("b")).record
    advance_to(history, failed.token, Status.FAILED, reason="out of\x1b[31m memory")
    path = comflowy_nb.save(["two", failed.ref], tmp_path / "two.zip")[0]
    other.load(path)
    run = other.find("two").run
    assert [(image.node, image.pil().getpixel((0, 0))) for image in run.images] == [
        ("9", (0, 0, 0)),
        ("12", (1, 0, 0)),
    ]
    assert other.history.graph(run.token) == graph
    assert other.find("r2").run.status is Status.FAILED
    assert other.find("r2").run.error == "out of [31m memory"


def test_a_single_image_of_a_run_is_saved(runs, library, other, tmp_path):
    path = comflowy_nb.save("best[1]", tmp_path / "one.zip")[0]
    other.load(path)
    assert [image.record.index for image in other.find("best").run.images] == [1]
    assert other.find("best[0]").image.bytes == library.find("best[1]").image.bytes


def test_live_runs_are_left_out_and_named(runs, tmp_path, library):
    from comflowy_nb.archive.writer import Archive

    first, _, third = runs
    archive = Archive(library.history, library.home, [(first, None), (third, None)], [])
    assert "left out, because they have not ended: r3" in archive.lines("x.zip")
    assert [run["token"] for run in read_manifest(archive.write(tmp_path / "x.zip"))["runs"]] == [first.token]


def test_images_that_are_not_on_disk_are_named_and_the_rest_is_saved(bottles, other, tmp_path):
    bottles[1].images[0].path.unlink()
    with pytest.raises(ImageError, match=r"3 of 4 images saved in x\.zip; not on disk: s1\.2\[0\]"):
        bottles.save(tmp_path / "x.zip")
    bottles[2].images[0].path.unlink()
    with pytest.raises(ImageError, match=r"%comflowy show s1\.2 s1\.3 fetches them again$"):
        bottles.save(tmp_path / "y.zip")
    loaded = other.load(tmp_path / "x.zip")
    assert loaded.images == 3
    with pytest.raises(ImageError, match=r"not in x\.zip.*no service here has it: r2 was loaded from x\.zip"):
        other.find("s1.2[0]").image.path  # noqa: B018 - it raises


def test_nothing_is_written_without_images(make_sweep, axis, tmp_path):
    sweep = make_sweep(axis("3::cfg", 4, 6), ends={1: Status.FAILED, 2: None})
    with pytest.raises(ImageError, match="s1 has no images to save"):
        sweep.save(tmp_path / "x.zip")
    assert not list(tmp_path.glob("*.zip*"))


# -- names ------------------------------------------------------------------------------------------------------------


def test_a_name_that_exists_gets_a_suffix(archive, other, run_request, tmp_path):
    other.history.record_or_reuse(run_request("own", name="bottles"))
    other.history.record_or_reuse(run_request("own2", name="bottles_2"))
    loaded = other.load(archive)
    assert loaded.renamed == {"bottles": "bottles_3"}
    assert other.find("bottles").run.ref == "r1"
    assert other.find("bottles_3").sweep.ref == "s1"


def test_last_is_the_loaded_sweep(archive, other):
    other.load(archive)
    assert other.find("last").sweep.ref == "s1"


# -- imported runs ----------------------------------------------------------------------------------------------------


def test_a_loaded_run_is_not_reused_for_a_request(archive, other, run_request, bottles):
    other.load(archive)
    request = run_request(bottles[0].key)
    assert other.history.record_or_reuse(request).kind == "new"
    assert other.history.orphans() == []


def test_a_loaded_sweep_can_be_deleted(archive, other, tmp_path):
    other.load(archive)
    deleted = other.delete("s1")
    assert (deleted.sweeps, len(deleted.runs), deleted.repeats) == (("s1",), 4, 0)
    assert not [name for name in all_files(tmp_path / "other") if name.startswith("images/")]
    assert other.load(archive).sweeps == ("s2",)


def test_runs_that_end_later_are_added_to_a_loaded_sweep(make_sweep, axis, library, other, tmp_path):
    sweep = make_sweep(axis("3::cfg", 4, 6), ends={2: None})
    half = sweep.save(tmp_path / "half.zip")[0]
    other.load(half)
    assert other.find("s1").sweep.count == 2
    whole = change_manifest(half, _add_run)
    assert len(other.load(whole).runs) == 1
    assert other.sweep(other.find("s1").sweep).cells[1].run.ref == "r2"


def _add_run(manifest):
    first = manifest["runs"][0]
    token = "00000000-0000-4000-8000-000000000000"
    manifest["runs"].append({**first, "token": token, "outputs": []})
    manifest["sweeps"][0]["cells"][1]["run"] = token


# -- ratings ----------------------------------------------------------------------------------------------------------


def test_ratings_are_loaded_under_the_name_of_the_sender(bottles, other, tmp_path):
    image = bottles[0].images[0].rate(4, note="best sky")
    bottles[1].images[0].rate(rejected=True)
    image.run.history.scores.put("sharpness", {(image.run.token, 0): Score(0.25)})
    path = bottles.save(tmp_path / "b.zip")[0]
    loaded = other.load(path, by="Ann")
    assert (loaded.ratings, loaded.source) == (2, "Ann")
    received = other.find("s1.1[0]").image
    assert received.rating is None
    assert [(one.source, one.rating, one.note) for one in received.others] == [("Ann", 4, "best sky")]
    assert received.scores == {"sharpness": 0.25}
    assert [one.rejected for one in other.find("s1.2[0]").image.others] == [True]
    assert other.load(path, by="Ann").ratings == 0
    assert other.load(path, by="Bob").ratings == 0, "the same rating has another name"


def test_ratings_of_both_people_are_kept_when_an_archive_is_sent_back(bottles, library, other, tmp_path):
    bottles[0].images[0].rate(4)
    other.load(bottles.save(tmp_path / "there.zip")[0], by="Ann")
    other.find("s1.1[0]").image.rate(2, note="too dark")
    from comflowy_nb.archive.writer import Archive

    back = Archive(other.history, other.home, [], [other.find("s1").sweep]).write(tmp_path / "back.zip")
    loaded = library.load(back, by="Bob")
    assert (loaded.ratings, loaded.runs) == (1, ())
    image = library.find("s1.1[0]").image
    assert image.rating == 4
    assert [(one.source, one.rating, one.note) for one in image.others] == [("Bob", 2, "too dark")]


def test_the_newer_of_two_ratings_of_one_person_is_kept(bottles, archive, other, tmp_path):
    other.load(archive)
    token = other.find("s1.1").run.token
    now = time.time()
    other.history.ratings.put([(token, 0, Rating(3, source="Ann", rated_at=now))])

    def rate(rated_at, rating):
        def change(manifest):
            entry = {"source": "", "rating": rating, "rejected": False, "note": None, "rated_at": rated_at}
            manifest["runs"][0]["outputs"][0]["ratings"] = [entry]

        return other.load(change_manifest(archive, change), by="Ann").ratings

    assert rate(now - 10, 1) == 0
    assert rate(now + 10, 5) == 1
    assert [one.rating for one in other.find("s1.1[0]").image.others] == [5]


# -- private texts ----------------------------------------------------------------------------------------------------


def test_hosts_and_home_paths_are_never_in_an_archive(library, run_request, stream, home, tmp_path):
    history = library.history
    params = {"6::text": f"see {home}/x.png and http://gpu-box.example:8188/view", "3::cfg": 7}
    graph = {"1": {"class_type": "Load", "inputs": {"path": f"{home}/model.bin"}}}
    address = "http://gpu-box.example:8188"
    request = run_request("a", origin=address, identity=address, graph=graph, params=params, workflow_id=None)
    record = history.record_or_reuse(request).record
    history.apply(record.token, StatusEvent.SEEN_SUCCESS, service_run_id="id-secret", images=[ImageRecord(0, "9", 0)])
    content = png(prompt=json.dumps({"1": {"path": f"{home}/model.bin"}}))
    output = Output(0, "9", 0, url="")
    history.set_images(
        record.token, store_output(stream(content), folder=library.folder, token=record.token, output=output)
    )
    run = library.find(record.ref).run
    from comflowy_nb.archive.writer import Archive

    archive = Archive(history, home, [(run.record, None)], [])
    files = read_zip(archive.write(tmp_path / "x.zip"))
    everything = b"".join(files.values()) + "".join(files).encode()
    for secret in (str(home), "gpu-box", "id-secret", record.owner):
        assert secret.encode() not in everything
    manifest = json.loads(files["manifest.json"])
    assert manifest["runs"][0]["params"]["6::text"] == "see ~/x.png and http://host/view"
    assert archive.notes() == ["metadata with a home path or a host name was removed from r1[0]"]
    assert Image.open(run.images[0].path).text, "the original is not changed"


def test_a_home_path_in_a_colour_profile_is_removed(library, run_request, stream, home, tmp_path):
    """The other metadata was removed, but not the profile, although the note named the image."""
    buffer = io.BytesIO()
    profile = b"\0" * 128 + f"made from {home}/camera.icc".encode()
    Image.new("RGB", (8, 8)).save(buffer, "PNG", icc_profile=profile)
    record = library.history.record_or_reuse(run_request("a")).record
    output = Output(0, "9", 0, url="")
    library.history.apply(record.token, StatusEvent.SEEN_SUCCESS, images=[ImageRecord(0, "9", 0)])
    kept = store_output(stream(buffer.getvalue()), folder=library.folder, token=record.token, output=output)
    library.history.set_images(record.token, kept)
    run = library.find(record.ref).run
    files = read_zip(run.save(tmp_path / "x.zip")[0])
    (image,) = [content for name, content in files.items() if name.startswith("images/")]
    assert "icc_profile" not in Image.open(io.BytesIO(image)).info
    assert Image.open(run.images[0].path).info["icc_profile"] == profile


def test_words_equal_to_a_host_name_are_kept(library, run_request, stored, tmp_path):
    record = stored(
        "a", origin="http://gpu:8188", identity="http://gpu:8188", params={"6::text": "a gpu, http://gpu/x"}
    )
    path = library.find(record.ref).run.save(tmp_path / "x.zip")[0]
    assert read_manifest(path)["runs"][0]["params"] == {"6::text": "a gpu, http://host/x"}


# -- errors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["", "a" * 61, "a\nb", 3])
def test_an_invalid_name_of_the_sender_is_an_error(archive, other, by):
    with pytest.raises(SettingsError, match="invalid name"):
        other.load(archive, by=by)
    assert other.history.count() == 0


@pytest.mark.parametrize("path", ["x.txt", 3, None])
def test_a_file_of_another_kind_is_an_error(other, path):
    with pytest.raises(SettingsError, match=r"can't load .*: use a zip file"):
        other.load(path)


def test_a_missing_file_is_an_error_with_the_nearest_name(archive, other, tmp_path):
    with pytest.raises(ImageError, match=r"there is no file .*botles\.zip.*bottles\.zip"):
        other.load(tmp_path / "botles.zip")


def test_a_plan_can_not_be_saved(bottles, tmp_path):
    with pytest.raises(RefError, match=r"3 can't be saved: use a run"):
        comflowy_nb.save(3, tmp_path / "x.zip")
