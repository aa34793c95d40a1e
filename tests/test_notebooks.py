"""The committed tutorials have outputs to show, and execute in a real kernel with an empty HOME."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest

from comflowy_nb.cli import demo
from comflowy_nb.errors import ComflowyError

FOLDER = Path(__file__).parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
MAX_BYTES = 1024 * 1024


def read(text):
    import nbformat  # takes a second, in each process that collects tests

    return nbformat.reads(text, as_version=4)


def code_cells(content):
    return [cell for cell in content.cells if cell.cell_type == "code"]


def cell_with(content, text):
    return next(cell for cell in code_cells(content) if text in cell.source)


def output_text(cell):
    """Return all text in a cell's outputs."""
    parts = []
    for output in cell.outputs:
        data = output.get("data", {})
        parts += [output.get("text", ""), data.get("text/plain", ""), data.get("text/html", "")]
    return "\n".join(parts)


def image_count(cell):
    return sum(any(kind.startswith("image/") for kind in output.get("data", {})) for output in cell.outputs)


def check_quickstart(content):
    """Check the outputs of the quickstart, on any machine."""
    assert "%pip install" in code_cells(content)[0].source
    assert not code_cells(content)[0].outputs, "where the package is, nothing is installed"
    runs = [cell for cell in code_cells(content) if cell.source.startswith("%%comflowy run default")]
    first, again = runs
    assert "success" in output_text(first)
    assert "r1" in output_text(first)
    assert image_count(first) == 1
    assert "same as r1" in output_text(again)
    assert image_count(again) == 1
    assert "aquarelle" in output_text(cell_with(content, "%comflowy runs"))
    assert "sampler_name" in output_text(cell_with(content, "%comflowy fields default"))
    misspelt = cell_with(content, "stepps")
    assert [output.output_type for output in misspelt.outputs] == ["error"]
    assert "steps" in misspelt.outputs[0].evalue
    assert "euler" in misspelt.outputs[0].evalue
    assert len(misspelt.outputs[0].traceback) <= 2


def check_explore(content):
    """Check the outputs of the story from a sweep to a winner, on any machine."""
    sweep = cell_with(content, "sweep default --as boats")
    assert "12 cells: 12 new" in output_text(sweep)
    assert "12 of 12 success" in output_text(sweep)
    explorer = cell_with(content, "explore boats --as e")
    assert "s1 boats" in output_text(explorer)
    assert "12 cells" in output_text(explorer)
    assert "['s1.8', 's1.11']" in output_text(cell_with(content, "e.visible"))
    assert "boats.5: rated 4, note" in output_text(cell_with(content, "rate boats.5 4"))
    assert "boats.1: rejected" in output_text(cell_with(content, "--reject"))
    rated = output_text(cell_with(content, "runs --where"))
    assert "★4" in rated
    assert "s1.5" in rated
    assert "s1.8" not in rated, "its rating is 3"
    assert "Scores sharpness: 12 images" in output_text(cell_with(content, "boats.score"))
    assert "best sky" in output_text(cell_with(content, "to_dataframe"))
    closer = cell_with(content, "--around boats.5")
    assert "3 cells: 1 done (today, sandbox), 2 new" in output_text(closer)
    assert "cfg=3,4,5" in output_text(closer)
    assert "3 of 3 success" in output_text(closer)
    for cell in (sweep, explorer, closer, cell_with(content, "compare closer.1")):
        assert image_count(cell) == 1
    page = output_text(cell_with(content, "boats.html"))
    assert "14 images as previews" in page
    assert "saved: boats.html" in page
    assert "saved: boats.zip" in output_text(cell_with(content, "save boats closer boats.zip"))
    assert "Loaded s1, s2, 14 runs, 5 ratings from boats.zip" in output_text(cell_with(content, "COMFLOWY_HOME"))
    assert "nothing new in boats.zip" in output_text(cell_with(content, "load boats.zip"))
    figures = output_text(cell_with(content, "--along cfg"))
    assert "saved: boats.pdf" in figures
    assert "4 frames along cfg at sampler_name heun" in figures


def check_compare(content):
    """Check the outputs of the tutorial on comparisons, on any machine."""
    two = cell_with(content, "compare glass clay")
    assert "same in all" in output_text(two)
    assert ">glass</b>" in output_text(two)
    assert ">clay</b>" in output_text(two)
    several = cell_with(content, "--mode side")
    assert "sampler_name" in output_text(several)
    for cell in (two, several):
        assert image_count(cell) == 1
    own_comparison = cell_with(content, "comflowy_nb.compare(")
    assert "image 2" in output_text(own_comparison)
    assert "50.0" in output_text(cell_with(content, "position"))
    assert "why.html" in output_text(cell_with(content, "save("))


def check_form(content):
    """Check the outputs of the tutorial on forms, on any machine."""
    form = cell_with(content, "--as bottle")
    assert "KSampler" in output_text(form)
    assert "filename_prefix" in output_text(form)
    assert image_count(form) == 1, "the newest run's, below the form"
    assert "r1" in output_text(cell_with(content, "bottle.runs"))
    assert "%%comflowy run default" in output_text(cell_with(content, "bottle.cell"))
    assert "2.5" in output_text(cell_with(content, "--from last"))
    assert "heun" in output_text(cell_with(content, "observe"))


def check_comfyui_without_checkpoint(content):
    """Check the first part of the ComfyUI tutorial, on any server."""
    assert "connected to home" in output_text(cell_with(content, "%comflowy connect"))
    assert "upscale_method" in output_text(cell_with(content, "%comflowy fields upscale.json"))
    assert "upscale is converted from the editor's format" in output_text(
        cell_with(content, "%comflowy fields upscale.json")
    )
    first = cell_with(content, "--as large")
    assert "r1 large (upscale) - success" in output_text(first)
    assert "(192, 192)" in output_text(cell_with(content, "pil().size"))
    assert "same as r1" in output_text(cell_with(content, "run --from large"))
    assert "Did you mean bicubic" in cell_with(content, "bicubik").outputs[0].evalue
    files = cell_with(content, "file:refs/*.png")
    assert "6 of 6 success" in output_text(files)
    assert "gold.png" in output_text(files)
    assert "mine is now a graph" in output_text(cell_with(content, "server:last"))
    assert "mine_api.json, in API format" in output_text(cell_with(content, "workflow export"))
    assert output_text(cell_with(content, "params_from")).startswith("%%comflowy run kept/r1")
    for cell in (first, files, cell_with(content, "run --from {image}")):
        assert image_count(cell) == 1


def check_comfyui(content):
    """Check the ComfyUI tutorial on a server with a checkpoint, on any machine."""
    check_comfyui_without_checkpoint(content)
    run = cell_with(content, "--as bottle")
    assert "bottle (default) - success" in output_text(run)
    assert "6 of 6 success" in output_text(cell_with(content, "--as samplers"))
    for cell in (run, cell_with(content, "image=run:bottle[0]")):
        assert image_count(cell) == 1


CHECKS = {
    "quickstart": check_quickstart,
    "explore": check_explore,
    "form": check_form,
    "compare": check_compare,
    "comfyui": check_comfyui,
}


def check_nothing_private(text):
    assert "127.0.0.1" not in text
    assert "localhost" not in text
    assert "ppt=" not in text
    assert not re.search(r"(?i)authorization|bearer ", text)
    assert str(Path.home()) not in text


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_committed_notebook_is_executed_small_and_clean(path):
    raw = path.read_text(encoding="utf-8")
    assert len(raw.encode()) < MAX_BYTES
    check_nothing_private(raw)
    content = read(raw)
    assert "widgets" not in content.metadata
    numbers = [cell.execution_count for cell in code_cells(content)]
    assert numbers == list(range(1, len(numbers) + 1)), "execute it again: make notebooks"
    for cell in code_cells(content):
        assert not [output for output in cell.outputs if output.get("name") == "stderr"]
        for output in cell.outputs:
            assert "<script" not in output.get("data", {}).get("text/html", "")
            assert not [kind for kind in output.get("data", {}) if "widget" in kind]


@pytest.mark.parametrize("name", CHECKS)
def test_a_committed_notebook_shows_the_described_outputs(name):
    CHECKS[name](read((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8")))


@pytest.fixture
def execute_notebook(tmp_path, home):
    """Return a function that executes a notebook in an empty HOME and returns the terminal's output."""

    def execute(content, **variables):
        empty, work = tmp_path / "person", tmp_path / "work"
        empty.mkdir()
        work.mkdir()
        stream = io.StringIO()
        progress = demo.ProgressReporter(stream)
        environment = demo.kernel_environment(home) | {
            "HOME": str(empty),
            "XDG_CACHE_HOME": "",
            "XDG_DATA_HOME": "",
        }
        try:
            demo.execute(content, work, environment | variables, progress)
        finally:
            demo.wait_for_sandbox_end(home, progress)
        return stream.getvalue()

    return execute


def without_outputs(name):
    content = read((FOLDER / f"{name}.ipynb").read_text(encoding="utf-8"))
    for cell in code_cells(content):
        cell.outputs, cell.execution_count = [], None
    return content


@pytest.mark.slow
@pytest.mark.parametrize("name", CHECKS)
def test_a_notebook_executes_in_an_empty_home(name, tmp_path, home, execute_notebook, request):
    import nbformat

    content = without_outputs(name)
    variables = {"COMFYUI_URL": request.getfixturevalue("comfy").url} if name == "comfyui" else {}
    terminal = execute_notebook(content, **variables)
    assert "still running" not in terminal
    assert "success" in terminal

    CHECKS[name](content)
    address = home / "sandbox" / "address.json"
    assert address.exists() == (name != "comfyui")
    raw = nbformat.writes(content)
    assert len(raw.encode()) < MAX_BYTES
    assert not address.exists() or json.loads(address.read_text())["key"] not in raw
    assert str(tmp_path) not in raw
    check_nothing_private(raw)

    page = demo.to_html(content, title=name)
    assert "<script" not in page
    assert "success" in page


@pytest.mark.slow
def test_comfyui_notebook_runs_on_a_server_without_checkpoints(execute_notebook, comfy):
    """On a server without checkpoints the notebook ended in an IndexError before its first run.

    Its second cell took the first checkpoint of an empty list, and every later cell used the result.
    """
    comfy.nodes["CheckpointLoaderSimple"]["input"]["required"]["ckpt_name"] = [[], {}]
    content = without_outputs("comfyui")
    with pytest.raises(ComflowyError) as stopped:
        execute_notebook(content, COMFYUI_URL=comfy.url)
    check_comfyui_without_checkpoint(content)
    cell = cell_with(content, "checkpoints[0]")
    assert len(output_text(cell).strip().splitlines()) == 1
    for text in (output_text(cell), str(stopped.value)):
        assert "the server has no checkpoint: put one into ComfyUI's folder models/checkpoints" in text
        assert "Everything above works without it" in text


def test_stripping_keeps_outputs_and_removes_stderr_and_volatile_metadata():
    import nbformat

    cell = nbformat.v4.new_code_cell("1", execution_count=1, metadata={"execution": {"iopub.status.idle": "x"}})
    cell.outputs = [
        nbformat.v4.new_output("stream", name="stderr", text="noise"),
        nbformat.v4.new_output("stream", name="stdout", text="kept"),
        nbformat.v4.new_output(
            "display_data", {"application/vnd.jupyter.widget-view+json": {"model_id": "x"}, "text/plain": "kept too"}
        ),
    ]
    content = nbformat.v4.new_notebook(cells=[cell], metadata={"widgets": {"x": 1}})
    demo.strip(content)
    assert "widgets" not in content.metadata
    assert "execution" not in cell.metadata
    assert cell.outputs[0].text == "kept"
    assert cell.outputs[1].data == {"text/plain": "kept too"}
