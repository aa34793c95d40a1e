"""Time the first minutes in a new home folder: each cell in a real kernel, on the sandbox.

    python benchmarks/first_use.py [--rounds 3]

`new` starts with a new home folder; `cold` also without byte code and without the caches of matplotlib, as after an
installation that compiles nothing; `warm` is a second kernel with the home folder of the first. Times are from the
execution of a cell to the idle kernel, or to its last image. CPU is that of the kernel, the sandbox and its workers.
"""

from __future__ import annotations

import tempfile
import time

from measuring import Section, absent_rows, interleave, middle, run_child, run_script, spread, values

CELLS = {
    "`%load_ext comflowy_nb`": "%load_ext comflowy_nb",
    "`connect sandbox`": "%comflowy connect sandbox",
    "first run, 512x512, 20 steps": "%comflowy run default seed=5{kernel}",
    "second run": "%comflowy run default seed=6{kernel}",
    "third run": "%comflowy run default seed=7{kernel}",
    "first grid, 4 runs of 4 steps": "%comflowy sweep default seed=1{kernel},2{kernel} cfg=4,8 steps=4",
    "first form": "%comflowy form default",
    "first explorer": "%comflowy explore s1",
}
FIRST_IMAGE = "from `connect` to the first image"
KINDS = ("new", "warm", "cold")


def cells_of_a_kernel(number: str) -> dict[str, float]:
    """Run all cells in a new kernel and return their figures."""
    from kernel import Kernel

    figures: dict[str, float] = {}
    with Kernel() as kernel:
        for name, code in CELLS.items():
            each = kernel.run(code.format(kernel=number))
            figures[f"{name} s"] = each["image_s"] or each["wall_s"]
            figures[f"{name} cpu"] = each["cpu_s"]
        for key in ("s", "cpu"):
            figures[f"{FIRST_IMAGE} {key}"] = sum(figures[f"{name} {key}"] for name in list(CELLS)[1:3])
    return figures


def measure(kind: str) -> dict[str, float]:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        variables = {"COMFLOWY_HOME": f"{folder}/home"}
        if kind == "cold":
            variables |= {"MPLCONFIGDIR": f"{folder}/mpl", "PYTHONPYCACHEPREFIX": f"{folder}/bytecode"}
        if kind == "warm":
            run_child(__file__, "--measure", "1", **variables)
        figures = run_child(__file__, "--measure", "2", **variables)
        time.sleep(6)  # the sandbox ends when no client is left
        return figures


def sections(*, quick: bool) -> list[Section]:
    return _sections(1 if quick else 3)


def _sections(rounds: int) -> list[Section]:
    results, absent = interleave(KINDS, rounds, measure)
    columns = ["cell", *(text for kind in KINDS for text in (f"{kind}: s", f"{kind}: CPU s"))]
    table = Section(f"First use, {rounds} rounds", "benchmarks/first_use.py", columns)
    for name in (*CELLS, FIRST_IMAGE):
        figures = [values(results[kind], f"{name} {key}") for kind in KINDS for key in ("s", "cpu")]
        table.rows.append([name, *map(spread, figures)])
    table.rows += absent_rows(absent, len(columns))
    table.target(f"new home folder, {FIRST_IMAGE}", middle(values(results["new"], f"{FIRST_IMAGE} s")), 3.0, " s")
    second = [value for kind in ("new", "warm") for value in values(results[kind], "second run s")]
    table.target("second run, 512x512, 20 steps", middle(second), 1.2, " s")
    return [table]


if __name__ == "__main__":
    run_script(__doc__, _sections, cells_of_a_kernel)
