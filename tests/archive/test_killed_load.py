"""After a kill at any step of a load, the history has nothing or everything of the archive."""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
from contextlib import closing

import pytest
from archives import all_files, change_manifest, png, read_zip
from killed_steps import load, run_killed

import comflowy_nb
from comflowy_nb.library import Library

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")

MAX_STEPS = 300


def counts(home):
    """Return the numbers of rows, read without opening the history as a client does."""
    tables = ("runs", "images", "sweeps", "cells", "names", "ratings")
    with closing(sqlite3.connect(home / "history.sqlite")) as database:
        return {table: database.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables}


@pytest.fixture
def bottles_zip(make_sweep, axis, library, tmp_path):
    """Return an archive of two cells, a rating and an input image."""
    content = png((9, 9, 9))
    sha256 = hashlib.sha256(content).hexdigest()
    library.inputs.mkdir(parents=True)
    (library.inputs / sha256).write_bytes(content)
    library.history.inputs.store_name("sandbox", "input.png", sha256)
    sweep = make_sweep(axis("3::cfg", 4, 6), fixed={"1::image": "input.png"}, name="bottles")
    sweep[0].images[0].rate(5)
    path = sweep.save(tmp_path / "bottles.zip")[0]
    assert any(name.startswith("inputs/") for name in read_zip(path))
    return path


@pytest.fixture
def homes(tmp_path, run_request):
    """Yield copies of a home folder with one run, one for each step."""
    first = tmp_path / "first"
    library = Library(first)
    library.history.record_or_reuse(run_request("own", name="mine"))
    library.close()

    def copies():
        for step in range(1, MAX_STEPS):
            copy = tmp_path / f"home{step}"
            shutil.copytree(first, copy)
            yield step, copy
        pytest.fail("it never ended")

    return copies


FULL = {"runs": 3, "images": 2, "sweeps": 1, "cells": 2, "names": 2, "ratings": 1}
EMPTY = {"runs": 1, "images": 0, "sweeps": 0, "cells": 0, "names": 1, "ratings": 0}


def assert_clean(home):
    """Assert that the home folder has the files of the runs in the history, and no other image or temporary file."""
    is_loaded = counts(home) == FULL
    assert counts(home) in (FULL, EMPTY), "the runs are added in one transaction"
    names = all_files(home)
    assert not [name for name in names if name.startswith("loading/") or name.endswith((".part", ".input"))]
    images = [name for name in names if name.startswith("images/")]
    suffixes = sorted(name[name.index(".") :] for name in images)
    whole = [".json"] * 2 + [".png"] * 2 + [".t256.jpg"] * 2 + [".t512.jpg"] * 2
    assert suffixes == (whole if is_loaded else [])
    assert len([name for name in names if name.startswith("inputs/")]) == is_loaded


@pytest.mark.slow
def test_a_load_that_is_killed_at_any_step_is_finished_or_undone_by_the_next_start(bottles_zip, homes):
    killed, states = 0, set()
    for step, home in homes():
        if not run_killed(home, load, step, bottles_zip):
            break
        killed += 1
        assert counts(home) in (FULL, EMPTY)
        library = Library(home)
        assert library.history.get  # the next start
        assert_clean(home)
        states.add(counts(home)["runs"])
        library.load(bottles_zip)
        library.close()
        assert counts(home) == FULL
        assert_clean(home)
    assert killed > 30
    assert states == {1, 3}, "it was killed before and after the transaction"


@pytest.mark.slow
def test_a_running_process_finishes_a_killed_load_at_its_next_load(bottles_zip, homes):
    for step, home in homes():
        library = Library(home)
        assert library.history
        was_killed = run_killed(home, load, step, bottles_zip)
        library.load(bottles_zip)
        library.close()
        assert counts(home) == FULL
        assert_clean(home)
        if not was_killed or step > 40:
            break


def test_a_load_that_fails_leaves_nothing(bottles_zip, tmp_path):
    """The disk is full when the history is written."""
    from history_fixtures import each_connection, fill_disk

    def add_text(manifest):
        manifest["runs"][1]["params"]["6::text"] = "long " * 40_000

    library = Library(tmp_path / "full")
    path = change_manifest(bottles_zip, add_text)
    assert library.history
    with each_connection(library.history, fill_disk), pytest.raises(comflowy_nb.ComflowyError, match="disk is full"):
        library.load(path)
    assert not [name for name in all_files(tmp_path / "full") if name.startswith(("images", "inputs", "loading/"))]
    assert library.load(bottles_zip).sweeps == ("s1",)
    library.close()


@pytest.mark.slow
def test_two_processes_that_load_one_archive_add_it_once(bottles_zip, tmp_path, start, home):
    code = """
from comflowy_nb.library import Library
say('ready')
sys.stdin.readline()
say(len(Library(Path(sys.argv[1]).with_name('shared')).load(sys.argv[1] + '/../bottles.zip').runs))
"""
    processes = [start(code) for _ in range(3)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=90)[0] for process in processes]
    assert sorted(outputs) == ["0\n", "0\n", "2\n"]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert home.with_name("shared").is_dir()
