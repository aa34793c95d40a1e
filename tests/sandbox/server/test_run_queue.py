"""Runs from acceptance to end: parallel runs, callbacks, cancellation, and recovery after a killed process."""

from __future__ import annotations

import hashlib
import signal
import time

import psutil
import pytest
import requests
from sandbox_process import wait_for

from comflowy_nb.sandbox.server.worker_pool import count_cores

# Small images: a worker paints its scenes again for each size, which takes seconds for large ones.
SMALL = {"5::width": 64, "5::height": 64}
QUICK = {**SMALL, "3::steps": 1}
LONG = {**SMALL, "3::steps": 10000, "5::batch_size": 4}  # takes minutes unless cancelled
PROGRESS = {"node", "title", "value", "max", "nodes_done", "nodes_total"}


def cancel(sandbox, run_id):
    return sandbox.post("cancel", params={"id": run_id})


def fill_workers(sandbox):
    """Submit a long run for each worker."""
    runs = [sandbox.run({**LONG, "3::seed": seed}) for seed in range(count_cores())]
    for run_id in runs:
        sandbox.await_status(run_id, "running")
    return runs


def assert_cancelled(sandbox, run_id):
    data = sandbox.await_status(run_id, "failed")
    assert data == {"status": "failed", "error": "cancelled", "output_images": [], "full_outputs": {}}


@pytest.mark.skipif(count_cores() < 2, reason="one core renders one run at a time")
def test_runs_are_rendered_at_the_same_time(sandbox):
    runs = fill_workers(sandbox)
    assert [sandbox.check(run_id)["status"] for run_id in runs] == ["running"] * len(runs)
    assert len(sandbox.workers()) == count_cores()
    for run_id in runs:
        cancel(sandbox, run_id)
        assert_cancelled(sandbox, run_id)


def test_cancel_stops_a_waiting_run_immediately_and_a_running_run_at_its_next_step(sandbox):
    running = fill_workers(sandbox)
    waiting = [sandbox.run(LONG), sandbox.run(QUICK)]
    assert [sandbox.check(run_id)["status"] for run_id in waiting] == ["waiting", "waiting"]
    answer = cancel(sandbox, waiting[0])
    assert answer.json() == {"success": True, "data": {"run_id": waiting[0], "cancelled": True}}
    assert sandbox.check(waiting[0])["error"] == "cancelled"
    for run_id in running:
        assert cancel(sandbox, run_id).json()["success"] is True
        assert cancel(sandbox, run_id).json()["success"] is True  # a repeated cancel is not an error
        assert_cancelled(sandbox, run_id)
        assert cancel(sandbox, run_id).json()["success"] is True
    sandbox.await_status(waiting[1], "success")


def test_cancel_of_a_run_that_has_ended_is_rejected(sandbox):
    run_id = sandbox.run(QUICK)
    sandbox.await_status(run_id, "success")
    answer = cancel(sandbox, run_id)
    assert (answer.status_code, answer.json()["success"]) == (409, False)
    assert sandbox.check(run_id)["status"] == "success"


def test_callbacks_report_each_status_in_order(sandbox, receiver):
    run_id = sandbox.run({**SMALL, "3::steps": 1000, "3::seed": 99}, callbacks=receiver.callbacks)
    data = sandbox.await_status(run_id, "success")
    wait_for(lambda: receiver.received("/result"))
    assert receiver.bodies[-1] == (
        "/result",
        {
            "type": "success",
            "run_id": run_id,
            "output_images": data["output_images"],
            "full_outputs": data["full_outputs"],
        },
    )
    events = receiver.received("/progress")
    assert {event["run_id"] for event in events} == {run_id}
    assert [event["type"] for event in events[:3]] == ["waiting", "pending", "running"]
    assert {event["type"] for event in events[2:]} == {"running"}
    assert all(set(event["payload"]) == PROGRESS for event in events)
    steps = [(event["payload"]["nodes_done"], event["payload"]["value"] or 0) for event in events]
    assert steps == sorted(steps)
    assert events[-1]["payload"]["nodes_done"] == events[-1]["payload"]["nodes_total"] == 7
    assert any(event["payload"]["node"] == "3" and event["payload"]["max"] == 1000 for event in events)


def test_progress_is_sent_at_most_about_ten_times_a_second(sandbox, receiver):
    began_s = time.monotonic()
    run_id = sandbox.run({**SMALL, "3::steps": 10000}, callbacks=receiver.callbacks)
    wait_for(lambda: len(receiver.received("/progress")) > 10)
    count = sum(body["type"] == "running" for body in receiver.received("/progress"))
    took_s = time.monotonic() - began_s
    cancel(sandbox, run_id)
    wait_for(lambda: receiver.received("/result"))
    assert count <= took_s / 0.1 + 2


def test_failure_and_cancellation_are_reported(sandbox, receiver):
    failed = sandbox.run({"3::sampler_name": "nope"}, callbacks=receiver.callbacks)
    wait_for(lambda: receiver.received("/result"))
    cancelled = sandbox.run(LONG, callbacks=receiver.callbacks)
    sandbox.await_status(cancelled, "running")
    cancel(sandbox, cancelled)
    wait_for(lambda: {body["run_id"] for body in receiver.received("/result")} == {failed, cancelled})
    by_run = {body["run_id"]: body for body in receiver.received("/result")}  # a slow receiver may get a callback twice
    first, second = by_run[failed], by_run[cancelled]
    assert (first["type"], first["run_id"]) == ("failed", failed)
    assert "nope" in first["error"]
    assert second == {
        "type": "failed",
        "run_id": cancelled,
        "error": "cancelled",
        "output_images": [],
        "full_outputs": {},
    }


def test_result_callback_is_repeated_after_a_failure(sandbox, receiver):
    receiver.answers = [500, 503]
    run_id = sandbox.run(QUICK, callbacks={"on_result_url": receiver.callbacks["on_result_url"]})
    wait_for(lambda: len(receiver.received("/result")) >= 3)
    assert {body["run_id"] for body in receiver.received("/result")} == {run_id}
    assert sandbox.check(run_id)["status"] == "success"


def test_a_slow_receiver_does_not_delay_a_run(sandbox, receiver):
    receiver.may_answer.clear()
    runs = [sandbox.run({**QUICK, "3::steps": 5}, callbacks=receiver.callbacks) for _ in range(6)]
    wait_for(lambda: receiver.bodies)
    for run_id in runs:
        sandbox.await_status(run_id, "success")  # before the receiver has responded
    receiver.may_answer.set()
    for run_id in runs:
        wait_for(lambda run_id=run_id: [body for body in receiver.received("/result") if body["run_id"] == run_id])


def test_a_killed_worker_fails_only_its_run(start):
    sandbox = start()
    victim = sandbox.run(LONG)
    sandbox.await_status(victim, "running")
    busy = min(sandbox.workers(), key=lambda worker: worker.create_time())  # the first one gets the first run
    other = sandbox.run(LONG)
    busy.send_signal(signal.SIGKILL)
    data = sandbox.await_status(victim, "failed")
    assert (
        data["error"] == "the worker of the sandbox died while it rendered this run (killed by signal 9); run it again"
    )
    assert sandbox.check(other)["status"] in {"pending", "running"}
    cancel(sandbox, other)
    assert_cancelled(sandbox, other)
    sandbox.await_status(sandbox.run(QUICK), "success")
    assert busy.pid not in {worker.pid for worker in sandbox.workers()}


def test_next_sandbox_continues_the_runs_of_a_killed_sandbox(start):
    """Accepted runs keep their ids, images their bytes, and key and address stay valid."""
    first = start()
    done = first.run(QUICK)
    (url,) = first.await_status(done, "success")["output_images"]
    content = requests.get(url, timeout=60).content
    running = [first.run({**SMALL, "3::steps": 400, "3::seed": seed}) for seed in range(count_cores())]
    for run_id in running:
        first.await_status(run_id, "running")
    waiting = first.run({**QUICK, "3::seed": 7})
    unwanted = first.run(LONG)
    cancel(first, unwanted)
    note, processes = first.address_file, first.processes()
    assert len(processes) == 1 + count_cores()
    first.end(signal.SIGKILL)
    _, alive = psutil.wait_procs(processes, timeout=60)
    assert not alive, "workers must not outlive their server"

    second = start()
    assert (second.address_file["url"], second.address_file["key"]) == (note["url"], note["key"])
    for run_id in (*running, waiting):
        assert second.await_status(run_id, "success")["full_outputs"].keys() == {"9"}
    assert second.check(unwanted)["error"] == "cancelled"
    assert second.check(done)["output_images"] == [url]
    assert requests.get(url, timeout=60).content == content
    assert "resuming" in second.output.read_text()
    again = second.run({**SMALL, "3::steps": 400, "3::seed": 0})
    urls = [second.await_status(run_id, "success")["output_images"][0] for run_id in (running[0], again)]
    assert len({hashlib.sha256(requests.get(each, timeout=60).content).hexdigest() for each in urls}) == 1


def test_run_that_was_running_at_repeated_crashes_is_not_resumed(start):
    """A run that exhausts the memory would crash every sandbox that resumes it."""
    run_id = None
    for _ in range(3):
        sandbox = start()
        run_id = run_id or sandbox.run(LONG)
        sandbox.await_status(run_id, "running")
        sandbox.end(signal.SIGKILL)
    data = start().check(run_id)
    assert data["status"] == "failed"
    assert "does not try again" in data["error"]


def test_token_of_an_earlier_sandbox_is_rejected(start):
    first = start()
    token = first.token
    first.end()
    second = start()
    second._token = token
    assert second.post("check", params={"id": "x"}).status_code == 401


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_sandbox_leaves_no_process_after_a_signal(start, number):
    sandbox = start()
    runs = fill_workers(sandbox)
    assert len(runs) == count_cores()
    processes = sandbox.processes()
    assert sandbox.end(number) == 0
    _, alive = psutil.wait_procs(processes, timeout=60)
    assert not alive
    assert "Traceback" not in sandbox.output.read_text()


def test_a_second_sandbox_prints_the_address_of_the_first(start):
    first = start()
    second = start()
    assert second.process.wait(60) == 3
    assert f"a sandbox is already running at {first.url} (process {first.process.pid})" in second.output.read_text()
    assert first.request("GET", "/api/open/v0/ping", token=False).status_code == 200


def test_the_port_is_an_option_and_a_port_in_use_is_an_error(start, receiver, tmp_path):
    used_port = receiver.url.rpartition(":")[2]
    failed = start("--port", used_port)
    assert failed.process.wait(60) == 1
    assert f"cannot use port {used_port}" in failed.output.read_text()
    first = start()
    port = first.url.rpartition(":")[2]
    first.end()
    second = start("--port", port)
    assert second.url == f"http://127.0.0.1:{port}"


def test_a_home_folder_that_is_not_writable_is_an_error(start, home):
    home.mkdir()
    (home / "sandbox").write_text("in the way")
    failed = start()
    assert failed.process.wait(60) == 1
    assert "cannot write to the home folder" in failed.output.read_text()
    assert "Traceback" not in failed.output.read_text()
