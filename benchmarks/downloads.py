"""Measure CPU time and memory of 200 downloads of 1.2 MB, compared with `.content` and a file.

    python benchmarks/downloads.py [--images 200] [--rounds 3]

`Client.run` also verifies, decodes and records each image, and makes its thumbnails; "receive" is its download alone.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
import urllib.request
from pathlib import Path

from measuring import Section, interleave, run_child, table_of_methods
from sweep_client import serve

METHODS = ("`.content` and write", "receive", "`Client.run`")


def measure(method: str, url: str, count: int) -> dict[str, float]:
    folder = Path(os.environ["COMFLOWY_HOME"])
    urls = [f"{url}/images/run-1-{number}.png" for number in range(count)]
    if method == METHODS[0]:
        import requests

        session = requests.Session()

        def work() -> None:
            for number, each in enumerate(urls):
                (folder / f"{number}.png").write_bytes(session.get(each).content)
    elif method == METHODS[1]:
        from comflowy_nb.images.receive import receive
        from comflowy_nb.services.http.downloads import Images

        images = Images(url, "bench")

        def work() -> None:
            for number, each in enumerate(urls):
                with images.open(each) as stream, (folder / f"{number}.png").open("wb") as file:
                    receive(stream, file.write, 2**26)
    else:
        import comflowy_nb

        client = comflowy_nb.connect(f"bench={url}", key="key")

        def work() -> None:
            run = client.run("bench", {"1::n": 1})
            assert len(run.images) == count

    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    cpu_s, began_s = time.process_time(), time.monotonic()
    work()
    cpu_s, wall_s = time.process_time() - cpu_s, time.monotonic() - began_s
    growth_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib
    return {"cpu_ms": 1000 * cpu_s / count, "wall_s": wall_s, "rss_mb": growth_kib / 1024}


def sections(*, quick: bool) -> list[Section]:
    return _sections(60 if quick else 200, 2 if quick else 3)


def _sections(count: int, rounds: int) -> list[Section]:
    server, url = serve()
    options = json.dumps({"slots": 1, "seconds": 0.0, "images": count, "image_px": 1024}).encode()

    def fetch(method: str) -> dict[str, float]:
        urllib.request.urlopen(urllib.request.Request(f"{url}/reset", options, method="POST")).close()
        with tempfile.TemporaryDirectory() as home:
            command = [__file__, "--method", method, "--url", url, "--images", str(count)]
            return run_child(*command, COMFLOWY_HOME=home)

    try:
        results, absent = interleave(METHODS, rounds, fetch)
    finally:
        server.stdin.close()
        server.wait(10)
    title = f"{count} images of 1.2 MB, {rounds} rounds"
    columns = {"CPU ms an image": ("cpu_ms", 2), "wall s": ("wall_s", 2), "memory MB": ("rss_mb", 2)}
    ratio = ("CPU of `.content`", "cpu_ms")
    return [table_of_methods(title, "benchmarks/downloads.py", results, absent, ratio, columns)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--method", choices=METHODS, help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.method:
        print(json.dumps(measure(args.method, args.url, args.images)), flush=True)
        os._exit(0)
    print("\n".join(table.text() for table in _sections(args.images, args.rounds)))


if __name__ == "__main__":
    main()
