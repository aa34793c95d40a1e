"""Ratings and scores of images in the history."""

from __future__ import annotations

import pytest
from history_fixtures import advance_to

from comflowy_nb.database.ratings import Rating
from comflowy_nb.database.records import ImageRecord
from comflowy_nb.database.runs import History
from comflowy_nb.database.scores import Score
from comflowy_nb.errors import HistoryError
from comflowy_nb.status import Status


@pytest.fixture
def token(history, run_request):
    """Record a success with two images; return the token of the run."""
    token = history.record_or_reuse(run_request()).record.token
    advance_to(history, token, Status.SUCCESS, images=[ImageRecord(n, "9", n, "missing") for n in range(2)])
    return token


def own(history, token, index=0):
    found = history.ratings.of_runs([token]).get((token, index), [])
    return next(((one.rating, one.rejected, one.note) for one in found if not one.source), None)


def test_rating_rejection_and_note_are_changed_one_by_one(history, token):
    key = [(token, 0)]
    history.ratings.change(key, 4)
    assert own(history, token) == (4, False, "")
    history.ratings.change(key, note="best sky")
    assert own(history, token) == (4, False, "best sky")
    history.ratings.change(key, rejected=True)
    assert own(history, token) == (4, True, "best sky")
    assert own(history, token, 1) is None


def test_a_rating_removes_a_rejection_unless_both_are_set(history, token):
    history.ratings.change([(token, 0)], rejected=True)
    history.ratings.change([(token, 0)], 3)
    assert own(history, token) == (3, False, "")
    history.ratings.change([(token, 0)], 0, rejected=True)
    assert own(history, token) == (None, True, "")
    history.ratings.change([(token, 0)], 0)
    assert own(history, token) is None


def test_change_returns_the_ratings_before_and_after(history, token):
    ((before, after),) = history.ratings.change([(token, 0)], 4, note="a")
    assert before.is_empty
    assert (after.rating, after.note) == (4, "a")
    ((before, after),) = history.ratings.change([(token, 0)], 0, note="")
    assert (before.rating, before.note) == (4, "a")
    assert after.is_empty


def test_an_image_that_does_not_exist_changes_no_other_one(history, token):
    with pytest.raises(HistoryError, match="no such image"):
        history.ratings.change([(token, 0), (token, 7)], 4)
    assert own(history, token) is None


def test_ratings_of_several_people_are_kept_by_their_source(history, token):
    history.ratings.change([(token, 0)], 2)
    history.ratings.put([(token, 0, Rating(5, note="mine", source="Ann", rated_at=7.0))])
    history.ratings.put([(token, 0, Rating(4, source="Bob"))])
    history.ratings.put([(token, 0, Rating(3, source="Ann", rated_at=8.0))])
    found = history.ratings.of_runs([token])[token, 0]
    assert [(one.source, one.rating, one.note) for one in found] == [("", 2, ""), ("Ann", 3, ""), ("Bob", 4, "")]
    assert found[1].rated_at == 8.0


def test_a_rating_of_another_process_is_seen_at_the_next_read(home, history, token):
    other = History.open(home)
    other.ratings.change([(token, 1)], 5)
    assert own(history, token, 1) == (5, False, "")
    other.close()


def test_a_note_with_half_of_a_surrogate_pair_is_stored(history, token):
    history.ratings.change([(token, 0)], note="sky \ud83d")
    assert own(history, token) == (None, False, "sky \\ud83d")


def test_scores_are_replaced_by_name(history, token):
    history.scores.put("sharpness", {(token, 0): Score(0.5), (token, 1): Score(error="ValueError: x")})
    history.scores.put("size", {(token, 0): Score(3.0)})
    history.scores.put("sharpness", {(token, 0): Score(0.25)})
    assert history.scores.of_runs([token]) == {
        (token, 0): {"sharpness": Score(0.25), "size": Score(3.0)},
        (token, 1): {"sharpness": Score(error="ValueError: x")},
    }
    assert history.scores.names() == ["sharpness", "size"]


def test_scores_of_an_image_that_was_deleted_are_left_out(history, token):
    history.cleanup.delete({token: None}, ())
    history.scores.put("sharpness", {(token, 0): Score(0.5)})
    assert history.scores.of_runs([token]) == {}


def test_deleting_a_run_deletes_its_ratings_and_scores(history, run_request):
    token = history.record_or_reuse(run_request("other")).record.token
    advance_to(history, token, Status.SUCCESS, images=[ImageRecord(0, "9", 0, "kept", "x/a.png", "0" * 64)])
    history.ratings.change([(token, 0)], 4)
    history.scores.put("sharpness", {(token, 0): Score(0.5)})
    history.cleanup.delete({token: None}, ())
    assert history.ratings.of_runs([token]) == {}
    assert history.scores.of_runs([token]) == {}
    assert history.scores.names() == []
