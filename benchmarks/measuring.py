"""Run measurements in new processes, in shuffled rounds, and write their results as a table.

A measurement is a script that prints one JSON object as its last line. A failed measurement becomes a row with the
reason, and does not stop the others.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Figures = dict[str, float]


class Absent(Exception):
    """A measurement that is not possible on this machine. The text is the reason."""


@dataclass
class Section:
    """One table of RESULTS.md."""

    title: str
    command: str
    columns: Sequence[str]
    rows: list[Sequence[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    checks: list[tuple[str, str, bool]] = field(default_factory=list)  # target, measured value, whether it is met
    middles: dict[str, float | None] = field(default_factory=dict)  # method -> the figure that a target compares

    def target(self, text: str, value: float | None, limit: float, unit: str = "") -> None:
        """Compare a figure with the largest value that the target allows."""
        met = value is not None and value <= limit
        shown = "absent" if value is None else f"{value:.3g}{unit}"
        self.checks.append((f"{text}: at most {limit:g}{unit}", shown, met))

    def text(self) -> str:
        """Return the table for a terminal."""
        table = [list(self.columns), *map(list, self.rows)]
        widths = [max(len(row[column]) for row in table) for column in range(len(self.columns))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in table]
        checks = [f"{'met' if met else 'NOT met'}: {target} ({shown})" for target, shown, met in self.checks]
        return "\n".join([self.title, *(line.rstrip() for line in lines), *self.notes, *checks, ""])

    def markdown(self) -> str:
        """Return the section for RESULTS.md; its targets are in one table at the top of the file."""
        lines = [f"## {self.title}", "", f"    {self.command}", ""]
        lines += [f"| {' | '.join(row)} |" for row in (self.columns, ["---"] * len(self.columns), *self.rows)]
        lines += [f"\n{note}" for note in self.notes]
        return "\n".join([*lines, ""])


def run_child(*command: str, timeout_s: float = 300, **variables: str) -> dict[str, Any]:
    """Run a measurement in a new process and return the object that it prints.

    Raises
    ------
    Absent
        If it fails, with the last line of its errors.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COMFLOWY_")}
    environment |= {"PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring", **variables}
    try:
        done = subprocess.run(
            [sys.executable, *command], env=environment, capture_output=True, text=True, timeout=timeout_s, check=False
        )
    except subprocess.TimeoutExpired:
        raise Absent(f"it took more than {timeout_s:g} s") from None
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise Absent(lines[-1][:160] if lines else f"exit status {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


def interleave(
    methods: Sequence[str], rounds: int, measure: Callable[[str], Figures]
) -> tuple[dict[str, list[Figures | None]], dict[str, str]]:
    """Measure each method once in each round, in random order.

    Returns
    -------
    results
        Method -> its figures in each round; None for a round in which it failed.
    absent
        Method -> why it failed, for methods that failed in every round.
    """
    results: dict[str, list[Figures | None]] = {method: [None] * rounds for method in methods}
    reasons: dict[str, str] = {}
    for number in range(rounds):
        for method in random.sample(list(methods), len(methods)):
            if number and method in reasons and not any(results[method]):
                continue  # a method that is not installed need not be tried again
            print(f"\r{number + 1}/{rounds} {method:50}", end="", file=sys.stderr, flush=True)
            try:
                results[method][number] = measure(method)
            except Absent as error:
                reasons[method] = str(error)
    print(f"\r{'':60}\r", end="", file=sys.stderr, flush=True)
    return results, {method: reason for method, reason in reasons.items() if not any(results[method])}


def values(results: Sequence[Figures | None], name: str) -> list[float]:
    return [figures[name] for figures in results if figures is not None]


def ratios(results: Sequence[Figures | None], base: Sequence[Figures | None], name: str) -> list[float]:
    """Return the ratio of two methods for each round in which both were measured."""
    return [one[name] / other[name] for one, other in zip(results, base, strict=True) if one and other]


def middle(numbers: Sequence[float]) -> float | None:
    return statistics.median(numbers) if numbers else None


def spread(numbers: Sequence[float], digits: int = 2) -> str:
    """Format median and range: `1.12 (1.05-1.31)`."""
    if not numbers:
        return "-"
    shown = f"{statistics.median(numbers):,.{digits}f}"
    return shown if len(numbers) == 1 else f"{shown} ({min(numbers):,.{digits}f}-{max(numbers):,.{digits}f})"


def table_of_methods(  # noqa: PLR0917 - all that a table says
    title: str,
    command: str,
    results: Mapping[str, Sequence[Figures | None]],
    absent: dict[str, str],
    ratio: tuple[str, str],
    columns: Mapping[str, tuple[str, int]],
) -> Section:
    """Return a table with a row for each method.

    Parameters
    ----------
    ratio
        A column, and the figure of which it shows the ratio to that of the first method.
    columns
        Column -> the figure that it shows, and the number of decimals.
    """
    base = next(iter(results.values()))
    table = Section(title, command, ["method", ratio[0], *columns])
    for method, each in results.items():
        if method not in absent:
            shown = [spread(values(each, name), digits) for name, digits in columns.values()]
            table.rows.append([method, spread(ratios(each, base, ratio[1])), *shown])
    table.rows += absent_rows(absent, len(table.columns))
    return table


def run_script(
    docstring: str,
    tables: Callable[..., list[Section]],
    measure: Callable[..., Figures],
    *,
    rounds: int = 3,
    **sizes: int,
) -> None:
    """Run the command line of a benchmark: print its tables, or with `--measure METHOD` the figures of one process.

    Both functions get `sizes`, such as a number of images. Each is an option, and this is its default.
    """
    parser = argparse.ArgumentParser(description=docstring.split("\n", 1)[0])
    parser.add_argument("--rounds", type=int, default=rounds)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    for name, default in sizes.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    chosen = {name: getattr(args, name) for name in sizes}
    if args.measure is not None:
        print(json.dumps(measure(args.measure, **chosen)))
    else:
        print("\n".join(table.text() for table in tables(args.rounds, **chosen)))


def absent_rows(absent: dict[str, str], columns: int) -> list[list[str]]:
    return [[method, f"absent: {reason}".replace("|", "/"), *[""] * (columns - 2)] for method, reason in absent.items()]
