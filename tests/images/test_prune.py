"""Prune removes originals, and keeps rows and thumbnails; nothing else is removed."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from operator import attrgetter, methodcaller
from pathlib import Path

import pytest
from history_fixtures import advance_to

from comflowy_nb.errors import ImageError, SettingsError
from comflowy_nb.images.receive import image_path
from comflowy_nb.library import Library
from comflowy_nb.status import Status, StatusEvent


def states(library, run):
    return [image.state for image in library.history.get(run.token).outputs]


def originals(library):
    return sorted(path.name for path in library.folder.rglob("*.png"))


def test_originals_are_removed_and_rows_and_thumbnails_are_kept(library, stored):
    run = stored("a", 2)
    paths = [image_path(library.folder, image) for image in run.images]
    size_bytes = sum(path.stat().st_size for path in paths)
    pruned = library.prune(0)
    assert (pruned.images.files, pruned.images.size_bytes, pruned.is_done) == (2, size_bytes, True)
    assert pruned.oldest == pruned.newest == run.finished_at
    assert originals(library) == []
    assert states(library, run) == ["pruned", "pruned"]
    after = library.find("r1").run
    assert [image.record.sha256 for image in after.images] == [image.sha256 for image in run.images]
    assert all(image.thumbnail(size_px).is_file() for image in after.images for size_px in (256, 512))
    (sidecar,) = library.folder.rglob("*.json")
    assert [image["state"] for image in json.loads(sidecar.read_text())["images"]] == ["pruned", "pruned"]
    assert library.history.cleanup.pending() == []


@pytest.mark.parametrize("read", ["bytes", "path", "pil", "array"])
def test_the_error_of_a_pruned_image_names_the_command(library, stored, read):
    stored("a")
    library.prune(0)
    image = library.find("r1[0]").image
    with pytest.raises(ImageError, match=r"original of r1\[0\] was pruned.*%comflowy show r1 --refetch"):
        methodcaller(read)(image) if read in {"pil", "array"} else attrgetter(read)(image)
    assert image.is_pruned
    assert "pruned" in repr(image)


def test_a_dry_run_only_lists(library, stored):
    run = stored("a")
    planned = library.prune(0, dry_run=True)
    assert (planned.images.files, planned.is_done) == (1, False)
    assert states(library, run) == ["kept"]
    assert len(originals(library)) == 1


def test_nothing_is_removed_unless_it_is_confirmed(library, stored):
    run, numbers_of_files = stored("a"), []
    declined = library.prune(0, confirm=lambda planned: numbers_of_files.append(planned.images.files) or False)
    assert (declined.is_done, numbers_of_files) == (False, [1])
    assert states(library, run) == ["kept"]
    assert library.prune(0, confirm=lambda planned: True).is_done
    assert states(library, run) == ["pruned"]
    assert library.prune(0, confirm=lambda planned: pytest.fail("asked about nothing")).images.files == 0


def test_only_runs_that_ended_before_are_pruned(library, stored, monkeypatch):
    stored("a")
    assert library.prune(timedelta(days=60)).images.files == 0
    assert library.prune(3600.0).images.files == 0
    now = library.find("r1").run.record.finished_at
    monkeypatch.setattr("time.time", lambda: now + 61 * 86400)
    assert library.prune(timedelta(days=60)).images.files == 1


@pytest.mark.parametrize("older", [-1, "60d", None, float("nan"), True])
def test_an_invalid_age_is_an_error_that_shows_the_right_form(library, older):
    with pytest.raises(SettingsError, match=r"invalid age .*datetime\.timedelta\(days=60\)"):
        library.prune(older)


def test_named_runs_and_runs_of_a_named_sweep_are_kept_without_all(library, stored, sweep_request, cells):
    history = library.history
    stored("a", name="best")
    stored("b")
    stored("k1")
    sweep = history.sweeps.record_or_update(sweep_request(name="looks"), cells(1))
    history.sweeps.set_cells(sweep.token, {1: history.by_number(3).token})
    pruned = library.prune(0)
    assert (pruned.images.files, pruned.protected) == (1, 2)
    assert [states(library, history.by_number(number)) for number in (1, 2, 3)] == [["kept"], ["pruned"], ["kept"]]
    assert library.prune(0, all=True).images.files == 2


def test_an_input_of_another_run_is_kept_without_all(library, stored):
    run = stored("a", 2)
    library.history.inputs.store_name("sandbox", "uploaded.png", run.images[1].sha256)
    pruned = library.prune(0)
    assert (pruned.images.files, pruned.protected) == (1, 1)
    assert states(library, run) == ["pruned", "kept"]
    assert library.prune(0, all=True).images.files == 1


@pytest.mark.parametrize("status", [Status.SUBMITTING, Status.WAITING, Status.UNKNOWN, Status.LOST])
def test_live_and_held_runs_are_not_touched(library, run_request, status):
    history = library.history
    run = advance_to(history, history.record_or_reuse(run_request("a")).record.token, status)
    assert library.prune(0, all=True).images.files == 0
    assert history.get(run.token) == run


def test_a_run_whose_images_are_being_fetched_is_not_touched(library, stored):
    run = stored("a", 2)
    library.history.set_images(run.token, replace(run.images[1], state="expected"))
    image_path(library.folder, run.images[1]).unlink()
    library.history.set_images(run.token, replace(run.images[1], state="expected"))
    assert library.prune(0, all=True).images.files == 0
    assert states(library, run)[0] == "kept"


def test_runs_that_a_sweep_shows_while_it_is_submitted_are_not_touched(
    library, stored, sweep_request, cells, process_lock
):
    history = library.history
    run = stored("k1")
    sweep = history.sweeps.record_or_update(sweep_request(), cells(2))
    history.sweeps.set_cells(sweep.token, {1: run.token})
    history.senders.begin(sweep.token, process_lock.name)
    assert library.prune(0, all=True).images.files == 0
    history.senders.end(sweep.token, process_lock.name)
    assert library.prune(0, all=True).images.files == 1


def test_runs_that_a_sweep_with_a_live_run_shows_are_not_touched(library, stored, sweep_request, cells, run_request):
    history = library.history
    run, live = stored("k1"), history.record_or_reuse(run_request("k2")).record
    sweep = history.sweeps.record_or_update(sweep_request(), cells(2))
    history.sweeps.set_cells(sweep.token, {1: run.token, 2: live.token})
    assert library.prune(0, all=True).images.files == 0
    advance_to(history, live.token, Status.FAILED)
    assert library.prune(0, all=True).images.files == 1


def test_a_failed_run_with_images_can_be_pruned(library, stored):
    run = stored("a", event=StatusEvent.SEEN_FAILED)
    assert library.prune(0).images.files == 1
    assert states(library, run) == ["pruned"]


def test_videos_and_images_without_a_thumbnail_are_kept(library, stored):
    run = stored("a", 3)
    library.history.set_images(
        run.token,
        replace(run.images[0], format="MP4"),
        replace(run.images[1], error="it has too many pixels"),
    )
    assert library.prune(0, all=True).images.files == 1
    assert sorted(states(library, run)) == ["kept", "kept", "pruned"]
    assert len(originals(library)) == 2


def test_a_missing_thumbnail_is_stored_first(library, stored):
    run = stored("a")
    for thumbnail in library.folder.rglob("*.t*.jpg"):
        thumbnail.unlink()
    assert library.prune(0).images.files == 1
    assert len(list(library.folder.rglob("*.t*.jpg"))) == 2
    assert states(library, run) == ["pruned"]


def test_a_damaged_original_without_a_thumbnail_is_kept(library, stored):
    run = stored("a")
    for thumbnail in library.folder.rglob("*.t*.jpg"):
        thumbnail.unlink()
    image_path(library.folder, run.images[0]).write_bytes(b"damaged")
    assert library.prune(0).images.files == 0
    assert states(library, run) == ["kept"]
    assert len(originals(library)) == 1


@pytest.fixture
def outside(tmp_path):
    file = tmp_path / "outside.png"
    file.write_bytes(b"not ours")
    return file


@pytest.mark.parametrize("changed", ["absolute", "relative", "history", "of another run", "sidecar", "thumbnail"])
def test_a_changed_row_removes_no_other_file(library, stored, outside, changed):
    run, other = stored("a"), stored("b", name="other")
    image = run.images[0]
    file = {
        "absolute": str(outside),
        "relative": f"../../{outside.name}",
        "history": "../history.sqlite",
        "of another run": other.images[0].file,
        "sidecar": image.file.replace("_0.png", ".json"),
        "thumbnail": image.file.replace(".png", ".t256.jpg"),
    }[changed]
    library.history.set_images(run.token, replace(image, file=file))
    before = sorted(library.home.rglob("*"))
    assert library.prune(0).images.files == 0
    assert sorted(library.home.rglob("*")) == before
    assert outside.read_bytes() == b"not ours"
    deleted = library.delete("r1")
    assert deleted.runs == ("r1",)
    assert outside.read_bytes() == b"not ours"
    assert image_path(library.folder, other.images[0]).is_file()
    assert (library.home / "history.sqlite").is_file()
    assert not [path for path in library.folder.rglob("*") if run.token in path.name]


def test_a_link_to_a_file_outside_is_kept(library, stored, outside):
    run = stored("a")
    path = image_path(library.folder, run.images[0])
    path.unlink()
    path.symlink_to(outside)
    assert library.prune(0).images.files == 0
    assert states(library, run) == ["kept"]
    library.delete("r1")
    assert outside.read_bytes() == b"not ours"
    assert not path.is_symlink()


@pytest.mark.parametrize("linked", ["month", "images"])
def test_files_in_a_linked_folder_outside_are_kept(library, stored, tmp_path, linked):
    run = stored("a")
    month = image_path(library.folder, run.images[0]).parent
    folder = month if linked == "month" else library.folder
    moved = folder.rename(tmp_path / "moved")
    folder.symlink_to(moved, target_is_directory=True)
    before = sorted(moved.rglob("*"))
    assert library.prune(0).images.files == 0
    assert library.delete("r1").runs == ("r1",)
    assert sorted(moved.rglob("*")) == before


def test_two_processes_prune_the_same_originals_once(library, home, stored):
    stored("a", 3)
    other = Library(home)
    counted = []
    # the other process prunes after this one has listed what to remove
    pruned = library.prune(0, confirm=lambda planned: counted.append(other.prune(0).images.files) or True)
    assert (counted, pruned.images.files) == ([3], 0)
    other.close()


def test_a_run_that_is_named_after_it_was_listed_is_kept(library, stored, run_request):
    run = stored("a")

    def confirm(planned):
        library.history.record_or_reuse(run_request("a", name="best"))
        return True

    assert library.prune(0, confirm=confirm).images.files == 0
    assert states(library, run) == ["kept"]


def test_a_file_that_is_in_use_is_removed_later(library, stored, monkeypatch):
    """Windows does not remove an open file."""
    run = stored("a", 2)
    real = Path.unlink

    def unlink(path, **options):
        if path.suffix == ".png":
            raise PermissionError(13, "in use")
        real(path, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", unlink)
        assert library.prune(0).images.files == 0
        assert states(library, run) == ["pruned", "pruned"]
        assert library.disk().parts["originals"].files == 2
    library.close()
    assert library.history.cleanup.pending() == []
    assert originals(library) == []
