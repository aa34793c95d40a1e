"""A notebook executed by nbclient: its saved outputs, and the runs it waits for."""

from __future__ import annotations

import base64
import io
import json
import os

import nbformat
import numpy as np
import pytest
from jupyter_client.manager import start_new_kernel
from nbclient import NotebookClient
from PIL import Image

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def execute(shared_home, tmp_path):
    """Return a function that executes cells and returns the notebook with its outputs."""

    def run(*sources, allow_errors=False, **variables):
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
        environment = {**os.environ, "COMFLOWY_HOME": str(shared_home), **variables}
        client = NotebookClient(
            notebook, timeout=90, iopub_timeout=60, kernel_name="python3", allow_errors=allow_errors,
            resources={"metadata": {"path": str(tmp_path)}},
        )  # fmt: skip
        client.execute(env=environment)
        return notebook

    return run


def test_the_notebook_keeps_status_and_grid_and_no_secret(execute, shared_home):
    notebook = execute(
        "%load_ext comflowy_nb",
        "%comflowy connect sandbox",
        '%%comflowy run default\n3::steps: 4\n6::text: glass bottle, "purple" galaxy',
        "r = %comflowy run default 3::steps=4 3::seed=3 --background\nr.status.value",
        "r",
    )
    run, background, again = (cell.outputs for cell in notebook.cells[2:])
    assert [output.output_type for output in run] == ["display_data", "display_data"]
    assert "success" in run[0].data["text/plain"]
    assert "success" in run[0].data["text/html"]
    image = Image.open(io.BytesIO(base64.b64decode(run[1].data["image/jpeg"])))
    assert np.asarray(image).std() > 20
    assert image.size[0] == 2 * run[1].metadata["image/jpeg"]["width"]

    assert [output.output_type for output in background] == ["display_data", "display_data", "execute_result"]
    assert background[2].data["text/plain"] == "'success'", "no user can answer here, so it waits"
    assert "image/jpeg" in background[1].data
    assert sum("image/jpeg" in output.data for output in again) == 1

    raw = nbformat.writes(notebook)
    key = json.loads((shared_home / "sandbox" / "address.json").read_text())["key"]
    assert len(raw) < 1_000_000
    assert key not in raw
    assert str(shared_home) not in raw
    assert "127.0.0.1" not in raw
    assert "<script" not in raw
    assert "widgets" not in notebook.metadata


def test_an_error_is_a_proper_output_of_plain_lines_even_in_verbose_mode(execute):
    notebook = execute(
        "%load_ext comflowy_nb\n%xmode Verbose",
        "%comflowy run default stepps=3",
        "%comflowy run default --nonsense",
        allow_errors=True,
        COMFLOWY_TARGET="sandbox",
    )
    (error,) = notebook.cells[1].outputs
    assert error.output_type == "error"
    assert error.ename == "FieldError"
    assert len(error.traceback) == 1
    (usage,) = [output for output in notebook.cells[2].outputs if "UsageError" in str(output)]
    assert usage.output_type == "stream"


def test_two_kernels_share_the_history(execute):
    execute(
        "%load_ext comflowy_nb\n%comflowy run default 3::steps=3 3::seed=909 --as shared", COMFLOWY_TARGET="sandbox"
    )
    notebook = execute("%load_ext comflowy_nb\n%comflowy run default 3::steps=3 3::seed=909", COMFLOWY_TARGET="sandbox")
    assert "nothing submitted" in notebook.cells[0].outputs[0].data["text/plain"]


@pytest.fixture
def kernel(shared_home, monkeypatch):
    """Start a kernel that is connected to the sandbox; return its manager and client."""
    monkeypatch.setenv("COMFLOWY_HOME", str(shared_home))
    manager, client = start_new_kernel(kernel_name="python3")
    reply = client.execute_interactive(
        "%load_ext comflowy_nb\n%comflowy connect sandbox\n%comflowy fields default",
        timeout=90,
        output_hook=lambda _: None,
    )
    assert reply["content"]["status"] == "ok"
    yield manager, client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


@pytest.mark.parametrize(
    "line",
    [
        "%comflowy run default 3::steps=10000 3::seed=41 5::width=64 5::height=64",
        "%comflowy sweep default 3::steps=10000 3::seed=42,43 5::width=64 5::height=64",
    ],
    ids=["run", "sweep"],
)
def test_the_status_is_live_and_an_interrupt_cancels(kernel, line):
    manager, client = kernel
    output, is_interrupted = [], False

    def watch(message):
        nonlocal is_interrupted
        if message["msg_type"] in {"display_data", "update_display_data"}:
            output.append(message["content"]["data"]["text/plain"])
            if not is_interrupted and message["msg_type"] == "update_display_data" and "running" in output[-1]:
                is_interrupted = True
                manager.interrupt_kernel()

    reply = client.execute_interactive(line, timeout=90, output_hook=watch)["content"]
    assert reply["status"] == "error"
    assert reply["ename"] == "KeyboardInterrupt"
    assert any("cancelled" in text for text in output), output


def test_tab_completes_fields_in_the_body_of_a_cell(kernel):
    """On IPython 7 the extension did not load: its completer has neither custom matchers nor the text of the cell."""
    _, client = kernel

    def completions_at(text):
        content = client.complete(text, len(text), reply=True, timeout=60)["content"]
        before = text[: content["cursor_start"]]
        return [(before + match).rsplit("\n", 1)[-1].strip() for match in content["matches"]]

    assert completions_at("%%comflowy ru") == ["%%comflowy run", "%%comflowy runs"]
    assert completions_at("%%comflowy run default\nsamp") == ["sampler_name:"]
    assert completions_at("%%comflowy run default\ncfg: 7\nsampler_name: heu") == ["sampler_name: heun"]
    assert "sampler_name: [euler, heun" in completions_at("%%comflowy sweep default\nsampler_name: [euler, he")
    assert {"sampler_name:", "cfg:"} <= set(completions_at("%%comflowy run default\n"))


SHOWN = (
    "%load_ext comflowy_nb\nimport comflowy_nb",
    "a = %comflowy run default 3::steps=2 3::seed=31 5::width=128 5::height=128",
    "b = %comflowy run default 3::steps=2 3::seed=32 5::width=128 5::height=128",
    "comflowy_nb.compare(a, b)",
    "form = comflowy_nb.form('default', {'steps': 2})\nform",
    "form.run(wait=True)",
    "%unload_ext comflowy_nb",
    "comflowy_nb.compare(a, b)",
    "display(form)",
)
SHOWN_WORDS = {3: "seed", 4: "sampler_name", 7: "seed", 8: "sampler_name"}
VIEW = "application/vnd.jupyter.widget-view+json"


def test_a_form_and_a_comparison_are_shown_with_and_without_the_extension(kernel):
    """On ipywidgets 7 a form could not be shown: the method that returns its data has another name there."""
    _, client = kernel
    opened = set()  # the ids of widgets

    def watch(message):
        content = message["content"]
        if message["msg_type"] == "comm_open":
            opened.add(content["comm_id"])
        elif message["msg_type"] in {"display_data", "execute_result"}:
            output.append(content["data"])

    for number, source in enumerate(SHOWN):
        output = []
        reply = client.execute_interactive(source, timeout=90, output_hook=watch)["content"]
        assert reply["status"] == "ok", reply
        if word := SHOWN_WORDS.get(number):
            assert output[0][VIEW]["model_id"] in opened
            assert word in output[0]["text/html"]
            assert word in output[0]["text/plain"]


def test_an_executed_notebook_keeps_only_the_static_version_of_widgets(execute):
    """nbconvert showed nothing for a comparison: nbclient had saved the state of the widget."""
    notebook = execute(*SHOWN, COMFLOWY_TARGET="sandbox")
    for number, word in SHOWN_WORDS.items():
        (data, *_) = (output.data for output in notebook.cells[number].outputs)
        assert VIEW not in data
        assert word in data["text/html"]
        assert word in data["text/plain"]


def test_await_in_a_cell_and_an_interrupt_that_only_stops_waiting(kernel):
    manager, client = kernel
    outputs = []

    def execute(source, hook=outputs.append):
        return client.execute_interactive(source, timeout=90, output_hook=hook)["content"]

    def interrupt(message):
        if message["msg_type"] == "stream" and "waits" in message["content"]["text"]:
            manager.interrupt_kernel()

    def texts():
        return [str(message["content"].get("data") or message["content"].get("text") or "") for message in outputs]

    execute(
        "import asyncio, comflowy_nb\nclient = comflowy_nb.connect('sandbox')\n"
        "long = client.run('default', {'steps': 10000, 'seed': 991, 'width': 64, 'height': 64}, wait=False)\n"
        "short = [client.run('default', {'steps': 2, 'seed': seed}, wait=False) for seed in (992, 993)]\n"
        "short[0].on_done(lambda run: print('done:', run.status))"
    )
    reply = execute("print('waits', flush=True)\nawait long", interrupt)
    assert reply["status"] == "error"
    assert reply["ename"] in {"KeyboardInterrupt", "CancelledError"}
    execute("print([run.status.value for run in await asyncio.gather(*short)], long.status.is_live, flush=True)")
    assert any("['success', 'success'] True" in text for text in texts()), texts()
    execute("short[1].images[0]")
    assert any("image/jpeg" in text for text in texts())
    execute("long.cancel()\nprint((await long).status, flush=True)")
    assert any("cancelled" in text for text in texts()), texts()
