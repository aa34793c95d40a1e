from __future__ import annotations

import subprocess
import sys

import pytest

import comflowy_nb
from comflowy_nb.errors import RefError
from comflowy_nb.library import Library, open_library


@pytest.mark.parametrize(
    ("ref", "number"), [("r1", 1), ("r2", 2), ("best", 1), ("abc-1", 1), ("abd", 2), ("last", 3), ("last~2", 1)]
)
def test_run_is_found(library, runs, ref, number):
    match = library.find(ref)
    assert (match.run.number, match.image) == (number, None)


@pytest.mark.parametrize(
    ("ref", "index"), [("r1[0]", 0), ("best[2]", 2), ("r1:9[1]", 1), ("abc:12:3[0]", 2), ("last~2[1]", 1)]
)
def test_image_is_found(library, runs, ref, index):
    match = library.find(ref)
    assert match.image.record.index == index
    assert match.image.pil().size == (40 + index, 30)


@pytest.mark.parametrize(
    ("ref", "text"),
    [
        ("r9", "no run r9"),
        ("r99999999999999999999", "no run r9999"),
        ("missing", "no run missing"),
        ("ab", "the id ab is ambiguous: r2"),
        ("last~3", "no run last"),
        ("r1[3]", r"r1 has 3 images, so there is no r1\[3\]"),
        ("r2[0]", r"r2 has no images, so there is no r2\[0\]"),
        ("r1:9[2]", r"node 9 of r1 has 2 images, so there is no \[2\]"),
        ("r1:12:3[1]", r"node 12:3 of r1 has 1 image, so there is no \[1\]"),
        ("r1:4[0]", "node 4 of r1 has no images"),
        ("s1", "no sweep s1"),
    ],
)
def test_a_reference_without_a_match_is_an_error(library, runs, ref, text):
    with pytest.raises(RefError, match=text):
        library.find(ref)


def test_name_precedes_an_id_that_begins_with_it(library, runs, run_request):
    library.history.record_or_reuse(run_request("b", name="abc"), retry="none")
    assert library.find("abc").run.number == 2


def test_last_is_the_newest_run_of_this_process_or_else_of_the_history(library, runs):
    first, _, third = runs
    library.set_newest(library.run(third))
    library.set_newest(library.run(first))
    assert [library.find(f"last~{count}").run.number for count in range(3)] == [1, 3, 2]
    library.set_newest(library.run(third))  # requested again
    assert list(library.recent) == [first.token, third.token]
    assert [library.find(f"last~{count}").run.number for count in range(3)] == [3, 1, 2]


def test_an_empty_history_has_no_last(library):
    with pytest.raises(RefError, match="no run last"):
        library.find("last")


def test_runs_are_searched_by_text_and_fields(library, runs):
    assert [run.number for run in library.runs("best")] == [1]
    assert [run.number for run in library.runs(status="failed")] == [2]
    assert [run.number for run in library.runs("bottle", params={"cfg": 7.5}, limit=2)] == [3, 2]
    assert [run.number for run in library.runs(params={"3::cfg": "7.5"})] == [3, 2, 1]
    assert library.runs(params={"cfg": 8}) == []
    assert [run.number for run in library.runs(params={"text": "glass bottle"}, status="success")] == [1]


def test_earlier_run_can_be_read_but_not_cancelled(library, runs):
    run = library.find("r1").run
    assert len(run.images) == 3
    assert run.wait(timeout=0) is run
    with pytest.raises(RefError, match="connect first"):
        run.cancel()


def test_thumbnail_is_found(library, runs):
    assert library.find("r1[0]").image.thumbnail(256).name.endswith("_0.t256.jpg")


def test_nothing_is_created_before_it_is_needed(tmp_path):
    library = Library(tmp_path / "home")
    assert repr(library)
    assert not (tmp_path / "home").exists()
    assert library.runs() == []
    assert (tmp_path / "home" / "history.sqlite").exists()
    library.close()


def test_a_process_has_one_library_per_home_folder(home, monkeypatch, tmp_path):
    library = open_library()
    assert open_library() is library
    assert library.home == home
    monkeypatch.setenv("COMFLOWY_HOME", str(tmp_path / "other"))
    assert open_library() is not library


def test_history_is_searched_without_a_connection(run_request):
    open_library().history.record_or_reuse(run_request())
    assert [run.number for run in comflowy_nb.history.runs("bottle", cfg=7.5)] == [1]
    assert comflowy_nb.history.find("last").run.number == 1


def test_reading_the_history_loads_no_heavy_library(home):
    code = (
        "import sys; from comflowy_nb.library import open_library; open_library().runs(); "
        "print([name for name in ('PIL', 'numpy', 'requests', 'matplotlib', 'ipywidgets') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]"


def test_damaged_history_gives_a_warning_and_a_new_one_does_not(home):
    """A history.sqlite of 0 bytes was used as a new one: earlier successes were submitted again.

    The warnings of the history were not shown anywhere.
    """
    code = "from comflowy_nb import history; print(len(history.runs()))"

    def read():
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
        assert done.stdout == "0\n"
        return done.stderr

    assert read() == ""
    (home / "history.sqlite").write_bytes(b"")
    output = read()
    (renamed,) = home.glob("history.sqlite.damaged-*")
    assert f"UserWarning: the history was damaged: it is set aside as {renamed.name}" in output
    assert str(home) not in output
    assert read() == ""
