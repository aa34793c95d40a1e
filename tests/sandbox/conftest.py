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

    def start_sandbox(*words, **options):
        running.append(launch(home, *words, **options))
        return running[-1]

    yield start_sandbox
    for sandbox in running:
        processes = []
        with contextlib.suppress(psutil.Error):  # it has ended
            processes = sandbox.processes()
        sandbox.end(signal.SIGKILL)
        for process in processes:  # a worker that a failed test left stopped does not see that its server has gone
            with contextlib.suppress(psutil.Error):
                process.kill()


@pytest.fixture
def receiver():
    receiver_ = Receiver()
    yield receiver_
    receiver_.close()


@pytest.fixture
def slow_receiver():
    receiver_ = Receiver(pause_s=1.0)
    yield receiver_
    receiver_.close()
