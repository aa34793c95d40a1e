"""Find the sandbox process of a home folder, and start one if none is running.

The sandbox is a separate process that outlives the kernel which started it: all kernels of a home folder use the same
one, and it ends when no client's lock file is held.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import http.client
import json
import os
import secrets
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from filelock import FileLock, Timeout

from comflowy_nb.errors import ServiceError
from comflowy_nb.settings import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping


START_TIMEOUT_S = 20.0
_POLL_S = 0.03
_REQUEST_TIMEOUT_S = 3.0
_MAX_RESPONSE_BYTES = 65536
_MAX_LOG_BYTES = 1024 * 1024
_TAIL_LINES = 8
_EXIT_ALREADY_RUNNING = 3  # exit status if another sandbox serves the home folder


@dataclass(frozen=True, slots=True)
class SandboxAddress:
    """URL and key of a sandbox."""

    url: str = field(repr=False)
    key: Secret


def start_sandbox(home: Path) -> SandboxAddress:
    """Return the sandbox of a home folder; start it if none is running.

    The sandbox runs while a client of the home folder holds its lock. Acquire the lock before this call, or a few
    seconds after it at most.

    Raises
    ------
    ServiceError
        If the folder can't be written, or the sandbox does not start. The text contains the end of its log.
    """
    sandbox = find_sandbox(home, keep_running=True)
    if sandbox is not None:
        return sandbox
    folder = home.absolute() / "sandbox"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # One process starts the sandbox; the others find it afterwards.
        with FileLock(folder / "start.lock", timeout=START_TIMEOUT_S):
            return find_sandbox(home, keep_running=True) or _start(home.absolute(), folder / "sandbox.log")
    except Timeout:
        raise ServiceError("another process has been starting the sandbox for a while; try again") from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ServiceError(
            f"the sandbox's folder in the home folder can't be written ({reason}): set COMFLOWY_HOME to another folder"
        ) from error


def start_sandbox_early(home: Path) -> None:
    """Begin to start the sandbox on another thread. `start_sandbox` waits for it, and reports the errors."""

    def start() -> None:
        with contextlib.suppress(ServiceError):
            start_sandbox(home)

    threading.Thread(target=start, name="comflowy-sandbox-start", daemon=True).start()


def find_sandbox(home: Path, *, keep_running: bool = False) -> SandboxAddress | None:
    """Return the sandbox of a home folder if it runs and responds.

    The address file may be outdated, and another program may use the port now. The server must therefore first prove
    that it has the key, which is not sent.

    Parameters
    ----------
    keep_running
        Ask the sandbox to wait some seconds for a client's lock, even if no client holds one now.
    """
    try:
        address = json.loads((home / "sandbox" / "address.json").read_bytes())
        url, key = str(address["url"]), Secret(str(address["key"]))
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except (OSError, ValueError, TypeError, KeyError):
        return None
    if parts.scheme != "http" or host != "127.0.0.1" or port is None:  # the file may contain any text
        return None
    nonce = secrets.token_hex(16)
    data = _get(host, port, f"/api/open/v0/ping?nonce={nonce}{'&stay=1' if keep_running else ''}")
    proof = str(data.get("proof", "")).encode("utf-8", "replace")
    expected = hmac.new(key.reveal().encode(), f"comflowy_nb sandbox {nonce}".encode(), hashlib.sha256).hexdigest()
    return SandboxAddress(url, key) if hmac.compare_digest(proof, expected.encode()) else None


def _get(host: str, port: int, path: str) -> Mapping[str, Any]:
    """Return the `data` of a response; empty if the response is invalid. Uses no proxy and sends no credentials."""
    connection = http.client.HTTPConnection(host, port, timeout=_REQUEST_TIMEOUT_S)
    try:
        connection.request("GET", path)
        data = json.loads(connection.getresponse().read(_MAX_RESPONSE_BYTES))["data"]
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return {}
    finally:
        connection.close()
    return data if isinstance(data, dict) else {}


def _start(home: Path, log: Path) -> SandboxAddress:
    is_full = log.exists() and log.stat().st_size > _MAX_LOG_BYTES
    with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as output:
        if is_full:
            output.truncate(0)
        offset = output.seek(0, os.SEEK_END)
        try:
            process = _spawn(home, output)
        except (OSError, TypeError) as error:
            raise ServiceError(f"can't start a Python process for the sandbox: {error}") from error
    # Reap the process when it ends, so that no zombie stays in a long-lived kernel.
    threading.Thread(target=process.wait, name="comflowy-sandbox-end", daemon=True).start()
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline_s:
        sandbox = find_sandbox(home, keep_running=True)
        if sandbox is not None:
            return sandbox
        code = process.poll()
        if code is not None and code != _EXIT_ALREADY_RUNNING:  # another sandbox is starting and will respond
            raise ServiceError(f"the sandbox ended at its start (exit status {code}){_tail(log, offset, home)}")
        time.sleep(_POLL_S)
    with contextlib.suppress(OSError):
        process.terminate()
    raise ServiceError(f"the sandbox did not respond within {START_TIMEOUT_S:g} s{_tail(log, offset, home)}")


def _spawn(home: Path, output: Any) -> subprocess.Popen[bytes]:
    # COMFLOWY_API_KEY and COMFLOWY_HEADERS hold secrets of other services; the sandbox reads only COMFLOWY_HOME.
    environment = {name: value for name, value in os.environ.items() if not name.upper().startswith("COMFLOWY_")}
    options: dict[str, Any] = {"start_new_session": True}  # Ctrl-C and the end of a terminal do not end the sandbox
    if sys.platform == "win32":
        options = {"creationflags": subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP}
    return subprocess.Popen(
        [sys.executable, "-m", "comflowy_nb.cli.main", "sandbox", "--until-unused"],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        close_fds=True,
        # `-m` imports from the working folder first: a user's random.py must not replace the library's
        cwd=home / "sandbox",
        env={**environment, "COMFLOWY_HOME": str(home)},
        **options,
    )


def _tail(log: Path, offset: int, home: Path) -> str:
    """Return the last lines of the log after `offset`. Paths are removed, because notebooks are shared."""
    try:
        with log.open("rb") as file:
            file.seek(offset)
            text = file.read(_MAX_LOG_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
    text = text.replace(str(home), "COMFLOWY_HOME").replace(str(Path.home()), "~")
    lines = text.strip().splitlines()[-_TAIL_LINES:]
    return "; its log ends:\n" + "\n".join(lines) if lines else "; its log is empty"
