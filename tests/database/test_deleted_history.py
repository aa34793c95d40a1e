"""The history's files deleted, moved or replaced while a client is connected: nothing more is submitted."""

from __future__ import annotations

import shutil

import pytest
from scripted_api import RUN, png
from waiting import wait_until

from comflowy_nb.errors import HistoryError

GONE = "deleted, moved or replaced"


def delete_the_file(home):
    (home / "history.sqlite").unlink()


def delete_all_files(home):
    for path in home.glob("history.sqlite*"):
        path.unlink()


def delete_the_log(home):
    (home / "history.sqlite-wal").unlink()


def delete_the_index(home):
    (home / "history.sqlite-shm").unlink()


def empty_the_file(home):
    (home / "history.sqlite").write_bytes(b"")


def replace_the_file(home):
    copy = home / "copy"
    shutil.copy(home / "history.sqlite", copy)
    copy.replace(home / "history.sqlite")


def replace_by_a_copy(home):
    for path in list(home.glob("history.sqlite*")):
        shutil.copy(path, home / "copy")
        path.unlink()
        (home / "copy").rename(path)


def delete_the_folder(home):
    def is_deleted():  # not at once, if a thumbnail is written meanwhile
        shutil.rmtree(home, ignore_errors=True)
        return not home.exists()

    wait_until(is_deleted)


def move_the_folder(home):
    home.rename(home.with_name("elsewhere"))


def move_the_folder_and_create_another(home):
    home.rename(home.with_name("elsewhere"))
    home.mkdir()


CHANGES = [
    delete_the_file,
    delete_all_files,
    delete_the_log,
    delete_the_index,
    empty_the_file,
    replace_the_file,
    replace_by_a_copy,
    delete_the_folder,
    move_the_folder,
    move_the_folder_and_create_another,
]


@pytest.mark.parametrize("change_history", CHANGES, ids=lambda change_history: change_history.__name__)
def test_nothing_is_submitted_after_the_history_is_deleted(api, client, home, change_history):
    """Runs continued without a warning, and the next process submitted the same requests again.

    SQLite continues to use an open file that was deleted, and no other process sees what it writes there.
    """
    client.run("wf-1", {"3::cfg": 7}, timeout=60)
    change_history(home)
    for request in (
        lambda: client.run("wf-1", {"3::cfg": 8}, timeout=60),
        lambda: client.run("wf-1", {"3::cfg": 7}, timeout=60, fresh=True),
        lambda: client.sweep("wf-1", {"3::cfg": [8, 9]}, timeout=60),
    ):
        with pytest.raises(HistoryError, match=r"(deleted, moved or replaced|damaged).*restart the kernel") as caught:
            request()
        assert str(home) not in str(caught.value)
    assert api.count(RUN) == 1


def test_a_restored_history_is_used_again(api, client, home):
    client.run("wf-1", {"3::cfg": 7}, timeout=60)
    moved_home = home.with_name("elsewhere")
    home.rename(moved_home)
    with pytest.raises(HistoryError, match=GONE):
        client.run("wf-1", {"3::cfg": 8}, timeout=60)
    moved_home.rename(home)
    assert client.run("wf-1", {"3::cfg": 8}, timeout=60).ref == "r2"
    assert client.submit("wf-1", {"3::cfg": 7}).outcome == "same"
    assert api.count(RUN) == 2


@pytest.mark.parametrize(
    "change_history",
    [delete_the_file, replace_the_file, delete_the_folder],
    ids=lambda change_history: change_history.__name__,
)
def test_live_run_ends_with_a_success_after_the_history_is_deleted(api, client, home, change_history):
    api.live_statuses = ["running"] * 100_000
    run = client.submit("wf-1", {"3::cfg": 7}).run
    wait_until(lambda: run.status == "running")
    change_history(home)
    api.live_statuses = []
    assert run.wait(60).status == "success"
    assert run.images[0].bytes == png()
    assert GONE in run.warning
