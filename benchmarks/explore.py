"""Measure explorers of 100 to 5,000 cells: time to the first image, time of one step, memory, and notebook bytes.

    python benchmarks/explore.py [--rounds 3]

The page is a saved page with synthetic previews of 256 x 256, opened from a file in headless Chromium. A step is an
arrow key: from the event to the frame that shows the other cell. Each round opens every page in a new browser, in
random order. The explorers of the second table show sweeps in a history, with images of 64 x 64.
"""

from __future__ import annotations

import json
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from grid import fill
from measuring import Absent, Section, interleave, middle, run_child, run_script, spread, values
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from explorer_pages import axis, document, draw, images_of

from comflowy_nb.sharing.page import page_html

STEPS = 30
SIDES = (10, 32, 71)  # cells in a row and in a column of a sweep
SHAPES = {100: (10, 5, 2), 1000: (25, 10, 4), 5000: (50, 25, 4)}  # cells -> values of each axis
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
STEP = """
async key => {
  const start = performance.now()
  const options = {key, bubbles: true, cancelable: true, composed: true}
  document.activeElement.dispatchEvent(new KeyboardEvent('keydown', options))
  await new Promise(done => requestAnimationFrame(() => setTimeout(done)))
  return performance.now() - start
}
"""
VIEWS = {"image": '#_view={"mode":"image"}', "grid": "#x=cfg&y=steps&outer_y=sampler"}


def write_page(cells: int, path: Path) -> None:
    columns, rows, panels = SHAPES[cells]
    content = document(
        (axis("cfg", range(columns)), axis("steps", range(rows)), axis("sampler", list("abcd")[:panels], "list"))
    )
    preview = ("image/png", draw((1, 1), size=(256, 256)))
    path.write_text(page_html(content, dict.fromkeys(images_of(content), preview), {}), encoding="utf-8")


def measure_page(url: str, steps: int) -> dict[str, float]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        start = time.perf_counter()
        page.goto(url)
        page.wait_for_function("[...document.images].some(image => image.complete && image.naturalWidth > 0)")
        first_s = time.perf_counter() - start
        page.locator(".cx-sheet, .cx-stage").locator("visible=true").first.focus()
        times = [page.evaluate(STEP, "ArrowRight" if turn % 20 < 10 else "ArrowLeft") for turn in range(steps)]
        heap = page.evaluate("performance.memory.usedJSHeapSize") / 1e6
        browser.close()
    times.sort()
    return {
        "first_s": first_s,
        "step_ms": statistics.median(times),
        "p95_ms": times[int(0.95 * steps)],
        "heap_mb": heap,
    }


def sections(*, quick: bool) -> list[Section]:
    """Return the tables for RESULTS.md."""
    return _sections(1 if quick else 3)


def _sections(rounds: int) -> list[Section]:
    return [_pages(rounds), _notebooks(rounds)]


def _pages(rounds: int) -> Section:
    if CHROMIUM is None:
        raise Absent("there is no Chromium here")
    names = {f"{cells:,} cells, {view}": (cells, view) for cells in SHAPES for view in VIEWS}
    with tempfile.TemporaryDirectory() as folder:
        for cells in SHAPES:
            write_page(cells, Path(folder) / f"{cells}.html")

        def open_page(name: str) -> dict[str, float]:
            cells, view = names[name]
            return measure_page((Path(folder) / f"{cells}.html").as_uri() + VIEWS[view], STEPS)

        results, absent = interleave(list(names), rounds, open_page)
    columns = ["page", "first image s", "step ms, median", "step ms, p95", "heap MB"]
    table = Section("The explorer in a saved page", "benchmarks/explore.py", columns)
    for name, each in results.items():
        if name not in absent:
            figures = ("first_s", "step_ms", "p95_ms", "heap_mb")
            table.rows.append(
                [name, *(spread(values(each, figure), 2 if figure == "first_s" else 0) for figure in figures)]
            )
    for view in VIEWS:
        name = f"1,000 cells, {view}"
        table.target(f"{name}, first image", middle(values(results[name], "first_s")), 1.0, " s")
        table.target(f"{name}, step", middle(values(results[name], "step_ms")), 50, " ms")
    return table


def _notebooks(rounds: int) -> Section:
    columns = ["cells", "CPU s to open", "output in the notebook, MB", "state of the widget, MB"]
    table = Section("The explorer in a notebook", "benchmarks/explore.py", columns)
    for side in SIDES:
        with tempfile.TemporaryDirectory() as home:
            fill(side, home, image_px=64)
            opened = [run_child(__file__, "--measure", "open", COMFLOWY_HOME=home) for _ in range(rounds)]
        figures = (spread(values(opened, name)) for name in ("cpu_s", "output_mb", "state_mb"))
        table.rows.append([f"{side**2:,}", *figures])
    return table


def measure_open(_: str) -> dict[str, float]:
    """Open the explorer of a sweep in this process, and draw its static version, as a cell does."""
    import comflowy_nb

    cpu_s = time.process_time()
    explorer = comflowy_nb.explore("large")
    data, _ = explorer.bundle()
    cpu_s = time.process_time() - cpu_s
    state = json.dumps(explorer.get_state(), default=str)
    return {"cpu_s": cpu_s, "output_mb": len(json.dumps(data)) / 1e6, "state_mb": len(state) / 1e6}


if __name__ == "__main__":
    run_script(__doc__, _sections, measure_open)
