"""Delete removes runs and sweeps with all their files, except runs and files that another record needs."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest
from history_fixtures import advance_to

from comflowy_nb.errors import RefError
from comflowy_nb.images.receive import image_path
from comflowy_nb.library import Library
from comflowy_nb.status import Status


def files_of(library, run):
    return sorted(path.name for path in library.folder.rglob("*") if run.token in path.name)


@pytest.fixture
def sweep(library, stored, sweep_request, cells):
    """Return a function: `sweep("sk", {1: run, 2: run}, name=..)` records a sweep that shows these runs."""

    def make(key, runs, **changes):
        history = library.history
        record = history.sweeps.record_or_update(sweep_request(key, **changes), cells(len(runs)))
        history.sweeps.set_cells(record.token, {number: run.token for number, run in runs.items()})
        return record

    return make


@pytest.fixture
def swept_runs(library, stored, sweep_request, cells):
    """Return a sweep s1 of three cells, with the runs r1 to r3 that were submitted for it."""
    record = library.history.sweeps.record_or_update(sweep_request("s-one"), cells(3))
    runs = {number: stored(f"k{number}", cell=(record.token, number)) for number in (1, 2, 3)}
    return record, runs


def test_a_run_is_deleted_with_all_its_files(library, stored, run_request):
    run, other = stored("a", 2, name="best"), stored("b")
    assert len(files_of(library, run)) == 7
    deleted = library.delete("best")
    assert (deleted.runs, deleted.files.files, deleted.repeats, deleted.is_done) == (("r1",), 7, 1, True)
    assert files_of(library, run) == []
    assert len(files_of(library, other)) == 4
    assert library.history.get(run.token) is None
    for ref, text in {"r1": "r1 was deleted, with its images", "best": "no run best", "id-a": "no run id-a"}.items():
        with pytest.raises(RefError, match=text):
            library.find(ref)
    assert library.history.record_or_reuse(run_request("a")).kind == "new"
    assert library.history.cleanup.pending() == []


def test_a_number_is_never_used_again(library, stored):
    stored("a")
    library.delete("r1")
    assert stored("b").number == 2


def test_a_pruned_run_can_be_deleted(library, stored):
    run = stored("a")
    library.prune(0)
    assert library.delete("r1").files.files == 3
    assert files_of(library, run) == []


@pytest.mark.parametrize("status", [Status.FAILED, Status.REJECTED, Status.CANCELLED])
def test_a_run_that_did_not_succeed_can_be_deleted(library, run_request, status):
    advance_to(library.history, library.history.record_or_reuse(run_request("a")).record.token, status)
    deleted = library.delete("r1")
    assert (deleted.runs, deleted.repeats) == (("r1",), 0)


@pytest.mark.parametrize("status", [Status.SUBMITTING, Status.WAITING, Status.RUNNING])
def test_a_live_run_is_not_deleted(library, run_request, stored, status):
    stored("b")
    run = advance_to(library.history, library.history.record_or_reuse(run_request("a")).record.token, status)
    with pytest.raises(RefError, match=f"r2 is {status}, so nothing is deleted. Cancel it first: %comflowy cancel r2"):
        library.delete("r1", "r2")
    assert library.history.get(run.token) == run
    assert library.find("r1").run.images[0].path.is_file()


@pytest.mark.parametrize("status", [Status.UNKNOWN, Status.LOST])
def test_a_held_run_is_not_deleted(library, run_request, status):
    """Without the held run, the same request would be submitted again, although the service may have accepted it."""
    run = advance_to(library.history, library.history.record_or_reuse(run_request("a")).record.token, status)
    with pytest.raises(RefError, match=f"r1 can't be deleted, because its status is {status}"):
        library.delete("r1")
    assert library.history.get(run.token) == run


def test_a_run_whose_images_are_being_fetched_is_not_deleted(library, stored):
    run = stored("a")
    image_path(library.folder, run.images[0]).unlink()
    library.history.set_images(run.token, replace(run.images[0], state="expected"))
    with pytest.raises(RefError, match="the images of r1 are being fetched"):
        library.delete("r1")


def test_nothing_is_deleted_unless_it_is_confirmed(library, stored):
    run = stored("a")
    assert library.delete("r1", dry_run=True).is_done is False
    planned = library.delete("r1", confirm=lambda planned: False)
    assert (planned.runs, planned.is_done) == (("r1",), False)
    assert library.history.get(run.token) == run
    assert library.find("r1").run.images[0].path.is_file()


def test_a_sweep_is_deleted_with_the_runs_that_were_submitted_for_it(library, swept_runs, run_request):
    record, runs = swept_runs
    deleted = library.delete("s1")
    assert (deleted.sweeps, deleted.runs, deleted.kept) == (("s1",), ("r1", "r2", "r3"), {})
    assert [files_of(library, run) for run in runs.values()] == [[], [], []]
    with pytest.raises(RefError, match="s1 was deleted, with its runs and their images: it can't be shown"):
        library.find("s1")
    assert library.history.sweeps.cells(record.token) == []
    assert library.history.record_or_reuse(run_request("k1")).kind == "new"


def test_a_run_that_another_sweep_shows_is_kept(library, swept_runs, sweep):
    _, runs = swept_runs
    other = sweep("s-two", {1: runs[2]})
    deleted = library.delete("s1")
    assert (deleted.runs, deleted.kept) == (("r1", "r3"), {"r2": "s2.1 shows it too"})
    assert library.history.sweeps.cell(other.token, 1).run.number == 2
    assert library.find("s2.1[0]").image.path.is_file()
    assert library.delete("s2").runs == ("r2",), "it belongs to the sweep that is left"


def test_a_run_of_a_sweep_is_deleted_by_the_reference_of_its_cell(library, swept_runs):
    kept = library.delete("r2")
    assert (kept.runs, kept.kept) == ((), {"r2": "s1.2 shows it too"})
    record, _ = swept_runs
    assert library.delete("s1.2").runs == ("r2",)
    assert [cell.run and cell.run.number for cell in library.history.sweeps.cells(record.token)] == [1, None, 3]
    with pytest.raises(RefError, match=r"s1\.2 has no run: it was not submitted, or its run was deleted"):
        library.find("s1.2")


def test_deleting_both_sweeps_deletes_a_run_that_both_show(library, swept_runs, sweep):
    _, runs = swept_runs
    sweep("s-two", {1: runs[2]})
    assert library.delete("s1", "s2").runs == ("r1", "r2", "r3")


def test_named_runs_and_runs_that_were_submitted_before_the_sweep_are_kept(
    library, stored, sweep_request, cells, run_request
):
    history = library.history
    alone = stored("k1")
    record = history.sweeps.record_or_update(sweep_request(), cells(2))
    history.sweeps.set_cells(record.token, {1: alone.token})
    stored("k2", cell=(record.token, 2))
    history.record_or_reuse(run_request("k2", name="best"))
    deleted = library.delete("s1")
    assert (deleted.runs, deleted.sweeps) == ((), ("s1",))
    assert deleted.kept == {"r1": "it was run by itself", "r2": "it is named best"}
    assert library.find("last").run.number == 2


def test_held_runs_of_a_sweep_are_kept(library, swept_runs, run_request):
    record, _ = swept_runs
    history = library.history
    held = history.record_or_reuse(run_request("k4")).record
    advance_to(history, held.token, Status.UNKNOWN)
    history.sweeps.set_cells(record.token, {1: held.token})
    deleted = library.delete("s1")
    assert deleted.runs == ("r2", "r3")
    assert deleted.kept == {"r4": "its status is unknown: the service may have accepted it"}
    assert history.record_or_reuse(run_request("k4")).kind == "held"


def test_a_sweep_with_a_live_run_is_not_deleted(library, swept_runs, run_request):
    record, runs = swept_runs
    live = library.history.record_or_reuse(run_request("k4")).record
    library.history.sweeps.set_cells(record.token, {1: live.token})
    with pytest.raises(RefError, match="r4 is submitting, so nothing is deleted"):
        library.delete("s1")
    assert all(len(files_of(library, run)) == 4 for run in runs.values())


def test_a_sweep_that_a_kernel_submits_is_not_deleted(library, swept_runs, process_lock):
    record, _ = swept_runs
    library.history.senders.begin(record.token, process_lock.name)
    with pytest.raises(RefError, match="a kernel submits s1 now: %comflowy cancel s1 first"):
        library.delete("s1")
    library.history.senders.end(record.token, process_lock.name)
    assert library.delete("s1").sweeps == ("s1",)


def test_a_single_image_can_not_be_deleted(library, stored):
    stored("a", 2)
    with pytest.raises(RefError, match=r"a single image can't be deleted; to delete its run: %comflowy delete r1$"):
        library.delete("r1[0]")


def test_a_value_that_is_not_a_reference_is_an_error_that_shows_the_form(library):
    with pytest.raises(RefError, match=r'41 is not a run, a sweep or a reference: use delete\("r41"\)'):
        library.delete(41)


def test_runs_images_and_sweeps_are_references(library, stored, make_sweep, axis):
    stored("a")
    sweep = make_sweep(axis("3::cfg", 4, 6))
    with pytest.raises(RefError, match="a single image can't be deleted"):
        library.delete(library.find("r1").run.images[0])
    deleted = library.delete(library.find("r1").run, sweep, dry_run=True)
    assert (deleted.runs, deleted.sweeps) == (("r1", "r2", "r3"), ("s1",))
    assert library.delete(sweep.cells[0], dry_run=True).runs == ("r2",)


def test_last_is_the_newest_remaining_run(library, stored):
    runs = [stored(key) for key in "abc"]
    for run in runs:
        library.set_newest(library.run(run))
    library.delete("last")
    assert library.find("last").run.number == 2
    other = Library(library.home)
    other.delete("r2")
    other.close()
    assert library.find("last").run.number == 1


def test_a_graph_is_deleted_with_its_last_run(library, stored):
    graph = {"3": {"class_type": "KSampler", "inputs": {"cfg": 7}}}
    one, two = (stored(key, graph=graph, workflow_id=None) for key in "ab")
    library.delete("r1")
    assert library.history.graph(two.token) == graph
    library.delete("r2")
    assert library.history.graph(one.token) is None
    with closing(sqlite3.connect(library.home / "history.sqlite")) as database:
        assert database.execute("SELECT count(*) FROM graphs").fetchone() == (0,)


@pytest.mark.parametrize(
    ("changes", "costs"),
    [
        ({"origin": "https://app.comflowy.com"}, True),
        ({"origin": "sandbox"}, False),
        ({"origin": "http://127.0.0.1:8188"}, False),
        ({"origin": "http://192.168.1.5:8188", "workflow_id": None, "graph": {}}, False),
    ],
)
def test_the_plan_shows_whether_the_service_costs_money(library, stored, changes, costs):
    stored("a", **changes)
    assert library.delete("r1", dry_run=True).costs_money is costs


def test_only_requests_without_another_success_would_run_again(library, stored):
    for _ in range(2):
        stored("a", origin="https://app.comflowy.com")
    one = library.delete("r1", dry_run=True)
    assert (one.repeats, one.costs_money) == (0, False)
    both = library.delete("r1", "r2", dry_run=True)
    assert (both.repeats, both.costs_money) == (1, True)


def test_two_processes_delete_the_same_run_once(library, home, stored):
    stored("a")
    stored("b")
    other = Library(home)
    deleted = library.delete("r1", "r2", confirm=lambda planned: other.delete("r1").is_done)
    assert deleted.runs == ("r2",)
    other.close()


def test_a_run_that_a_sweep_shows_after_it_was_listed_is_kept(library, stored, sweep):
    run = stored("k1")
    deleted = library.delete("r1", confirm=lambda planned: bool(sweep("late", {1: run})))
    assert (deleted.runs, deleted.kept) == ((), {"r1": "s1.1 shows it too"})
    assert library.history.get(run.token) == run
