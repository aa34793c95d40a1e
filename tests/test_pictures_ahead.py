"""Pictures that a ComfyUI server tells of while a run goes on: fetched then, kept only where they belong to it."""

from __future__ import annotations

import json

import pytest
from waiting import wait_until

from comflowy_nb import connect
from comflowy_nb.errors import PictureError, RunFailed
from comflowy_nb.runs import ahead
from comflowy_nb.settings import settings


@pytest.fixture(autouse=True)
def quick():
    settings.retry_base_s = 0.02
    settings.retry_max_s = 0.1


@pytest.fixture
def client(comfy):
    with connect(f"home={comfy.url}") as connected:
        yield connected


def empty(color, count=1):
    return {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": count, "color": color}}


def saved(node):
    return {"class_type": "SaveImage", "inputs": {"images": [node, 0], "filename_prefix": f"of{node}"}}


@pytest.fixture
def two(tmp_path):
    """A graph of two pictures, red from node 2 and then blue from node 4."""
    path = tmp_path / "two.json"
    path.write_text(json.dumps({"1": empty(0xFF0000), "2": saved("1"), "3": empty(0x0000FF), "4": saved("3")}))
    return str(path)


def one_of(tmp_path, color, count=1):
    path = tmp_path / f"one{color}.json"
    path.write_text(json.dumps({"1": empty(color, count), "2": saved("1")}))
    return str(path)


def files(client):
    return sorted(path.name for path in client.library.folder.rglob("*") if path.is_file())


def held(client):
    return client._connection.tracker.downloads._ahead._held


def half_done(client, comfy, two):
    """A run that has made its first picture and waits before it saves the second."""
    comfy.wait_at("4")
    run = client.submit(two, {}).run
    assert comfy.at_gate.wait(10)
    return run


def test_the_first_of_two_is_fetched_before_the_end_and_only_once(client, comfy, two):
    run = half_done(client, comfy, two)
    wait_until(lambda: comfy.asked("GET", "/view") == 1)
    assert run.status.is_live
    assert files(client) == []  # on disk only what the server's answer lists
    comfy.go_on()
    run.wait(10)
    assert comfy.asked("GET", "/view") == 2
    assert [image.pil().convert("RGB").getpixel((3, 3)) for image in run.images] == [(255, 0, 0), (0, 0, 255)]
    for image, made in zip(run.images, sorted((comfy.folder / "output").iterdir()), strict=True):
        assert image.bytes == made.read_bytes()
    assert held(client) == {}


def test_the_sidecar_of_a_picture_that_came_ahead_says_what_the_history_says(client, comfy, tmp_path):
    run = client.run(one_of(tmp_path, 0x00FF00), timeout=10)
    sidecar = json.loads(run.images[0].path.with_name(f"{run.token}.json").read_text())
    picture = run.record.pictures[0]
    assert (sidecar["status"], sidecar["run"], sidecar["service_run_id"]) == ("success", run.token, run.token)
    assert sidecar["pictures"] == [
        {
            "index": 0,
            "node": "2",
            "node_index": 0,
            "state": "kept",
            "file": picture.file,
            "sha256": picture.sha256,
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
    run.wait(10)
    assert run.status == "cancelled"
    assert [image.node for image in run.images] == ["2"]
    assert run.images[0].bytes == (comfy.folder / "output" / "of1_00001_.png").read_bytes()
    assert comfy.asked("GET", "/view") == 1
    assert held(client) == {}


@pytest.fixture
def broken(comfy, tmp_path):
    """A graph that saves a green picture, and then fails on one that is none."""
    (comfy.inputs / "broken.png").write_bytes(b"no picture")
    path = tmp_path / "broken.json"
    load = {"class_type": "LoadImage", "inputs": {"image": "broken.png"}}
    path.write_text(json.dumps({"1": empty(0x00FF00), "2": saved("1"), "3": load, "4": saved("3")}))
    return str(path)


def test_what_a_failed_run_had_made_is_kept_and_stays_after_a_restart(client, comfy, broken):
    with pytest.raises(RunFailed, match="LoadImage") as caught:
        client.run(broken, timeout=10)
    run = caught.value.run
    assert run.status == "failed"
    assert [image.pil().convert("RGB").getpixel((3, 3)) for image in run.images] == [(0, 255, 0)]
    client.close()
    with connect(f"home={comfy.url}") as again:
        later = again.find(run.ref).run
        assert later.images[0].bytes == run.images[0].bytes
        later.images[0].path.unlink()
        assert again.refresh(later)
        later.wait(10)
        assert (str(later.status), later.images[0].record.state) == ("failed", "kept")
        with pytest.raises(RunFailed):  # it failed all the same: the same request is tried again
            again.run(broken, timeout=10)
    assert comfy.asked("POST", "/prompt") == 2


def test_a_picture_that_a_failed_run_no_longer_has_is_missing_and_nothing_hangs(client, comfy, broken):
    comfy.fail("/view", 404, times=100)
    with pytest.raises(RunFailed) as caught:
        client.run(broken, timeout=20)
    assert caught.value.run.images[0].record.state == "missing"


def test_a_picture_that_the_answer_does_not_list_is_dropped(client, comfy, two):
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
    run.wait(10)
    assert [image.node for image in run.images] == ["2", "4"]
    assert len([name for name in files(client) if name.endswith(".png")]) == 2
    assert held(client) == {}


@pytest.mark.parametrize("spoil", [lambda comfy: comfy.fail("/view", 404), lambda comfy: comfy.lose("/view")])
def test_one_that_did_not_come_ahead_is_fetched_as_any_other(client, comfy, tmp_path, spoil):
    spoil(comfy)
    run = client.run(one_of(tmp_path, 5), timeout=10)
    assert run.images[0].record.state == "kept"
    assert comfy.asked("GET", "/view") == 2


def test_a_large_one_is_received_to_the_disk(client, comfy, tmp_path, monkeypatch):
    monkeypatch.setattr(ahead, "MAX_BYTES", 100)
    run = client.run(one_of(tmp_path, 6), timeout=10)
    assert run.images[0].record.state == "kept"
    assert held(client) == {}


def test_many_come_in_their_order_and_each_once(client, comfy, tmp_path):
    run = client.run(one_of(tmp_path, 7, count=ahead.MOST + 3), timeout=10)
    assert [image.record.node_index for image in run.images] == list(range(ahead.MOST + 3))
    assert comfy.asked("GET", "/view") == ahead.MOST + 3
    made = sorted((comfy.folder / "output").iterdir())
    assert [image.bytes for image in run.images] == [path.read_bytes() for path in made]


def test_a_full_disk_is_told_and_the_picture_comes_when_there_is_room(client, comfy, tmp_path, monkeypatch):
    def full(*_, **__):
        raise PictureError("the picture can't be kept: the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr("comflowy_nb.runs.downloads.keep_received", full)
        patch.setattr("comflowy_nb.runs.downloads.keep_picture", full)
        run = client.run(one_of(tmp_path, 8), timeout=10)
    assert run.status == "success"
    assert "the disk is full" in run.images[0].record.error
    assert client.refresh(run)
    run.wait(10)
    assert run.images[0].record.state == "kept"
