"""A notebook executed by nbclient, in a kernel of its own: what it saves, and what it waits for."""

from __future__ import annotations

import base64
import io
import json
import os

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient
from PIL import Image

pytestmark = pytest.mark.slow


@pytest.fixture
def execute(shared_home, tmp_path):
    """Execute cells; the notebook with its outputs."""

    def run(*sources, allow_errors=False, **variables):
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
        environment = {**os.environ, "COMFLOWY_HOME": str(shared_home), **variables}
        client = NotebookClient(
            notebook, timeout=90, kernel_name="python3", allow_errors=allow_errors,
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
    assert background[2].data["text/plain"] == "'success'", "nobody can answer here, so it waits"
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
    assert "nothing sent" in notebook.cells[0].outputs[0].data["text/plain"]
