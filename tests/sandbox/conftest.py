"""Sandboxes and receivers of callbacks, as fixtures; `from sandbox_process import ...` works in the tests beside it."""

from __future__ import annotations

import contextlib
import signal

import pytest
from sandbox_process import Receiver, launch


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory):
    """One for the tests of a module, that leave it as it was."""
    running = launch(tmp_path_factory.mktemp("shared") / "home")
    yield running
    running.end()


@pytest.fixture(scope="session")
def painted(tmp_path_factory):
    """What the workers of one test painted, those of the next need not paint again."""
    return tmp_path_factory.mktemp("painted")


@pytest.fixture
def start(home, painted):
    """Starts sandboxes in this test's home folder."""
    running = []

    def begin(*words, **options):
        with contextlib.suppress(OSError):
            (home / "sandbox").mkdir(mode=0o700, parents=True)
            (home / "sandbox" / "painted").symlink_to(painted, target_is_directory=True)
        running.append(launch(home, *words, **options))
        return running[-1]

    yield begin
    for each in running:
        each.end(signal.SIGKILL)


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
