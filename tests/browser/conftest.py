"""A JupyterLab server, and for each test a notebook with a new kernel and home folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from lab_pages import opening_notebooks, running_lab, sandboxes_left


def pytest_collection_modifyitems(items):
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)
            item.add_marker(pytest.mark.timeout(600))


@pytest.fixture(scope="session")
def lab(chromium_path):
    with running_lab() as running:
        yield running
    assert not sandboxes_left(running.homes), "a sandbox outlived its kernel"


@pytest.fixture(scope="module")
def loaded_pages(browser):
    """Return the pages of JupyterLab in which the tests of a module open their notebooks."""
    return []


@pytest.fixture
def new_notebook(lab, browser, loaded_pages, home):
    """Return a function that opens a notebook with a number of empty cells and this test's COMFLOWY_HOME."""
    with opening_notebooks(lab, browser, loaded_pages) as make:
        yield lambda cells, **options: make(cells, home, **options)


@pytest.fixture(scope="module")
def shared_notebook(lab, browser, tmp_path_factory):
    """Open one notebook of six cells for the tests of a module, because opening takes many seconds."""
    with opening_notebooks(lab, browser) as make:
        yield make(6, tmp_path_factory.mktemp("shared") / "home")
