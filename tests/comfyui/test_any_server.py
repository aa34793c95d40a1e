"""Requirements on any ComfyUI server: the scripted one, and a real one at COMFYUI_URL.

    COMFYUI_URL=http://127.0.0.1:8188 pytest -m comfyui

The graphs need no model, except in one test, which uses the server's first checkpoint. Other clients may use the server
at the same time; files are saved under names that begin with `comflowy_test`.
"""

from __future__ import annotations

import json
import os
import random
import urllib.request
from urllib.parse import urlsplit

import numpy as np
import pytest
from bare_client import BareClient
from PIL import Image
from waiting import wait_until as wait_shortly

from comflowy_nb import connect, params_from
from comflowy_nb.errors import FieldError, RunFailed, RunRejected
from comflowy_nb.services.http.transport import Session
from comflowy_nb.services.targets import is_loopback
from comflowy_nb.settings import settings
from comflowy_nb.tracking.tracker import Tracker

pytestmark = pytest.mark.timeout(900)


def wait_until(condition):
    """Extend the timeouts for a real server on a busy CPU."""
    wait_shortly(condition, timeout_s=300)


@pytest.fixture(params=["scripted", pytest.param("real", marks=pytest.mark.comfyui)])
def server_url(request):
    if request.param == "scripted":
        server = request.getfixturevalue("comfy")
        server.node_s = 0.02
        return server.url
    url = os.environ.get("COMFYUI_URL", "").rstrip("/")
    if not url:
        pytest.skip("COMFYUI_URL names no ComfyUI server")
    if not is_loopback(url):
        pytest.skip("COMFYUI_URL is not on this machine, and no test leaves it")
    return url


@pytest.fixture
def client(server_url):
    settings.retry_base_s = 0.05
    with connect(f"home={server_url}") as connected:
        yield connected


def any_color():
    """Return a colour that no earlier run had, so that the server's cache has no image of it."""
    return random.randrange(1, 2**24)


def rgb(color):
    return [color >> 16 & 255, color >> 8 & 255, color & 255]


def empty(size=64, batch=1):
    return {
        "class_type": "EmptyImage",
        "inputs": {"width": size, "height": size, "batch_size": batch, "color": any_color()},
    }


def saved(node, prefix="comflowy_test"):
    return {"class_type": "SaveImage", "inputs": {"images": [node, 0], "filename_prefix": prefix}}


def blurs(count, size=1000):
    """Return a slow graph with interruptible steps, each of at most a second on a CPU."""
    graph = {"1": empty(size), "99": saved(str(count + 1), "comflowy_test_slow")}
    for number in range(count):
        inputs = {"image": [str(number + 1), 0], "blur_radius": 7, "sigma": 9.0}
        graph[str(number + 2)] = {"class_type": "ImageBlur", "inputs": inputs}
    return graph


@pytest.fixture
def file_of(tmp_path):
    """Return `file_of(graph)`, which writes a graph to a file."""

    def write(graph, name="graph"):
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(graph))
        return str(path)

    return write


def get(url):
    with urllib.request.urlopen(url, timeout=30) as answer:
        return json.load(answer)


def client_runs_in_queue(client, server_url):
    queue = get(f"{server_url}/queue")
    tokens = {run.token for run in client.runs(limit=None)}
    return [item[1] for items in queue.values() for item in items if item[1] in tokens]


def test_the_kind_of_server_is_detected(server_url):
    with connect(server_url) as client:
        assert client.service.kind == "comfyui"


def test_a_run_has_an_image_with_graph_and_params(client, file_of):
    color = any_color()
    run = client.run(file_of({"1": empty(), "2": saved("1")}), {"1::color": color}, timeout=300)
    assert run.status == "success"
    image = run.images[0].pil()
    assert image.size == (64, 64)
    assert list(image.convert("RGB").getpixel((5, 5))) == rgb(color)
    assert json.loads(image.text["prompt"])["1"]["inputs"]["color"] == color
    assert json.loads(image.text["comflowy"])["params"] == {"1::color": color}
    assert dict(params_from(run.images[0].path)) == {"1::color": color}


def test_an_identical_request_is_not_submitted_and_a_different_one_is(client, file_of):
    path, color = file_of({"1": empty(), "2": saved("1")}), any_color()
    first = client.run(path, {"1::color": color}, timeout=300)
    again = client.submit(path, {"1::color": color})
    assert (again.outcome, again.run.number) == ("same", first.number)
    fresh = client.run(path, {"1::color": color}, fresh=True, timeout=300)
    assert fresh.number != first.number
    assert fresh.images[0].bytes  # of a cached run, which may have the same file


def test_progress_has_titles_nodes_and_end(server_url, file_of, monkeypatch):
    events, real_handle_event = [], Tracker.handle_event
    monkeypatch.setattr(
        Tracker, "handle_event", lambda self, event: events.append(event) or real_handle_event(self, event)
    )
    graph = {"1": empty() | {"_meta": {"title": "Plain colour"}}, "2": saved("1")}
    with connect(f"home={server_url}") as client:
        run = client.run(file_of(graph), {}, timeout=300)
        assert run.status == "success"

        def progresses():
            return [event.progress for event in events if event.token == run.token and event.progress is not None]

        # a check may find the end before the socket reports it
        wait_until(lambda: any(progress.nodes_done == progress.nodes_total == 2 for progress in progresses()))
    assert {progress.title for progress in progresses()} & {"Plain colour", "SaveImage"}


def test_twelve_runs_take_twelve_submits_and_twelve_images(client, file_of, monkeypatch):
    requests, fetch = [], Session.fetch

    def record_request(session, method, url, *args, **options):
        requests.append((method, urlsplit(url).path.rpartition("/")[2]))
        return fetch(session, method, url, *args, **options)

    monkeypatch.setattr(Session, "fetch", record_request)
    base = any_color() % (2**24 - 20)
    path = file_of({"1": empty(), "2": saved("1")})
    sweep = client.sweep(path, {"1::color": [base + number for number in range(12)]}, timeout=300)
    assert [str(cell.status) for cell in sweep.cells] == ["success"] * 12
    assert requests.count(("POST", "prompt")) == 12
    assert requests.count(("GET", "view")) == 12
    pixels = [cell.images[0].array()[0, 0].tolist() for cell in sweep.cells]
    assert pixels == [rgb(base + number) for number in range(12)]


def test_outputs_of_all_nodes_in_output_and_temp_folders_are_downloaded(client, file_of):
    graph = {
        "1": empty(32, batch=4),
        "2": saved("1", "comflowy_test/batch/a"),
        "3": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}},
    }
    run = client.run(file_of(graph), timeout=300)
    assert [image.node for image in run.images] == ["2"] * 4 + ["3"] * 4
    assert all(image.pil().size == (32, 32) for image in run.images)


def test_images_that_are_sent_only_through_the_socket_are_stored(client, file_of, server_url):
    sender = "SaveImageWebsocket"
    if not get(f"{server_url}/object_info/{sender}"):
        pytest.skip(f"the server has no {sender}")
    two_images, one_image = empty(32, batch=2), empty(48)
    graph = {
        "1": two_images,
        "2": {"class_type": sender, "inputs": {"images": ["1", 0]}},
        "3": one_image,
        "4": saved("3"),
    }
    run = client.run(file_of(graph), timeout=300)
    assert [(image.node, image.pil().size) for image in run.images] == [("2", (32, 32))] * 2 + [("4", (48, 48))]
    assert run.images[1].array()[0, 0].tolist()[:3] == rgb(two_images["inputs"]["color"])


def test_fields_have_types_ranges_and_choices(client, server_url):
    fields = client.workflow("default").fields
    assert fields["3::seed"].max == 2**64 - 1
    assert "euler" in fields["3::sampler_name"].options
    assert str(fields["6::text"].type) == "STRING"
    with pytest.raises(FieldError) as caught:
        client.run("default", {"sampler_name": "eular", "cfg": 1000})
    assert len(caught.value.problems) == 2


def test_a_rejection_names_the_servers_reason(client, file_of):
    graph = {"1": {"class_type": "LoadImage", "inputs": {"image": "comflowy_test_no_such_file.png"}}, "2": saved("1")}
    with pytest.raises(RunRejected) as caught:
        client.run(file_of(graph), timeout=300)
    assert "node 1 (LoadImage)" in str(caught.value)
    assert "comflowy_test_no_such_file.png" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ({"class_type": "NoSuchNode", "inputs": {}}, "NoSuchNode"),
        ({"class_type": "EmptyImage", "inputs": {"width": 0, "height": 8, "batch_size": 1, "color": 0}}, "width: 0"),
        ({"class_type": "EmptyImage", "inputs": {"height": 8, "batch_size": 1, "color": 0}}, "width: it needs a value"),
        ({"class_type": "ImageInvert", "inputs": {"image": ["77", 0]}}, "does not exist"),
    ],
)
def test_each_kind_of_rejection_has_a_message(client, file_of, node, words):
    with pytest.raises((RunRejected, FieldError)) as caught:
        client.run(file_of({"1": node, "2": saved("1")}), timeout=300)
    assert words in str(caught.value)


def test_a_graph_without_an_output_or_with_a_cycle_is_rejected(client, file_of):
    with pytest.raises(RunRejected, match="saves or shows"):
        client.run(file_of({"1": empty()}), timeout=300)
    circle = {
        "1": {"class_type": "ImageInvert", "inputs": {"image": ["2", 0]}},
        "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
        "3": saved("2"),
    }
    with pytest.raises(RunRejected, match="cycle"):
        client.run(file_of(circle), timeout=300)


def test_outputs_that_will_not_run_cause_a_warning_and_others_run(client, file_of):
    graph = {
        "1": empty(),
        "2": saved("1"),
        "3": {"class_type": "LoadImage", "inputs": {"image": "comflowy_test_no_such_file.png"}},
        "4": {"class_type": "PreviewImage", "inputs": {"images": ["3", 0]}},
    }
    run = client.run(file_of(graph), timeout=300)
    assert run.status == "success"
    assert len(run.images) == 1
    assert "some outputs will not run: node 3 (LoadImage)" in run.record.warning


def test_a_failing_node_is_named(client, file_of):
    name = client.service.upload("comflowy_test_broken.png", b"not an image")
    graph = {"1": {"class_type": "LoadImage", "inputs": {"image": name}}, "2": saved("1")}
    with pytest.raises((RunFailed, RunRejected), match=r"node 1 \(LoadImage\)"):
        client.run(file_of(graph), timeout=300)


def test_an_input_image_is_uploaded_once_by_content(client, file_of, tmp_path):
    graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "example.png"}},
        "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
        "3": saved("2"),
    }
    path, shade = file_of(graph), random.randrange(256)
    pixels = np.full((16, 16, 3), [shade, 10, 20], np.uint8)
    Image.fromarray(pixels).save(tmp_path / "comflowy_test_in.png")
    for image in (f"file:{tmp_path / 'comflowy_test_in.png'}", Image.fromarray(pixels), pixels):
        run = client.run(path, {"1::image": image}, timeout=300)
        assert is_near(run.images[0].array()[3, 3, :3], [255 - shade, 245, 235])
    chain = client.run(path, {"1::image": f"run:{run.ref}[0]"}, timeout=300)
    assert is_near(chain.images[0].array()[3, 3, :3], [shade, 10, 20])


def is_near(pixel, wanted):
    """Return whether colours are equal up to rounding: ComfyUI computes in 32 bits and truncates."""
    return np.abs(pixel.astype(int) - wanted).max() <= 2


def test_the_graph_of_the_last_run_is_a_workflow(client, server_url):
    color = any_color()
    with BareClient(server_url) as other:
        other.run({"1": {**empty(40), "inputs": {**empty(40)["inputs"], "color": color}}, "2": saved("1")})
    workflow = client.workflow("server:last")
    assert workflow.fields["1::color"].default == color
    run = client.run(workflow, {"1::width": 24}, timeout=300)
    assert run.images[0].pil().size == (24, 40)


def await_running(run):
    wait_until(lambda: run.status == "running" or run.record.is_settled)
    if run.record.is_settled:
        pytest.skip("the server was too quick to be cancelled")


def test_a_running_run_is_cancelled(client, server_url, file_of):
    run = client.submit(file_of(blurs(60)), {}).run
    await_running(run)
    client.cancel(run)
    run.wait(300)
    assert run.status == "cancelled"
    assert client_runs_in_queue(client, server_url) == []


def test_a_waiting_run_is_cancelled_and_the_running_one_continues(client, server_url, file_of):
    with BareClient(server_url) as other:
        _, other_id = other.submit(blurs(8))
        run = client.submit(file_of({"1": empty(), "2": saved("1")}), {}).run
        wait_until(lambda: run.record.service_run_id is not None)
        client.cancel(run)
        run.wait(300)
        assert run.status in {"cancelled", "success"}  # the other run may have ended before
        other.until_end(other_id)
        assert other.history(other_id)[other_id]["status"]["completed"] is True


def test_an_interrupt_by_another_client_is_not_a_failure(client, server_url, file_of):
    run = client.submit(file_of(blurs(60)), {}).run
    await_running(run)
    request = urllib.request.Request(
        f"{server_url}/interrupt",
        data=json.dumps({"prompt_id": run.token}).encode(),
        headers={"Content-Type": "application/json"},
    )
    urllib.request.urlopen(request, timeout=30).close()
    run.wait(300)
    assert run.status == "cancelled"


def test_cancelled_sweep_leaves_none_of_this_clients_runs_in_the_queue(client, server_url, file_of):
    base = any_color() % (2**24 - 20)
    sweep = client.sweep(file_of(blurs(30)), {"1::color": [base + number for number in range(6)]}, wait=False)
    wait_until(
        lambda: sweep.is_settled or any(cell.run is not None and cell.run.status == "running" for cell in sweep.cells)
    )
    sweep.cancel()
    sweep.wait(300)
    assert client_runs_in_queue(client, server_url) == []


def test_broken_socket_does_not_affect_the_run(client, file_of):
    run = client.submit(file_of(blurs(4)), {}).run
    wait_until(lambda: run.record.service_run_id is not None)
    client.service._socket.renew()
    run.wait(300)
    assert (run.status, len(run.images)) == ("success", 1)
    assert client.run(file_of({"1": empty(), "2": saved("1")}), timeout=300).status == "success"


def test_run_without_a_client_id_is_not_tracked(client, server_url, file_of):
    body = json.dumps({"prompt": blurs(2)}).encode()
    request = urllib.request.Request(f"{server_url}/prompt", data=body, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        other_id = json.load(answer)["prompt_id"]
    run = client.run(file_of({"1": empty(), "2": saved("1")}), timeout=300)
    assert (run.status, len(run.images)) == ("success", 1)
    wait_until(lambda: get(f"{server_url}/history/{other_id}"))


def test_a_run_of_a_dead_kernel_is_adopted_by_the_next(server_url, file_of):
    first = connect(f"home={server_url}")
    run = first.submit(file_of(blurs(6)), {}).run
    wait_until(lambda: run.record.service_run_id is not None)
    first.close()
    with connect(f"home={server_url}") as client:
        wait_until(lambda: client.runs()[0].record.is_settled)
        assert (client.runs()[0].status, len(client.runs()[0].images)) == ("success", 1)


def test_an_absent_run_is_not_found_and_its_cancel_has_no_effect(client):
    from comflowy_nb.errors import NotFoundError

    token = "00000000-0000-4000-8000-000000000000"
    with pytest.raises(NotFoundError):
        client.service.check(token)
    assert client.service.cancel(token)


def test_default_graph_runs_on_the_first_checkpoint(client):
    choices = client.workflow("default").fields["4::ckpt_name"].options
    if not choices:
        pytest.skip("the server has no checkpoint")
    params = {"4::ckpt_name": choices[0], "3::steps": 3, "3::seed": any_color(), "5::width": 64, "5::height": 64}
    run = client.submit("default", params).run
    steps = []
    run.listen(lambda changed: steps.append(changed.progress))
    run.wait(600)
    assert run.status == "success"
    assert run.images[0].pil().size == (64, 64)
    assert {progress.title for progress in steps if progress is not None} >= {"KSampler"}
    assert any(progress is not None and progress.max == 3 for progress in steps)
