"""The ratings of a visitor of a saved page are merged under their name."""

from __future__ import annotations

import json

import pytest

import comflowy_nb
from comflowy_nb.errors import ImageError


@pytest.fixture
def ratings(bottles, tmp_path):
    """Return a function that writes a ratings.json for images of s1, given by the numbers of their cells."""

    def write(cells=None, **changes):
        entries = [
            {"sha256": bottles.cell(number).images[0].record.sha256, "ref": f"s1.{number}[0]", "rating": None,
             "rejected": False, "note": "", **changes}
            for number, changes in (cells or {}).items()
        ]  # fmt: skip
        content = {"format": "comflowy_nb ratings", "version": 1, "name": "Ann", "images": entries, **changes}
        path = tmp_path / "ratings.json"
        path.write_text(json.dumps(content), encoding="utf-8")
        return path

    return write


def others(ref):
    image = comflowy_nb.history.find(ref).image
    return [(one.source, one.rating, one.rejected, one.note) for one in image.others]


def test_ratings_are_merged_by_the_content_of_the_images(bottles, ratings):
    bottles[0].images[0].rate(2)
    loaded = comflowy_nb.load(ratings({1: {"rating": 4, "note": " best sky "}, 2: {"rejected": True}}))
    assert (loaded.ratings, loaded.source, loaded.unknown_images) == (2, "Ann", 0)
    assert others("s1.1[0]") == [("Ann", 4, False, "best sky")]
    assert others("s1.2[0]") == [("Ann", None, True, "")]
    assert bottles[0].images[0].rating == 2, "the own rating stays"


def test_loading_again_changes_nothing_and_a_new_rating_replaces_the_old(ratings):
    path = ratings({1: {"rating": 4}})
    assert comflowy_nb.load(path).ratings == 1
    assert comflowy_nb.load(path).ratings == 0
    assert comflowy_nb.load(ratings({1: {"rating": 5}})).ratings == 1
    assert others("s1.1[0]") == [("Ann", 5, False, "")]
    assert comflowy_nb.load(ratings({1: {"rating": 1}}, name="Bob")).ratings == 1
    assert others("s1.1[0]") == [("Ann", 5, False, ""), ("Bob", 1, False, "")]
    assert comflowy_nb.load(ratings({1: {"rating": 3}}), by="Cy").source == "Cy"


def test_a_withdrawn_rating_is_removed(ratings):
    comflowy_nb.load(ratings({1: {"rating": 4}}))
    comflowy_nb.load(ratings({1: {"rating": 0}}))
    assert others("s1.1[0]") == []


def test_images_that_are_not_in_the_history_are_counted(ratings, bottles):
    path = ratings({1: {"rating": 4}})
    content = json.loads(path.read_text())
    content["images"].append({**content["images"][0], "sha256": "0" * 64})
    path.write_text(json.dumps(content))
    loaded = comflowy_nb.load(path)
    assert (loaded.ratings, loaded.unknown_images) == (1, 1)


def test_ratings_without_a_name_get_the_name_of_the_file(ratings):
    assert comflowy_nb.load(ratings({1: {"rating": 4}}, name="")).source == "ratings"


def test_equal_images_are_rated_together(make_sweep, axis, ratings, library):
    path = ratings({1: {"rating": 4}})
    sweep = make_sweep(axis("4::x", 1, 2), key="other")  # the colours of s1.1 and s1.2
    assert sweep[0].images[0].record.sha256 == library.find("s1.1[0]").image.record.sha256
    assert comflowy_nb.load(path).ratings == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "comflowy_nb archive"},
        {"format": 3},
        {"version": 2},
        {"version": "1"},
        {"name": 3},
        {"name": "a\nb"},
        {"name": "\u202egnA"},
        {"name": "x" * 1000},
        {"images": {}},
        {"images": [1]},
        {"images": [{"sha256": "x", "ref": "a"}]},
        {"images": [{"sha256": "0" * 64}]},
        {"images": [{"sha256": "0" * 64, "ref": "a", "rating": 6}]},
        {"images": [{"sha256": "0" * 64, "ref": "a", "rating": -1}]},
        {"images": [{"sha256": "0" * 64, "ref": "a", "rating": 3.5}]},
        {"images": [{"sha256": "0" * 64, "ref": "a", "rating": True}]},
        {"images": [{"sha256": "0" * 64, "ref": "a", "rating": 10**30}]},
        {"images": [{"sha256": "0" * 64, "ref": "a", "rejected": 1}]},
        {"images": [{"sha256": "0" * 64, "ref": "a", "note": "x" * 1001}]},
        {"images": [{"sha256": "0" * 64, "ref": "a", "note": "\x1b[31m"}]},
        {"images": [{"sha256": "0" * 64, "ref": "a", "run": "r1"}]},
        {"images": [{"sha256": "0" * 64, "ref": "a"}] * 2},
        {"more": 1},
    ],
)
def test_an_invalid_file_changes_nothing(ratings, changes):
    with pytest.raises(ImageError):
        comflowy_nb.load(ratings(**changes))


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[" * 100_000, b"\xff\xfe\x00", b'{"format": NaN}', b"{" + b" " * (17 * 2**20)]
)
def test_a_file_that_is_not_json_changes_nothing(bottles, tmp_path, content):
    (tmp_path / "ratings.json").write_bytes(content)
    with pytest.raises(ImageError, match=r"ratings\.json"):
        comflowy_nb.load(tmp_path / "ratings.json")


def test_a_valid_rating_before_an_invalid_one_is_not_stored(ratings):
    path = ratings({1: {"rating": 4}, 2: {"rating": 7}})
    with pytest.raises(ImageError, match="it has the rating 7"):
        comflowy_nb.load(path)
    assert others("s1.1[0]") == []


def test_a_hostile_note_is_only_text(ratings):
    comflowy_nb.load(ratings({1: {"note": "<script>alert(1)</script> $x$"}}))
    assert others("s1.1[0]")[0][3] == "<script>alert(1)</script> $x$"
