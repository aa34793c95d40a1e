"""Partial files of a killed process in the home folder are removed at the next start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from faulty_server import reply, send_in_pieces
from scripted_api import png
from waiting import wait_until

from comflowy_nb import connect
from comflowy_nb.database.runs import History

STOPPED = """
import os, signal, sys, time
from pathlib import Path

def stop_before(real):
    def rename(*args):
        global left
        left -= 1
        if left == 0:
            print("stopped", flush=True)
            os.kill(os.getpid(), signal.SIGSTOP)
            time.sleep(3600)  # a thread may run on for a moment
        return real(*args)
    return rename

home, url, left = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
Path.replace, Path.rename = stop_before(Path.replace), stop_before(Path.rename)
"""
RUN = """
from comflowy_nb import connect
connect(url, key="the-key").submit("wf-1", {"3::cfg": 7}).run.wait()  # a name would be remembered in a file
signal.pause()  # thumbnails are made on another thread
"""
CATALOGUE = """
from comflowy_nb.workflow.files import write_text
write_text(home / "workflows" / "mine.json", "{}")
write_text(home / "comflowy.yaml", "workflows: {}")
"""
# the image, the sidecar and two thumbnails, in any order; before them the history file
WRITERS = [("run", 2), ("run", 3), ("run", 4), ("run", 5), ("catalogue", 1), ("catalogue", 2)]


def partial_files(home):
    """Return the partial files."""
    return [path for path in home.rglob("*") if path.suffix == ".part" or ".new" in path.name]


@pytest.fixture
def kill_at_rename(api, short_delays, home):
    """Return a function: `kill_at_rename(writer, n)` starts a process that stops before it renames the n-th file."""
    processes = []
    api.live_statuses = []

    def begin(writer, number):
        code = STOPPED + {"run": RUN, "catalogue": CATALOGUE}[writer]
        process = subprocess.Popen(
            [sys.executable, "-c", code, str(home), api.url, str(number)], stdout=subprocess.PIPE, text=True
        )
        processes.append(process)
        assert process.stdout.readline() == "stopped\n"
        return process

    yield begin
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="no SIGSTOP here")
@pytest.mark.parametrize(("writer", "number"), WRITERS)
def test_partial_files_of_a_killed_process_are_removed_at_the_next_start(home, kill_at_rename, writer, number):
    """A kill between the writing of a file and its rename left a `*.part` file that was never removed."""
    process = kill_at_rename(writer, number)
    assert partial_files(home)
    History.open(home).close()
    assert partial_files(home), "a file that a living process writes was removed"
    process.kill()
    process.wait()
    History.open(home).close()
    assert partial_files(home) == []
    assert list((home / "images").glob("*.lock")) == []


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="no SIGSTOP here")
def test_a_kill_during_the_creation_of_the_history_leaves_no_warning(home, kill_at_rename):
    process = kill_at_rename("run", 1)
    assert partial_files(home)
    process.kill()
    process.wait()
    history = History.open(home)
    assert partial_files(home) == []
    assert history.warnings == ()
    history.close()


@pytest.mark.timeout(120)
def test_a_killed_download_leaves_nothing(api, short_delays, home):
    """The partial image and the lock file were never removed."""
    api.live_statuses = []
    api.on("GET /images/*", send_in_pieces(png(size=(400, 400)), every_s=0.05, piece=50))
    code = (
        "import sys; from comflowy_nb import connect; "
        "connect(f'test={sys.argv[1]}', key='the-key').submit('wf-1', {'3::cfg': 7}).run.wait()"
    )
    process = subprocess.Popen([sys.executable, "-c", code, api.url])
    wait_until(lambda: list((home / "images").glob("*/*.part")) != [])
    other = History.open(home)
    assert partial_files(home), "an image that a living process receives was removed"
    other.close()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    api.on("GET /images/*", reply(png(), headers={"Content-Type": "image/png"}))
    with connect(f"test={api.url}", key="the-key") as client:
        # The client adopts the run and downloads its image again, under another temporary name.
        wait_until(lambda: partial_files(home) == [])
        assert list((home / "images").glob("*.lock")) == []
        (run,) = client.runs()
        assert run.wait(60).images[0].bytes == png()
