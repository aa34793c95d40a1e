from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from history_fixtures import each_connection, fill_disk, newest
from hypothesis import given
from hypothesis import strategies as st
from waiting import wait_until

from comflowy_nb.database import connection as store
from comflowy_nb.database.runs import History
from comflowy_nb.errors import HistoryError
from comflowy_nb.status import StatusEvent


def pragma(home, name):
    connection = sqlite3.connect(home / "history.sqlite")
    try:
        return connection.execute(f"PRAGMA {name}").fetchone()[0]
    finally:
        connection.close()


def test_the_home_folder_is_private(tmp_path):
    home = tmp_path / "a" / "b"
    History.open(home).close()
    for path in (home.parent, home):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert stat.S_IMODE((home / "history.sqlite").stat().st_mode) == 0o600
    assert pragma(home, "journal_mode") == "wal"
    assert pragma(home, "user_version") == store.VERSION


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
@pytest.mark.parametrize("mode", [0o777, 0o775, 0o770, 0o757, 0o755, 0o701])
def test_home_folder_that_others_can_open_is_made_private(home, mode):
    """A home folder with mode 0777 was accepted: others could replace the history, or read the sandbox's key."""
    for folder in (home, home / "sandbox"):
        folder.mkdir()
        folder.chmod(mode)
    new_history = History.open(home)
    assert new_history.warnings == ()
    for folder in (home, home / "sandbox"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    new_history.close()


@pytest.mark.skipif(os.name != "posix", reason="modes of POSIX")
def test_shared_home_folder_is_not_changed_and_gives_a_warning(home):
    home.mkdir()
    home.chmod(0o1777)  # like /tmp
    new_history = History.open(home)
    (warning,) = new_history.warnings
    assert "other users of this machine can open the home folder (mode 1777)" in warning
    assert "chmod 700" in warning
    assert stat.S_IMODE(home.stat().st_mode) == 0o1777
    new_history.close()


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give a folder away")
def test_folder_of_another_user_is_not_changed_and_gives_a_warning(home):
    home.mkdir(mode=0o700)
    (home / "sandbox").mkdir()
    (home / "sandbox").chmod(0o775)
    os.chown(home / "sandbox", 12345, 12345)
    new_history = History.open(home)
    (warning,) = new_history.warnings
    assert "the folder sandbox in the home folder, which has a key in it (mode 0775)" in warning
    new_history.close()


def test_valid_home_folder_gives_no_warning(home):
    new_history = History.open(home)
    assert new_history.warnings == ()
    new_history.close()


def synchronous(history, write):
    """Return the value of `PRAGMA synchronous` when `write` committed."""
    statements = []
    with each_connection(history, lambda connection: connection.set_trace_callback(statements.append)):
        write()
    return [sql.rpartition(" ")[2] for sql in statements if sql.startswith("PRAGMA synchronous")][-1]


def test_request_and_run_id_are_flushed_to_the_disk(history, run_request):
    decisions = []
    assert synchronous(history, lambda: decisions.append(history.record_or_reuse(run_request()))) == "FULL"
    token = decisions[0].record.token
    assert synchronous(history, lambda: history.apply(token, StatusEvent.ACCEPTED, service_run_id="1")) == "FULL"
    assert synchronous(history, lambda: history.apply(token, StatusEvent.SEEN_RUNNING)) == "NORMAL"


def test_request_to_a_free_service_is_not_flushed_before_the_submit(history, run_request):
    decisions = []
    assert (
        synchronous(history, lambda: decisions.append(history.record_or_reuse(run_request(), costs_money=False)))
        == "NORMAL"
    )
    token = decisions[0].record.token
    # a generated run id; the request is flushed with it
    assert synchronous(history, lambda: history.apply(token, StatusEvent.ACCEPTED, service_run_id=token)) == "FULL"


def damage_header(path):
    with path.open("r+b") as file:
        file.write(b"not a database at all, sorry")


def damage_middle(path):
    content = bytearray(path.read_bytes())
    for page in range(1, len(content) // 4096):
        content[page * 4096 : page * 4096 + 600] = b"\xa5" * 600
    path.write_bytes(content)


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def fill_with_text(path):
    path.write_text("<html>hello</html>" * 1000)


def empty(path):
    path.write_bytes(b"")


def fill_with_zeros(path):
    path.write_bytes(bytes(path.stat().st_size))


def truncate_header(path):
    path.write_bytes(path.read_bytes()[:50])


def empty_database(path):
    path.unlink()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("VACUUM")


def damaged_files(home):
    return [path for path in home.glob("history.sqlite.damaged-*") if not path.name.endswith(("-wal", "-shm"))]


DAMAGES = [
    damage_header,
    damage_middle,
    truncate,
    fill_with_text,
    empty,
    fill_with_zeros,
    truncate_header,
    empty_database,
]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_renamed_and_a_new_one_created(home, run_request, damage):
    first = History.open(home)
    for n in range(50):
        first.record_or_reuse(run_request(str(n)))
    first.close()
    damage(home / "history.sqlite")
    damaged = (home / "history.sqlite").read_bytes()

    second = History.open(home)
    (warning,) = second.warnings
    (renamed_file,) = damaged_files(home)
    assert renamed_file.read_bytes() == damaged
    assert renamed_file.name in warning
    assert str(home) not in warning
    assert newest(second) is None
    assert second.record_or_reuse(run_request("new")).record.number == 1
    second.close()
    third = History.open(home)
    assert third.warnings == ()
    assert newest(third).number == 1
    third.close()


def test_write_ahead_log_of_a_damaged_file_is_also_renamed(home):
    """SQLite removes the log with the last connection, and the last runs of a killed kernel may be only there."""
    code = (
        "import os; from pathlib import Path; from comflowy_nb.database.runs import History; "
        f"History.open(Path({str(home)!r})).seeds.store_missing({{'a': 7}}); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code], check=False, timeout=60)
    damage_header(home / "history.sqlite")
    damage_header(home / "history.sqlite-wal")  # an intact log would repair the file
    log = (home / "history.sqlite-wal").read_bytes()
    new_history = History.open(home)
    assert new_history.seeds.get("a") is None
    (renamed_file,) = home.glob("history.sqlite.damaged-*-wal")
    assert renamed_file.read_bytes() == log
    new_history.close()


def test_write_ahead_log_of_a_killed_kernel_is_read(home):
    code = (
        "import os; from pathlib import Path; from comflowy_nb.database.runs import History; "
        f"History.open(Path({str(home)!r})).seeds.store_missing({{'a': 7}}); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code], check=False, timeout=60)
    new_history = History.open(home)
    assert new_history.seeds.get("a") == 7
    new_history.close()


@pytest.mark.parametrize("damage", [empty, os.unlink])
def test_write_ahead_log_of_a_missing_or_empty_file_is_renamed(home, damage):
    """SQLite removes the log of an empty file, and writes the pages of an old log into a new file."""
    code = (
        "import os; from pathlib import Path; from comflowy_nb.database.runs import History; "
        f"History.open(Path({str(home)!r})).seeds.store_missing({{'a': 7}}); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", code], check=False, timeout=60)
    log = (home / "history.sqlite-wal").read_bytes()
    damage(home / "history.sqlite")
    new_history = History.open(home)
    assert len(new_history.warnings) == 1
    assert new_history.seeds.get("a") is None
    (renamed_file,) = home.glob("history.sqlite.damaged-*-wal")
    assert renamed_file.read_bytes() == log
    new_history.close()


@pytest.fixture(scope="module")
def content_of_new_history(tmp_path_factory):
    home = tmp_path_factory.mktemp("new")
    History.open(home).close()
    return (home / "history.sqlite").read_bytes()


@given(length=st.integers(0, 2 * 4096), zeros=st.booleans())
def test_truncated_file_is_never_used_as_a_new_one(tmp_path_factory, content_of_new_history, length, zeros):
    home = tmp_path_factory.mktemp("cut")
    content = bytes(length) if zeros else content_of_new_history[:length]
    (home / "history.sqlite").write_bytes(content)
    new_history = History.open(home)
    assert len(new_history.warnings) == 1
    (renamed_file,) = damaged_files(home)
    assert renamed_file.read_bytes() == content
    new_history.close()


def test_two_files_damaged_within_a_second_are_both_renamed_and_kept(home):
    for _ in range(2):
        History.open(home).close()
        damage_header(home / "history.sqlite")
    History.open(home).close()
    assert len(damaged_files(home)) == 2


def test_processes_that_open_a_damaged_file_at_the_same_time_rename_it_once(home):
    History.open(home).close()
    damage_header(home / "history.sqlite")
    code = (
        "import sys; from pathlib import Path; from comflowy_nb.database.runs import History; sys.stdin.read(1); "
        f"print(len(History.open(Path({str(home)!r})).warnings))"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    counts = sorted(int(process.communicate("x", timeout=60)[0]) for process in processes)
    assert counts == [0, 0, 0, 1]
    assert len(damaged_files(home)) == 1


def test_a_file_of_a_newer_version_is_rejected_and_not_changed(home, run_request):
    first = History.open(home)
    first.record_or_reuse(run_request())
    first.close()
    connection = sqlite3.connect(home / "history.sqlite")
    connection.execute(f"PRAGMA user_version = {store.VERSION + 1}")
    connection.close()
    with pytest.raises(HistoryError, match=r"newer comflowy_nb: pip install -U"):
        History.open(home)
    assert not list(home.glob("*.damaged-*"))
    assert pragma(home, "user_version") == store.VERSION + 1


def test_disk_without_write_ahead_log_gives_one_warning(home, run_request, monkeypatch):
    """If SQLite can't share memory, as on some network disks, it keeps another journal mode."""
    real_connect = sqlite3.connect

    def connect(path, **options):
        return real_connect(f"file:{path}?vfs=unix-dotfile", uri=True, **options)

    monkeypatch.setattr(store.sqlite3, "connect", connect)
    new_history = History.open(home)
    (warning,) = new_history.warnings
    assert "write-ahead" in warning
    assert new_history.record_or_reuse(run_request()).kind == "new"
    assert not (home / "history.sqlite-wal").exists()
    new_history.close()


def test_full_disk_is_an_error_before_the_submit(history, run_request):
    record = history.record_or_reuse(run_request("a")).record
    large_params = {"6::text": "x" * 500_000}
    with (
        each_connection(history, fill_disk),
        pytest.raises(HistoryError, match=r"the disk is full\. Nothing was submitted"),
    ):
        history.record_or_reuse(run_request("b", params=large_params))
    with history._store.write() as connection:
        connection.execute("PRAGMA max_page_count = 1073741823")
    assert newest(history) == record
    assert history.record_or_reuse(run_request("b", params=large_params)).kind == "new"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_folder_that_cant_be_written_to_is_an_error(tmp_path):
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    with pytest.raises(HistoryError, match="can't be opened"):
        History.open(folder / "home")


def test_home_folder_below_a_file_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(HistoryError, match="can't be opened in the home folder: Not a directory"):
        History.open(tmp_path / "file" / "home")


def test_read_only_disk_is_an_error_before_the_submit(history, run_request):
    with (
        each_connection(history, lambda connection: connection.execute("PRAGMA query_only = ON")),
        pytest.raises(HistoryError, match=r"can't be written to\. Nothing was submitted"),
    ):
        history.record_or_reuse(run_request())


def test_lock_kept_by_another_process_is_an_error_after_a_timeout(home, history, run_request, monkeypatch):
    other = sqlite3.connect(home / "history.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    monkeypatch.setattr(store, "BUSY_TIMEOUT_S", 0.05)
    history._store._idle.clear()
    with pytest.raises(HistoryError, match="another process has kept it locked"):
        history.record_or_reuse(run_request())
    assert newest(history) is None  # reads still work
    other.execute("ROLLBACK")
    assert history.record_or_reuse(run_request()).kind == "new"
    other.close()


def test_disk_error_on_the_lock_file_is_an_error(home, monkeypatch):
    def fail(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(store, "make_folder", fail)
    with pytest.raises(HistoryError, match="No space left on device"):
        History.open(home)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_forked_child_and_its_parent_both_read_and_write(home, history, run_request):
    history.record_or_reuse(run_request("parent"))
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            if newest(history).key == "parent":
                history.record_or_reuse(run_request("child"))
            os.read(reader, 1)
            history.record_or_reuse(run_request("later"))
        finally:
            os._exit(0)
    wait_until(lambda: newest(history).key == "child")
    history.close()  # closes the parent's connections; the log must stay for the child
    os.write(writer, b"go")
    os.waitpid(child, 0)
    reopened = History.open(home)
    assert [record.key for record in reopened.search(limit=None)] == ["later", "child", "parent"]
    reopened.close()
    os.close(reader)
    os.close(writer)


def test_ended_threads_leave_at_most_two_connections(history, run_request):
    for n in range(20):
        thread = threading.Thread(target=lambda n=n: history.record_or_reuse(run_request(str(n))))
        thread.start()
        thread.join()
    assert len(history._store._idle) <= 2


def test_a_file_of_version_1_is_migrated_and_keeps_its_runs(home, run_request):
    """The column `started_at` was added in version 2."""
    home.mkdir(exist_ok=True)
    connection = sqlite3.connect(home / "history.sqlite")
    connection.executescript(Path(__file__).with_name("history_version_1.sql").read_text())
    columns = (
        "token, identity, origin, service, workflow, workflow_id, params, set_params, key, status, owner, created_at, "
        "finished_at"
    )
    row = (
        "t1",
        "sandbox",
        "o",
        "sandbox",
        "default",
        "default",
        '{"3::cfg":7}',
        "[]",
        "k1",
        "success",
        "a",
        10.0,
        14.0,
    )
    connection.execute(f"INSERT INTO runs ({columns}) VALUES ({', '.join('?' * len(row))})", row)
    for key, seconds in (("default", 4.0), ("default each", 1.0)):
        values = ("sandbox", key, seconds)
        connection.execute("INSERT INTO samples (identity, workflow_key, seconds) VALUES (?, ?, ?)", values)
    connection.execute("PRAGMA user_version = 1")
    connection.commit()
    connection.close()

    for _ in range(2):
        opened = History.open(home)
        assert opened.warnings == ()
        old = opened.get("t1")
        assert (old.params, old.started_at, old.seconds, old.queued_s) == ({"3::cfg": 7}, None, 4.0, None)
        assert opened.durations.last_samples("sandbox", "default") == [4.0]
        assert opened.durations.last_samples("sandbox", "default each") == []
        opened.close()
    assert pragma(home, "user_version") == store.VERSION
    assert not list(home.glob("*.damaged-*"))

    opened = History.open(home)
    new = opened.record_or_reuse(run_request("k2")).record
    opened.apply(new.token, StatusEvent.SEEN_RUNNING, started_at=new.created_at + 2.0)
    new = opened.apply(new.token, StatusEvent.SEEN_SUCCESS, finished_at=new.created_at + 5.0)
    assert (opened.get(new.token).seconds, opened.get(new.token).queued_s) == pytest.approx((3.0, 2.0))
    assert [run.ref for run in opened.successes_of("sandbox", "default", limit=9)] == ["r2", "r1"]
    opened.close()


@pytest.mark.parametrize("version", [1, 2, 3])
def test_a_new_file_and_a_migrated_file_have_the_same_tables(tmp_path, version):
    def tables(home, script=None):
        if script is not None:
            home.mkdir()
            connection = sqlite3.connect(home / "history.sqlite")
            connection.executescript(f"{script} PRAGMA user_version = {version};")
            connection.close()
        History.open(home).close()
        connection = sqlite3.connect(home / "history.sqlite")
        names = {
            row[0]: {tuple(column[1:]) for column in connection.execute(f"PRAGMA table_info({row[0]})")}
            for row in connection.execute("SELECT name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'")
        }
        connection.close()
        return names

    old = Path(__file__).with_name(f"history_version_{version}.sql").read_text()
    assert tables(tmp_path / "old", old) == tables(tmp_path / "new")


def test_a_file_of_version_2_is_migrated_and_keeps_its_runs_and_sweeps(home, run_request):
    """The ratings and the scores, and the column `imported`, were added in version 3."""
    home.mkdir(exist_ok=True)
    connection = sqlite3.connect(home / "history.sqlite")
    connection.executescript(Path(__file__).with_name("history_version_2.sql").read_text())
    run = {"token": "t1", "identity": "sandbox", "origin": "o", "service": "sandbox", "workflow": "default"}
    sweep = run | {"token": "t2", "key": "sk", "spec": '{"axes":[]}', "fresh": 0, "created_at": 9.0}
    run |= {"params": '{"3::cfg":7}', "set_params": "[]", "key": "k1", "status": "success", "owner": "a"}
    run |= {"created_at": 10.0, "finished_at": 14.0, "sweep": "t2"}
    cell = {"sweep": "t2", "number": 1, "at": "[]", "params": "{}", "key": "k1", "run": "t1"}
    image = {"run": "t1", "position": 0, "node_index": 0, "state": "missing"}
    for table, values in (("sweeps", sweep), ("runs", run), ("cells", cell), ("images", image)):
        marks = ", ".join("?" * len(values))
        connection.execute(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({marks})", tuple(values.values()))
    connection.execute("PRAGMA user_version = 2")
    connection.commit()
    connection.close()

    for _ in range(2):
        opened = History.open(home)
        assert opened.warnings == ()
        assert (opened.get("t1").params, opened.get("t1").imported) == ({"3::cfg": 7}, None)
        assert (opened.sweeps.get("t2").count, opened.sweeps.get("t2").imported) == (1, None)
        assert opened.record_or_reuse(run_request("k1")).kind == "same"
        opened.close()
    assert pragma(home, "user_version") == store.VERSION

    opened = History.open(home)
    opened.ratings.change([("t1", 0)], 4)
    assert opened.ratings.of_runs(["t1"])["t1", 0][0].rating == 4
    opened.close()


def test_a_file_of_version_3_is_brought_up_to_date_and_its_runs_are_found_by_params(home):
    """The index of values was added in version 4."""
    home.mkdir(exist_ok=True)
    connection = sqlite3.connect(home / "history.sqlite")
    connection.executescript(Path(__file__).with_name("history_version_3.sql").read_text())
    graph = '{"3":{"class_type":"K","inputs":{"steps":20}}}'
    connection.execute("INSERT INTO graphs (sha256, content) VALUES ('g', ?)", (graph,))
    connection.execute("INSERT INTO defaults (sha256, content) VALUES ('d', '{\"3::steps\":30}')")
    run = {"identity": "sandbox", "origin": "o", "service": "sandbox", "workflow": "default", "set_params": "[]"}
    run |= {"key": "k", "status": "success", "owner": "a", "created_at": 10.0}
    for token, seed, graph_of_run, defaults in (("t1", 2**64 - 1, "g", None), ("t2", '"\\ud800"', None, "d")):
        values = run | {"token": token, "params": f'{{"3::seed":{seed}}}', "graph": graph_of_run, "defaults": defaults}
        marks = ", ".join("?" * len(values))
        connection.execute(f"INSERT INTO runs ({', '.join(values)}) VALUES ({marks})", tuple(values.values()))
    damaged = run | {"token": "t3", "params": '{"3::seed":'}
    marks = ", ".join("?" * len(damaged))
    connection.execute(f"INSERT INTO runs ({', '.join(damaged)}) VALUES ({marks})", tuple(damaged.values()))
    connection.execute("INSERT INTO graphs (sha256, content) VALUES ('h', '[')")
    connection.execute("PRAGMA user_version = 3")
    connection.commit()
    connection.close()

    opened = History.open(home)
    assert opened.warnings == ()
    for params, token in (
        ({"seed": 2**64 - 1}, "t1"),
        ({"seed": "\ud800"}, "t2"),
        ({"steps": 20}, "t1"),
        ({"steps": "30.0"}, "t2"),
    ):
        assert [found.token for found in opened.search(params=params)] == [token]
    opened.close()
    assert pragma(home, "user_version") == store.VERSION
