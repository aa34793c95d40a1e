"""A laptop that slept, a stopped kernel and a changed clock: no false time-out, and no burst of requests afterwards."""

from __future__ import annotations

import email.utils
import itertools
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter

import pytest
from faulty_server import choose, reply
from scripted_api import CHECK, RUN
from waiting import wait_until

from comflowy_nb.countdown import MAX_STEP_S
from comflowy_nb.settings import settings

RUNNING = {"success": True, "data": {"status": "running"}}
HOUR_S = 3600.0
RUNS = 40

# A child whose monotonic clock jumps: it is patched before the package and the network libraries are imported.
CHILD = """
import sys, threading, time
real_monotonic, jumped_s = time.monotonic, [0.0]
time.monotonic = lambda: real_monotonic() + jumped_s[0]
import comflowy_nb
from comflowy_nb.settings import settings

url = sys.argv[1]
client = comflowy_nb.connect(f"test={url}", key="the-key")

def submit(count, start=0):
    return [client.submit("wf-1", {"3::seed": start + number}).run for number in range(count)]

def say(*words):
    print(*words, flush=True)
"""


@pytest.fixture
def child(api):
    """Return a function: `child(code)` starts a process that connects to the API and runs the code."""
    processes = []

    def start(code):
        command = [sys.executable, "-c", CHILD + code, api.url]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.communicate()


def send_line(process, word):
    process.stdin.write(f"{word}\n")
    process.stdin.flush()


STOPPED = """
settings.answer_deadline_s = 5
run = client.run("wf-1", {"3::seed": 1}, timeout=5)
say(run.status, run.images[0].path.exists())
client.close()
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="no SIGSTOP here")
def test_a_kernel_that_is_stopped_during_its_submit_reads_the_response_afterwards(api, child):
    """The deadline ended at once when the kernel continued, and the accepted run became `unknown`."""
    continued = threading.Event()

    def answer(_):
        continued.wait(60)
        return reply({"success": True, "data": {"run_id": "run-1"}})

    api.on(RUN, choose(answer))
    process = child(STOPPED)
    api.wait_for(RUN)
    os.kill(process.pid, signal.SIGSTOP)
    threading.Event().wait(6)  # longer than the deadline of the response and the timeout of the cell
    os.kill(process.pid, signal.SIGCONT)
    time_of_others = threading.Timer(MAX_STEP_S / 2, continued.set)  # the kernel can end the exchange meanwhile
    time_of_others.start()
    output, _ = process.communicate(timeout=60)
    assert output == "success True\n"
    assert api.count(RUN) == 1


ASLEEP = f"""
settings.window = 2 * {RUNS}
runs = submit({RUNS})
sys.stdin.readline()
jumped_s[0] += {HOUR_S}
runs += submit(1, start=1000)  # wakes the scheduler, as its own timers do after a sleep
sys.stdin.readline()
say({{str(run.status) for run in runs}}, [run.warning for run in runs if run.warning])
sys.stdin.readline()
for run in runs:
    run.wait(timeout=60)
say({{str(run.status) for run in runs}})
client.close()
"""


@pytest.mark.slow
def test_an_hour_of_sleep_causes_at_most_one_check_of_each_run(api, child):
    """The clock was moved forward by an hour, the server has closed all connections, and a check was in flight."""
    api.on(CHECK, reply(RUNNING))
    process = child(ASLEEP)
    api.wait_for(RUN, RUNS, timeout_s=60)
    wait_until(lambda: {request.query["id"] for request in api.requests(CHECK)} >= {"run-1", "run-2", "run-3"})
    woken, in_flight = threading.Event(), threading.Lock()
    is_held = iter([True])

    def answer(_):
        with in_flight:
            holds = next(is_held, False)
        if holds:
            woken.wait(60)
        return reply(RUNNING)

    api.on(CHECK, choose(answer))
    before = api.count(CHECK)
    api.wait_for(CHECK, before + 1)  # it is in flight during the sleep
    api.reset_counts()
    send_line(process, "sleep")
    api.wait_for(RUN)
    woken.set()
    began_s = time.monotonic()
    threading.Event().wait(2)
    checks = Counter(
        request.query["id"] for request in api.requests(CHECK) if request.at_s < began_s + settings.retry_base_s
    )
    assert sum(checks.values()) <= RUNS + 8, f"a burst: {checks}"
    assert max(checks.values(), default=0) <= 2, f"a burst: {checks}"
    send_line(process, "report")
    statuses, _, warnings = process.stdout.readline().partition("}")
    assert "lost" not in statuses
    assert "unknown" not in statuses
    assert "failed" not in statuses
    assert "did not respond" not in warnings
    api.on(CHECK, choose(lambda request: reply({"success": True, "data": api.state(request.query["id"])})))
    api.live_statuses = []
    send_line(process, "end")
    assert process.communicate(timeout=90)[0] == "{'success'}\n"


@pytest.mark.parametrize("shift_s", [-2 * 86400.0, -HOUR_S, HOUR_S, 10 * 365 * 86400.0])
def test_a_clock_that_is_set_during_a_run_changes_nothing(client, api, monkeypatch, shift_s):
    real_time, shifted_s = time.time, [0.0]
    monkeypatch.setattr(time, "time", lambda: real_time() + shifted_s[0])
    api.on(CHECK, reply(RUNNING))
    run = client.submit("wf-1", {"3::seed": 1}).run
    wait_until(lambda: run.status == "running" and api.count(CHECK) >= 8)
    shifted_s[0], checks = shift_s, api.count(CHECK)
    threading.Event().wait(0.5)
    assert api.count(CHECK) - checks <= 5, "a burst"
    assert run.status == "running"
    api.on(CHECK, choose(lambda request: reply({"success": True, "data": api.state(request.query["id"])})))
    run.wait(timeout=60)
    assert run.status == "success"
    assert run.record.seconds >= 0
    assert client.submit("wf-1", {"3::seed": 1}).outcome == "same"
    second = client.run("wf-1", {"3::seed": 2}, timeout=60)
    assert second.status == "success"
    assert client.find("last").run.ref == second.ref
    assert api.count(RUN) == 2


def test_retry_after_as_a_date_is_read_by_the_clock_of_the_server(client, api):
    """With a wrong clock the pause was 0, and the run was rejected after a burst of submits."""
    server_s = time.time() - HOUR_S
    headers = {
        "Date": email.utils.formatdate(server_s, usegmt=True),
        "Retry-After": email.utils.formatdate(server_s + 1, usegmt=True),
    }
    api.on(RUN, reply({}, 429, headers), reply({"success": True, "data": {"run_id": "run-1"}}))
    assert client.run("wf-1", {"3::seed": 1}, timeout=60).status == "success"
    first, second = api.requests(RUN)
    assert second.at_s - first.at_s >= 0.9


def test_retry_after_of_zero_does_not_cause_a_burst_of_checks(client, api):
    """A service that asked for no pause was checked again without any."""
    settings.retry_base_s = settings.retry_max_s = 0.4
    busy = [reply({}, 429, {"Retry-After": "0"})] * 3
    api.on(CHECK, *busy, choose(lambda request: reply({"success": True, "data": api.state(request.query["id"])})))
    assert client.run("wf-1", {"3::seed": 1}, timeout=60).status == "success"
    times_s = [request.at_s for request in api.requests(CHECK)[:4]]
    assert min(later - earlier for earlier, later in itertools.pairwise(times_s)) >= 0.15
