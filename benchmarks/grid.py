"""Measure the CPU time of a grid of 144 images, compared with decoding them once and with plt.subplots.

    python benchmarks/grid.py [--side 12] [--px 1024] [--rounds 3]

Each method draws in a separate process, after it has drawn a small grid, so that imports and fonts are not counted.
The baseline is Pillow's full decode of the same files on one thread.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from typing import TYPE_CHECKING

from measuring import Section, absent_rows, interleave, middle, ratios, run_child, spread, values
from sweep_client import serve

if TYPE_CHECKING:
    from pathlib import Path

TARGET = "target: comflowy_nb <= 0.35 of the CPU of decoding once"


def open_sweep(ref: str):
    from comflowy_nb.library import open_library

    library = open_library()
    return library.sweep(library.find(ref).sweep)


def paths_of(ref: str) -> list[Path]:
    return [cell.run.images[0].path for cell in open_sweep(ref).cells]


def decode(ref: str) -> bytes:
    from PIL import Image

    for path in paths_of(ref):
        Image.open(path).load()
    return b""


def own_grid(ref: str) -> bytes:
    import comflowy_nb

    return comflowy_nb.grid(open_sweep(ref)).jpeg


def subplots(ref: str) -> bytes:
    """Draw the grid with plain matplotlib."""
    import io

    import matplotlib as mpl

    mpl.use("Agg")
    import numpy as np
    from matplotlib import pyplot as plt
    from PIL import Image

    paths = paths_of(ref)
    side = int(len(paths) ** 0.5)
    figure, axes = plt.subplots(side, side, figsize=(12, 12), squeeze=False)
    for path, place in zip(paths, axes.flat, strict=True):
        place.imshow(np.asarray(Image.open(path)))
        place.set_axis_off()
        place.set_title(path.name[:8], fontsize=6)
    out = io.BytesIO()
    figure.savefig(out, dpi=100)
    plt.close(figure)
    return out.getvalue()


def _arrays(ref: str) -> tuple[list, list[str]]:
    import numpy as np
    from PIL import Image

    paths = paths_of(ref)
    return [np.asarray(Image.open(path)) for path in paths], [path.name[:8] for path in paths]


def with_mediapy(ref: str) -> bytes:
    import mediapy

    arrays, names = _arrays(ref)
    side = int(len(arrays) ** 0.5)
    return mediapy.show_images(arrays, titles=names, columns=side, width=100, return_html=True).encode()


def with_ipyplot(ref: str) -> bytes:
    from unittest import mock

    import ipyplot

    arrays, names = _arrays(ref)
    shown = []
    with mock.patch("ipyplot._html_helpers.display", shown.append):
        ipyplot.plot_images(arrays, names, img_width=100, max_images=len(arrays))
    return "".join(one.data for one in shown).encode()


def first_grid(ref: str) -> bytes:
    """Draw the grid from the original files, as if the thumbnails were missing."""
    for path in paths_of(ref):
        for size_px in (256, 512):
            path.with_suffix(f".t{size_px}.jpg").unlink(missing_ok=True)
    return own_grid(ref)


METHODS = {
    "decode once (Pillow)": decode,
    "comflowy_nb, from thumbnails": own_grid,
    "plain plt.subplots": subplots,
    "comflowy_nb, thumbnails missing": first_grid,
    "mediapy": with_mediapy,
    "ipyplot": with_ipyplot,
}
FLOOR = "decode once (Pillow)"
OWN = "comflowy_nb, from thumbnails"
SLOW_SIDE = 4
LIMITS = {16: (0.45, 1.7), 144: (0.15, 1.1)}  # number of images -> limits of the ratio with thumbnails, and without


def sections(*, quick: bool) -> list[Section]:
    """Return the tables for RESULTS.md."""
    return [_section(side, rounds=1 if quick else 2) for side in ((4, 12) if quick else (2, 4, 8, 12))]


def _section(side: int, rounds: int) -> Section:
    is_slow = side > SLOW_SIDE
    methods = [method for method in METHODS if not (is_slow and method == "ipyplot")]
    with tempfile.TemporaryDirectory() as home:
        os.environ["COMFLOWY_HOME"] = home
        fill(argparse.Namespace(side=side, px=1024))
        results, absent = interleave(
            methods, rounds, lambda method: run_child(__file__, "--method", method, COMFLOWY_HOME=home)
        )
    del os.environ["COMFLOWY_HOME"]
    count = side**2
    columns = ["method", "CPU of decoding once", "CPU s", "wall s", "notebook MB", "memory MB"]
    table = Section(f"A grid of {count} images of 1024x1024, {rounds} rounds", "benchmarks/grid.py", columns)
    for method, each in results.items():
        if method not in absent:
            relative = spread(ratios(each, results[FLOOR], "cpu_s"))
            names = ("cpu_s", "wall_s", "mb", "rss_mb")
            table.rows.append([method, relative, *(spread(values(each, name)) for name in names)])
    table.rows += absent_rows(absent, len(columns))
    if is_slow:
        table.notes.append("ipyplot is left out: it takes more than a minute for this number of images.")
    for method, limit in zip((OWN, "comflowy_nb, thumbnails missing"), LIMITS.get(count, ()), strict=False):
        relative = middle(ratios(results[method], results[FLOOR], "cpu_s"))
        table.target(f"{count} images, {method}, CPU of decoding once", relative, limit)
    return table


def measure(method: str) -> dict:
    draw = METHODS[method]
    draw("small")
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    cpu_s, began_s = time.process_time(), time.monotonic()
    image = draw("large")
    cpu_s, wall_s = time.process_time() - cpu_s, time.monotonic() - began_s
    growth_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib
    return {"cpu_s": cpu_s, "wall_s": wall_s, "mb": len(base64.b64encode(image)) / 1e6, "rss_mb": growth_kib / 1024}


def fill(args: argparse.Namespace) -> None:
    """Create two sweeps in a new history, with images and thumbnails on disk."""
    import comflowy_nb

    server, url = serve()
    options = {"slots": 16, "seconds": 0.0, "images": 1, "image_px": args.px}
    urllib.request.urlopen(urllib.request.Request(f"{url}/reset", json.dumps(options).encode(), method="POST")).close()
    try:
        with comflowy_nb.connect(f"bench={url}", key="key") as client:
            for name, side in (("small", 2), ("large", args.side)):
                axes = {"1::x": list(range(side)), "1::y": list(range(100, 100 + side))}
                assert client.sweep("bench", axes, name=name, max_runs=side**2).status_counts() == {"success": side**2}
    finally:
        server.stdin.close()
        server.wait(30)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=12, help="images in a row and in a column")
    parser.add_argument("--px", type=int, default=1024, help="width and height of an image")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--method", choices=METHODS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.method:
        print(json.dumps(measure(args.method)))
        return

    with tempfile.TemporaryDirectory() as home:
        os.environ["COMFLOWY_HOME"] = home
        fill(args)
        size = sum(path.stat().st_size for path in paths_of("large")) / 1e6
        results: dict[str, list[dict]] = {method: [] for method in METHODS}
        for method in [name for _ in range(args.rounds) for name in random.sample(list(METHODS), len(METHODS))]:
            print(f"\r{method:40}", end="", file=sys.stderr, flush=True)
            command = [sys.executable, __file__, "--method", method]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=600)
            results[method].append(json.loads(done.stdout.splitlines()[-1]))
        print(file=sys.stderr)
    floor_s = statistics.median(result["cpu_s"] for result in results["decode once (Pillow)"])
    count = args.side**2
    print(f"{count} images of {args.px} x {args.px}, {size:.0f} MB; load average {os.getloadavg()[0]:.1f}")
    print(f"{'':30} {'CPU s':>7} {'of decoding':>12} {'wall s':>7} {'notebook MB':>12} {'memory MB':>10}")
    for method, each in results.items():
        middle = {name: statistics.median(result[name] for result in each) for name in each[0]}
        print(
            f"{method:30} {middle['cpu_s']:7.2f} {middle['cpu_s'] / floor_s:12.2f} {middle['wall_s']:7.2f} "
            f"{middle['mb']:12.2f} {middle['rss_mb']:10.0f}"
        )
    print(TARGET)


if __name__ == "__main__":
    main()
