"""The explorer without a browser: its values in Python, its replies, its updates, and its static version."""

from __future__ import annotations

import base64
import gc
import io
import json
import time
import weakref

import numpy as np
import pytest
from PIL import Image
from waiting import wait_until

import comflowy_nb
from comflowy_nb.errors import FieldError, LineError, RefError
from comflowy_nb.exploration.exploration import Exploration
from comflowy_nb.notebook.display.live import LiveUpdater
from comflowy_nb.notebook.explore.widget import Explorer
from comflowy_nb.status import Status

EVIL = "</script><img src=x onerror=alert(1)>"


@pytest.fixture
def sweep(make_sweep, axis):
    return make_sweep(axis("3::cfg", 4, 8), axis("3::steps", 1, 2, 3), fixed={"3::seed": 7})


@pytest.fixture
def view(opened, sweep):
    return opened(sweep)


@pytest.fixture
def explorer(view):
    return view.explorer


def refs(items):
    return [item.ref for item in items]


# -- values in Python -------------------------------------------------------------------------------------------------


def test_axes_are_chosen_by_any_of_their_names_and_only_once(explorer):
    explorer.x = "cfg"
    assert explorer.x == "3::cfg"
    explorer.y = "3::cfg"
    assert (explorer.x, explorer.y) == ("", "3::cfg")
    explorer.x = "steps"
    explorer.y = "steps"
    assert (explorer.x, explorer.y) == ("3::cfg", "3::steps"), "they change places"
    with pytest.raises(RefError, match="the axes are cfg, steps"):
        explorer.x = "sampler"
    assert explorer.x == "3::cfg"


def test_the_current_cell_follows_the_view_and_can_be_observed(explorer, sweep):
    seen = []
    explorer.observe(lambda change: seen.append(change["new"].ref), names="current")
    assert explorer.current is sweep.cells[0]
    explorer.set_state({"_at": [1, 2]})
    assert explorer.current is sweep.cells[5]
    assert seen == ["s1.6"]


@pytest.mark.parametrize(("where", "number"), [("cfg > 6", 4), ("cfg > 90", 1)])
def test_the_first_cell_is_one_that_the_condition_shows(sweep, where, number):
    explorer = Explorer(Exploration([sweep]), where=where)
    assert explorer.current is sweep.cells[number - 1]
    explorer.close()


def test_the_current_cell_of_a_combination_without_a_run_is_none(library, stored):
    for cfg, steps in ((8, 10), (4, 10), (4, 20)):
        stored(f"{cfg}-{steps}", params={"3::cfg": cfg, "3::steps": steps})
    explorer = Explorer(Exploration([library.run(record) for record in library.history.recent(3)]))
    explorer.set_state({"_at": [1, 1]})
    assert explorer.current is None
    explorer.set_state({"_at": [1, 0]})
    assert explorer.current.params == {"3::cfg": 8, "3::steps": 10}
    explorer.close()


def test_a_condition_changes_the_visible_cells_immediately(explorer):
    explorer.set_state({"_visible": [5, 0]})
    assert refs(explorer.visible) == ["s1.6", "s1.1"], "as the view sorts them"
    explorer.where = "cfg > 6"
    assert refs(explorer.visible) == ["s1.4", "s1.5", "s1.6"], "before the view, which waits for the end of the cell"
    assert explorer.get_state("_matching") == {"_matching": [3, 4, 5]}
    explorer.where = ""
    assert len(explorer.visible) == 6


@pytest.mark.parametrize(("where", "kind"), [("cfg >", LineError), ("cgf > 3", FieldError)])
def test_an_invalid_condition_changes_nothing(explorer, where, kind):
    explorer.where = "cfg > 6"
    with pytest.raises(kind):
        explorer.where = where
    assert explorer.where == "cfg > 6"
    assert len(explorer.visible) == 3


def test_the_error_of_a_condition_typed_in_the_view_is_shown_in_the_view(explorer):
    explorer.set_state({"where": "cfg > 6"})
    explorer.set_state({"where": "cgf > 3"})
    assert explorer.where == "cfg > 6"
    assert explorer._where_problem == "no cell or run here has a field cgf. Did you mean cfg?"
    explorer.set_state({"where": "cfg > 7"})
    assert explorer._where_problem == ""


def test_marked_cells_are_cells_in_python_and_references_in_the_view(explorer, sweep):
    explorer.set_state({"selected": ["s1.2[0]", "s1.5[0]"]})
    assert explorer.selected == [sweep.cells[1], sweep.cells[4]]
    explorer.selected = [sweep.cells[2], sweep.cells[0].images[0]]
    assert explorer.get_state("selected") == {"selected": ["s1.3[0]", "s1.1[0]"]}
    with pytest.raises(RefError, match=r"s9\.1 is not an image of s1 default"):
        explorer.selected = [type("Other", (), {"ref": "s9.1"})()]


def test_the_table_has_the_visible_cells_in_the_order_shown(explorer):
    explorer.set_state({"_visible": [4, 1]})
    frame = explorer.to_dataframe()
    assert frame.cell.to_list() == ["s1.5", "s1.2"]
    assert frame.cfg.to_list() == [8, 4]


def test_the_table_of_runs_has_a_row_for_each(library, stored):
    for cfg in (4, 8):
        stored(f"k{cfg}", params={"3::cfg": cfg})
    explorer = Explorer(Exploration([library.run(record) for record in library.history.recent(2)]))
    frame = explorer.to_dataframe()
    assert frame.run.to_list() == ["r2", "r1"]
    assert frame.cfg.to_list() == [8, 4]
    explorer.close()


def test_explore_takes_sweeps_cells_runs_references_and_lists(sweep):
    explorer = comflowy_nb.explore("s1", x="cfg")
    assert (repr(explorer), explorer.x) == ("<Explorer of s1 default>", "3::cfg")
    explorer.close()
    explorer = comflowy_nb.explore([sweep.cells[0], sweep.cells[4].run], "r2")
    assert refs(explorer.visible) == ["s1.1", "r5", "r2"]
    explorer.close()
    explorer = comflowy_nb.explore(where="cfg > 6")
    assert refs(explorer.visible) == ["r6", "r5", "r4"]
    explorer.close()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "explore needs a sweep or runs"),
        ((7,), "explore takes sweeps and runs, not 7"),
        (("s9",), "there is no sweep s9"),
    ],
)
def test_an_object_that_can_not_be_explored_is_an_error(sweep, arguments, message):
    with pytest.raises(RefError, match=message):
        comflowy_nb.explore(*arguments)


# -- replies ----------------------------------------------------------------------------------------------------------


def test_a_view_gets_the_document(view, sweep):
    reply, buffers = view.ask(ask="document")
    assert buffers == []
    assert [item["ref"] for item in reply["document"]["items"]] == [cell.ref for cell in sweep.cells]


def test_thumbnails_are_sent_in_the_requested_order_without_missing_ones(view, sweep):
    reply, buffers = view.ask(ask="thumbs", images=["r5[0]", "r99[0]", "r1[0]"])
    assert reply == {"kinds": ["image/jpeg", "image/jpeg"], "missing": ["r99[0]"]}
    for content, cell in zip(buffers, (sweep.cells[4], sweep.cells[0]), strict=True):
        expected = np.asarray(cell.images[0].pil().convert("RGB")).mean((0, 1))
        assert np.asarray(Image.open(io.BytesIO(content))).mean((0, 1)) == pytest.approx(expected, abs=6)


def test_a_full_image_is_the_file(view, sweep):
    reply, (content,) = view.ask(ask="full", image="r3[0]")
    assert reply == {"kind": "image/png"}
    assert content == sweep.cells[2].images[0].bytes


@pytest.mark.parametrize(
    "request_sent",
    [
        {"ask": "full", "image": "r99[0]"},
        {"ask": "full", "image": "../../etc/passwd"},
        {"ask": "thumbs", "images": [f"r{number}[0]" for number in range(40)]},
        {"ask": "thumbs", "images": ["r1[0]"], "side": 100_000},
        {"ask": "something"},
        {"rate": {"image": "r1[0]", "rating": 9}},
        {"rate": {"image": "r99[0]", "rating": 3}},
        {"do": "everything", "submits": 3},
    ],
)
def test_the_reply_to_an_invalid_request_has_a_problem(view, request_sent):
    reply, buffers = view.ask(**request_sent)
    assert list(reply) == ["problem"]
    assert "Traceback" not in reply["problem"]
    assert buffers == []


def test_a_rating_is_stored_and_confirmed_with_its_number(view, sweep):
    rate = {"image": "r2[0]", "rating": 4, "rejected": False, "note": EVIL, "number": 17}
    reply, _ = view.ask(rate=rate)
    assert reply["saved"] == 17
    assert (reply["image"]["rating"], reply["image"]["note"]) == (4, EVIL)
    image = sweep.cells[1].images[0]
    assert (image.rating, image.note) == (4, EVIL)
    view.ask(rate=rate | {"rating": 0, "note": ""})
    assert (image.rating, image.note) == (None, "")


def test_ratings_are_stored_in_the_order_in_which_they_were_sent(view, sweep):
    requests = [view.send(rate={"image": "r1[0]", "rating": rating, "number": rating}) for rating in (1, 2, 3, 4, 5)]
    wait_until(lambda: view.replies(requests[-1]))
    assert sweep.cells[0].images[0].rating == 5
    saved = [content["saved"] for content, _ in view.sent if "saved" in content]
    assert saved == [1, 2, 3, 4, 5]


def test_nothing_is_submitted_without_a_connection(view):
    reply, _ = view.ask(ask="plan", action="missing", items=None)
    assert "nothing is connected" in reply["problem"]


# -- updates ----------------------------------------------------------------------------------------------------------


def test_a_rating_is_sent_to_all_cells_that_show_the_image(opened, library, make_sweep, axis):
    """Two cells with the same request share one run, so also its rating."""
    sweep = make_sweep(axis("3::cfg", 4, 8))
    sweep.attach(sweep.cells[1], sweep.cells[0].run)
    view = opened(sweep)
    view.ask(ask="document")
    view.ask(rate={"image": "r1[0]", "rating": 5, "number": 1})
    wait_until(lambda: view.newest("s1.2"))
    assert [view.newest(ref)["images"][0]["rating"] for ref in ("s1.1", "s1.2")] == [5, 5]


def test_ratings_of_other_commands_are_sent_when_they_are_read_again(view, sweep):
    view.ask(ask="document")
    sweep.cells[2].images[0].rate(3)
    sweep.score(lambda image: float(image.size[0]), name="wide")
    view.explorer.reread()
    wait_until(lambda: any("columns" in update for update in view.updates))
    assert view.newest("s1.3")["images"][0]["rating"] == 3
    assert view.newest("s1.1")["images"][0]["scores"] == {"wide": 96.0}


def test_a_condition_on_ratings_is_evaluated_again_after_a_rating(view, sweep):
    view.ask(ask="document")
    view.explorer.where = "rating >= 4"
    assert view.explorer.visible == []
    view.ask(rate={"image": "r2[0]", "rating": 4, "number": 1})
    wait_until(lambda: refs(view.explorer.visible) == ["s1.2"])


def test_updates_of_a_running_sweep_are_sent_at_most_four_times_a_second(client, api, opened):
    api.live_statuses = ["running"] * 100_000
    began_s = time.monotonic()
    sweep = client.sweep("wf-1", {"3::cfg": list(range(12)), "3::seed": 7}, wait=False)
    view = opened(sweep)
    view.ask(ask="document")
    api.live_statuses = []  # no run ends before the view follows it
    wait_until(lambda: all((view.newest(cell.ref) or {}).get("status") == "success" for cell in sweep.cells))
    sweep.wait(60)
    wait_until(lambda: all(view.newest(cell.ref)["images"] for cell in sweep.cells))
    most = 20 + 4 * (time.monotonic() - began_s)
    assert len(view.updates) < most, "updates are collected: 12 cells change about five times each"


def test_the_image_axis_is_added_with_the_first_cell_of_several_images(client, api, opened):
    api.outputs = {"9": ["/images/a.png", "/images/b.png"]}
    sweep = client.sweep("wf-1", {"3::cfg": [1, 2], "3::seed": 7}, wait=False)
    view = opened(sweep)
    assert view.explorer._at == [0]
    view.ask(ask="document")
    wait_until(lambda: any("axes" in update for update in view.updates))
    (axes,) = [update["axes"] for update in view.updates if "axes" in update]
    assert [axis["name"] for axis in axes] == ["3::cfg", "image"]
    assert view.explorer._at == [0, 0]
    sweep.wait(60)


def test_nothing_is_sent_before_the_first_request_of_a_view(opened, sweep):
    view = opened(sweep)
    view.explorer.reread()
    view.explorer.send_changes()
    assert view.sent == []


def test_a_closed_explorer_sends_no_reply_and_has_no_listener(view, sweep):
    view.ask(ask="document")
    explorer = view.explorer
    explorer.close()
    count = len(view.sent)
    explorer._handle_custom_msg({"ask": "document", "view": "v1"}, [])
    sweep.notify(sweep.cells[0])
    explorer.send_changes()
    assert len(view.sent) == count
    assert repr(explorer.bundle()[0]["text/plain"]) == "'<Explorer of s1 default>'"


def test_a_closed_explorer_is_freed(sweep):
    updater = LiveUpdater()
    explorer = Explorer(Exploration([sweep]), updater=updater)
    kept = weakref.ref(explorer)
    explorer.close()
    del explorer

    def is_freed():
        gc.collect()
        return kept() is None

    wait_until(is_freed)
    updater.close()


# -- static versions --------------------------------------------------------------------------------------------------


def test_the_saved_notebook_contains_a_grid_and_no_other_images(explorer):
    data, metadata = explorer.bundle()
    assert {"text/plain", "text/html", "image/jpeg", "application/vnd.jupyter.widget-view+json"} == set(data)
    image = Image.open(io.BytesIO(base64.b64decode(data["image/jpeg"])))
    assert image.width >= metadata["image/jpeg"]["width"]
    assert data["text/plain"].splitlines()[0] == "s1 default: 6 cells"
    assert data["image/jpeg"] in data["text/html"]
    state = json.dumps({key: value for key, value in explorer.get_state().items() if key not in {"_esm", "_css"}})
    assert len(state) < 2000
    assert "r1[0]" not in state, "the document is not in the saved state"


def test_the_grid_of_many_noisy_cells_stays_below_a_megabyte(opened, make_sweep, axis):
    def noise(cell):
        return [Image.fromarray(np.random.default_rng(cell.number).integers(0, 256, (256, 256, 3), dtype="uint8"))]

    view = opened(make_sweep(axis("3::cfg", *range(10)), axis("3::steps", *range(1, 8)), images=noise))
    data, _ = view.explorer.bundle()
    assert "64 of 70" in data["text/plain"].splitlines()[0]
    assert "64 of 70" in data["text/html"]
    assert sum(len(str(content)) for content in data.values()) < 1_000_000


def test_hostile_texts_are_escaped(opened, make_sweep, axis):
    view = opened(make_sweep(axis("6::text", EVIL, "$x$ and $y$"), name="evil"))
    data, _ = view.explorer.bundle()
    assert "<script" not in data["text/html"]
    assert "onerror=alert" not in data["text/html"].replace("&quot;", "").split("<img")[0]


def test_a_sweep_with_failed_and_missing_cells_is_drawn(opened, make_sweep, axis):
    view = opened(make_sweep(axis("3::cfg", 1, 2, 3), ends={1: Status.FAILED, 2: None}))
    text = view.explorer.bundle()[0]["text/plain"]
    assert "s1.1 cfg 1: no luck with 1" in text
    assert "s1.2 cfg 2: not submitted" in text
