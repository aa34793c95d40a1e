"""Take the screenshots of the docs again, in a real JupyterLab: `.venv/bin/python tools/take_screenshots.py`.

It runs on the sandbox, and needs the same as the browser tests: a Chromium on the path and the packages of `.[test]`.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from chromium import find_chromium, running_chromium  # noqa: E402 - the helpers of the browser tests
from lab_pages import Notebook, opening_notebooks, running_lab  # noqa: E402

WIDTH, HEIGHT = 1280, 1400  # pixels of the page; the notebook is as wide
LOAD = """\
%load_ext comflowy_nb
%comflowy connect sandbox
run = %comflowy sweep default 6::text="a sailing boat on the sea at sunset" cfg=2..8..2 \
sampler_name=euler,heun,dpmpp_2m seed=7,8 width=384 height=256 steps=12 --as boats;
%comflowy rate boats.9 4 --note "best sky"
%comflowy rate boats.5 boats.17 3"""
EXPLORE = "%comflowy explore boats --x cfg --y sampler_name"


def main() -> int:
    chromium = find_chromium()
    if chromium is None:
        print("no Chromium on the path (Debian, Ubuntu: apt-get install chromium)", file=sys.stderr)
        return 1
    with (
        tempfile.TemporaryDirectory() as folder,
        running_lab() as lab,
        running_chromium(chromium) as browser,
        opening_notebooks(lab, browser) as open_notebook,
    ):
        notebook = open_notebook(2, Path(folder) / "home")
        paths = [explorer(notebook), in_dark_theme(notebook)]
    for path in paths:
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size:,} bytes")
    return 0


def explorer(notebook: Notebook) -> Path:
    """Take `docs/explore.png`: a sweep of three axes in the explorer, with two ratings."""
    page = notebook.page
    page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
    notebook.command("application:toggle-left-area")
    notebook.cell(0).locator(".cm-content").click()
    page.keyboard.insert_text(LOAD)
    notebook.run(0)
    notebook.enter(1, EXPLORE)
    page.wait_for_selector(".comflowy-explore .cx-sheet img:visible", timeout=60_000)
    page.locator(".comflowy-explore .cx-sheet").focus()
    for key in ("ArrowRight", "ArrowDown"):  # to the image with a note
        page.keyboard.press(key)
    page.wait_for_function("document.querySelector('.comflowy-explore .cx-panel').innerText.includes('heun')")
    page.wait_for_load_state("networkidle")
    return _save(notebook, ROOT / "docs" / "explore.png", cell=1)


def in_dark_theme(notebook: Notebook) -> Path:
    """Take `docs/explore-dark.png`: the same explorer in JupyterLab's dark theme."""
    notebook.command("apputils:change-theme", {"theme": "JupyterLab Dark"})
    notebook.page.wait_for_function("document.body.dataset.jpThemeName === 'JupyterLab Dark'")
    notebook.page.wait_for_load_state("networkidle")
    return _save(notebook, ROOT / "docs" / "explore-dark.png", cell=1)


def _save(notebook: Notebook, path: Path, *, cell: int) -> Path:
    """Save a cell with its output as a PNG with a palette."""
    found = notebook.cell(cell)
    found.scroll_into_view_if_needed()
    with tempfile.NamedTemporaryFile(suffix=".png") as file:
        found.screenshot(path=file.name)
        Image.open(file.name).convert("RGB").quantize(192, dither=Image.Dither.FLOYDSTEINBERG).save(path, optimize=True)
    return path


if __name__ == "__main__":
    sys.exit(main())
