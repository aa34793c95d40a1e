"""The files of the sandbox in a home folder; one sandbox per home folder, which ends when no client uses it."""

from __future__ import annotations

import os
import threading

import pytest
from filelock import FileLock

from comflowy_nb.sandbox.server.home import ARRIVAL_S, UNUSED_S, Address, AlreadyRunning, Paths, Usage, hold_lock


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def locks(tmp_path):
    folder = tmp_path / "locks"
    folder.mkdir()
    return folder


def test_sandbox_waits_for_its_first_client(locks, clock):
    usage = Usage(locks, clock=clock)
    clock.now += ARRIVAL_S - 1
    assert not usage.is_over()
    clock.now += 1
    assert usage.is_over()


def test_sandbox_runs_while_any_lock_is_held_and_for_a_grace_period_after(locks, clock):
    usage = Usage(locks, clock=clock)
    first, second = FileLock(locks / "1.lock"), FileLock(locks / "2.lock")
    with second:
        with first:
            clock.now += 1000
            assert not usage.is_over()
        clock.now += 1000
        assert not usage.is_over()
    clock.now += UNUSED_S - 1
    assert not usage.is_over()
    clock.now += 1
    assert usage.is_over()


def test_sandbox_waits_for_a_client_that_is_about_to_connect(locks, clock):
    usage = Usage(locks, clock=clock)
    clock.now += ARRIVAL_S - 1
    usage.stay()
    clock.now += ARRIVAL_S - 1
    assert not usage.is_over()
    clock.now += 1
    assert usage.is_over()


def test_lock_files_of_dead_clients_are_removed_and_held_ones_kept(locks, clock):
    (locks / "dead.lock").touch()
    (locks / "note.txt").touch()
    with FileLock(locks / "living.lock"):
        usage = Usage(locks, clock=clock)
        assert not usage.is_over()
        assert {path.name for path in locks.iterdir()} >= {"living.lock", "note.txt"}
    usage.is_over()
    # Some versions of filelock delete the file of a released lock, others keep it.
    assert {path.name for path in locks.iterdir()} - {"probing.lock"} == {"note.txt"}


def test_a_missing_lock_folder_counts_as_no_client(tmp_path, clock):
    usage = Usage(tmp_path / "none", clock=clock)
    clock.now += ARRIVAL_S
    assert usage.is_over()
    assert not (tmp_path / "none").exists()


def test_a_new_sandbox_waits_for_one_that_is_ending(tmp_path):
    paths = Paths(tmp_path)
    paths.make()
    ending = hold_lock(paths)
    timer = threading.Timer(0.3, ending.release)
    timer.start()
    hold_lock(paths).release()
    timer.join()


def test_a_running_sandbox_that_does_not_respond_is_reported(tmp_path, monkeypatch):
    monkeypatch.setattr("comflowy_nb.sandbox.server.home._LOCK_WAIT_S", 0.2)
    paths = Paths(tmp_path)
    paths.make()
    paths.write_address(Address("http://127.0.0.1:9", "k" * 43, os.getpid()))
    with hold_lock(paths), pytest.raises(AlreadyRunning) as caught:
        hold_lock(paths)
    assert caught.value.address is None


def test_the_address_is_replaced_atomically_and_read_back(tmp_path):
    paths = Paths(tmp_path)
    paths.make()
    assert paths.read_address() is None
    address = Address("http://127.0.0.1:1", "k" * 43, 7)
    paths.write_address(address)
    assert paths.read_address() == address
    assert "k" * 43 not in repr(address)
    assert [path.name for path in paths.folder.iterdir() if path.is_file()] == ["address.json"]


@pytest.mark.parametrize(
    "text", ["", "[]", '{"url": "u", "key": "short", "pid": 1}', '{"url": "u", "key": 7, "pid": 1}']
)
def test_an_invalid_note_is_read_as_none(tmp_path, text):
    paths = Paths(tmp_path)
    paths.make()
    paths.address.write_text(text)
    assert paths.read_address() is None
