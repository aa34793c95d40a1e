"""A process that is killed before or after any commit, rename, removal or request breaks no promise.

Each operation runs once for each of its points, in a copy of the same home folder, and is killed there. A new process
then resumes, and repeats the operation.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from chaos import open_history
from chaotic_api import ChaoticApi
from forking import forking_context
from kill_points import COMPLETE, run_until
from killed_operations import NOTES, delete, load, open_only, prune, rate, save, submit, sweep
from promises import broken_images, broken_statuses, damage, leftover_files, log_statuses, lost_runs, read_rows

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here"),
]

MAX_POINTS = 400


# -- the expectations ---------------------------------------------------------------------------------------------


def counts(home: Path) -> tuple[int, int]:
    """Return the numbers of runs and of images on disk."""
    runs = read_rows(home, "SELECT count(*) FROM runs")
    images = read_rows(home, "SELECT count(*) FROM images WHERE state = 'kept'")
    return runs[0][0], images[0][0]


def expect_runs(home: Path, api: ChaoticApi) -> None:
    """Assert that each request has a success with its image, or is held because its submit may have arrived."""
    rows = read_rows(home, "SELECT status, count(*) FROM runs GROUP BY status")
    assert {status for status, _ in rows} <= {"success", "unknown"}
    assert read_rows(home, "SELECT run FROM images WHERE state <> 'kept'") == []
    assert all(intent.submits == 1 for intent in api.intents.values())


def expect_rating(home: Path, _: ChaoticApi) -> None:
    assert read_rows(home, "SELECT rating, note FROM ratings") == [(len(NOTES) + 1, NOTES[-1])]


def expect_pruned(home: Path, _: ChaoticApi) -> None:
    assert read_rows(home, "SELECT DISTINCT state FROM images") == [("pruned",)]
    assert read_rows(home, "SELECT * FROM removals") == []


def expect_deleted(home: Path, _: ChaoticApi) -> None:
    assert counts(home) == (2, 2)
    assert read_rows(home, "SELECT * FROM removals") == []


def expect_loaded(home: Path, _: ChaoticApi) -> None:
    assert counts(home) == (4, 4)
    assert not (home / "loading").exists()


def expect_empty(home: Path, _: ChaoticApi) -> None:
    assert counts(home) == (0, 0)


@dataclass
class Operation:
    """An operation that is killed, and the state that is expected after its repetition.

    `states` are the numbers of runs and images that a kill may leave; None for any.
    """

    action: object
    expect: object
    points: int  # the operation has more points than this
    runs: int = 0  # runs in the history before the operation
    states: tuple[tuple[int, int], ...] | None = None


OPERATIONS = {
    "open": Operation(open_only, expect_empty, 4),
    "submit, check and download": Operation(submit, expect_runs, 30),
    "sweep": Operation(sweep, expect_runs, 60),
    "rate": Operation(rate, expect_rating, 4, 3, ((3, 3),)),
    "prune": Operation(prune, expect_pruned, 8, 3, ((3, 3), (3, 0))),
    "delete": Operation(delete, expect_deleted, 8, 3, ((3, 3), (2, 2))),
    "load": Operation(load, expect_loaded, 12, 3, ((3, 3), (4, 4))),
}


class Killer:
    """Runs operations in new processes, each with its own copy of the home folder."""

    def __init__(self, folder: Path, api: ChaoticApi) -> None:
        self.folder = folder
        self.api = api
        self._context = forking_context()

    def complete(self, action, *args) -> None:
        """Run an action in a new process to its end."""
        process = self._context.Process(target=action, args=args, daemon=True)
        process.start()
        process.join(120)
        assert process.exitcode == 0, f"{action.__name__} ended with {process.exitcode}"

    def prepare(self, operation: Operation) -> Path:
        """Return a home folder for an operation."""
        home = self.folder / "first"
        if operation.action is open_only:
            return home
        self.complete(open_history, home)
        if operation.runs:
            self.complete(submit, home, self.api.url, tuple(range(1, operation.runs + 1)))
        if operation.action is load:
            other = self.folder / "other"
            self.complete(submit, other, self.api.url, (9,))
            self.complete(save, other, str(self.folder / "saved.zip"))
        log_statuses(home)
        return home

    def kill(self, action, home: Path, number: int) -> list[str]:
        """Kill an action at a point. Return the names of the points that it passed; `COMPLETE` if it was not killed."""
        report = self.folder / f"points-{number}.txt"
        args = (number, report, home, action, self.api.url)
        process = self._context.Process(target=run_until, args=args, daemon=True)
        process.start()
        process.join(120)
        points = report.read_text().splitlines()
        assert process.exitcode in {0, -9}, f"{action.__name__} ended with {process.exitcode} after {points[-3:]}"
        assert (points[-1] == COMPLETE) == (process.exitcode == 0)
        return points


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_process_that_is_killed_at_any_point_breaks_no_promise(tmp_path, name):
    operation, passed, statuses = OPERATIONS[name], [], set()
    with ChaoticApi("kill", rate=0) as api:
        killer = Killer(tmp_path, api)
        first = killer.prepare(operation)
        for number in range(1, MAX_POINTS):
            home = tmp_path / f"home-{number}"
            if first.exists():
                shutil.copytree(first, home)
            api.forget()
            passed = killer.kill(operation.action, home, number)
            assert not [line for line in passed if line.startswith("not counted")]
            where = f"point {number}: {passed[-1]}"
            if operation.states is not None:
                assert counts(home) in operation.states, where
                killer.complete(open_history, home)  # as the next start of a process
                assert counts(home) in operation.states, where
                assert broken_images(home) == [], where
                assert leftover_files(home) == [], where
                assert read_rows(home, "SELECT * FROM removals") == [], where
                assert not (home / "loading").exists(), where
            killer.complete(operation.action, home, api.url)
            if leftover_files(home):  # a thread may have been busy when the process ended
                killer.complete(open_history, home)
            check(operation, home, api, where)
            statuses.update(status for (status,) in read_rows(home, "SELECT status FROM runs"))
            shutil.rmtree(home)
            if passed[-1] == COMPLETE:
                break
    print(f"{name}: {len(passed) - 1} points")
    assert passed[-1] == COMPLETE
    assert len(passed) > operation.points
    if operation.expect is expect_runs:
        assert statuses == {"success", "unknown"}, "it was killed before and after the response to a submit"


def check(operation: Operation, home: Path, api: ChaoticApi, where: str) -> None:
    """Check every promise after the operation was repeated."""
    accepted = [(run.number, run_id) for run_id, run in api.accepted.items()]
    assert api.doubled == [], where
    if not operation.runs:
        assert lost_runs(home, accepted) == [], where
    if operation.action is not open_only:
        changes = [text for text in broken_statuses(home) if operation.action is not delete or "deleted" not in text]
        assert changes == [], where
    assert broken_images(home) == [], where
    assert leftover_files(home) == [], where
    assert damage(home) == [], where
    try:
        operation.expect(home, api)
    except AssertionError as error:
        raise AssertionError(f"{where}: {error}") from error
