"""Parse recorded responses of a ComfyUI server, and invalid ones."""

from __future__ import annotations

import json

import pytest
from comfyui_nodes import RECORDED

from comflowy_nb.services.comfyui.responses import read_entry, read_outputs, read_queue, snapshot_of
from comflowy_nb.services.http.responses import SchemaError
from comflowy_nb.status import Status

AT = "http://127.0.0.1:8188/comfy"


def recorded(name):
    body = (RECORDED / name).read_bytes()
    return body, next(iter(json.loads(body)))


def test_queue_is_ordered_by_number_and_not_by_position_in_the_response():
    body = (RECORDED / "queue_running_and_pending.json").read_bytes()
    queue = read_queue(body)
    assert [item[:4] for item in (*queue.running, *queue.pending)] == ["qd-a", "qd-c", "qd-b"]
    assert queue.ahead(queue.pending[1]) == 2
    assert queue.pending[0] in queue
    assert "another" not in queue
    heap = [[9, "c", {}], [-2, "a", {}], [3.5, "b", {}]]
    assert read_queue(json.dumps({"queue_running": [], "queue_pending": heap}).encode()).pending == ("a", "b", "c")


def test_recorded_success_is_read():
    body, prompt_id = recorded("history.json")
    snapshot = snapshot_of(read_entry(body, prompt_id), AT, {})
    assert (snapshot.status, snapshot.service_status, snapshot.warning) == (Status.SUCCESS, "success", None)
    (output,) = snapshot.outputs
    assert (output.node, output.ending) == ("9", None)
    assert output.url == f"{AT}/view?filename=ComfyUI_00001_.png&subfolder=&type=output"


def test_a_recorded_error_and_a_recorded_interrupt_differ():
    body, prompt_id = recorded("history_error.json")
    failed = snapshot_of(read_entry(body, prompt_id), AT, {"1": "My image"})
    assert failed.status is Status.FAILED
    assert str(failed.problem) == "node 1 (My image): cannot identify image file '/comfyui/input/broken.png'"
    body, prompt_id = recorded("history_interrupted.json")
    assert snapshot_of(read_entry(body, prompt_id), AT, {}).status is Status.CANCELLED


def test_an_error_without_a_message_is_a_failure():
    entry = {"status": {"status_str": "error", "completed": False, "messages": []}, "outputs": {}}
    snapshot = snapshot_of(entry, AT, {})
    assert (snapshot.status, str(snapshot.problem)) == (Status.FAILED, "the server gave no reason")


def test_images_come_before_files_and_texts_and_names_are_quoted():
    outputs = {
        "12": {"audio": [{"filename": "a.flac", "subfolder": "audio", "type": "output"}]},
        "3": {"text": ["hello", "", " "], "tags": ["not shown"]},
        "10": {"images": [{"filename": "a b&c.png", "subfolder": "x/y", "type": "temp"}]},
        "9": {"images": [{"filename": "v.mp4", "type": "output"}], "animated": [True]},
        "5:2": {"gifs": [{"filename": "g.gif", "subfolder": "", "type": "output", "format": "image/gif"}]},
        "8": {"images": [{"filename": "m.webp"}], "animated": [False]},
        "7": {"latents": [{"filename": "l.latent"}], "odd": 3, "more": [{"name": "x"}, None, 7]},
        "6": "no outputs",
    }
    outputs_read = list(read_outputs(outputs, AT))
    assert [(output.index, output.node, output.ending, output.text) for output in outputs_read] == [
        (0, "8", None, None),
        (1, "10", None, None),
        (2, "3", "txt", "hello"),
        (3, "5:2", "gif", None),
        (4, "7", "latent", None),
        (5, "9", "mp4", None),
        (6, "12", "flac", None),
    ]
    assert outputs_read[1].url == f"{AT}/view?filename=a+b%26c.png&subfolder=x%2Fy&type=temp"


@pytest.mark.parametrize("name", ["x.../../etc/passwd", "noending", "x.<b>", "x." + "y" * 40])
def test_an_extension_from_the_server_is_never_used_in_a_file_name(name):
    (output,) = read_outputs({"1": {"images": [{"filename": name}]}}, AT)
    assert output.ending == "bin"


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"3", b"{", b'{"queue_running": 1, "queue_pending": []}', b"{}"]
)
def test_invalid_queues_are_errors(body):
    with pytest.raises(SchemaError):
        read_queue(body)


def test_invalid_items_of_a_queue_are_skipped():
    body = json.dumps({"queue_running": [None, [1], ["x", "y"], [2, "a", {}]], "queue_pending": []}).encode()
    assert read_queue(body).running == ("a",)


def test_invalid_history_responses_raise_or_are_skipped():
    assert read_entry(b"{}", "p") is None
    for body in (b"", b"[]", b'{"p": 3}', b'{"p": {"status": null}}', b'{"p": {}}'):
        with pytest.raises(SchemaError):
            read_entry(body, "p")
    for outputs in (None, [], {"9": None}, {"9": {"images": None}}, {"9": {"images": [{}, {"filename": 3}, "x"]}}):
        assert list(read_outputs(outputs, AT)) == []
    odd = {"status": {"status_str": 7, "messages": [3, ["execution_success"]]}, "outputs": None, "prompt": [1]}
    assert snapshot_of(odd, AT, {}).status is Status.SUCCESS


@pytest.mark.slow
def test_a_run_with_thousands_of_outputs_keeps_the_first_thousand_and_warns():
    """Each of 60,000 outputs was downloaded and recorded; the cell never ended."""
    images = [{"filename": f"{number}.png", "type": "output"} for number in range(60_000)]
    entry = {"status": {"status_str": "success", "messages": []}, "outputs": {"9": {"images": images}}}
    snapshot = snapshot_of(entry, AT, {})
    assert snapshot.status is Status.SUCCESS
    assert [output.index for output in snapshot.outputs] == list(range(1000))
    assert "60000 outputs" in snapshot.warning
