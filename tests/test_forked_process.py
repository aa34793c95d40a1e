"""A process forked from a connected one submits nothing, adopts no run of its parent, and ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from scripted_api import RUN

from comflowy_nb import connect

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")]

SCRIPT = """
import gc, json, multiprocessing, os, sys, time, traceback, warnings
warnings.simplefilter("ignore", DeprecationWarning)  # of a fork where there are threads: that is the test
from comflowy_nb import connect, history
from comflowy_nb.errors import ComflowyError

url, how = sys.argv[1:]
client = connect(f"test={url}", key="the-key")
live = client.submit("wf-1", {"3::seed": 1}).run
while not live.record.service_run_id:
    time.sleep(0.01)
reading, writing = os.pipe()

def report(name, verb):
    try:
        said = verb()
    except ComflowyError as error:
        said = str(error)
    os.write(writing, (json.dumps([name, str(said)]) + "\\n").encode())

def in_child():
    report("run", lambda: client.run("wf-1", {"3::seed": 2}))
    report("submit", lambda: client.submit("wf-1", {"3::seed": 2}))
    report("sweep", lambda: client.sweep("wf-1", {"3::seed": [2, 3]}))
    report("cancel", lambda: client.cancel(live))
    report("cancel of a run", live.cancel)
    report("resume", lambda: client.resume())
    report("wait", live.wait)
    report("history", lambda: len(history.runs()))
    report("close", client.close)
    gc.collect()

def in_child_again():
    with connect(f"test={url}", key="the-key") as own:
        submitted = own.submit("wf-1", {"3::seed": 2})
        while not submitted.run.record.service_run_id:  # it would be `unknown` if this process ended before
            time.sleep(0.01)
        report("own run", lambda: submitted.outcome)
        report("joined", lambda: own.submit("wf-1", {"3::seed": 1}).outcome)

act = in_child_again if how == "connects" else in_child
if how == "os.fork":
    child = os.fork()
    if child == 0:
        act()
        sys.exit(0)
    ended = os.waitpid(child, 0)[1]
else:
    process = multiprocessing.get_context("fork").Process(target=act)
    process.start()
    process.join()
    ended = process.exitcode
os.close(writing)
lines = [json.loads(line) for line in os.fdopen(reading)]
print(json.dumps([ended, dict(lines)]), flush=True)
sys.stdin.readline()
again = client.submit("wf-1", {"3::seed": 2})
print(again.outcome, again.run.wait(60).status if how != "connects" else "", flush=True)
"""


@pytest.fixture
def start(api, home, short_delays):
    """Return `start(how)`, which forks a connected process and returns the end and the output of its child."""
    processes = []
    api.live_statuses = ["running"] * 100_000

    def begin(how):
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, api.url, how], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        processes.append(process)
        has_ended, output = json.loads(process.stdout.readline())
        return has_ended, output, process

    yield begin
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.timeout(120)
@pytest.mark.parametrize("how", ["multiprocessing", "os.fork"])
def test_a_forked_child_submits_nothing_and_raises_an_error(api, start, how):
    """`client.run` in a multiprocessing worker was never submitted, and stayed `submitting` in the history.

    The child had recorded the run, but a fork does not copy the threads that submit it.
    """
    has_ended, output, process = start(how)
    assert has_ended == 0
    assert output.pop("history") == "1"  # reading is allowed
    assert output.pop("close") == "None"
    assert len(output) == 7
    assert all("forked" in text and "connect in this one" in text for text in output.values()), output
    assert api.count(RUN) == 1
    # The parent still holds its lock, which the child had inherited, so no process adopts its run.
    with connect(f"test={api.url}", key="the-key") as other:
        (run,) = other.runs()
        assert (other.library.locks / f"{run.record.owner}.lock").exists()
        assert other.live() == []
        assert other.submit("wf-1", {"3::seed": 1}).outcome == "joined"
        api.live_statuses = []
        out, _ = process.communicate("go on\n", timeout=60)
    assert out.split() == ["new", "success"]
    assert api.count(RUN) == 2


@pytest.mark.timeout(120)
def test_forked_child_can_open_its_own_connection(api, start):
    has_ended, output, process = start("connects")
    assert (has_ended, output) == (0, {"own run": "new", "joined": "joined"})
    assert api.count(RUN) == 2
    out, _ = process.communicate("go on\n", timeout=60)
    assert out.split()[0] in {"joined", "same"}
    assert api.count(RUN) == 2
    with connect(f"test={api.url}", key="the-key") as other:
        assert len(other.runs()) == 2
