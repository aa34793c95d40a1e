"""A ComfyUI server as a service: submit, events, check, cancel, and the faults of each."""

from __future__ import annotations

import json
import threading
import time
import uuid

import pytest
from bare_client import BareClient, empty_image
from certificates import Authority
from comfyui_nodes import RECORDED
from comfyui_server import ComfyServer
from faulty_server import closed_port
from waiting import wait_until

from comflowy_nb.errors import AnswerError, NotFoundError, ServiceError, UnreachableError
from comflowy_nb.services.comfyui.service import ComfyUI
from comflowy_nb.services.types import Accepted, Rejected, Submission, Unknown
from comflowy_nb.settings import Secret, settings
from comflowy_nb.status import Status
from comflowy_nb.workflow.graph import Graph

DEFAULT = json.loads((RECORDED / "default_workflow_api.json").read_text())


def small(steps=3, seed=1, **changes):
    """Return the default graph at 64 px; `changes` as `node__name=value`."""
    graph = json.loads(json.dumps(DEFAULT))
    graph["5"]["inputs"] |= {"width": 64, "height": 64}
    graph["3"]["inputs"] |= {"steps": steps, "seed": seed}
    for field, value in changes.items():
        node, name = field.lstrip("n").split("__")
        graph[node]["inputs"][name] = value
    return graph


class Listener:
    """A list of received events, with a wait."""

    def __init__(self, service):
        self.events = []
        self.changed = threading.Condition()
        service.listen(self.receive)

    def receive(self, event):
        with self.changed:
            self.events.append(event)
            self.changed.notify_all()

    def of(self, token):
        return [event for event in self.events if event.token == token]

    def wait(self, token, is_wanted, timeout=60):
        with self.changed:
            arrived = self.changed.wait_for(lambda: any(is_wanted(event) for event in self.of(token)), timeout)
        assert arrived, [event.status for event in self.of(token)]

    def wait_end(self, token):
        self.wait(token, lambda event: event.status is not None and event.status.is_final)


@pytest.fixture
def service(comfy):
    service = ComfyUI(comfy.url, identity="home", label="home")
    yield service
    service.close()


@pytest.fixture
def listener(service):
    return Listener(service)


def submission(graph, **changes):
    return Submission(token=str(uuid.uuid4()), workflow_id=None, params={}, graph=graph, **changes)


def settle(service, run_id, timeout=60):
    """Check a run until it has ended."""
    deadline = time.monotonic() + timeout
    while (snapshot := service.check(run_id)).status.is_live:
        assert time.monotonic() < deadline, snapshot
        time.sleep(0.01)
    return snapshot


# -- one run ----------------------------------------------------------------------------------------------------


def test_run_has_the_id_of_the_client_and_events_until_its_end(comfy, service, listener):
    comfy.previews = True
    request = submission(small(4), metadata={"workflow": "default", "params": {"3::steps": 4}})
    assert service.submit(request) == Accepted(request.token)
    listener.wait_end(request.token)
    ((_, body),) = [update for update in comfy.bodies if update[0] == "/prompt"]
    assert body["prompt_id"] == request.token
    assert "number" not in body
    assert body["extra_data"] == {"extra_pnginfo": {"comflowy": request.metadata}}
    events = listener.of(request.token)
    assert [event.status for event in events if event.status] == [Status.RUNNING, Status.SUCCESS]
    progress = [event.progress for event in events]
    assert {update.title for update in progress} >= {"KSampler", "Load Checkpoint", "Save Image"}
    assert [update.value for update in progress if update.node == "3" and update.max == 4][-1] == 4
    assert progress[-1].nodes_done == progress[-1].nodes_total == 7
    assert any(update.preview for update in progress)
    assert progress[-1].preview is None
    snapshot = service.check(request.token)
    assert (snapshot.status, len(snapshot.outputs), snapshot.outputs[0].node) == (Status.SUCCESS, 1, "9")
    with service.open_image(snapshot.outputs[0]) as stream:
        content = b"".join(stream.chunks())
        assert stream.length == len(content)
    assert content.startswith(b"\x89PNG")


def test_the_socket_is_open_before_the_first_submit(comfy, service, listener):
    service.submit(submission(empty_image()))
    paths = [path for _, path in comfy.requests]
    assert paths.index("/ws") < paths.index("/prompt")


def test_runs_of_other_clients_cause_no_events(comfy, service, listener):
    comfy.previews = True
    with BareClient(comfy.url) as other:
        other.session.post(f"{comfy.url}/prompt", json={"prompt": small(5), "prompt_id": "foreign"})
        comfy.wait_end("foreign")
        other.run(small(2, seed=9))
    request = submission(empty_image())
    service.submit(request)
    listener.wait_end(request.token)
    assert {event.token for event in listener.events} == {request.token}
    assert all(event.progress.preview is None for event in listener.events)


def test_preview_without_an_id_is_used_only_while_a_run_of_this_client_executes(comfy, service, listener):
    comfy.previews = True
    comfy.has_flag = lambda client: False  # like an older server: it does not know the flag and sends frames of event 1
    request = submission(small(3))
    service.submit(request)
    listener.wait_end(request.token)
    assert [event.progress.preview for event in listener.of(request.token) if event.progress.preview]


def test_waiting_run_has_its_position_in_the_queue(comfy, service):
    comfy.pause_at("3", 1)
    tokens = []
    for seed in range(3):
        request = submission(small(2, seed=seed))
        assert service.submit(request) == Accepted(request.token)
        tokens.append(request.token)
    assert comfy.paused.wait(30)
    snapshots = [service.check(token) for token in tokens]
    assert [(snapshot.status, snapshot.ahead) for snapshot in snapshots] == [
        (Status.RUNNING, None),
        (Status.PENDING, 1),
        (Status.PENDING, 2),
    ]
    with BareClient(comfy.url) as other:
        other.submit(empty_image(), front=True)
    assert service.check(tokens[1]).ahead == 2
    comfy.resume()
    assert settle(service, tokens[2]).status is Status.SUCCESS


def test_cached_run_returns_the_same_file(comfy, service, listener):
    first, second = submission(small()), submission(small())
    urls = []
    for request in (first, second):
        service.submit(request)
        listener.wait_end(request.token)
        urls.append(service.check(request.token).outputs[0].url)
    assert urls[0] == urls[1]
    assert listener.of(second.token)[-1].progress.nodes_done == 7


def test_end_reported_by_the_socket_needs_one_request(comfy, service, listener):
    request = submission(empty_image())
    service.submit(request)
    listener.wait_end(request.token)
    before = len(comfy.requests)
    assert service.check(request.token).status is Status.SUCCESS
    assert comfy.requests[before:] == [("GET", "/history")]


def test_history_that_is_empty_after_the_end_is_requested_again(comfy, service):
    """`/history` was empty right after `execution_success` in 13 of 30 attempts: the run is then still in the queue."""
    comfy.pause_at("2")
    request = submission(empty_image())
    service.submit(request)
    assert comfy.paused.wait(30)
    assert service.check(request.token).status is Status.RUNNING
    comfy.resume()
    assert settle(service, request.token).status is Status.SUCCESS


def test_error_of_a_failed_run_has_node_and_message_but_no_server_path(comfy, service, listener):
    (comfy.inputs / "broken.png").write_bytes(b"no image")
    graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "broken.png"}, "_meta": {"title": "My image"}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "x"}},
    }
    request = submission(graph)
    service.submit(request)
    listener.wait_end(request.token)
    snapshot = service.check(request.token)
    assert snapshot.status is Status.FAILED
    assert str(snapshot.problem).startswith("node 1 (My image): cannot identify image file")
    assert "execution.py" not in str(snapshot.problem)


def test_an_interrupt_by_another_client_is_not_a_failure(comfy, service, listener):
    comfy.pause_at("3", 2)
    request = submission(small(9))
    service.submit(request)
    assert comfy.paused.wait(30)
    comfy.queue.interrupt(None)
    listener.wait_end(request.token)
    assert service.check(request.token).status is Status.CANCELLED


def test_an_absent_run_is_not_found(comfy, service):
    with pytest.raises(NotFoundError, match="neither in its queue nor in its history"):
        service.check(str(uuid.uuid4()))
    assert [path for _, path in comfy.requests] == ["/queue", "/history"] * 2


def test_a_run_that_a_restart_lost_is_not_found(comfy, service, listener):
    comfy.hold()
    request = submission(empty_image())
    service.submit(request)
    assert service.check(request.token).status is Status.PENDING
    comfy.restart()
    with pytest.raises(NotFoundError):
        service.check(request.token)


def test_outputs_of_every_kind_and_node_are_read(comfy, service):
    graph = {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 16, "height": 16, "batch_size": 2, "color": 255}},
        "10": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "a/b"}},
        "9": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
        "11": {"class_type": "SaveAnimatedWEBP", "inputs": {"images": ["1", 0], "filename_prefix": "moving"}},
        "12": {"class_type": "SaveAudio", "inputs": {"seconds": 0.1}},
        "13": {"class_type": "PreviewAny", "inputs": {"source": "hello"}},
    }
    request = submission(graph)
    service.submit(request)
    outputs = settle(service, request.token).outputs
    assert [(output.node, output.node_index, output.ending, output.text) for output in outputs] == [
        ("9", 0, None, None),
        ("9", 1, None, None),
        ("10", 0, None, None),
        ("10", 1, None, None),
        ("11", 0, "webp", None),
        ("12", 0, "wav", None),
        ("13", 0, "txt", "hello"),
    ]
    for output in outputs:
        with service.open_image(output) as stream:
            assert len(b"".join(stream.chunks())) == stream.length


def test_socket_images_without_a_listener_cause_a_warning(comfy, service):
    graph = empty_image() | {"2": {"class_type": "SaveImageWebsocket", "inputs": {"images": ["1", 0]}}}
    request = submission(graph)
    service.submit(request)
    assert "no image of SaveImageWebsocket was received through the socket" in settle(service, request.token).warning


# -- rejected graphs --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"n5__width": 8}, "node 5 (Empty Latent Image), width: 8 is below 16, the minimum"),
        ({"n3__cfg": 1000}, "node 3 (KSampler), cfg: 1000.0 is above 100.0, the maximum"),
        ({"n3__seed": "abc"}, "node 3 (KSampler), seed: 'abc' is not of type INT"),
        (
            {"n4__ckpt_name": "v1-5-pruned.safetensors"},
            "is not one of v1-5-pruned-emaonly-fp16.safetensors. Did you mean v1-5-pruned-emaonly-fp16.safetensors",
        ),
        ({"n3__sampler_name": "eular"}, "'eular' is not one of euler, euler_cfg_pp"),
        ({"n3__sampler_name": "eular"}, "Did you mean euler"),
        ({"n9__images": ["4", 0]}, "it takes IMAGE, and the linked node returns MODEL"),
        ({"n9__images": ["77", 0]}, "it is linked to node '77', which does not exist"),
    ],
)
def test_an_error_names_node_field_value_and_nearest_choice(comfy, service, changes, words):
    outcome = service.submit(submission(small(**changes)))
    assert isinstance(outcome, Rejected)
    assert not outcome.may_retry
    assert words in str(outcome.error)
    assert "\n" not in str(outcome.error)
    assert "/comfyui" not in str(outcome.error)


@pytest.mark.parametrize(
    ("graph", "words"),
    [
        ({"1": {"class_type": "Nowhere", "inputs": {}}}, "the server has no node class Nowhere"),
        ({"1": empty_image()["1"]}, "no node that saves or shows anything"),
        (
            {
                "1": {"class_type": "ImageInvert", "inputs": {"image": ["2", 0]}},
                "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
                "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "x"}},
            },
            "form a cycle",
        ),
        (
            {
                "1": {"class_type": "LoadImage", "inputs": {"image": "missing.png"}},
                "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}},
            },
            "node 2 (SaveImage), filename_prefix: it needs a value or a link, and has neither",
        ),
    ],
)
def test_errors_of_a_graph_without_a_node_have_a_message(comfy, service, graph, words):
    outcome = service.submit(submission(graph))
    assert isinstance(outcome, Rejected)
    assert words in str(outcome.error)


def test_all_errors_are_reported_and_a_large_number_is_summarised(comfy, service):
    wrong = {f"n{node}__{name}": -1 for node, name in ((3, "cfg"), (3, "steps"), (3, "seed"), (3, "denoise"))}
    wrong |= {"n5__width": 1, "n5__height": 1, "n5__batch_size": 0}
    outcome = service.submit(submission(small(**wrong)))
    assert str(outcome.error).count("below") == 5
    assert "and 2 more" in str(outcome.error)


def test_outputs_that_will_not_run_cause_a_warning(comfy, service):
    graph = {
        **empty_image(),
        "3": {"class_type": "LoadImage", "inputs": {"image": "missing.png"}},
        "4": {"class_type": "PreviewImage", "inputs": {"images": ["3", 0]}},
    }
    request = submission(graph)
    outcome = service.submit(request)
    assert isinstance(outcome, Accepted)
    assert outcome.warning == (
        "some outputs will not run: node 3 (LoadImage), image: missing.png is not on the server. "
        "To upload your file: image=file:missing.png"
    )
    assert settle(service, request.token).status is Status.SUCCESS


def test_a_server_error_is_a_rejection_only_if_the_run_is_absent(comfy, service):
    settings.retry_base_s = 0.001
    comfy.fail("/prompt", 500)
    outcome = service.submit(submission(empty_image()))
    assert isinstance(outcome, Rejected)
    assert "server:last" in str(outcome.error)
    assert "Export (API)" in str(outcome.error)


@pytest.mark.parametrize("status", [502, 503, 504, 302])
def test_a_response_of_a_proxy_leaves_the_run_unknown(comfy, service, monkeypatch, status):
    monkeypatch.setattr("comflowy_nb.services.comfyui.service.LOOKUP_PAUSES_S", (0.0, 0.01))
    comfy.fail("/prompt", status)
    outcome = service.submit(submission(empty_image()))
    assert outcome == Unknown(f"home answered with status {status}")
    assert comfy.requests_to("POST", "/prompt") == 1


@pytest.mark.parametrize(("status", "stops"), [(401, True), (403, True), (404, False), (429, False)])
def test_http_status_defines_whether_a_rejection_stops_a_sweep(comfy, service, status, stops):
    comfy.fail("/prompt", status)
    outcome = service.submit(submission(empty_image()))
    assert isinstance(outcome, Rejected)
    assert outcome.rejects_all is stops
    assert outcome.may_retry is (status == 429)


def test_request_that_is_too_large_is_rejected(tmp_path):
    with ComfyServer(tmp_path / "c", max_body=2000) as server:
        service = ComfyUI(server.url, identity="home", label="home")
        outcome = service.submit(submission(small(n6__text="x" * 3000)))
        assert "larger than the server accepts" in str(outcome.error)
        with pytest.raises(ServiceError, match="larger than the server accepts"):
            service.upload("big.png", b"x" * 3000)
        service.close()


def test_a_graph_that_is_not_json_is_not_submitted(comfy, service):
    outcome = service.submit(submission(small(n3__cfg=float("nan"))))
    assert "can't be submitted" in str(outcome.error)
    assert comfy.requests_to("POST", "/prompt") == 0


def test_submit_to_an_address_without_a_server_is_rejected(comfy):
    service = ComfyUI(f"http://127.0.0.1:{closed_port()}", identity="home", label="home")
    settings.retry_base_s = 0.001
    with pytest.raises(UnreachableError):
        service.check_access()
    outcome = service.submit(submission(empty_image()))
    assert isinstance(outcome, Rejected)
    assert outcome.may_retry
    service.close()


# -- a lost response --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["queue", "history"])
def test_run_with_a_lost_response_is_found_in_queue_or_history(comfy, service, where):
    comfy.lose("/prompt")
    if where == "queue":
        comfy.hold()
    request = submission(empty_image())
    assert service.submit(request) == Accepted(request.token)
    assert comfy.requests_to("POST", "/prompt") == 1
    comfy.release()
    assert settle(service, request.token).status is Status.SUCCESS


def test_a_run_with_a_lost_response_that_is_absent_is_unknown(comfy, service, monkeypatch):
    monkeypatch.setattr("comflowy_nb.services.comfyui.service.LOOKUP_PAUSES_S", (0.0, 0.01))
    comfy.lose("/prompt")
    monkeypatch.setattr(comfy.queue, "put", lambda body, outputs: (0, body["prompt_id"]))  # the server never queued it
    outcome = service.submit(submission(empty_image()))
    assert isinstance(outcome, Unknown)
    assert "did not respond" in outcome.reason


def test_a_run_that_the_server_queues_late_is_found(comfy, service, monkeypatch):
    """The first lookup may happen while the server still processes the request whose response was lost."""
    monkeypatch.setattr("comflowy_nb.services.comfyui.service.LOOKUP_PAUSES_S", (0.0, 0.01, 0.01))
    comfy.lose("/prompt")
    comfy.hold()
    real_put, real_listed, delayed = comfy.queue.put, comfy.queue.listed, []

    def put_later(body, outputs):
        delayed.append((body, outputs))
        return 0, body["prompt_id"]

    def listed_then_put():
        queue = real_listed()
        if delayed:  # just after the first lookup
            real_put(*delayed.pop())
        return queue

    monkeypatch.setattr(comfy.queue, "put", put_later)
    monkeypatch.setattr(comfy.queue, "listed", listed_then_put)
    request = submission(empty_image())
    assert service.submit(request) == Accepted(request.token)
    comfy.release()


def test_events_before_the_response_to_the_submit_are_kept(comfy, service, listener):
    comfy.answer_after_end()
    request = submission(small(2))
    assert service.submit(request) == Accepted(request.token)
    listener.wait_end(request.token)
    assert service.check(request.token).status is Status.SUCCESS


# -- the socket -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "message",
    [
        "status",
        "execution_start",
        "execution_cached",
        "progress_state",
        "executing",
        "progress",
        "executed",
        "execution_success",
        "END",
    ],
)
def test_socket_closed_at_any_message_does_not_affect_the_run(comfy, service, listener, message):
    service._socket.wait_open(60)
    settings.retry_base_s = 0.01
    comfy.drop_at(message)
    request = submission(small(2))
    assert isinstance(service.submit(request), Accepted)
    snapshot = settle(service, request.token)
    assert (snapshot.status, len(snapshot.outputs)) == (Status.SUCCESS, 1)
    again = submission(small(2, seed=99))
    wait_until(lambda: comfy.sockets_opened >= 2 and service._socket.is_open)
    service.submit(again)
    listener.wait_end(again.token)  # its events arrive again


def test_the_old_socket_is_closed_before_another_is_opened(comfy, service, listener):
    service._socket.wait_open(60)
    settings.retry_base_s = 0.01
    comfy.cut_sockets()
    wait_until(lambda: comfy.sockets_opened >= 2 and service._socket.is_open)
    assert len(comfy.every_socket) == 1
    request = submission(empty_image())
    service.submit(request)
    listener.wait_end(request.token)


def test_socket_without_events_is_replaced_with_another_client_id(comfy, service, listener, monkeypatch):
    """A server that closes a dead socket forgets its client id, and sends no events to a new socket of that id."""
    monkeypatch.setattr("comflowy_nb.services.comfyui.service.SOCKET_TIMEOUT_S", 0.05)
    settings.retry_base_s = 0.01
    service._socket.wait_open(60)
    before = service._socket.client_id
    comfy.silent = True
    request = submission(empty_image(1))
    service.submit(request)
    assert settle(service, request.token).status is Status.SUCCESS  # found by polling
    comfy.silent = False
    time.sleep(0.06)  # longer than SOCKET_TIMEOUT_S above
    again = submission(empty_image(2))
    service.submit(again)
    listener.wait_end(again.token)
    assert service._socket.client_id != before
    assert comfy.sockets_opened == 2


def test_a_slow_check_does_not_block_the_socket(comfy, service, listener, monkeypatch):
    monkeypatch.setattr("comflowy_nb.services.comfyui.service.SOCKET_TIMEOUT_S", 0.0)
    for color in range(5):
        request = submission(empty_image(color))
        service.submit(request)
        settle(service, request.token)
        listener.wait_end(request.token)
    assert comfy.sockets_opened == 1


def test_invalid_messages_have_no_effect(comfy, service, listener):
    service._socket.wait_open(60)
    for odd in ("no json", "[]", '{"type":"new_thing","data":{"prompt_id":1}}', '{"type":"executing","data":null}'):
        comfy._post(service._socket.client_id, odd)
    for frame in (b"", b"\0\0\0\x63", b"\0\0\0\4\0\0\xff\xff{}", b"\0\0\0\x63\0\0\0\1abc", b"\0\0\0\1\0\0\0\1jpg"):
        comfy._post(service._socket.client_id, frame)
    request = submission(empty_image())
    service.submit(request)
    listener.wait_end(request.token)


def test_without_a_socket_polling_finds_the_result(comfy, service, listener):
    comfy.fail("/ws", 500, times=1000)
    settings.retry_base_s = 0.5
    service._socket.renew()
    comfy.cut_sockets()
    request = submission(small(2))
    assert service.submit(request) == Accepted(request.token)
    assert settle(service, request.token).status is Status.SUCCESS


# -- cancel -----------------------------------------------------------------------------------------------------


def test_a_pending_run_is_removed_from_the_queue(comfy, service, listener):
    comfy.pause_at("3", 1)
    with BareClient(comfy.url) as other:
        _, other_id = other.submit(small(5))
        assert comfy.paused.wait(30)
        request = submission(empty_image())
        service.submit(request)
        assert service.cancel(request.token)
        assert service.check(request.token).status is Status.CANCELLED
        assert comfy.requests_to("POST", "/interrupt") == 0
        comfy.resume()
        other.until_end(other_id)
        assert other.history(other_id)[other_id]["status"]["status_str"] == "success"


def test_a_running_run_is_interrupted_by_its_id(comfy, service, listener, monkeypatch):
    monkeypatch.setattr("comflowy_nb.services.comfyui.service.SETTLE_S", 30.0)
    comfy.pause_at("3", 2)
    request = submission(small(50))
    service.submit(request)
    assert comfy.paused.wait(30)
    assert service.cancel(request.token)
    assert service.check(request.token).status is Status.CANCELLED
    assert all(body == {"prompt_id": request.token} for path, body in comfy.bodies if path == "/interrupt")


def test_a_run_of_another_client_is_never_cancelled(comfy, service, listener):
    comfy.pause_at("3", 1)
    with BareClient(comfy.url) as other:
        _, other_id = other.submit(small(3))
        assert comfy.paused.wait(30)
        assert service.cancel(str(uuid.uuid4()))
        assert comfy.requests_to("POST", "/interrupt") == 0
        comfy.resume()
        other.until_end(other_id)
        assert other.history(other_id)[other_id]["status"]["completed"] is True


def test_lost_interrupt_is_repeated(comfy, service, listener, monkeypatch):
    """The server clears the flag at the start of each run, so an interrupt at that time is lost."""
    monkeypatch.setattr("comflowy_nb.services.comfyui.service.SETTLE_S", 30.0)
    lost = iter([True, True])
    interrupt = comfy.queue.interrupt
    monkeypatch.setattr(comfy.queue, "interrupt", lambda run_id: None if next(lost, None) else interrupt(run_id))
    comfy.pause_at("3", 1)
    request = submission(small(50))
    service.submit(request)
    assert comfy.paused.wait(30)
    assert service.cancel(request.token)
    assert comfy.requests_to("POST", "/interrupt") >= 3


def test_cancel_of_a_run_whose_node_does_not_stop_returns_false(comfy, service, listener, monkeypatch):
    monkeypatch.setattr("comflowy_nb.services.comfyui.service.SETTLE_S", 0.1)
    monkeypatch.setattr(comfy.queue, "interrupt", lambda run_id: None)
    comfy.pause_at("3", 1)
    request = submission(small(2))
    service.submit(request)
    assert comfy.paused.wait(30)
    assert not service.cancel(request.token)
    comfy.resume()
    assert settle(service, request.token).status is Status.SUCCESS
    assert not service.cancel(request.token)  # it has ended


# -- uploads --------------------------------------------------------------------------------------------------


def test_an_upload_gets_the_name_that_the_server_chose(comfy, service):
    assert service.upload("u.png", b"one") == "u.png"
    assert service.upload("u.png", b"one") == "u.png"
    assert service.upload("u.png", b"two") == "u (1).png"


# -- workflows --------------------------------------------------------------------------------------------------


def test_fields_have_types_ranges_and_files_of_the_server(comfy, service):
    graph = small() | {
        "20": {
            "class_type": "LoraLoader",
            "inputs": {"model": ["4", 0], "clip": ["4", 1], "lora_name": "ink.safetensors", "strength_model": 1},
        }
    }
    fields = service.graph_fields(Graph(graph))
    assert fields["3::seed"].max == 18446744073709551615
    assert (fields["3::cfg"].type, fields["3::cfg"].default) == ("FLOAT", 8.0)
    assert fields["4::ckpt_name"].options == ("v1-5-pruned-emaonly-fp16.safetensors",)
    assert fields["20::lora_name"].options == ("ink.safetensors", "watercolour.safetensors")
    assert fields["20::strength_clip"].default == 1.0  # absent from the graph
    assert "3::model" not in fields
    assert fields["6::text"].node_title == "CLIP Text Encode (Prompt)"


def test_a_node_type_is_cached(comfy, service):
    for _ in range(3):
        service.graph_fields(Graph(small()))
    assert comfy.requests_to("GET", "/object_info") == len({node["class_type"] for node in DEFAULT.values()})


def test_an_unknown_node_type_has_the_fields_of_the_graph(comfy, service):
    graph = Graph({"1": {"class_type": "Mystery/Node", "inputs": {"text": "hello", "steps": 3}}})
    fields = service.graph_fields(graph)
    assert {key: str(field.type) for key, field in fields.items()} == {"1::text": "STRING", "1::steps": "INT"}


def test_the_graph_of_the_last_run_is_returned(comfy, service):
    assert service.last_graph() is None
    with BareClient(comfy.url) as other:
        other.run(empty_image(1))
        other.run(small(2))
    assert service.last_graph().nodes == Graph(json.loads(json.dumps(small(2)))).nodes


# -- behind a proxy ---------------------------------------------------------------------------------------------


def test_base_path_is_a_prefix_of_every_request(tmp_path):
    with ComfyServer(tmp_path / "c", base_path="/comfy") as server:
        service = ComfyUI(f"{server.url}/", identity="home", label="home")
        listener = Listener(service)
        service.check_access()
        request = submission(empty_image())
        service.submit(request)
        listener.wait_end(request.token)
        output = service.check(request.token).outputs[0]
        with service.open_image(output) as stream:
            assert b"".join(stream.chunks())
        service.close()


def test_every_request_has_the_headers_and_no_repr_contains_them(tmp_path):
    with ComfyServer(tmp_path / "c", wants_header=("X-Door", "open-sesame-41")) as server:
        service_without_access = ComfyUI(server.url, identity="home", label="home")
        with pytest.raises(ServiceError) as caught:
            service_without_access.check_access()
        assert "home answers 401: the headers in COMFLOWY_HEADERS" in str(caught.value)
        service = ComfyUI(server.url, identity="home", label="home", headers={"X-Door": Secret("open-sesame-41")})
        listener = Listener(service)
        service.check_access()
        request = submission(empty_image())
        service.submit(request)
        listener.wait_end(request.token)
        with service.open_image(service.check(request.token).outputs[0]) as stream:
            assert b"".join(stream.chunks())
        assert service.upload("u.png", b"one") == "u.png"
        assert "sesame" not in repr(service)
        assert "sesame" not in repr(vars(service))
        service.close()
        service_without_access.close()


def test_https_server_with_a_trusted_certificate_is_used(tmp_path, monkeypatch):
    authority = Authority(tmp_path)
    with ComfyServer(tmp_path / "c", ssl_options=authority.server("127.0.0.1")) as server:
        service_without_access = ComfyUI(server.url, identity="home", label="home")
        settings.retries = 0
        with pytest.raises(ServiceError, match="certificate is not trusted"):
            service_without_access.check_access()
        service_without_access.close()
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(authority.bundle))
        service = ComfyUI(server.url, identity="home", label="home")
        listener = Listener(service)
        service.check_access()
        request = submission(empty_image())
        service.submit(request)
        listener.wait_end(request.token)
        service.close()


def test_server_that_is_not_comfyui_is_an_error(comfy, service):
    settings.retry_base_s = 0.001
    comfy.fail("/system_stats", 200, times=99)
    with pytest.raises(AnswerError):
        service.check_access()


def test_a_large_response_is_read(comfy, service):
    comfy.hold()
    for number in range(3):
        service.submit(submission(small(n6__text="x" * 700_000, seed=number)))
    request = submission(empty_image())
    service.submit(request)
    assert service.check(request.token).ahead == 3
