"""`comflowy-nb sweep`: what it sends, what it says, and with which status it ends."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import termios
import time
import zipfile
from pathlib import Path

import pytest
from faulty_server import choose, reply
from scripted_api import RUN, ScriptedApi

from comflowy_nb import history
from comflowy_nb.cli import main as cli

KEY = "cfk-of-a-person"
FILE = """
workflow: wf-1
fields:
  3::cfg: [2, 4, 6]
  6::text: {day: "a bottle at {noon}", night: "stars, $HOME"}
"""


@pytest.fixture
def api(monkeypatch):
    monkeypatch.setenv("COMFLOWY_API_KEY", KEY)
    with ScriptedApi() as server:
        server.words = []
        monkeypatch.setenv("COMFLOWY_URL", server.url)
        yield server


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "night.yaml"
    path.write_text(FILE)
    return path


def sweep(*words):
    return cli.main(["sweep", *map(str, words)])


def rows_of(text):
    return [line for line in text.splitlines() if line.startswith("s1.")]


def test_a_file_is_swept_and_told_in_a_table(api, file, capsys):
    assert sweep(file, "--connect", "cloud", "--as", "night") == 0
    said = capsys.readouterr()
    assert said.out.splitlines()[0] == "6 cells: 6 new"
    assert "cell  3::cfg  6::text  status   seconds  run  file" in said.out
    rows = rows_of(said.out)
    assert [row.split()[:4] for row in rows[:2]] == [["s1.1", "2", "day", "success"], ["s1.2", "2", "night", "success"]]
    for row in rows:
        assert Path(row.split()[-1]).is_file()
    assert said.out.splitlines()[-1] == "s1: 6 of 6 succeeded"
    assert len(said.err.splitlines()) == 6, "no bar where nobody looks: a line for each cell that ended"
    assert KEY not in said.out + said.err
    sent = {(seen.json["params"]["3::cfg"], seen.json["params"]["6::text"]) for seen in api.seen(RUN)}
    assert sent == {(cfg, text) for cfg in (2, 4, 6) for text in ("a bottle at {noon}", "stars, $HOME")}
    assert history.find("night").sweep.number == 1


def test_again_it_sends_nothing(api, file, capsys):
    assert sweep(file, "--connect", "cloud") == 0
    assert sweep(file, "--connect", "cloud") == 0
    assert api.count(RUN) == 6
    assert "6 cells: 6 done (today, cloud)" in capsys.readouterr().out


def test_out_holds_copies_a_sheet_and_a_json(api, file, tmp_path, capsys):
    out = tmp_path / "deep" / "out"
    assert sweep(file, "--connect", "cloud", "--out", out) == 0
    names = sorted(path.name for path in out.iterdir())
    assert len([name for name in names if name.endswith(".png")]) == 6
    assert "contact_sheet.jpg" in names
    assert len(json.loads((out / "sweep.json").read_text())["cells"]) == 6
    said = capsys.readouterr().out
    assert f"saved in {out}: 8 files" in said
    for row in rows_of(said):
        assert row.split()[-1].startswith(str(out))


def test_a_cell_that_fails_is_told_and_ends_with_1(api, file, capsys):
    text = {"run-2": "node 3: out of memory"}

    def state(seen):
        run_id = seen.query["id"]
        if run_id in text:
            return reply({"success": True, "data": {"status": "failed", "error": text[run_id]}})
        return reply({"success": True, "data": api.state(run_id)})

    api.on("POST /api/open/v0/check", choose(state))
    assert sweep(file, "--connect", "cloud") == 1
    said = capsys.readouterr()
    assert "s1: 5 of 6 succeeded" in said.out
    assert "node 3: out of memory" in said.out
    assert "node 3: out of memory" in said.err
    text.clear()
    assert sweep(file, "--connect", "cloud") == 0
    assert "6 cells: 5 done (today, cloud), 1 failed (tried again)" in capsys.readouterr().out
    assert api.count(RUN) == 7


def test_the_target_of_the_environment_is_taken(api, file, monkeypatch):
    monkeypatch.setenv("COMFLOWY_TARGET", "cloud")
    assert sweep(file) == 0


def test_no_target_is_an_error_before_anything(api, file, capsys):
    assert sweep(file) == 2
    said = capsys.readouterr()
    assert "--connect sandbox" in said.err
    assert said.out == ""
    assert api.count() == 0


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("workflow: wf-1\nfields:\n  cfg: [1, 2]\n", "cfg"),
        ("workflow: wf-1\nfields:\n  3::cfg: 8..2\n", "8..2"),
        ("workflow: wf-1\nfields:\n  3::cfg: [1, 1]\n", "duplicate value"),
        ("workflow: wf-1\nx: steps\nfields:\n  3::cfg: [1, 2]\n", "steps"),
        ("workflow: wf-1\nfields:\n  3::cfg: 1..501\n", "--max-runs 501"),
        ("workflow: nowhere.json\nfields:\n  3::cfg: [1, 2]\n", "nowhere.json"),
        ("workflow: wf-1\nfields:\n  cfgg:\n    - 1\n    - 2\n", "x.yaml, line 3: "),
        ("workflow: wf-1\nmax_runs: 1\nfields:\n  3::cfg: [1, 2]\n", "--max-runs"),
        ("fields:\n  3::cfg: [1, 2]\n", "workflow"),
        ("}{", "x.yaml"),
    ],
)
def test_what_is_wrong_in_a_file_is_one_line_and_sends_nothing(api, tmp_path, text, told, capsys):
    """Wrong usage ended with 1, as a sweep whose cells failed: a script could not tell them apart."""
    path = tmp_path / "x.yaml"
    path.write_text(text)
    assert sweep(path, "--connect", "cloud") == 2
    said = capsys.readouterr().err
    assert said.startswith("comflowy-nb sweep: ")
    assert told in said
    assert "Traceback" not in said
    assert api.count(RUN) == 0


@pytest.mark.parametrize("words", [["--as", "2x"], ["--out", "x.png"], ["--connect", "no such place"]])
def test_wrong_words_end_with_2_and_send_nothing(api, file, words, capsys):
    assert sweep(file, "--connect", "cloud", *words) == 2
    assert capsys.readouterr().err.startswith("comflowy-nb sweep: ")
    assert api.count(RUN) == 0


def test_out_may_be_a_zip_file(api, file, tmp_path, capsys):
    assert sweep(file, "--connect", "cloud", "--out", tmp_path / "looks.zip") == 0
    said = capsys.readouterr().out
    assert f"saved: {tmp_path / 'looks.zip'}" in said
    assert len(rows_of(said)) == 6
    with zipfile.ZipFile(tmp_path / "looks.zip") as archive:
        assert len(archive.namelist()) == 8
        assert json.loads(archive.read("sweep.json"))["ended_at"]


def test_a_missing_file_is_one_line(capsys, tmp_path):
    assert sweep(tmp_path / "none.yaml", "--connect", "sandbox") == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_no_file_is_wrong_usage(capsys):
    with pytest.raises(SystemExit) as caught:
        sweep()
    assert caught.value.code == 2
    assert "FILE.yaml" in capsys.readouterr().err


def test_a_refused_key_is_told_without_the_key(api, file, capsys):
    api.on("GET /api/open/v0/auth/token", reply({"success": False, "error": f"no such key: {KEY}"}, status=401))
    assert sweep(file, "--connect", "cloud") == 1
    said = capsys.readouterr()
    assert KEY not in said.out + said.err
    assert api.count(RUN) == 0


# -- interrupts, in a process of its own ---------------------------------------------------------------------------


class Command:
    """The command in a process, its terminal or its pipes read as they come."""

    def __init__(self, *words, terminal=False):
        self.ours, theirs = pty.openpty() if terminal else os.pipe()
        if terminal:
            termios.tcsetwinsize(theirs, (24, 100))
        command = [sys.executable, "-m", "comflowy_nb.cli.main", "sweep", *map(str, words)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, stdin=subprocess.DEVNULL)
        os.close(theirs)

    def interrupt(self):
        self.process.send_signal(signal.SIGINT)

    def end(self, timeout_s=30):
        """Exit status, stdout, stderr."""
        out, _ = self.process.communicate(timeout=timeout_s)
        told = b""
        try:
            while piece := os.read(self.ours, 65536):
                told += piece
        except OSError:  # the other side of a terminal is gone
            pass
        os.close(self.ours)
        return self.process.returncode, out.decode(), told.decode()


@pytest.fixture
def start():
    commands = []

    def begin(*words, **options):
        commands.append(Command(*words, **options))
        return commands[-1]

    yield begin
    for command in commands:
        command.process.kill()


def test_an_interrupt_says_how_to_go_on_and_the_same_command_does(api, file, start):
    api.words = ["running"] * 10_000
    command = start(file, "--connect", "cloud")
    api.wait_for(RUN, 6, 30)
    command.interrupt()
    code, out, told = command.end()
    assert code == 130
    assert "can't cancel: 6 go on there" in told
    assert "the same command goes on" in told
    assert "Traceback" not in told + out
    assert "s1: 0 of 6 succeeded" in out
    api.words = []
    code, out, _ = start(file, "--connect", "cloud").end()
    assert code == 0
    assert "new" not in out.splitlines()[0]
    assert api.count(RUN) == 6, "what went on at the service was sent again"


def test_an_interrupt_cancels_what_the_sandbox_runs(tmp_path, start):
    path = tmp_path / "long.yaml"
    path.write_text("workflow: default\nfields:\n  3::steps: 2000\n  3::seed: 1..40\n")
    command = start(path, "--connect", "sandbox")
    deadline_s = time.monotonic() + 60
    while not any(run.status == "running" for run in history.runs()):
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    command.interrupt()
    code, out, told = command.end(60)
    assert code == 130
    assert "no more is submitted" in told
    states = {row.split()[2] for row in rows_of(out)}
    assert "cancelled" in states
    assert not states & {"running", "waiting", "pending", "submitting"}
    assert "cancelled; " in out.splitlines()[-1]


def test_a_terminal_gets_a_bar(api, file, start):
    code, out, told = start(file, "--connect", "cloud", terminal=True).end()
    assert code == 0
    assert "6/6" in told
    assert "s1:" in told
    assert out.splitlines()[0] == "6 cells: 6 new"
