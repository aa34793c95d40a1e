"""Finds the sandbox of a home folder, and starts one where none runs.

The sandbox is a process of its own that outlives the kernel which started it: all kernels of a home folder use the
same one, and it ends by itself when the last of them is gone.
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

__all__ = ["SandboxAddress", "find_sandbox", "start_sandbox"]

_START_S = 20.0
_POLL_S = 0.03
_ASK_S = 3.0
_ANSWER_MAX_BYTES = 65536
_LOG_MAX_BYTES = 1024 * 1024
_TAIL_LINES = 8
_ALREADY = 3  # the exit status that says the home folder has a sandbox


@dataclass(frozen=True, slots=True)
class SandboxAddress:
    """Where a sandbox answers, and the key it takes."""

    url: str = field(repr=False)
    key: Secret


def find_sandbox(home: Path) -> SandboxAddress | None:
    """The sandbox of a home folder, if it runs and answers.

    Its note may be old and its port another program's by now. So whoever listens there must first show that it holds
    the key; the key itself is not sent.
    """
    return _find(home, stay=False)


def start_sandbox(home: Path) -> SandboxAddress:
    """The sandbox of a home folder; it is started if none runs.

    It stays as long as a client of the home folder holds its lock: hold one before, or within some seconds after.

    Raises
    ------
    ServiceError
        If the folder can't be written, or the sandbox does not come up; with the end of its log.
    """
    found = _find(home, stay=True)
    if found is not None:
        return found
    folder = home.absolute() / "sandbox"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        # One starter at a time: the second finds what the first has started.
        with FileLock(folder / "start.lock", timeout=_START_S):
            return _find(home, stay=True) or _start(home.absolute(), folder / "sandbox.log")
    except Timeout:
        raise ServiceError("another process has been starting the sandbox for a while; try again") from None
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise ServiceError(
            f"the sandbox's folder in the home folder can't be written ({why}): set COMFLOWY_HOME to one that can"
        ) from error


def _find(home: Path, *, stay: bool) -> SandboxAddress | None:
    try:
        note = json.loads((home / "sandbox" / "address.json").read_bytes())
        url, key = str(note["url"]), Secret(str(note["key"]))
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except (OSError, ValueError, TypeError, KeyError):
        return None
    # The note is ours alone to write, but nothing but loopback is asked whatever it says.
    if parts.scheme != "http" or host != "127.0.0.1" or port is None:
        return None
    nonce = secrets.token_hex(16)
    answer = _ask(host, port, f"/api/open/v0/ping?nonce={nonce}{'&stay=1' if stay else ''}")
    proof = str(answer.get("proof", "")).encode("utf-8", "replace")
    said = f"comflowy_nb sandbox {nonce}".encode()
    if not hmac.compare_digest(proof, hmac.new(key.reveal().encode(), said, hashlib.sha256).hexdigest().encode()):
        return None
    return SandboxAddress(url, key)


def _ask(host: str, port: int, path: str) -> Mapping[str, Any]:
    """The `data` of an answer; empty if there was none that makes sense. No proxy is asked, no credential sent."""
    connection = http.client.HTTPConnection(host, port, timeout=_ASK_S)
    try:
        connection.request("GET", path)
        data = json.loads(connection.getresponse().read(_ANSWER_MAX_BYTES))["data"]
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return {}
    finally:
        connection.close()
    return data if isinstance(data, dict) else {}


def _start(home: Path, log: Path) -> SandboxAddress:
    # A log that has grown large is begun again; else its end would be found only by reading it all.
    begun_again = log.exists() and log.stat().st_size > _LOG_MAX_BYTES
    with os.fdopen(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as output:
        if begun_again:
            output.truncate(0)
        offset = output.seek(0, os.SEEK_END)
        try:
            process = _spawn(home, output)
        except (OSError, TypeError) as error:
            raise ServiceError(f"no Python process could be started for the sandbox: {error}") from error
    # Reaped whenever it ends, so that no zombie stays in a long-lived kernel.
    threading.Thread(target=process.wait, name="comflowy-sandbox-end", daemon=True).start()
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        found = _find(home, stay=True)
        if found is not None:
            return found
        code = process.poll()
        if code is not None and code != _ALREADY:  # with another one coming up, there is something to wait for
            raise ServiceError(f"the sandbox ended as it started (exit status {code}){_tail(log, offset, home)}")
        time.sleep(_POLL_S)
    with contextlib.suppress(OSError):
        process.terminate()
    raise ServiceError(f"the sandbox did not answer within {_START_S:g} s{_tail(log, offset, home)}")


def _spawn(home: Path, output: Any) -> subprocess.Popen[bytes]:
    # COMFLOWY_API_KEY and COMFLOWY_HEADERS hold secrets of other services; the sandbox reads COMFLOWY_HOME alone.
    environment = {name: value for name, value in os.environ.items() if not name.upper().startswith("COMFLOWY_")}
    options: dict[str, Any] = {"start_new_session": True}  # Ctrl-C and the end of a terminal are not for it
    if sys.platform == "win32":
        options = {"creationflags": subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP}
    return subprocess.Popen(
        [sys.executable, "-m", "comflowy_nb.cli.main", "sandbox", "--until-unused"],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        close_fds=True,
        # `-m` looks in the working folder first: a person's random.py must not become the sandbox's.
        cwd=home / "sandbox",
        env={**environment, "COMFLOWY_HOME": str(home)},
        **options,
    )


def _tail(log: Path, offset: int, home: Path) -> str:
    """The last lines that this start wrote; folders of the machine are left out, since notebooks are shared."""
    try:
        with log.open("rb") as file:
            file.seek(offset)
            text = file.read(_LOG_MAX_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
    for folder, word in ((home, "COMFLOWY_HOME"), (Path.home(), "~")):
        text = text.replace(str(folder), word)
    lines = text.strip().splitlines()[-_TAIL_LINES:]
    return "; its log ends:\n" + "\n".join(lines) if lines else "; its log is empty"
