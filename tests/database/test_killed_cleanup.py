"""After a kill at any step of a prune or a delete nothing else is lost, and the next start finishes it."""

from __future__ import annotations

import os
import shutil
import sqlite3
from contextlib import closing

import pytest
from killed_steps import delete, prune, run_killed

from comflowy_nb.library import Library

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")

MAX_STEPS = 200


def read(home):
    """Return number of run -> (token, [(file, state)]), read without opening the history as a client does."""
    with closing(sqlite3.connect(home / "history.sqlite")) as database:
        rows = database.execute("SELECT number, token FROM runs ORDER BY number").fetchall()
        images = "SELECT file, state FROM images WHERE run = ? ORDER BY position"
        return {number: (token, database.execute(images, (token,)).fetchall()) for number, token in rows}


def files(home):
    return sorted(path for path in home.rglob("*") if path.is_file())


@pytest.fixture
def homes(home, library, stored, tmp_path):
    """Yield copies of a home folder with r1 (named), r2 and r3 (two images each), one for each step."""
    stored("a", name="best")
    stored("b", 2)
    stored("c", 2)
    library.close()

    def copies():
        for step in range(1, MAX_STEPS):
            copy = tmp_path / f"home{step}"
            shutil.copytree(home, copy)
            yield step, copy
        pytest.fail("it never ended")

    return copies


def assert_complete(home):
    """Assert that each original with the state `kept` exists, and that each pruned image has its thumbnails."""
    for _, images in read(home).values():
        for file, state in images:
            path = home / "images" / file
            assert state == "pruned" or path.is_file(), "a kept original was lost"
            assert path.with_suffix(".t256.jpg").is_file()
            assert path.with_suffix(".t512.jpg").is_file()


def assert_all_counted(home):
    library = Library(home)
    assert library.disk().total.files == len(files(home))
    library.close()


def assert_no_leftovers(home):
    known = read(home)
    tokens = {token for token, _ in known.values()}
    for path in (home / "images").rglob("*"):
        if path.is_file():
            assert path.suffix in {".png", ".jpg", ".json"}, "a lock or a partial file is left"
            assert path.name.replace("_", ".").split(".")[0] in tokens, "a file of a deleted run is left"
    for _, images in known.values():
        for file, state in images:
            assert (home / "images" / file).exists() == (state == "kept")


@pytest.mark.slow
def test_a_prune_that_is_killed_at_any_step_is_finished_by_the_next_start(homes):
    killed = 0
    for step, home in homes():
        if not run_killed(home, prune, step):
            break
        killed += 1
        assert set(read(home)) == {1, 2, 3}
        assert_complete(home)
        states = {state for number in (2, 3) for _, state in read(home)[number][1]}
        assert len(states) == 1, "the images change in one transaction"
        assert_all_counted(home)  # opening the history finishes the prune
        assert_complete(home)
        assert_no_leftovers(home)
        library = Library(home)
        assert library.history.cleanup.pending() == []
        library.prune(0)
        library.close()
        assert [state for _, images in read(home).values() for _, state in images] == ["kept", *["pruned"] * 4]
        assert_no_leftovers(home)
    assert killed > 8


@pytest.mark.slow
def test_a_delete_that_is_killed_at_any_step_is_finished_by_the_next_start(homes):
    killed = 0
    for step, home in homes():
        if not run_killed(home, delete, step):
            break
        killed += 1
        assert set(read(home)) in ({1, 2, 3}, {1}), "both runs are deleted in one transaction"
        assert_complete(home)
        is_deleted = set(read(home)) == {1}
        assert_all_counted(home)
        assert_complete(home)
        assert_no_leftovers(home)
        library = Library(home)
        assert library.history.cleanup.pending() == []
        if not is_deleted:
            assert library.delete("r2", "r3").runs == ("r2", "r3")
        library.close()
        assert set(read(home)) == {1}
        assert_no_leftovers(home)
    assert killed > 20


DELETE = """
try:
    say(len(library.delete(*[f"r{number}" for number in range(13, 25)]).runs))
except RefError:  # the other process was first
    say(0)
"""


@pytest.mark.slow
def test_processes_that_prune_and_delete_at_once_leave_a_complete_history(home, library, stored, start):
    for number in range(24):
        stored(f"key{number}", name="best" if number == 0 else None)
    library.close()
    begin = "from comflowy_nb.library import Library\nlibrary = Library(home)\nsay('ready')\nsys.stdin.readline()\n"
    prune = begin + "say(library.prune(0).images.files)"
    delete = f"{begin}from comflowy_nb.errors import RefError\n{DELETE}"
    processes = [start(code) for code in (prune, delete, prune, delete)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=90)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * 4
    first, one, second, two = map(int, outputs)
    assert one + two == 12, "each run is deleted by one of them"
    known = read(home)
    assert set(known) == set(range(1, 13))
    assert [state for _, images in known.values() for _, state in images] == ["kept", *["pruned"] * 11]
    assert first + second <= 23  # a file that both remove at the same time is counted by neither
    assert_complete(home)
    assert_no_leftovers(home)


@pytest.mark.slow
def test_a_running_process_finishes_a_killed_prune_at_its_next_prune(homes):
    step, home = next(iter(homes()))
    library = Library(home)
    assert library.history
    while True:
        assert run_killed(home, prune, step), "no step between the transaction and the end"
        if read(home)[2][1][0][1] == "pruned" and (home / "images" / read(home)[2][1][0][0]).exists():
            break
        step += 1
    library.prune(0)
    assert_no_leftovers(home)
    library.close()


@pytest.mark.slow
def test_a_prune_finished_after_a_kill_keeps_an_original_that_was_fetched_again(homes, stream, output):
    """Its removal was still listed: the next start would have removed an image that the user had fetched again."""
    from comflowy_nb.images.store import store_output

    for step, home in homes():
        assert run_killed(home, prune, step)
        token, images = read(home)[2]
        if images[0][1] == "pruned" and (home / "images" / images[0][0]).exists():
            break
    content = (home / "images" / images[0][0]).read_bytes()
    with closing(sqlite3.connect(home / "history.sqlite")) as database:  # as another process that runs already
        database.execute("UPDATE images SET state = 'kept' WHERE run = ? AND position = 0", (token,))
        database.commit()
    kept = store_output(stream(content), folder=home / "images", token=token, output=output(0))
    assert kept.file == images[0][0]
    library = Library(home)
    assert library.history.cleanup.pending() == []
    assert library.find("r2[0]").image.bytes == content
    assert not (home / "images" / images[1][0]).exists()
    library.close()
