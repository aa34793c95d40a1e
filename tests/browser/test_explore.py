"""The explorer in JupyterLab: mouse and keyboard, ratings, missing cells, running sweeps, a busy or a killed kernel."""

from __future__ import annotations

import json
import os
import re
import signal

import numpy as np
import pytest
from PIL import Image
from waiting import wait_until

from comflowy_nb.library import Library

SHORT_MS = 60_000
SETUP = """\
%load_ext comflowy_nb
%comflowy connect sandbox
s = %comflowy sweep default cfg=2,5,9 steps=2,4 seed=11,12 width=96 height=64;"""
STAGE = ".comflowy-explore .cx-stage"
GRID = ".comflowy-explore .cx-sheet"
SAMPLE = (24, 16)  # pixels of an image that are compared

# Draw images of the page small, and return their pixels.
_SAMPLES = """
([selector, width, height]) => [...document.querySelectorAll(selector)].map(image => {
  const canvas = Object.assign(document.createElement('canvas'), {width, height})
  const context = canvas.getContext('2d')
  context.drawImage(image, 0, 0, width, height)
  return [...context.getImageData(0, 0, width, height).data]
})
"""
_IS_READY = """
selector => {
  const images = [...document.querySelectorAll(selector)]
  return images.length > 0 && images.every(image => image.complete && image.naturalWidth > 0)
}
"""


@pytest.fixture(scope="module")
def swept(shared_notebook):
    """Return a notebook with a sweep of three axes, s1."""
    shared_notebook.paste(0, SETUP)
    shared_notebook.run(0)
    return shared_notebook


@pytest.fixture
def explored(swept):
    """Return a function that explores s1 as `e` in cell 1, in the light theme and the default width."""

    def make(line="e = %comflowy explore s1"):
        page = swept.page
        page.set_viewport_size({"width": 1280, "height": 1000})
        choose_theme(swept, "Light")
        swept.enter(1, line)
        page.wait_for_selector(".comflowy-explore .cx-title:not(:empty)", timeout=SHORT_MS)
        return swept

    yield make
    swept.check()


@pytest.fixture
def explored_alone(new_notebook):
    """Return a function that explores in a new notebook, whose kernel the test may block or end."""

    def make(setup=SETUP, line="e = %comflowy explore s1", **options):
        notebook = new_notebook(5, **options)
        notebook.paste(0, setup)
        notebook.run(0)
        notebook.enter(1, line)
        notebook.page.wait_for_selector(".comflowy-explore .cx-title:not(:empty)", timeout=SHORT_MS)
        return notebook

    return make


@pytest.fixture
def library(home):
    """Return the history of this test's own notebook."""
    opened = Library(home)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def shared_library(swept):
    opened = Library(swept.home)
    yield opened
    opened.close()


def choose_theme(notebook, name):
    notebook.command("apputils:change-theme", {"theme": f"JupyterLab {name}"})
    notebook.page.wait_for_function(f"document.body.dataset.jpThemeName === 'JupyterLab {name}'")


def explorer(notebook):
    found = notebook.page.locator(".comflowy-explore")
    found.scroll_into_view_if_needed()
    return found


def stage(notebook):
    explorer(notebook)
    return notebook.page.locator(STAGE)


def sweep_of(library, ref="s1"):
    return library.sweep(library.find(ref).sweep)


def samples(notebook, selector):
    """Return the pixels of images in the page, once they are decoded."""
    notebook.page.wait_for_function(_IS_READY, arg=selector, timeout=SHORT_MS)
    found = notebook.page.evaluate(_SAMPLES, [selector, *SAMPLE])
    return [np.array(pixels, float).reshape(SAMPLE[1], SAMPLE[0], 4)[..., :3] for pixels in found]


def nearest_cell(sweep, pixels):
    """Return the cell whose image on disk resembles these pixels most."""

    def distance(cell):
        small = cell.images[0].pil().convert("RGB").resize(SAMPLE, Image.Resampling.BILINEAR)
        return float(((np.asarray(small, float) - pixels) ** 2).mean())

    return min(sweep.cells, key=distance)


def shown_cell(notebook, sweep):
    """Return the cell whose image is shown large."""
    (pixels,) = samples(notebook, f"{STAGE} .cx-pane:not([hidden]) img:not([hidden])")
    return nearest_cell(sweep, pixels)


def named(notebook):
    """Return the reference that the panel names."""
    return notebook.page.locator(".comflowy-explore .cx-name b").inner_text()


def await_named(notebook, ref):
    wait_until(lambda: re.sub(r"\[0\]$", "", named(notebook)) == ref, message=lambda: named(notebook))


def notice(notebook):
    return notebook.page.locator(".comflowy-explore .cx-notice").inner_text()


# -- each image is the one of its params ------------------------------------------------------------------------------


def test_the_keyboard_reaches_every_combination_and_each_shows_its_image(explored, shared_library):
    notebook = explored()
    sweep = sweep_of(shared_library)
    keyboard = notebook.page.keyboard
    seeds = explorer(notebook).get_by_role("slider", name="seed")
    for seed in range(2):
        seeds.focus()
        keyboard.press("ArrowRight" if seed else "Home")
        stage(notebook).focus()
        for row in range(2):
            for column in range(3):
                number = column * 4 + row * 2 + seed + 1
                await_named(notebook, f"s1.{number}")
                wait_until(lambda number=number: shown_cell(notebook, sweep).number == number, message=number)
                if column < 2:
                    keyboard.press("ArrowRight")
            keyboard.press("ArrowLeft")
            keyboard.press("ArrowLeft")
            keyboard.press("ArrowUp" if row else "ArrowDown")


def test_the_sliders_move_with_the_mouse_and_python_reads_the_cell(explored, shared_library):
    notebook = explored()
    slider = explorer(notebook).get_by_role("slider", name="cfg")
    box = slider.bounding_box()
    notebook.page.mouse.click(box["x"] + box["width"] - 3, box["y"] + box["height"] / 2)
    await_named(notebook, "s1.9")
    assert shown_cell(notebook, sweep_of(shared_library)).number == 9
    notebook.enter_until(2, "print(e.current.ref, e.current.params['3::cfg'])", "s1.9 9.0")


def test_each_cell_of_the_grid_shows_the_image_of_its_params(explored, shared_library):
    notebook = explored("e = %comflowy explore s1 --x cfg --y seed")
    sweep = sweep_of(shared_library)
    explorer(notebook)
    wait_until(lambda: notebook.page.locator(f"{GRID} .cx-cell img[src]").count() == 6)
    found = [nearest_cell(sweep, pixels) for pixels in samples(notebook, f"{GRID} .cx-cell img")]
    assert {(cell.params["3::cfg"], cell.params["3::seed"]) for cell in found} == {
        (cfg, seed) for cfg in (2, 5, 9) for seed in (11, 12)
    }
    boxes = [each.bounding_box() for each in notebook.page.locator(f"{GRID} .cx-cell img").all()]
    cells_by_position = sorted(zip(boxes, found, strict=True), key=lambda pair: (round(pair[0]["y"]), pair[0]["x"]))
    assert [(cell.params["3::seed"], cell.params["3::cfg"]) for _, cell in cells_by_position] == [
        (seed, cfg) for seed in (11, 12) for cfg in (2, 5, 9)
    ]
    assert {cell.params["3::steps"] for cell in found} == {2}


def test_a_click_enlarges_the_cell_of_the_grid(explored, shared_library):
    notebook = explored("e = %comflowy explore s1 --x cfg --y steps")
    explorer(notebook)
    notebook.page.locator(f"{GRID} .cx-cell").nth(4).click()
    notebook.page.wait_for_selector(f"{STAGE}:not([hidden])", timeout=SHORT_MS)
    assert shown_cell(notebook, sweep_of(shared_library)).ref == re.sub(r"\[0\]$", "", named(notebook))


# -- ratings and Python -----------------------------------------------------------------------------------------------


def test_a_rating_is_stored_shown_and_undone(explored, shared_library):
    notebook = explored()
    first, second = sweep_of(shared_library).cells[:2]
    stage(notebook).focus()
    notebook.page.keyboard.press("4")
    wait_until(lambda: first.images[0].rating == 4)
    await_named(notebook, "s1.2")  # it moves on to the next unrated image
    notebook.page.keyboard.press("x")
    wait_until(lambda: second.images[0].rejected)
    notebook.page.keyboard.press("u")
    wait_until(lambda: not second.images[0].rejected)
    notebook.page.keyboard.press("u")
    wait_until(lambda: first.images[0].rating is None)
    await_named(notebook, "s1.1")


def test_ratings_set_in_python_appear_in_the_explorer(explored):
    notebook = explored("e = %comflowy explore s1 --x cfg --y steps")
    notebook.enter(2, "%comflowy rate s1.1 5")
    notebook.page.wait_for_function(
        "document.querySelector('.comflowy-explore .cx-rated')?.textContent === '\\u26055'", timeout=SHORT_MS
    )
    notebook.enter(2, "%comflowy rate s1.1 0")
    notebook.page.wait_for_function(
        "document.querySelector('.comflowy-explore .cx-rated')?.textContent === ''", timeout=SHORT_MS
    )


def test_the_name_of_a_score_is_on_one_line(explored):
    """JupyterLab's style for lists gave it a fifth of its column, so that each line had one letter."""
    notebook = explored()
    notebook.enter(2, "s.score(lambda image: image.width, name='sharpness');")
    name = explorer(notebook).locator(".cx-facts dt", has_text="sharpness")
    name.wait_for(timeout=SHORT_MS)
    value = name.locator("+ dd")
    assert name.bounding_box()["height"] == value.bounding_box()["height"] < 30


def test_marked_cells_are_compared(explored):
    notebook = explored()
    stage(notebook).focus()
    notebook.page.keyboard.press("m")
    notebook.page.keyboard.press("ArrowRight")
    notebook.page.keyboard.press("m")
    notebook.enter_until(2, "print([cell.ref for cell in e.selected])", "['s1.1', 's1.5']")
    notebook.enter(3, "%comflowy compare {e.selected}")
    notebook.page.wait_for_selector(".comflowy-compare .cc-stage img[src]", timeout=SHORT_MS)


def test_python_arranges_and_filters_the_view(explored):
    notebook = explored()
    notebook.enter(2, "e.x, e.y, e.where = 'cfg', 'steps', 'cfg > 4'")
    notebook.page.wait_for_selector(f"{GRID} .cx-cell", timeout=SHORT_MS)
    notebook.enter_until(3, "print([cell.number for cell in e.visible])", str([5, 6, 7, 8, 9, 10, 11, 12]))
    assert "8 shown" in explorer(notebook).inner_text()


# -- keys -------------------------------------------------------------------------------------------------------------

KEYS = ["Enter", "ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Escape", "Space", "?", *"0123456789"]
KEYS += [*"abcdefghijklmnopqrstuvwxyz", "Shift+M", "Delete", "Backspace", "-", "+", "Home", "End"]
REDRAWS = ["e.x = 'cfg'", "e.where = 'cfg > 4'", "e.where = ''", "e.x = ''", "e.selected = []"]


@pytest.mark.usefixtures("on_shared_sandbox")
def test_no_key_reaches_the_notebook_after_any_redraw(explored_alone):
    """In command mode `0 0` restarts the kernel, `d d` deletes the cell and `x` cuts it."""
    notebook = explored_alone()
    page = notebook.page
    notebook.enter(2, "import os; print(os.getpid())")
    process = notebook.text(2)
    for number, redraw in enumerate(["", *REDRAWS]):
        if redraw:
            notebook.enter(3, redraw)
        main = page.locator(f"{STAGE}:not([hidden]), .cx-sheet-frame:not([hidden]) .cx-sheet").first
        explorer(notebook)
        main.focus()
        for key in KEYS[number % 2 :: 2] if number > 1 else KEYS:
            page.keyboard.press(key)
            page.keyboard.press(key)
            inside = page.evaluate("document.querySelector('.comflowy-explore').contains(document.activeElement)")
            assert inside, f"{key} after {redraw!r} moved the focus out of the explorer"
            if key in {"?", "n"}:
                page.keyboard.press("Escape")
        page.keyboard.press("Escape")
    assert page.locator(".jp-Notebook .jp-Cell").count() == 5
    assert "explore s1" in notebook.cell(1).inner_text()
    assert notebook.enter(4, "print(os.getpid())") == process


@pytest.mark.usefixtures("on_shared_sandbox")
def test_no_key_reaches_notebook_7(explored_alone, library):
    """Notebook 7 reads a key before the explorer does, and JupyterLab after it."""
    notebook = explored_alone(line="e = %comflowy explore s1 --x cfg --y steps", within="notebooks")
    page = notebook.page
    page.locator(GRID).focus()
    for key in ["5", "x", "m", "d", "d", "0", "0", "a", "y"]:
        page.keyboard.press(key)
        inside = page.evaluate("document.querySelector('.comflowy-explore').contains(document.activeElement)")
        assert inside, f"{key} moved the focus out of the explorer"
    assert page.locator(".jp-Notebook .jp-CodeCell").count() == 5
    wait_until(lambda: sweep_of(library).cells[0].images[0].rating == 5)
    notebook.screenshot("explore-notebook-7")


# -- running ----------------------------------------------------------------------------------------------------------

STOPPED = """\
%load_ext comflowy_nb
%comflowy connect sandbox
from comflowy_nb import connect
client = connect("sandbox")
s = client.sweep("default", {"cfg": [2, 4, 6, 8], "seed": [1, 2], "steps": 4, "width": 96, "height": 64},
                 wait=False, window=1)
s.wait_change(30)
s.cancel()
s.wait()
print(s.status_counts())"""


def test_missing_and_failed_cells_are_run_after_the_plan(explored_alone, library):
    notebook = explored_alone(STOPPED)
    page = notebook.page
    before = sweep_of(library).status_counts()
    missing, cancelled = before.get("not submitted", 0), before.get("cancelled", 0)
    assert missing >= 4
    explorer(notebook).get_by_role("button", name=f"Run missing ({missing})").click()
    plan = page.locator(".cx-plan")
    page.wait_for_function("document.querySelector('.cx-plan')?.textContent.includes('new')", timeout=SHORT_MS)
    assert f"{missing} new" in plan.inner_text()
    assert sweep_of(library).status_counts() == before, "the plan submits nothing"
    page.get_by_role("button", name=f"Submit {missing} runs").click()
    wait_until(lambda: sweep_of(library).status_counts().get("success", 0) >= missing, timeout_s=120)
    assert sweep_of(library).status_counts().get("cancelled", 0) == cancelled, "they did not fail"
    page.wait_for_selector(".comflowy-explore button[data-key=run-missing][hidden]", state="attached", timeout=SHORT_MS)
    if cancelled:
        explorer(notebook).get_by_role("button", name=f"Retry failed ({cancelled})").click()
        page.locator(".comflowy-explore button[data-key=submit]").click(timeout=SHORT_MS)
    wait_until(lambda: sweep_of(library).status_counts() == {"success": 8}, timeout_s=120)
    notebook.paste(2, "e.x, e.y = 'cfg', 'seed'")
    notebook.run(2)
    wait_until(lambda: page.locator(f"{GRID} .cx-cell img[src]").count() == 8)


RUNNING = """\
%load_ext comflowy_nb
%comflowy connect sandbox
s = %comflowy sweep default cfg=2..9 seed=21,22 steps=12 width=256 height=192 --background --window 1"""


def test_a_running_sweep_is_followed_to_its_end(explored_alone, library):
    notebook = explored_alone(RUNNING, "e = %comflowy explore s1 --x cfg --y seed")
    page = notebook.page
    explorer(notebook)
    states = page.locator(f"{GRID} .cx-cell .cx-state")
    wait_until(lambda: "waiting" in " ".join(states.all_inner_texts()), message=states.all_inner_texts)
    wait_until(lambda: page.locator(f"{GRID} .cx-cell img[src]").count() == 16, timeout_s=240)
    sweep = sweep_of(library)
    found = [nearest_cell(sweep, pixels).number for pixels in samples(notebook, f"{GRID} .cx-cell img")]
    assert sorted(found) == list(range(1, 17))
    notebook.paste(2, "s.wait();")
    notebook.run(2)


# -- the kernel -------------------------------------------------------------------------------------------------------

BLOCK = "import pathlib, time\nwhile not pathlib.Path('go-on').exists(): time.sleep(0.05)"


@pytest.mark.usefixtures("on_shared_sandbox")
def test_no_rating_is_lost_while_the_kernel_is_busy(explored_alone, library, lab):
    """JupyterLab sends the request at once if the kernel has subshells. Otherwise the explorer shows that it waits."""
    notebook = explored_alone(line="e = %comflowy explore s1 --x cfg --y steps")
    page = notebook.page
    explorer(notebook)
    wait_until(lambda: page.locator(f"{GRID} .cx-cell img[src]").count() == 6)
    notebook.paste(2, BLOCK)
    notebook.press_run(2)
    notebook.cell(2).locator(".jp-InputPrompt", has_text="*").wait_for(timeout=SHORT_MS)
    page.locator(GRID).focus()
    page.keyboard.press("3")
    image = sweep_of(library).cells[0].images[0]
    busy_text = "The kernel is busy. Loaded images stay available. 1 rating not saved yet."
    wait_until(lambda: image.rating == 3 or busy_text in notice(notebook), message=lambda: notice(notebook))
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    assert page.locator(f"{GRID} .cx-cell img[src]").count() == 6, "images that were sent before are still shown"
    (lab.folder / "go-on").touch()
    notebook.await_idle(2)
    (lab.folder / "go-on").unlink()
    wait_until(lambda: image.rating == 3)
    page.wait_for_selector(".comflowy-explore .cx-notice[hidden]", state="attached", timeout=SHORT_MS)


@pytest.mark.usefixtures("on_shared_sandbox")
def test_the_explorer_works_after_a_kill_of_the_kernel_and_ratings_are_downloaded(explored_alone, library, tmp_path):
    notebook = explored_alone(line="e = %comflowy explore s1 --x cfg --y steps")
    page = notebook.page
    explorer(notebook)
    wait_until(lambda: page.locator(f"{GRID} .cx-cell img[src]").count() == 6)
    process = int(notebook.enter(2, "import os; print(os.getpid())"))
    os.kill(process, signal.SIGKILL)  # as the system does if the memory is full
    page.locator(".jp-Dialog .jp-mod-accept").click(timeout=SHORT_MS)  # JupyterLab reports the restart of the kernel
    page.locator(GRID).focus()
    page.keyboard.press("5")
    wait_until(lambda: "1 rating not saved yet" in notice(notebook), message=lambda: notice(notebook))
    page.keyboard.press("ArrowDown")
    assert page.locator(f"{GRID} .cx-cell img[src]").count() == 6
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download ratings.json").click()
    waiting.value.save_as(tmp_path / "ratings.json")
    content = json.loads((tmp_path / "ratings.json").read_text())
    (rated,) = content["images"]
    record = sweep_of(library).cells[0].images[0].record
    assert (rated["sha256"], rated["rating"]) == (record.sha256, 5)
    notebook.problems.clear()  # JupyterLab reports the lost connection to the kernel


def test_the_saved_notebook_shows_a_grid_without_a_kernel(explored):
    notebook = explored()
    saved = notebook.save()
    (output,) = [each for each in saved.cells[1].outputs if "image/jpeg" in each.get("data", {})]
    assert "s1 default: 12 cells" in output.data["text/plain"]
    assert len(json.dumps(output)) < 1_000_000
    assert str(notebook.home) not in json.dumps(saved)
    assert notebook.path.stat().st_size < 1_500_000


# -- appearance ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("theme", ["Light", "Dark"])
@pytest.mark.parametrize("width", [600, 1400])
def test_it_fits_narrow_and_wide_windows_in_both_themes(explored, theme, width):
    notebook = explored("e = %comflowy explore s1 --x cfg --y steps")
    page = notebook.page
    choose_theme(notebook, theme)
    if width == 600:
        notebook.command("application:toggle-left-area")
    page.set_viewport_size({"width": width, "height": 1000})
    explorer(notebook)
    for view in ("Grid", "Image"):
        explorer(notebook).get_by_role("radio", name=view, exact=True).click()
        selector = f"{GRID} .cx-cell img" if view == "Grid" else f"{STAGE} .cx-pane:not([hidden]) img"
        page.wait_for_function(_IS_READY, arg=selector, timeout=SHORT_MS)
        notebook.screenshot(f"explore-{view.lower()}-{theme.lower()}-{width}")
        too_wide = page.evaluate(
            "() => { const e = document.querySelector('.comflowy-explore'); return e.scrollWidth - e.clientWidth }"
        )
        assert too_wide <= 1
    if width == 600:
        notebook.command("application:toggle-left-area")
