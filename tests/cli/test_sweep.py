"""`comflowy-nb sweep`: its submits, output and exit status."""

from __future__ import annotations

import json
import os
import pty
import re
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

KEY = "cfk-of-a-user"
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
        server.live_statuses = []
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


def test_sweep_of_a_file_prints_a_table(api, file, capsys):
    assert sweep(file, "--connect", "cloud", "--as", "night") == 0
    output = capsys.readouterr()
    assert output.out.splitlines()[0] == "6 cells: 6 new"
    assert "cell  3::cfg  6::text  status   took   run  file" in output.out
    rows = rows_of(output.out)
    assert [row.split()[:4] for row in rows[:2]] == [["s1.1", "2", "day", "success"], ["s1.2", "2", "night", "success"]]
    for row in rows:
        assert Path(row.split()[-1]).is_file()
        assert re.search(r"  success  \d+\.\d s  r\d+  ", row), "as a notebook writes durations"
    assert "night: stars, $HOME" in output.out.splitlines()
    assert output.out.splitlines()[-1] == "s1: 6 of 6 succeeded"
    assert len(output.err.splitlines()) == 6, "without a terminal: one line for each cell that ended, no bar"
    assert KEY not in output.out + output.err
    submitted = {(request.json["params"]["3::cfg"], request.json["params"]["6::text"]) for request in api.requests(RUN)}
    assert submitted == {(cfg, text) for cfg in (2, 4, 6) for text in ("a bottle at {noon}", "stars, $HOME")}
    assert history.find("night").sweep.number == 1


def test_same_sweep_again_submits_nothing(api, file, capsys):
    assert sweep(file, "--connect", "cloud") == 0
    capsys.readouterr()
    assert sweep(file, "--connect", "cloud") == 0
    assert api.count(RUN) == 6
    output = capsys.readouterr()
    assert "6 cells: 6 done (today, cloud)" in output.out
    assert output.err == "", "earlier runs are not reported as ended"


def test_out_contains_copies_a_contact_sheet_and_a_json_file(api, file, tmp_path, capsys):
    out = tmp_path / "deep" / "out"
    assert sweep(file, "--connect", "cloud", "--out", out) == 0
    names = sorted(path.name for path in out.iterdir())
    assert len([name for name in names if name.endswith(".png")]) == 6
    assert "contact_sheet.jpg" in names
    assert len(json.loads((out / "sweep.json").read_text())["cells"]) == 6
    output = capsys.readouterr().out
    assert f"saved in {out}: 8 files" in output
    for row in rows_of(output):
        assert row.split()[-1].startswith(str(out))


def test_failed_cell_is_printed_and_exits_with_1(api, file, capsys):
    text = {"run-2": "node 3: out of memory"}

    def state(request):
        run_id = request.query["id"]
        if run_id in text:
            return reply({"success": True, "data": {"status": "failed", "error": text[run_id]}})
        return reply({"success": True, "data": api.state(run_id)})

    api.on("POST /api/open/v0/check", choose(state))
    assert sweep(file, "--connect", "cloud") == 1
    output = capsys.readouterr()
    assert "s1: 5 of 6 succeeded" in output.out
    assert "node 3: out of memory" in output.out
    assert "node 3: out of memory" in output.err
    text.clear()
    assert sweep(file, "--connect", "cloud") == 0
    assert "6 cells: 5 done (today, cloud), 1 failed (tried again)" in capsys.readouterr().out
    assert api.count(RUN) == 7


def test_target_of_the_environment_is_used(api, file, monkeypatch):
    monkeypatch.setenv("COMFLOWY_TARGET", "cloud")
    assert sweep(file) == 0


def test_missing_target_is_an_error_before_any_request(api, file, capsys):
    assert sweep(file) == 2
    output = capsys.readouterr()
    assert "--connect sandbox" in output.err
    assert output.out == ""
    assert api.count() == 0


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("workflow: wf-1\nfields:\n  cfg: [1, 2]\n", "cfg"),
        ("workflow: wf-1\nfields:\n  3::cfg: 8..2\n", "8..2"),
        ("workflow: wf-1\nfields:\n  3::cfg: [1, 1]\n", "duplicate value"),
        ("workflow: wf-1\nx: steps\nfields:\n  3::cfg: [1, 2]\n", "steps"),
        ("workflow: wf-1\nfields:\n  3::cfg: 1..501\n", "max_runs: 501"),
        ("workflow: nowhere.json\nfields:\n  3::cfg: [1, 2]\n", "nowhere.json"),
        ("workflow: wf-1\nfields:\n  cfgg:\n    - 1\n    - 2\n", "x.yaml, line 3: "),
        (
            "workflow: wf-1\nmax_runs: 1\nfields:\n  3::cfg: [1, 2]\n",
            "max_runs in the file permits 1",
        ),
        ("fields:\n  3::cfg: [1, 2]\n", "workflow"),
        ("}{", "x.yaml"),
    ],
)
def test_error_in_a_file_is_one_line_and_submits_nothing(api, tmp_path, text, error, capsys):
    """Wrong usage exited with 1, as a sweep with failed cells: a script could not distinguish them."""
    path = tmp_path / "x.yaml"
    path.write_text(text)
    assert sweep(path, "--connect", "cloud") == 2
    output = capsys.readouterr().err
    assert output.startswith("comflowy-nb sweep: ")
    assert error in output
    assert "Traceback" not in output
    assert api.count(RUN) == 0


@pytest.mark.parametrize("words", [["--as", "2x"], ["--out", "x.jpg"], ["--connect", "no such place"]])
def test_invalid_options_exit_with_2_and_submit_nothing(api, file, words, capsys):
    assert sweep(file, "--connect", "cloud", *words) == 2
    assert capsys.readouterr().err.startswith("comflowy-nb sweep: ")
    assert api.count(RUN) == 0


def test_out_may_be_a_zip_file(api, file, tmp_path, capsys):
    assert sweep(file, "--connect", "cloud", "--out", tmp_path / "looks.zip") == 0
    output = capsys.readouterr().out
    assert f"saved: {tmp_path / 'looks.zip'}" in output
    assert len(rows_of(output)) == 6
    with zipfile.ZipFile(tmp_path / "looks.zip") as archive:
        assert len(archive.namelist()) == 7
        assert json.loads(archive.read("manifest.json"))["sweeps"][0]["ended_at"]


def test_missing_file_is_an_error_of_one_line(capsys, tmp_path):
    assert sweep(tmp_path / "none.yaml", "--connect", "sandbox") == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_missing_file_argument_exits_with_2(capsys):
    with pytest.raises(SystemExit) as caught:
        sweep()
    assert caught.value.code == 2
    assert "FILE.yaml" in capsys.readouterr().err


def test_rejected_key_is_an_error_without_the_key(api, file, capsys):
    api.on("GET /api/open/v0/auth/token", reply({"success": False, "error": f"no such key: {KEY}"}, status=401))
    assert sweep(file, "--connect", "cloud") == 1
    output = capsys.readouterr()
    assert KEY not in output.out + output.err
    assert api.count(RUN) == 0


# -- interrupts, in a separate process -----------------------------------------------------------------------------


class Command:
    """The command in a process, with a terminal or a pipe for stderr."""

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
        """Return exit status, stdout and stderr."""
        out, _ = self.process.communicate(timeout=timeout_s)
        terminal_output = b""
        try:
            while piece := os.read(self.ours, 65536):
                terminal_output += piece
        except OSError:  # the terminal is closed
            pass
        os.close(self.ours)
        return self.process.returncode, out.decode(), terminal_output.decode()


@pytest.fixture
def start():
    commands = []

    def begin(*words, **options):
        commands.append(Command(*words, **options))
        return commands[-1]

    yield begin
    for command in commands:
        command.process.kill()


def test_interrupted_sweep_is_continued_by_the_same_command(api, file, start):
    api.live_statuses = ["running"] * 10_000
    command = start(file, "--connect", "cloud")
    api.wait_for(RUN, 6, 30)
    command.interrupt()
    code, out, terminal_output = command.end()
    assert code == 130
    assert "can't cancel: 6 runs continue" in terminal_output
    assert "run the same command again to continue" in terminal_output
    assert "Traceback" not in terminal_output + out
    assert "s1: 0 of 6 succeeded" in out
    api.live_statuses = []
    code, out, _ = start(file, "--connect", "cloud").end()
    assert code == 0
    assert "new" not in out.splitlines()[0]
    assert api.count(RUN) == 6, "runs that continued at the service were submitted again"


def test_interrupt_cancels_the_runs_of_the_sandbox(tmp_path, start):
    path = tmp_path / "long.yaml"
    path.write_text("workflow: default\nfields:\n  3::steps: 2000\n  3::seed: 1..40\n")
    command = start(path, "--connect", "sandbox")
    deadline_s = time.monotonic() + 60
    while not any(run.status == "running" for run in history.runs()):
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    command.interrupt()
    code, out, terminal_output = command.end(60)
    assert code == 130
    assert "no more cells are submitted" in terminal_output
    states = {row.split()[2] for row in rows_of(out)}
    assert "cancelled" in states
    assert not states & {"running", "waiting", "pending", "submitting"}
    assert "cancelled; " in out.splitlines()[-1]


def test_terminal_shows_a_progress_bar(api, file, start):
    code, out, terminal_output = start(file, "--connect", "cloud", terminal=True).end()
    assert code == 0
    assert "6/6" in terminal_output
    assert "s1:" in terminal_output
    assert out.splitlines()[0] == "6 cells: 6 new"
