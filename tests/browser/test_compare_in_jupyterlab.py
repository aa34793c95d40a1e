"""A comparison in JupyterLab and Notebook 7: mouse, keyboard, and values read in Python."""

from __future__ import annotations

import re

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect

SHORT_MS = 60_000
PROMPTS = ("beautiful scenery, glass bottle, purple galaxy", "beautiful scenery, wooden bottle, galaxy")
RUN = '%comflowy run default 3::seed=7 3::cfg={cfg} 6::text="{text}"'
SETUP = "\n".join(
    [
        "%load_ext comflowy_nb",
        "%comflowy connect sandbox",
        RUN.format(cfg=7, text=PROMPTS[0]),
        RUN.format(cfg=4, text=PROMPTS[1]),
    ]
)
SHOWN = ".comflowy-compare .cc-stage img[src]:not([hidden])"


@pytest.fixture(scope="module")
def two_runs(shared_notebook):
    """Return a notebook with two runs, which most tests share."""
    shared_notebook.paste(0, SETUP)
    shared_notebook.run(0)
    return shared_notebook


@pytest.fixture
def compared(two_runs):
    """Run `c = %comflowy compare r1 r2` again in cell 1, in the light theme and the default width."""

    def make(line="%comflowy compare r1 r2"):
        page = two_runs.page
        page.set_viewport_size({"width": 1280, "height": 1000})
        page.emulate_media(reduced_motion="no-preference")
        two_runs.command("apputils:change-theme", {"theme": "JupyterLab Light"})
        page.wait_for_function("document.body.dataset.jpThemeName === 'JupyterLab Light'")
        compare(two_runs, line)
        return two_runs

    yield make
    two_runs.check()


@pytest.fixture
def compared_alone(new_notebook):
    """Run the same in a new notebook, followed by this many empty cells."""

    def make(more=1, line="%comflowy compare r1 r2", **options):
        notebook = new_notebook(2 + more, **options)
        notebook.paste(0, SETUP)
        notebook.run(0)
        compare(notebook, line)
        return notebook

    return make


def compare(notebook, line):
    notebook.enter(1, f"c = {line}")
    notebook.page.wait_for_selector(SHOWN, timeout=SHORT_MS)
    await_decoded(notebook)


def await_decoded(notebook):
    """Wait until each displayed image is decoded."""
    images = f"[...document.querySelectorAll('{SHOWN}')]"
    notebook.page.wait_for_function(f"{images}.length && {images}.every(image => image.naturalWidth)", timeout=SHORT_MS)


def widget(notebook):
    comparison = notebook.page.locator(".comflowy-compare")
    comparison.scroll_into_view_if_needed()
    return comparison


def stage(notebook):
    return widget(notebook).locator(".cc-stage")


def slider(notebook):
    return widget(notebook).get_by_role("slider", name="Slider between the two images")


def choose(notebook, name):
    widget(notebook).get_by_role("radio", name=name, exact=True).click()
    assert is_chosen(notebook, name)


def is_chosen(notebook, name):
    return widget(notebook).get_by_role("radio", name=name, exact=True).get_attribute("aria-checked") == "true"


def height(notebook):
    return notebook.page.evaluate("document.querySelector('.comflowy-compare').getBoundingClientRect().height")


def image_boxes(notebook):
    """Return position within its pane and size of each displayed image."""
    return notebook.page.evaluate(
        """() => [...document.querySelectorAll('.comflowy-compare .cc-pane')].map(pane => {
          const [outer, inner] = [pane, pane.querySelector('img')].map(each => each.getBoundingClientRect())
          return [inner.x - outer.x, inner.y - outer.y, inner.width, inner.height].map(Math.round)
        })"""
    )


def line_x(notebook):
    """Return the x of the slider's line in the window, and the image's left edge and width."""
    box = notebook.page.locator(".comflowy-compare .cc-handle").bounding_box()
    image = notebook.page.locator(SHOWN).first.bounding_box()
    return box["x"] + box["width"] / 2, image["x"], image["width"]


def test_the_table_lists_differences_and_marks_the_words(compared):
    notebook = compared()
    table = widget(notebook).locator("table")
    assert table.locator("thead th").all_inner_texts() == ["cfg", "text"]
    assert table.locator("tbody tr").all_inner_texts() == [f"r1\t7\t{PROMPTS[0]}", f"r2\t4\t{PROMPTS[1]}"]
    assert table.locator("mark").all_inner_texts() == ["glass", "purple", "wooden"]
    assert "same in all: seed 7" in widget(notebook).inner_text()
    assert notebook.page.locator(".comflowy-compare").count() == 1, "it is shown once, though it is a value too"


def test_the_slider_is_dragged_and_python_reads_its_position(compared):
    notebook = compared()
    stage(notebook)
    mouse = notebook.page.mouse
    x, left, width = line_x(notebook)
    assert x == pytest.approx(left + width / 2, abs=1.5)
    y = stage(notebook).bounding_box()["y"] + 60
    mouse.move(x, y)
    mouse.down()
    mouse.move(left + width * 0.4, y, steps=4)
    mouse.move(left + width * 0.25, y, steps=4)
    mouse.up()
    x, left, width = line_x(notebook)
    assert x == pytest.approx(left + width * 0.25, abs=1.5)
    notebook.enter_until(2, "print(abs(c.position - 25) <= 0.5)", "True")
    notebook.enter(3, "c.position = 80")
    notebook.page.wait_for_function("document.querySelector('.cc-handle input').value === '80'", timeout=SHORT_MS)
    x, left, width = line_x(notebook)
    assert x == pytest.approx(left + width * 0.8, abs=1.5)


def test_arrow_keys_move_the_slider_and_nothing_else_in_the_notebook(compared):
    notebook = compared()
    stage(notebook)
    handle = slider(notebook)
    handle.focus()
    press = notebook.page.keyboard.press
    cells = notebook.page.locator(".jp-Notebook .jp-Cell").count()
    for key, position in [
        ("ArrowRight", "51"), ("Shift+ArrowRight", "61"), ("ArrowLeft", "60"), ("ArrowDown", "59"), ("ArrowUp", "60"),
        ("Home", "0"), ("End", "100"), ("PageDown", "90"),
    ]:  # fmt: skip
        press(key)
        assert handle.input_value() == position, key
    assert handle.get_attribute("aria-valuetext") == "90 percent: r1 on the left, r2 on the right"
    for key in "axdd":  # in JupyterLab's command mode: new cell, cut, delete
        press(key)
    assert notebook.page.locator(".jp-Notebook .jp-Cell").count() == cells
    notebook.enter_until(2, "print(c.position, c.mode)", "90.0 difference")


def test_keys_choose_the_mode_and_focus_is_visible(compared):
    notebook = compared()
    stage(notebook).focus()
    heights = set()
    for key, name in [("b", "Blink"), ("g", "Side by side"), ("d", "Difference"), ("s", "Slider"), ("2", "Slider")]:
        notebook.page.keyboard.press(key)
        assert is_chosen(notebook, name), key
        if key == "d":
            expect(widget(notebook).locator(".cc-numbers")).to_contain_text("Mean absolute error")
        heights.add(height(notebook))
    assert len(heights) == 1, "the page jumps when the mode changes"
    modes = widget(notebook).get_by_role("radiogroup", name="How to compare").get_by_role("radio")
    modes.first.focus()
    notebook.page.keyboard.press("ArrowRight")
    assert is_chosen(notebook, "Blink")
    focused = notebook.page.evaluate(
        "(({outlineStyle, outlineWidth}) => [document.activeElement.ariaLabel, outlineStyle, outlineWidth])"
        "(getComputedStyle(document.activeElement))"
    )
    assert focused == ["Blink", "solid", "2px"]
    notebook.enter_until(2, "print(c.mode)", "blink")


def test_tab_reaches_every_control_and_each_has_a_name(compared):
    notebook = compared()
    widget(notebook).locator(".cc-scroll").focus()
    names = []
    for _ in range(20):
        named = notebook.page.evaluate(
            "(at => at.closest('.comflowy-compare') && (at.ariaLabel || at.innerText))(document.activeElement)"
        )
        if not named:
            break
        names.append(named)
        notebook.page.keyboard.press("Tab")
    assert names[:9] == [
        "Differences", "Slider", "Left image", "Swap the two images", "Right image",
        "Zoom out", "Zoom in", "Fit", "Actual pixels",
    ]  # fmt: skip
    assert "Plus and minus zoom" in names[9]
    assert names[10] == "Slider between the two images"


def test_side_by_side_mode_zooms_and_pans_all_images_together(compared):
    notebook = compared()
    choose(notebook, "Side by side")
    await_decoded(notebook)
    before = image_boxes(notebook)
    assert len(before) == 2
    assert before[0] == before[1]
    stage(notebook).focus()
    notebook.page.keyboard.press("+")
    notebook.page.keyboard.press("+")
    zoomed = image_boxes(notebook)
    assert zoomed[0] == zoomed[1]
    assert zoomed[0][2] == pytest.approx(before[0][2] * 2.25, rel=0.02)
    notebook.page.keyboard.press("ArrowRight")
    notebook.page.keyboard.press("Shift+ArrowDown")
    moved = image_boxes(notebook)
    assert moved[0] == moved[1]
    assert moved[0][0] < zoomed[0][0]
    assert moved[0][1] < zoomed[0][1]
    box = stage(notebook).bounding_box()
    mouse = notebook.page.mouse
    mouse.move(box["x"] + 100, box["y"] + 100)
    mouse.down()
    mouse.move(box["x"] + 140, box["y"] + 130, steps=4)
    mouse.up()
    dragged = image_boxes(notebook)
    assert dragged[0] == dragged[1]
    assert dragged[0][0] - moved[0][0] == pytest.approx(40, abs=2)
    assert dragged[0][1] - moved[0][1] == pytest.approx(30, abs=2)
    notebook.screenshot("compare-zoomed")
    notebook.page.keyboard.press("f")
    assert image_boxes(notebook) == before
    mouse.move(box["x"] + 100, box["y"] + 100)
    notebook.page.keyboard.down("Control")
    mouse.wheel(0, -60)
    notebook.page.keyboard.up("Control")
    notebook.page.wait_for_function(
        "width => document.querySelector('.cc-pane img').getBoundingClientRect().width > width", arg=before[0][2] + 5
    )
    first, second = image_boxes(notebook)
    assert first == second
    # The point under the pointer does not move.
    assert (100 - first[0]) / first[2] == pytest.approx((100 - before[0][0]) / before[0][2], abs=0.01)


def test_full_size_images_are_sent_when_zoomed_and_their_urls_are_revoked(compared_alone, tmp_path):
    """Large images are sent as previews; zooming in requests the files, and closing frees all of them."""
    notebook = compared_alone(more=3)
    for name in ("one", "two"):
        wave = np.linspace(0, 255, 1500 * 1000 * 3).reshape(1000, 1500, 3).astype("uint8")
        Image.fromarray(wave if name == "one" else 255 - wave).save(notebook.home / f"{name}.png")
    notebook.page.evaluate(_COUNT_ADDRESSES)
    lines = [
        "import os; home = os.environ['COMFLOWY_HOME']",
        "d = %comflowy compare {home}/one.png {home}/two.png --mode side",
        "c.close()",
    ]
    notebook.paste(2, "\n".join(lines))
    notebook.run(2)
    own = notebook.page.locator(".comflowy-compare").last
    own.scroll_into_view_if_needed()
    sizes = "[...document.querySelectorAll('.comflowy-compare')].at(-1).querySelectorAll('.cc-stage img')"
    widths = f"[...{sizes}].map(image => image.naturalWidth).join()"
    notebook.page.wait_for_function(f"{widths} === '512,512' || {widths} === '1500,1500'", timeout=SHORT_MS)
    own.get_by_role("button", name="Actual pixels").click()
    notebook.page.wait_for_function(f"{widths} === '1500,1500'", timeout=SHORT_MS)
    assert own.locator(".cc-zoom output").inner_text() == "100\u00a0%"
    notebook.enter(3, "d.close()")
    notebook.page.wait_for_function("document.querySelectorAll('.comflowy-compare').length === 0", timeout=SHORT_MS)
    notebook.page.wait_for_function("window.addresses.size === 0", timeout=SHORT_MS)
    assert notebook.page.evaluate("window.most") >= 4


# Object URLs that are not revoked yet.
_COUNT_ADDRESSES = """
() => {
  window.addresses = new Set()
  window.most = 0
  const [make, revoke] = [URL.createObjectURL, URL.revokeObjectURL]
  URL.createObjectURL = (...given) => {
    const url = make.apply(URL, given)
    window.most += 1
    return window.addresses.add(url) && url
  }
  URL.revokeObjectURL = url => { window.addresses.delete(url); revoke.call(URL, url) }
}
"""


def test_difference_shows_a_map_its_scale_and_the_meaning_of_the_numbers(compared):
    notebook = compared()
    choose(notebook, "Difference")
    await_decoded(notebook)
    footer = widget(notebook).locator(".cc-foot").inner_text()
    assert re.search(r"Mean absolute error [\d.]+ of 255 · PSNR [\d.]+ dB", footer)
    assert "not which image is better" in footer
    map_ = widget(notebook).get_by_role("img", name="Where r1 and r2 differ")
    assert map_.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [512, 512]


def test_blink_alternates_and_stops_with_reduced_motion(compared):
    notebook = compared()
    choose(notebook, "Blink")
    now = "[...document.querySelectorAll('.cc-layer')].findIndex(layer => !layer.classList.contains('cc-off'))"
    first = notebook.page.evaluate(now)
    notebook.page.wait_for_function(f"{now} !== {first}", timeout=SHORT_MS)
    notebook.page.wait_for_function(f"{now} === {first}", timeout=SHORT_MS)
    notebook.page.emulate_media(reduced_motion="reduce")
    widget(notebook).get_by_role("button", name="Play").wait_for(timeout=SHORT_MS)
    still = notebook.page.evaluate(now)
    stage(notebook).focus()
    notebook.page.keyboard.press("ArrowRight")
    assert notebook.page.evaluate(now) != still


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_every_mode_is_readable_in_both_themes(compared, theme):
    notebook = compared()
    notebook.command("apputils:change-theme", {"theme": theme})
    notebook.page.wait_for_function("theme => document.body.dataset.jpThemeName === theme", arg=theme)
    for name in ("Slider", "Blink", "Side by side", "Difference"):
        choose(notebook, name)
        await_decoded(notebook)
        notebook.screenshot(f"compare-{name.split()[0].lower()}-{theme.split()[-1].lower()}")
    ratios = notebook.page.evaluate(_CONTRASTS)
    assert min(ratios.values()) >= 4.5, ratios


# Contrast (WCAG 2.1) of the texts with their background.
_CONTRASTS = """
() => {
  const numbers = colour => {  // `rgb(0, 0, 0)`, and `color(srgb 0 0 0 / 0.5)` of a mixture
    const found = colour.match(/[\\d.]+/g).map(Number)
    return colour.startsWith('color(') ? found.map((v, i) => i < 3 ? v * 255 : v) : found
  }
  const light = rgb => rgb.map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0)
  const behind = node => {
    const layers = []
    for (let at = node; at; at = at.parentElement) {
      const [r, g, b, a = 1] = numbers(getComputedStyle(at).backgroundColor)
      layers.push([[r, g, b], a])
      if (a === 1) break
    }
    return layers.reverse().reduce((under, [rgb, a]) => rgb.map((v, i) => v * a + under[i] * (1 - a)), [255, 255, 255])
  }
  const found = {}
  for (const node of document.querySelectorAll('.comflowy-compare *')) {
    const text = [...node.childNodes].filter(each => each.nodeType === 3).map(each => each.textContent).join('').trim()
    if (!/\\w/.test(text) || node.closest('.cc-off, .cc-unseen, .cc-chip, option')) continue
    const [r, g, b, a = 1] = numbers(getComputedStyle(node).color)
    const ground = behind(node)
    const ink = [r, g, b].map((v, i) => v * a + ground[i] * (1 - a))
    const [high, low] = [light(ink), light(ground)].sort((x, y) => y - x)
    found[text.slice(0, 40)] = (high + 0.05) / (low + 0.05)
  }
  return found
}
"""


@pytest.mark.parametrize(("width", "zoom"), [(700, 1), (1280, 2)])
def test_nothing_is_clipped_in_a_narrow_window_or_at_200_percent(compared, width, zoom):
    notebook = compared()
    page = notebook.page
    page.set_viewport_size({"width": width // zoom, "height": 900 // zoom})
    page.wait_for_function("document.querySelector('.comflowy-compare').clientWidth < 640", timeout=SHORT_MS)
    for name in ("Slider", "Difference"):
        choose(notebook, name)
        await_decoded(notebook)
    clipped = page.evaluate(
        """() => [...document.querySelectorAll('.comflowy-compare button, .comflowy-compare output, .cc-foot div')]
          .filter(each => !each.closest('.cc-off') && each.scrollWidth > each.clientWidth + 1)
          .map(each => each.outerHTML)"""
    )
    assert clipped == []
    outer = page.locator(".comflowy-compare").bounding_box()
    for each in page.locator(".comflowy-compare button:visible, .comflowy-compare select:visible").all():
        box = each.bounding_box()
        assert outer["x"] - 1 <= box["x"]
        assert box["x"] + box["width"] <= outer["x"] + outer["width"] + 1
    notebook.screenshot(f"compare-narrow-{width // zoom}")


def test_comparison_is_shown_in_notebook_7(compared_alone):
    notebook = compared_alone(more=1, within="notebooks")
    slider(notebook).focus()
    notebook.page.keyboard.press("Shift+ArrowRight")
    choose(notebook, "Side by side")
    await_decoded(notebook)
    notebook.enter_until(2, "print(c.position, c.mode)", "60.0 side")
    notebook.screenshot("compare-notebook-7")


def test_two_of_nine_images_are_chosen(compared):
    line = "%comflowy compare r1 r2 r1 r2 r1 r2 r1 r2 r1"
    notebook = compared(line=line)
    assert is_chosen(notebook, "Side by side")
    notebook.page.wait_for_function(f"document.querySelectorAll('{SHOWN}').length === 9", timeout=SHORT_MS)
    notebook.screenshot("compare-nine")
    choose(notebook, "Slider")
    widget(notebook).get_by_role("combobox", name="Left image").select_option("3")
    widget(notebook).get_by_role("button", name="Swap the two images").click()
    notebook.enter_until(2, "print(c.left, c.right)", "1 3")


def test_a_busy_kernel_is_reported_and_the_images_arrive_when_it_is_free(compared_alone):
    notebook = compared_alone(more=2)
    flag = notebook.home / "go on"
    waits = f"import time, pathlib\nwhile not pathlib.Path({str(flag)!r}).exists(): time.sleep(0.05)"
    notebook.paste(2, f"%comflowy compare r2 r1\n{waits}")
    notebook.press_run(2)
    note = notebook.page.locator(".comflowy-compare .cc-note").last
    note.get_by_text("The kernel may be busy").wait_for(timeout=SHORT_MS)
    flag.touch()
    notebook.await_idle(2)
    notebook.page.wait_for_function(f"document.querySelectorAll('{SHOWN}').length === 4", timeout=SHORT_MS)
    assert note.inner_text() == ""


def test_a_saved_notebook_is_small_and_shows_the_figure_without_widgets(compared_alone):
    notebook = compared_alone(more=0)
    saved = notebook.save()
    raw = notebook.path.read_text()
    assert len(raw) < 1_500_000
    assert str(notebook.home) not in raw
    assert "127.0.0.1" not in raw
    (output,) = saved.cells[1].outputs
    assert {"text/plain", "text/html", "image/jpeg", "application/vnd.jupyter.widget-view+json"} <= set(output.data)
    assert "wooden" in output.data["text/plain"]
    assert "<script" not in output.data["text/html"]


def test_the_saved_page_works_from_a_file_with_no_network(compared, browser):
    notebook = compared(line="%comflowy compare r1 r2 --save {save}".replace("{save}", "why.html"))
    saved = notebook.lab.folder / "why.html"
    text = saved.read_text()
    assert str(notebook.home) not in text
    assert "127.0.0.1" not in text
    context = browser.new_context(offline=True, viewport={"width": 1100, "height": 900}, color_scheme="dark")
    page = context.new_page()
    problems, requests = [], []
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(saved.as_uri())
    page.wait_for_function(f"document.querySelectorAll('{SHOWN}').length === 2", timeout=SHORT_MS)
    page.get_by_role("slider", name="Slider between the two images").focus()
    page.keyboard.press("Shift+ArrowLeft")
    assert page.locator(".cc-handle input").input_value() == "40"
    page.keyboard.press("d")
    page.get_by_role("img", name="Where r1 and r2 differ").wait_for(timeout=SHORT_MS)
    assert "PSNR" in page.locator(".cc-foot").inner_text()
    page.screenshot(path=notebook.path.with_name("page.png"))
    assert problems == []
    assert [url for url in requests if not url.startswith(("file:", "blob:", "data:"))] == []
    context.close()
