"""The scripted server matches the real one: its messages and responses have the recorded shapes."""

from __future__ import annotations

import io
import json
import struct
import uuid

import pytest
import requests
from bare_client import BareClient, empty_image
from comfyui_nodes import RECORDED
from PIL import Image
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

DEFAULT = json.loads((RECORDED / "default_workflow_api.json").read_text())


def small(steps=8, seed=1):
    graph = json.loads(json.dumps(DEFAULT))
    graph["5"]["inputs"] |= {"width": 64, "height": 64}
    graph["3"]["inputs"] |= {"steps": steps, "seed": seed}
    return graph


def recorded(name):
    """Return the messages of a recording, `bytes` for a frame."""
    rows = [json.loads(line) for line in (RECORDED / name).read_text().splitlines()]
    return [row["msg"] if row["dir"] == "recv_text" else bytes(8) for row in rows if row["dir"] != "http"]


def shape(value, key=None):
    """Return the shape of a message: its names and types, without ids and numbers."""
    if isinstance(value, dict):
        ids = value and all(name.isdigit() for name in value)
        if ids:
            return ["by node", sorted({json.dumps(shape(entry)) for entry in value.values()})]
        return {name: shape(entry, name) for name, entry in sorted(value.items())}
    if isinstance(value, list):
        return ["list", sorted({json.dumps(shape(item)) for item in value})] if key != "nodes" else "nodes"
    if isinstance(value, bool) or value is None:
        return value
    return "number" if isinstance(value, (int, float)) else "text"


def shapes(messages):
    return [
        "frame" if isinstance(message, bytes) else [message["type"], shape(message["data"])] for message in messages
    ]


@pytest.fixture
def client(comfy):
    with BareClient(comfy.url) as client:
        yield client


def test_a_success_matches_the_recording(comfy, client):
    comfy.previews = True
    messages, _ = client.run(small(8))
    assert shapes([client.first, *messages]) == shapes(recorded("ws_success.jsonl"))


def test_a_cached_run_matches_the_recording(client):
    first, _ = client.run(small())
    messages, _ = client.run(small())
    assert shapes([client.first, *messages]) == shapes(recorded("ws_cached.jsonl"))
    assert messages[3]["data"]["nodes"] == list(DEFAULT)  # in the order of the graph
    output = next(
        message["data"]["output"] for message in first if isinstance(message, dict) and message["type"] == "executed"
    )
    assert messages[4]["data"]["output"] == output  # no new file


def test_an_error_matches_the_recording(comfy, client):
    (comfy.inputs / "broken.png").write_bytes(b"no image")
    graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "broken.png"}},
        "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
        "9": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "err"}},
    }
    messages, prompt_id = client.run(graph)
    assert shapes([client.first, *messages]) == shapes(recorded("ws_error.jsonl"))
    entry = json.loads((RECORDED / "history_error.json").read_text())
    assert shape(client.history(prompt_id)[prompt_id]) == shape(next(iter(entry.values())))


def test_an_interrupt_matches_the_recording(comfy, client):
    comfy.previews = True
    comfy.pause_at("3", 3)
    _, prompt_id = client.submit(small(400))
    assert comfy.paused.wait(30)
    client.session.post(f"{comfy.url}/interrupt", json={"prompt_id": str(uuid.uuid4())})  # of another client: no effect
    assert comfy.queue.listed()["queue_running"]
    client.session.post(f"{comfy.url}/interrupt", json={"prompt_id": prompt_id})
    messages = client.until_end(prompt_id)
    assert shapes([client.first, *messages]) == shapes(recorded("ws_interrupt.jsonl"))
    entry = json.loads((RECORDED / "history_interrupted.json").read_text())
    history_entry = client.history(prompt_id)[prompt_id]
    assert shape({key: history_entry[key] for key in ("outputs", "status", "meta")}) == shape(
        {key: next(iter(entry.values()))[key] for key in ("outputs", "status", "meta")}
    )


def test_the_history_has_its_recorded_shape_and_is_empty_until_the_end(comfy, client):
    comfy.pause_at("9")
    _, prompt_id = client.submit(small())
    assert comfy.paused.wait(30)
    assert client.history(prompt_id) == {}
    comfy.resume()
    client.until_end(prompt_id)
    entry = next(iter(json.loads((RECORDED / "history.json").read_text()).values()))
    history_entry = client.history(prompt_id)[prompt_id]
    assert shape(history_entry) == shape(entry)
    newest = client.session.get(f"{comfy.url}/history?max_items=1").json()
    assert list(newest) == [prompt_id]
    assert client.session.get(f"{comfy.url}/history?max_items=x").status_code == 500
    comfy.failures.clear()


def test_the_queue_has_its_recorded_shape(comfy, client):
    comfy.pause_at("3", 1)
    client.submit(small(3, seed=1))
    assert comfy.paused.wait(30), "the next prompt with front=True would be executed first"
    client.submit(small(3, seed=2))
    client.submit(empty_image(), front=True)
    queue = client.session.get(f"{comfy.url}/api/queue").json()
    expected = json.loads((RECORDED / "queue_running_and_pending.json").read_text())
    assert {key: [len(item) for item in items] for key, items in queue.items()} == {
        key: [len(item) for item in items] for key, items in expected.items()
    }
    assert min(item[0] for item in queue["queue_pending"]) < 0
    comfy.resume()


def test_an_invalid_prompt_has_its_recorded_shape(client):
    graph = small()
    graph["5"]["inputs"]["width"] = 8
    graph["3"]["inputs"] |= {"cfg": 1000, "steps": 0}
    answer, _ = client.submit(graph)
    assert answer.status_code == 400
    expected = json.loads((RECORDED / "invalid_prompt_400.json").read_text())
    assert answer.json()["error"] == expected["error"]
    errors = answer.json()["node_errors"]
    assert {
        node: {error["details"]: error["message"] for error in node_error["errors"]}
        for node, node_error in errors.items()
    } == {
        node: {error["details"]: error["message"] for error in node_error["errors"]}
        for node, node_error in expected["node_errors"].items()
    }
    assert shape(errors) == shape(expected["node_errors"])


@pytest.mark.parametrize(
    "case", json.loads((RECORDED / "upload_image.json").read_text()), ids=lambda case: case["case"]
)
def test_uploads_match_the_recording(comfy, case):
    if case["case"] in {"same name, same bytes", "same name, other bytes", "overwrite=true"}:
        (comfy.inputs / "u.png").write_bytes(b"image" if "same bytes" in case["case"] else b"another")
    name = case["filename"]
    files = {"image": (name, b"image")} if name else {"foo": ("f", b"bar")}
    answer = requests.post(f"{comfy.url}/upload/image", data=case["fields"], files=files, timeout=60)
    assert answer.status_code == case["status"]
    assert (answer.json() if isinstance(case["body"], dict) else answer.text) == case["body"]


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda graph: graph["4"]["inputs"].update(ckpt_name="nope.safetensors"), "value_not_in_list"),
        (lambda graph: graph["3"]["inputs"].pop("seed"), "required_input_missing"),
        (lambda graph: graph["3"]["inputs"].update(seed="abc"), "invalid_input_type"),
        (lambda graph: graph["9"]["inputs"].update(images=["4", 0]), "return_type_mismatch"),
        (lambda graph: graph["9"]["inputs"].update(images=["8"]), "bad_linked_input"),
        (lambda graph: graph["9"]["inputs"].update(images=["77", 0]), "exception_during_validation"),
        (lambda graph: graph["9"]["inputs"].update(images=[8, 0]), "exception_during_validation"),
    ],
)
def test_each_invalid_input_of_a_node_has_the_recorded_error(client, change, kind):
    graph = small()
    change(graph)
    answer, _ = client.submit(graph)
    assert answer.status_code == 400
    kinds = [error["type"] for node in answer.json()["node_errors"].values() for error in node["errors"]]
    assert kinds == [kind]


@pytest.mark.parametrize(
    ("graph", "kind"),
    [
        ({}, "prompt_no_outputs"),
        ({"1": empty_image()["1"]}, "prompt_no_outputs"),
        ({"1": {"class_type": "Nowhere", "inputs": {}}}, "invalid_prompt"),
        ({"1": {"inputs": {}}}, "invalid_prompt"),
        (
            {
                "1": {"class_type": "ImageInvert", "inputs": {"image": ["2", 0]}},
                "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
                "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "x"}},
            },
            "prompt_outputs_failed_validation",
        ),
    ],
)
def test_each_invalid_graph_has_the_recorded_error(client, graph, kind):
    answer, _ = client.submit(graph)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == kind
    assert answer.json()["node_errors"] == {}


def test_errors_of_routes_are_plain_text(comfy, client):
    for body in (b"no json", json.dumps({"prompt": {"nodes": [], "links": []}}).encode()):
        answer = client.session.post(f"{comfy.url}/prompt", data=body)
        assert (answer.status_code, answer.text) == (500, "500 Internal Server Error\n\nServer got itself in trouble")
        assert answer.headers["Content-Type"].startswith("text/plain")
    assert client.session.post(f"{comfy.url}/prompt", json={}).json()["error"]["type"] == "no_prompt"
    comfy.failures.clear()


def test_valid_outputs_run_and_the_invalid_ones_are_named(client):
    graph = {
        **empty_image(),
        "3": {"class_type": "LoadImage", "inputs": {"image": "missing.png"}},
        "4": {"class_type": "PreviewImage", "inputs": {"images": ["3", 0]}},
    }
    answer, prompt_id = client.submit(graph)
    assert answer.status_code == 200
    assert answer.json()["node_errors"]["3"]["errors"][0]["type"] == "custom_validation_failed"
    client.until_end(prompt_id)
    entry = client.history(prompt_id)[prompt_id]
    assert entry["status"]["status_str"] == "success"
    assert entry["prompt"][4] == ["2"]


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (None, 200),
        ("null", 200),
        ("http://127.0.0.1", 200),
        ("http://localhost:{port}", 403),
        ("http://127.0.0.1:8888", 403),
        ("http://evil.example", 403),
    ],
)
def test_requests_of_foreign_origins_are_rejected(comfy, origin, status):
    headers = {} if origin is None else {"Origin": origin.format(port=comfy.port)}
    assert requests.get(f"{comfy.url}/queue", headers=headers, timeout=60).status_code == status
    if status == 403:
        with pytest.raises(InvalidStatus, match="403"):
            connect(f"ws://127.0.0.1:{comfy.port}/ws", additional_headers=headers, proxy=None)


def test_previews_have_metadata_with_the_flag(comfy):
    comfy.previews = True
    with BareClient(comfy.url, flag=True) as client:
        assert client.features["data"]["supports_preview_metadata"] is True
        messages, prompt_id = client.run(small(3))
    frames = [message for message in messages if isinstance(message, bytes)]
    kinds = [struct.unpack(">I", frame[:4])[0] for frame in frames]
    assert kinds == [4, 4, 4]
    length = struct.unpack(">I", frames[1][4:8])[0]
    about = json.loads(frames[1][8 : 8 + length])
    assert (about["prompt_id"], about["node_id"], about["image_type"]) == (prompt_id, "3", "image/jpeg")
    assert Image.open(io.BytesIO(frames[1][8 + length :])).format == "JPEG"
    texts = [message["type"] for message in messages if isinstance(message, dict)]
    assert texts.count("progress") == 3


def test_a_run_without_a_client_sends_events_to_all(comfy, client):
    body = {"prompt": small(2), "prompt_id": "foreign"}
    client.session.post(f"{comfy.url}/prompt", json=body)
    comfy.wait_end("foreign")
    messages, _ = client.run(empty_image())
    kinds = {
        message["type"]
        for message in messages
        if isinstance(message, dict) and message["data"].get("prompt_id") == "foreign"
    }
    assert kinds == {"progress_state", "progress"}


def test_a_second_socket_of_the_same_client_id_gets_no_events_after_the_first_closes(comfy):
    first = BareClient(comfy.url)
    second = BareClient(comfy.url, client_id=first.client_id)
    first.close()
    _, prompt_id = second.submit(empty_image())
    comfy.wait_end(prompt_id)
    messages, why = second.until_quiet(timeout=0.2)
    assert why is TimeoutError
    assert {message["type"] for message in messages} <= {"status"}
    second.close()


def test_an_image_has_its_graph_and_all_its_urls(comfy, client):
    graph = empty_image(0xFF8000, prefix="a/b/name")
    messages, _ = client.run(graph, extra_data={"extra_pnginfo": {"mine": {"x": 1}}})
    output = next(
        message["data"]["output"] for message in messages if isinstance(message, dict) and message["type"] == "executed"
    )
    assert output["images"][0]["subfolder"] == "a/b"
    image = Image.open(io.BytesIO(client.image(messages)))
    assert image.getpixel((3, 3)) == (255, 128, 0)
    assert json.loads(image.text["prompt"]) == graph
    assert json.loads(image.text["mine"]) == {"x": 1}
    for query, status in (({"filename": "no.png"}, 404), ({}, 404), ({"filename": "../x"}, 400)):
        assert client.session.get(f"{comfy.url}/view", params=query).status_code == status


def test_delete_and_restart_remove_queue_and_history(comfy, client):
    comfy.hold()
    _, prompt_id = client.submit(empty_image())
    client.session.post(f"{comfy.url}/queue", json={"delete": [prompt_id, "unknown"]})
    assert client.session.get(f"{comfy.url}/queue").json() == {"queue_running": [], "queue_pending": []}
    client.submit(empty_image(5))
    comfy.restart()
    comfy.release()
    messages, why = client.until_quiet()
    assert issubclass(why, ConnectionClosed)
    assert {message["type"] for message in messages} == {"status"}
    assert client.session.get(f"{comfy.url}/history").json() == {}


def test_drop_at_cuts_the_socket_at_the_named_message(comfy, client):
    comfy.drop_at("executed")
    _, prompt_id = client.submit(empty_image())
    messages, why = client.until_quiet()
    assert issubclass(why, ConnectionClosed)
    assert "executing" in [message["type"] for message in messages if isinstance(message, dict)]
    comfy.wait_end(prompt_id)
    assert client.history(prompt_id)


def test_scripted_faults_are_applied_to_responses(comfy, client):
    comfy.lose("/prompt")
    with pytest.raises(requests.ConnectionError):
        client.submit(empty_image(), prompt_id="lost")
    comfy.wait_end("lost")
    comfy.answer_after_end()
    answer, prompt_id = client.submit(empty_image(7))
    assert answer.status_code == 200
    assert client.until_end(prompt_id)
    comfy.fail("/history", 502)
    assert client.session.get(f"{comfy.url}/history/x").status_code == 502
    assert client.session.get(f"{comfy.url}/history/x").status_code == 200


def test_node_types_equal_the_recorded_ones(comfy):
    expected = json.loads((RECORDED / "object_info_core.json").read_text())
    node_types = requests.get(f"{comfy.url}/object_info", timeout=60).json()
    assert node_types["KSampler"] == expected["KSampler"]
    described = requests.get(f"{comfy.url}/api/object_info/KSampler", timeout=60).json()
    assert described == {"KSampler": expected["KSampler"]}
    assert requests.get(f"{comfy.url}/object_info/Nowhere", timeout=60).json() == {}
