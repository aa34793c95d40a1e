"""Fixtures of tests in a browser: Debian's Chromium, driven by Playwright."""

from __future__ import annotations

import os
import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest

WRAPPER = Path(__file__).with_name("chromium.sh")


def find_chromium():
    """Return the path of a Chromium, or None."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next(filter(None, map(shutil.which, names)), None)


@contextmanager
def running_chromium(chromium_path):
    """Run a Chromium that sends no requests by itself."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as api:
        quiet = ["--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"]
        chromium = api.chromium.launch(
            executable_path=WRAPPER if os.name == "posix" else chromium_path,
            env={**os.environ, "CHROMIUM": chromium_path},
            headless=True,
            args=["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", *quiet],
        )
        yield chromium
        chromium.close()


@pytest.fixture(scope="session")
def chromium_path():
    path = find_chromium()
    if path is not None:
        return path
    reason = "no Chromium on the path (Debian, Ubuntu: apt-get install chromium)"
    if os.environ.get("REQUIRE_BROWSER") == "1":
        pytest.fail(f"REQUIRE_BROWSER=1, and there is {reason}")
    pytest.skip(reason)


@pytest.fixture(scope="module")
def browser(chromium_path):
    # For the module, not the session: while Playwright's event loop runs, no other test can call asyncio.run.
    pytest.importorskip("playwright.sync_api")
    with running_chromium(chromium_path) as chromium:
        yield chromium
