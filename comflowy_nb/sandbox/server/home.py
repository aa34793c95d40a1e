"""The sandbox's files and lock in the home folder, and the check whether clients still use the sandbox."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import socket
import stat
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec
from filelock import FileLock, Timeout

if TYPE_CHECKING:
    from collections.abc import Callable


_LOCK_WAIT_S = 8.0
_LOCK_POLL_S = 0.05
_CONNECT_S = 2.0
_PROBE_WAIT_S = 2.0
ARRIVAL_S = 15.0  # time for a client that is about to connect to lock its file
UNUSED_S = 4.0
_PROBING = "probing.lock"  # serialises lock probes, so that a probe is never taken for a client
_SUFFIXES = ((b"\x89PNG\r\n\x1a\n", ".png"), (b"\xff\xd8\xff", ".jpg"), (b"GIF8", ".gif"), (b"BM", ".bmp"))


def home_folder() -> Path:
    """Return `COMFLOWY_HOME`, else the platform's user data folder: the same folder that the clients use."""
    named = os.environ.get("COMFLOWY_HOME")
    if named:
        return Path(os.path.expanduser(named)).absolute()  # noqa: PTH111 - Path.expanduser fails for an unknown user
    from platformdirs import user_data_path  # noqa: PLC0415 - not needed where COMFLOWY_HOME is set

    return user_data_path("comflowy")


@dataclass(frozen=True, slots=True)
class Address:
    """Address and key of a sandbox. The repr omits the key, because tracebacks of the server go into a log."""

    url: str
    key: str = field(repr=False)
    pid: int


class Paths:
    """The files of the sandbox of one home folder."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.client_locks = home / "locks"
        self.folder = home / "sandbox"
        self.lock = self.folder / "sandbox.lock"
        self.address = self.folder / "address.json"
        self.database = self.folder / "runs.sqlite"
        self.images = self.folder / "images"
        self.inputs = self.folder / "inputs"

    def make(self) -> None:
        """Create the folders with access for this user only. Restrict existing folders if possible.

        Raises
        ------
        OSError
            If a folder cannot be created.
        """
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (self.folder, self.images, self.inputs):
            folder.mkdir(mode=0o700, exist_ok=True)
        for folder in (self.home, self.folder):  # a client warns if others can read them
            status = folder.stat()
            if os.name == "posix" and status.st_uid == os.geteuid() and not status.st_mode & stat.S_ISVTX:
                with contextlib.suppress(OSError):
                    folder.chmod(0o700)

    def remove_partial_files(self) -> None:
        """Remove partial files of a killed sandbox. Call it only while holding the lock."""
        for folder in (self.folder, self.images, self.inputs):
            for part in folder.glob("*.part"):
                part.unlink(missing_ok=True)

    def read_address(self) -> Address | None:
        """Return the address of the last sandbox, running or not; None without a readable file."""
        try:
            address = msgspec.json.decode(self.address.read_bytes(), type=Address)
        except (OSError, ValueError, msgspec.MsgspecError):  # not a ValueError before msgspec 0.23
            return None
        return address if len(address.key) >= 32 else None  # the file is damaged: keys are longer

    def write_address(self, address: Address) -> None:
        write_file(self.address, msgspec.json.encode(address))

    def keep_input(self, content: bytes) -> str:
        """Write an uploaded image into the folder of inputs and return its name there.

        The name is derived from the content, so the client's file name has no effect, and an image that is uploaded
        twice is one file. As on ComfyUI, the content is checked when a run loads it.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        name = hashlib.sha256(content).hexdigest()[:32] + _suffix(content)
        if not (self.inputs / name).exists():
            write_file(self.inputs / name, content)
        return name


def write_file(path: Path, content: bytes) -> None:
    """Write a file atomically, readable by this user only."""
    part = path.with_name(f"{path.name}.{secrets.token_hex(8)}.part")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _suffix(content: bytes) -> str:
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return ".webp"
    return next((suffix for magic, suffix in _SUFFIXES if content.startswith(magic)), ".bin")


class AlreadyRunning(Exception):
    """A sandbox of the home folder is running. `address` is set if it accepts connections."""

    def __init__(self, address: Address | None) -> None:
        super().__init__("a sandbox is already running")
        self.address = address


def hold_lock(paths: Paths) -> FileLock:
    """Acquire and return the lock of the sandbox of a home folder.

    A stopping sandbox still holds the lock, so wait for the lock unless its holder accepts connections.

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
            if address is not None and _is_listening(address):
                raise AlreadyRunning(address) from None
            if time.monotonic() > deadline:
                raise AlreadyRunning(None) from None
            time.sleep(_LOCK_POLL_S)
        else:
            return lock


def _is_listening(address: Address) -> bool:
    try:
        parts = urlsplit(address.url)
        socket.create_connection((parts.hostname, parts.port or 0), timeout=_CONNECT_S).close()
    except (OSError, ValueError):
        return False
    return True


class Usage:
    """Checks whether clients use the sandbox. Each client holds a lock file, which is released when it ends."""

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._clock = clock
        self._ends_at = clock() + ARRIVAL_S

    def stay(self) -> None:
        """Keep the sandbox running for a client that is about to connect."""
        self._ends_at = max(self._ends_at, self._clock() + ARRIVAL_S)

    def is_over(self) -> bool:
        """Return whether no client has held a lock for `UNUSED_S`."""
        if any(_is_locked(path) for path in self._folder.glob("*.lock") if path.name != _PROBING):
            self._ends_at = self._clock() + UNUSED_S
        return self._clock() >= self._ends_at


def _is_locked(path: Path) -> bool:
    if not path.exists():  # acquiring the lock would create the file
        return False
    lock = FileLock(path, timeout=0, thread_local=False)
    try:
        probing = FileLock(path.parent / _PROBING, timeout=_PROBE_WAIT_S, thread_local=False)
        # Each name is used once, so its process has ended: delete the file while the lock is held.
        with probing.acquire(poll_interval=0.001), lock, contextlib.suppress(OSError):
            path.unlink()
    except Timeout:
        return True
    except (OSError, NotImplementedError):
        return False
    return False
