"""Fixtures: one sandbox that the tests of a worker share, also those that need an empty history."""

from __future__ import annotations

import shutil

import pytest

from comflowy_nb.database.process_locks import ProcessLock
from comflowy_nb.services.comflowy.sandbox_process import start_sandbox


@pytest.fixture(scope="session")
def shared_home(tmp_path_factory):
    return tmp_path_factory.mktemp("shared") / "home"


@pytest.fixture(scope="session")
def shared_address(shared_home):
    """Start the sandbox of the shared home folder, and keep it running. Return the path of its address file."""
    lock = ProcessLock(shared_home / "locks")
    start_sandbox(shared_home)
    yield shared_home / "sandbox" / "address.json"
    lock.release()


@pytest.fixture
def on_shared_sandbox(home, shared_address):
    """Let `connect sandbox` find the shared sandbox: starting one takes more than a second of CPU time."""
    for folder in (home, home / "sandbox"):
        folder.mkdir(mode=0o700)
    shutil.copy(shared_address, home / "sandbox")
