from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import uuid
from pathlib import Path

import pytest

from comflowy_nb.database import process_locks as owners
from comflowy_nb.database.process_locks import ProcessLock, clean_locks, is_alive
from comflowy_nb.database.runs import History
from comflowy_nb.errors import HistoryError

HOLD = """
import sys
from pathlib import Path
from comflowy_nb.database.process_locks import ProcessLock
owner = ProcessLock(Path(sys.argv[1]))
print(owner.name, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def locks(home):
    return home / "locks"


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """Make probes wait for each other on a busy machine too."""
    monkeypatch.setattr(owners, "PROBE_TIMEOUT_S", 60.0)


@pytest.fixture
def other(locks):
    """Another process that holds a lock: its name, and the process."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(locks)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    yield process.stdout.readline().strip(), process
    process.kill()
    process.communicate()


def test_owner_is_alive_until_it_releases_its_lock(locks):
    owner = ProcessLock(locks)
    assert is_alive(locks, owner.name)
    owner.release()
    assert not is_alive(locks, owner.name)
    assert list(locks.iterdir()) == []


def test_another_process_is_alive_until_it_is_killed(locks, other):
    name, process = other
    assert is_alive(locks, name)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not is_alive(locks, name)
    assert not (locks / f"{name}.lock").exists()


def test_lock_released_on_another_thread_is_free(locks):
    owner = ProcessLock(locks)
    thread = threading.Thread(target=owner.release)
    thread.start()
    thread.join()
    assert not is_alive(locks, owner.name)


@pytest.mark.parametrize("name", ["", "x", "../history", "0" * 31, "0123456789abcdef" * 2])
def test_name_without_a_lock_file_is_dead(locks, name):
    assert not is_alive(locks, name)
    assert not locks.exists() or list(locks.iterdir()) == []


def test_concurrent_probes_of_a_dead_owner_all_find_it_dead(locks, other):
    name, process = other
    process.kill()
    process.wait()
    answers, start = [], threading.Barrier(8)

    def ask():
        start.wait()
        answers.append(is_alive(locks, name))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [False] * 8


def test_probe_that_is_stopped_is_not_mistaken_for_the_owner(locks, other, monkeypatch):
    """A probe holds the lock of the dead owner briefly; on a busy machine, that can take long."""
    name, process = other
    process.kill()
    process.wait()
    real, held, go_on = owners.FileLock, threading.Event(), threading.Event()

    class Watched(real):
        def acquire(self, *args, **kwargs):
            got = super().acquire(*args, **kwargs)
            if Path(self.lock_file).stem == name:
                held.set()
                assert go_on.wait(30)
            return got

    monkeypatch.setattr(owners, "FileLock", Watched)
    answers = []
    first = threading.Thread(target=lambda: answers.append(is_alive(locks, name)))
    second = threading.Thread(target=lambda: answers.append(is_alive(locks, name)))
    first.start()
    assert held.wait(30)
    second.start()
    second.join(0.2)  # it must still be waiting
    assert answers == []
    go_on.set()
    first.join()
    second.join()
    assert answers == [False, False]


def test_owner_whose_new_file_is_cleaned_up_creates_it_again(locks, monkeypatch):
    """A lock file exists before its lock is held; another process that cleans up can remove it then."""
    real, removed = owners.FileLock, []

    class Robbed(real):
        def acquire(self, *args, **kwargs):
            held = super().acquire(*args, **kwargs)
            if not removed:
                removed.append(self.lock_file)
                Path(self.lock_file).unlink()
            return held

    monkeypatch.setattr(owners, "FileLock", Robbed)
    owner = ProcessLock(locks)
    assert removed == [str(owner._path)]
    assert owner._path.exists()
    monkeypatch.undo()
    monkeypatch.setattr(owners, "_held_here", {})
    assert is_alive(locks, owner.name)
    owner.release()


def test_opening_the_history_removes_stale_lock_files_except_those_of_runs(home, locks, intent, other):
    name, process = other
    first = History.open(home)
    followed = first.record_or_reuse(intent(owner=name)).record
    stale = locks / f"{uuid.uuid4().hex}.lock"
    stale.touch()
    foreign = locks / "readme.lock"
    foreign.touch()
    process.kill()
    process.wait()
    second = History.open(home)
    assert not stale.exists()
    assert foreign.exists()
    assert (locks / f"{name}.lock").exists()
    assert second.record_or_reuse(intent()).record.token == followed.token
    first.close()
    second.close()


def test_cleaning_keeps_the_locks_of_living_owners(locks, other):
    name, _ = other
    clean_locks(locks, keep=())
    assert (locks / f"{name}.lock").exists()
    assert is_alive(locks, name)


def test_lock_file_that_cant_be_created_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HistoryError, match="the lock file can't be created in the home folder: Not a directory"):
        ProcessLock(tmp_path / "file")
