"""Cells typed into JupyterLab, with runs on the sandbox."""

from __future__ import annotations

import json
import re

import nbformat
import pytest
from nbconvert import HTMLExporter

SHORT_MS = 60_000  # timeout for changes of the page without an execution

LOAD = "%load_ext comflowy_nb"
CONNECT = "%comflowy connect sandbox"
# The example of the API page.
RUN = """%%comflowy run default
"3::sampler_name": "euler",
"6::text": "beautiful scenery nature glass bottle landscape, purple galaxy bottle,\""""
LONG = "%comflowy run default 3::steps=2000 3::seed=5"


@pytest.fixture
def connected_alone(new_notebook):
    """Open notebooks whose first two cells load the extension and connect, which starts a sandbox."""

    def make(cells, **options):
        notebook = new_notebook(cells + 2, **options)
        notebook.enter(0, LOAD)
        notebook.enter(1, CONNECT)
        return notebook

    return make


@pytest.fixture
def connected(on_shared_sandbox, connected_alone):
    """Open notebooks as `connected_alone`, but on the shared sandbox."""
    return connected_alone


def outputs_of(notebook_file, index):
    return notebook_file.cells[index].outputs


def key_of(home):
    return json.loads((home / "sandbox" / "address.json").read_text())["key"]


def test_three_cells_give_a_live_status_and_one_grid(connected_alone):
    notebook = connected_alone(1)
    assert "sandbox" in notebook.text(1)
    output = notebook.enter_typed(2, RUN.replace('"3::sampler', '"3::steps": 120,\n"3::sampler'))
    notebook.await_images(2, 1)

    assert "r1" in output
    assert "success" in output
    texts_shown = notebook.texts_shown(2)
    states = [word for text in texts_shown for word in re.findall("waiting|pending|running|success", text)[:1]]
    assert states[-1] == "success"
    assert "running" in states, f"only seen: {texts_shown}"
    assert states == sorted(states, key=["waiting", "pending", "running", "success"].index), "a status went back"
    steps = {match for text in texts_shown for match in re.findall(r"(\d+)/120", text)}
    assert steps, f"no step was seen live: {texts_shown}"
    assert notebook.most_images_seen(2) == 1, "the grid was drawn twice"
    notebook.screenshot("three-cells-light", cells=3)


def test_running_again_submits_nothing_and_reports_it(connected):
    notebook = connected(2)
    notebook.enter(2, RUN)
    notebook.await_images(2, 1)
    again = notebook.run(2)
    assert "same as r1" in again
    assert "nothing submitted" in again
    notebook.await_images(2, 1)
    listing = notebook.enter(3, "%comflowy runs")
    assert "r1" in listing
    assert "r2" not in listing


def test_a_background_run_is_shown_in_the_cell_that_started_it(connected):
    notebook = connected(3)
    notebook.enter(2, "%comflowy run default 3::steps=300 3::seed=3 --background")
    assert notebook.images(2) == [], "the cell was to return before its image is there"
    assert notebook.enter(3, "print(6 * 7)") == "42"
    notebook.await_images(2, 1)
    assert "success" in notebook.text(2)
    assert notebook.text(3) == "42"
    assert notebook.images(3) == []
    output = notebook.enter(4, "%comflowy show last")
    notebook.await_images(4, 1)
    assert "r1" in output


def test_interrupt_cancels_the_run_and_stops_the_queue(connected):
    notebook = connected(2)
    notebook.type(2, LONG)
    notebook.type(3, "print('went on')")
    notebook.press_run(2)
    notebook.await_text(2, "running")
    notebook.page.evaluate("index => window.watch(index)", 3)
    notebook.press_run(3)  # waits for the first
    notebook.command("notebook:interrupt-kernel")
    notebook.await_idle(2)
    output = notebook.text(2)
    assert "cancelled" in output
    assert "KeyboardInterrupt" in output
    assert "Traceback" not in output
    assert notebook.images(2) == []
    assert "went on" not in notebook.text(3)


def test_an_error_is_one_plain_line(connected):
    notebook = connected(1)
    output = notebook.enter_typed(2, "%comflowy run default stepps=3")
    assert "steps" in output
    assert "Traceback" not in output
    assert len(output.splitlines()) <= 2


def test_tab_completes_a_field(connected):
    notebook = connected(1)
    notebook.type(2, "%comflowy run default sampler_n")
    notebook.page.keyboard.press("Tab")
    # JupyterLab inserts a single completion immediately, or opens a list with one entry.
    typed = "window.cell(2).model.sharedModel.source.endsWith('sampler_name=')"
    selected_completion = "document.querySelector('.jp-Completer:not(.lm-mod-hidden) .jp-mod-active')?.dataset.value"
    notebook.page.wait_for_function(f"{typed} || {selected_completion} === 'sampler_name='", timeout=SHORT_MS)
    if not notebook.page.evaluate(typed):
        notebook.page.keyboard.press("Enter")
    notebook.page.wait_for_function(typed, timeout=SHORT_MS)


def test_runs_in_notebook_7(connected):
    notebook = connected(1, within="notebooks")
    assert "success" in notebook.enter_typed(2, RUN)
    notebook.await_images(2, 1)
    assert notebook.most_images_seen(2) == 1
    assert "same as r1" in notebook.run(2)
    notebook.screenshot("notebook-7")


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_status_and_grid_are_readable_in_both_themes(connected, theme):
    notebook = connected(2)
    notebook.command("apputils:change-theme", {"theme": theme})
    notebook.page.wait_for_function("theme => document.body.dataset.jpThemeName === theme", arg=theme)
    notebook.enter(2, "%comflowy run default 3::seed=11")
    notebook.await_images(2, 1)
    ratio = notebook.page.evaluate(_CONTRAST, 2)
    notebook.screenshot(f"status-{theme.split()[-1].lower()}")
    assert ratio >= 4.5, f"the status is too faint in {theme}: {ratio:.1f}"


# The smallest contrast (WCAG 2.1) of a text in the status with its background.
_CONTRAST = """
index => {
  const lightness = ([r, g, b]) => {
    const linear = [r, g, b].map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
  }
  const numbers = colour => colour.match(/[\\d.]+/g).map(Number)
  const behind = node => {
    for (let at = node; at; at = at.parentElement) {
      const colour = numbers(getComputedStyle(at).backgroundColor)
      if ((colour[3] ?? 1) > 0.5) return colour
    }
    return [255, 255, 255]
  }
  const opacity = node => {
    let whole = 1
    for (let at = node; at; at = at.parentElement) whole *= Number(getComputedStyle(at).opacity)
    return whole
  }
  const ratios = []
  const html = window.area(index).querySelector('.jp-RenderedHTMLCommon')
  for (const node of [html, ...html.querySelectorAll('*')]) {
    if (![...node.childNodes].some(child => child.nodeType === 3 && /\\w/.test(child.textContent))) continue
    const [ground, share] = [behind(node), opacity(node)]
    const ink = numbers(getComputedStyle(node).color).slice(0, 3).map((v, i) => v * share + ground[i] * (1 - share))
    const pair = [lightness(ink), lightness(ground)].sort((a, b) => b - a)
    ratios.push((pair[0] + 0.05) / (pair[1] + 0.05))
  }
  return Math.min(...ratios)
}
"""


def test_a_saved_notebook_is_small_without_secrets_and_complete_without_javascript(connected, browser, tmp_path):
    notebook = connected(1)
    notebook.enter(2, RUN)
    notebook.await_images(2, 1)
    saved = notebook.save()

    raw = notebook.path.read_text()
    assert len(raw) < 1024 * 1024
    assert key_of(notebook.home) not in raw
    assert str(notebook.home) not in raw
    assert "127.0.0.1" not in raw
    assert "widgets" not in saved.metadata
    assert "<script" not in "".join(str(output.get("data", {}).get("text/html")) for output in outputs_of(saved, 2))

    body, _ = HTMLExporter().from_notebook_node(nbformat.from_dict(saved))
    page_file = tmp_path / "saved.html"
    page_file.write_text(body)
    context = browser.new_context(java_script_enabled=False, offline=True, viewport={"width": 1280, "height": 1200})
    page = context.new_page()
    page.goto(page_file.as_uri())
    outputs = page.locator(".jp-Cell").nth(2).locator(".jp-OutputArea-output")
    texts = " ".join(outputs.all_inner_texts())
    assert "r1" in texts
    assert "success" in texts
    image = page.locator(".jp-Cell").nth(2).locator("img")
    assert image.count() == 1
    box = image.bounding_box()
    assert box["width"] > 100
    assert box["height"] > 100
    context.close()


def test_a_reopened_notebook_shows_the_same_outputs(connected):
    notebook = connected(1)
    notebook.enter(2, RUN)
    notebook.await_images(2, 1)
    notebook.save()
    notebook.open()
    notebook.await_images(2, 1)
    notebook.await_text(2, "success")
