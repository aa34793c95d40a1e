"""A Jupyter server on loopback in a temporary HOME, with a token, a prefix, and the server extension."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ports import free_port
from waiting import end_process, wait_until

if TYPE_CHECKING:
    from pathlib import Path

TOKEN = "server-tests"
START_S = 90


@dataclass
class JupyterServer:
    """A running server: its public address, its process and its log."""

    url: str
    process: subprocess.Popen
    log: Path

    def request(self, method, path, body=None, headers=None):
        """Send a request below the prefix; return the status, the headers and the body."""
        parts = urlsplit(self.url)
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
        try:
            connection.request(method, parts.path + path, body, headers or {})
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read()
        finally:
            connection.close()

    def post(self, url, body=b'{"type": "running"}', **headers):
        """Post an event to the address of a run; return the status."""
        return self.request("POST", urlsplit(url).path.removeprefix(urlsplit(self.url).path), body, headers)[0]


def isolated_environment(root, home):
    """Return the environment for a process that uses no file of this user."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("COMFLOWY_", "JUPYTER"))}
    folders = {"JUPYTER_CONFIG_DIR": "config", "JUPYTER_DATA_DIR": "data", "JUPYTER_RUNTIME_DIR": "runtime"}
    variables |= {name: str(root / folder) for name, folder in folders.items()}
    return variables | {"HOME": str(root), "IPYTHONDIR": str(root / "ipython"), "COMFLOWY_HOME": str(home)}


@contextmanager
def running_server(root, home, *, prefix="/user/ann/", is_enabled=True):
    """Run a server which logs everything."""
    root.mkdir(parents=True, exist_ok=True)
    port = free_port()
    command = [
        *(sys.executable, "-m", "jupyter", "server", "--no-browser", "--allow-root", "--ip=127.0.0.1", "--debug"),
        *(f"--port={port}", "--ServerApp.port_retries=0", f"--IdentityProvider.token={TOKEN}"),
        *(f"--ServerApp.base_url={prefix}", "--ServerApp.allow_unauthenticated_access=False"),
        f"--ServerApp.jpserver_extensions=comflowy_nb={is_enabled}",
    ]
    log = root / "server.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            command, env=isolated_environment(root, home), stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    server = JupyterServer(f"http://127.0.0.1:{port}{prefix.rstrip('/')}", process, log)

    def answers():
        assert process.poll() is None, log.read_text()[-2000:]
        try:
            return server.request("GET", f"/api?token={TOKEN}")[0] == 200
        except OSError:
            return False

    try:
        wait_until(answers, START_S, lambda: log.read_text()[-2000:])
        yield server
    finally:
        end_process(process)
