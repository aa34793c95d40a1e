"""A form as a person uses it in JupyterLab: filled in by keys and mouse, run, stopped, gone back in, compared."""

from __future__ import annotations

import pytest

LOAD = "%load_ext comflowy_nb"
CONNECT = "%comflowy connect sandbox"
FORM = "%comflowy form default --as made steps=8 width=256 height=256"


@pytest.fixture
def connected(new_notebook):
    """A notebook of so many cells more, loaded and connected by its first two."""

    def make(cells, **options):
        notebook = new_notebook(cells + 2, **options)
        notebook.enter(0, LOAD)
        notebook.enter(1, CONNECT)
        return notebook

    return make


def test_look(connected):
    notebook = connected(2)
    notebook.enter(2, FORM)
    page = notebook.page
    page.get_by_role("button", name="Run", exact=True).click()
    notebook.await_pictures(2, 2)
    page.get_by_label("cfg").first.fill("3")
    page.get_by_role("button", name="Run", exact=True).click()
    page.wait_for_timeout(6000)
    page.set_viewport_size({"width": 1280, "height": 1900})
    page.wait_for_timeout(1000)
    notebook.screenshot("form-light")
    page.locator(".cfy-form").screenshot(path="build/screenshots/form-alone.png")
    assert 0, notebook.text(2)
