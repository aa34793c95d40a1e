"""Measure explorer pages of 100 to 5,000 cells: time to the first image, time of one step, and memory.

    python benchmarks/explore.py [--cells 100 1000 5000] [--steps 60] [--rounds 3]

The page is a saved page with synthetic previews of 256 x 256, opened from a file in headless Chromium. A step is an
arrow key: from the event to the frame that shows the other cell. Each round opens every page in a new browser, in
random order.
"""

from __future__ import annotations

import argparse
import random
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from measuring import Absent, Section, interleave, middle, spread, values
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

from explorer_pages import axis, document, draw, images_of

from comflowy_nb.sharing.page import page_html

TARGETS = "targets for 1,000 cells: the first image within 1 s, a step within 50 ms"
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


def measure(url: str, steps: int) -> dict[str, float]:
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
    """Return the table for RESULTS.md."""
    if CHROMIUM is None:
        raise Absent("there is no Chromium here")
    names = {f"{cells:,} cells, {view}": (cells, view) for cells in SHAPES for view in VIEWS}
    with tempfile.TemporaryDirectory() as folder:
        for cells in SHAPES:
            write_page(cells, Path(folder) / f"{cells}.html")

        def open_page(name: str) -> dict[str, float]:
            cells, view = names[name]
            return measure((Path(folder) / f"{cells}.html").as_uri() + VIEWS[view], 30)

        results, absent = interleave(list(names), 1 if quick else 3, open_page)
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
    return [table]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, nargs="+", default=list(SHAPES), choices=list(SHAPES))
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    if CHROMIUM is None:
        print("explore: skipped, because there is no Chromium here")
        return
    results: dict[tuple[int, str], list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for cells in args.cells:
            write_page(cells, Path(folder) / f"{cells}.html")
        for _ in range(args.rounds):
            turns = [(cells, view) for cells in args.cells for view in VIEWS]
            random.shuffle(turns)
            for cells, view in turns:
                url = (Path(folder) / f"{cells}.html").as_uri() + VIEWS[view]
                results.setdefault((cells, view), []).append(measure(url, args.steps))
    print(f"{'cells':>6} {'view':6} {'first s':>8} {'step ms':>8} {'p95 ms':>7} {'heap MB':>8}")
    for (cells, view), found in sorted(results.items()):
        first, step, p95, heap = (statistics.median(one[key] for one in found) for key in found[0])
        print(f"{cells:6,} {view:6} {first:8.2f} {step:8.1f} {p95:7.1f} {heap:8.1f}")
    print(TARGETS)


if __name__ == "__main__":
    main()
