"""Run all benchmarks and write RESULTS.md: `make bench`, or `make bench QUICK=1` with fewer rounds.

A benchmark that fails is reported with its reason and does not stop the others.
"""

from __future__ import annotations

import argparse
import importlib
import os
import platform
import sys
import time
import traceback
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

from measuring import Absent, Section

if TYPE_CHECKING:
    from collections.abc import Callable

HERE = Path(__file__).parent
BENCHMARKS = ("first_use", "comfyui", "grid", "sweep_client", "scale", "explore", "sandbox", "downloads", "progress")
VERSIONS = (
    "comflowy_nb", "matplotlib", "numpy", "Pillow", "requests", "ipython", "ipykernel", "comfy-script", "comfy-sdk",
    "comfy-api-proxy", "comfy-api-simplified", "mediapy", "ipyplot", "playwright",
)  # fmt: skip
NOTES = """\
Each figure is a median with its range in brackets. Ratios are of one round: the method and its baseline ran in fresh
processes, one after the other, in random order. No figure is a test: absolute times depend on the machine and its load.
"""


def run(names: list[str], *, quick: bool, write: Callable[[list[Section], list[str]], None]) -> None:
    """Call `write` after each benchmark with the tables, and a line for each benchmark that failed."""
    tables: list[Section] = []
    failed: list[str] = []
    for name in names:
        began_s = time.monotonic()
        try:
            found = importlib.import_module(name).sections(quick=quick)
        except Absent as error:
            failed.append(f"`benchmarks/{name}.py`: absent: {error}")
        except Exception as error:  # noqa: BLE001 - one benchmark must not stop the others
            traceback.print_exc()
            failed.append(f"`benchmarks/{name}.py`: failed: {type(error).__name__}: {str(error)[:200]}")
        else:
            tables += found
            print("\n".join(table.text() for table in found))
        print(f"{name}: {time.monotonic() - began_s:.0f} s", file=sys.stderr)
        write(tables, failed)


def versions() -> str:
    found = []
    for name in VERSIONS:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            found.append(f"{name} absent")
    return ", ".join(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="fewer rounds and sizes")
    parser.add_argument("--only", nargs="+", choices=BENCHMARKS, default=list(BENCHMARKS))
    parser.add_argument("--out", type=Path, default=HERE / "RESULTS.md")
    args = parser.parse_args()
    began, load = time.time(), os.getloadavg()[0]

    def write(tables: list[Section], failed: list[str]) -> None:
        """Write the results so far, so that an interrupt loses nothing."""
        machine = (
            f"`make bench{' QUICK=1' if args.quick else ''}` on {time.strftime('%d %B %Y', time.gmtime(began))}: "
            f"{os.cpu_count()} cores ({platform.machine()}), {platform.system()}, Python {platform.python_version()}, "
            f"load average {load:.1f} before and {os.getloadavg()[0]:.1f} after "
            f"{(time.time() - began) / 60:.0f} minutes."
        )
        checks = [check for table in tables for check in table.checks]
        lines = [
            *("# Results", "", machine, "", NOTES, f"Versions: {versions()}.", ""),
            *(f"- {line}" for line in failed),
            *("", "## Targets", "", f"{sum(met for *_, met in checks)} of {len(checks)} are met.", ""),
            *("| target | measured | |", "|---|---|---|"),
            *(f"| {target} | {shown} | {'met' if met else '**not met**'} |" for target, shown, met in checks),
            *("", (HERE / "NOTES.md").read_text().strip(), ""),
        ]
        args.out.write_text("\n".join([*lines, *(table.markdown() for table in tables)]))

    run(args.only, quick=args.quick, write=write)
    print(f"wrote {args.out.name}")


if __name__ == "__main__":
    main()
