"""A sweep in JupyterLab: the plan, the grid while it fills in, and the state after an interrupt."""

from __future__ import annotations

import itertools
import re

import pytest

LOAD = "%load_ext comflowy_nb"
CONNECT = "%comflowy connect sandbox"
SWEEP = (
    "%comflowy sweep default 3::cfg=2..8..2 3::sampler_name=euler,heun,dpmpp_2m 3::seed=7 5::width=192 5::height=192"
)
BODY = """%%comflowy sweep default --as bottles
cfg: 2..8..2
sampler_name: [euler, dpmpp_2m]
seed: 7
steps: 40
width: 256
height: 256"""

# The URLs of all images that the cell's output showed since this call: one for each update of the grid.
_WATCH_IMAGES = """
index => {
  const seen = window.grids = []
  const look = () => {
    for (const image of window.area(index)?.querySelectorAll('img') ?? []) {
      if (seen.at(-1) !== image.src) seen.push(image.src)
    }
  }
  new MutationObserver(look).observe(window.cell(index).node, {childList: true, subtree: true, attributes: true})
}
"""

# The number of grid cells with an image: an empty cell is grey or white.
_COLOURED = """
async ([index, which]) => {
  const image = new Image()
  image.src = which === null ? window.area(index).querySelector('img').src : window.grids[which]
  await image.decode()
  const canvas = document.createElement('canvas')
  canvas.width = image.naturalWidth
  canvas.height = image.naturalHeight
  const paper = canvas.getContext('2d')
  paper.drawImage(image, 0, 0)
  const pixels = paper.getImageData(0, 0, canvas.width, canvas.height).data
  let coloured = 0
  for (let at = 0; at < pixels.length; at += 4) {
    const [r, g, b] = [pixels[at], pixels[at + 1], pixels[at + 2]]
    if (Math.max(r, g, b) - Math.min(r, g, b) > 40) coloured += 1
  }
  return coloured / (pixels.length / 4)
}
"""


@pytest.fixture
def connected(new_notebook):
    """Open notebooks whose first two cells load the extension and connect."""

    def make(cells):
        notebook = new_notebook(cells + 2)
        notebook.enter(0, LOAD)
        notebook.enter(1, CONNECT)
        return notebook

    return make


def await_done(notebook, index, counts):
    """Wait until a number of cells are done; a pattern, because counts may be skipped."""
    met = "([index, counts]) => new RegExp(counts + ' done').test(window.outputText(index))"
    notebook._await(met, [index, counts], index)


def test_a_grid_fills_in_during_the_runs(connected):
    notebook = connected(1)
    notebook.type(2, BODY)
    notebook.page.evaluate(_WATCH_IMAGES, 2)
    notebook.press_run(2)
    notebook.await_images(2, 1)
    notebook.screenshot("sweep-half", cells=3)
    notebook.await_idle(2)
    notebook.await_text(2, "8 of 8 success")
    notebook.await_images(2, 1)
    notebook.screenshot("sweep-whole", cells=3)

    assert "8 cells: 8 new" in notebook.text(2)
    assert any(re.search("[3-7] of 8 done", text) for text in notebook.texts_shown(2)), notebook.texts_shown(2)
    assert notebook.most_images_seen(2) == 1, "the grid was drawn twice"
    count = notebook.page.evaluate("window.grids.length")
    shares = [notebook.page.evaluate(_COLOURED, [2, number]) for number in range(count)]
    assert len({round(share, 3) for share in shares}) >= 4, f"it did not fill in step by step: {shares}"
    assert all(later >= earlier - 0.01 for earlier, later in itertools.pairwise(shares)), shares
    assert shares[-1] > shares[0] + 0.2, shares
    saved = notebook.save()
    images = [output for output in saved.cells[2].outputs if "image/jpeg" in output.get("data", {})]
    assert len(images) == 1
    assert len(notebook.path.read_text()) < 1024 * 1024

    again = notebook.run(2)
    assert "8 done (today, sandbox)" in again
    assert "new" not in again.splitlines()[0]
    notebook.await_images(2, 1)


def test_an_interrupt_keeps_the_grid_and_the_same_cell_continues(connected):
    notebook = connected(1)
    notebook.type(2, f"{SWEEP.replace('192', '256')} 3::steps=40")
    notebook.press_run(2)
    await_done(notebook, 2, r"\b[1-3] of 12")
    notebook.command("notebook:interrupt-kernel")
    notebook.await_idle(2)
    output = notebook.text(2)
    assert "KeyboardInterrupt" in output
    assert "Run the cell again to continue" in output
    assert "Traceback" not in output
    notebook.await_images(2, 1)
    notebook.screenshot("sweep-interrupted")
    again = notebook.run(2)
    assert "12 of 12 success" in again
    assert " done (today, sandbox)" in again.splitlines()[0]
    assert " cancelled (tried again)" in again.splitlines()[0]
    notebook.await_images(2, 1)


@pytest.mark.usefixtures("on_shared_sandbox")
def test_a_background_sweep_is_shown_in_the_cell_that_started_it(connected):
    notebook = connected(2)
    notebook.enter(2, f"{SWEEP} --background --as back")
    assert notebook.enter(3, "print(6 * 7)") == "42", "the kernel was to stay free"
    notebook.await_text(2, "12 of 12 success")
    notebook.await_images(2, 1)
    assert notebook.images(3) == []
    assert notebook.enter(3, "print(back.status_counts())") == "{'success': 12}"


@pytest.mark.usefixtures("on_shared_sandbox")
@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_a_sweep_is_readable_in_both_themes(connected, theme):
    notebook = connected(1)
    notebook.command("apputils:change-theme", {"theme": theme})
    notebook.page.wait_for_function("theme => document.body.dataset.jpThemeName === theme", arg=theme)
    output = notebook.enter(
        2,
        """%%comflowy sweep default --z prompt
3::cfg: [3, 9]
3::sampler_name: [euler, no-such-sampler]
""",
    )
    assert "no-such-sampler" in output
    notebook.enter(
        2,
        """%%comflowy sweep default
3::cfg: [3, 9]
6::text: {day: "a glass bottle at noon", night: "a glass bottle under stars"}
3::seed: 7
5::width: 128
5::height: 128""",
    )
    notebook.await_text(2, "4 of 4 success")
    notebook.await_images(2, 1)
    notebook.screenshot(f"sweep-{theme.split()[-1].lower()}")
