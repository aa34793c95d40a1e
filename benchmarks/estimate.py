"""Compare the estimate in the plan of a sweep with the time that the sweep takes.

    python benchmarks/estimate.py [--rounds 2]

Each round uses a new home folder and a new sandbox, and submits sweeps of different numbers of cells, steps and image
sizes, all with new seeds. The first sweep has no estimate, because there is no earlier run.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time

TARGET = "target: from the second sweep on, the ratio of estimate and truth is between 1/1.5 and 1.5"
# Number of seeds, and the other values; a list is an axis.
SWEEPS = (
    (8, {"steps": 6, "width": 256, "height": 256}),
    (8, {"steps": 6, "width": 256, "height": 256}),
    (24, {"steps": 6, "width": 256, "height": 256}),
    (6, {"steps": 20, "width": 256, "height": 256}),
    (4, {"steps": [4, 12, 20], "width": 256, "height": 256}),
    (8, {"steps": 12, "width": 384, "height": 384}),
    (12, {"steps": 12, "width": 512, "height": 512}),
    (3, {"steps": 20, "width": 512, "height": 512}),
    (16, {"steps": 6, "width": 128, "height": 128}),
)


def measure() -> list[tuple[str, float | None, float]]:
    """Run the sweeps; return the description of each, its estimate and its time, in seconds."""
    import comflowy_nb

    measured = []
    seed = 0
    with comflowy_nb.connect("sandbox") as client:
        for count, values in SWEEPS:
            seeds = list(range(seed, seed + count))
            seed += count
            began_s = time.monotonic()
            sweep = client.sweep("default", {"seed": seeds, **values})
            took_s = time.monotonic() - began_s
            text = f"{len(sweep.cells):3} cells, steps {values['steps']}, {values['width']} px"
            measured.append((text, sweep.plan.seconds, took_s))
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    args = parser.parse_args()
    print(TARGET)
    met = total = 0
    for number in range(1, args.rounds + 1):
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            os.environ["COMFLOWY_HOME"] = folder
            print(f"\nround {number}, load average {os.getloadavg()[0]:.1f}")
            print(f"{'sweep':40} {'estimate s':>10} {'truth s':>8} {'ratio':>6}")
            for text, estimate_s, took_s in measure():
                ratio = None if estimate_s is None else estimate_s / took_s
                shown = ("-", "") if ratio is None else (f"{estimate_s:.1f}", f"{ratio:.2f}")
                print(f"{text:40} {shown[0]:>10} {took_s:8.1f} {shown[1]:>6}")
                if ratio is not None:
                    total += 1
                    met += 1 / 1.5 <= ratio <= 1.5
    print(f"\n{met} of {total} within a factor 1.5")


if __name__ == "__main__":
    main()
