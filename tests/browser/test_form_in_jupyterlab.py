"""A form in JupyterLab: filled in by keyboard and mouse, run, stopped, restored and compared."""

from __future__ import annotations

import re

import pytest

LOAD = "%load_ext comflowy_nb"
CONNECT = "%comflowy connect sandbox"
FORM = "%comflowy form default --as made steps=8 width=256 height=256"
TALL = {"width": 1280, "height": 1900}


@pytest.fixture
def opened(on_shared_sandbox, new_notebook):
    """Open a form in the third cell of a notebook with more cells below."""

    def make(line=FORM, cells=1, **options):
        notebook = new_notebook(cells + 3, **options)
        notebook.page.set_viewport_size(TALL)
        notebook.page.set_default_timeout(60_000)  # on a machine busy with other tests
        notebook.enter(0, LOAD)
        notebook.enter(1, CONNECT)
        notebook.enter(2, line)
        notebook.page.get_by_role("button", name="Run", exact=True).wait_for()
        return notebook

    return make


def button(notebook, name):
    return notebook.page.get_by_role("button", name=name, exact=True)


def frame(notebook, ref):
    return notebook.page.get_by_role("button", name=re.compile(rf"^{ref}, "))


def await_run(notebook, count, word="success"):
    """Wait until a number of runs in the strip have a status."""
    met = "([count, word]) => document.querySelectorAll(`.cfy-frame[data-status=${word}]`).length === count"
    notebook._await(met, [count, word], 2)


def press_run(notebook, count):
    """Press Run until the strip has this many runs, because a click can get lost on a busy machine."""
    from playwright.sync_api import TimeoutError as TooLate

    met = "count => document.querySelectorAll('.cfy-frame').length === count"
    for _ in range(3):
        button(notebook, "Run").click()
        try:
            notebook.page.wait_for_function(met, arg=count, timeout=15_000)
        except TooLate:
            continue
        return
    notebook._await(met, count, 2)


def clipped(page):
    """Return the labels, buttons and chosen values of the form that are cut off."""
    kinds = ("widget-label", "widget-readout", "cfy-group-title")
    looked_at = ", ".join([*(f".cfy-form .{kind}" for kind in kinds), ".cfy-form button", ".cfy-form select"])
    return page.evaluate(
        """kinds => [...document.querySelectorAll(kinds)]
          .filter(each => each.offsetParent && each.clientWidth > 0 && each.scrollWidth > each.clientWidth + 1)
          .map(each => `${each.className}: ${each.innerText.slice(0, 40)}`)""",
        looked_at,
    )


def test_form_is_filled_in_run_stopped_and_compared_by_mouse(opened):
    notebook = opened(cells=2)
    page = notebook.page
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    press_run(notebook, 1)
    await_run(notebook, 1)
    notebook.await_text(2, "success in")
    cfg = page.get_by_label("cfg", exact=True)
    cfg.fill("3")
    page.get_by_label("sampler_name", exact=True).select_option("heun")
    button(notebook, "Run").dblclick()
    await_run(notebook, 2)
    code = "print(len(made.runs), made.params['3::cfg'], made.params['3::sampler_name'])"
    assert notebook.enter(3, code) == "2 3.0 heun", "a double click is one run"
    assert "cfg 8 \u2192 3" in notebook.text(2)
    page.wait_for_function("() => document.querySelectorAll('.cfy-thumb:not([hidden])').length === 2")
    notebook.screenshot("form", cells=3)
    assert clipped(page) == []

    button(notebook, "Copy as cell").click()
    page.locator(".cfy-copied").get_by_text("Copied").wait_for()
    text = page.evaluate("() => navigator.clipboard.readText()")
    assert text.splitlines()[0] == "%%comflowy run default"
    assert "same as r2" in notebook.enter(4, text)
    button(notebook, "hide").click()

    frame(notebook, "r1").click()
    page.wait_for_function("() => document.querySelector('.cfy-shown strong').innerText === 'r1'")
    assert cfg.input_value() == "8"
    assert page.get_by_label("sampler_name", exact=True).evaluate("each => each.selectedOptions[0].text") == "euler"

    page.get_by_label("compare r1").check()
    page.get_by_label("compare r2").check()
    button(notebook, "Compare 2 marked").click()
    page.locator(".comflowy-compare .cc-stage").wait_for()
    notebook.screenshot("form-compare", cells=3)
    saved = notebook.save()
    kinds = [set(output.get("data", {})) for output in saved.cells[2].outputs]
    assert sum("image/jpeg" in kind for kind in kinds) == 2, "the image, and the comparison, for pages without widgets"
    assert len(notebook.path.read_text()) < 1.5e6

    check_displayed_values_are_submitted_while_the_kernel_is_busy(notebook)
    check_many_are_shown_and_stopped(notebook)


def check_displayed_values_are_submitted_while_the_kernel_is_busy(notebook):
    cfg = notebook.page.get_by_label("cfg", exact=True)
    flag = notebook.home / "go on"
    notebook.type(
        4, f"import time, pathlib; [time.sleep(0.05) for _ in iter(pathlib.Path({str(flag)!r}).exists, True)]"
    )
    notebook.press_run(4)
    for value in ("5", "6"):  # of one field, while the kernel is busy
        cfg.fill(value)
        cfg.press("Tab")
    button(notebook, "Run").click()
    flag.touch()
    notebook.await_idle(4)
    await_run(notebook, 3)
    assert notebook.enter(3, "print(made.runs[-1].params['3::cfg'])") == "6.0"


def check_many_are_shown_and_stopped(notebook):
    page = notebook.page
    page.get_by_label("steps", exact=True).fill("2500")
    press_run(notebook, 4)
    await_run(notebook, 1, "running")
    top = page.evaluate("() => document.querySelector('.cfy-strip').getBoundingClientRect().top")
    page.get_by_label("cfg", exact=True).fill("4")
    press_run(notebook, 5)
    notebook.screenshot("form-running", cells=3)
    assert abs(page.evaluate("() => document.querySelector('.cfy-strip').getBoundingClientRect().top") - top) < 2
    assert notebook.enter(3, "print(6 * 7)") == "42", "the kernel stays free"
    button(notebook, "Stop").click()
    await_run(notebook, 2, "cancelled")


def test_a_form_is_used_with_the_keyboard_only(opened):
    notebook = opened(f"{FORM} seed={2**64 - 1}")
    page = notebook.page
    cfg, seed = page.get_by_label("cfg", exact=True), page.get_by_label("seed", exact=True)
    cfg.focus()
    page.keyboard.press("Control+a")
    page.keyboard.type("1000")
    page.keyboard.press("Tab")
    page.get_by_role("alert").get_by_text("above 100").wait_for()
    notebook.screenshot("form-out-of-range", cells=3)
    button(notebook, "Run").focus()
    page.keyboard.press("Enter")
    page.locator(".cfy-problem").get_by_text("cfg").wait_for()
    assert notebook.enter(3, "print(len(made.runs))") == "0"
    cfg.focus()
    page.keyboard.press("Control+a")
    page.keyboard.type("7")

    assert seed.input_value() == str(2**64 - 1)
    seed.focus()
    page.keyboard.press("Control+a")
    page.keyboard.type(str(2**63 + 1))
    page.get_by_label("text").first.focus()
    page.keyboard.press("Control+a")
    page.keyboard.type("a lighthouse by the sea, don't #1 {day|night}")
    reached = []
    while "Run" not in reached and len(reached) < 40:
        page.keyboard.press("Tab")
        reached.append(page.evaluate("() => document.activeElement.innerText || document.activeElement.tagName"))
    assert reached[-1] == "Run", reached
    page.keyboard.press("Enter")
    await_run(notebook, 1)
    notebook.await_text(2, "success in")
    code = "p = made.runs[0].params; print(p['6::text'], p['3::seed'], p['3::cfg'])"
    assert notebook.enter(3, code) == f"a lighthouse by the sea, don't #1 {{day|night}} {2**63 + 1} 7.0"
    button(notebook, "Run").focus()
    page.keyboard.press("Space")
    notebook.await_text(2, "same as r1")
    frame(notebook, "r1").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.wait_for_function("() => document.activeElement.checked")
    outline = page.evaluate("() => getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid", "the focus is seen"


def test_a_form_is_readable_in_both_themes_narrow_and_zoomed(opened):
    notebook = opened()
    page = notebook.page
    press_run(notebook, 1)
    await_run(notebook, 1)
    page.wait_for_function("() => document.querySelectorAll('.cfy-thumb:not([hidden])').length === 1")
    for theme in ("Dark", "Light"):
        page.set_viewport_size(TALL)
        notebook.command("apputils:change-theme", {"theme": f"JupyterLab {theme}"})
        page.wait_for_function("theme => document.body.dataset.jpThemeName === theme", arg=f"JupyterLab {theme}")
        notebook.screenshot(f"form-{theme.lower()}", cells=3)
        assert clipped(page) == []
        page.set_viewport_size({"width": 620, "height": 1900})
        page.wait_for_function("() => document.querySelector('.cfy-form').clientWidth < 560")
        notebook.screenshot(f"form-narrow-{theme.lower()}")
        assert clipped(page) == []
        over = "() => { const f = document.querySelector('.cfy-form'); return f.scrollWidth - f.clientWidth }"
        assert page.evaluate(over) <= 1, "nothing sticks out at the side"
    page.set_viewport_size(TALL)
    page.evaluate("() => { document.body.style.zoom = 2 }")
    assert clipped(page) == []


def test_form_is_shown_in_notebook_7(opened):
    notebook = opened(within="notebooks")
    page = notebook.page
    page.get_by_label("cfg", exact=True).fill("3.5")
    button(notebook, "Run").focus()
    page.keyboard.press("Enter")
    await_run(notebook, 1)
    notebook.await_text(2, "success in")
    notebook.await_images(2, 2)
    assert notebook.enter(3, "print(made.runs[0].params['3::cfg'])") == "3.5"
