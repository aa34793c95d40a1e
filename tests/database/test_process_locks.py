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
def long_probe_timeout(monkeypatch):
    """Make probes wait for each other on a busy machine too."""
    monkeypatch.setattr(owners, "PROBE_TIMEOUT_S", 60.0)


@pytest.fixture
def other(locks):
    """Start another process that holds a lock; yield the name of the lock and the process."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(locks)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    yield process.stdout.readline().strip(), process
    process.kill()
    process.communicate()


def test_process_is_alive_until_it_releases_its_lock(locks):
    lock = ProcessLock(locks)
    assert is_alive(locks, lock.name)
    lock.release()
    assert not is_alive(locks, lock.name)
    assert list(locks.iterdir()) == []


def test_another_process_is_alive_until_it_is_killed(locks, other):
    name, process = other
    assert is_alive(locks, name)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert not is_alive(locks, name)
    assert not (locks / f"{name}.lock").exists()


def test_lock_released_on_another_thread_is_free(locks):
    lock = ProcessLock(locks)
    thread = threading.Thread(target=lock.release)
    thread.start()
    thread.join()
    assert not is_alive(locks, lock.name)


@pytest.mark.parametrize("name", ["", "x", "../history", "0" * 31, "0123456789abcdef" * 2])
def test_name_without_a_lock_file_is_dead(locks, name):
    assert not is_alive(locks, name)
    assert not locks.exists() or list(locks.iterdir()) == []


def test_concurrent_probes_of_a_dead_process_all_return_dead(locks, other):
    name, process = other
    process.kill()
    process.wait()
    results, start = [], threading.Barrier(8)

    def probe():
        start.wait()
        results.append(is_alive(locks, name))

    threads = [threading.Thread(target=probe) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [False] * 8


def test_stopped_probe_is_not_mistaken_for_a_live_process(locks, other, monkeypatch):
    """A probe holds the lock of the dead process briefly; on a busy machine, that can take long."""
    name, process = other
    process.kill()
    process.wait()
    real_lock, first_holds_lock, may_continue = owners.FileLock, threading.Event(), threading.Event()

    class PausedLock(real_lock):
        def acquire(self, *args, **kwargs):
            proxy = super().acquire(*args, **kwargs)
            if Path(self.lock_file).stem == name:
                first_holds_lock.set()
                assert may_continue.wait(30)
            return proxy

    monkeypatch.setattr(owners, "FileLock", PausedLock)
    results = []
    first = threading.Thread(target=lambda: results.append(is_alive(locks, name)))
    second = threading.Thread(target=lambda: results.append(is_alive(locks, name)))
    first.start()
    assert first_holds_lock.wait(30)
    second.start()
    second.join(0.2)  # it must still be waiting
    assert results == []
    may_continue.set()
    first.join()
    second.join()
    assert results == [False, False]


def test_lock_file_that_another_process_removes_at_its_creation_is_created_again(locks, monkeypatch):
    """A lock file exists before its lock is held; another process that cleans up can remove it then."""
    real_acquire, removed = owners.FileLock.acquire, []

    def acquire(lock, *args, **kwargs):
        proxy = real_acquire(lock, *args, **kwargs)
        if not removed:
            removed.append(lock.lock_file)
            Path(lock.lock_file).unlink()
        return proxy

    monkeypatch.setattr(owners.FileLock, "acquire", acquire)
    lock = ProcessLock(locks)
    assert removed == [str(lock._path)]
    assert lock._path.exists()
    monkeypatch.undo()
    monkeypatch.setattr(owners, "_held_here", {})
    assert is_alive(locks, lock.name)
    lock.release()


def test_opening_the_history_removes_stale_lock_files_except_those_of_unsettled_runs(home, locks, run_request, other):
    name, process = other
    first = History.open(home)
    record = first.record_or_reuse(run_request(owner=name)).record
    stale = locks / f"{uuid.uuid4().hex}.lock"
    stale.touch()
    other_file = locks / "readme.lock"
    other_file.touch()
    process.kill()
    process.wait()
    second = History.open(home)
    assert not stale.exists()
    assert other_file.exists()
    assert (locks / f"{name}.lock").exists()
    assert second.record_or_reuse(run_request()).record.token == record.token
    first.close()
    second.close()


def test_cleaning_keeps_the_lock_files_of_live_processes(locks, other):
    name, _ = other
    clean_locks(locks, keep=())
    assert (locks / f"{name}.lock").exists()
    assert is_alive(locks, name)


def test_lock_file_that_cant_be_created_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(
        HistoryError, match=r"can't create a lock file in the home folder: Not a directory; set COMFLOWY_HOME"
    ):
        ProcessLock(tmp_path / "file")
