"""The explorer in a saved page, offline: navigation by mouse and keys, ratings, filters, and a thousand cells."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path

import pytest
from explorer_pages import CFG, SAMPLER, axis, colour_of, document, draw, images_of, write_page
from PIL import Image

from comflowy_nb.sharing.page import page_html

SHORT_MS = 30_000
STEP_MS = 50  # limit of the median time of a step from one cell to another
SCREENSHOTS = Path(__file__).parents[2] / "build" / "screenshots"

FAILED = {
    "status": "failed", "text": "failed", "images": [], "error": "KSampler: out of memory\n  line two of the error",
    "can": {"run": False, "retry": True},
}  # fmt: skip
MISSING = {"status": "not submitted", "text": "not submitted", "images": [], "can": {"run": True, "retry": False}}
RUNNING = {"status": "running", "text": "running 40 %", "images": []}
IMAGE_VIEW = '#_view={"mode":"image"}'

# Keys that leave the widget, keys that JupyterLab would take for its own, and object URLs in use.
_WATCH = """
window.escaped = []
window.forJupyter = []
document.addEventListener('keydown', event => window.escaped.push(event.key))
document.addEventListener('keydown', event => {
  if (!event.target.hasAttribute('data-lm-suppress-shortcuts')) window.forJupyter.push(event.key)
}, true)
window.addresses = new Set() // object URLs that are not revoked yet
const [make, revoke] = [URL.createObjectURL, URL.revokeObjectURL]
URL.createObjectURL = (...values) => {
  const url = make.apply(URL, values)
  window.addresses.add(url)
  return url
}
URL.revokeObjectURL = url => { window.addresses.delete(url); revoke.call(URL, url) }
"""


class Explored:
    """A saved page in a browser without a network."""

    def __init__(self, page):
        self.page = page
        self.problems = []
        self.requests = []
        page.on("console", lambda message: self.problems.append(message.text))
        page.on("pageerror", lambda error: self.problems.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))
        self.root = page.locator(".comflowy-explore")
        self.sheet = self.root.locator(".cx-sheet")
        self.stage = self.root.locator(".cx-stage")

    def open(self, path, address=""):
        self.page.goto("about:blank")
        self.page.goto(path.as_uri() + address)
        self.until("document.querySelector('.cx-title')?.textContent")
        return self

    def radio(self, name):
        return self.root.get_by_role("radio", name=name, exact=True)

    def button(self, name):
        return self.root.get_by_role("button", name=name, exact=True)

    def slider(self, name):
        return self.root.get_by_role("slider", name=name, exact=True)

    def select(self, name):
        return self.root.get_by_role("combobox", name=name, exact=True)

    def cell(self, words):
        return self.sheet.locator(f'.cx-cell[aria-label^="{words}"]')

    def press(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)

    def await_text(self, selector, words):
        self.page.wait_for_function(
            "([selector, words]) => document.querySelector(selector).innerText.includes(words)",
            arg=[selector, words],
            timeout=SHORT_MS,
        )

    def await_current(self, words):
        self.await_text(".cx-panel .cx-name", words)

    def await_colour(self, locator, at):
        """Wait until the middle of an element has the colour of the image with these coordinates."""
        ready = "element => [...element.querySelectorAll('img[src]:not([hidden])')].some(image => image.naturalWidth)"
        for _ in range(40):
            self.page.wait_for_function(ready, arg=locator.element_handle(), timeout=SHORT_MS)
            with Image.open(io.BytesIO(locator.screenshot())) as image:
                seen = image.convert("RGB").getpixel((image.width // 2, image.height // 2))
            if seen == pytest.approx(colour_of(at), abs=4):
                return
        pytest.fail(f"the colour is {seen}, and that of {at} is {colour_of(at)}")

    def focus_is_inside(self):
        return self.page.evaluate("document.querySelector('.comflowy-explore').contains(document.activeElement)")

    def frames(self, count=2):
        """Wait until the page has drawn the last change."""
        for _ in range(count):
            self.page.evaluate("new Promise(done => requestAnimationFrame(done))")

    def until(self, expression):
        """Wait until an expression is true, as a function: a text would need `eval`, which the page forbids."""
        self.page.wait_for_function(f"() => {expression}", timeout=SHORT_MS)

    def refs(self):
        """Return the references of the list, in its order."""
        self.frames()
        return self.sheet.locator(".cx-line b").all_inner_texts()

    def screenshot(self, name):
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / f"explore-{name}.png")


@pytest.fixture
def explored(browser):
    """Return a function that opens pages; no page may log or request anything."""
    opened = []

    def make(path, address="", **options):
        context = browser.new_context(offline=True, **{"viewport": {"width": 1280, "height": 1000}, **options})
        context.add_init_script(_WATCH)
        found = Explored(context.new_page())
        opened.append((context, found))
        return found.open(path, address)

    yield make
    for context, each in opened:
        context.close()
        assert each.problems == []
        assert [url for url in each.requests if not url.startswith(("file:", "blob:", "data:", "about:"))] == []


@pytest.fixture
def sweep_page(tmp_path):
    """Return a page of a sweep of 24 cells over three axes: cfg, sampler, seed."""
    return write_page(tmp_path / "page.html", document())


@pytest.fixture
def states_page(tmp_path):
    """Return the same page with cells in other states, ratings and columns."""
    columns = [
        {"name": "category", "kind": "text", "source": "info"},
        {"name": "sharpness", "kind": "number", "source": "score"},
    ]
    changes = {
        (1, 0, 0): FAILED, (2, 0, 0): MISSING, (3, 0, 0): RUNNING,
        (0, 0, 0): {"image": {"rating": 2, "scores": {"sharpness": 0.3}}, "values": {"category": "sky"}},
        (0, 1, 0): {"image": {"rating": 5, "scores": {"sharpness": 0.9}}, "values": {"category": "sea"}},
        (1, 1, 0): {"image": {"rejected": True, "scores": {"sharpness": 0.6}}, "values": {"category": "sea"}},
    }  # fmt: skip
    content = document(changes=changes, left_out={(0, 2, 0)}, columns=columns)
    return write_page(tmp_path / "states.html", content)


# -- what is shown ------------------------------------------------------------------------------------------------


def test_each_cell_of_the_grid_shows_the_image_of_its_params(explored, sweep_page):
    page = explored(sweep_page)
    for index, cfg in enumerate(CFG["values"]):
        for row, sampler in enumerate(SAMPLER["values"]):
            words = f"cfg {cfg['label']}, sampler {sampler['label']}, seed 11"
            page.await_colour(page.cell(words).locator(".cx-box"), (index, row, 0))
    page.slider("seed").fill("1")
    page.await_colour(page.cell("cfg 6, sampler lcm, seed 12").locator(".cx-box"), (2, 2, 1))


def test_a_click_enlarges_a_cell_and_again_shows_its_pixels(explored, sweep_page):
    page = explored(sweep_page)
    page.cell("cfg 6, sampler dpmpp_2m, seed 11").click()
    page.await_colour(page.stage, (2, 1, 0))
    page.await_current("s1.15")
    box = page.stage.bounding_box()
    assert min(box["width"], box["height"]) > 300
    page.stage.click()
    page.await_text(".cx-zoom output", "100\u00a0%")
    page.stage.click()
    page.press("Escape")
    page.sheet.wait_for()
    assert page.focus_is_inside()


def test_controls_of_each_axis_show_that_cell_at_once(explored, sweep_page):
    page = explored(sweep_page, IMAGE_VIEW)
    page.slider("cfg").fill("3")
    page.await_colour(page.stage, (3, 0, 0))
    page.radio("lcm").click()
    page.await_colour(page.stage, (3, 2, 0))
    page.slider("seed").fill("1")
    page.await_colour(page.stage, (3, 2, 1))
    page.await_current("cfg 8, sampler lcm, seed 12")


def test_arrow_keys_step_along_axes(explored, sweep_page):
    page = explored(sweep_page, IMAGE_VIEW)
    page.stage.focus()
    page.press("ArrowRight", "ArrowRight", "ArrowDown")
    page.await_colour(page.stage, (2, 1, 0))
    page.press("ArrowLeft", "ArrowUp")
    page.await_colour(page.stage, (1, 0, 0))
    page.radio("euler").focus()
    page.press("ArrowRight")
    page.await_colour(page.stage, (1, 1, 0))
    assert page.page.evaluate("document.activeElement.textContent") == "dpmpp_2m"


def test_axes_are_spread_swapped_and_flipped(explored, sweep_page):
    page = explored(sweep_page)
    heads = page.sheet.locator(".cx-colhead")
    page.button("Swap columns and rows").click()
    page.sheet.locator(".cx-colhead", has_text="euler").wait_for()
    page.button("Swap columns and rows").click()
    page.sheet.locator(".cx-rowhead", has_text="euler").wait_for()
    page.button("Flip columns").click()
    page.frames()
    assert heads.all_inner_texts() == ["8", "6", "4", "2"]
    left = page.sheet.locator(".cx-row").first.locator(".cx-cell").first
    page.await_colour(left.locator(".cx-box"), (3, 0, 0))
    page.select("Outer rows").select_option("seed")
    page.sheet.locator(".cx-band", has_text="seed 12").wait_for()
    assert page.slider("seed").count() == 0
    page.await_colour(page.cell("cfg 4, sampler lcm, seed 12").locator(".cx-box"), (1, 2, 1))
    page.select("Columns").select_option("sampler")
    page.frames()
    assert page.select("Rows").input_value() == "cfg", "the axis that was there before takes its place"


def test_headings_stay_in_sight_when_the_grid_is_scrolled(explored, tmp_path):
    path = write_page(tmp_path / "wide.html", document((axis("cfg", range(30)), axis("seed", range(30)))))
    page = explored(path, viewport={"width": 800, "height": 700})
    page.sheet.focus()
    page.press(*["ArrowRight"] * 25, *["ArrowDown"] * 25)
    page.await_current("cfg 25, seed 25")
    page.await_colour(page.cell("cfg 25, seed 25").locator(".cx-box"), (25, 25))
    view = page.sheet.bounding_box()
    column = page.sheet.locator(".cx-colhead").filter(has_text=re.compile(r"^25$")).bounding_box()
    row = page.sheet.locator(".cx-rowhead").filter(has_text=re.compile(r"^25$")).bounding_box()
    assert column["y"] == pytest.approx(view["y"], abs=30)
    assert row["x"] == pytest.approx(view["x"], abs=2)
    cell = page.cell("cfg 25, seed 25").bounding_box()
    assert cell["x"] >= row["x"] + row["width"] - 1
    assert cell["y"] >= column["y"] + column["height"] - 1
    assert column["x"] == pytest.approx(cell["x"], abs=1)


def test_states_are_shown_instead_of_images(explored, states_page):
    page = explored(states_page)
    for words, text in [
        ("cfg 4, sampler euler, seed 11", "failed"), ("cfg 6, sampler euler, seed 11", "not submitted"),
        ("cfg 8, sampler euler, seed 11", "running 40 %"), ("cfg 2, sampler lcm, seed 11", "no run"),
    ]:  # fmt: skip
        cell = page.cell(words)
        assert cell.inner_text().strip() == text
        assert cell.locator("img[src]").count() == 0
    page.screenshot("states")
    page.cell("cfg 2, sampler euler, seed 11").click()
    page.await_colour(page.stage, (0, 0, 0))
    page.press("ArrowRight")
    page.await_text(".cx-stage", "line two of the error")
    assert page.stage.locator("img:visible").count() == 0, "the image before it is gone"
    page.screenshot("failed")
    page.press("ArrowRight")
    page.await_text(".cx-stage", "not submitted")
    assert page.root.get_by_role("button", name=re.compile("Run")).count() == 0, "a page submits nothing"


def test_two_panes_share_their_controls_and_zoom(explored, sweep_page):
    page = explored(sweep_page)
    page.radio("Two").click()
    left, right = page.stage.locator(".cx-pane").all()
    page.await_colour(left, (0, 0, 0))
    page.await_colour(right, (1, 0, 0))
    page.select("Right pane").select_option(label="8")
    page.radio("lcm").click()
    page.await_colour(left, (0, 2, 0))
    page.await_colour(right, (3, 2, 0))
    page.stage.focus()
    page.press("+", "+")
    page.frames()
    sizes = [pane.locator("img").first.bounding_box() for pane in (left, right)]
    assert sizes[0]["width"] == pytest.approx(sizes[1]["width"])
    assert sizes[0]["y"] == pytest.approx(sizes[1]["y"])
    page.press("f")
    right.click()
    page.await_current("cfg 8, sampler lcm")
    page.frames()
    assert "cx-active" in page.select("Right pane").get_attribute("class")
    assert "cx-active" not in page.select("Left pane").get_attribute("class")
    page.screenshot("two")
    page.select("Axis of the two panes").select_option("seed")
    page.await_colour(right, (3, 2, 1))


@pytest.mark.parametrize("width_px", [1280, 1180, 930])
def test_two_axes_share_the_width_and_options_stay_on_one_line(explored, tmp_path, width_px):
    """On wide pages the options of the second axis wrapped, beside a third column that was empty."""
    content = document((axis("cfg", [2, 4, 6, 8]), axis("sampler_name", ["euler", "heun", "dpmpp_2m"], "list")))
    page = explored(write_page(tmp_path / "two.html", content), IMAGE_VIEW)
    page.page.set_viewport_size({"width": width_px, "height": 900})
    page.frames()
    boxes = [choice.bounding_box() for choice in page.root.locator(".cx-axis .cx-choices button").all()]
    assert len({box["y"] for box in boxes}) == 1, boxes


def test_an_axis_is_played_and_stops_with_reduced_motion(explored, sweep_page):
    page = explored(sweep_page, IMAGE_VIEW)
    page.button("Play cfg").click()
    page.slider("Seconds for each image").fill("0.2")
    seen = "document.querySelector('.cx-panel .cx-name b').textContent"
    for ref in ("s1.7", "s1.13", "s1.19", "s1.1"):
        page.until(f"{seen} === '{ref}'")
    page.page.emulate_media(reduced_motion="reduce")
    page.button("Not played: the system asks for less motion").first.wait_for()
    still = page.page.evaluate(seen)
    page.button("Not played: the system asks for less motion").first.press("Enter")
    page.page.wait_for_timeout(500)
    assert page.page.evaluate(seen) == still


def test_videos_play_muted_and_in_step(explored, tmp_path, browser):
    context = browser.new_context()
    videos = [base64.b64decode(context.new_page().evaluate(_RECORD, colour)) for colour in ("#c00", "#0c0")]
    context.close()
    content = document(
        (axis("cfg", [1, 2]),), changes={(0,): {"image": {"video": True}}, (1,): {"image": {"video": True}}}
    )
    full = {f"r{number}[0]": ("video/webm", video) for number, video in enumerate(videos, 1)}
    path = tmp_path / "videos.html"
    path.write_text(page_html(content, {}, full), encoding="utf-8")
    page = explored(path)
    page.radio("Two").click()
    playing = (
        "[...document.querySelectorAll('.cx-stage video[src]')].filter(each => each.currentTime > 0 && !each.paused)"
    )
    page.until(f"{playing}.length === 2")
    page.page.evaluate("document.querySelectorAll('.cx-stage video')[1].currentTime = 0.7")
    apart = f"(([one, two]) => Math.abs(one.currentTime - two.currentTime))({playing})"
    page.until(f"{playing}.length === 2 && {apart} < 0.15")
    assert page.page.evaluate(f"{playing}.every(video => video.muted)")
    page.radio("Grid").click()
    page.until("document.querySelectorAll('.cx-cell video[src]').length === 2")


_RECORD = """
async colour => {
  const canvas = document.createElement('canvas')
  const context = canvas.getContext('2d')
  canvas.width = canvas.height = 64
  let turn = 0
  const paint = setInterval(() => {
    context.fillStyle = colour
    context.fillRect(0, 0, 64, 64)
    context.fillStyle = '#fff'
    context.fillRect(turn++ % 64, 20, 8, 8)
  }, 20)
  const recorder = new MediaRecorder(canvas.captureStream(30), {mimeType: 'video/webm'})
  const parts = []
  recorder.ondataavailable = event => parts.push(event.data)
  recorder.start()
  await new Promise(done => setTimeout(done, 1500))
  recorder.stop()
  await new Promise(done => { recorder.onstop = done })
  clearInterval(paint)
  const bytes = new Uint8Array(await new Blob(parts).arrayBuffer())
  return btoa(String.fromCharCode(...bytes))
}
"""


# -- filters and order --------------------------------------------------------------------------------------------


def test_filters_by_axis_status_rating_and_columns(explored, states_page):
    page = explored(states_page)
    page.button("Filter").click()
    page.button("4").click()
    page.button("2").click()
    page.frames()
    assert page.sheet.locator(".cx-colhead").all_inner_texts() == ["2", "4"]
    page.button("cfg 4, 2 \u00d7").click()
    page.frames()
    assert page.sheet.locator(".cx-colhead").count() == 4
    page.button("failed").click()
    page.await_text(".cx-head", "1 shown")
    assert page.cell("cfg 2, sampler euler, seed 11").get_attribute("aria-label").endswith("not shown by the filter")
    page.button("failed").click()
    page.radio("List").click()
    page.button("\u26055").click()
    page.button("rejected").click()
    assert page.refs() == ["s1.3", "s1.8"]
    page.screenshot("filters")
    page.button("rating 5, rejected \u00d7").click()
    page.button("sea").click()
    assert page.refs() == ["s1.3", "s1.8"]
    page.root.get_by_role("spinbutton", name="sharpness from").fill("0.7")
    page.press("Enter")
    assert page.refs() == ["s1.3"]
    page.button("Clear all").click()
    page.root.locator(".cx-head", has_text="shown").wait_for(state="detached")
    page.await_text(".cx-head", "23 cells")
    page.button("seed 12 \u00d7").wait_for(state="detached")


def test_order_is_by_ratings_and_columns(explored, states_page):
    page = explored(states_page)
    page.select("Order").select_option("sharpness")
    page.frames()
    assert page.radio("List").get_attribute("aria-checked") == "true", "a grid has the order of its axes"
    assert page.refs()[:3] == ["s1.1", "s1.8", "s1.3"]
    page.button("Ascending").click()
    assert page.refs()[:3] == ["s1.3", "s1.8", "s1.1"]
    page.select("Order").select_option("rating")
    assert page.refs()[:3] == ["s1.8", "s1.1", "s1.3"]
    page.screenshot("list")


def test_a_filter_without_matches_shows_a_message_and_keeps_the_focus(explored, states_page):
    page = explored(states_page)
    page.button("Filter").click()
    page.radio("List").click()
    page.button("\u26051").click()
    page.await_text(".cx-sheet-frame", "The filter shows no image")
    assert page.focus_is_inside()
    page.press("Escape", "Escape", "x", "x")
    assert page.page.evaluate("window.escaped") == []


# -- ratings ------------------------------------------------------------------------------------------------------


def test_ratings_by_keys_move_on_and_are_undone(explored, sweep_page):
    page = explored(sweep_page)
    page.sheet.focus()
    page.press("4")
    page.await_current("s1.7")  # the grid is read from left to right
    page.press("x")
    page.await_current("s1.13")
    assert page.cell("cfg 2, sampler euler, seed 11: success, 4 of 5").count() == 1
    assert page.cell("cfg 4, sampler euler, seed 11: success, rejected").count() == 1
    page.press("u")
    page.await_current("s1.7")
    assert page.cell("cfg 4, sampler euler, seed 11: success, rejected").count() == 0
    page.root.get_by_role("checkbox", name="Move on to the next unrated").uncheck()
    page.sheet.focus()
    page.press("2", "3")
    page.await_current("s1.7")
    page.cell("cfg 4, sampler euler, seed 11: success, 3 of 5").wait_for()
    page.press("0")
    page.cell("cfg 4, sampler euler, seed 11: success, 3 of 5").wait_for(state="detached")


def test_ratings_by_mouse_are_kept_and_downloaded(explored, sweep_page):
    page = explored(sweep_page, IMAGE_VIEW)
    page.root.get_by_role("textbox", name="Note").fill('best "sky" </script>')
    page.radio("5 of 5").click()
    page.await_current("s1.2")
    page.button("Reject").click()
    page.await_current("s1.3")
    page.await_text(".cx-notice", "You made 2 ratings")
    page.open(sweep_page, IMAGE_VIEW)  # a later visit
    page.await_text(".cx-notice", "You made 2 ratings")
    page.radio("5 of 5").and_(page.page.locator("[aria-checked=true]")).wait_for()
    page.root.get_by_role("textbox", name="Your name").fill("Ann")
    with page.page.expect_download() as download:
        page.button("Download ratings.json").click()
    found = json.loads(Path(download.value.path()).read_text())
    shas = [image["sha256"] for item in document()["items"] for image in item["images"]]
    assert found == {
        "format": "comflowy_nb ratings", "version": 1, "name": "Ann",
        "images": [
            {"sha256": shas[0], "ref": "s1.1", "rating": 5, "rejected": False, "note": 'best "sky" </script>'},
            {"sha256": shas[1], "ref": "s1.2", "rating": None, "rejected": True, "note": ""},
        ],
    }  # fmt: skip
    assert download.value.suggested_filename == "ratings.json"


def test_images_are_marked(explored, sweep_page):
    page = explored(sweep_page)
    page.sheet.focus()
    page.press("m", "ArrowRight", "m", "ArrowRight", "m", "m")
    page.button("2 marked, clear").wait_for()
    assert page.sheet.locator(".cx-ticked:visible").count() == 2
    page.button("2 marked, clear").click()
    page.button("2 marked, clear").wait_for(state="detached")
    assert page.focus_is_inside()


# -- keys and focus -----------------------------------------------------------------------------------------------

KEYS = [
    "ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp", "Enter", "Escape", "1", "2", "3", "4", "5", "0", "x", "u", "m",
    "?", "+", "-", "f", " ", "a", "b", "d", "Home", "PageDown", "Delete", "y", "z", "i", "n", "Escape", "0", "0",
]  # fmt: skip
REDRAWS = {
    "image": lambda page: page.radio("Image").click(),
    "two": lambda page: page.radio("Two").click(),
    "grid": lambda page: page.radio("Grid").click(),
    "list": lambda page: page.radio("List").click(),
    "swap": lambda page: (page.radio("Grid").click(), page.button("Swap columns and rows").click()),
    "flip": lambda page: (page.radio("Grid").click(), page.button("Flip rows").click()),
    "outer": lambda page: (page.radio("Grid").click(), page.select("Outer rows").select_option("seed")),
    "filter": lambda page: (page.button("Filter").click(), page.button("unrated").click()),
    "order": lambda page: (page.sheet.focus(), page.select("Order").select_option("rating")),
    "star": lambda page: page.radio("3 of 5").click(),
    "reject": lambda page: page.button("Reject").click(),
    "keys": lambda page: page.button("Keys").click(),
    "enlarged": lambda page: (page.radio("Grid").click(), page.sheet.locator(".cx-cell").first.click()),
    "text": lambda page: page.root.locator(".cx-panel .cx-name").click(),
}


@pytest.mark.parametrize("kind", REDRAWS)
def test_no_key_leaves_the_widget_after_any_redraw(explored, sweep_page, kind):
    page = explored(sweep_page)
    REDRAWS[kind](page)
    page.frames()
    assert page.focus_is_inside()
    for key in KEYS:
        for _ in range(2):
            page.press(key)
            assert page.focus_is_inside(), key
        page.frames()
        assert page.focus_is_inside(), key
    assert page.page.evaluate("window.escaped") == []
    assert page.page.evaluate("window.forJupyter") == []


def test_shift_enter_and_control_keys_are_passed_to_jupyter(explored, sweep_page):
    page = explored(sweep_page)
    page.sheet.focus()
    for key in ("Shift+Enter", "Control+Enter", "Control+s"):
        page.press(key)
    assert [key for key in page.page.evaluate("window.forJupyter") if len(key) > 1 or key == "s"] == [
        "Shift", "Enter", "Control", "Enter", "Control", "s",
    ][1:]  # fmt: skip
    assert page.sheet.is_visible(), "Enter with a modifier enlarges nothing"


def test_letters_typed_into_a_note_rate_nothing(explored, sweep_page):
    page = explored(sweep_page)
    page.sheet.focus()
    page.press("n")
    page.page.keyboard.type("x 5 m u")
    page.press("Enter", "Escape")
    page.frames()
    assert page.root.get_by_role("textbox", name="Note").input_value() == "x 5 m u"
    assert page.sheet.locator(".cx-rated").filter(has_text=re.compile(".")).count() == 0
    assert page.page.evaluate("document.activeElement.className").startswith("cx-sheet")


def test_every_control_has_a_name_and_the_current_cell_is_announced(explored, states_page):
    page = explored(states_page)
    page.button("Filter").click()
    page.frames()
    unnamed = page.page.evaluate(
        """() => [...document.querySelectorAll('.comflowy-explore :is(button, input, select)')]
          .filter(each => each.checkVisibility())
          .filter(each => !(each.ariaLabel || each.innerText?.trim() || each.closest('label')?.innerText.trim()))
          .map(each => each.outerHTML)"""
    )
    assert unnamed == []
    page.sheet.focus()
    page.press("ArrowRight")
    page.frames()
    active = "document.getElementById(document.activeElement.getAttribute('aria-activedescendant')).ariaLabel"
    assert page.page.evaluate(active) == "cfg 4, sampler euler, seed 11: failed"
    page.press("ArrowLeft", "5")
    page.await_text(".cx-unseen[role=status]", "s1.1 5 of 5")


# -- the URL, and hostile content ---------------------------------------------------------------------------------


def test_the_url_stores_the_view(explored, sweep_page):
    page = explored(sweep_page)
    page.select("Rows").select_option("seed")
    page.radio("lcm").click()
    page.button("Flip columns").click()
    page.until("location.hash.includes('flipped') && location.hash.includes('y=seed')")
    address = page.page.evaluate("location.hash")
    other = explored(sweep_page, address)
    other.await_colour(other.sheet.locator(".cx-row").first.locator(".cx-cell").first.locator(".cx-box"), (3, 2, 0))
    other.page.evaluate("location.hash = '#x=sampler&y=cfg'")
    other.sheet.locator(".cx-colhead", has_text="euler").wait_for()


@pytest.mark.parametrize(
    "address",
    [
        "#x=nothing&y=__proto__&_at=[99,-4,null]&_view={", "#_filters=[1]&_view=[]&_at={}&sort=-nothing&selected=7",
        '#_filters={"axes":{"cfg":"x"},"status":"a","rating":5,"columns":{"a":null}}&_view={"mode":"two","pin":3}',
        '#_view={"mode":"two","pin":{"axis":"cfg","values":[9,"x"]},"seconds":-1,"size":"big","flipped":{"a":1}}',
        "#%zz=%&x=<script>alert(1)</script>",
    ],
)  # fmt: skip
def test_an_invalid_url_still_shows_the_images(explored, sweep_page, address):
    page = explored(sweep_page, address)
    page.until("document.querySelector('.comflowy-explore img[src]')?.naturalWidth")
    page.press("Tab", "ArrowRight", "4")
    page.frames()


HOSTILE = "</script><script>window.hit = 1</script><img src=x onerror='window.hit = 2'>\u2028{{script}}"


def test_hostile_text_runs_no_script(explored, tmp_path):
    axes = (axis(f"a{HOSTILE}", [HOSTILE, "b"]), axis("text", [HOSTILE, "other"], "list"))
    image = {"note": HOSTILE, "others": [{"source": HOSTILE, "rating": 3, "rejected": False, "note": HOSTILE}],
             "scores": {HOSTILE: 0.5}, "ref": f"s1{HOSTILE}"}  # fmt: skip
    changes = {
        (0, 0): {"image": image, "caption": HOSTILE, "params": [[HOSTILE, HOSTILE]], "values": {HOSTILE: HOSTILE}},
        (1, 0): {**FAILED, "error": HOSTILE, "text": HOSTILE, "status": HOSTILE},
        (0, 1): {"image": {"problem": HOSTILE}},
    }
    columns = [
        {"name": HOSTILE, "kind": "text", "source": "info"},
        {"name": HOSTILE, "kind": "number", "source": "score"},
    ]
    content = document(axes, changes=changes, columns=columns, title=HOSTILE)
    content["items"][0]["images"][0]["key"] = HOSTILE
    page = explored(write_page(tmp_path / "hostile.html", content))
    page.button("Filter").click()
    for mode in ("Image", "Two", "List", "Grid"):
        page.radio(mode).click()
        page.frames(3)
        page.press("m", "ArrowRight", "ArrowLeft")
    page.radio("Image").click()
    page.frames(3)  # the stage is hidden before it is drawn, and can't be focused
    page.stage.focus()
    page.press("ArrowRight")
    page.await_text(".cx-stage pre", "window.hit = 1")
    assert page.page.evaluate("window.hit") is None
    assert page.root.locator("script").count() == 0
    assert page.page.title() == HOSTILE.replace("\u2028", " ") or HOSTILE in page.page.title()


def test_the_policy_of_the_page_allows_no_other_script(sweep_page):
    policy = re.search(r'Security-Policy" content="([^"]+)"', sweep_page.read_text())[1]
    assert "unsafe" not in policy
    assert policy.startswith("default-src &#x27;none&#x27;")


# -- appearance ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("width", "zoom"), [(600, 1), (1400, 1), (1200, 2)])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_is_clipped_at_any_width_and_text_has_contrast(explored, states_page, width, zoom, theme):
    """A zoom of 200 % halves the width in CSS pixels, and doubles the pixels for each."""
    viewport = {"width": width // zoom, "height": 900 // zoom}
    page = explored(states_page, viewport=viewport, device_scale_factor=zoom, color_scheme=theme)
    page.button("Filter").click()
    for mode in ("Grid", "Image", "Two", "List"):
        page.radio(mode).click()
        page.frames(4)
        assert page.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "the page scrolls sideways"
        clipped = page.page.evaluate(
            """() => [...document.querySelectorAll('.comflowy-explore :is(button, output, label)')]
              .filter(each => each.checkVisibility() && each.scrollWidth > each.clientWidth + 1 && !each.title)
              .map(each => each.outerHTML)"""
        )
        assert clipped == []
        page.screenshot(f"{mode.lower()}-{width}-{zoom}-{theme}")
    ratios = page.page.evaluate(_CONTRASTS)
    assert min(ratios.values()) >= 4.5, {text: ratio for text, ratio in ratios.items() if ratio < 4.5}


# Contrast (WCAG 2.1) of the texts with their background.
_CONTRASTS = """
() => {
  const numbers = colour => {
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
  for (const node of document.querySelectorAll('.comflowy-explore *')) {
    const text = [...node.childNodes].filter(each => each.nodeType === 3).map(each => each.textContent).join('').trim()
    if (!/\\w/.test(text) || !node.checkVisibility()) continue
    if (node.closest('.cx-unseen, .cx-rated, .cx-chip-on, option')) continue
    const [r, g, b, a = 1] = numbers(getComputedStyle(node).color)
    const ground = behind(node)
    const ink = [r, g, b].map((v, i) => v * a + ground[i] * (1 - a))
    const [high, low] = [light(ink), light(ground)].sort((x, y) => y - x)
    found[text.slice(0, 40)] = (high + 0.05) / (low + 0.05)
  }
  return found
}
"""


# -- a thousand cells ---------------------------------------------------------------------------------------------


def test_a_page_of_a_thousand_cells_responds_quickly(explored, tmp_path):
    """Only the cells in sight have elements; a step takes less than a few frames; object URLs are bounded."""
    content = document(
        (axis("cfg", range(25)), axis("steps", range(10)), axis("sampler", ["a", "b", "c", "d"], "list"))
    )
    assert len(content["items"]) == 1000
    image = draw((1, 1), size=(256, 256))
    images = dict.fromkeys(images_of(content), ("image/png", image))
    path = tmp_path / "thousand.html"
    path.write_text(page_html(content, images, {}), encoding="utf-8")
    page = explored(path, "#x=cfg&y=steps&outer_y=sampler")
    page.sheet.focus()
    times = []
    for key in ["ArrowRight"] * 24 + ["ArrowDown"] * 39 + ["ArrowLeft"] * 24:
        times.append(page.page.evaluate(_STEP, key))
        assert page.page.evaluate("document.querySelectorAll('.cx-cell').length") < 500
    page.await_current("cfg 0, steps 9, sampler d")
    page.radio("List").click()
    page.sheet.focus()
    times += [page.page.evaluate(_STEP, "ArrowDown") for _ in range(40)]
    page.radio("Image").click()
    page.frames(3)
    page.stage.focus()
    times += [page.page.evaluate(_STEP, "ArrowRight") for _ in range(10)]
    times.sort()
    assert times[len(times) // 2] < STEP_MS, times[-5:]
    assert page.page.evaluate("document.querySelectorAll('.comflowy-explore *').length") < 3000
    assert page.page.evaluate("window.addresses.size") <= 900
    page.screenshot("thousand")


# The milliseconds until a key has changed what is shown.
_STEP = """
async key => {
  const start = performance.now()
  const options = {key, bubbles: true, cancelable: true, composed: true}
  document.activeElement.dispatchEvent(new KeyboardEvent('keydown', options))
  await new Promise(done => requestAnimationFrame(() => setTimeout(done)))
  return performance.now() - start
}
"""
