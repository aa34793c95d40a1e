"""Unreferenced clients are closed, and collected with everything that they opened."""

from __future__ import annotations

import gc
import json
import threading
import weakref

import psutil
import pytest
from bare_client import empty_image
from faulty_server import choose, close_after_reading, reply
from scripted_api import CHECK, RUN, png
from waiting import wait_until

from comflowy_nb import connect, history
from comflowy_nb.errors import RunHeld

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick")]


def locks(home):
    """Return the lock files of open clients."""
    return [path for path in (home / "locks").glob("*.lock") if path.stem != "probing"]


def gate(api, route, answer):
    """Delay the responses of a route until the returned event is set."""
    is_open = threading.Event()

    def wait(seen):
        is_open.wait(60)
        return answer(seen)

    api.on(route, choose(wait))
    return is_open


@pytest.mark.parametrize("kind", ["comflowy", "comfyui"])
def test_a_cell_that_connects_repeatedly_keeps_one_connection(kind, api, comfy, home):
    """`c = connect(...)`, run 30 times in a cell, left 30 lock files, 40 threads and 200 open files."""

    def target():
        return connect(f"test={api.url}", key="the-key") if kind == "comflowy" else connect(f"home={comfy.url}")

    client = target()
    process = psutil.Process()
    gc.collect()
    before = process.num_fds(), threading.active_count()
    for _ in range(10):
        client = target()
        client.runs()
    gc.collect()
    wait_until(lambda: len(locks(home)) == 1, said=lambda: f"{len(locks(home))} clients are open")
    # Each of ten clients would keep several. The open client may not have started all its threads at first.
    wait_until(
        lambda: process.num_fds() < before[0] + 10 and threading.active_count() < before[1] + 10,
        said=lambda: f"{before} became {process.num_fds()}, {threading.active_count()}",
    )
    client.close()


def test_a_live_run_of_an_unreferenced_client_can_be_waited_for(api, home):
    """The client is needed until the last image is on disk, though only the run is referenced."""
    api.words = []
    may_end = gate(api, CHECK, lambda seen: reply({"success": True, "data": api.state(seen.query["id"])}))
    may_download = gate(api, "GET /images/*", lambda _: reply(png(), headers={"Content-Type": "image/png"}))
    client = connect(f"test={api.url}", key="the-key")
    run = client.submit("wf-1", {"3::seed": 1}).run
    reference = weakref.ref(client)
    del client
    gc.collect()
    assert reference() is None
    api.wait_for(CHECK)
    assert len(locks(home)) == 1
    may_end.set()
    wait_until(lambda: run.status == "success")
    assert len(locks(home)) == 1
    may_download.set()
    assert run.wait(60).images[0].path.exists()
    wait_until(lambda: not locks(home))
    run.cancel()  # no effect and no error after the end
    assert run.images[0].path.exists()


def test_a_live_run_without_references_continues(api, home):
    api.words = []
    may_end = gate(api, CHECK, lambda seen: reply({"success": True, "data": api.state(seen.query["id"])}))
    connect(f"test={api.url}", key="the-key").submit("wf-1", {"3::seed": 1})
    gc.collect()
    api.wait_for(CHECK)
    may_end.set()
    wait_until(lambda: not locks(home))
    (run,) = history.runs()
    assert run.status == "success"
    assert run.images[0].path.exists()


def test_all_cells_of_a_sweep_without_references_are_submitted(api, home):
    api.words = []
    sweep = connect(f"test={api.url}", key="the-key").sweep("wf-1", {"3::seed": list(range(40))}, wait=False, window=2)
    gc.collect()
    assert sweep.wait(60).status_counts() == {"success": 40}
    wait_until(lambda: not locks(home))
    assert api.count(RUN) == 40


def test_a_run_with_a_lost_response_does_not_keep_the_client_open(api, home):
    """An unknown run is held: it does not change by itself."""
    api.on(RUN, close_after_reading())
    client = connect(f"test={api.url}", key="the-key")
    with pytest.raises(RunHeld):
        client.run("wf-1", {"3::seed": 1}, timeout=60)
    del client
    gc.collect()
    wait_until(lambda: not locks(home))


def test_a_run_that_another_client_submitted_is_tracked_until_its_end(api, home):
    api.words = ["running"] * 100_000
    with connect(f"test={api.url}", key="the-key") as first:
        run = first.submit("wf-1", {"3::seed": 1}).run
        wait_until(lambda: run.status == "running")
        joined = connect(f"test={api.url}", key="the-key").submit("wf-1", {"3::seed": 1})
        assert joined.outcome == "joined"
        gc.collect()
        wait_until(lambda: joined.run.status == "running")
        assert len(locks(home)) == 2
        api.words = []
        assert joined.run.wait(60).status == "success"
        wait_until(lambda: len(locks(home)) == 1)


def test_a_run_on_a_comfyui_server_is_tracked_until_its_end(comfy, home, tmp_path):
    comfy.hold()
    file = tmp_path / "graph.json"
    file.write_text(json.dumps(empty_image(3)))
    run = connect(f"home={comfy.url}").submit(str(file), {}).run
    gc.collect()
    wait_until(lambda: run.status != "submitting")
    comfy.release()
    assert run.wait(60).status == "success"
    wait_until(lambda: not locks(home))
