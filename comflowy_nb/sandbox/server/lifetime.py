"""One sandbox per home folder, and when it stops."""

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

    from comflowy_nb.sandbox.server.paths import Address, Paths

__all__ = ["AlreadyRunning", "Usage", "answers", "hold_lock"]

_LOCK_WAIT_S = 8.0
_LOCK_POLL_S = 0.05
_ASK_S = 2.0
ARRIVAL_S = 15.0  # time for a client that is about to connect to lock its file
UNUSED_S = 4.0
_PROBING = "probing.lock"  # serialises lock probes, so that a probe is never taken for a client


class AlreadyRunning(Exception):
    """The home folder has a sandbox; `address` is set if it responded."""

    def __init__(self, address: Address | None) -> None:
        super().__init__("a sandbox is already running")
        self.address = address


def hold_lock(paths: Paths) -> FileLock:
    """Acquire and return the lock of the sandbox of a home folder.

    A sandbox that is stopping holds it a little longer, so wait for it unless its holder responds.

    Raises
    ------
    AlreadyRunning
        If another sandbox holds it.
    """
    lock = FileLock(paths.lock, timeout=0, thread_local=False)
    deadline = time.monotonic() + _LOCK_WAIT_S
    while True:
        try:
            lock.acquire()
        except Timeout:
            address = paths.read_address()
            if address is not None and answers(address):
                raise AlreadyRunning(address) from None
            if time.monotonic() > deadline:
                raise AlreadyRunning(None) from None
            time.sleep(_LOCK_POLL_S)
        else:
            return lock


def answers(address: Address) -> bool:
    """Return whether the sandbox with this key responds at this address."""
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
    """Whether clients use the sandbox. Each holds a lock file, which the system releases even after a kill."""

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._clock = clock
        self._ends_at = clock() + ARRIVAL_S
        self._held: Path | None = None  # the lock that was held last; probed first

    def stay(self) -> None:
        """Keep the sandbox for a client that is about to connect."""
        self._ends_at = max(self._ends_at, self._clock() + ARRIVAL_S)

    def is_over(self) -> bool:
        """Return whether no client has held a lock for `UNUSED_S`."""
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
    if not path.exists():  # acquiring the lock would create the file
        return False
    lock = FileLock(path, timeout=0, thread_local=False)
    try:
        probing = FileLock(path.parent / _PROBING, timeout=_ASK_S, thread_local=False)
        # Each name is used once, so its process has ended: delete the file while the lock is held.
        with probing.acquire(poll_interval=0.001), lock, contextlib.suppress(OSError):
            path.unlink()
    except Timeout:
        return True
    except (OSError, NotImplementedError):
        return False
    return False
