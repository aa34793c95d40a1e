"""Prune and delete while runs are in progress: no run, no row and no image that is still needed is lost."""

from __future__ import annotations

import threading

import pytest
from faulty_server import choose, reply
from scripted_api import CHECK, RUN, png

from comflowy_nb.errors import RefError
from comflowy_nb.library import Library

pytestmark = pytest.mark.usefixtures("short_delays")


@pytest.fixture
def other(home):
    """Open the history as another process does."""
    opened = Library(home)
    yield opened
    opened.close()


def test_prune_and_delete_during_a_sweep_do_not_change_the_sweep(client, api, other):
    is_held_back = threading.Event()
    is_held_back.set()

    def check(seen):
        is_last = seen.query["id"] == "run-12" and is_held_back.is_set()
        return reply({"success": True, "data": {"status": "running"} if is_last else api.state(seen.query["id"])})

    api.on(CHECK, choose(check))
    sweep = client.sweep("wf-1", {"3::cfg": list(range(12))}, wait=False)
    while sweep.status_counts() != {"running": 1, "success": 11}:
        assert other.prune(0, all=True).images.files == 0
        with pytest.raises(RefError, match=r"s1 now|nothing is deleted"):
            other.delete("s1")
        sweep.wait_change(0.01)
    assert other.prune(0, all=True).images.files == 0
    is_held_back.clear()
    sweep.wait(60)
    assert sweep.status_counts() == {"success": 12}
    assert [cell.run.images[0].bytes for cell in sweep.cells] == [png()] * 12
    assert api.count(RUN) == 12
    assert other.prune(0, all=True).images.files == 12
    assert len(other.delete("s1").runs) == 12
    assert other.runs() == []
    assert other.disk().parts["originals"].files == other.disk().parts["thumbnails"].files == 0


def test_runs_are_pruned_or_deleted_only_after_their_end(client, api, other):
    runs = [client.submit("wf-1", {"3::cfg": cfg}).run for cfg in range(8)]
    deleted = set()
    while any(not run.record.is_settled for run in runs):
        other.prune(0)
        for run in runs[:4]:
            try:
                deleted.update(other.delete(run.ref).runs)
            except RefError:  # it is live, or deleted already
                continue
    for run in runs[:4]:
        if run.ref not in deleted:
            assert other.delete(run.ref).runs == (run.ref,)
    other.prune(0)
    left = other.runs()
    assert sorted(run.ref for run in left) == sorted(run.ref for run in runs[4:])
    assert all(run.status == "success" and run.images[0].is_pruned for run in left)
    assert all(run.images[0].thumbnail(256).is_file() for run in left)
    usage = other.disk()
    assert (usage.parts["originals"].files, usage.parts["thumbnails"].files) == (0, 8)
    assert usage.unknown.files == 0, "a sidecar that was written while its run was deleted"
    again = [client.submit("wf-1", {"3::cfg": cfg}).outcome for cfg in range(8)]
    assert again == ["new"] * 4 + ["same"] * 4
    assert api.count(RUN) == 12
