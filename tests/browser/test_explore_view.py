"""The explorer's view with a scripted kernel that is busy, has ended, submits cells, or sends updates."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from explorer_pages import CFG, SAMPLER, axis, document, images_of

from comflowy_nb.layout.scripts import widget_script, widget_style

SHORT_MS = 30_000
MISSING = {"status": "not submitted", "text": "not submitted", "images": [], "can": {"run": True, "retry": False}}
FAILED = {
    "status": "failed",
    "text": "failed",
    "images": [],
    "error": "out of memory",
    "can": {"run": False, "retry": True},
}

# A model with the interface of anywidget. It replies to requests for the document and images, the test to others.
_MODEL = """
const content = CONTENT
window.addresses = new Set() // object URLs that are not revoked yet
const [makeUrl, revokeUrl] = [URL.createObjectURL, URL.revokeObjectURL]
URL.createObjectURL = blob => {
  const url = makeUrl.call(URL, blob)
  window.addresses.add(url)
  return url
}
URL.revokeObjectURL = url => { window.addresses.delete(url); revokeUrl.call(URL, url) }
window.requests = []
window.sent = [] // the combinations that the view sent
const listeners = new Map()
const notify = (name, ...values) => [...(listeners.get(name) ?? [])].forEach(act => act(...values))
const bytes = key => new DataView(Uint8Array.from(atob(content.images[key]), letter => letter.charCodeAt(0)).buffer)
const state = {...content.state}
window.isAnswering = true
window.answer = request => {
  if (request.ask === 'document') return [{document: content.document}]
  const {images} = request
  if (request.ask === 'thumbs') return [{kinds: images.map(() => 'image/png'), missing: []}, images.map(bytes)]
  if (request.ask === 'full') return [{kind: 'image/png'}, [bytes(request.image)]]
  return null
}
window.reply = (request, answer, buffers = []) => notify('msg:custom', {to: request, ...answer}, buffers)
window.notify = notify
window.state = state
const model = {
  get: name => state[name],
  set(name, value) { state[name] = value; notify(`change:${name}`) },
  save_changes() { window.sent.push(state._at) },
  on: (name, act) => listeners.set(name, (listeners.get(name) ?? new Set()).add(act)),
  off: (name, act) => listeners.get(name)?.delete(act),
  send(request) {
    window.requests.push(request)
    const found = window.isAnswering && window.answer(request)
    if (found) setTimeout(() => window.reply(request, ...found))
  },
}
window.end = render({model, el: document.getElementById('main')})
"""


class View:
    def __init__(self, page):
        self.page = page
        self.root = page.locator(".comflowy-explore")
        self.notice = self.root.locator(".cx-notice")

    def until(self, expression):
        self.page.wait_for_function(expression, timeout=SHORT_MS)

    def requests(self, kind):
        return self.page.evaluate("kind => window.requests.filter(request => request[kind])", kind)

    def rates(self):
        return [request["rate"] for request in self.requests("rate")]

    def reply_to_rates(self):
        self.page.evaluate(
            """() => {
              for (const request of window.requests.filter(each => each.rate)) {
                const {rating, rejected, note, number} = request.rate
                window.reply(request, {saved: number, image: {rating: rating || null, rejected, note}})
              }
            }"""
        )

    def button(self, name):
        return self.root.get_by_role("button", name=name, exact=True)

    def press(self, *keys):
        for key in keys:
            self.page.keyboard.press(key)

    def await_notice(self, words):
        self.notice.filter(has_text=words).wait_for(timeout=SHORT_MS)


@pytest.fixture
def view(browser, tmp_path):
    """Return a function that shows a document with a scripted kernel."""
    contexts, problems = [], []

    def make(content, **state):
        images = {key: base64.b64encode(image).decode() for key, (_, image) in images_of(content).items()}
        scripted = {"document": content, "images": images, "state": {"x": "cfg", "y": "sampler", "_at": [], **state}}
        model = _MODEL.replace("CONTENT", json.dumps(scripted).replace("<", "\\u003c"))
        script = widget_script("explore/explore.js")
        path = tmp_path / "view.html"
        path.write_text(
            f"<!DOCTYPE html><meta charset=utf-8><style>{widget_style('explore/explore.css')}</style>"
            f"<div id=main class=widget></div><script type=module>{script}\n{model}</script>",
            encoding="utf-8",
        )
        context = browser.new_context(offline=True, viewport={"width": 1280, "height": 1000})
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.goto(path.as_uri())
        page.wait_for_function("document.querySelector('.comflowy-explore img[src]')?.naturalWidth", timeout=SHORT_MS)
        return View(page)

    yield make
    for context in contexts:
        context.close()
    assert problems == []


def test_ratings_wait_for_a_busy_kernel_and_are_saved_when_it_replies(view):
    shown = view(document((CFG, SAMPLER)))
    shown.page.evaluate("window.isAnswering = false")
    shown.root.locator(".cx-sheet").focus()
    shown.press("4", "ArrowRight", "x")
    shown.await_notice("The kernel is busy. Loaded images stay available. 2 ratings not saved yet.")
    shown.press("u")
    assert [(rate["rating"], rate["rejected"]) for rate in shown.rates()] == [(4, False), (0, True), (0, False)]
    shown.reply_to_rates()
    shown.notice.wait_for(state="hidden", timeout=SHORT_MS)
    assert shown.root.locator(".cx-rated").all_inner_texts().count("\u26054") == 1


def test_a_rating_that_is_not_stored_shows_the_reason(view):
    shown = view(document((CFG, SAMPLER)), _view={"moveOn": False})
    shown.root.locator(".cx-sheet").focus()
    shown.press("4")
    shown.until("window.requests.some(request => request.rate)")
    shown.page.evaluate("window.reply(window.requests.find(each => each.rate), {problem: 'the history is locked'})")
    shown.root.locator(".cx-unsaved", has_text="the history is locked").wait_for(timeout=SHORT_MS)


def test_without_a_kernel_the_explorer_works_and_ratings_are_downloaded(view):
    shown = view(document((CFG, SAMPLER)))
    shown.page.evaluate("document.querySelector('.widget').classList.add('jupyter-widgets-disconnected')")
    shown.page.evaluate("window.notify('comm_live_update')")
    shown.await_notice("There is no kernel.")
    count = shown.page.evaluate("window.requests.length")
    shown.root.locator(".cx-sheet").focus()
    shown.press("5", "ArrowRight", "Enter")
    shown.await_notice("1 rating not saved yet.")
    shown.until("document.querySelector('.cx-stage img[src]')?.naturalWidth")
    with shown.page.expect_download() as download:
        shown.button("Download ratings.json").click()
    found = json.loads(Path(download.value.path()).read_text())
    assert [(image["ref"], image["rating"]) for image in found["images"]] == [("s1.1", 5)]
    assert shown.page.evaluate("window.requests.length") == count, "nothing is sent to a kernel that has ended"
    shown.page.evaluate("document.querySelector('.widget').classList.remove('jupyter-widgets-disconnected')")
    shown.page.evaluate("window.notify('comm_live_update')")
    shown.until("window.requests.some(request => request.rate?.rating === 5)")
    shown.reply_to_rates()
    shown.notice.wait_for(state="hidden", timeout=SHORT_MS)


def test_missing_cells_are_submitted_after_their_plan_is_confirmed(view):
    shown = view(document((CFG, SAMPLER), changes={(2, 1): MISSING, (3, 1): MISSING, (1, 0): FAILED}))
    shown.button("Run missing (2)").click()
    shown.until("window.requests.some(request => request.ask === 'plan')")
    plan = shown.requests("ask")[-1]
    assert (plan["action"], plan["items"]) == ("missing", None)
    shown.page.evaluate("plan => window.reply(plan, {plan: '2 runs <b>new</b>', submits: 2, problem: null})", plan)
    shown.root.get_by_role("dialog").filter(has_text="2 runs <b>new</b>").wait_for()
    assert shown.requests("do") == []
    shown.button("Cancel").click()
    shown.root.get_by_role("dialog").wait_for(state="hidden")
    assert shown.page.evaluate("document.activeElement.dataset.key") == "run-missing"
    shown.press("Enter")
    shown.until("window.requests.filter(request => request.ask === 'plan').length === 2")
    shown.page.evaluate("plan => window.reply(plan, {plan: '2 runs', submits: 2})", shown.requests("ask")[-1])
    shown.button("Submit 2 runs").click()
    shown.page.keyboard.press("Enter")  # the dialog is open until the reply: nothing is submitted twice
    (sent,) = shown.requests("do")
    assert (sent["do"], sent["items"], sent["submits"]) == ("missing", None, 2)
    shown.page.evaluate("request => window.reply(request, {started: '2 runs are submitted'})", sent)
    shown.root.get_by_role("dialog").wait_for(state="hidden")
    assert shown.page.evaluate("document.querySelector('.comflowy-explore').contains(document.activeElement)")


def test_a_plan_with_a_problem_submits_nothing(view):
    shown = view(document((CFG, SAMPLER), changes={(1, 0): FAILED}))
    shown.root.locator('.cx-cell[aria-label^="cfg 4, sampler euler"]').click()
    shown.root.locator(".cx-stage").get_by_role("button", name="Run again").click()
    shown.until("window.requests.some(request => request.ask === 'plan')")
    plan = shown.requests("ask")[-1]
    assert (plan["action"], plan["items"]) == ("retry", [3])
    shown.page.evaluate(
        "plan => window.reply(plan, {plan: '1 run', submits: 1, problem: 'too many: --max-runs'})", plan
    )
    shown.root.get_by_role("dialog").filter(has_text="too many: --max-runs").wait_for()
    assert shown.root.get_by_role("button", name="Submit").count() == 0
    shown.press("Escape")
    shown.root.get_by_role("dialog").wait_for(state="hidden")


def test_updates_of_a_running_sweep_keep_the_focus_and_the_current_cell(view):
    running = {"status": "running", "text": "running 20 %", "images": []}
    content = document((CFG, SAMPLER), changes={(1, 0): running})
    done = document((CFG, SAMPLER))["items"][3]
    key = done["images"][0]["key"]
    content["items"][0]["images"].append({**content["items"][0]["images"][0], "key": key, "ref": "s1.1[1]"})
    shown = view(content)
    shown.root.locator(".cx-sheet").focus()
    shown.press("ArrowRight")
    for item in ({**done, "images": [], "status": "running", "text": "running 90 %"}, done):
        shown.page.evaluate("item => window.notify('msg:custom', {update: {items: [item]}}, [])", item)
        words = item["text"] or "success"
        shown.root.locator(f'.cx-cell[aria-label="cfg 4, sampler euler: {words}"]').wait_for(timeout=SHORT_MS)
        assert shown.page.evaluate("document.activeElement.className") == "cx-sheet"
    grown = [*content["axes"], {**axis("image", [0, 1]), "role": "image"}]
    score = [{"name": "sharpness", "kind": "number", "source": "score"}]
    shown.page.evaluate("update => window.notify('msg:custom', {update}, [])", {"axes": grown, "columns": score})
    shown.root.get_by_role("slider", name="image", exact=True).wait_for(timeout=SHORT_MS)
    shown.press("ArrowLeft")
    shown.root.get_by_role("slider", name="image", exact=True).fill("1")
    shown.root.locator(".cx-name", has_text="s1.1[1]").wait_for(timeout=SHORT_MS)


def test_a_step_is_sent_at_once_so_that_a_reply_to_an_earlier_step_does_not_undo_it(view):
    shown = view(document((CFG, SAMPLER)))
    shown.root.locator(".cx-sheet").focus()
    sent = shown.page.evaluate(
        """() => {
          const press = () => document.activeElement.dispatchEvent(
            new KeyboardEvent('keydown', {key: 'ArrowRight', bubbles: true, composed: true}))
          press()
          press()
          return window.sent
        }"""
    )
    assert sent[-2:] == [[1, 0], [2, 0]]


def test_axes_that_python_spreads_are_shown_as_a_grid(view):
    shown = view(document((CFG, SAMPLER)), x="", y="")
    assert shown.root.locator(".cx-stage").is_visible()
    shown.page.evaluate("window.state.x = 'cfg'; window.notify('change:x')")
    shown.root.locator(".cx-colhead", has_text="cfg 2").wait_for(timeout=SHORT_MS)


def test_a_closed_view_frees_its_images(view):
    shown = view(document((CFG, SAMPLER)))
    shown.until("window.addresses.size === 12")
    shown.page.evaluate("window.end()")
    assert shown.root.count() == 0
    assert shown.page.evaluate("window.addresses.size") == 0
