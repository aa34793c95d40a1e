"""The notebook in docs/howto/marimo.md, shown as an app by a real server of marimo."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from front_end_processes import require, serving
from lab_pages import CELL_MS, SHORT_MS
from ports import free_port

require("marimo")
pytestmark = pytest.mark.browser

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "marimo.md"
(APP,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


FORM = """
@app.cell
def _(client, comflowy_nb):
    comflowy_nb.form("default", {"steps": 3}, client=client)
    return
"""


@pytest.fixture(scope="module")
def page(folder, variables, browser):
    (folder / "app.py").write_text(APP.replace("if __name__", f"{FORM}\n\nif __name__"))
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


def test_a_form_in_marimo_names_its_replacement(page):
    """The text was "execute this cell in a notebook to use it": marimo shows no widgets but those of anywidget."""
    assert 'use mo.ui and client.run("default", ...)' in page.locator("body").inner_text()


def test_a_form_of_marimo_runs_and_shows_the_image(page):
    page.get_by_role("button", name="Submit").click()
    page.get_by_text("made r5 with cfg 7").wait_for(timeout=CELL_MS)
    result_image = page.locator("img[src^='data:image/jpeg']").nth(1)
    result_image.wait_for(timeout=SHORT_MS)
    assert result_image.evaluate("image => image.naturalWidth") > 200
