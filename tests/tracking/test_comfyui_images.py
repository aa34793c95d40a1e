"""Each image that a ComfyUI server lists in its history is downloaded once."""

from __future__ import annotations

import json
import shutil

import pytest
from bare_client import empty_node, save_node
from waiting import wait_until

from comflowy_nb import connect
from comflowy_nb.errors import HistoryError, ImageError, RunFailed
from comflowy_nb.services.types import Output
from comflowy_nb.status import StatusEvent
from comflowy_nb.tracking import run_tracker


@pytest.fixture
def client(comfy_client):
    return comfy_client


@pytest.fixture
def two_images(tmp_path):
    """Return the path of a graph of two images, red from node 2 and then blue from node 4."""
    path = tmp_path / "two.json"
    path.write_text(
        json.dumps({"1": empty_node(0xFF0000), "2": save_node("1"), "3": empty_node(0x0000FF), "4": save_node("3")})
    )
    return str(path)


def one_of(tmp_path, color, count=1):
    path = tmp_path / f"one{color}.json"
    path.write_text(json.dumps({"1": empty_node(color, count), "2": save_node("1")}))
    return str(path)


def run_with_one_image(client, comfy, two_images):
    """Return a run that has saved its first image and waits before it saves the second."""
    comfy.pause_at("4")
    run = client.submit(two_images, {}).run
    assert comfy.paused.wait(30)
    return run


def test_each_image_is_downloaded_once(client, comfy, two_images):
    run = client.run(two_images, timeout=60)
    assert comfy.requests_to("GET", "/view") == 2
    assert [image.pil().convert("RGB").getpixel((3, 3)) for image in run.images] == [(255, 0, 0), (0, 0, 255)]
    for image, path in zip(run.images, sorted((comfy.folder / "output").iterdir()), strict=True):
        assert image.bytes == path.read_bytes()


def test_an_image_is_received_while_its_run_continues_and_stored_after_its_end(client, comfy, two_images):
    run = run_with_one_image(client, comfy, two_images)
    wait_until(lambda: comfy.requests_to("GET", "/view") == 1 and run.status == "running")
    assert len(run.images) == 0
    assert not list(client.library.folder.glob("*/*.png"))
    comfy.resume()
    run.wait(60)
    assert comfy.requests_to("GET", "/view") == 2
    assert [image.pil().convert("RGB").getpixel((3, 3)) for image in run.images] == [(255, 0, 0), (0, 0, 255)]


def test_an_image_that_was_damaged_on_the_way_is_received_again_after_the_end(client, comfy, two_images):
    comfy.lose("/view")
    run = run_with_one_image(client, comfy, two_images)
    wait_until(lambda: comfy.requests_to("GET", "/view") == 1)
    comfy.resume()
    run.wait(60)
    assert comfy.requests_to("GET", "/view") == 3
    assert [image.record.state for image in run.images] == ["kept", "kept"]


def name_image(comfy, run, node, file):
    """Send the message that an image was saved, as the server does."""
    images = [{"filename": file, "subfolder": "", "type": "output"}]
    data = {"node": node, "display_node": node, "output": {"images": images}, "prompt_id": run.token}
    (client,) = comfy.sockets
    comfy.send(client, "executed", data)


def test_an_image_that_is_named_again_is_downloaded_once(client, comfy, two_images):
    run = run_with_one_image(client, comfy, two_images)
    name_image(comfy, run, "2", "of1_00001_.png")
    comfy.resume()
    run.wait(60)
    assert comfy.requests_to("GET", "/view") == 2


def test_an_image_that_the_history_does_not_list_is_not_stored(client, comfy, two_images):
    run = run_with_one_image(client, comfy, two_images)
    shutil.copy(comfy.folder / "output" / "of1_00001_.png", comfy.folder / "output" / "other.png")
    name_image(comfy, run, "2", "other.png")
    wait_until(lambda: comfy.requests_to("GET", "/view") == 2)
    comfy.resume()
    run.wait(60)
    assert [image.node for image in run.images] == ["2", "4"]
    assert len(list(client.library.folder.glob("*/*.png"))) == 2


def test_two_runs_whose_images_have_the_same_address_keep_their_own(client, comfy, tmp_path):
    """A server whose output folder was emptied uses the names of files again."""
    comfy.fail("/history", 500, times=10**6)  # the end of a run is not confirmed
    runs = []
    for number, color in enumerate((0xFF0000, 0x0000FF), start=1):
        runs.append(client.submit(one_of(tmp_path, color), {}).run)
        comfy.wait_end(runs[-1].token)
        wait_until(lambda number=number: comfy.requests_to("GET", "/view") == number)
        comfy.queue.saved = 0
    comfy.fail("/history", 500, times=0)
    colors = [run.wait(60).images[0].pil().convert("RGB").getpixel((3, 3)) for run in runs]
    assert colors == [(255, 0, 0), (0, 0, 255)]
    assert comfy.requests_to("GET", "/view") == 2


def test_an_image_that_was_deleted_here_is_downloaded_again(client, comfy, tmp_path):
    """Images are in memory only until the end of their run."""
    run = client.run(one_of(tmp_path, 0x00FF00), timeout=60)
    run.images[0].path.unlink()
    assert client.connection.registry.refresh(run)
    run.wait(60)
    assert run.images[0].record.state == "kept"
    assert comfy.requests_to("GET", "/view") == 2


def test_an_image_that_is_named_after_the_end_of_its_run_is_not_received(client, comfy, tmp_path):
    """It would stay in memory until the client is closed."""
    run = client.run(one_of(tmp_path, 0x00FF00), timeout=60)
    output = Output(0, "2", 0, f"{comfy.url}/view?filename=of1_00001_.png&subfolder=&type=output")
    client.connection.tracker.downloads.receive_early(run, (output,))
    client.run(one_of(tmp_path, 0x0000FF), timeout=60)
    assert comfy.requests_to("GET", "/view") == 2


def test_at_most_three_images_of_a_run_are_in_memory(client, comfy, tmp_path):
    path = tmp_path / "many.json"
    path.write_text(
        json.dumps({"1": empty_node(5, 7), "2": save_node("1"), "3": empty_node(6, 7), "4": save_node("3")})
    )
    comfy.pause_at("4")
    run = client.submit(str(path), {}).run
    assert comfy.paused.wait(30)
    wait_until(lambda: comfy.requests_to("GET", "/view") == 3)
    client.submit(one_of(tmp_path, 7), {})  # waits at the server; the requests of other images would be sent meanwhile
    assert comfy.requests_to("GET", "/view") == 3
    comfy.resume()
    assert len(run.wait(60).images) == 14


def test_the_end_of_a_run_does_not_wait_for_its_image(client, comfy, tmp_path):
    comfy.hold_images()
    run = client.submit(one_of(tmp_path, 0x00FF00), {}).run
    wait_until(lambda: run.status == "success")
    assert run.images[0].record.state == "expected"
    comfy.send_images()
    run.wait(60)
    assert run.images[0].record.state == "kept"
    assert comfy.requests_to("GET", "/view") == 1


def test_an_image_that_is_damaged_at_the_server_is_missing(client, comfy, two_images):
    comfy.hold_images()
    run = run_with_one_image(client, comfy, two_images)
    path = comfy.folder / "output" / "of1_00001_.png"
    path.write_bytes(path.read_bytes()[:-20])
    comfy.send_images()
    comfy.resume()
    run.wait(60)
    assert [image.record.state for image in run.images] == ["missing", "kept"]


def test_an_animation_is_downloaded_after_the_end_of_its_run(client, comfy, tmp_path):
    """Only still images are decoded, so only these are received early."""
    path = tmp_path / "animation.json"
    save = {"class_type": "SaveAnimatedWEBP", "inputs": {"images": ["1", 0], "filename_prefix": "moving"}}
    path.write_text(json.dumps({"1": empty_node(0xFF0000, 3), "2": save}))
    run = client.run(str(path), timeout=60)
    assert run.files[0].record.state == "kept"
    assert comfy.requests_to("GET", "/view") == 1


def test_the_thumbnails_of_the_last_image_are_made_before_the_client_is_closed(client, comfy, tmp_path):
    run = client.run(one_of(tmp_path, 0x123456), timeout=60)
    client.close()
    assert len(list(run.images[0].path.parent.glob("*.t*.jpg"))) == 2


def test_the_sidecar_agrees_with_the_history(client, comfy, tmp_path):
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


def test_the_image_of_a_cancelled_run_is_kept(client, comfy, two_images):
    run = run_with_one_image(client, comfy, two_images)
    run.cancel()
    run.wait(60)
    assert run.status == "cancelled"
    assert [image.node for image in run.images] == ["2"]
    assert run.images[0].bytes == (comfy.folder / "output" / "of1_00001_.png").read_bytes()
    assert comfy.requests_to("GET", "/view") == 1


@pytest.fixture
def broken(comfy, tmp_path):
    """Return the path of a graph that saves a green image and then fails on a file that is not an image."""
    (comfy.inputs / "broken.png").write_bytes(b"no image")
    path = tmp_path / "broken.json"
    load = {"class_type": "LoadImage", "inputs": {"image": "broken.png"}}
    path.write_text(json.dumps({"1": empty_node(0x00FF00), "2": save_node("1"), "3": load, "4": save_node("3")}))
    return str(path)


def test_the_image_of_a_failed_run_is_kept_and_available_after_a_restart(client, comfy, broken):
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
        assert again.connection.registry.refresh(later)
        later.wait(60)
        assert (str(later.status), later.images[0].record.state) == ("failed", "kept")
        with pytest.raises(RunFailed):  # it failed too: an identical request is submitted again
            again.run(broken, timeout=60)
    assert comfy.requests_to("POST", "/prompt") == 2


def test_an_image_that_the_server_deleted_is_missing(client, comfy, broken):
    comfy.fail("/view", 404, times=100)
    with pytest.raises(RunFailed) as caught:
        client.run(broken, timeout=60)
    assert caught.value.run.images[0].record.state == "missing"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda comfy: comfy.fail("/view", 404),
        lambda comfy: comfy.fail("/view", 401),
        lambda comfy: comfy.fail("/view", 500),
        lambda comfy: comfy.lose("/view"),
    ],
)
def test_a_download_that_fails_once_is_repeated(client, comfy, tmp_path, spoil):
    spoil(comfy)
    run = client.run(one_of(tmp_path, 5), timeout=60)
    assert run.images[0].record.state == "kept"
    assert comfy.requests_to("GET", "/view") == 2


def test_many_images_are_downloaded_in_order(client, comfy, tmp_path):
    run = client.run(one_of(tmp_path, 7, count=7), timeout=60)
    assert [image.record.node_index for image in run.images] == list(range(7))
    assert comfy.requests_to("GET", "/view") == 7
    paths = sorted((comfy.folder / "output").iterdir())
    assert [image.bytes for image in run.images] == [path.read_bytes() for path in paths]


def test_image_that_did_not_fit_on_the_disk_is_downloaded_by_the_next_refresh(client, comfy, tmp_path, monkeypatch):
    def full(*_, **__):
        raise ImageError("the image can't be stored: the disk is full")

    with monkeypatch.context() as patch:
        for name in ("store_output", "store_received"):
            patch.setattr(f"comflowy_nb.tracking.downloads.{name}", full)
        run = client.run(one_of(tmp_path, 8), timeout=60)
    assert run.status == "success"
    assert "the disk is full" in run.images[0].record.error
    assert client.connection.registry.refresh(run)
    run.wait(60)
    assert run.images[0].record.state == "kept"


def test_a_history_that_cannot_be_written_at_the_end_is_written_later(client, comfy, two_images, monkeypatch):
    monkeypatch.setattr(run_tracker, "FLUSH_WAIT_S", 0.05)
    run = run_with_one_image(client, comfy, two_images)
    history, real_apply, refused = client.library.history, client.library.history.apply, []

    def apply(token, event, **changes):
        if event is StatusEvent.SEEN_SUCCESS and len(refused) < 2:
            refused.append(changes["images"])
            raise HistoryError("the history can't be written: the disk is full")
        return real_apply(token, event, **changes)

    monkeypatch.setattr(history, "apply", apply)
    comfy.resume()
    wait_until(lambda: len(refused) == 2 and history.get(run.token).status == "success")
    run.wait(60)
    assert len(refused[0]) == 2
    assert run.record == history.get(run.token)
    assert [image.record.state for image in run.images] == ["kept", "kept"]
