"""The explorer in JupyterLab: mouse and keyboard, ratings, missing cells, running sweeps, a busy and an ended kernel."""

from __future__ import annotations

import pytest

SHORT_MS = 60_000
SETUP = "\n".join(
    [
        "%load_ext comflowy_nb",
        "%comflowy connect sandbox",
        "s = %comflowy sweep default cfg=2,5,9 steps=1,3 seed=11,12 width=96 height=64",
    ]
)
ROOT = ".comflowy-explore"


@pytest.fixture(scope="module")
def swept(shared_notebook):
    paste(shared_notebook, 0, SETUP)
    shared_notebook.run(0)
    return shared_notebook


def paste(notebook, index, text):
    """Paste lines into a cell; the editor would indent typed lines."""
    notebook.cell(index).locator(".cm-content").click()
    notebook.page.keyboard.press("Control+a")
    notebook.page.keyboard.insert_text(text)


def test_look(swept):
    swept.enter(1, "e = %comflowy explore s1")
    swept.page.wait_for_timeout(3000)
    swept.page.screenshot(path="/tmp/e1/shots/a.png")
    print(swept.text(1)[:800])
    swept.enter(2, "e.x='cfg'; e.y='steps'")
    swept.page.wait_for_timeout(2000)
    swept.page.screenshot(path="/tmp/e1/shots/b.png")
