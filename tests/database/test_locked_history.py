"""A history that another process keeps locked: runs stay tracked, and no status goes back."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import sys
import threading

import pytest
from faulty_server import choose, reply
from scripted_api import CHECK, RUN, png
from waiting import wait_until

from comflowy_nb import connect, history
from comflowy_nb.errors import HistoryError
from comflowy_nb.tracking import downloads

pytestmark = [pytest.mark.usefixtures("short_delays"), pytest.mark.timeout(180)]

ORDER = ["submitting", "waiting", "pending", "running", "success"]


class Lock:
    """SQLite's lock of the history, as held by another process."""

    def __init__(self, home):
        self._connection = sqlite3.connect(home / "history.sqlite", timeout=60, check_same_thread=False)
        self._connection.isolation_level = None

    def acquire(self):
        self._connection.execute("BEGIN IMMEDIATE")

    def release(self):
        self._connection.execute("ROLLBACK")

    def close(self):
        self._connection.close()


HOLD = """
import fcntl, sys
with open(sys.argv[1], "r+b") as file:
    fcntl.lockf(file, fcntl.LOCK_EX, 8, 120)  # the bytes that SQLite locks for readers and writers
    print("held", flush=True)
    sys.stdin.readline()
"""


@contextlib.contextmanager
def unreadable_history(home):
    """Hold the locks of the write-ahead log in another process: each read fails after 10 s."""
    command = [sys.executable, "-c", HOLD, str(home / "history.sqlite-shm")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "held\n"
            yield
        finally:
            process.communicate("\n", timeout=60)


@pytest.fixture
def lock(client, home):
    with contextlib.closing(Lock(home)) as result:
        yield result


@pytest.mark.slow
def test_success_that_could_not_be_written_is_not_reverted(client, api, lock, home):
    """The record of its first image changed the run back to `waiting`; it was polled again, and could become `lost`."""
    api.outputs = {"9": ["/images/0", "/images/1"]}
    may_download = [threading.Event(), threading.Event()]

    def state(_):
        if api.count(CHECK) > 1:
            return reply({"success": False, "error": "no such run"}, status=404)
        lock.acquire()
        api.live_statuses = []
        return reply({"success": True, "data": api.state("run-1")})

    def image(request):
        may_download[int(request.path[-1])].wait(60)
        return reply(png(), headers={"Content-Type": "image/png"})

    api.on(CHECK, choose(state))
    api.on("GET /images/*", choose(image))
    run = client.submit("wf-1", {"3::seed": 1}).run
    statuses = []
    run.listen(lambda changed: statuses.append(str(changed.status)))
    wait_until(lambda: run.status == "success" and run.warning is not None, 60)
    assert "can't be written" in run.warning
    lock.release()
    for number, event in enumerate(may_download):
        assert [image.record.state for image in run.images].count("kept") == number
        assert not run.wait_change(0)
        event.set()
        wait_until(lambda number=number: run.images[number].record.state == "kept")
    run.wait(60)
    wait_until(lambda: history.runs()[0].status == "success")
    assert statuses == sorted(statuses, key=ORDER.index)
    assert api.count(CHECK) == 1
    assert [image.record.state for image in history.runs()[0].images] == ["kept", "kept"]
    assert [image.record.state for image in run.images] == ["kept", "kept"]
    (sidecar,) = (home / "images").rglob("*.json")
    metadata = json.loads(sidecar.read_text())
    assert metadata["status"] == "success"
    assert len(metadata["images"]) == 2


@pytest.mark.slow
def test_end_that_is_written_late_causes_no_second_check_or_download(client, api, lock):
    may_download = threading.Event()

    def state(_):
        if api.count(CHECK) == 1:
            lock.acquire()
            api.live_statuses = []
        return reply({"success": True, "data": api.state("run-1")})

    def image(_):
        may_download.wait(60)
        return reply(png(), headers={"Content-Type": "image/png"})

    api.on(CHECK, choose(state))
    api.on("GET /images/*", choose(image))
    run = client.submit("wf-1", {"3::seed": 1}).run
    wait_until(lambda: run.status == "success" and run.warning is not None, 60)
    lock.release()
    wait_until(lambda: history.runs()[0].status == "success", 60)
    may_download.set()
    assert [image.record.state for image in run.wait(60).images] == ["kept"]
    assert api.count(CHECK) == api.count("GET /images/*") == 1


@pytest.mark.slow
def test_live_run_whose_status_is_written_late_is_tracked_to_its_end(client, api, lock):
    api.live_statuses = ["running"] * 100_000

    def state(_):
        if api.count(CHECK) == 1:
            lock.acquire()
        return reply({"success": True, "data": api.state("run-1")})

    api.on(CHECK, choose(state))
    run = client.submit("wf-1", {"3::seed": 1}).run
    wait_until(lambda: run.status == "running" and run.warning is not None, 60)
    lock.release()
    wait_until(lambda: history.runs()[0].status == "running" and run.warning is None, 60)
    api.live_statuses = []
    assert run.wait(60).status == "success"


@pytest.mark.slow
def test_failed_read_does_not_end_a_watch(api, home):
    """A joined run stayed `running` forever, and so did the cell that waited for it: its watch had ended."""
    api.live_statuses = ["running"] * 100_000
    with connect(f"test={api.url}", key="the-key") as sender, connect(f"test={api.url}", key="the-key") as watcher:
        sweep = sender.sweep("wf-1", {"3::seed": [1, 2, 3]}, wait=False, window=2)
        wait_until(lambda: sweep.status_counts() == {"running": 2, "not submitted": 1})
        joined_request = watcher.submit("wf-1", {"3::seed": 1})
        assert joined_request.outcome == "joined"
        watched_sweep = watcher.connection.reopen(history.find("s1").sweep)
        assert watched_sweep.is_submitting
        with unreadable_history(home):
            for _ in range(2):  # the first read may begin before that of a watch; the second begins after it
                with pytest.raises(HistoryError):
                    history.runs()
        api.live_statuses = []
        assert joined_request.run.wait(60).status == "success"
        assert watched_sweep.wait(60).status_counts() == {"success": 3}
        assert sweep.wait(60).status_counts() == {"success": 3}
    assert api.count(RUN) == 3


def test_sweep_does_not_delay_the_other_listeners_of_its_runs(client, api, lock):
    """The tracker waited 10 s for the history, in a listener of the sweep, before it called the other listeners."""
    api.live_statuses = []
    client.run("wf-1", {"3::seed": 1}, timeout=60)
    api.live_statuses = ["running"] * 100_000
    run = client.submit("wf-1", {"3::seed": 2}).run
    wait_until(lambda: run.status == "running")
    run.listen(lambda changed: None if changed.status.is_live or notified.is_set() else lock.acquire())
    notified = threading.Event()
    sweep = client.sweep("wf-1", {"3::seed": [1, 2]}, wait=False)
    run.listen(lambda changed: None if changed.status.is_live else notified.set())
    api.live_statuses = []
    try:
        assert notified.wait(8), "less than SQLite waits for a lock"
    finally:
        lock.release()
    assert sweep.wait(60).status_counts() == {"success": 2}


@pytest.mark.slow
def test_image_that_could_not_be_recorded_is_recorded_later(client, api, lock, monkeypatch):
    """A settled run became live again: the history was locked, so the downloaded image stayed `expected`."""
    monkeypatch.setattr(downloads, "REWRITE_S", 0.5)
    requested, released = threading.Event(), threading.Event()

    def image(_):
        requested.set()
        released.wait(60)
        return reply(png(), headers={"Content-Type": "image/png"})

    api.on("GET /images/*", choose(image))
    run = client.submit("wf-1", {"3::seed": 1}).run
    assert requested.wait(60)
    wait_until(lambda: run.status == "success" and history.runs()[0].status == "success")
    lock.acquire()
    released.set()
    wait_until(lambda: run.record.is_settled, 60)
    assert "not in the history" in run.warning
    assert client.find(run.ref).run is run
    assert [run_image.record.state for run_image in run.images] == ["kept"]
    lock.release()
    wait_until(lambda: history.runs()[0].images[0].record.state == "kept", 60)
    assert run.record == history.runs()[0].record
