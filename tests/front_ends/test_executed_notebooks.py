"""Notebooks executed by a command and shown as pages: `jupyter execute`, nbconvert and papermill."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from front_end_processes import SMALL, require, run, write_notebook

CELLS = (
    "%load_ext comflowy_nb\n%comflowy connect sandbox",
    f"%comflowy run default seed=7 {SMALL} --as one",
    f"%comflowy sweep default cfg=3,6 seed=1,2 {SMALL} --as grid",
    "%comflowy compare grid.1 grid.2",
    "%comflowy explore grid",
    "%comflowy form default",
)
IMAGES = 4  # of the run, the sweep, the comparison and the explorer


@pytest.fixture(scope="module")
def executed(folder, variables):
    """Return a notebook that `jupyter execute` has executed in place."""
    path = write_notebook(folder / "executed.ipynb", *CELLS)
    run("jupyter", "execute", "--inplace", path.name, variables=variables, cwd=folder)
    return path


def test_the_outputs_are_final_and_widgets_are_static(executed):
    notebook = nbformat.read(executed, as_version=4)
    texts = [[output["data"]["text/plain"] for output in cell.outputs] for cell in notebook.cells]
    assert "connected to sandbox" in texts[0][0]
    assert re.fullmatch(r"r1 one \(default\) - success in [\d.]+ s", texts[1][0])
    assert "4 of 4 success" in texts[2][1]
    for cell in notebook.cells[1:5]:
        assert any("image/jpeg" in output["data"] for output in cell.outputs), cell.source
    assert not any("widget-view" in media for cell in notebook.cells for out in cell.outputs for media in out["data"])


@pytest.mark.parametrize("to", ["html", "slides"])
@pytest.mark.browser
def test_a_converted_page_shows_all_images_without_a_network(executed, variables, browser, to):
    """The page was empty below `compare`, `explore` and `form`: it had widgets whose scripts are on the internet.

    `jupyter execute` saves the state of widgets, so that nbconvert preferred the widgets to their static versions.
    """
    run("jupyter", "nbconvert", "--to", to, executed.name, variables=variables, cwd=executed.parent)
    page_file = executed.with_suffix(".html" if to == "html" else ".slides.html")
    context = browser.new_context(offline=True, viewport={"width": 1280, "height": 1000})
    page = context.new_page()
    page.goto(page_file.as_uri())
    widths = page.evaluate("[...document.images].filter(image => image.checkVisibility()).map(i => i.naturalWidth)")
    assert len(widths) == IMAGES
    assert all(width > 128 for width in widths)
    text = page.locator("body").inner_text()
    assert "success in" in text
    assert "4 of 4 success" in text
    assert "sampler_name" in text, "the table of the form"
    assert not re.search(r"submitting|running|waiting|Error", text)
    context.close()


@pytest.mark.browser
def test_a_pdf_has_all_images(executed, folder, variables, chromium_path):
    """Convert with `nbconvert --to webpdf`, by Debian's Chromium where Playwright looks for its own."""
    require("playwright")
    playwright = variables | {"PLAYWRIGHT_BROWSERS_PATH": str(folder / "browsers")}
    code = "from playwright.sync_api import sync_playwright\nsync_playwright().start().chromium.launch()"
    failed = subprocess.run([sys.executable, "-c", code], env=playwright, check=False, capture_output=True, text=True)
    expected = Path(re.search(r"executable doesn't exist at (\S+)", failed.stderr, re.IGNORECASE)[1])
    expected.parent.mkdir(parents=True)
    expected.symlink_to(chromium_path)
    run(
        *("jupyter", "nbconvert", "--to", "webpdf", "--disable-chromium-sandbox", executed.name),
        variables=playwright,
        cwd=folder,
    )
    pdf = executed.with_suffix(".pdf").read_bytes()
    assert pdf.startswith(b"%PDF-")
    assert len(re.findall(rb"/Subtype\s*/Image", pdf)) >= IMAGES


def test_papermill_passes_parameters_and_saves_the_grid(folder, variables):
    """Run a sweep whose prompt, with a comma and quotes, and whose axis are parameters."""
    require("papermill")
    write_notebook(
        folder / "in.ipynb",
        "prompt = 'a boat'\ncfg = 4\nsamplers = ['euler']",
        "%load_ext comflowy_nb\n"
        f"%comflowy sweep default 6::text={{prompt}} cfg={{cfg}} sampler_name={{samplers}} seed=7 {SMALL} --as grid",
        "[cell.run.params for cell in grid.cells]",
        tags={0: "parameters"},
    )
    prompt = 'a glass bottle, "purple" galaxy'
    command = ["papermill", "in.ipynb", "out.ipynb", "-p", "prompt", prompt, "-p", "cfg", "7"]
    run(*command, "-y", "samplers: [euler, heun]", variables=variables | {"COMFLOWY_TARGET": "sandbox"}, cwd=folder)
    notebook = nbformat.read(folder / "out.ipynb", as_version=4)
    sweep = notebook.cells[2].outputs
    assert "2 of 2 success" in "".join(output["data"]["text/plain"] for output in sweep)
    assert sum("image/jpeg" in output["data"] for output in sweep) == 1
    submitted = notebook.cells[3].outputs[0]["data"]["text/plain"]
    assert repr(prompt) in submitted
    assert "'heun'" in submitted
    assert submitted.count("7.0") >= 2


def test_papermill_ends_at_a_run_that_fails(folder, variables):
    require("papermill")
    write_notebook(folder / "bad.ipynb", "%load_ext comflowy_nb\n%comflowy run default stepps=3", "print('went on')")
    with pytest.raises(AssertionError, match="stepps"):
        run("papermill", "bad.ipynb", "bad-out.ipynb", variables=variables | {"COMFLOWY_TARGET": "sandbox"}, cwd=folder)
    assert "went on" not in str(nbformat.read(folder / "bad-out.ipynb", as_version=4).cells[-1].outputs)
