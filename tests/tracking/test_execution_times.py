"""The execution time of a run and the wait before it: as the service reports them, or as its status shows them."""

from __future__ import annotations

import json
import time

import pytest

from comflowy_nb.database.records import RunRecord
from comflowy_nb.services.comfyui.responses import snapshot_of
from comflowy_nb.status import Status
from comflowy_nb.tracking.execution_times import end_times


def record(started_at=None):
    return RunRecord(
        token="t", number=1, identity="i", origin="o", service="s", workflow="w", workflow_id="w", params={}, key="k",
        status=Status.RUNNING, created_at=1000.0, owner="", started_at=started_at,
    )  # fmt: skip


def test_times_of_the_service_are_used_if_its_clock_agrees():
    assert end_times(record(1031.5), (1031.0, 1033.4), seen_running_at=1031.5, now=1034.0) == (1031.0, 1033.4)


@pytest.mark.parametrize("offset_s", [-3600.0, 3600.0, -40.0, 5.0])
def test_only_the_duration_is_used_if_the_clock_of_the_service_differs(offset_s):
    reported = (1031.0 + offset_s, 1033.4 + offset_s)
    started_at, finished_at = end_times(record(), reported, seen_running_at=None, now=1034.0)
    assert finished_at == 1034.0
    assert finished_at - started_at == pytest.approx(2.4)


def test_without_times_of_the_service_the_first_running_counts():
    assert end_times(record(1031.5), None, seen_running_at=1032.0, now=1034.0) == (1031.5, 1034.0)
    assert end_times(record(), None, seen_running_at=1032.0, now=1034.0) == (1032.0, 1034.0)
    assert end_times(record(), None, seen_running_at=None, now=1034.0) == (None, 1034.0)


@pytest.mark.parametrize(
    ("messages", "times"),
    [
        ([["execution_start", {"timestamp": 5000}], ["execution_success", {"timestamp": 7500}]], (5.0, 7.5)),
        ([["execution_start", {"timestamp": 5000}], ["execution_error", {"timestamp": 5500}]], (5.0, 5.5)),
        ([["execution_start", {"timestamp": 5000}], ["execution_error", {}]], None),
        ([["execution_success", {"timestamp": 7500}]], None),
        ([["execution_start", {"timestamp": 9000}], ["execution_success", {"timestamp": 7500}]], None),
        ([["execution_start", {"timestamp": "5"}], ["execution_success", {"timestamp": None}]], None),
        ([["execution_start", {"timestamp": float("inf")}], ["execution_success", {"timestamp": float("inf")}]], None),
        ([3, ["execution_start"], ["execution_start", 7]], None),
        (None, None),
    ],
)
def test_times_in_the_messages_of_a_comfyui_server(messages, times):
    entry = json.loads(json.dumps({"status": {"status_str": "success", "messages": messages}, "outputs": {}}))
    assert snapshot_of(entry, "http://127.0.0.1:1", {}).times == times


def test_a_run_that_waited_for_another_one_on_comfyui(comfy, comfy_client):
    """Equal cells took 1.2 to 9.5 s, because the wait in the queue counted as execution."""
    comfy.hold()
    graph = {"width": 64, "height": 64, "steps": 1}
    first = comfy_client.run("default", {**graph, "seed": 1}, wait=False)
    time.sleep(1.0)  # the wait to measure
    comfy.release()
    first.wait(60)
    assert first.queued_s >= 0.9
    assert first.seconds < first.queued_s
    messages = dict(comfy.queue.history[first.record.service_run_id]["status"]["messages"])
    took_s = (messages["execution_success"]["timestamp"] - messages["execution_start"]["timestamp"]) / 1000
    assert first.seconds == pytest.approx(took_s, abs=0.002)
    sidecar = json.loads(next(first.images[0].path.parent.glob("*.json")).read_text())
    assert (sidecar["seconds"], sidecar["queued_s"]) == (first.seconds, first.queued_s)
    assert sidecar["started_at"].endswith("Z")


@pytest.mark.usefixtures("short_delays")
def test_the_first_running_of_a_service_without_times_is_the_start(client, api):
    api.live_statuses = ["waiting", "pending", "pending", "running", "running"]
    run = client.run("wf-1", {"3::cfg": 7}, timeout=60)
    record = run.record
    assert record.created_at < record.started_at < record.finished_at
    assert run.seconds == pytest.approx(record.finished_at - record.started_at)
    assert run.queued_s == pytest.approx(record.started_at - record.created_at)


@pytest.mark.usefixtures("short_delays")
@pytest.mark.parametrize("words", [[], ["waiting"], ["warming up"]])
def test_the_start_is_not_known_if_running_was_not_seen(client, api, words):
    """An unrecognised status counts as `running`, but does not show that the execution has begun."""
    api.live_statuses = words
    run = client.run("wf-1", {"3::cfg": 7}, timeout=60)
    assert (run.record.started_at, run.queued_s) == (None, None)
    assert run.seconds == pytest.approx(run.record.finished_at - run.record.created_at)


@pytest.mark.usefixtures("short_delays")
def test_table_and_json_of_a_sweep_have_both_times(client, api, tmp_path):
    api.live_statuses = ["waiting", "running"]
    sweep = client.sweep("wf-1", {"3::cfg": [2, 4], "3::seed": 1}, timeout=60)
    frame = sweep.to_dataframe()
    assert list(frame["seconds"]) == [cell.run.seconds for cell in sweep]
    assert list(frame["queued_s"]) == [cell.run.queued_s for cell in sweep]
    sweep.save(tmp_path)
    cells = json.loads((tmp_path / "sweep.json").read_text())["cells"]
    assert [one["run"]["queued_s"] for one in cells] == list(frame["queued_s"])
    assert [one["run"]["seconds"] for one in cells] == list(frame["seconds"])
