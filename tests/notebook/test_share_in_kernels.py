"""One person saves in a kernel, another loads in a kernel with another home folder and without a service."""

from __future__ import annotations

import os

import nbformat
import pytest
from nbclient import NotebookClient

RATINGS = """
import comflowy_nb
image = comflowy_nb.history.find("bottles.2[0]").image
image.rating, [(one.source, one.rating) for one in image.others]
"""
HASHES = """
import comflowy_nb, hashlib
images = [comflowy_nb.history.find(f"bottles.{number}[0]").image for number in (1, 2, 3, 4)]
[hashlib.sha256(image.bytes).hexdigest()[:8] for image in images]
"""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def execute(tmp_path):
    """Return a function that executes cells in a new kernel of a person; it returns the texts of their outputs."""

    def run(person, *sources):
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])
        client = NotebookClient(
            notebook, timeout=90, iopub_timeout=60, kernel_name="python3",
            resources={"metadata": {"path": str(tmp_path)}},
        )  # fmt: skip
        client.execute(env={**os.environ, "COMFLOWY_HOME": str(tmp_path / person)})
        return [
            "\n".join(output.get("data", {}).get("text/plain", "") or output.get("text", "") for output in cell.outputs)
            for cell in notebook.cells
        ], notebook

    return run


def test_a_sweep_is_sent_to_another_person_who_sends_a_rating_back(execute, tmp_path):
    line = '%comflowy sweep default cfg=4,8 6::text="a red barn"||"a glass bottle" seed=11 width=64 height=64 steps=1'
    texts, _ = execute(
        "ann",
        "%load_ext comflowy_nb",
        "%comflowy connect sandbox",
        f"{line} --as bottles",
        '%comflowy rate bottles.2 4 --note "best sky"',
        "%comflowy save bottles bottles.zip",
        HASHES,
    )
    assert "4 images" in texts[4]
    hashes = texts[5]

    texts, notebook = execute(
        "bob",
        "%load_ext comflowy_nb",
        "loaded = %comflowy load bottles.zip --by Ann",
        "%comflowy show bottles",
        HASHES,
        "%comflowy explore bottles",
        "%comflowy compare bottles.1 bottles.4",
        RATINGS,
        "%comflowy rate bottles.2 2",
        "%comflowy save bottles back.zip",
        "%comflowy load bottles.zip",
        "%comflowy save bottles page.html --without prompts",
        "%comflowy save bottles grid.pdf",
        "%comflowy save bottles cfg.gif --along cfg",
    )
    assert "loaded from bottles.zip: s1, 4 runs, 4 images, 1 rating by Ann" in texts[1]
    assert any("image/jpeg" in output.get("data", {}) for output in notebook.cells[2].outputs)
    assert texts[3] == hashes
    assert texts[6] == "(None, [('Ann', 4)])"
    assert "nothing new in bottles.zip" in texts[9]
    assert not [cell for cell in notebook.cells for output in cell.outputs if output.output_type == "error"]
    assert b"barn" not in (tmp_path / "page.html").read_bytes()
    assert (tmp_path / "grid.pdf").read_bytes().startswith(b"%PDF")

    texts, _ = execute(
        "ann",
        "%load_ext comflowy_nb",
        "%comflowy load back.zip --by Bob",
        RATINGS,
        "comflowy_nb.history.find('bottles.1').run.record.imported is None",
    )
    assert texts[1].startswith("loaded from back.zip: 1 rating by Bob")
    assert texts[2] == "(4, [('Bob', 2)])"
    assert texts[3] == "True"
