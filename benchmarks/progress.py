"""Measure a run that reports 10,000 progress events: CPU time of the kernel, and updates of its display.

    python benchmarks/progress.py [--events 10000] [--rounds 3]

The scripted ComfyUI server sends two events a step, as fast as it can. The bare client reads the same events.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path

from comfyui import SERVER, serving
from measuring import Section, absent_rows, interleave, ratios, run_child, run_script, spread, values

METHODS = ("bare client", "`Client.run`", "`%comflowy run` in a kernel")
EVENTS_PER_STEP = 2  # `progress` and `progress_state`


def graph(events: int) -> dict:
    nodes = json.loads((SERVER.parent / "data" / "comfyui" / "default_workflow_api.json").read_text())
    nodes["5"]["inputs"] |= {"width": 64, "height": 64}
    nodes["3"]["inputs"] |= {"steps": events // EVENTS_PER_STEP, "seed": time.time_ns() % 2**32}
    return nodes


def measure(method: str, events: int) -> dict[str, float]:
    url = os.environ["BENCH_URL"]
    if method == METHODS[0]:
        sys.path.insert(0, str(SERVER))
        from bare_client import BareClient

        with BareClient(url) as client:
            cpu_s, began_s = time.process_time(), time.monotonic()
            client.run(graph(events))
            return {"cpu_s": time.process_time() - cpu_s, "wall_s": time.monotonic() - began_s}
    path = Path(os.environ["COMFLOWY_HOME"]) / "bench.json"
    path.write_text(json.dumps(graph(events)))
    if method == METHODS[1]:
        import comflowy_nb

        with comflowy_nb.connect(f"bench={url}") as client:
            cpu_s, began_s = time.process_time(), time.monotonic()
            client.run(str(path))
            return {"cpu_s": time.process_time() - cpu_s, "wall_s": time.monotonic() - began_s}
    from kernel import Kernel

    with Kernel() as kernel:
        for code in ("%load_ext comflowy_nb", f"%comflowy connect bench={url}"):
            kernel.run(code)
        figures = kernel.run(f"%comflowy run {path}")
        return {name: figures[name] for name in ("cpu_s", "wall_s", "updates")}


def sections(*, quick: bool) -> list[Section]:
    return _sections(1 if quick else 3, 10_000)


def _sections(rounds: int, events: int) -> list[Section]:
    def run(method: str) -> dict[str, float]:
        with tempfile.TemporaryDirectory() as home:
            command = [__file__, "--measure", method, "--events", str(events)]
            return run_child(*command, COMFLOWY_HOME=home, BENCH_URL=url)

    with serving(0.0) as url:
        results, absent = interleave(METHODS, rounds, run)
    columns = ["method", "CPU of the bare client", "CPU s", "CPU us an event", "wall s", "updates a second"]
    table = Section(f"{events:,} progress events, {rounds} rounds", "benchmarks/progress.py", columns)
    for method, each in results.items():
        if method in absent:
            continue
        found = [figures for figures in each if figures is not None]
        per_event = [1e6 * figures["cpu_s"] / events for figures in found]
        rates = [figures["updates"] / figures["wall_s"] for figures in found if "updates" in figures]
        shown = [spread(values(each, "cpu_s")), spread(per_event, 0), spread(values(each, "wall_s")), spread(rates, 1)]
        table.rows.append([method, spread(ratios(each, results[METHODS[0]], "cpu_s")), *shown])
    table.rows += absent_rows(absent, len(columns))
    return [table]


if __name__ == "__main__":
    run_script(__doc__, _sections, measure, events=10_000)
