"""One sandbox per home folder, and how long it stays."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import http.client
import json
import secrets
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from filelock import FileLock, Timeout

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from comflowy_nb.sandbox.server.paths import Address, Places

__all__ = ["OneRunsAlready", "Usage", "answers", "hold_lock"]

_LOCK_WAIT_S = 8.0
_LOCK_POLL_S = 0.05
_ASK_S = 2.0
ARRIVAL_S = 15.0  # somebody who started a sandbox, or is about to connect, has so long to hold a lock
UNUSED_S = 4.0
_PROBING = "probing.lock"  # held by whoever tries a client's lock, so that nobody takes the trial for the client


class OneRunsAlready(Exception):
    """The home folder has a sandbox; `address` says where, if it answered."""

    def __init__(self, address: Address | None) -> None:
        super().__init__("a sandbox runs already")
        self.address = address


def hold_lock(places: Places) -> FileLock:
    """The lock of the home folder's only sandbox, held.

    One that is just ending holds it for a moment more, so it is waited for unless its holder answers.

    Raises
    ------
    OneRunsAlready
        If another holds it.
    """
    lock = FileLock(places.lock, timeout=0, thread_local=False)
    deadline = time.monotonic() + _LOCK_WAIT_S
    while True:
        try:
            lock.acquire()
        except Timeout:
            address = places.read_address()
            if address is not None and answers(address):
                raise OneRunsAlready(address) from None
            if time.monotonic() > deadline:
                raise OneRunsAlready(None) from None
            time.sleep(_LOCK_POLL_S)
        else:
            return lock


def answers(address: Address) -> bool:
    """Whether the sandbox of that key answers at that address."""
    nonce = secrets.token_hex(16)
    parts = urlsplit(address.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_ASK_S)
    try:
        connection.request("GET", f"/api/open/v0/ping?nonce={nonce}")
        data = json.loads(connection.getresponse().read(65536))["data"]
        proof = str(data["proof"])
    except (OSError, http.client.HTTPException, ValueError, KeyError, TypeError):
        return False
    finally:
        connection.close()
    expected = hmac.new(address.key.encode(), f"comflowy_nb sandbox {nonce}".encode(), hashlib.sha256).hexdigest()
    return hmac.compare_digest(proof.encode("utf-8", "surrogatepass"), expected.encode())


class Usage:
    """Whether anybody uses the sandbox: each client holds a lock file, which the system frees however it died."""

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._clock = clock
        self._ends_at = clock() + ARRIVAL_S
        self._held: Path | None = None  # the lock that was held last: likely it is held still

    def stay(self) -> None:
        """Somebody is about to connect, and will hold a lock soon."""
        self._ends_at = max(self._ends_at, self._clock() + ARRIVAL_S)

    def is_over(self) -> bool:
        """Whether no client has held a lock for a while."""
        if self._is_held():
            self._ends_at = self._clock() + UNUSED_S
        return self._clock() >= self._ends_at

    def _is_held(self) -> bool:
        if self._held is not None and _is_locked(self._held):
            return True
        clients = (path for path in self._folder.glob("*.lock") if path.name != _PROBING)
        self._held = next((path for path in clients if _is_locked(path)), None)
        return self._held is not None


def _is_locked(path: Path) -> bool:
    if not path.exists():  # asking for the lock would make the file
        return False
    lock = FileLock(path, timeout=0, thread_local=False)
    try:
        probing = FileLock(path.parent / _PROBING, timeout=_ASK_S, thread_local=False)
        # Its owner is gone for good, since a name is used once: the file goes too, while we hold it.
        with probing.acquire(poll_interval=0.001), lock, contextlib.suppress(OSError):
            path.unlink()
    except Timeout:
        return True
    except (OSError, NotImplementedError):
        return False
    return False
