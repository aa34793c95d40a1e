"""The code blocks of README.md work when they are pasted in order into a fresh notebook."""

from __future__ import annotations

import os
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
MAX_LINES, MAX_WORDS = 120, 1000


def test_the_readme_is_short():
    assert len(README.splitlines()) <= MAX_LINES
    assert len(README.split()) <= MAX_WORDS


def test_each_code_block_is_python_or_for_a_terminal_or_for_a_service():
    """Only blocks without a language, which need a key or a server, and `sh` are not executed."""
    assert {language for language, _ in BLOCKS} == {"python", "sh", ""}
    assert all("connect cloud" in block for language, block in BLOCKS if not language)
    assert len(re.findall(r"^```", README, re.MULTILINE)) == 2 * len(BLOCKS)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_python_blocks_run_in_order_in_a_fresh_notebook(home, tmp_path):
    cells = [nbformat.v4.new_code_cell(block.rstrip()) for language, block in BLOCKS if language == "python"]
    notebook = nbformat.v4.new_notebook(cells=cells)
    client = NotebookClient(
        notebook, timeout=120, iopub_timeout=60, kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    )  # fmt: skip
    client.execute(env={**os.environ, "COMFLOWY_HOME": str(home)})
    assert "success" in _shown(cells, "run default")
    assert "12 of 12 success" in _shown(cells, "sweep --from boat")
    assert "12 cells" in _shown(cells, "explore boats")
    assert "same in all" in _shown(cells, "compare")
    assert "saved: closer.html" in _shown(cells, "save")
    assert (tmp_path / "closer.html").read_bytes().startswith(b"<!")
    assert any("image/png" in output.get("data", {}) for output in cells[-1].outputs), "the image of Pillow"


def _shown(cells, command):
    """Return the output text of the first cell with a command."""
    found = next(cell for cell in cells if f"%comflowy {command}" in cell.source)
    return "\n".join(output.get("data", {}).get("text/plain", "") for output in found.outputs)
