"""Runs that are stored for the next sandbox."""

from __future__ import annotations

import sqlite3
import stat

import pytest

from comflowy_nb.sandbox.server.run_store import Image, RunStatus, SavedRun, Store, StoreError

MADE = [Image("12", "temp", "a_0.png"), Image("9", "output", "a_1.png"), Image("9", "output", "a_2.png")]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs.sqlite"


def test_accepted_runs_are_loaded_in_order(path):
    store = Store.open(path)
    runs = [
        SavedRun(name, "default", {"6::text": "don't \ud83d \u2028", "3::seed": 2**64 - 1}, {"on_result_url": "x"})
        for name in "bac"
    ]
    for run in runs:
        store.accept(run)
    store.end("a", images=MADE)
    store.count_start("c")
    store.request_cancel("c")
    # Not closed: accepted runs are already on disk.
    store._connection.close()
    again = Store.open(path)
    first, second = again.unfinished()
    assert first == runs[0]
    assert (second.run_id, second.starts, second.cancel_requested) == ("c", 1, True)
    assert again.get("a").status is RunStatus.SUCCESS
    assert again.get("unknown") is None
    again.close()


def test_images_keep_their_order_and_are_found_by_the_secret_in_their_url(path):
    store = Store.open(path)
    store.accept(SavedRun("a", "default", {}, {}))
    store.end("a", images=MADE)
    images = store.images("a")
    assert images == MADE
    assert store.image(images[1].secret) == images[1]
    assert store.image("unknown") is None
    assert len({each.secret for each in images}) == 3
    assert images[0].secret not in repr(images)
    store.close()


def test_a_failure_keeps_its_message(path):
    store = Store.open(path)
    store.accept(SavedRun("a", "default", {}, {}))
    store.end("a", error="cancelled")
    assert (store.get("a").status, store.get("a").error) == (RunStatus.FAILED, "cancelled")
    assert store.unfinished() == []
    store.close()


def test_a_damaged_file_is_renamed_and_never_deleted(path):
    path.write_bytes(b"not a database " * 100)
    Store.open(path).close()
    (renamed,) = path.parent.glob("runs.sqlite.damaged-*")
    assert renamed.read_bytes().startswith(b"not a database")


def test_a_file_of_a_newer_version_is_not_changed(path):
    Store.open(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreError, match="newer version"):
        Store.open(path)
    assert not list(path.parent.glob("*.damaged-*"))


def test_only_the_user_who_created_the_file_can_read_it(path):
    store = Store.open(path)
    store.accept(SavedRun("a", "default", {}, {"on_result_url": "http://127.0.0.1/secret"}))
    modes = {stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
    store.close()
    assert modes == {0o600}
