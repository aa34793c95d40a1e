"""The Python API in a marimo notebook, shown as an app by a real server."""

from __future__ import annotations

import sys

import pytest
from front_end_processes import require, serving
from lab_pages import CELL_MS, SHORT_MS, free_port

require("marimo")
pytestmark = pytest.mark.browser

# A cell for each part; docs/howto/marimo.md shows the same.
APP = """
import marimo

app = marimo.App()

@app.cell
def _():
    import marimo as mo
    import comflowy_nb
    client = comflowy_nb.connect("sandbox")
    small = {"width": 128, "height": 128, "steps": 4}
    return client, comflowy_nb, mo, small

@app.cell
def _(client, comflowy_nb, small):
    sweep = client.sweep("default", {"cfg": [3, 6], "seed": [1, 2], **small})
    comflowy_nb.grid(sweep)
    return (sweep,)

@app.cell
def _(comflowy_nb, sweep):
    comflowy_nb.compare(sweep.cell(1), sweep.cell(2))
    return

@app.cell
def _(client, comflowy_nb, mo, sweep):
    explorer = mo.ui.anywidget(comflowy_nb.explore(sweep, client=client))
    explorer
    return (explorer,)

@app.cell
def _(explorer, mo):
    explorer.value  # executes this cell again when the explorer changes
    mo.md(f"current: {explorer.widget.current.ref}")
    return

@app.cell
def _(client, comflowy_nb):
    comflowy_nb.form("default", {"steps": 3}, client=client)
    return

@app.cell
def _(mo):
    form = mo.ui.dictionary({"cfg": mo.ui.slider(1, 12, value=7, label="cfg"), "seed": mo.ui.number(0, value=5)}).form()
    form
    return (form,)

@app.cell
def _(client, comflowy_nb, form, mo, small):
    mo.stop(form.value is None)
    run = client.run("default", {**form.value, **small})
    mo.vstack([mo.md(f"made {run.ref} with cfg {run.params['3::cfg']}"), comflowy_nb.grid(run)])
    return

if __name__ == "__main__":
    app.run()
"""


@pytest.fixture(scope="module")
def page(folder, variables, browser):
    (folder / "app.py").write_text(APP)
    port = free_port()
    options = ["--headless", "--no-token", "--host=127.0.0.1", f"--port={port}"]
    command = [sys.executable, "-m", "marimo", "run", "app.py", *options]
    with serving(command, f"http://127.0.0.1:{port}/", variables=variables, cwd=folder):
        context = browser.new_context(viewport={"width": 1280, "height": 1000})
        opened = context.new_page()
        opened.goto(f"http://127.0.0.1:{port}/", timeout=CELL_MS)
        opened.get_by_role("button", name="Submit").wait_for(timeout=CELL_MS)
        yield opened
        context.close()


def test_the_app_shows_a_grid_a_comparison_and_an_explorer(page):
    grid = page.locator("img[src^='data:image/jpeg']").first
    grid.wait_for(timeout=SHORT_MS)
    assert grid.evaluate("image => image.naturalWidth") > 500
    page.locator(".comflowy-compare img").nth(1).wait_for(timeout=SHORT_MS)
    page.locator(".comflowy-explore img").first.wait_for(timeout=SHORT_MS)
    assert page.locator(".comflowy-compare img").first.evaluate("image => image.naturalWidth") == 128
    assert page.locator(".comflowy-explore img").first.evaluate("image => image.naturalWidth") == 128


def test_the_explorer_is_a_value_of_other_cells(page):
    page.get_by_text("current: s1.1").wait_for(timeout=SHORT_MS)
    page.locator(".comflowy-explore").get_by_role("slider", name="cfg").press("ArrowRight")
    page.get_by_text("current: s1.3").wait_for(timeout=SHORT_MS)


def test_a_form_says_what_to_use_in_marimo(page):
    """The text was "execute this cell in a notebook to use it": marimo shows no widgets but those of anywidget."""
    assert 'use mo.ui and client.run("default", ...)' in page.locator("body").inner_text()


def test_a_form_of_marimo_runs_and_shows_the_image(page):
    page.get_by_role("button", name="Submit").click()
    page.get_by_text("made r5 with cfg 7").wait_for(timeout=CELL_MS)
    made = page.locator("img[src^='data:image/jpeg']").nth(1)
    made.wait_for(timeout=SHORT_MS)
    assert made.evaluate("image => image.naturalWidth") > 200
