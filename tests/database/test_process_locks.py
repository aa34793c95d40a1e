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
    """However long somebody who looks is kept from it, the others wait."""
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


def test_an_owner_lives_until_it_lets_go(locks):
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


def test_a_lock_let_go_on_another_thread_is_free(locks):
    owner = ProcessLock(locks)
    thread = threading.Thread(target=owner.release)
    thread.start()
    thread.join()
    assert not is_alive(locks, owner.name)


@pytest.mark.parametrize("name", ["", "x", "../history", "0" * 31, "0123456789abcdef" * 2])
def test_a_name_without_a_lock_is_dead(locks, name):
    assert not is_alive(locks, name)
    assert not locks.exists() or list(locks.iterdir()) == []


def test_many_who_ask_about_the_dead_at_once_all_hear_it(locks, other):
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


def test_one_who_is_stopped_in_the_midst_of_looking_deceives_nobody(locks, other, monkeypatch):
    """Whoever looks holds the dead one's lock for a moment, and a busy machine makes a moment long."""
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
    second.join(0.2)  # it must not have an answer yet
    assert answers == []
    go_on.set()
    first.join()
    second.join()
    assert answers == [False, False]


def test_an_owner_whose_file_is_cleaned_up_while_it_begins_holds_a_file_in_the_end(locks, monkeypatch):
    """A lock file exists for a moment before it is held; one who cleans up then removes it."""
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


def test_stale_files_go_when_the_history_opens_but_for_those_of_runs(home, locks, intent, other):
    name, process = other
    first = History.open(home)
    followed = first.claim(intent(owner=name)).record
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
    assert second.claim(intent()).record.token == followed.token
    first.close()
    second.close()


def test_cleaning_leaves_the_living(locks, other):
    name, _ = other
    clean_locks(locks, keep=())
    assert (locks / f"{name}.lock").exists()
    assert is_alive(locks, name)


def test_no_place_for_a_lock_is_told_plainly(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HistoryError, match="the lock file can't be created in the home folder: Not a directory"):
        ProcessLock(tmp_path / "file")
