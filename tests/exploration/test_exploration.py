"""The document of an exploration, its conditions, and the choice of cells for a still image."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from comflowy_nb.errors import FieldError, LineError, RefError
from comflowy_nb.exploration.exploration import Exploration
from comflowy_nb.images.thumbnail_sizes import THUMBNAIL_SIZES_PX
from comflowy_nb.status import Status

EVIL = "<img src=x onerror=alert(1)>"


def two_images(_):
    return [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]


def refs(entries):
    return [entry.ref for entry in entries]


@pytest.fixture
def sweep(make_sweep, axis):
    """Return a sweep with cells of every state."""
    ends = {2: Status.FAILED, 3: None, 4: Status.UNKNOWN, 5: Status.CANCELLED, 6: Status.LOST}
    return make_sweep(axis("3::cfg", 4, 8), axis("3::steps", 1, 2, 3), fixed={"3::seed": 7}, ends=ends)


def test_the_document_is_json_and_names_each_cell(sweep):
    document = Exploration([sweep]).document()
    assert json.loads(json.dumps(document)) == document
    assert (document["version"], document["title"], document["sources"]) == (1, "s1 default", ["s1"])
    assert document["thumbnail_sizes_px"] == sorted(THUMBNAIL_SIZES_PX)
    first = document["items"][0]
    assert (first["ref"], first["run"], first["at"], first["status"]) == ("s1.1", "r1", [0, 0], "success")
    assert first["params"] == [["cfg", "4"], ["steps", "1"], ["seed", "7"]]
    (image,) = first["images"]
    assert (image["ref"], image["key"], image["size"]) == ("s1.1[0]", "r1[0]", [96, 64])
    assert image["sha256"] == sweep.cells[0].images[0].record.sha256


def test_only_cells_that_were_never_submitted_can_be_run_and_only_failed_cells_again(sweep):
    items = Exploration([sweep]).document()["items"]
    states = [(item["status"], item["can"]["run"], item["can"]["retry"]) for item in items]
    assert states == [
        ("success", False, False),
        ("failed", False, True),
        ("not submitted", True, False),
        ("unknown", False, False),
        ("cancelled", False, True),
        ("lost", False, False),
    ]


def test_a_cell_without_an_image_shows_its_state_and_its_whole_error(sweep):
    items = Exploration([sweep]).document()["items"]
    assert [item["text"] for item in items] == ["", "failed", "not submitted", "unknown", "cancelled", "lost"]
    assert items[1]["error"] == "no luck with 2"
    assert "it is not known whether the service accepted this run" in items[3]["error"]
    assert all(not item["images"] for item in items[1:])


def test_several_images_of_a_cell_are_one_more_axis(make_sweep, axis):
    document = Exploration([make_sweep(axis("3::cfg", 4, 8), images=two_images)]).document()
    assert [axis["name"] for axis in document["axes"]] == ["3::cfg", "image"]
    assert [image["ref"] for image in document["items"][1]["images"]] == ["s1.2[0]", "s1.2[1]"]
    assert document["items"][1]["at"] == [1]


def test_an_image_that_is_not_on_disk_has_a_reason(make_sweep, axis):
    document = Exploration([make_sweep(axis("3::cfg", 4), images=lambda _: [None])]).document()
    assert document["items"][0]["images"][0]["problem"] == "missing: refused"


def test_ratings_and_scores_are_read_from_the_history_at_each_document(make_sweep, axis):
    sweep = make_sweep(axis("3::cfg", 4, 8))
    exploration = Exploration([sweep])
    exploration.document()
    sweep.cells[0].images[0].rate(4, note=EVIL)
    sweep.cells[1].images[0].rate(rejected=True)
    sweep.score(lambda image: image.size[0] / 2, name="half")
    document = exploration.document()
    first, second = (item["images"][0] for item in document["items"])
    assert (first["rating"], first["rejected"], first["note"], first["scores"]) == (4, False, EVIL, {"half": 48.0})
    assert (second["rating"], second["rejected"]) == (None, True)
    assert document["columns"] == [{"name": "half", "kind": "number", "source": "score"}]


def test_a_condition_chooses_by_fields_status_and_ratings(sweep):
    exploration = Exploration([sweep])
    sweep.cells[0].images[0].rate(4)
    assert refs(exploration.matching("cfg < 6 and steps in 1..2")) == ["s1.1", "s1.2"]
    assert refs(exploration.matching("rating >= 4 and not rejected")) == ["s1.1"]
    assert refs(exploration.matching("rated")) == ["s1.1"]
    assert refs(exploration.matching("status = failed or `3::steps` = 3")) == ["s1.2", "s1.3", "s1.6"]


def test_a_condition_knows_the_labels_of_an_axis(make_sweep, axis):
    exploration = Exploration([make_sweep(axis("look", field="6::text", day="noon", night="midnight"))])
    assert refs(exploration.matching("look = night")) == ["s1.2"]
    assert refs(exploration.matching("text = noon")) == ["s1.1"]


def test_a_condition_knows_labels_and_values_of_one_field(make_sweep, axis):
    exploration = Exploration([make_sweep(axis("6::text", day="noon", night="midnight"))])
    assert refs(exploration.matching("text = night")) == refs(exploration.matching("text = midnight")) == ["s1.2"]


@pytest.mark.parametrize(
    ("where", "kind", "message"),
    [
        ("cgf > 3", FieldError, "no cell or run here has a field cgf. Did you mean cfg?"),
        ("cfg >", LineError, "at the end"),
    ],
)
def test_an_invalid_condition_is_an_error(sweep, where, kind, message):
    with pytest.raises(kind) as error:
        Exploration([sweep]).matching(where)
    assert message in str(error.value)


def test_marked_images_are_found_again_by_their_references(make_sweep, axis):
    sweep = make_sweep(axis("3::cfg", 4, 8), images=two_images)
    exploration = Exploration([sweep])
    second = sweep.cells[1].images[1]
    assert exploration.refs_of([second, sweep.cells[0]]) == ["s1.2[1]", "s1.1[0]"]
    found = exploration.items_of(["s1.2[1]", "s9.1[0]"])
    assert [image.ref for image in found] == [second.ref]
    with pytest.raises(RefError, match="'a text' is not an image of s1 default"):
        exploration.refs_of(["a text"])


def test_a_marked_cell_with_one_image_is_the_cell(make_sweep, axis):
    sweep = make_sweep(axis("3::cfg", 4, 8))
    assert Exploration([sweep]).items_of(["s1.2[0]"]) == [sweep.cells[1]]


def test_the_best_rated_cells_are_chosen_and_then_evenly_spread_ones(make_sweep, axis):
    sweep = make_sweep(axis("3::cfg", *range(8)), axis("3::steps", *range(1, 9)), ends={64: None})
    exploration = Exploration([sweep])
    spread = exploration.choose(16)
    assert len(spread) == 16
    assert len({entry.at[0] for entry in spread}) >= 4, "not all from one end"
    assert len({entry.at[1] for entry in spread}) >= 4
    for number in (2, 3):
        sweep.cell(number).images[0].rate(5)
    assert {"s1.2", "s1.3"} <= set(refs(exploration.choose(4)))
    assert refs(exploration.choose(2)) == ["s1.2", "s1.3"]


def test_without_sources_there_is_nothing_to_explore():
    with pytest.raises(RefError, match="nothing to explore"):
        Exploration([])
