"""Start and use a real sandbox in a separate process."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import psutil
import requests

if TYPE_CHECKING:
    from pathlib import Path

ENDS = {"success", "failed"}


def wait_for(read, *, timeout_s=30.0, every_s=0.01):
    """Poll `read` until it returns a true value, and return that."""
    deadline = time.monotonic() + timeout_s
    while True:
        value = read()
        if value:
            return value
        if time.monotonic() > deadline:
            raise TimeoutError(f"no result within {timeout_s:g} s")
        time.sleep(every_s)


@dataclass
class Sandbox:
    """A sandbox process, and a client that holds no lock."""

    process: subprocess.Popen
    home: Path
    output: Path

    def __post_init__(self):
        self.session = requests.Session()
        self.session.trust_env = False
        self._token = None

    @property
    def address_file(self):
        return json.loads((self.home / "sandbox" / "address.json").read_bytes())

    @property
    def url(self):
        return self.address_file["url"]

    @property
    def key(self):
        return self.address_file["key"]

    @property
    def token(self):
        if self._token is None:
            answer = self.session.get(f"{self.url}/api/open/v0/auth/token", params={"ppt": self.key}, timeout=60)
            self._token = answer.json()["access_token"]
        return self._token

    def request(self, verb, path, *, token=True, headers=None, **options):
        headers = {**({"Authorization": f"Bearer {self.token}"} if token else {}), **(headers or {})}
        return self.session.request(verb, f"{self.url}{path}", headers=headers, timeout=30, **options)

    def post(self, path, **options):
        return self.request("POST", f"/api/open/v0/{path}", **options)

    def run(self, params=None, *, workflow="default", callbacks=None):
        body = {"workflow_id": workflow, "params": params or {}, "callback_urls": callbacks or {}}
        answer = self.post("run", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]["run_id"]

    def check(self, run_id):
        answer = self.post("check", params={"id": run_id})
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def await_status(self, run_id, *statuses, timeout_s=60.0):
        """Check a run until it has one of the statuses; return the data of that check."""

        def read_status():
            data = self.check(run_id)
            assert data["status"] not in ENDS - set(statuses), data
            return data if data["status"] in statuses else None

        return wait_for(read_status, timeout_s=timeout_s)

    def processes(self):
        server = psutil.Process(self.process.pid)
        return [server, *server.children(recursive=True)]

    def workers(self):
        # A forked child that has not yet called exec still blocks its parent: stopping it would stop the server.
        children = psutil.Process(self.process.pid).children()
        return [child for child in children if "comflowy_nb.sandbox.server.worker" in child.cmdline()]

    def end(self, number=signal.SIGTERM):
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)
        return self.process.wait(60)


def launch(home, *arguments, program=("-m", "comflowy_nb.cli.main")):
    """Start a sandbox in a home folder; wait until it has printed its address or ended."""
    home.mkdir(parents=True, exist_ok=True)
    output = home / "output.txt"
    begin = output.stat().st_size if output.exists() else 0
    with output.open("ab") as file:
        process = subprocess.Popen(
            [sys.executable, *program, "sandbox", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**os.environ, "COMFLOWY_HOME": str(home)},
        )
    wait_for(lambda: process.poll() is not None or b"connect with" in output.read_bytes()[begin:])
    return Sandbox(process, home, output)


class Receiver:
    """A server on loopback that records callbacks with their times."""

    def __init__(self, *, pause_s=0.0):
        self.bodies = []
        self.times = []
        self.answers = []  # status codes of the first responses; then 204
        self.may_answer = threading.Event()
        self.may_answer.set()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.bodies.append((self.path, json.loads(body)))
                receiver.times.append(time.monotonic())
                time.sleep(pause_s)
                receiver.may_answer.wait(60)
                with contextlib.suppress(OSError):
                    self.send_response(receiver.answers.pop(0) if receiver.answers else 204)
                    self.end_headers()

            def log_message(self, *_arguments):
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def callbacks(self):
        return {"on_result_url": f"{self.url}/result", "on_progress_event_url": f"{self.url}/progress"}

    def received(self, path):
        return [body for received_path, body in list(self.bodies) if received_path == path]

    def close(self):
        self.may_answer.set()
        self._server.shutdown()
        self._server.server_close()
