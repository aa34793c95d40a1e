"""Kill a process before or after any commit, rename, removal and request of an operation.

The points are counted while the operation runs, so a new commit or rename becomes a point by itself. `audit` checks
that no rename or removal of a file bypasses the count.
"""

from __future__ import annotations

import functools
import http.client
import os
import signal
import sqlite3
import sys
import threading
from pathlib import Path

import comflowy_nb

PACKAGE = str(Path(comflowy_nb.__file__).parent)
FILE_CALLS = ("replace", "rename", "link", "unlink", "remove", "rmdir")
AUDITED = {"os.rename", "os.link", "os.remove", "os.rmdir"}
COMPLETE = "complete"


class KillPoints:
    """Count the points of this process in a file, and end the process with SIGKILL at one of them.

    Parameters
    ----------
    kill_at
        Number of the point, from 1.
    report
        File for the names of the points that were passed, one in each line.
    home
        Only files in this folder count.
    """

    def __init__(self, kill_at: int, report: Path, home: Path) -> None:
        self.kill_at = kill_at
        self.home = str(home)
        self._count = 0
        self._guard = threading.Lock()
        self._report = os.open(report, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        self._counted = threading.local()  # whether this thread is in a counted call

    def pass_point(self, name: str) -> None:
        with self._guard:
            self._count += 1
            self.note(f"{name} in {_caller()}")
            if self._count == self.kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    def note(self, line: str) -> None:
        os.write(self._report, f"{line}\n".encode())

    def install(self) -> None:
        """Count the points of this process from now on."""
        for name in FILE_CALLS:
            setattr(os, name, self._around_file(name, getattr(os, name)))
        sys.addaudithook(self.audit)
        points = self

        class Connection(sqlite3.Connection):
            writes = False  # the commit of a transaction that only reads changes nothing

            def execute(self, sql, *values):
                if sql.startswith("BEGIN"):
                    self.writes = "IMMEDIATE" in sql
                return points.around("commit", sql == "COMMIT" and self.writes, super().execute, sql, *values)

            def executescript(self, sql):
                return points.around("commit of a script", True, super().executescript, sql)

        sqlite3.connect = functools.partial(sqlite3.connect, factory=Connection)
        for name in ("send", "getresponse"):
            real = getattr(http.client.HTTPConnection, name)
            setattr(http.client.HTTPConnection, name, self._around_method(name, real))

    def around(self, name, is_point, function, *args, **options):
        """Call a function, with a point before and after it."""
        if not is_point:
            return function(*args, **options)
        self.pass_point(f"before {name}")
        result = function(*args, **options)
        self.pass_point(f"after {name}")
        return result

    def _around_file(self, name, real):
        def call(path, *args, **options):
            is_inside = isinstance(path, int) or "dir_fd" in options or os.fspath(path).startswith(self.home)
            self._counted.is_inside = True
            try:
                return self.around(name, is_inside, real, path, *args, **options)
            finally:
                self._counted.is_inside = False

        return call

    def _around_method(self, name, real):
        points = self

        def call(connection, *args, **options):
            return points.around(name, True, real, connection, *args, **options)

        return call

    def audit(self, event, args) -> None:
        """Note a rename or removal that was not counted."""
        if event not in AUDITED or getattr(self._counted, "is_inside", False):
            return
        if str(args[0]).startswith(self.home):
            self.note(f"not counted: {event} {args[0]}")


def _caller() -> str:
    """Return the name of the innermost function of the package, which shows what a point belongs to."""
    frame = sys._getframe(2)
    while frame is not None:
        name = frame.f_code.co_filename
        if name.startswith(PACKAGE) and not name.endswith(("database/connection.py", "contextlib.py")):
            return f"{Path(name).stem}.{frame.f_code.co_name}"
        frame = frame.f_back
    return "?"


def run_until(kill_at: int, report: Path, home: Path, action, *args) -> None:
    """Run an action in this process, and kill it at a point. Note its end if it is not killed."""
    points = KillPoints(kill_at, report, home)
    points.install()
    action(home, *args)
    points.note(COMPLETE)
