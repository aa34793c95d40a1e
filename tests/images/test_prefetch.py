"""Images that a ComfyUI server tells of while a run goes on: fetched then, kept only where they belong to it."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from bare_client import empty_node, save_node
from waiting import wait_until

from comflowy_nb import connect
from comflowy_nb.errors import HistoryError, ImageError, RunFailed
from comflowy_nb.images import prefetch as ahead
from comflowy_nb.status import StatusEvent
from comflowy_nb.tracking import run_tracker


@pytest.fixture
def client(comfy_client):
    return comfy_client


@pytest.fixture
def two(tmp_path):
    """A graph of two images, red from node 2 and then blue from node 4."""
    path = tmp_path / "two.json"
    path.write_text(
        json.dumps({"1": empty_node(0xFF0000), "2": save_node("1"), "3": empty_node(0x0000FF), "4": save_node("3")})
    )
    return str(path)


def one_of(tmp_path, color, count=1):
    path = tmp_path / f"one{color}.json"
    path.write_text(json.dumps({"1": empty_node(color, count), "2": save_node("1")}))
    return str(path)


def files(client):
    return sorted(path.name for path in client.library.folder.rglob("*") if path.is_file())


def held(client):
    return client._connection.tracker.downloads._ahead._held


def half_done(client, comfy, two):
    """A run that has made its first image and waits before it saves the second."""
    comfy.wait_at("4")
    run = client.submit(two, {}).run
    assert comfy.at_gate.wait(30)
    return run


def test_the_first_of_two_is_fetched_before_the_end_and_only_once(client, comfy, two):
    run = half_done(client, comfy, two)
    wait_until(lambda: comfy.asked("GET", "/view") == 1)
    assert run.status.is_live
    assert files(client) == []  # on disk only what the server's answer lists
    comfy.go_on()
    run.wait(60)
    assert comfy.asked("GET", "/view") == 2
    assert [image.pil().convert("RGB").getpixel((3, 3)) for image in run.images] == [(255, 0, 0), (0, 0, 255)]
    for image, made in zip(run.images, sorted((comfy.folder / "output").iterdir()), strict=True):
        assert image.bytes == made.read_bytes()
    wait_until(lambda: held(client) == {})


def test_the_sidecar_of_a_image_that_came_ahead_says_what_the_history_says(client, comfy, tmp_path):
    run = client.run(one_of(tmp_path, 0x00FF00), timeout=60)
    sidecar = json.loads(run.images[0].path.with_name(f"{run.token}.json").read_text())
    image = run.record.images[0]
    assert (sidecar["status"], sidecar["run"], sidecar["service_run_id"]) == ("success", run.token, run.token)
    assert sidecar["images"] == [
        {
            "index": 0,
            "node": "2",
            "node_index": 0,
            "state": "kept",
            "file": image.file,
            "sha256": image.sha256,
            "width_px": 64,
            "height_px": 64,
            "error": None,
        }
    ]
    assert run.record == client.library.history.get(run.token)


def test_what_a_cancelled_run_had_made_is_kept(client, comfy, two):
    run = half_done(client, comfy, two)
    wait_until(lambda: comfy.asked("GET", "/view") == 1)
    run.cancel()
    run.wait(60)
    assert run.status == "cancelled"
    assert [image.node for image in run.images] == ["2"]
    assert run.images[0].bytes == (comfy.folder / "output" / "of1_00001_.png").read_bytes()
    assert comfy.asked("GET", "/view") == 1
    wait_until(lambda: held(client) == {})


@pytest.fixture
def broken(comfy, tmp_path):
    """A graph that saves a green image, and then fails on one that is none."""
    (comfy.inputs / "broken.png").write_bytes(b"no image")
    path = tmp_path / "broken.json"
    load = {"class_type": "LoadImage", "inputs": {"image": "broken.png"}}
    path.write_text(json.dumps({"1": empty_node(0x00FF00), "2": save_node("1"), "3": load, "4": save_node("3")}))
    return str(path)


def test_what_a_failed_run_had_made_is_kept_and_stays_after_a_restart(client, comfy, broken):
    with pytest.raises(RunFailed, match="LoadImage") as caught:
        client.run(broken, timeout=60)
    run = caught.value.run
    assert run.status == "failed"
    assert [image.pil().convert("RGB").getpixel((3, 3)) for image in run.images] == [(0, 255, 0)]
    client.close()
    with connect(f"home={comfy.url}") as again:
        later = again.find(run.ref).run
        assert later.images[0].bytes == run.images[0].bytes
        later.images[0].path.unlink()
        assert again.refresh(later)
        later.wait(60)
        assert (str(later.status), later.images[0].record.state) == ("failed", "kept")
        with pytest.raises(RunFailed):  # it failed all the same: the same request is tried again
            again.run(broken, timeout=60)
    assert comfy.asked("POST", "/prompt") == 2


def test_a_image_that_a_failed_run_no_longer_has_is_missing_and_nothing_hangs(client, comfy, broken):
    comfy.fail("/view", 404, times=100)
    with pytest.raises(RunFailed) as caught:
        client.run(broken, timeout=60)
    assert caught.value.run.images[0].record.state == "missing"


def test_a_image_that_the_answer_does_not_list_is_dropped(client, comfy, two):
    stranger = comfy.folder / "output" / "stranger.png"
    stranger.parent.mkdir(parents=True, exist_ok=True)
    run = half_done(client, comfy, two)
    stranger.write_bytes((comfy.folder / "output" / "of1_00001_.png").read_bytes())
    told = {"images": [{"filename": "stranger.png", "subfolder": "", "type": "output"}]}
    comfy.send(
        client.service._socket.client_id, "executed", {"node": "2", "output": told, "prompt_id": run.record.token}
    )
    wait_until(lambda: comfy.asked("GET", "/view") == 2)
    comfy.go_on()
    run.wait(60)
    assert [image.node for image in run.images] == ["2", "4"]
    assert len([name for name in files(client) if name.endswith(".png")]) == 2
    wait_until(lambda: held(client) == {})


@pytest.mark.parametrize(
    "spoil",
    [
        lambda comfy: comfy.fail("/view", 404),
        lambda comfy: comfy.fail("/view", 401),
        lambda comfy: comfy.fail("/view", 500),
        lambda comfy: comfy.lose("/view"),
    ],
)
def test_one_that_did_not_come_ahead_is_fetched_as_any_other(client, comfy, tmp_path, spoil):
    spoil(comfy)
    run = client.run(one_of(tmp_path, 5), timeout=60)
    assert run.images[0].record.state == "kept"
    assert comfy.asked("GET", "/view") == 2


def test_a_large_one_is_received_to_the_disk(client, comfy, tmp_path, monkeypatch):
    monkeypatch.setattr(ahead, "MAX_BYTES", 100)
    run = client.run(one_of(tmp_path, 6), timeout=60)
    assert run.images[0].record.state == "kept"
    wait_until(lambda: held(client) == {})


def test_many_come_in_their_order_and_each_once(client, comfy, tmp_path):
    run = client.run(one_of(tmp_path, 7, count=ahead.MOST + 3), timeout=60)
    assert [image.record.node_index for image in run.images] == list(range(ahead.MOST + 3))
    assert comfy.asked("GET", "/view") == ahead.MOST + 3
    made = sorted((comfy.folder / "output").iterdir())
    assert [image.bytes for image in run.images] == [path.read_bytes() for path in made]


def test_a_full_disk_is_told_and_the_image_comes_when_there_is_room(client, comfy, tmp_path, monkeypatch):
    def full(*_, **__):
        raise ImageError("the image can't be kept: the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr("comflowy_nb.tracking.downloads.keep_received", full)
        patch.setattr("comflowy_nb.tracking.downloads.keep_image", full)
        run = client.run(one_of(tmp_path, 8), timeout=60)
    assert run.status == "success"
    assert "the disk is full" in run.images[0].record.error
    assert client.refresh(run)
    run.wait(60)
    assert run.images[0].record.state == "kept"


KILLED = """
import os, sys, time
from comflowy_nb import connect
client = connect("home=" + sys.argv[1])
run = client.submit(sys.argv[2], {}).run
held = client._connection.tracker.downloads._ahead._held
while not any(future.done() for futures in list(held.values()) for future in futures.values()):
    run.wait_change(0.01)
print("received", flush=True)
os.kill(os.getpid(), 9)
"""


def test_a_kernel_killed_with_a_image_in_memory_loses_nothing_and_leaves_nothing(comfy, two):
    comfy.wait_at("4")
    done = subprocess.run(
        [sys.executable, "-c", KILLED, comfy.url, two], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (-9, "received\n"), done.stderr
    with connect(f"home={comfy.url}") as again:
        assert files(again) == []
        run = again.find("r1").run
        comfy.go_on()
        run.wait(60)
        assert [image.node for image in run.images] == ["2", "4"]
        wait_until(lambda: not [name for name in files(again) if name.endswith((".part", ".lock"))])
    assert comfy.asked("POST", "/prompt") == 1


def test_a_history_that_can_not_be_written_at_the_end_catches_up(client, comfy, two, monkeypatch):
    monkeypatch.setattr(run_tracker, "FLUSH_WAIT_S", 0.05)
    run = half_done(client, comfy, two)
    history, real, refused = client.library.history, client.library.history.apply, []

    def apply(token, event, **changes):
        if event is StatusEvent.SEEN_SUCCESS and len(refused) < 2:
            refused.append(changes["images"])
            raise HistoryError("the history can't be written: the disk is full")
        return real(token, event, **changes)

    monkeypatch.setattr(history, "apply", apply)
    comfy.go_on()
    wait_until(lambda: len(refused) == 2 and history.get(run.token).status == "success")
    run.wait(60)
    assert len(refused[0]) == 2
    assert run.record == history.get(run.token)
    assert [image.record.state for image in run.images] == ["kept", "kept"]
