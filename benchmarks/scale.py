"""Measure histories of 1,000 to 100,000 runs: the times of writes, lists and searches, and their growth.

    python benchmarks/scale.py [--runs 1000 10000 100000] [--rounds 3]

One run is recorded in the usual way, and copied in SQL with other tokens, params and times, so that the database has
a realistic size. Each figure is the median of several calls in a fresh process with its own copy of the history.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import random
import shutil
import sqlite3
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

from measuring import Section, absent_rows, interleave, middle, run_child, spread, values

LIMITS_MS = {
    "last 50": 1.0,
    "find the same request": 1.0,
    "find by params": 1.0,
    "find a rare value": 1.0,
    "search text": 100.0,
}
FIGURES = ("write a run", *LIMITS_MS, "`%comflowy`")
SUBJECTS = ("lighthouse", "castle", "fox", "harbour", "orchard", "glacier", "market", "library")


def request(number: int):
    """Return the request of one run, with different params for each number."""
    from comflowy_nb.database.records import RunRequest

    pick = random.Random(number)
    subject = pick.choice(SUBJECTS)
    prompt = f"a {subject} at dusk, oil painting, {pick.randrange(10**6)} brush strokes, warm light, highly detailed"
    params = {"3::seed": number, "3::cfg": number % 20, "3::steps": 20, "6::text": prompt}
    return RunRequest(
        token=f"00000000-0000-4000-8000-{number:012d}",
        identity="bench",
        origin="http://127.0.0.1:1",
        service="bench",
        workflow="default",
        workflow_id="default",
        params=params,
        key=f"{number:064x}",
        owner="none.lock",
        set_params=("3::seed",),
    )


def fill(home: Path, count: int) -> None:
    """Create a history of `count` runs with an image each."""
    from comflowy_nb.database.records import ImageRecord
    from comflowy_nb.database.runs import History
    from comflowy_nb.database.value_index import put_run_values
    from comflowy_nb.status import StatusEvent

    home.mkdir(parents=True)
    history, first, now = History.open(home), request(0), time.time()
    history.record_or_reuse(first, fresh=False, retry="failed", costs_money=False)
    history.apply(first.token, StatusEvent.ACCEPTED, service_run_id="run-0", accepted_at=now)
    image = ImageRecord(0, "9", 0, state="kept", file="2026-01/0_0.png", width_px=512, height_px=512, format="PNG")
    history.apply(first.token, StatusEvent.SEEN_SUCCESS, images=(image,), started_at=now, finished_at=now + 1)
    history.close()
    with contextlib.closing(sqlite3.connect(home / "history.sqlite")) as database, database:
        for table in ("runs", "images"):
            names = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
            row = dict(zip(names, database.execute(f"SELECT * FROM {table}").fetchone(), strict=True))
            columns = [name for name in names if name != "number"]
            copies = ([_copy(row, number, now)[name] for name in columns] for number in range(1, count))
            marks = ",".join("?" * len(columns))
            database.executemany(f"INSERT INTO {table} ({','.join(columns)}) VALUES ({marks})", copies)
        for number in range(1, count):
            put_run_values(database, number + 1, {"params": request(number).params})


def _copy(row: dict, number: int, now: float) -> dict:
    copied = request(number)
    changed = {name: now - 100 + number / 1000 for name in row if name.endswith("_at") and row[name] is not None}
    changed |= {"token": copied.token, "run": copied.token, "key": copied.key, "file": f"2026-01/{number}_0.png"}
    return {**row, **changed, "params": json.dumps(copied.params), "service_run_id": f"run-{number}"}


def measure_calls() -> dict[str, float]:
    """Return the milliseconds of each call in this history."""
    from IPython.core.interactiveshell import InteractiveShell

    from comflowy_nb.database.runs import History

    history = History.open(Path(os.environ["COMFLOWY_HOME"]))
    shell = InteractiveShell.instance()
    shell.run_line_magic("load_ext", "comflowy_nb")

    def timed(call, times: int) -> float:
        call(0)
        each = []
        for number in range(1, times + 1):
            began_s = time.perf_counter()
            call(number)
            each.append(time.perf_counter() - began_s)
        return 1000 * statistics.median(each)

    def write(number: int) -> None:
        history.record_or_reuse(request(10**7 + number), fresh=False, retry="failed", costs_money=False)

    def overview(_: int) -> None:
        with contextlib.redirect_stdout(io.StringIO()):
            shell.run_line_magic("comflowy", "")

    def same(number: int) -> None:
        decision = history.record_or_reuse(request(number + 1), fresh=False, retry="failed", costs_money=False)
        assert decision.kind == "same"

    return {
        "last 50": timed(lambda _: history.search(limit=50), 30),
        "find the same request": timed(same, 30),
        "find by params": timed(lambda number: history.search(params={"cfg": number % 20}, limit=20), 10),
        "find a rare value": timed(lambda number: history.search(params={"seed": number}, limit=20), 10),
        "search text": timed(lambda number: history.search(f"lighthouse {number} strokes", limit=20), 5),
        "`%comflowy`": timed(overview, 5),
        "write a run": timed(write, 30),
    }


def measure(folder: Path, count: str) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as home:
        shutil.copytree(folder / count, home, dirs_exist_ok=True)
        figures = run_child(__file__, "--measure", COMFLOWY_HOME=home)
        return {**figures, "MB": (folder / count / "history.sqlite").stat().st_size / 1e6}


def sections(*, quick: bool) -> list[Section]:
    return _sections([1000, 10_000, 100_000], 1 if quick else 3)


def _sections(counts: list[int], rounds: int) -> list[Section]:
    with tempfile.TemporaryDirectory() as folder:
        for count in counts:
            fill(Path(folder) / str(count), count)
        results, absent = interleave([str(count) for count in counts], rounds, partial(measure, Path(folder)))
    columns = ["runs in the history", "MB", *(f"{name}, ms" for name in FIGURES)]
    table = Section(f"Scale of the history, {rounds} rounds", "benchmarks/scale.py", columns)
    for count in counts:
        figures = results[str(count)]
        shown = [spread(values(figures, name)) for name in FIGURES]
        table.rows.append([f"{count:,}", spread(values(figures, "MB"), 0).split(" ")[0], *shown])
    table.rows += absent_rows(absent, len(columns))
    largest = str(max(counts))
    for name, limit_ms in LIMITS_MS.items():
        table.target(f"{int(largest):,} runs, {name}", middle(values(results[largest], name)), limit_ms, " ms")
    return [table]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--runs", type=int, nargs="+", default=[1000, 10_000, 100_000])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure_calls()))
        return
    print("\n".join(table.text() for table in _sections(args.runs, args.rounds)))


if __name__ == "__main__":
    main()
