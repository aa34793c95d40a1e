"""Disk usage counts every file of the home folder, by kind and by workflow."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from comflowy_nb.images.disk_usage import DISK_PARTS, Usage, measure_disk, size_text
from comflowy_nb.services.types import Output


def files(folder):
    return [path for path in folder.rglob("*") if path.is_file() or path.is_symlink()]


def test_every_file_is_counted_once(library, stored, stream, output, image):
    run = stored("a", 2)
    stored("b", workflow="portrait")
    library.inputs.mkdir()
    (library.inputs / ("ab" * 32)).write_bytes(b"an input")
    (library.home / "sandbox" / "images").mkdir(parents=True)
    (library.home / "sandbox" / "images" / "x.png").write_bytes(b"12345")
    (library.home / "servers.json").write_text("{}")
    (library.home / "history.sqlite.damaged-20260101-120000").write_bytes(b"damaged")
    usage = library.disk()
    assert list(usage.parts) == list(DISK_PARTS)
    counts = {name: part.files for name, part in usage.parts.items()}
    assert counts["originals"] == 3
    assert counts["thumbnails"] == 6
    assert counts["other outputs"] == 0
    assert counts["uploaded images"] == counts["sandbox"] == 1
    assert usage.parts["sandbox"] == Usage(1, 5)
    assert usage.parts["originals"].size_bytes == sum(path.stat().st_size for path in library.folder.rglob("*.png"))
    found = files(library.home)
    assert usage.total == Usage(len(found), sum(path.lstat().st_size for path in found))
    assert list(usage.workflows) == ["default", "portrait"]
    assert usage.workflows["default"].files == 2 * 3 + 1
    assert usage.workflows["default"].size_bytes == sum(
        path.stat().st_size for path in files(library.folder) if run.token in path.name
    )
    assert usage.unknown == Usage()


def test_an_output_that_is_not_a_still_image_is_counted_apart(library, stored, stream):
    from comflowy_nb.images.store import store_output

    run = stored("a")
    for index, ending in ((1, "png"), (2, "mp4")):
        output = Output(index, "9", index, url="", ending=ending)
        kept = store_output(stream(b"moving"), folder=library.folder, token=run.token, output=output)
        library.history.set_images(run.token, kept)
    usage = library.disk()
    assert (usage.parts["originals"].files, usage.parts["other outputs"]) == (1, Usage(2, 12))


def test_files_of_runs_that_the_history_lost_are_counted(library, stored):
    stored("a")
    library.close()
    for path in library.home.glob("history.sqlite*"):
        path.unlink()
    usage = library.disk()
    assert usage.parts["originals"].files == 1
    assert usage.unknown.files == 4
    assert usage.workflows == {}


def test_links_are_not_followed(library, stored, tmp_path):
    stored("a")
    before = library.disk().total.files
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "large.bin").write_bytes(b"0" * 10_000_000)
    (library.home / "linked").symlink_to(elsewhere)
    total = library.disk().total
    assert total.files == before + 1
    assert total.size_bytes < 10_000_000


def test_a_folder_of_images_on_another_disk_is_counted(library, stored, tmp_path):
    stored("a")
    before = library.disk().total
    moved = library.folder.rename(tmp_path / "large disk")
    library.folder.symlink_to(moved, target_is_directory=True)
    assert library.disk().total == before


def test_the_bytes_that_a_prune_of_30_days_would_free_are_counted(library, stored):
    stored("a", 2)
    assert library.disk().prunable == Usage()
    stored("b", name="named")
    with closing(sqlite3.connect(library.home / "history.sqlite")) as database:
        database.execute("UPDATE runs SET finished_at = finished_at - 31 * 86400")
        database.commit()
    sizes = [path.stat().st_size for path in library.folder.rglob("*.png") if "_0" in path.name or "_1" in path.name]
    prunable = library.disk().prunable
    assert prunable.files == 2
    assert prunable == library.prune(30 * 86400, dry_run=True).images
    assert prunable.size_bytes < sum(sizes)


def test_a_home_folder_without_files(home, library):
    assert measure_disk(home / "none", library.history.cleanup).total == Usage()


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [(0, "0 bytes"), (1, "1 byte"), (999, "999 bytes"), (1000, "1 kB"), (999_499, "999 kB"), (999_500, "1.0 MB"),
     (449_000_000, "449.0 MB"), (999_950_000, "1.0 GB"), (12_340_000_000, "12.3 GB")],
)  # fmt: skip
def test_a_size_is_written_with_its_unit(size_bytes, text):
    assert size_text(size_bytes) == text
