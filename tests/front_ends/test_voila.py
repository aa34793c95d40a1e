"""A notebook as a page of Voila."""

from __future__ import annotations

import sys

import pytest
from front_end_processes import SMALL, require, serving, write_notebook
from lab_pages import CELL_MS, SHORT_MS
from ports import free_port

require("voila")
pytestmark = pytest.mark.browser

IMAGES = "[...document.querySelectorAll('%s img')].filter(i => i.checkVisibility()).map(i => i.naturalWidth)"


@pytest.fixture(scope="module")
def page(folder, variables, browser):
    """Open a page with a sweep, a comparison, an explorer and a form."""
    write_notebook(
        folder / "page.ipynb",
        "%load_ext comflowy_nb\n%comflowy connect sandbox",
        f"%comflowy sweep default cfg=3,6 seed=1,2 {SMALL} --as grid",
        "%comflowy compare grid.1 grid.2",
        "%comflowy explore grid",
        f"%comflowy form default {SMALL} seed=5",
    )
    port = free_port()
    options = ["--no-browser", f"--port={port}", "--Voila.ip=127.0.0.1"]
    command = [sys.executable, "-m", "voila", "page.ipynb", *options]
    with serving(command, f"http://127.0.0.1:{port}/voila/static/favicon.ico", variables=variables, cwd=folder):
        context = browser.new_context(viewport={"width": 1280, "height": 1000})
        opened = context.new_page()
        opened.goto(f"http://127.0.0.1:{port}/", timeout=CELL_MS)
        opened.wait_for_selector(".comflowy-explore img", timeout=CELL_MS)
        yield opened
        context.close()


def await_images(page, selector, count):
    page.wait_for_function(f"{IMAGES % selector}.filter(Boolean).length === {count}", timeout=SHORT_MS)


def test_the_page_shows_a_grid_a_comparison_and_an_explorer(page):
    await_images(page, ".jp-RenderedImage", 1)
    await_images(page, ".comflowy-compare", 2)
    await_images(page, ".comflowy-explore", 1)
    text = page.locator("body").inner_text()
    assert "4 of 4 success" in text
    assert "In [" not in text


def test_the_explorer_moves_along_an_axis_and_rates(page):
    explorer = page.locator(".comflowy-explore")
    assert "cfg 3, seed 1" in explorer.inner_text()
    explorer.get_by_role("slider", name="cfg").press("ArrowRight")
    page.wait_for_function("document.querySelector('.comflowy-explore').innerText.includes('cfg 6, seed 1')")
    await_images(page, ".comflowy-explore", 1)


def test_a_form_runs_and_shows_its_image(page):
    """Only a thumbnail was shown: the image below the form is an update of a display, which Voila does not apply."""
    page.get_by_role("button", name="Run", exact=True).click()
    page.wait_for_function("document.body.innerText.match(/r5 default - .*success/s)", timeout=SHORT_MS)
    widths = "[...document.images].filter(i => i.checkVisibility()).map(i => i.naturalWidth)"
    page.wait_for_function(f"{widths}.filter(width => width > 200).length === 2", timeout=SHORT_MS)
