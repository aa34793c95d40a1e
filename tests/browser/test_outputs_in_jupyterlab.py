"""Runs inside an Output, `interact` and `@out.capture()` of ipywidgets show their final image in JupyterLab."""

from __future__ import annotations

import pytest

SMALL = "steps=3 width=64 height=64"


def line(words):
    return f"get_ipython().run_line_magic('comflowy', f'{words}')"


CELLS = {
    "with": f"out = w.Output(); display(out)\nwith out: {line(f'run default seed=7 {SMALL}')}",
    "capture": f"caught = w.Output()\n@caught.capture()\ndef draw(): {line(f'run default seed=8 {SMALL}')}\n"
    "draw(); caught",
    "button": "button, below = w.Button(description='go'), w.Output()\n"
    f"def press(_):\n with below: {line(f'run default seed=9 {SMALL}')}\n"
    "button.on_click(press); w.VBox([button, below])",
    "interact": f"def f(cfg): {line(f'run default cfg={{cfg}} seed=7 {SMALL}')}\nw.interact(f, cfg=(3, 5))",
}


@pytest.fixture(scope="module")
def notebook(shared_notebook):
    shared_notebook.paste(0, "%load_ext comflowy_nb\n%comflowy connect sandbox\nimport ipywidgets as w")
    shared_notebook.run(0)
    return shared_notebook


@pytest.mark.parametrize("kind", CELLS)
def test_the_final_image_and_status_appear(notebook, kind):
    """An Output kept "submitting - 0.0 s" and an empty placeholder (jupyter-widgets/ipywidgets#1844)."""
    index = 1 + list(CELLS).index(kind)
    notebook.paste(index, CELLS[kind])
    notebook.run(index)
    if kind == "button":
        notebook.cell(index).get_by_role("button", name="go").click()
    notebook.await_images(index, 1)
    notebook.await_text(index, "success")
    if kind == "interact":
        notebook.cell(index).get_by_role("slider").press("ArrowRight")
        notebook.await_text(index, "r5 default - success")
        notebook.await_images(index, 1)
