"""Sandboxes and receivers of callbacks, as fixtures; `from sandbox_process import ...` works in the tests beside it."""

from __future__ import annotations

import contextlib
import signal

import psutil
import pytest
from sandbox_process import Receiver, launch


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory):
    """Start one sandbox for the tests of a module, which must not change its settings."""
    running = launch(tmp_path_factory.mktemp("shared") / "home")
    yield running
    running.end()


@pytest.fixture
def start(home):
    """Return a function that starts sandboxes in this test's home folder."""
    running = []

    def begin(*words, **options):
        running.append(launch(home, *words, **options))
        return running[-1]

    yield begin
    for each in running:
        family = []
        with contextlib.suppress(psutil.Error):  # it has ended
            family = each.processes()
        each.end(signal.SIGKILL)
        for process in family:  # a worker that a failed test left stopped does not see that its server has gone
            with contextlib.suppress(psutil.Error):
                process.kill()


@pytest.fixture
def receiver():
    here = Receiver()
    yield here
    here.close()


@pytest.fixture
def slow_receiver():
    here = Receiver(pause_s=1.0)
    yield here
    here.close()
