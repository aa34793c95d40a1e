"""Measure the CPU time of grids of 4 to 144 images, compared with decoding them once and with other libraries.

    python benchmarks/grid.py [--rounds 3]

Each method draws in a separate process, after it has drawn a small grid, so that imports and fonts are not counted.
The baseline is Pillow's full decode of the same files on one thread.
"""

from __future__ import annotations

import base64
import json
import os
import resource
import tempfile
import time
import urllib.request
from typing import TYPE_CHECKING

from measuring import Section, interleave, middle, ratios, run_child, run_script, table_of_methods
from sweep_client import serve

if TYPE_CHECKING:
    from pathlib import Path


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


def remove_thumbnails(ref: str) -> None:
    for path in paths_of(ref):
        for size_px in (256, 512):
            path.with_suffix(f".t{size_px}.jpg").unlink(missing_ok=True)


FLOOR = "decode once (Pillow)"
OWN = "comflowy_nb, from thumbnails"
WITHOUT_THUMBNAILS = "comflowy_nb, thumbnails missing"
METHODS = {
    FLOOR: decode,
    OWN: own_grid,
    "plain plt.subplots": subplots,
    WITHOUT_THUMBNAILS: own_grid,
    "mediapy": with_mediapy,
    "ipyplot": with_ipyplot,
}
SIDES = (2, 4, 8, 12)  # images in a row and in a column
IMAGE_PX = 1024
SLOW_SIDE = 4
LIMITS = {16: (0.45, 1.7), 144: (0.15, 1.1)}  # number of images -> limits of the ratio with thumbnails, and without


def sections(*, quick: bool) -> list[Section]:
    """Return the tables for RESULTS.md."""
    return [_section(side, rounds=1 if quick else 2) for side in ((4, 12) if quick else SIDES)]


def _section(side: int, rounds: int) -> Section:
    is_slow = side > SLOW_SIDE
    methods = [method for method in METHODS if not (is_slow and method == "ipyplot")]
    with tempfile.TemporaryDirectory() as home:
        fill(side, home)
        results, absent = interleave(
            methods, rounds, lambda method: run_child(__file__, "--measure", method, COMFLOWY_HOME=home)
        )
    count = side**2
    table = table_of_methods(
        f"A grid of {count} images of {IMAGE_PX}x{IMAGE_PX}, {rounds} rounds",
        "benchmarks/grid.py",
        results,
        absent,
        ("CPU of decoding once", "cpu_s"),
        {"CPU s": ("cpu_s", 2), "wall s": ("wall_s", 2), "notebook MB": ("mb", 2), "memory MB": ("rss_mb", 2)},
    )
    if is_slow:
        table.notes.append("ipyplot is left out: it takes more than a minute for this number of images.")
    for method, limit in zip((OWN, WITHOUT_THUMBNAILS), LIMITS.get(count, ()), strict=False):
        relative = middle(ratios(results[method], results[FLOOR], "cpu_s"))
        table.target(f"{count} images, {method}, CPU of decoding once", relative, limit)
    return table


def measure(method: str) -> dict:
    draw = METHODS[method]
    draw("small")
    if method == WITHOUT_THUMBNAILS:
        remove_thumbnails("large")
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    cpu_s, began_s = time.process_time(), time.monotonic()
    image = draw("large")
    cpu_s, wall_s = time.process_time() - cpu_s, time.monotonic() - began_s
    growth_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib
    return {"cpu_s": cpu_s, "wall_s": wall_s, "mb": len(base64.b64encode(image)) / 1e6, "rss_mb": growth_kib / 1024}


def fill(side: int, home: str, image_px: int = IMAGE_PX) -> None:
    """Create two sweeps in the history of a new home folder, with images and thumbnails on disk."""
    import comflowy_nb

    os.environ["COMFLOWY_HOME"] = home
    server, url = serve()
    options = {"slots": 16, "seconds": 0.0, "images": 1, "image_px": image_px}
    urllib.request.urlopen(urllib.request.Request(f"{url}/reset", json.dumps(options).encode(), method="POST")).close()
    try:
        with comflowy_nb.connect(f"bench={url}", key="key") as client:
            for name, count in (("small", 2), ("large", side)):
                axes = {"1::x": list(range(count)), "1::y": list(range(100, 100 + count))}
                assert client.sweep("bench", axes, name=name, max_runs=count**2).status_counts() == {
                    "success": count**2
                }
    finally:
        server.stdin.close()
        server.wait(30)
        del os.environ["COMFLOWY_HOME"]


if __name__ == "__main__":
    run_script(__doc__, lambda rounds: [_section(side, rounds) for side in SIDES], measure)
