"""A history written by an earlier version is brought up to date, and nothing in it is lost."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import subprocess
import sys

import pytest

from comflowy_nb.database import connection as store
from comflowy_nb.database import schema as tables
from comflowy_nb.database.records import PictureRecord
from comflowy_nb.database.runs import History
from comflowy_nb.errors import HistoryError
from comflowy_nb.services.base import Problem, Status

# The tables of version 1, as they were released.
VERSION_1 = """
CREATE TABLE runs (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    token TEXT NOT NULL UNIQUE,
    identity TEXT NOT NULL,
    origin TEXT NOT NULL,
    service TEXT NOT NULL,
    workflow TEXT NOT NULL,
    workflow_id TEXT,
    graph TEXT REFERENCES graphs (sha256),
    params TEXT NOT NULL,
    set_params TEXT NOT NULL,
    key TEXT NOT NULL,
    status TEXT NOT NULL,
    owner TEXT NOT NULL,
    created_at REAL NOT NULL,
    accepted_at REAL,
    finished_at REAL,
    service_run_id TEXT,
    service_status TEXT,
    problem TEXT,
    reason TEXT,
    remark TEXT,
    name TEXT
);
CREATE INDEX runs_of_key ON runs (key, number);
CREATE INDEX runs_of_service_id ON runs (service_run_id) WHERE service_run_id IS NOT NULL;
CREATE INDEX runs_alive ON runs (number) WHERE status IN ('submitting', 'waiting', 'pending', 'running');
CREATE TABLE pictures (
    run INTEGER NOT NULL REFERENCES runs (number),
    position INTEGER NOT NULL,
    node TEXT,
    node_index INTEGER NOT NULL,
    state TEXT NOT NULL,
    file TEXT,
    sha256 TEXT,
    size_bytes INTEGER,
    width_px INTEGER,
    height_px INTEGER,
    format TEXT,
    error TEXT,
    PRIMARY KEY (run, position)
) WITHOUT ROWID;
CREATE INDEX pictures_owed ON pictures (run) WHERE state = 'expected';
CREATE TABLE names (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, run INTEGER NOT NULL);
CREATE INDEX names_by_name ON names (name, id);
CREATE TABLE words (run INTEGER PRIMARY KEY REFERENCES runs (number), text TEXT NOT NULL);
CREATE TABLE graphs (sha256 TEXT PRIMARY KEY, content TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE samples (
    id INTEGER PRIMARY KEY AUTOINCREMENT, identity TEXT NOT NULL, workflow_key TEXT NOT NULL, seconds REAL NOT NULL
);
CREATE INDEX samples_of_workflow ON samples (identity, workflow_key, id);
PRAGMA user_version = 1;
"""

OWNER = "0" * 32


def add_run(connection, number, status="success", **changes):
    row = {
        "number": number,
        "token": f"token-{number}",
        "identity": "sandbox",
        "origin": "sandbox",
        "service": "sandbox",
        "workflow": "default",
        "workflow_id": "default",
        "params": '{"3::cfg":7.5,"6::text":"glass bottle"}',
        "set_params": '["3::cfg"]',
        "key": f"key-{number}",
        "status": status,
        "owner": OWNER,
        "created_at": 1.7e9 + number,
        "finished_at": 1.7e9 + number + 2,
        **changes,
    }
    connection.execute(f"INSERT INTO runs ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", tuple(row.values()))
    connection.execute("INSERT INTO words (run, text) VALUES (?, ?)", (number, f"r{number}\nglass bottle"))


@pytest.fixture
def old(home):
    """The path of a version 1 file: r1 `best` with a graph and a picture, r2 failed, r4 `best` since, r3 never was."""
    path = home / "history.sqlite"
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript(VERSION_1)
    connection.execute("INSERT INTO graphs VALUES ('ab', '{\"3\":{}}')")
    add_run(connection, 1, graph="ab", service_run_id="id-1", name="best")
    connection.execute(
        "INSERT INTO pictures VALUES (1, 0, '9', 0, 'kept', '2026-01/token-1_0.png', 'cd', 12, 3, 4, 'PNG', NULL)"
    )
    add_run(connection, 2, "failed", problem=json.dumps(["no such file", "4", "Loader", "4::name"]))
    add_run(connection, 4, name="best")
    connection.executemany("INSERT INTO names (id, name, run) VALUES (?, ?, ?)", [(1, "best", 1), (7, "best", 4)])
    connection.execute("INSERT INTO samples VALUES (1, 'sandbox', 'default', 2.5)")
    connection.commit()
    connection.close()
    return path


def tables_of(path):
    connection = sqlite3.connect(path)
    try:
        return sorted(connection.execute("SELECT type, name, sql FROM sqlite_master")), version(connection)
    finally:
        connection.close()


def version(connection):
    return connection.execute("PRAGMA user_version").fetchone()[0]


def test_everything_of_an_older_file_is_kept(home, old):
    history = History.open(home)
    assert history.remarks == ()
    assert not list(home.glob("*.damaged-*"))
    one = history.by_number(1)
    assert (one.status, one.service_run_id, one.name, one.set_params) == (Status.SUCCESS, "id-1", "best", ("3::cfg",))
    assert one.pictures == (PictureRecord(0, "9", 0, "kept", "2026-01/token-1_0.png", "cd", 12, 3, 4, "PNG"),)
    assert history.graph("token-1") == {"3": {}}
    assert history.by_number(2).problem == Problem("no such file", "4", "Loader", "4::name")
    assert history.by_name("best").number == 4
    assert [record.number for record in history.search("bottle", params={"cfg": 7.5})] == [4, 2, 1]
    assert history.by_service_id("id").number == 1
    assert history.times.of("sandbox", "default") == [2.5]
    assert history.last(back=2).number == 1
    history.close()


def test_numbers_go_on_and_names_are_shared_with_sweeps(home, old, intent, sweep_request):
    history = History.open(home)
    assert history.claim(intent("new")).record.number == 5
    sweep = history.sweeps.enter(sweep_request(name="best"), [])
    assert history.by_name("best") is None
    assert history.sweeps.by_name("best") == sweep
    assert history.claim(intent("key-1")).kind == "same"
    history.close()


def test_an_older_file_has_the_same_tables_as_a_new_one(home, old, tmp_path):
    History.open(home).close()
    History.open(tmp_path / "new").close()
    assert tables_of(old) == tables_of(tmp_path / "new" / "history.sqlite")


def test_it_is_brought_up_to_date_once(home, old):
    History.open(home).close()
    first = old.read_bytes()
    History.open(home).close()
    assert old.read_bytes() == first


def test_the_first_step_is_the_version_that_was_released(tmp_path):
    """A step that is changed later would leave older files without the change."""
    for name, script in (("a", VERSION_1), ("b", tables.STEPS[0])):
        connection = sqlite3.connect(tmp_path / name)
        connection.executescript(script)
        connection.close()
    assert tables_of(tmp_path / "a")[0] == tables_of(tmp_path / "b")[0]


def test_the_second_step_is_the_version_that_was_released():
    released = "5d9371476982fe3ec2555677742cef622e02dc6f02939764584ec0d1b99bd6fd"
    assert hashlib.sha256(tables.STEPS[1].encode()).hexdigest() == released


def test_a_file_of_the_second_version_is_brought_up_to_date(home, tmp_path, intent, sweep_request, cells):
    path = home / "history.sqlite"
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.executescript("".join(tables.STEPS[:2]) + "PRAGMA user_version = 2;")
    add_run(connection, 1)
    connection.commit()
    history = History.open(home)
    add_run(connection, 2, "running")  # a kernel that still has the earlier code loaded
    connection.commit()
    connection.close()
    assert [record.number for record in history.search()] == [2, 1]
    assert not history.is_cancel_asked("token-1")
    token = history.sweeps.enter(sweep_request(), cells(2)).token
    assert history.senders.living(token) == set()
    History.open(tmp_path / "new").close()
    assert tables_of(path) == tables_of(tmp_path / "new" / "history.sqlite")
    history.close()


def test_a_full_disk_leaves_the_older_file_as_it_was(home, old, monkeypatch):
    before = tables_of(old)
    real = store._connect

    def connect(path):
        connection = real(path)
        connection.execute(f"PRAGMA max_page_count = {connection.execute('PRAGMA page_count').fetchone()[0]}")
        return connection

    monkeypatch.setattr(store, "_connect", connect)
    with pytest.raises(HistoryError, match="the disk is full"):
        History.open(home)
    assert tables_of(old) == before
    monkeypatch.undo()
    history = History.open(home)
    assert history.by_name("best").number == 4
    history.close()


def test_killed_in_the_middle_the_older_file_is_as_it_was(home, old):
    code = f"""
import os, sqlite3
from pathlib import Path
from comflowy_nb.database import connection as store
from comflowy_nb.database.runs import History
real = store._connect
def connect(path):
    connection = real(path)
    seen = []
    def trace(sql):
        seen.append(sql)
        if "DROP TABLE names_of_runs" in sql:
            os.kill(os.getpid(), 9)
    connection.set_trace_callback(trace)
    return connection
store._connect = connect
History.open(Path({str(home)!r}))
"""
    before = tables_of(old)
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == -9
    assert tables_of(old) == before
    history = History.open(home)
    assert history.by_name("best").number == 4
    history.close()


def test_many_who_open_an_older_file_at_once_find_one_new_file(home, old):
    code = (
        "import sys; from pathlib import Path; from comflowy_nb.database.runs import History; sys.stdin.read(1); "
        f"history = History.open(Path({str(home)!r})); print(history.by_name('best').number, len(history.remarks))"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    assert [process.communicate("x", timeout=60)[0].split() for process in processes] == [["4", "0"]] * 4


def test_a_kernel_of_the_earlier_version_goes_on_writing(home, old):
    """A notebook that was open when the package was upgraded still has the earlier code loaded."""
    earlier = sqlite3.connect(old)
    earlier.row_factory = sqlite3.Row
    assert earlier.execute("SELECT count(*) FROM runs").fetchone()[0] == 3
    history = History.open(home)
    add_run(earlier, 9, "running")
    earlier.execute("INSERT INTO names (name, run) VALUES ('mine', 9)")
    earlier.execute("UPDATE runs SET status = 'success' WHERE number = 9")
    earlier.execute("INSERT OR REPLACE INTO pictures (run, position, node_index, state) VALUES (9, 0, 0, 'missing')")
    earlier.commit()
    earlier.close()
    record = history.by_name("mine")
    assert (record.number, record.status) == (9, Status.SUCCESS)
    assert history.last().number == 9
    history.close()


def test_a_damaged_older_file_is_set_aside(home, old):
    content = bytearray(old.read_bytes())
    content[4096:] = b"\xa5" * (len(content) - 4096)
    old.write_bytes(content)
    history = History.open(home)
    assert "damaged" in history.remarks[0]
    assert history.newest() is None
    history.close()
