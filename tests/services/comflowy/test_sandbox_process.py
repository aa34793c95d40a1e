"""Find the sandbox of a home folder, and start one if none is running."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import psutil
import pytest
import requests
from filelock import FileLock

from comflowy_nb.errors import ServiceError
from comflowy_nb.sandbox.server.home import home_folder
from comflowy_nb.services.comflowy import sandbox_process as local_sandbox
from comflowy_nb.services.comflowy.sandbox_process import find_sandbox, start_sandbox, start_sandbox_early
from comflowy_nb.settings import home as client_home

pytestmark = pytest.mark.slow


def address_file(home):
    return json.loads((home / "sandbox" / "address.json").read_bytes())


@pytest.fixture
def kill_sandbox(home):
    """End the sandbox that a test started."""
    yield
    with contextlib.suppress(OSError, psutil.NoSuchProcess, KeyError):
        process = psutil.Process(address_file(home)["pid"])
        if "comflowy_nb.cli.main" in process.cmdline():
            process.kill()
            process.wait(60)


@pytest.fixture
def client_lock(home):
    """Hold the lock of a client of this home folder."""
    (home / "locks").mkdir(parents=True)
    lock = FileLock(home / "locks" / f"{uuid.uuid4().hex}.lock")
    with lock:
        yield lock


def wait_until_ended(processes, timeout_s):
    _, alive = psutil.wait_procs(processes, timeout=timeout_s)
    assert not alive


def test_no_sandbox_is_found_in_a_new_home_folder(home):
    assert find_sandbox(home) is None


def test_a_started_sandbox_is_found_and_accepts_its_key(home, client_lock, kill_sandbox):
    address = start_sandbox(home)
    assert find_sandbox(home) == address
    assert start_sandbox(home) == address
    answer = requests.get(f"{address.url}/api/open/v0/auth/token", params={"ppt": address.key.reveal()}, timeout=60)
    assert answer.status_code == 200
    assert address.key.reveal() not in repr(address)


def test_a_sandbox_that_is_already_starting_is_not_started_twice(home, client_lock, kill_sandbox):
    start_sandbox_early(home)
    address = start_sandbox(home)
    assert find_sandbox(home) == address
    log = (home / "sandbox" / "sandbox.log").read_text()
    assert log.count("connect with") == 1
    assert "already running" not in log


def test_started_sandbox_does_not_depend_on_the_process_of_the_kernel(home, client_lock, kill_sandbox, monkeypatch):
    """Ctrl-C in the kernel's terminal, the end of the kernel and files in its folder do not affect the sandbox."""
    monkeypatch.setenv("COMFLOWY_API_KEY", "a key of the paid service")
    monkeypatch.setenv("COMFLOWY_HEADERS", '{"https://studio.example": {"X-Key": "a secret of the proxy"}}')
    start_sandbox(home)
    process = psutil.Process(address_file(home)["pid"])
    assert os.getsid(process.pid) == process.pid != os.getsid(0)
    assert process.cwd() == str(home / "sandbox")
    assert [name for name in process.environ() if name.startswith("COMFLOWY_")] == ["COMFLOWY_HOME"]
    assert (home / "sandbox" / "sandbox.log").stat().st_mode & 0o077 == 0


def test_sandbox_ends_with_the_last_client(home, client_lock, kill_sandbox):
    start_sandbox(home)
    server = psutil.Process(address_file(home)["pid"])
    time.sleep(5.0)  # longer than an unused sandbox runs
    processes = [server, *server.children(recursive=True)]
    assert find_sandbox(home) is not None
    client_lock.release()
    wait_until_ended(processes, 40)
    assert find_sandbox(home) is None
    assert "no client is left" in (home / "sandbox" / "sandbox.log").read_text()


def test_sandbox_ends_when_its_client_was_killed(home, kill_sandbox):
    """The operating system releases the lock of a killed process; the sandbox deletes the lock file."""
    code = (
        "import sys, time, filelock, pathlib; from comflowy_nb.services.comflowy.sandbox_process import start_sandbox\n"
        "home = pathlib.Path(sys.argv[1]); (home / 'locks').mkdir(parents=True)\n"
        "lock = filelock.FileLock(home / 'locks' / 'abc.lock'); lock.acquire()\n"
        "start_sandbox(home); print('started', flush=True); time.sleep(600)"
    )
    client = subprocess.Popen([sys.executable, "-c", code, str(home)], stdout=subprocess.PIPE, text=True)
    assert client.stdout.readline() == "started\n"
    server = psutil.Process(address_file(home)["pid"])
    processes = [server, *server.children(recursive=True)]
    time.sleep(1.0)  # the sandbox checks the locks twice a second
    client.send_signal(signal.SIGKILL)
    client.wait()
    wait_until_ended(processes, 40)
    assert {path.name for path in (home / "locks").iterdir()} <= {"probing.lock"}


def test_clients_that_start_at_the_same_time_share_one_sandbox(home, client_lock, kill_sandbox):
    code = (
        "import sys, pathlib; from comflowy_nb.services.comflowy.sandbox_process import start_sandbox\n"
        "print(start_sandbox(pathlib.Path(sys.argv[1])).url)"
    )
    starters = [
        subprocess.Popen([sys.executable, "-c", code, str(home)], stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    urls = {starter.communicate(timeout=60)[0] for starter in starters}
    assert len(urls) == 1
    assert urls.pop().strip() == address_file(home)["url"]
    sandboxes = [process for process in psutil.process_iter() if is_sandbox_of(process, home)]
    assert [process.pid for process in sandboxes] == [address_file(home)["pid"]]


def is_sandbox_of(process, home):
    with contextlib.suppress(psutil.Error):
        return "comflowy_nb.cli.main" in process.cmdline() and process.environ().get("COMFLOWY_HOME") == str(home)
    return False


class OtherProgram:
    """Another program at the port of an ended sandbox; it records the requests."""

    def __init__(self, answer):
        self.received = b""
        program = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                program.received += self.requestline.encode() + bytes(self.headers)
                self.send_response(200)
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_words):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


KEY = "k" * 43


@pytest.mark.parametrize(
    "answer",
    [b"", b"<html>", b"[]", b'{"data": null}', b'{"data": {"proof": 7}}', b'{"data": {"proof": "wr\\u00f6ng"}}'],
)
def test_another_program_on_the_port_gets_no_key(home, answer):
    program = OtherProgram(answer)
    (home / "sandbox").mkdir(parents=True)
    note = {"url": f"http://127.0.0.1:{program.server.server_port}", "key": KEY, "pid": os.getpid()}
    (home / "sandbox" / "address.json").write_text(json.dumps(note))
    assert find_sandbox(home) is None
    program.close()
    assert b"ping" in program.received
    assert KEY.encode() not in program.received


@pytest.mark.parametrize(
    "note",
    [
        "",
        "[]",
        "{",
        '{"url": 1, "key": "k", "pid": 1}',
        '{"url": "http://192.0.2.1:80", "key": "k", "pid": 1}',
        '{"url": "http://127.0.0.1:x", "key": "k", "pid": 1}',
        '{"url": "http://127.0.0.1:9", "key": 7, "pid": 1}',
    ],
)
def test_invalid_address_file_is_ignored(home, note):
    (home / "sandbox").mkdir(parents=True)
    (home / "sandbox" / "address.json").write_text(note)
    assert find_sandbox(home) is None


def test_address_file_of_a_dead_sandbox_does_not_prevent_a_start(home, client_lock, kill_sandbox):
    first = start_sandbox(home)
    process = psutil.Process(address_file(home)["pid"])
    process.kill()
    process.wait(60)
    assert find_sandbox(home) is None
    second = start_sandbox(home)
    assert second.key == first.key
    assert address_file(home)["pid"] != process.pid


def test_error_for_a_home_folder_that_is_not_writable_contains_its_path(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(ServiceError, match=r"can't be written .*COMFLOWY_HOME") as caught:
        start_sandbox(blocked)
    assert str(tmp_path) not in str(caught.value)


def test_a_failed_start_shows_the_end_of_the_log(home, kill_sandbox):
    (home / "sandbox").mkdir(parents=True)
    (home / "sandbox" / "runs.sqlite").mkdir()
    with pytest.raises(ServiceError, match=r"ended at its start \(exit status 1\); its log ends:\n.+") as caught:
        start_sandbox(home)
    assert str(home) not in str(caught.value)


def test_a_sandbox_that_does_not_respond_is_terminated(home, monkeypatch, tmp_path):
    hanging = tmp_path / "hanging"
    hanging.write_text(f"#!{sys.executable}\nimport time; print('one moment', flush=True); time.sleep(600)")
    hanging.chmod(0o755)
    monkeypatch.setattr(local_sandbox.sys, "executable", str(hanging))
    monkeypatch.setattr(local_sandbox, "START_TIMEOUT_S", 1.0)
    with pytest.raises(ServiceError, match=r"did not respond within 1 s; its log ends:\none moment"):
        start_sandbox(home)
    deadline = time.monotonic() + 10
    while any(str(hanging) in command_line for command_line in command_lines()):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def command_lines():
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            yield process.cmdline()


def test_client_and_sandbox_use_the_same_home_folder(monkeypatch, tmp_path):
    assert home_folder() == client_home()
    monkeypatch.delenv("COMFLOWY_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert home_folder() == client_home()
