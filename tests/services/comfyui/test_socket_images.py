"""SaveImageWebsocket: its images are received through the socket and stored like all others."""

from __future__ import annotations

import json
import struct

import pytest
from bare_client import empty_node, save_node
from comfyui_nodes import RECORDED
from waiting import wait_until

from comflowy_nb import connect
from comflowy_nb.services.comfyui import websocket as comfyui_socket

RED, BLUE = 0xFF0000, 0x0000FF


@pytest.fixture
def client(comfy_client):
    return comfy_client


def socket_output(node):
    return {"class_type": "SaveImageWebsocket", "inputs": {"images": [node, 0]}}


@pytest.fixture
def graph(tmp_path):
    """Return a graph with two red images through the socket (node 3) and a blue one from the server's disk (node 5)."""
    path = tmp_path / "both.json"
    path.write_text(
        json.dumps(
            {"1": empty_node(RED, 2, height=48), "3": socket_output("1"), "4": empty_node(BLUE), "5": save_node("4")}
        )
    )
    return str(path)


def colors(run):
    return [image.pil().convert("RGB").getpixel((3, 3)) for image in run.images]


def test_socket_images_and_files_are_in_the_order_of_the_nodes(client, comfy, graph):
    run = client.run(graph, timeout=60)
    assert [(image.node, image.record.node_index) for image in run.images] == [("3", 0), ("3", 1), ("5", 0)]
    assert colors(run) == [(255, 0, 0), (255, 0, 0), (0, 0, 255)]
    assert run.images[0].pil().size == (64, 48)
    assert comfy.requests_to("GET", "/view") == 1
    assert run.progress.preview is None


def test_the_next_kernel_has_the_socket_images_without_a_submit(client, comfy, graph):
    first = client.run(graph, timeout=60)
    client.close()
    with connect(f"home={comfy.url}") as again:
        same = again.run(graph, timeout=60)
        assert same.number == first.number
        assert colors(same) == colors(first)
    assert comfy.requests_to("POST", "/prompt") == 1


def test_frames_without_metadata_belong_to_the_executing_node(client, comfy, graph, monkeypatch):
    monkeypatch.setattr(comfy, "has_flag", lambda client: False)
    run = client.run(graph, timeout=60)
    assert colors(run) == [(255, 0, 0), (255, 0, 0), (0, 0, 255)]


def test_previews_of_other_nodes_are_not_images(client, comfy, tmp_path):
    comfy.previews = True
    path = tmp_path / "sampled.json"
    nodes = json.loads((RECORDED / "default_workflow_api.json").read_text())
    nodes["9"] = socket_output("8")
    path.write_text(json.dumps(nodes))
    run = client.run(str(path), {"5::width": 64, "5::height": 64, "3::steps": 4}, timeout=60)
    assert [image.node for image in run.images] == ["9"]
    assert run.images[0].pil().size == (64, 64)


def test_end_in_the_history_waits_for_images_not_yet_received(client, comfy, graph):
    delayed = []
    real_post = comfy._post

    def delay_messages(client_id, content):
        delayed.append((client_id, content))

    comfy.pause_at("3")
    run = client.submit(graph, {}).run
    assert comfy.paused.wait(30)
    comfy._post = delay_messages  # later messages are delayed
    comfy.resume()
    comfy.wait_end(run.token)
    wait_until(lambda: comfy.requests_to("GET", "/history") > 0)
    assert run.status.is_live
    comfy._post = real_post
    for client_id, content in delayed:
        real_post(client_id, content)
    run.wait(60)
    assert colors(run) == [(255, 0, 0), (255, 0, 0), (0, 0, 255)]


def test_a_broken_socket_causes_a_warning(client, comfy, tmp_path):
    path = tmp_path / "one.json"
    path.write_text(json.dumps({"1": empty_node(RED), "3": socket_output("1")}))
    comfy.drop_at("execution_start")
    comfy.silent = True  # for the next socket too
    run = client.run(str(path), timeout=60)
    assert run.status == "success"
    assert len(run.images) == 0
    assert "no image of SaveImageWebsocket was received" in run.record.warning


def test_an_invalid_image_is_missing(client, comfy, tmp_path):
    path = tmp_path / "one.json"
    path.write_text(json.dumps({"1": empty_node(RED), "3": socket_output("1")}))
    real_send_frame = comfy.send_frame
    comfy.send_frame = lambda client_id, frame: real_send_frame(client_id, frame[:-20])
    run = client.run(str(path), timeout=60)
    assert [image.record.state for image in run.images] == ["missing"]
    assert "truncated" in run.images[0].record.error


def test_socket_images_have_a_size_limit(monkeypatch):
    monkeypatch.setattr(comfyui_socket, "MAX_SOCKET_IMAGES_BYTES", 100)
    reader = comfyui_socket.EventReader("http://127.0.0.1:1")
    reader.watch("p", {}, frozenset("3"), frozenset("3"))
    about = json.dumps({"prompt_id": "p", "node_id": "3"}).encode()
    for size in (60, 50, 40):
        reader.read(struct.pack(">II", 4, len(about)) + about + b"x" * size)
    assert [len(image) for image in reader.get("p").images["3"]] == [60, 40]
    assert reader.get("p").dropped == 1


def test_dropped_images_cause_a_warning(client, comfy, graph, monkeypatch):
    monkeypatch.setattr(comfyui_socket, "MAX_SOCKET_IMAGES_BYTES", 10)
    run = client.run(graph, timeout=60)
    assert "dropped 2 images" in run.record.warning
    assert [image.node for image in run.images] == ["5"]
