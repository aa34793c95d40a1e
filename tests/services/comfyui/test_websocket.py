"""The events in recorded WebSocket messages of a ComfyUI server, and the socket behind a proxy."""

from __future__ import annotations

import json
import struct

import pytest
from comfyui_nodes import RECORDED
from faulty_server import FaultyServer

from comflowy_nb.services.comfyui.websocket import EventReader, Socket
from comflowy_nb.status import Status

TITLES = {"3": "KSampler", "4": "Load Checkpoint", "9": "Save Image"}


def messages(name):
    rows = [json.loads(line) for line in (RECORDED / name).read_text().splitlines()]
    frame = struct.pack(">II", 1, 1) + b"\xff\xd8\xffpreview"
    return [json.dumps(row["msg"]) if row["dir"] == "recv_text" else frame for row in rows if row["dir"] != "http"]


def prompt_id_of(name):
    return next(
        json.loads(message)["data"]["prompt_id"] for message in messages(name) if b"prompt_id" in str(message).encode()
    )


def listen(name, *, watched=True):
    reader, prompt_id = EventReader("http://127.0.0.1:1"), prompt_id_of(name)
    if watched:
        reader.watch(prompt_id, TITLES, frozenset("3456789"))
    return reader, prompt_id, [event for message in messages(name) if (event := reader.read(message)) is not None]


def test_recorded_success_has_events_from_start_to_end():
    reader, prompt_id, events = listen("ws_success.jsonl")
    assert {event.token for event in events} == {prompt_id}
    assert [event.status for event in events if event.status] == [Status.RUNNING, Status.SUCCESS]
    assert reader.get(prompt_id).has_ended
    done = [event.progress.nodes_done for event in events]
    assert done == sorted(done)
    assert done[-1] == 7
    steps = [event.progress.value for event in events if event.progress.node == "3" and event.progress.max == 8]
    assert sorted(set(steps)) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert next(event for event in events if event.progress.node == "3").progress.title == "KSampler"
    assert sum(event.progress.preview is not None for event in events) >= 8
    assert events[-1].progress.preview is None


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("ws_cached.jsonl", Status.SUCCESS),
        ("ws_error.jsonl", Status.FAILED),
        ("ws_interrupt.jsonl", Status.CANCELLED),
    ],
)
def test_each_recorded_end_of_a_run_is_an_event(name, status):
    reader, prompt_id, events = listen(name)
    assert events[-1].status is status
    assert reader.get(prompt_id).has_ended


def test_all_nodes_of_a_cached_run_are_done():
    assert listen("ws_cached.jsonl")[2][-1].progress.nodes_done == 7


def test_runs_of_other_clients_have_no_events():
    assert listen("ws_success.jsonl", watched=False)[2] == []


def test_an_error_event_of_a_node_does_not_end_the_run():
    reader = EventReader("http://127.0.0.1:1")
    reader.watch("p", {}, frozenset("12"))
    blocked = {"type": "execution_error", "data": {"prompt_id": "p", "exception_type": "ExecutionBlocked"}}
    assert reader.read(json.dumps(blocked)) is None
    assert not reader.get("p").has_ended
    success = {"type": "execution_success", "data": {"prompt_id": "p"}}
    reader.read(json.dumps(success))
    end = reader.read(json.dumps({"type": "executing", "data": {"node": None, "prompt_id": "p"}}))
    assert end.status is Status.SUCCESS


def test_preview_without_an_id_belongs_to_the_executing_run_of_this_client():
    reader = EventReader("http://127.0.0.1:1")
    reader.watch("p", {}, frozenset("1"))
    frame = struct.pack(">II", 1, 2) + b"\x89PNG"
    assert reader.read(frame) is None  # of another client
    reader.read(json.dumps({"type": "executing", "data": {"node": "1", "prompt_id": "p"}}))
    assert reader.read(frame).progress.preview == b"\x89PNG"
    reader.read(json.dumps({"type": "executing", "data": {"node": None, "prompt_id": "p"}}))
    assert reader.read(frame) is None


def test_preview_with_an_id_and_text_frames_are_read():
    reader = EventReader("http://127.0.0.1:1")
    reader.watch("p", {}, frozenset("1"))
    about = json.dumps({"prompt_id": "p", "node_id": "1", "image_type": "image/jpeg"}).encode()
    event = reader.read(struct.pack(">II", 4, len(about)) + about + b"\xff\xd8\xff")
    assert (event.token, event.progress.preview) == ("p", b"\xff\xd8\xff")
    other_run = json.dumps({"prompt_id": "q"}).encode()
    assert reader.read(struct.pack(">II", 4, len(other_run)) + other_run + b"\xff\xd8\xff") is None
    reader.read(json.dumps({"type": "executing", "data": {"node": "1", "prompt_id": "p"}}))
    text = struct.pack(">II", 3, 1) + b"1" + b"width: 64,\n height: 64"
    assert reader.read(text).progress.message == "width: 64, height: 64"


@pytest.mark.parametrize(
    "message",
    [
        "",
        "{",
        "[]",
        "3",
        '{"type":"x"}',
        '{"type":"executing","data":{"node":"3"}}',
        '{"data":{"prompt_id":["p"]}}',
        '{"type":"progress","data":{"prompt_id":"p","value":"x","max":null,"node":5}}',
        '{"type":"progress_state","data":{"prompt_id":"p","nodes":[1]}}',
        '{"type":"execution_cached","data":{"prompt_id":"p","nodes":[1,null,"77"]}}',
        b"",
        b"1234567",
        b"\0\0\0\4\xff\xff\xff\xff{",
        struct.pack(">II", 99, 1) + b"x",
    ],
)
def test_invalid_messages_are_ignored(message):
    reader = EventReader("http://127.0.0.1:1")
    reader.watch("p", {}, frozenset("1"))
    reader.read(message)
    end = reader.read(json.dumps({"type": "executing", "data": {"node": None, "prompt_id": "p"}}))
    assert end.status is Status.SUCCESS
    assert end.progress.nodes_done == 0


def test_run_that_is_no_longer_watched_has_no_events():
    reader = EventReader("http://127.0.0.1:1")
    reader.watch("p", {}, frozenset("1"))
    reader.forget("p")
    assert reader.read(json.dumps({"type": "executing", "data": {"node": None, "prompt_id": "p"}})) is None
    assert reader.get("p") is None


# -- the socket behind a proxy ------------------------------------------------------------------------------------


@pytest.fixture
def proxy(monkeypatch):
    """A proxy for all hosts, in the environment variables."""
    for name in ("no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with FaultyServer() as server:
        for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
            monkeypatch.setenv(name, server.url)
        yield server


def test_the_socket_to_loopback_bypasses_proxies(comfy, proxy):
    """Otherwise a run on this machine has no progress and no previews if a proxy is set."""
    socket = Socket(comfy.url, {}, lambda _: None)
    socket.start()
    try:
        assert socket.wait_open(10)
        assert proxy.connections == 0
    finally:
        socket.close()


def test_the_socket_to_another_host_uses_the_proxy(proxy):
    """Otherwise a run on a server behind the proxy has no progress and no previews."""
    socket = Socket("http://comfyui.example:8188", {}, lambda _: None)
    socket.start()
    try:
        assert not socket.wait_open(10)
        assert proxy.requests()[0].method == "CONNECT"
    finally:
        socket.close()
