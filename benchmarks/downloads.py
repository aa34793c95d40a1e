"""Measure CPU time and memory of 200 downloads of 1.2 MB, compared with `.content` and a file.

    python benchmarks/downloads.py [--images 200] [--rounds 3]

`Client.run` also verifies, decodes and records each image, and makes its thumbnails; "receive" is its download alone.
"""

from __future__ import annotations

import json
import os
import resource
import tempfile
import time
import urllib.request
from pathlib import Path

from measuring import Section, interleave, run_child, run_script, table_of_methods
from sweep_client import serve

METHODS = ("`.content` and write", "receive", "`Client.run`")


def measure(method: str, images: int) -> dict[str, float]:
    folder, url = Path(os.environ["COMFLOWY_HOME"]), os.environ["BENCH_URL"]
    urls = [f"{url}/images/run-1-{number}.png" for number in range(images)]
    if method == METHODS[0]:
        import requests

        session = requests.Session()

        def work() -> None:
            for number, each in enumerate(urls):
                (folder / f"{number}.png").write_bytes(session.get(each).content)
    elif method == METHODS[1]:
        from comflowy_nb.images.receive import receive
        from comflowy_nb.services.http.downloads import Images

        service = Images(url, "bench")

        def work() -> None:
            for number, each in enumerate(urls):
                with service.open(each) as stream, (folder / f"{number}.png").open("wb") as file:
                    receive(stream, file.write, 2**26)
    else:
        import comflowy_nb

        client = comflowy_nb.connect(f"bench={url}", key="key")

        def work() -> None:
            run = client.run("bench", {"1::n": 1})
            assert len(run.images) == images

    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    cpu_s, began_s = time.process_time(), time.monotonic()
    work()
    cpu_s, wall_s = time.process_time() - cpu_s, time.monotonic() - began_s
    growth_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib
    return {"cpu_ms": 1000 * cpu_s / images, "wall_s": wall_s, "rss_mb": growth_kib / 1024}


def sections(*, quick: bool) -> list[Section]:
    return _sections(2 if quick else 3, 60 if quick else 200)


def _sections(rounds: int, images: int) -> list[Section]:
    server, url = serve()
    options = json.dumps({"slots": 1, "seconds": 0.0, "images": images, "image_px": 1024}).encode()

    def fetch(method: str) -> dict[str, float]:
        urllib.request.urlopen(urllib.request.Request(f"{url}/reset", options, method="POST")).close()
        with tempfile.TemporaryDirectory() as home:
            command = [__file__, "--measure", method, "--images", str(images)]
            return run_child(*command, COMFLOWY_HOME=home, BENCH_URL=url)

    try:
        results, absent = interleave(METHODS, rounds, fetch)
    finally:
        server.stdin.close()
        server.wait(10)
    title = f"{images} images of 1.2 MB, {rounds} rounds"
    columns = {"CPU ms an image": ("cpu_ms", 2), "wall s": ("wall_s", 2), "memory MB": ("rss_mb", 2)}
    ratio = ("CPU of `.content`", "cpu_ms")
    return [table_of_methods(title, "benchmarks/downloads.py", results, absent, ratio, columns)]


if __name__ == "__main__":
    run_script(__doc__, _sections, measure, images=200)
