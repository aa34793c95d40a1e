"""Let processes race the same requests against a service that fails at random, and kill them at random.

    python tests/faults/chaos.py --runs 20000 --seed 7      # as `make chaos RUNS=20000 SEED=7`

The runs are submitted in batches: every worker process submits the same batch on several threads, in its own order. A
killed worker is started again with the same batch, until the batch has used up its kills. At the end a new process
resumes what is left, and the history is compared with what the service accepted.

A seed repeats the faults of each request, the orders, and the number and the victims of the kills. The threads, and so
the time of a kill, differ.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if __name__ == "__main__":  # as pytest does, see pyproject.toml
    sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]

from chaotic_api import ChaoticApi
from forking import forking_context
from promises import broken_images, broken_statuses, damage, leftover_files, log_statuses, lost_runs, read_rows

from comflowy_nb.errors import ComflowyError, RunHeld

if TYPE_CHECKING:
    import multiprocessing

WORKERS = 3
THREADS = 3
BATCH = 120
KILLS = [0, 2, 4, 6, 9]  # of one batch
BATCH_TIMEOUT_S = 240.0
SETTLE_S = 60.0  # maximum wait of a worker for its runs; the next worker continues them


# -- in the worker processes --------------------------------------------------------------------------------------


def use_home(home: Path) -> None:
    """Use a home folder in this process, with short delays."""
    from comflowy_nb.settings import settings

    os.environ["COMFLOWY_HOME"] = str(home)
    os.environ["PYTHON_KEYRING_BACKEND"] = "keyring.backends.null.Keyring"
    settings.retry_base_s, settings.retry_max_s, settings.lost_gap_s = 0.01, 0.05, 0.05
    settings.read_timeout_s, settings.answer_deadline_s, settings.image_deadline_s = 1.0, 1.5, 3.0
    settings.retries = 6


def connect_patiently(url: str):
    """Connect, although requests fail."""
    from comflowy_nb import connect

    for _ in range(50):
        with contextlib.suppress(ComflowyError):
            return connect(f"test={url}", key="the-key")
        time.sleep(0.02)
    raise ComflowyError("no connection after 50 attempts")


def submit_batch(home: Path, url: str, numbers: range, order: str) -> None:
    """Submit every intent of a batch on several threads, and wait for the results."""
    use_home(home)
    numbers_left, guard = list(numbers), threading.Lock()
    random.Random(order).shuffle(numbers_left)
    with connect_patiently(url) as client:
        runs = list(client.resume())

        def submit() -> None:
            while True:
                with guard:
                    if not numbers_left:
                        return
                    number = numbers_left.pop()
                try:
                    runs.append(client.submit("wf-1", {"3::seed": number}).run)
                except RunHeld:
                    pass  # its submit was lost
                except ComflowyError as error:
                    print(f"intent {number}: {type(error).__name__}: {error}", file=sys.stderr, flush=True)

        threads = [threading.Thread(target=submit) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wait_for(runs, SETTLE_S)


def wait_for(runs, timeout_s: float) -> None:
    """Wait until runs are settled."""
    end_s = time.monotonic() + timeout_s
    for run in runs:
        with contextlib.suppress(ComflowyError):
            run.wait(max(0.0, end_s - time.monotonic()))


def resume_all(home: Path, url: str) -> None:
    """Continue every run that earlier processes left, and wait for it."""
    use_home(home)
    with connect_patiently(url) as client:
        wait_for(client.resume(), SETTLE_S)


def open_history(home: Path) -> None:
    """Create the history, or repair what a killed process left."""
    from comflowy_nb.database.runs import History

    History.open(home).close()


# -- the race -----------------------------------------------------------------------------------------------------


@dataclass
class Report:
    """The figures of a race, and every broken promise."""

    seed: str
    runs: int
    seconds: float = 0.0
    batches: int = 0
    kills: int = 0
    processes: int = 0
    submits: int = 0
    accepted: int = 0
    webhooks: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    statuses: dict[str, int] = field(default_factory=dict)
    status_changes: int = 0
    images: int = 0
    doubled: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    live: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)

    @property
    def kinds(self) -> dict[str, list[str]]:
        """Return the broken promises of each kind."""
        return {
            "submitted twice": self.doubled,
            "accepted and lost": self.lost,
            "still live": self.live,
            "statuses changed against the table": self.changed,
            "images broken": self.broken,
            "others": self.others,
        }

    @property
    def problems(self) -> list[str]:
        """Return a line of text for each broken promise."""
        return [f"{kind}: {text}" for kind, texts in self.kinds.items() for text in texts]

    def __str__(self) -> str:
        statuses = ", ".join(f"{count:,} {status}" for status, count in sorted(self.statuses.items()))
        lines = [
            f"seed {self.seed}: {self.runs:,} intents in {self.batches:,} batches, {self.seconds:,.0f} s",
            f"{self.processes:,} processes started, {self.kills:,} killed",
            f"{self.submits:,} submits arrived, {self.accepted:,} accepted; {self.webhooks:,} webhooks",
            f"runs in the history: {statuses}; {self.status_changes:,} changes of status; {self.images:,} images",
            f"{sum(self.faults.values()):,} faults:",
            *(f"    {count:7,} {fault}" for fault, count in sorted(self.faults.items())),
            ", ".join(f"{len(texts):,} {kind}" for kind, texts in self.kinds.items()),
        ]
        return "\n".join([*lines, *self.problems[:50]])


class Race:
    """Start processes that submit the same batches, and kill some of them."""

    def __init__(self, home: Path, api: ChaoticApi, seed: str) -> None:
        self.home = home
        self.api = api
        self.seed = seed
        self.report = Report(seed, 0)
        self._context = forking_context()
        self._usual_s = 4.0  # duration of a batch, which limits the random times of the kills

    def run(self, runs: int, *, seconds: float = float("inf"), progress: bool = False) -> Report:
        """Submit `runs` intents, or fewer if the time is over; then compare the history with the service."""
        start_s = time.monotonic()
        self.complete(open_history, self.home)
        log_statuses(self.home)
        for first in range(0, runs, BATCH):
            is_over = time.monotonic() - start_s > seconds and self.report.kills  # some batches have no kill
            if is_over or self.api.doubled:
                break
            numbers = range(first, min(first + BATCH, runs))
            self._race(numbers)
            self.report.runs = numbers.stop
            self.api.reset_counts()  # the requests themselves, which need memory
            if progress and self.report.batches % 20 == 0:
                print(f"{numbers.stop:,} intents, {self.report.kills:,} kills, {time.monotonic() - start_s:,.0f} s")
        self.api.calm()
        self.complete(resume_all, self.home, self.api.url)
        self.complete(open_history, self.home)
        self.report.seconds = time.monotonic() - start_s
        return self.compare()

    def start(self, function, *args) -> multiprocessing.Process:
        """Call a function in a new process."""
        process = self._context.Process(target=function, args=args, daemon=True)
        process.start()
        self.report.processes += 1
        return process

    def complete(self, function, *args) -> None:
        """Call a function in a new process, and wait for its end."""
        process = self.start(function, *args)
        process.join(BATCH_TIMEOUT_S)
        if process.exitcode != 0:
            process.kill()
            self.report.others.append(f"{function.__name__} ended with {process.exitcode}")

    def _race(self, numbers: range) -> None:
        """Submit one batch in all workers, and kill some of them."""
        began_s = time.monotonic()
        draw = random.Random(f"{self.seed} {numbers.start}")
        kills = [draw.uniform(0, 1) for _ in range(draw.choice(KILLS))]
        workers = {name: self._worker(numbers, name, 0) for name in range(WORKERS)}
        while kills and any(worker.is_alive() for worker in workers.values()):
            victim = draw.choice(sorted(workers))
            pause_s = kills.pop() * self._usual_s / (len(kills) + 1)
            workers[victim].join(pause_s)
            if workers[victim].exitcode is None:
                workers[victim].kill()
                workers[victim].join()
                self.report.kills += 1
                workers[victim] = self._worker(numbers, victim, len(kills) + 1)
        for worker in workers.values():
            worker.join(max(0.0, began_s + BATCH_TIMEOUT_S - time.monotonic()))
            if worker.exitcode != 0:
                self.report.others.append(f"batch {numbers.start}: a worker ended with {worker.exitcode}")
                worker.kill()
                worker.join()
        self.report.batches += 1
        self._usual_s = 0.8 * self._usual_s + 0.2 * (time.monotonic() - began_s)

    def _worker(self, numbers: range, name: int, attempt: int) -> multiprocessing.Process:
        order = f"{self.seed} {numbers.start} {name} {attempt}"
        return self.start(submit_batch, self.home, self.api.url, numbers, order)

    def compare(self) -> Report:
        """Compare the history with what the service accepted."""
        report, api, home = self.report, self.api, self.home
        report.submits = sum(intent.submits for intent in api.intents.values())
        report.accepted, report.webhooks, report.faults = len(api.accepted), api.webhooks, api.faults
        report.statuses = dict(read_rows(home, "SELECT status, count(*) FROM runs GROUP BY status"))
        ((report.status_changes,),) = read_rows(home, "SELECT count(*) FROM status_log")
        ((report.images,),) = read_rows(home, "SELECT count(*) FROM images WHERE state = 'kept'")
        report.doubled = list(api.doubled)
        report.lost = lost_runs(home, [(run.number, run_id) for run_id, run in api.accepted.items()])
        live = "SELECT token, status FROM runs WHERE status NOT IN "
        live += "('success', 'failed', 'rejected', 'cancelled', 'unknown', 'lost')"
        report.live = [f"{token}: {status}" for token, status in read_rows(home, live)]
        report.changed = broken_statuses(home)
        report.broken = broken_images(home)
        report.others += [*damage(home), *leftover_files(home)]
        report.others += [f"{text} followed a redirect" for text in api.redirected]
        report.others += self._other_ends()
        return report

    def _other_ends(self) -> list[str]:
        """Return the runs whose end in the history is not the end that the service reported."""
        ended = dict(
            read_rows(self.home, "SELECT service_run_id, status FROM runs WHERE status IN ('success', 'failed')")
        )
        return [
            f"{run_id}: {ended[run_id]} instead of {run.end}"
            for run_id, run in self.api.accepted.items()
            if ended.get(run_id, run.end) != run.end
        ]


def main() -> int:
    parser = argparse.ArgumentParser(description="Race processes against a service that fails at random.")
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--seed", default=None)
    parser.add_argument("--seconds", type=float, default=float("inf"), help="end earlier, after this time")
    options = parser.parse_args()
    seed = options.seed or str(random.SystemRandom().randrange(1_000_000))
    print(f"seed {seed}", flush=True)
    with tempfile.TemporaryDirectory() as folder, ChaoticApi(seed) as api:
        report = Race(Path(folder) / "home", api, seed).run(options.runs, seconds=options.seconds, progress=True)
    print(report)
    return 1 if report.problems else 0


if __name__ == "__main__":
    sys.exit(main())
