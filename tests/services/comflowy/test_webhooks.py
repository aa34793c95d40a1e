"""The webhook receiver: accepted events and rejected requests."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import psutil
import pytest

from comflowy_nb.services.comflowy import webhook_handler, webhooks
from comflowy_nb.services.comflowy.webhook_events import read_event
from comflowy_nb.services.comflowy.webhook_files import WebhookFiles
from comflowy_nb.services.comflowy.webhook_handler import MAX_BODIES, MAX_BURST, MAX_EVENT_BYTES
from comflowy_nb.services.comflowy.webhooks import Receiver
from comflowy_nb.services.types import Event, Progress
from comflowy_nb.settings import Secret
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
        Event("t1", Status.RUNNING, "r9", Progress("3", "KSampler", 7.0, 20.0, 4, 7), kind="running"),
        Event("t1", Status.SUCCESS, "12", kind="success"),
    ]


def test_callback_urls_of_a_run_are_stable_and_differ_between_runs(receiver):
    """One address serves both kinds of events, as in the example of the API page."""
    assert receiver.urls("a") == receiver.urls("a")
    assert len(set(receiver.urls("a").values())) == 1
    assert len({path_of(receiver, token) for token in "abc"}) == 3
    secret = path_of(receiver).removeprefix("/comflowy/hooks/")
    assert len(secret) >= 43  # 32 bytes
    assert secret not in repr(receiver)


@pytest.mark.parametrize(
    ("body", "event"),
    [
        ({"type": "waiting", "payload": None}, {"kind": "waiting", "status": Status.WAITING}),
        ({"type": "pending"}, {"kind": "pending", "status": Status.PENDING}),
        ({"type": "message", "payload": "loading\nmodel"}, {"kind": "message", "text": "loading model"}),
        ({"type": "message", "payload": {"message": "hi"}}, {"kind": "message", "text": "hi"}),
        ({"type": "message", "payload": {"text": 5}}, {"kind": "message", "text": "5"}),
        ({"type": "message", "payload": [1, "<b>"]}, {"kind": "message", "text": '[1, "<b>"]'}),
        ({"type": "message", "payload": {"gpu": "A100"}}, {"kind": "message", "text": '{"gpu": "A100"}'}),
        ({"type": "message", "payload": None}, {"kind": "message"}),
        ({"type": "message", "payload": "x" * 10_000}, {"kind": "message", "text": "x" * 399 + "…"}),
        ({"type": "failed", "error": "out\x1b[31m of memory"},
         {"kind": "failed", "status": Status.FAILED, "text": "out [31m of memory"}),
        ({"type": "running", "payload": {"data": {"value": 1, "max": 2}}},
         {"kind": "running", "status": Status.RUNNING, "progress": Progress(value=1, max=2)}),
        ({"type": "running", "payload": {"value": True, "max": float("inf"), "nodes_done": 1.5, "node": 4}},
         {"kind": "running", "status": Status.RUNNING, "progress": Progress(node="4")}),
        ({"type": "running", "payload": {"value": 10**400}}, {"kind": "running", "status": Status.RUNNING}),
        ({"type": "queued"}, {}),
        ({"type": ["running"]}, {}),
        ({"type": 5, "run_id": True, "payload": {"value": -1, "nodes_done": "x", "title": ["x"]}}, {}),
        ({}, {}),
    ],
)  # fmt: skip
def test_each_kind_of_payload_is_parsed(body, event):
    assert read_event("t", body) == Event("t", **event)


def test_request_to_a_forged_path_gets_404(receiver, events):
    good = path_of(receiver)
    secret = good.rpartition("/")[2]
    shapes = ("/", "/comflowy/hooks", "/comflowy/hooks/", f"{good}/x", f"{good}/", f"{good}%00", "//", "/%2e%2e/x")
    forged = ("x", "-", secret[:-1], secret + "A", secret.swapcase(), "%C3%A9", "%FF", "a" * 8000)
    for path in (*shapes, *(f"/comflowy/hooks/{other}" for other in forged)):
        assert post(receiver, path) == 404, path
    receiver.forget("t1")
    assert post(receiver, good) == 404
    assert events == []


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "PATCH", "HEAD"])
def test_only_post_is_accepted(receiver, events, method):
    assert post(receiver, path_of(receiver), method=method) == 404
    assert events == []


@pytest.mark.parametrize("body", [b"", b"[]", b'"x"', b"5", b"null", b"{", b"\xff", b"[" * 100_000])
def test_only_a_json_object_is_accepted(receiver, events, body):
    assert post(receiver, path_of(receiver), body) == 400
    assert events == []


def test_requests_of_web_pages_are_rejected(receiver, events):
    path = path_of(receiver)
    assert post(receiver, path, headers={"Origin": "http://127.0.0.1:8888"}) == 404
    assert post(receiver, path, headers={"Origin": "null"}) == 404
    assert events == []


def test_urls_start_with_the_public_address(events):
    receiver = Receiver(events, public_url="https://hooks.example/user/ann/")
    try:
        url = receiver.urls("t1")["on_result_url"]
        assert url.startswith("https://hooks.example/user/ann/comflowy/hooks/")
        whole = urlsplit(url).path  # a tunnel may keep or strip the prefix
        for path in (whole, whole.removeprefix("/user/ann")):
            assert post(receiver, path, {"type": "failed"}, headers={"Host": "hooks.example"}) == 204
        assert events.wait_for(2) == [Event("t1", Status.FAILED, kind="failed")] * 2
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
    for module in (webhooks, webhook_handler):
        monkeypatch.setattr(module, "READ_TIMEOUT_S", slowest_s)
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


def test_clients_of_a_process_share_a_port_which_stays_after_a_new_connection(events):
    """A tunnel leads to one port."""
    first, second = Receiver(events), Receiver(events)
    try:
        assert first.port == second.port
        second.urls("t2")
        first.urls("t1")
    finally:
        first.close()
    assert post(second, path_of(second, "t2")) == 204
    second.close()
    again = Receiver(events)
    assert again.port == second.port
    again.close()


def test_a_run_with_a_public_address_is_registered_in_a_private_file_until_it_is_forgotten(events, tmp_path):
    files = WebhookFiles(tmp_path)
    receiver = Receiver(events, public_url="https://hooks.example", files=files, owner="ab")
    secret = path_of(receiver).rpartition("/")[2]
    receiver.urls("t2")
    paths = list(files.folder.iterdir())
    assert len(paths) == 2
    for path in paths:
        assert path.stat().st_mode & 0o077 == 0
        assert secret not in path.name + path.read_text()
    receiver.forget("t1")
    assert len(list(files.folder.iterdir())) == 1
    receiver.close()
    assert list(files.folder.iterdir()) == []


def test_a_run_without_a_public_address_is_not_registered(events, tmp_path):
    files = WebhookFiles(tmp_path)
    receiver = Receiver(events, files=files, owner="ab")
    receiver.urls("t1")
    assert not files.folder.exists()
    receiver.close()


def test_events_are_delivered_if_the_run_cannot_be_registered(events, tmp_path):
    (tmp_path / "webhooks").write_text("a file where the folder should be")
    receiver = Receiver(events, public_url="https://hooks.example", files=WebhookFiles(tmp_path), owner="ab")
    try:
        assert post(receiver, path_of(receiver), {"type": "running"}) == 204
        events.wait_for(1)
    finally:
        receiver.close()


def test_files_of_dead_processes_are_deleted(tmp_path, events):
    files = WebhookFiles(tmp_path)
    receivers = [Receiver(events, public_url="https://x.example", files=files, owner=owner) for owner in ("a", "b")]
    for receiver in receivers:
        receiver.urls(f"t of {receiver.port}")
    (files.folder / "damaged.json").write_text("{")
    files.remove_stale(lambda owner: owner == "b")
    assert len(list(files.folder.glob("*.json"))) == 2
    receivers[1].close()
    assert [path.name for path in files.folder.glob("*.json")] == ["damaged.json"]
    receivers[0].close()


def test_too_many_events_of_one_run_are_rejected_and_another_run_is_not_affected(receiver, events):
    """A service that repeats events without a pause could fill the memory and the display."""
    path = path_of(receiver)
    statuses = [post(receiver, path, {"type": "running"}) for _ in range(int(MAX_BURST) * 3)]
    assert statuses[: int(MAX_BURST)] == [204] * int(MAX_BURST)
    assert 429 in statuses
    assert post(receiver, path_of(receiver, "t2"), {"type": "success"}) == 204


def test_a_result_of_the_largest_size_is_accepted_and_a_larger_one_is_not(receiver, events):
    body = json.dumps({"type": "success", "output_images": ["u" * (MAX_EVENT_BYTES - 100)]}).encode()
    assert post(receiver, path_of(receiver), body) == 204
    with contextlib.suppress(ConnectionError):  # it may close the connection before the body is sent
        assert post(receiver, path_of(receiver), body + b" " * 200) in {400, 413}
    assert len(events.wait_for(1)) == 1


def test_the_events_of_many_runs_that_end_at_once_are_accepted(receiver, events):
    """Of 17 bodies that arrived at the same time, one was rejected, so that this end was found later, by a check."""
    head = "POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 19\r\nExpect: 100-continue\r\n\r\n"
    with contextlib.ExitStack() as stack:
        senders = []
        for number in range(MAX_BODIES):
            sender = stack.enter_context(socket.create_connection(("127.0.0.1", receiver.port), timeout=60))
            sender.sendall(head.format(path_of(receiver, f"t{number}")).encode())
            assert b" 100 " in sender.recv(100)
            senders.append(sender)
        last = path_of(receiver, "last")
        assert post(receiver, last) == 429
        for sender in senders:
            sender.sendall(b'{"type": "success"}')
        for sender in senders:
            assert b" 204 " in sender.recv(100)
    assert post(receiver, last, {"type": "success"}) == 204
    assert [event.status for event in events.wait_for(MAX_BODIES + 1)] == [Status.SUCCESS] * (MAX_BODIES + 1)


@pytest.mark.slow
def test_forged_calls_with_large_bodies_hold_little_memory(receiver, events):
    process = psutil.Process()
    before = process.memory_info().rss
    path = path_of(receiver)[:-1] + "!"
    body = b"x" * (MAX_EVENT_BYTES // 2)
    largest = 0
    with ThreadPoolExecutor(16) as pool:
        for number, status in enumerate(pool.map(lambda _: post(receiver, path, body), range(2000))):
            assert status == 404
            if number % 100 == 0:
                largest = max(largest, process.memory_info().rss - before)
    assert largest < 50 * 1024**2
    assert events == []


def test_secrets_in_texts_of_events_are_masked(events):
    """Also in a text that is cut, and with escapes."""
    receiver = Receiver(events, hide=lambda: (Secret("the-secret-key-1"),))
    try:
        url = receiver.urls("t1")["on_result_url"]
        path = urlsplit(url).path
        long = "x" * 390 + "the-secret-key-1"
        escaped = b'{"type": "message", "payload": "\\u0074he-secret-key-1"}'
        for body in (
            {"type": "message", "payload": f"posting to {url}"},
            {"type": "message", "payload": long},
            escaped,
        ):
            assert post(receiver, path, body) == 204
        for event in events.wait_for(3):
            assert "the-sec" not in event.text
            assert path.rpartition("/")[2] not in event.text
    finally:
        receiver.close()
