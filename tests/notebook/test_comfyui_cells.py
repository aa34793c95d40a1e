"""Cells that use a ComfyUI server."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import signal
import threading
import time

import pytest
from bare_client import BareClient, empty_image
from comfyui_server import ComfyServer
from IPython.utils.capture import capture_output
from ipywidgets import SelectMultiple, Widget
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from waiting import wait_until

from comflowy_nb import params_from
from comflowy_nb.database.connection import Store
from comflowy_nb.errors import FieldError, ImageError, RunFailed, RunRejected, SettingsError, WorkflowError
from comflowy_nb.notebook.display.html import MAX_PREVIEW_BYTES, inline_image
from comflowy_nb.notebook.display.run_status_text import run_line
from comflowy_nb.notebook.display.views import RunView
from comflowy_nb.notebook.form.controls import SelectionControl
from comflowy_nb.notebook.session import Session
from comflowy_nb.services.types import Progress
from comflowy_nb.settings import settings
from comflowy_nb.sweeps.planner import SweepPlanner
from comflowy_nb.tracking.submit import Submitter
from comflowy_nb.workflow.object_info import read_field

SMALL = "5::width=64 5::height=64 3::steps=2"


@pytest.fixture
def working_folder(tmp_path, monkeypatch):
    """Return the folder of the notebook."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def home_server(comfy, cell, handles, working_folder):
    """Connect to a scripted server, in a temporary folder."""
    connected = cell(f"%comflowy connect home={comfy.url}")
    assert connected.error is None, connected.error
    assert connected.last[0]["text/plain"] == "connected to home - workflows: default, server:last"
    return cell


def texts(cell):
    return [data["text/plain"] for data in cell.last]


@contextlib.contextmanager
def released_when(comfy, condition):
    """Let the server continue once the condition holds."""

    def wait():
        try:
            wait_until(condition)
        finally:
            comfy.resume()

    thread = threading.Thread(target=wait)
    thread.start()
    yield
    thread.join()


def test_the_cells_for_other_services_work_on_a_comfyui_server(home_server):
    cell = home_server(f"%comflowy run default {SMALL} cfg=7")
    assert cell.error is None
    assert texts(cell)[0].startswith("r1 default - success in")
    assert "image/jpeg" in cell.last[1]
    again = home_server(f"%comflowy run default {SMALL} cfg=7")
    assert texts(again)[0] == "same as r1, nothing submitted; --fresh runs it again"
    body = home_server("%%comflowy run default\n6::text: a photo of {day|night}, #1\n5::width: 64\n5::height: 64")
    assert body.value.params["6::text"] == "a photo of {day|night}, #1"
    cell_of_runs = home_server("%comflowy runs")
    assert "r2" in texts(cell_of_runs)[0]


def test_a_sweep_on_a_comfyui_server_fills_its_grid(home_server, comfy):
    cell = home_server(f"%comflowy sweep default {SMALL} cfg=4,8 sampler_name=euler,heun --as bottles")
    assert cell.error is None
    assert any("image/jpeg" in data for data in cell.last)
    assert home_server("[str(one.status) for one in bottles.cells]").value == ["success"] * 4
    assert comfy.requests_to("POST", "/prompt") == 4


def test_an_invalid_choice_is_an_error_before_the_submit(home_server, comfy):
    cell = home_server("%comflowy run default sampler_name=eular")
    assert "Did you mean euler" in str(cell.error)
    assert comfy.requests_to("POST", "/prompt") == 0


def test_choices_are_completed_without_a_request(home_server, shell, comfy):
    home_server("%comflowy fields default")
    wait_until(lambda: comfy.sockets_opened)  # opened on a separate thread by the connect
    before = len(comfy.requests)
    _, matches = shell.complete("%comflowy run default ckpt_name=v1")
    assert any("v1-5-pruned-emaonly-fp16.safetensors" in match for match in matches)
    _, matches = shell.complete("%comflowy run ser")
    assert any("server:last" in match for match in matches)
    _, matches = shell.complete("%comflowy connect com")
    assert any("comfyui" in match for match in matches)
    assert len(comfy.requests) == before


def test_the_graph_of_the_last_run_gets_a_name(home_server, comfy):
    missing = home_server("%comflowy workflow add portrait server:last")
    assert isinstance(missing.error, WorkflowError)
    with BareClient(comfy.url) as other:
        other.run(empty_image(0x00FF00))
    named = home_server("%comflowy workflow add portrait server:last")
    assert named.error is None
    run = home_server("%comflowy run portrait 1::width=40")
    assert run.value.images[0].array().shape == (64, 40, 3)
    fields = home_server("%comflowy fields portrait")
    assert "1 to 16384" in texts(fields)[0]


def test_server_last_is_an_error_on_another_service(sandbox):
    cell = sandbox("%comflowy workflow add portrait server:last")
    assert "needs a ComfyUI server" in str(cell.error)


def test_a_comfyui_server_needs_no_key(home_server):
    cell = home_server("%comflowy login")
    assert isinstance(cell.error, SettingsError)
    assert str(cell.error) == "a ComfyUI server needs no key; for the cloud: %comflowy connect cloud"


def test_a_rejected_and_a_failed_run_name_the_node_and_the_reason(home_server, comfy, tmp_path):
    (comfy.inputs / "broken.png").write_bytes(b"no image")
    graph = empty_image() | {"1": {"class_type": "LoadImage", "inputs": {"image": "broken.png"}}}
    (tmp_path / "load.json").write_text(json.dumps(graph))
    failed = home_server("%comflowy run load.json")
    assert isinstance(failed.error, RunFailed)
    assert "node 1 (LoadImage): cannot identify image file" in str(failed.error)
    assert "failed" in texts(failed)[0]
    refused = home_server("%comflowy run load.json 1::image=nowhere.png")
    assert isinstance(refused.error, RunRejected)
    assert "nowhere.png is not on the server. To upload your file: image=file:nowhere.png" in str(refused.error)
    refused = home_server('%comflowy run load.json 1::image="https://example.com/a.png"')
    assert "Download the image, then use image=file:NAME.png" in str(refused.error)  # it was file:https://...


def test_images_of_a_failed_run_are_shown_below_the_reason(home_server, comfy, tmp_path):
    (comfy.inputs / "broken.png").write_bytes(b"no image")
    load = {"class_type": "LoadImage", "inputs": {"image": "broken.png"}, "_meta": {"title": "My photo"}}
    saved = {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "big"}}
    (tmp_path / "chain.json").write_text(json.dumps(empty_image(0x00FF00) | {"3": load, "4": saved}))
    cell = home_server("%comflowy run chain.json")
    assert isinstance(cell.error, RunFailed)
    line = texts(cell)[0]
    assert "r1 chain - failed after" in line
    assert "My photo" in line
    assert line.endswith("the finished outputs are kept")
    assert "image/jpeg" in cell.last[1]
    again = home_server("%comflowy show r1")
    assert texts(again)[0].endswith("the finished outputs are kept")
    assert "image/jpeg" in again.last[1]
    retried = home_server("%comflowy sweep chain.json 1::color=1,2")
    assert any("failed" in data.get("text/plain", "") for data in retried.last)


def test_a_preview_is_shown_during_the_run_and_removed_at_the_end(home_server, comfy, status_lines, fast_updates):
    comfy.previews = True
    comfy.pause_at("3", 4)
    with released_when(comfy, lambda: any(line.preview for line in status_lines)):
        cell = home_server("%comflowy run default 5::width=64 5::height=64 3::steps=5")
    status = next(iter(cell.handles.values()))
    pages = [output["data"]["text/html"] for output in status]
    with_preview = [page for page in pages if "data:image/jpeg;base64," in page]
    assert with_preview
    data = with_preview[-1].split("base64,")[1].split('"')[0]
    assert base64.b64decode(data).startswith(b"\xff\xd8\xff")
    assert "base64" not in pages[-1]
    texts_shown = " ".join(output["data"]["text/plain"] for output in status)
    assert "KSampler" in texts_shown
    assert "of 7 nodes" in texts_shown


def test_previews_update_the_display_at_most_four_times_a_second(shell, folder):
    """Updates are limited for any number of frames, and the end of the run is shown without delay."""
    from comflowy_nb.status import Status

    run = folder.run(status=Status.RUNNING)
    with capture_output() as captured:
        view = RunView(run, in_kernel=True)
        started_s = time.monotonic()
        number = 0
        while time.monotonic() < started_s + 0.6:
            number += 1
            run.report(progress=Progress(node="3", preview=b"\xff\xd8\xff" + bytes([number % 256]) * 100))
            view.draw()
        spent = time.monotonic() - started_s
    displayed = [output["data"] for output in captured._outputs if output.get("update")]
    assert 1 <= len(displayed) <= spent / 0.25
    assert "base64" in displayed[0]["text/html"]
    assert "base64" not in run_line(folder.run()).html


def test_a_waiting_run_shows_its_position_in_the_queue(home_server, comfy, status_lines, fast_updates):
    comfy.pause_at("3", 1)
    with BareClient(comfy.url) as other:
        graph = json.loads(json.dumps(other_graph()))
        other.submit(graph)
        assert comfy.paused.wait(30)
        with released_when(comfy, lambda: any("1 run before it" in line.text for line in status_lines)):
            cell = home_server(f"%comflowy run default {SMALL} seed=4")
    texts_shown = " ".join(output["data"]["text/plain"] for output in next(iter(cell.handles.values())))
    assert "pending - 1 run before it" in texts_shown


def other_graph():
    from comfyui_nodes import RECORDED

    graph = json.loads((RECORDED / "default_workflow_api.json").read_text())
    graph["5"]["inputs"] |= {"width": 64, "height": 64}
    return graph


def test_texts_sounds_and_animations_are_shown_below_the_status(home_server, tmp_path):
    graph = {
        "1": {"class_type": "EmptyImage", "inputs": {"width": 16, "height": 16, "batch_size": 1, "color": 255}},
        "4": {"class_type": "SaveAnimatedWEBP", "inputs": {"images": ["1", 0], "filename_prefix": "moving"}},
        "5": {"class_type": "SaveAudio", "inputs": {"seconds": 0.1}},
        "6": {"class_type": "PreviewAny", "inputs": {"source": "<script>hello</script>"}},
    }
    (tmp_path / "all.json").write_text(json.dumps(graph))
    cell = home_server("%comflowy run all.json")
    status = cell.last[0]
    assert "success" in status["text/plain"]
    assert "<script>hello</script>" in status["text/plain"]
    assert "<script>" not in status["text/html"]
    assert "&lt;script&gt;hello" in status["text/html"]
    assert "data:image/webp;base64," in status["text/html"]
    assert "<audio controls" in status["text/html"]
    assert "r1.files[1] (WAV, " in status["text/plain"]
    again = home_server("%comflowy show r1")
    assert "<audio controls" in again.last[0]["text/html"]


def test_in_a_terminal_the_paths_and_texts_are_printed(shell, cell, comfy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    graph = empty_image() | {"6": {"class_type": "PreviewAny", "inputs": {"source": "hello"}}}
    (tmp_path / "both.json").write_text(json.dumps(graph))
    cell(f"%comflowy connect home={comfy.url}")
    output = cell("%comflowy run both.json")
    assert "hello" in output.stdout
    assert ".png" in output.stdout


def test_interrupt_cancels_all_runs_of_this_client_on_the_server(home_server, comfy, interrupting):
    comfy.pause_at("3", 1)
    with interrupting(comfy.paused.is_set):
        cell = home_server("%comflowy run default 3::steps=50 5::width=64 5::height=64")
    assert type(cell.error) is KeyboardInterrupt
    assert "cancelled" in texts(cell)[0]
    assert comfy.queue.listed() == {"queue_running": [], "queue_pending": []}


@pytest.mark.parametrize(("view", "what"), [("view", "run default seed=7"), ("sweep_view", "sweep default seed=1..8")])
def test_an_interrupt_between_submit_and_wait_cancels_the_run(home_server, comfy, monkeypatch, view, what):
    """An interrupt between the submit and the wait did not cancel the run, and the cell stopped showing it."""
    comfy.pause_at("3", 1)
    real_show, first = getattr(Session, view), []

    def show(self, shown, **options):
        if not first:
            first.append(shown)
            raise KeyboardInterrupt
        return real_show(self, shown, **options)

    monkeypatch.setattr(Session, view, show)
    cell = home_server(f"%comflowy {what} 5::width=64 5::height=64")
    assert first
    assert type(cell.error) is KeyboardInterrupt
    assert "cancelled" in " ".join(texts(cell))
    assert comfy.queue.listed() == {"queue_running": [], "queue_pending": []}


@pytest.mark.parametrize(
    ("patched", "line"),
    [((Submitter, "submit"), "run default seed=7"), ((SweepPlanner, "start"), "sweep default seed=1..8")],
)
def test_an_interrupt_during_the_submit_cancels_the_run(home_server, comfy, monkeypatch, patched, line):
    comfy.pause_at("3", 1)
    real_method = getattr(*patched)

    def enter(*args, **options):
        entered = real_method(*args, **options)
        os.kill(os.getpid(), signal.SIGINT)
        return entered

    monkeypatch.setattr(*patched, enter)
    cell = home_server(f"%comflowy {line} 5::width=64 5::height=64")
    assert type(cell.error) is KeyboardInterrupt
    assert re.search("cancelled|not submitted", " ".join(texts(cell)))
    assert comfy.queue.listed() == {"queue_running": [], "queue_pending": []}


def test_interrupt_of_a_sweep_cancels_only_runs_of_this_client(home_server, comfy, interrupting):
    comfy.pause_at("3", 1)
    with BareClient(comfy.url) as other:
        _, other_id = other.submit(other_graph())
        assert comfy.paused.wait(30)
        with interrupting(lambda: comfy.requests_to("POST", "/prompt") >= 3):
            cell = home_server(f"%comflowy sweep default {SMALL} seed=1..8")
        assert type(cell.error) is KeyboardInterrupt
        queue = comfy.queue.listed()
        assert [item[1] for item in queue["queue_running"]] == [other_id]
        assert queue["queue_pending"] == []
        comfy.resume()
        other.until_end(other_id)


def test_run_from_an_image_of_this_client_is_not_submitted_again(home_server, comfy, tmp_path):
    first = home_server(f"%comflowy run default {SMALL} cfg=6.5 6::text='a \"bottle\"'")
    (tmp_path / "bottle.png").write_bytes(first.value.images[0].bytes)
    again = home_server("%comflowy run --from bottle.png")
    assert texts(again)[0] == "same as r1, nothing submitted; --fresh runs it again"
    changed = home_server("%comflowy run --from bottle.png cfg=4")
    assert changed.value.params == {**first.value.params, "3::cfg": 4}
    assert comfy.requests_to("POST", "/prompt") == 2


def test_a_name_that_is_changed_to_another_server_is_reported(home_server, tmp_path):
    again = home_server("%comflowy connect home")
    assert "connected to home" in texts(again)[0]
    with ComfyServer(tmp_path / "other") as other:
        moved = home_server(f"%comflowy connect home={other.url}")
        assert "home named another target before" in texts(moved)[0]
        assert "127.0.0.1" not in texts(moved)[0]


def test_an_image_without_metadata_is_recognised_by_its_content(home_server, comfy, tmp_path):
    """An image of a server with --disable-metadata raised `contains no workflow`: history and sidecar were not read."""
    comfy.metadata = False
    (tmp_path / "flat.json").write_text(json.dumps(empty_image()))
    run = home_server("%comflowy run flat.json color=255").value
    path = run.images[0].path
    assert Image.open(path).info == {}
    (tmp_path / "copy.png").write_bytes(path.read_bytes())
    (tmp_path / "flat.json").unlink()
    for name in ("copy.png", str(path)):
        recipe = params_from(name)
        assert dict(recipe) == {"1::color": 255}
        assert recipe.cell == f"%%comflowy run {name}\n1::color: 255"
        assert home_server(recipe.cell).value.number == run.number
        again = home_server(f"%comflowy run --from {name} color=9")
        assert again.value.images[0].array()[0, 0].tolist() == [0, 0, 9]
    assert home_server("%comflowy workflow add mine copy.png").error is None
    assert home_server("%comflowy run mine color=255").value.number == run.number


def test_a_saved_copy_without_the_servers_metadata_contains_its_graph(home_server, comfy, tmp_path):
    comfy.metadata = False
    (tmp_path / "flat.json").write_text(json.dumps(empty_image()))
    run = home_server("%comflowy run flat.json color=255 --as flat --save out").value
    (saved,) = (tmp_path / "out").glob("*.png")
    (tmp_path / "flat.json").unlink()
    assert home_server(f"%comflowy run --from out/{saved.name}").value.number == run.number
    assert home_server(f"%comflowy run out/{saved.name} color=255").value.number == run.number


def test_an_image_without_metadata_is_found_in_the_sidecar_without_the_history(home_server, comfy, tmp_path):
    comfy.metadata = False
    (tmp_path / "flat.json").write_text(json.dumps(empty_image()))
    run = home_server("%comflowy run flat.json color=255").value
    with Store(tmp_path / "home").write() as connection:
        connection.execute("DELETE FROM images")
    assert dict(params_from(run.images[0].path)) == {"1::color": 255}
    assert params_from(run.images[0].path).workflow == "flat"


def test_an_unknown_image_without_metadata_contains_no_workflow(home_server, comfy, tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "bare.png")
    with pytest.raises(ImageError, match=r"bare\.png contains no workflow"):
        params_from("bare.png")
    assert isinstance(home_server("%comflowy run --from bare.png").error, WorkflowError)


def test_run_from_reads_an_image_of_another_client(home_server, comfy, tmp_path):
    with BareClient(comfy.url) as other:
        messages, _ = other.run(empty_image(0x0000FF))
        (tmp_path / "theirs.png").write_bytes(other.image(messages))
    cell = home_server("%comflowy run --from theirs.png color=255")
    assert cell.error is None
    assert cell.value.images[0].array()[0, 0].tolist() == [0, 0, 255]
    printed = home_server("import comflowy_nb\nprint(comflowy_nb.params_from('theirs.png'))")
    assert printed.stdout.startswith("%%comflowy run theirs.png\n")
    typed = home_server(printed.stdout.replace("1::width: 64", "1::width: 24"))
    assert typed.value.images[0].array().shape == (64, 24, 3)


def test_run_from_reads_a_graph_file(home_server, comfy, tmp_path):
    """`run --from x.json` raised "there is no run x.json": only images were read as a source of a graph."""
    (tmp_path / "mine.json").write_text(json.dumps(empty_image(5)))
    cell = home_server("%comflowy run --from mine.json 1::width=32")
    assert cell.error is None, cell.error
    assert cell.value.images[0].array().shape == (64, 32, 3)
    assert texts(home_server("%comflowy run mine.json width=32"))[0].startswith("same as r1")
    planned = home_server("%comflowy sweep --from mine.json width=16,24 --dry-run")
    assert planned.error is None, planned.error
    assert "there is no file 'gone.json'" in str(home_server("%comflowy run --from gone.json").error)


def test_the_cell_of_an_image_with_values_of_other_types_is_accepted(home_server, comfy, tmp_path):
    """The cell that `params_from` printed for an old graph was an error: "'enable' is not true or false"."""
    graph = empty_image(5)
    comfy.nodes["EmptyImage"]["input"]["optional"] = {"on": ["BOOLEAN", {}], "at": ["FLOAT", {}]}
    graph["1"]["inputs"] |= {"on": "enable", "at": None}
    chunks = PngInfo()
    chunks.add_text("prompt", json.dumps(graph))
    Image.new("RGB", (8, 8)).save(tmp_path / "old.png", pnginfo=chunks)
    printed = home_server("import comflowy_nb\nprint(comflowy_nb.params_from('old.png'))")
    assert "1::on: enable" in printed.stdout
    home_server(f"{printed.stdout}\n")
    submitted = [body["prompt"]["1"]["inputs"] for path, body in comfy.bodies if path == "/prompt"]
    assert [(inputs["on"], inputs["at"]) for inputs in submitted] == [("enable", None)]


def test_run_from_reads_a_run_whose_graph_file_was_deleted(home_server, comfy, tmp_path):
    (tmp_path / "mine.json").write_text(json.dumps(empty_image(5)))
    home_server("%comflowy run mine.json 1::width=32 --as first")
    (tmp_path / "mine.json").unlink()
    cell = home_server("%comflowy run --from first 1::width=48")
    assert cell.error is None
    assert cell.value.images[0].array().shape == (64, 48, 3)
    assert texts(home_server("%comflowy run --from first"))[0].startswith("same as r1")


def test_an_image_of_a_run_is_the_input_of_another(home_server, comfy, tmp_path):
    (tmp_path / "flat.json").write_text(json.dumps(empty_image(255)))
    graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "x.png"}},
        "2": {"class_type": "ImageScaleBy", "inputs": {"image": ["1", 0], "upscale_method": "area", "scale_by": 2.0}},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "up"}},
    }
    (tmp_path / "up.json").write_text(json.dumps(graph))
    home_server("%comflowy run flat.json")
    chain = home_server("%comflowy run up.json 1::image=run:r1[0]")
    assert chain.error is None
    assert chain.value.images[0].array().shape == (128, 128, 3)
    Image.new("RGB", (10, 10), "red").save(tmp_path / "photo.png")
    assert home_server("%comflowy run up.json 1::image=file:photo.png").value.images[0].array().shape == (20, 20, 3)


def test_a_folder_of_images_is_an_axis(home_server, comfy, tmp_path):
    (tmp_path / "refs").mkdir()
    for shade in (0, 30, 60):
        Image.new("RGB", (8, 8), (shade, 0, 0)).save(tmp_path / "refs" / f"photo{shade}.png")
    graph = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "x.png"}},
        "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": "inverted"}},
    }
    (tmp_path / "invert.json").write_text(json.dumps(graph))
    line = "%comflowy sweep invert.json 1::image=file:refs/*.png --as inverted"
    cell = home_server(line)
    assert cell.error is None
    shades = home_server("[int(one.images[0].array()[0, 0, 0]) for one in inverted.cells]").value
    assert shades == [255, 225, 195]
    assert any("photo30.png" in text for text in texts(cell))
    again = home_server(line)
    assert "3 done" in " ".join(texts(again))
    assert comfy.requests_to("POST", "/prompt") == comfy.requests_to("POST", "/upload/image") == 3


@pytest.mark.usefixtures("handles", "working_folder")
def test_no_output_contains_the_address_or_the_headers(comfy, cell, monkeypatch, caplog):
    monkeypatch.setenv("COMFLOWY_HEADERS", json.dumps({comfy.url: {"X-Door": "sesame-41"}}))
    sources = [
        f"%comflowy connect home={comfy.url}",
        f"%comflowy run default {SMALL}",
        "%comflowy run default sampler_name=x",
        "%comflowy",
        "%comflowy fields default",
        "%comflowy runs",
        "%config Comflowy",
        "%config Comflowy.headers",
    ]
    for source in sources:
        done = cell(source)
        everything = repr(done.sent) + done.stdout + done.stderr + repr(done.error) + repr(done.value)
        assert "sesame" not in everything
        assert comfy.url not in everything.replace(source, "")
    settings.reset()
    cell("%config Comflowy.headers = {'https://a.example': {'X Y': 'sesame-41'}}")
    assert "headers must be" in caplog.text
    assert "sesame" not in caplog.text


@pytest.mark.parametrize(
    "content", [b"<svg onload=alert(1)>", b"GIF89a", b"", None, b"\xff\xd8\xff" + bytes(MAX_PREVIEW_BYTES)]
)
def test_a_preview_that_is_not_a_small_image_is_not_shown(content):
    assert inline_image(content) == ""


def test_no_byte_of_a_preview_can_close_its_html_attribute():
    output = inline_image(b"\xff\xd8\xff" + b'"><script>alert(1)</script>')
    assert "<script" not in output
    assert output.count("<") == 1


def test_a_workflow_that_only_other_services_have_gets_advice_for_comfyui(home_server, comfy):
    """`fields img2img` gave advice for Comflowy's editor: an unknown name counted as an id, but ComfyUI has no ids."""
    for command in ("fields img2img", "run img2img", "sweep img2img cfg=4,8", "form img2img"):
        error = home_server(f"%comflowy {command}").error
        assert isinstance(error, WorkflowError)
        assert "there is no workflow 'img2img' on home" in str(error)
        assert "Workflow > Export (API)" in str(error)
    assert comfy.requests_to("POST", "/prompt") == 0


# -- several options at once ------------------------------------------------------------------------------------


@pytest.fixture
def words(tmp_path):
    """Return a graph with a node that takes several options."""
    graph = {
        "1": {"class_type": "PickWords", "inputs": {"words": {"__value__": ["blue"]}}},
        "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "words"}},
    }
    (tmp_path / "words.json").write_text(json.dumps(graph))


@pytest.mark.usefixtures("words")
def test_several_options_are_accepted_on_the_line_in_a_body_and_in_a_sweep(home_server):
    """A field of several options accepted neither `["red"]` nor `{"__value__": ["red"]}`, and one option failed."""

    def pixel(run):
        return run.images[0].array()[0, 0].tolist()

    assert pixel(home_server("%comflowy run words.json").value) == [0, 0, 255]
    assert pixel(home_server("%comflowy run words.json words=[red,blue]").value) == [255, 0, 255]
    again = home_server('%%comflowy run words.json\nwords: {"__value__": ["red", "blue"]}')
    assert "same as r2" in texts(again)[0]
    assert pixel(home_server('%comflowy run words.json words="green, dark"').value) == [0, 99, 0]
    sweep = home_server("%comflowy sweep words.json words=[[red],[red,blue]] --as pairs").value
    assert [pixel(cell.run) for cell in sweep.cells] == [[255, 0, 0], [255, 0, 255]]
    refused = home_server("%comflowy sweep words.json words=[red,blue]")
    assert "[[red, blue]]" in str(refused.error)
    assert "[red], [blue]" in str(refused.error)


@pytest.mark.usefixtures("words")
def test_several_options_are_accepted_in_a_form(home_server):
    with contextlib.closing(home_server("%comflowy form words.json words=[red,blue]").value):
        (box,) = [widget for widget in Widget.widgets.values() if isinstance(widget, SelectMultiple)]
        assert box.value == ("red", "blue")
        assert [name for name, _ in box.options] == ["red", "green, dark", "blue", "7"]
    control = SelectionControl(read_field("1::words", ["COMBO", {"options": ["a", "b"], "multiselect": True}]), "words")
    for value in (["b"], {"__value__": ["b"]}, "b"):
        control.show(value)
        assert control.read() == {"__value__": ["b"]}
    control.input.value = ()
    assert control.read() == {"__value__": []}
    with pytest.raises(FieldError):
        control.show(["c"])
