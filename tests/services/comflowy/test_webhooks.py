"""The webhook receiver: accepted events and rejected requests."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from urllib.parse import urlsplit

import pytest

from comflowy_nb.services.comflowy import webhooks
from comflowy_nb.services.comflowy.webhooks import Receiver, read_event
from comflowy_nb.services.types import Event, Progress
from comflowy_nb.status import Status


class ReceivedEvents(list):
    """A list of received events, with a wait."""

    def __init__(self):
        super().__init__()
        self._came = threading.Condition()

    def __call__(self, event):
        with self._came:
            self.append(event)
            self._came.notify_all()

    def wait_for(self, count):
        with self._came:
            assert self._came.wait_for(lambda: len(self) >= count, 10), f"{len(self)} events, not {count}"
        return list(self)


@pytest.fixture
def events():
    return ReceivedEvents()


@pytest.fixture
def receiver(events):
    receiver = Receiver(events)
    yield receiver
    receiver.close()


def post(receiver, path, body=b"{}", *, method="POST", headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", receiver.port, timeout=60)
    try:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        connection.request(method, path, content, {"Content-Type": "application/json", **(headers or {})})
        return connection.getresponse().status
    finally:
        connection.close()


def path_of(receiver, token="t1", name="on_result_url"):
    return urlsplit(receiver.urls(token)[name]).path


def test_posted_events_reach_the_listener(receiver, events):
    progress = {"node": "3", "title": "KSampler", "value": 7, "max": 20, "nodes_done": 4, "nodes_total": 7}
    path = path_of(receiver, name="on_progress_event_url")
    assert post(receiver, path, {"type": "running", "payload": progress, "run_id": "r9"}) == 204
    assert post(receiver, path_of(receiver), {"type": "success", "run_id": 12, "output_images": ["u"]}) == 204
    assert events.wait_for(2) == [
        Event("t1", Status.RUNNING, "r9", Progress("3", "KSampler", 7.0, 20.0, 4, 7)),
        Event("t1", Status.SUCCESS, "12", None),
    ]


def test_callback_urls_of_a_run_are_stable_and_differ_between_runs(receiver):
    assert receiver.urls("a") == receiver.urls("a")
    assert len({path_of(receiver, token).split("/")[2] for token in "abc"}) == 3
    assert len(path_of(receiver).split("/")[2]) >= 43  # 32 bytes
    assert path_of(receiver) not in repr(receiver)


@pytest.mark.parametrize(
    ("body", "event"),
    [
        ({"type": "waiting", "payload": None}, Event("t", Status.WAITING)),
        ({"type": "message", "payload": "loading\nmodel"}, Event("t", progress=Progress(message="loading model"))),
        ({"type": "message", "payload": {"message": "hi"}}, Event("t", progress=Progress(message="hi"))),
        ({"type": "message", "payload": [1]}, Event("t")),
        ({"type": "running", "payload": {"data": {"value": 1, "max": 2}}},
         Event("t", Status.RUNNING, None, Progress(value=1, max=2))),
        ({"type": "running", "payload": {"value": True, "max": float("inf"), "nodes_done": 1.5, "node": 4}},
         Event("t", Status.RUNNING, None, Progress(node="4"))),
        ({"type": "queued"}, Event("t")),
        ({"type": 5, "run_id": True, "payload": {"value": -1, "nodes_done": "x", "title": ["x"]}}, Event("t")),
        ({"type": "running", "payload": {"value": 10**400}}, Event("t", Status.RUNNING)),
        ({}, Event("t")),
    ],
)  # fmt: skip
def test_each_kind_of_payload_is_parsed(body, event):
    assert read_event("t", body) == event


def test_request_to_a_forged_path_gets_404(receiver, events):
    good = path_of(receiver)
    _, token, word, name = good.split("/")
    shapes = ("/", f"/{token}", f"/{token}/{word}/x", f"{good}/x", "/t9/-/result")
    forged_parts = ("x", "-", word[:-1], word + "A", word.swapcase(), "%C3%A9")
    for path in (*shapes, f"/other/{word}/{name}", *(f"/{token}/{other}/{name}" for other in forged_parts)):
        assert post(receiver, path) == 404, path
    assert post(receiver, f"/{token}/%FF/{name}") == 400
    receiver.forget("t1")
    assert post(receiver, good) == 404
    assert events == []


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_only_post_is_accepted(receiver, events, method):
    assert post(receiver, path_of(receiver), method=method) == 405
    assert events == []


@pytest.mark.parametrize("body", [b"", b"[]", b'"x"', b"5", b"null", b"{", b"\xff", b"[" * 100_000])
def test_only_a_json_object_is_accepted(receiver, events, body):
    assert post(receiver, path_of(receiver), body) == 400
    assert events == []


def test_requests_of_web_pages_are_rejected(receiver, events):
    path = path_of(receiver)
    assert post(receiver, path, headers={"Origin": "http://127.0.0.1:8888"}) == 403
    assert post(receiver, path, headers={"Origin": "null"}) == 403
    for host in ("evil.example", f"evil.example:{receiver.port}", "127.0.0.1:1", ""):
        assert post(receiver, path, headers={"Host": host}) in {400, 403}
    assert events == []
    assert post(receiver, path, headers={"Host": f"localhost:{receiver.port}"}) == 204


def test_urls_start_with_the_public_address(events):
    receiver = Receiver(events, public_url="https://hooks.example/comflowy/")
    try:
        url = receiver.urls("t1")["on_result_url"]
        assert url.startswith("https://hooks.example/comflowy/t1/")
        whole = urlsplit(url).path  # a tunnel may keep or strip the prefix
        for path in (whole, whole.removeprefix("/comflowy")):
            assert post(receiver, path, {"type": "failed"}, headers={"Host": "hooks.example"}) == 204
        assert events.wait_for(2) == [Event("t1", Status.FAILED)] * 2
    finally:
        receiver.close()


@pytest.mark.parametrize("length", ["-1", "x", "99999999999", "1e3", ""])
def test_invalid_lengths_are_rejected(receiver, events, length):
    head = (
        f"POST {path_of(receiver)} HTTP/1.1\r\nHost: 127.0.0.1:{receiver.port}\r\nContent-Length: {length}\r\n\r\n{{}}"
    )
    answer = raw_exchange(receiver, head.encode())
    assert answer == b"" or answer.split()[1].startswith(b"4")
    assert events == []
    assert post(receiver, path_of(receiver)) == 204


def test_an_oversize_body_is_rejected(receiver, events):
    head = f"POST {path_of(receiver)} HTTP/1.1\r\nHost: 127.0.0.1:{receiver.port}\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    answer = raw_exchange(receiver, head.encode(), *([chunk] * 40))
    assert not answer.startswith(b"HTTP/1.1 2")
    assert events == []


def raw_exchange(receiver, *pieces):
    with socket.create_connection(("127.0.0.1", receiver.port), timeout=60) as sock:
        try:
            for piece in pieces:
                sock.sendall(piece)
            return sock.recv(1000)
        except ConnectionError:
            return b""


@pytest.mark.timeout(60)
@pytest.mark.parametrize("slowest_s", [1.0, 1000.0])
def test_slow_senders_are_disconnected_and_do_not_block_other_senders(monkeypatch, events, slowest_s):
    monkeypatch.setattr(webhooks, "READ_TIMEOUT_S", slowest_s)
    receiver = Receiver(events)
    try:
        path = path_of(receiver)
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{receiver.port}\r\nContent-Length: 50\r\n\r\n{{"
        with socket.create_connection(("127.0.0.1", receiver.port), timeout=60) as in_the_body:
            in_the_body.sendall(head.encode())
            with socket.create_connection(("127.0.0.1", receiver.port), timeout=60) as in_the_head:
                in_the_head.sendall(b"POST")
                assert post(receiver, path) == 204
                if slowest_s < 30:
                    in_the_head.settimeout(30)
                    in_the_body.settimeout(30)
                    in_the_head.recv(1)
                    in_the_body.recv(1)
        events.wait_for(1)
    finally:
        receiver.close()


def test_duplicate_and_late_events_reach_the_listener_in_order(receiver, events):
    result, progress = path_of(receiver), path_of(receiver, name="on_progress_event_url")
    for path, kind in ((result, "success"), (result, "success"), (progress, "running")):
        assert post(receiver, path, {"type": kind}) == 204
    assert [event.status for event in events.wait_for(3)] == [Status.SUCCESS, Status.SUCCESS, Status.RUNNING]


def test_a_slow_or_raising_listener_does_not_block_responses():
    events, released = ReceivedEvents(), threading.Event()

    def listen(event):
        released.wait(60)
        events(event)
        raise RuntimeError("a listener broke")

    receiver = Receiver(listen)
    try:
        for _ in range(3):
            assert post(receiver, path_of(receiver), {"type": "running"}) == 204
        released.set()
        events.wait_for(3)
    finally:
        receiver.close()


def test_close_stops_the_thread_and_frees_the_port(events):
    before = {thread.name for thread in threading.enumerate()}
    receiver = Receiver(events)
    post(receiver, path_of(receiver))
    events.wait_for(1)
    receiver.close()
    receiver.close()
    deadline = time.monotonic() + 30
    while {thread.name for thread in threading.enumerate()} - before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert {thread.name for thread in threading.enumerate()} - before == set()
    with pytest.raises(ConnectionError):
        post(receiver, "/")
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", receiver.port))
