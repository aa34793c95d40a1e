"""Runs on a ComfyUI server in JupyterLab: progress and previews on the screen."""

from __future__ import annotations

import json
import time

import pytest
from comfyui_server import ComfyServer

STEPS = 30
STEP_S = 0.1
TIMES_A_SECOND = 4

# Each image that the status showed.
WATCH_PREVIEWS = """
index => {
  window.previews = []
  const look = () => {
    const shown = window.area(index)?.querySelector('img[alt="preview"]')?.src
    if (shown && shown !== window.previews.at(-1)) window.previews.push(shown)
  }
  new MutationObserver(look).observe(window.cell(index).node, {childList: true, subtree: true, attributes: true})
}
"""


@pytest.fixture
def comfy(tmp_path):
    with ComfyServer(tmp_path / "comfyui") as server:
        server.previews = True
        yield server
    assert server.failures == []


@pytest.fixture
def connected(new_notebook, comfy):
    """Open notebooks whose first two cells load the extension and connect."""

    def make(cells):
        notebook = new_notebook(cells + 2)
        notebook.enter(0, "%load_ext comflowy_nb")
        output = notebook.enter(1, f"%comflowy connect home={comfy.url}")
        assert "home" in output
        return notebook

    return make


def run_line(**values):
    params = {"5::width": 128, "5::height": 128, "3::steps": STEPS} | values
    return "%comflowy run default " + " ".join(f"{field}={value}" for field, value in params.items())


def test_a_run_shows_its_nodes_steps_and_preview_and_ends_in_the_image(connected, comfy):
    notebook = connected(1)
    comfy.pause_at("3", 12)
    notebook.type(2, run_line())
    notebook.press_run(2)
    notebook.await_text(2, f"12/{STEPS}")
    notebook.await_images(2, 1)  # the latent preview, decoded
    live = notebook.text(2)
    assert "KSampler" in live
    assert "4 of 7 nodes" in live
    notebook.screenshot("comfyui-preview-light", cells=3)
    notebook.command("apputils:change-theme", {"theme": "JupyterLab Dark"})
    notebook.page.wait_for_selector('body[data-jp-theme-light="false"]', state="attached")
    notebook.screenshot("comfyui-preview-dark", cells=3)
    comfy.resume()
    notebook.await_idle(2)
    assert "success" in notebook.text(2)
    notebook.await_images(2, 1)
    assert notebook.page.locator('img[alt="preview"]').count() == 0
    notebook.screenshot("comfyui-run", cells=3)
    assert "preview" not in json.dumps(notebook.save().cells[2].outputs)


def test_many_previews_update_the_screen_at_most_four_times_a_second(connected, comfy):
    notebook = connected(1)
    comfy.step_s = STEP_S
    notebook.type(2, run_line())
    notebook.page.evaluate(WATCH_PREVIEWS, 2)
    began_s = time.monotonic()
    notebook.press_run(2)
    notebook.await_idle(2)
    took_s = time.monotonic() - began_s
    previews = notebook.page.evaluate("() => window.previews")
    assert len(previews) >= 2, "no preview was seen to change"
    assert len(previews) <= TIMES_A_SECOND * took_s + 1
