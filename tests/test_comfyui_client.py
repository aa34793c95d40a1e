"""The client on a ComfyUI server: runs, sweeps, the number of requests, and failures of either side."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from bare_client import BareClient, empty_image
from comfyui_nodes import RECORDED
from comfyui_server import ComfyServer
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from waiting import wait_until

from comflowy_nb import connect, params_from
from comflowy_nb.errors import (
    AuthError,
    FieldError,
    RunCancelled,
    RunFailed,
    RunHeld,
    RunRejected,
    ServiceError,
    SettingsError,
    UnreachableError,
    WorkflowError,
)
from comflowy_nb.services.comfyui.multi_server import ComfyUICluster
from comflowy_nb.settings import settings
from comflowy_nb.status import Status

SMALL = {"5::width": 64, "5::height": 64, "3::steps": 2}


@pytest.fixture(autouse=True)
def short_delays():
    settings.retry_base_s = 0.02
    settings.retry_max_s = 0.1
    settings.lost_gap_s = 0.02


@pytest.fixture
def client(comfy):
    with connect(f"home={comfy.url}") as connected:
        yield connected


@pytest.fixture
def flat(tmp_path):
    """Return the path of a graph that makes an image of one colour, and needs no model."""
    path = tmp_path / "flat.json"
    path.write_text(json.dumps(empty_image()))
    return str(path)


# -- connecting -------------------------------------------------------------------------------------------------


def test_a_comfyui_server_is_found_by_its_address_and_needs_no_key(comfy):
    with connect(comfy.url) as client:
        assert (client.service.kind, client.label, client.identity) == ("comfyui", "comfyui", comfy.url)
        assert not client.service.costs_money


def test_the_target_comfyui_is_the_usual_address(tmp_path, monkeypatch):
    with ComfyServer(tmp_path / "c") as server:
        monkeypatch.setattr("comflowy_nb.services.targets.COMFYUI_URL", server.url)
        with connect("comfyui") as client:
            assert client.label == "comfyui"
        with connect("home=comfyui") as client:
            assert client.identity == "home"


def test_server_behind_a_path_and_a_header_is_used(tmp_path, monkeypatch, flat):
    with ComfyServer(tmp_path / "c", base_path="/art/comfy", wants_header=("X-Door", "sesame-41")) as server:
        with pytest.raises(ServiceError):
            connect(f"home={server.url}", key="k")
        origin = server.url.removesuffix("/art/comfy")
        monkeypatch.setenv("COMFLOWY_HEADERS", json.dumps({origin: {"X-Door": "sesame-41"}}))
        with connect(f"home={server.url}") as client:
            assert client.run(flat, {"1::color": 255}).status == "success"
            assert "sesame" not in repr(vars(client.service))
        monkeypatch.delenv("COMFLOWY_HEADERS")
        settings.headers = {origin: {"X-Door": "sesame-41"}}
        assert "sesame" not in repr(settings)
        with connect(f"home={server.url}") as client:
            assert client.run(flat, {"1::color": 255}).number == 1  # the same run as before


@pytest.mark.parametrize("path", ["", "/art"])
@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("headers", [{}, {"X-Door": "wrong"}])
def test_a_proxy_that_refuses_names_the_headers(tmp_path, monkeypatch, path, status, headers):
    """The error was `no Comflowy service; is the address right?`: a proxy's response counted as another service."""
    door = ("X-Door", "sesame-41")
    with ComfyServer(tmp_path / "c", base_path=path, wants_header=door, refuses=status) as server:
        if headers:
            monkeypatch.setenv("COMFLOWY_HEADERS", json.dumps({server.url.removesuffix(path): headers}))
        for target in (server.url, f"home={server.url}", f"home={server.url},{server.url}/x"):
            with pytest.raises(AuthError) as caught:
                connect(target)
            assert f"answers {status}: the headers in COMFLOWY_HEADERS for its origin" in str(caught.value)
            assert "127.0.0.1" not in str(caught.value)


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("route", ["/prompt", "/object_info", "/upload/image"])
def test_a_proxy_that_refuses_a_submit_names_the_headers(client, comfy, invert, route, status):
    comfy.fail(route, status, times=1000)
    with pytest.raises((AuthError, RunRejected), match=f"answers {status}: the headers"):
        client.run(invert, {"1::image": np.zeros((8, 8, 3), np.uint8)})


@pytest.mark.parametrize("status", [401, 403])
@pytest.mark.parametrize("route", ["/queue", "/history"])
def test_a_proxy_that_refuses_a_check_names_the_headers(client, comfy, flat, route, status):
    comfy.fail(route, status, times=1000)
    if route == "/queue":
        comfy.hold()  # otherwise the socket reports the end, and the queue is not read
    run = client.submit(flat, {}).run
    wait_until(lambda: f"answers {status}: the headers" in (run.warning or ""))


def test_a_proxy_that_refuses_an_image_names_the_headers(client, comfy, flat):
    comfy.fail("/view", 403, times=1000)
    assert "answers 403: the headers" in client.run(flat).images[0].record.error


@pytest.mark.parametrize("value", ["X: y", {"a": 1}, {"a": {"b": "c"}}, {"https://a.example": {"X Y": "secret"}}])
def test_invalid_headers_are_an_error_that_does_not_quote_them(value):
    with pytest.raises(SettingsError, match="https://host") as caught:
        settings.headers = value
    assert "secret" not in str(caught.value)


def test_headers_never_go_over_plain_http_to_another_machine():
    settings.headers = {"http://192.0.2.7:8188": {"X-Door": "sesame"}}
    with pytest.raises(SettingsError, match="plain http"):
        connect("http://192.0.2.7:8188")


def test_an_unreachable_machine_is_an_error_that_names_it():
    with pytest.raises(UnreachableError, match="plain http is only for ComfyUI servers"):
        connect("http://192.0.2.7:8188")


# -- runs -------------------------------------------------------------------------------------------------------


def test_a_run_has_images_and_the_images_have_params(client, comfy):
    run = client.run("default", {**SMALL, "6::text": "a bottle at sea", "3::seed": 2**63 + 5})
    assert run.status == "success"
    assert run.images[0].array().shape == (64, 64, 3)
    assert run.images[0].node == "9"
    image = run.images[0].pil()
    assert json.loads(image.text["prompt"])["6"]["inputs"]["text"] == "a bottle at sea"
    metadata = json.loads(image.text["comflowy"])
    assert (metadata["workflow"], metadata["params"]["3::seed"]) == ("default", 2**63 + 5)


def test_a_run_whose_file_name_is_not_utf_8_ends(client, flat):
    """The run stayed `waiting` for ever: half of a surrogate pair in the name of its file can't be part of a URL."""
    graph = json.loads(Path(flat).read_text())
    node = next(node for node, entry in graph.items() if entry["class_type"] == "SaveImage")
    run = client.run(flat, {f"{node}::filename_prefix": "caf\udce9"}, timeout=30)
    assert run.status is Status.SUCCESS
    assert [image.record.state for image in run.images] == ["missing"]


def test_a_graph_whose_file_name_is_not_utf_8_can_be_run_again(client, flat):
    """The second run and each sweep ended in a UnicodeEncodeError of the history."""
    path = Path(os.fsdecode(os.fsencode(Path(flat).parent) + b"/caf\xe9.json"))
    path.write_bytes(Path(flat).read_bytes())
    runs = [client.run(str(path)) for _ in range(2)]
    assert {run.number for run in runs} == {1}
    assert client.sweep(str(path), {"1::color": [1, 2]}).status_counts() == {Status.SUCCESS: 2}


def test_an_identical_request_with_other_titles_submits_nothing(client, comfy, tmp_path):
    graph = empty_image(7)
    for name, title in (("a.json", "One"), ("b.json", "Two")):
        (tmp_path / name).write_text(json.dumps({**graph, "1": graph["1"] | {"_meta": {"title": title}}}))
    first = client.submit(str(tmp_path / "a.json"), {"1::width": 32})
    first.run.wait(60)
    again = client.submit(str(tmp_path / "b.json"), {"1::width": 32.0})
    assert (again.outcome, again.run.number) == ("same", first.run.number)
    assert comfy.requests_to("POST", "/prompt") == 1
    assert client.submit(str(tmp_path / "b.json"), {"1::width": 33}).outcome == "new"


def test_fields_are_checked_before_any_submit(client, comfy):
    with pytest.raises(FieldError) as caught:
        client.run("default", {"sampler_name": "eular", "cfg": 1000, "steps": 0})
    assert len(caught.value.problems) == 3
    assert "Did you mean euler" in str(caught.value)
    assert comfy.requests_to("POST", "/prompt") == 0


def test_a_rejection_of_the_server_names_node_and_field(client, tmp_path):
    graph = empty_image() | {"1": {"class_type": "LoadImage", "inputs": {"image": "nowhere.png"}}}
    (tmp_path / "load.json").write_text(json.dumps(graph))
    with pytest.raises(RunRejected, match=r"node 1 \(LoadImage\), image: nowhere.png is not on the server"):
        client.run(str(tmp_path / "load.json"))


def test_a_link_to_a_missing_node_names_both_ends(client, tmp_path):
    """The error was `a link in it leads to no node`, without the names of the input and the target."""
    graph = empty_image()
    graph["2"]["inputs"]["images"] = ["77", 0]
    (tmp_path / "broken.json").write_text(json.dumps(graph))
    message = r"node 2 \(SaveImage\), images: it is linked to node '77', which does not exist"
    with pytest.raises(RunRejected, match=message):
        client.run(str(tmp_path / "broken.json"))


def test_a_link_to_a_missing_node_that_no_output_needs_is_ignored(client, tmp_path):
    graph = empty_image() | {"8": {"class_type": "ImageInvert", "inputs": {"image": ["77", 0]}}}
    (tmp_path / "spare.json").write_text(json.dumps(graph))
    assert client.run(str(tmp_path / "spare.json")).status == "success"


def test_a_node_class_that_the_server_does_not_have_is_named_with_its_node(client, tmp_path):
    """The server's own text was shown: `Cannot execute because node X does not exist`, without the node's id."""
    graph = empty_image()
    graph["7"] = {"class_type": "FancySampler", "inputs": {}, "_meta": {"title": "My sampler"}}
    (tmp_path / "fancy.json").write_text(json.dumps(graph))
    with pytest.raises(RunRejected, match=r"node 7 \(My sampler\): the server has no node class FancySampler"):
        client.run(str(tmp_path / "fancy.json"))


def test_outputs_that_did_not_run_are_warnings_of_the_run(client, comfy, tmp_path):
    graph = empty_image() | {
        "3": {"class_type": "LoadImage", "inputs": {"image": "missing.png"}},
        "4": {"class_type": "PreviewImage", "inputs": {"images": ["3", 0]}},
    }
    (tmp_path / "half.json").write_text(json.dumps(graph))
    run = client.run(str(tmp_path / "half.json"))
    assert run.status == "success"
    assert "some outputs will not run: node 3 (LoadImage)" in run.record.warning
    assert client.library.find(run.ref).run.record.warning == run.record.warning


def test_an_empty_graph_of_the_editor_is_an_error(client, comfy, tmp_path):
    (tmp_path / "ui.json").write_text(json.dumps({"nodes": [], "links": []}))
    with pytest.raises(WorkflowError, match=r"^ui\.json can't run on .*: the workflow has no node that runs$"):
        client.run(str(tmp_path / "ui.json"))
    assert comfy.requests_to("POST", "/prompt") == 0


def test_the_error_for_an_image_without_a_graph_differs_from_that_for_an_empty_graph(client, tmp_path):
    notes = PngInfo()
    notes.add_text("workflow", json.dumps({"nodes": [], "links": []}))
    Image.new("RGB", (4, 4)).save(tmp_path / "ui.png", pnginfo=notes)
    Image.new("RGB", (4, 4)).save(tmp_path / "bare.png")
    with pytest.raises(WorkflowError, match=r"^ui\.png can't run on .*: the workflow has no node that runs$"):
        client.run(str(tmp_path / "ui.png"))
    with pytest.raises(WorkflowError, match=r"bare\.png contains no workflow"):
        client.run(str(tmp_path / "bare.png"))


@pytest.mark.parametrize(
    "prefix",
    [
        "caf\u00e9",
        "\u732b\u304c",
        "\u0441\u043e\u0431\u0430\u043a\u0430",
        "\ud55c\uae00",
        "\U0001f98a & co",
        "\u0645\u0631\u062d\u0628\u0627/50% #1+1",
    ],
)
def test_images_with_names_in_any_script_are_fetched(client, comfy, tmp_path, prefix):
    """The scripted server responded with 500 to names beyond Latin-1."""
    (tmp_path / "named.json").write_text(json.dumps(empty_image(prefix=prefix)))
    run = client.run(str(tmp_path / "named.json"))
    assert run.status == "success"
    assert run.images[0].array().shape == (64, 64, 3)
    (copy,) = run.save(tmp_path / "out")
    again = client.run(str(copy), {"color": 7})
    assert again.images[0].array()[0, 0].tolist() == [0, 0, 7]


def test_server_last_is_the_graph_of_the_servers_last_run(client, comfy):
    with pytest.raises(WorkflowError, match="has run nothing"):
        client.workflow("server:last")
    with BareClient(comfy.url) as other:
        other.run(empty_image(3, size=48))
    run = client.run("server:last", {"color": 9})
    assert run.images[0].array().shape == (48, 48, 3)
    assert run.images[0].array()[0, 0].tolist() == [0, 0, 9]


def test_a_failed_run_names_the_node(client, comfy, tmp_path):
    (comfy.inputs / "broken.png").write_bytes(b"no image")
    graph = empty_image() | {"1": {"class_type": "LoadImage", "inputs": {"image": "broken.png"}}}
    (tmp_path / "load.json").write_text(json.dumps(graph))
    with pytest.raises(RunFailed, match=r"node 1 \(LoadImage\): cannot identify image file"):
        client.run(str(tmp_path / "load.json"))


def test_outputs_of_every_kind_are_on_disk(client, tmp_path):
    graph = {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 16, "height": 16, "batch_size": 2, "color": 255}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "a/b"}},
        "3": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
        "4": {"class_type": "SaveAnimatedWEBP", "inputs": {"images": ["1", 0], "filename_prefix": "moving"}},
        "5": {"class_type": "SaveAudio", "inputs": {"seconds": 0.1}},
        "6": {"class_type": "PreviewAny", "inputs": {"source": "hello <b>"}},
    }
    (tmp_path / "all.json").write_text(json.dumps(graph))
    run = client.run(str(tmp_path / "all.json"))
    assert [image.node for image in run.images] == ["2", "2", "3", "3"]
    assert [file.record.format for file in run.files] == ["ANIMATED WEBP", "WAV", "TXT"]
    assert getattr(Image.open(run.files[0].path), "n_frames", 1) > 1
    assert run.files[1].bytes.startswith(b"RIFF")
    assert run.files[2].bytes == b"hello <b>"
    again = client.find(run.ref).run
    assert (len(again.images), len(again.files)) == (4, 3)
    saved = run.save(tmp_path / "out")
    assert sorted(path.suffix for path in saved) == [".png", ".png", ".png", ".png", ".txt", ".wav", ".webp"]


def test_an_image_that_the_server_lost_is_missing_until_the_server_has_it_again(client, comfy, flat):
    run = client.run(flat, {"1::color": 3})
    path = run.images[0].path
    content = path.read_bytes()
    path.unlink()
    (file,) = (comfy.folder / "output").iterdir()
    file.rename(file.with_suffix(".away"))
    assert client.connection.registry.refresh(run)
    run.wait(60)
    assert run.record.images[0].state == "missing"
    file.with_suffix(".away").rename(file)
    assert client.connection.registry.refresh(run)
    run.wait(60)
    assert run.images[0].bytes == content


@pytest.mark.parametrize("content", [b"<script>alert(1)</script>", b"\x89PNG\r\n\x1a\n cut off", b""])
def test_a_file_that_is_not_an_image_is_missing_and_leaves_no_file(client, comfy, flat, content):
    run = client.run(flat, {"1::color": 4})
    path = run.images[0].path
    good = path.read_bytes()
    path.unlink()
    (file,) = (comfy.folder / "output").iterdir()
    file.write_bytes(content)
    assert client.connection.registry.refresh(run)
    run.wait(60)
    assert (run.status, run.record.images[0].state) == ("success", "missing")
    assert not path.exists()
    wait_until(lambda: not list(path.parent.glob("*.part")))  # a thumbnail may not have its final name yet
    file.write_bytes(good)
    assert client.connection.registry.refresh(run)
    run.wait(60)
    assert run.images[0].bytes == good
    assert comfy.requests_to("POST", "/prompt") == 1


# -- images as inputs -----------------------------------------------------------------------------------------


@pytest.fixture
def invert(tmp_path):
    graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "example.png"}},
        "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "inverted"}},
    }
    path = tmp_path / "invert.json"
    path.write_text(json.dumps(graph))
    return str(path)


def test_input_images_of_every_kind_are_uploaded_once_each(client, comfy, invert, tmp_path, flat):
    Image.new("RGB", (8, 8), (255, 0, 0)).save(tmp_path / "red.png")
    result = client.run(flat, {"1::color": 255, "1::width": 8, "1::height": 8})
    inputs = [
        (f"file:{tmp_path / 'red.png'}", [0, 255, 255]),
        (Image.new("RGB", (8, 8), (0, 255, 0)), [255, 0, 255]),
        (np.zeros((8, 8, 3), np.uint8), [255, 255, 255]),
        (f"run:{result.ref}[0]", [255, 255, 0]),
        (result.images[0], [255, 255, 0]),
        (tmp_path / "red.png", [0, 255, 255]),
    ]
    for image, colour in inputs:
        run = client.run(invert, {"1::image": image})
        assert run.images[0].array()[0, 0].tolist() == colour
    assert comfy.requests_to("POST", "/upload/image") == 4  # one for each content
    assert comfy.requests_to("POST", "/prompt") == 5  # the same image makes the same request


def test_another_image_of_the_same_name_is_another_request(client, comfy, invert, tmp_path):
    for shade in (10, 60):
        Image.new("RGB", (8, 8), (shade, 0, 0)).save(tmp_path / "same.png")
        run = client.run(invert, {"1::image": f"file:{tmp_path / 'same.png'}"})
        assert run.images[0].array()[0, 0].tolist() == [255 - shade, 255, 255]
    assert sorted(path.name for path in comfy.inputs.iterdir()) == ["same (1).png", "same.png"]


# -- number of requests -----------------------------------------------------------------------------------------


def test_12_runs_need_12_submits_and_12_image_requests(client, comfy, flat):
    sweep = client.sweep(flat, {"1::color": list(range(1, 13))})
    assert [cell.status for cell in sweep.cells] == ["success"] * 12
    assert comfy.requests_to("POST", "/prompt") == 12
    assert comfy.requests_to("GET", "/view") == 12
    assert comfy.requests_to("GET", "/history") <= 24
    assert all("number" not in body for path, body in comfy.bodies if path == "/prompt")


def test_all_cells_of_a_sweep_share_one_graph_in_the_history(client, comfy, flat):
    sweep = client.sweep(flat, {"1::color": [1, 2, 3]})
    with client.library.history._store.read() as connection:
        assert connection.execute("SELECT count(*) FROM graphs").fetchone()[0] == 1
    graph = client.library.history.graph(sweep.cells[2].run.token)
    assert graph["1"]["inputs"]["color"] == 0  # the new value is in the params
    sent = [body["prompt"]["1"]["inputs"]["color"] for path, body in comfy.bodies if path == "/prompt"]
    assert sorted(sent) == [1, 2, 3]


def test_only_two_runs_are_in_flight_at_first(client, comfy, flat):
    comfy.hold()
    sweep = client.sweep(flat, {"1::color": list(range(1, 9))}, wait=False)
    wait_until(lambda: comfy.requests_to("POST", "/prompt") == 2)
    time.sleep(0.1)  # time for a third submit to arrive; a slow machine cannot make this fail
    assert comfy.requests_to("POST", "/prompt") == 2
    comfy.release()
    sweep.wait(60)
    assert comfy.requests_to("POST", "/prompt") == 8


def test_a_sweep_never_has_more_than_two_prompts_in_the_queue(client, comfy, flat):
    """Up to 8 prompts were in the queue, before the prompts of other users: the limit grew with the throughput.

    A server that executes one prompt at a time gains nothing by a longer queue.
    """
    comfy.node_s = 0.01
    sweep = client.sweep(flat, {"1::color": list(range(1, 25))}, timeout=60)
    assert sweep.status_counts() == {"success": 24}
    assert comfy.queue.most_pending <= 2


def test_fixed_concurrency_limit_applies_to_comfyui_servers(client, comfy, flat):
    comfy.hold()
    sweep = client.sweep(flat, {"1::color": list(range(1, 11))}, window=6, wait=False)
    wait_until(lambda: len(comfy.queue.pending) == 6)  # a request is counted before its prompt is in the queue
    comfy.release()
    sweep.wait(60)
    assert comfy.requests_to("POST", "/prompt") == 10
    assert comfy.queue.most_pending == 6


def test_previews_reach_the_run_and_are_dropped_at_its_end(client, comfy):
    comfy.previews = True
    comfy.pause_at("3", 2)
    run = client.submit("default", {**SMALL, "3::steps": 3}).run
    # the image of a step arrives before its number
    wait_until(lambda: run.status == "running" and run.progress is not None and run.progress.value == 2)
    assert run.progress.preview is not None
    assert (run.progress.title, run.progress.max) == ("KSampler", 3)
    assert run.progress.nodes_total == 7
    comfy.resume()
    run.wait(60)
    assert run.progress.preview is None


def test_a_run_that_does_not_start_has_a_warning(client, comfy, flat):
    settings.stall_s = 0.1
    comfy.hold()
    run = client.submit(flat, {"1::color": 5}).run
    wait_until(lambda: run.warning is not None)
    assert "has not started it yet; no run is before it" in run.warning
    comfy.release()
    run.wait(60)
    assert run.status == "success"


def test_run_waits_until_the_run_of_another_user_ends(client, comfy, flat):
    comfy.pause_at("3", 1)
    with BareClient(comfy.url) as other:
        graph = json.loads((RECORDED / "default_workflow_api.json").read_text())
        graph["5"]["inputs"] |= {"width": 64, "height": 64}
        other.submit(graph)
        assert comfy.paused.wait(30)
        run = client.submit(flat, {"1::color": 6}).run
        wait_until(lambda: run.progress is not None and run.progress.ahead == 1)
        assert run.status == "pending"
        comfy.resume()
        run.wait(60)
        assert run.status == "success"


# -- failures ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("message", ["status", "execution_start", "executing", "executed", "execution_success", "END"])
def test_a_broken_socket_only_adds_latency(client, comfy, flat, message):
    client.run(flat, {"1::color": 1})
    comfy.drop_at(message)
    run = client.run(flat, {"1::color": 2})
    assert run.status == "success"
    assert comfy.requests_to("POST", "/prompt") == 2


def test_a_silent_socket_only_adds_latency(client, comfy, flat):
    comfy.silent = True
    for color in range(3):
        assert client.run(flat, {"1::color": color}).status == "success"


def test_end_before_the_response_to_the_submit_is_recorded(client, comfy, flat):
    comfy.answer_after_end()
    assert client.run(flat, {"1::color": 4}, timeout=30).status == "success"


def test_run_with_a_lost_response_is_found_and_tracked(client, comfy, flat):
    comfy.lose("/prompt")
    run = client.run(flat, {"1::color": 4})
    assert run.status == "success"
    assert comfy.requests_to("POST", "/prompt") == 1


def test_an_unknown_run_is_held_and_never_submitted_again_automatically(client, comfy, flat, monkeypatch):
    settings.lost_gap_s = 30.0  # it stays unknown for the whole test
    monkeypatch.setattr("comflowy_nb.services.comfyui.service.LOOKUP_PAUSES_S", (0.0, 0.01))
    comfy.lose("/prompt")
    real_put = comfy.queue.put
    monkeypatch.setattr(comfy.queue, "put", lambda body, outputs: (0, body["prompt_id"]))
    with pytest.raises(RunHeld):
        client.run(flat, {"1::color": 4})
    monkeypatch.setattr(comfy.queue, "put", real_put)
    with pytest.raises(RunHeld):
        client.run(flat, {"1::color": 4})
    assert comfy.requests_to("POST", "/prompt") == 1
    assert client.run(flat, {"1::color": 4}, retry="unknown").status == "success"


def test_an_unknown_run_is_found_by_resume_once_the_server_responds(client, comfy, flat, monkeypatch):
    settings.lost_gap_s = 30.0  # it stays unknown for the whole test
    monkeypatch.setattr("comflowy_nb.services.comfyui.service.LOOKUP_PAUSES_S", (0.0,))
    comfy.silent = True
    comfy.lose("/prompt")
    comfy.fail("/queue", 503, times=1)
    run = client.submit(flat, {"1::color": 4}).run
    run.wait(60)
    assert run.status == "unknown"
    client.resume(run.ref)
    wait_until(lambda: run.record.is_settled and run.status != "unknown")
    assert (run.status, len(run.images)) == ("success", 1)
    assert comfy.requests_to("POST", "/prompt") == 1


def test_an_unknown_run_is_tracked_after_an_event(client, comfy, flat, monkeypatch):
    settings.lost_gap_s = 30.0  # it stays unknown for the whole test
    monkeypatch.setattr("comflowy_nb.services.comfyui.service.LOOKUP_PAUSES_S", (0.0,))
    comfy.hold()
    comfy.lose("/prompt")
    comfy.fail("/queue", 503, times=1)
    run = client.submit(flat, {"1::color": 4}).run
    run.wait(60)
    assert run.status == "unknown"
    comfy.release()
    wait_until(lambda: run.record.is_settled and run.status != "unknown")
    assert (run.status, len(run.images)) == ("success", 1)


def test_runs_of_a_restarted_server_are_lost_and_not_submitted_again(client, comfy, flat):
    comfy.hold()
    run = client.submit(flat, {"1::color": 4}).run
    wait_until(lambda: run.status == "pending")
    comfy.restart()
    comfy.release()
    run.wait(60)
    assert run.status == "lost"
    assert comfy.requests_to("POST", "/prompt") == 1
    assert client.run(flat, {"1::color": 5}).status == "success"


def test_failed_reads_are_repeated(client, comfy, flat):
    for path in ("/history", "/queue", "/view"):
        comfy.fail(path, 500)
    assert client.run(flat, {"1::color": 8}).status == "success"


def test_an_image_whose_response_broke_is_fetched_again(client, comfy, flat):
    comfy.lose("/view")
    run = client.run(flat, {"1::color": 9})
    assert run.images[0].record.state == "kept"


KILLED = """
import os, sys
from comflowy_nb import connect
client = connect("home=" + sys.argv[1])
run = client.submit(sys.argv[2], {"1::color": 77}).run
while run.record.service_run_id is None:
    run.wait_change(0.01)
print("sent", flush=True)
os.kill(os.getpid(), 9)
"""


def test_the_run_of_a_killed_process_is_adopted(comfy, flat):
    comfy.hold()
    command = [sys.executable, "-c", KILLED, comfy.url, flat]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "sent\n", done.stderr
    comfy.release()
    with connect(f"home={comfy.url}") as client:
        wait_until(lambda: client.runs()[0].record.is_settled)
        (run,) = client.runs()
        assert (run.status, len(run.images)) == ("success", 1)
    assert comfy.requests_to("POST", "/prompt") == 1


# -- cancelling -------------------------------------------------------------------------------------------------


def test_running_and_waiting_runs_are_cancelled(client, comfy):
    comfy.pause_at("3", 1)
    running = client.submit("default", {**SMALL, "3::steps": 50}).run
    assert comfy.paused.wait(30)
    waiting = client.submit("default", {**SMALL, "3::seed": 2}).run
    wait_until(lambda: waiting.status == "pending")
    for run in (waiting, running):
        client.cancel(run)
        with pytest.raises(RunCancelled):
            raise_for(run.wait(60))
    listing = comfy.queue.listed()
    assert listing == {"queue_running": [], "queue_pending": []}


def raise_for(run):
    from comflowy_nb.tracking.run_errors import error_for_status

    raise error_for_status(run)


def test_cancelled_sweep_removes_only_prompts_of_this_client(client, comfy, flat):
    comfy.pause_at("3", 1)
    with BareClient(comfy.url) as other:
        graph = json.loads((RECORDED / "default_workflow_api.json").read_text())
        _, other_id = other.submit(graph)
        assert comfy.paused.wait(30)
        sweep = client.sweep(flat, {"1::color": list(range(1, 9))}, wait=False)
        wait_until(lambda: comfy.requests_to("POST", "/prompt") == 3)
        sweep.cancel()
        sweep.wait(60)
        listing = comfy.queue.listed()
        assert [item[1] for item in listing["queue_running"]] == [other_id]
        assert listing["queue_pending"] == []
        comfy.resume()
        other.until_end(other_id)
    assert comfy.requests_to("POST", "/interrupt") == 0


def test_an_interrupt_that_the_server_lost_is_repeated(client, comfy, monkeypatch):
    monkeypatch.setattr("comflowy_nb.services.comfyui.service.SETTLE_S", 0.02)
    interrupt, lost = comfy.queue.interrupt, iter(range(3))
    monkeypatch.setattr(
        comfy.queue, "interrupt", lambda run_id: None if next(lost, None) is not None else interrupt(run_id)
    )
    comfy.pause_at("3", 1)
    run = client.submit("default", {**SMALL, "3::steps": 50}).run
    assert comfy.paused.wait(30)
    client.cancel(run)
    run.wait(60)
    assert run.status == "cancelled"


# -- several servers --------------------------------------------------------------------------------------------


@pytest.fixture
def pair(tmp_path):
    with ComfyServer(tmp_path / "one") as first, ComfyServer(tmp_path / "two") as second:
        yield first, second
        assert first.failures == second.failures == []


def test_a_sweep_is_spread_over_the_servers_and_each_run_names_its_server(pair, flat):
    first, second = pair
    first.hold()
    second.hold()
    with connect(f"home={first.url},{second.url}") as client:
        assert isinstance(client.service, ComfyUICluster)
        sweep = client.sweep(flat, {"1::color": list(range(1, 25))}, wait=False)
        wait_until(lambda: first.requests_to("POST", "/prompt") == second.requests_to("POST", "/prompt") == 2)
        first.release()
        second.release()
        sweep.wait(30)
        assert [cell.status for cell in sweep.cells] == ["success"] * 24
        counts = [server.requests_to("POST", "/prompt") for server in pair]
        assert sum(counts) == 24
        services = {cell.run.record.service for cell in sweep.cells}
        assert services == {"home/1", "home/2"}
        assert "127.0.0.1" not in str(services)


def test_success_on_one_server_is_reused_for_all_servers(pair, flat):
    first_server, second = pair
    with connect(f"home={first_server.url},{second.url}") as client:
        first = client.run(flat, {"1::color": 7})
    with connect(f"home={second.url}") as client:
        again = client.submit(flat, {"1::color": 7})
        assert (again.outcome, again.run.number) == ("same", first.number)
    assert first_server.requests_to("POST", "/prompt") + second.requests_to("POST", "/prompt") == 1


def test_each_server_has_a_separate_concurrency_limit(pair, flat):
    for server in pair:
        server.hold()
    first, second = pair
    with connect(f"home={first.url},{second.url}") as client:
        sweep = client.sweep(flat, {"1::color": list(range(1, 13))}, wait=False)
        wait_until(lambda: first.requests_to("POST", "/prompt") + second.requests_to("POST", "/prompt") == 4)
        assert first.requests_to("POST", "/prompt") == second.requests_to("POST", "/prompt") == 2
        first.release()  # the other stays slow: it gets only as many as it executes
        wait_until(lambda: first.requests_to("POST", "/prompt") >= 6)
        assert second.requests_to("POST", "/prompt") <= 6
        assert not second.queue.history
        second.release()
        sweep.wait(30)


def test_each_of_several_servers_has_two_prompts_and_no_more_when_one_dies(pair, flat):
    first, second = pair
    first.node_s = second.node_s = 0.01
    colours = list(range(1, 25))
    with connect(f"home={first.url},{second.url}") as client:
        client.sweep(flat, {"1::color": colours}, timeout=60)
        assert max(server.queue.most_pending for server in pair) <= 2
        second.close()
        client.sweep(flat, {"1::color": [51, 52, 53, 54]}, timeout=60)  # its server turns out to be unreachable
        first.queue.most_pending = 0
        sweep = client.sweep(flat, {"1::color": [colour + 100 for colour in colours]}, timeout=60)
        assert sweep.status_counts() == {"success": 24}
    assert first.queue.most_pending <= 2


def test_a_server_that_is_unreachable_at_connect_gets_no_run(pair, flat):
    first, second = pair
    second.close()
    with connect(f"home={first.url},{second.url}") as client:
        sweep = client.sweep(flat, {"1::color": [1, 2, 3]})
        assert [cell.status for cell in sweep.cells] == ["success"] * 3
        assert client.workflow("default").is_described
    first.close()
    with pytest.raises(UnreachableError):
        connect(f"home={first.url},{second.url}")


def test_a_run_on_any_of_several_servers_is_adopted(pair, flat):
    first, second = pair
    second.hold()
    first.hold()
    with connect(f"home={first.url},{second.url}") as client:
        runs = [client.submit(flat, {"1::color": color}).run for color in (1, 2)]
        wait_until(lambda: all(run.record.service_run_id for run in runs))
    for server in pair:
        server.release()
    with connect(f"home={second.url},{first.url}") as client:
        wait_until(lambda: all(run.record.is_settled for run in client.runs()))
        assert [run.status for run in client.runs()] == ["success"] * 2
    assert first.requests_to("POST", "/prompt") == second.requests_to("POST", "/prompt") == 1


def test_an_input_image_is_uploaded_to_every_server(pair, invert):
    first, second = pair
    with connect(f"home={first.url},{second.url}") as client:
        images = [np.full((8, 8, 3), shade, np.uint8) for shade in (1, 2, 3, 4)]
        runs = [client.submit(invert, {"1::image": image}).run for image in images]
        assert [run.wait(60).status for run in runs] == ["success"] * 4
    assert first.requests_to("POST", "/upload/image") == second.requests_to("POST", "/upload/image") == 4


def test_cancel_is_sent_to_the_server_of_the_run(pair):
    first, second = pair
    first.hold()
    second.hold()
    with connect(f"home={first.url},{second.url}") as client:
        runs = [client.submit("default", {**SMALL, "3::seed": seed}).run for seed in (1, 2)]
        wait_until(lambda: all(run.status == "pending" for run in runs))
        for run in runs:
            client.cancel(run)
        assert [run.wait(60).status for run in runs] == ["cancelled"] * 2
    for server in pair:
        assert server.queue.listed()["queue_pending"] == []


# -- the origin of an image ------------------------------------------------------------------------------------


def test_params_are_read_from_an_image_of_this_client(client, tmp_path):
    run = client.run("default", {"3::cfg": 4.5, **SMALL, "6::text": 'a "bottle" of {ink}, {day|night}'})
    recipe = params_from(run.images[0].path)
    assert dict(recipe) == run.params
    assert recipe.workflow == "default"
    assert recipe.cell.splitlines()[:2] == ["%%comflowy run default", "3::cfg: 4.5"]
    assert dict(params_from(run)) == dict(params_from(run.images[0])) == run.params


def test_params_are_read_from_an_image_of_another_client(comfy, tmp_path):
    with BareClient(comfy.url) as other:
        history, _ = other.run(empty_image(0x112233, prefix="theirs"))
        (tmp_path / "theirs.png").write_bytes(other.image(history))
    recipe = params_from(tmp_path / "theirs.png")
    assert recipe["1::color"] == 0x112233
    assert recipe.cell.startswith(f"%%comflowy run {tmp_path / 'theirs.png'}\n")
    assert recipe.graph is not None
    with connect(f"home={comfy.url}") as client:
        again = client.run(recipe.workflow, recipe)
        assert again.images[0].array()[0, 0].tolist() == [0x11, 0x22, 0x33]


def test_threads_end_with_the_client(comfy, flat):
    before = set(threading.enumerate())
    with connect(f"home={comfy.url}") as client:
        client.run(flat, {"1::color": 1})
    wait_until(lambda: not [thread for thread in set(threading.enumerate()) - before if "comflowy" in thread.name])
    wait_until(lambda: comfy.every_socket == [])
