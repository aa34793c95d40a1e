"""Run an action on a library in a process that kills itself before one of its steps.

Steps are the statements that change the history, and calls that change a file.
"""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

from forking import forking_context

from comflowy_nb.library import Library

if TYPE_CHECKING:
    from collections.abc import Callable

FILE_CALLS = ("unlink", "replace", "rename", "write_bytes", "write_text", "mkdir", "touch")


def run_killed(home: Path, action: Callable[..., object], step: int, *args: object) -> bool:
    """Run `action(library, *args)` in a new process that is killed before a step. Return False if it ended first.

    The action is a function of a module: the process is forked from a server, which is much smaller than a process
    that has collected all tests.
    """
    process = forking_context().Process(target=_run, args=(home, action, step, args), daemon=True)
    process.start()
    process.join(120)
    assert process.exitcode in {0, -signal.SIGKILL}, f"{action.__name__} ended with {process.exitcode}"
    return process.exitcode != 0


def _run(home: Path, action: Callable[..., object], step: int, args: tuple[object, ...]) -> None:
    left = step

    def count(*_: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    library = Library(home)
    assert library.history  # opened before the steps are counted
    library.close()
    connect, rmtree = sqlite3.connect, shutil.rmtree

    def traced(*args, **options):
        connection = connect(*args, **options)
        connection.set_trace_callback(lambda sql: None if sql.startswith(("SELECT", "PRAGMA")) else count())
        return connection

    sqlite3.connect = traced
    shutil.rmtree = lambda *args, **options: (count(), rmtree(*args, **options), count())
    for name in FILE_CALLS:
        real = getattr(Path, name)
        setattr(Path, name, lambda *args, real=real, **options: (count(), real(*args, **options))[1])
    action(Library(home), *args)
    os._exit(0)


def prune(library: Library) -> None:
    library.prune(0)


def delete(library: Library) -> None:
    library.delete("r2", "r3")


def load(library: Library, path: Path) -> None:
    library.load(path)
