"""Scores of the images of a sweep by a user's function."""

from __future__ import annotations

import io
import re
import threading
import warnings
from contextlib import redirect_stdout

import pandas as pd
import pytest
from PIL import Image

from comflowy_nb import grid
from comflowy_nb.database.runs import History
from comflowy_nb.errors import RefError, SettingsError
from comflowy_nb.status import Status
from comflowy_nb.tracking.run import Run


def width(image):
    return image.width


def sized(cell):
    """Return an image whose width is 10 times the cfg of the cell."""
    return [Image.new("RGB", (10 * cell.params["3::cfg"], 8), "teal")]


@pytest.fixture
def swept(make_sweep, axis):
    return make_sweep(axis("3::cfg", 4, 6, 8), images=sized)


def test_each_image_is_scored_and_the_history_keeps_the_scores(swept, library):
    scores = swept.score(width)
    assert dict(scores) == {"s1.1": 40.0, "s1.2": 60.0, "s1.3": 80.0}
    assert scores.best == ["s1.3", "s1.2", "s1.1"]
    assert repr(scores) == "<Scores width: 3 images, 40 to 80, highest s1.3>"
    assert library.find("s1.2").run.images[0].scores == {"width": 60.0}
    assert [run.params["3::cfg"] for run in library.runs(where="width > 50")] == [8, 6]


def test_the_function_gets_a_decoded_pil_image(swept):
    kinds = []
    swept.score(lambda image: kinds.append((image.mode, image.getpixel((0, 0)))) or 1, name="x")
    assert kinds == [("RGB", (0, 128, 128))] * 3


def test_scores_of_a_name_are_replaced_and_others_are_kept(swept):
    swept.score(width)
    swept.score(lambda image: image.height, name="height")
    swept.score(lambda image: -image.width, name="width")
    assert swept[0].images[0].scores == {"height": 8.0, "width": -40.0}


@pytest.mark.parametrize(
    ("result", "error"),
    [
        (lambda: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda: None, "the function returned None, which is not a number"),
        (lambda: "high", "the function returned 'high', which is not a number"),
        (lambda: float("nan"), "the function returned nan, which is not a finite number"),
    ],
)
def test_an_exception_is_the_error_of_its_image_alone(swept, result, error):
    with pytest.warns(UserWarning, match=r"odd failed for 1 of 3 images: s1\.2: .*" + re.escape(error)):
        scores = swept.score(lambda image: result() if image.width == 60 else 1, name="odd")
    assert scores.errors == {"s1.2": error}
    assert list(scores) == ["s1.1", "s1.3"]
    assert "1 failed" in repr(scores)
    image = swept[1].images[0]
    assert image.scores == {"odd": None}
    assert image.review.scores["odd"].error == error


def test_an_interrupt_keeps_what_was_scored(swept):
    done = []

    def slow(image):
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(image)
        return image.width

    with pytest.raises(KeyboardInterrupt):
        swept.score(slow)
    assert [cell.images[0].scores for cell in swept] == [{"slow": 40.0}, {"slow": 60.0}, {}]


def test_images_that_are_not_on_disk_are_left_out(make_sweep, axis, library):
    swept = make_sweep(axis("3::cfg", 4, 6, 8), images=sized, ends={2: Status.FAILED, 3: None})
    assert dict(swept.score(width)) == {"s1.1": 40.0}
    library.prune(0, all=True)
    again = library.sweep(library.history.sweeps.by_number(1))
    assert dict(again.score(width, name="after")) == {}
    assert again[0].images[0].scores == {"width": 40.0}


def test_several_images_of_a_cell_are_named_by_their_index(make_sweep, axis):
    two = [Image.new("RGB", (8, 8)), Image.new("RGB", (16, 8))]
    swept = make_sweep(axis("3::cfg", 4), images=lambda cell: two)
    assert dict(swept.score(width)) == {"s1.1[0]": 8.0, "s1.1[1]": 16.0}
    assert dict(swept[0].run.score(width)) == {"r1[0]": 8.0, "r1[1]": 16.0}


@pytest.mark.parametrize("name", ["two words", "", "rating", "note", "x" * 61, 3])
def test_a_name_that_a_condition_can_not_use_is_an_error(swept, name):
    with pytest.raises(SettingsError, match="name"):
        swept.score(width, name=name)


def test_a_lambda_needs_a_name(swept):
    with pytest.raises(SettingsError, match="invalid name '<lambda>' of a score: use letters"):
        swept.score(lambda image: 1)
    with pytest.raises(SettingsError, match="can't be called"):
        swept.score(3, name="three")


def test_images_without_a_history_are_an_error(swept, library):
    with pytest.raises(RefError, match="do not belong to a history"):
        Run(swept[0].run.record, library.folder).score(width)


def test_a_long_function_shows_its_progress_in_one_line(swept, monkeypatch):
    now = iter(range(0, 1000, 3))
    monkeypatch.setattr("time.monotonic", lambda: float(next(now)))
    shown = io.StringIO()
    with redirect_stdout(shown):
        swept.score(width)
    assert shown.getvalue().startswith("\rwidth: ")
    assert shown.getvalue().endswith("3 of 3 images \n")
    with redirect_stdout(shown := io.StringIO()):
        swept.score(width, progress=False)
    assert shown.getvalue() == ""


def test_scores_are_stored_while_the_function_runs(swept, home, monkeypatch):
    """A killed kernel loses no more than the scores of the last second."""
    now = iter(range(0, 1000, 3))
    monkeypatch.setattr("time.monotonic", lambda: float(next(now)))
    seen = []

    def count_names(image):
        other = History.open(home)
        seen.append(len(other.scores.names()))
        other.close()
        return 1

    swept.score(count_names, progress=False)
    assert seen[-1] == 1


def test_another_thread_reads_while_scores_are_stored(swept):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        thread = threading.Thread(target=lambda: [cell.images[0].review for cell in swept])
        thread.start()
        swept.score(width)
        thread.join()


def test_scores_and_ratings_are_columns(swept):
    swept.score(width)
    swept[2].images[0].rate(4, note="best sky")
    swept[0].images[0].rate(rejected=True)
    frame = swept.to_dataframe()
    assert list(frame["width"]) == [40.0, 60.0, 80.0]
    assert [None if pd.isna(value) else value for value in frame["rating"]] == [None, None, 4]
    assert list(frame["rejected"]) == [True, False, False]
    assert frame["note"][2] == "best sky"
    assert list(frame.sort_values("width", ascending=False)["cell"]) == ["s1.3", "s1.2", "s1.1"]


def test_a_score_with_the_name_of_a_column_gets_another_one(swept):
    swept.score(width, name="cfg")
    frame = swept.to_dataframe()
    assert list(frame["cfg"]) == [4, 6, 8]
    assert list(frame["cfg score"]) == [40.0, 60.0, 80.0]


def test_captions_show_scores_and_marks_where_there_is_room(swept):
    swept.score(width)
    swept[1].images[0].rate(5)
    texts = [text.get_text() for text in grid(swept).figure.axes[0].texts]
    assert {"width 40", "width 60", "width 80", "\N{BLACK STAR}5"} <= set(texts)
    assert "width 60" in str(grid(swept))
    assert any("width 80" in text.get_text() for text in grid(swept[2]).figure.axes[0].texts)
