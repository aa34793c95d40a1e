"""The files of the sandbox in the home folder, and its address file."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import stat
from dataclasses import asdict, dataclass, field
from pathlib import Path

__all__ = ["Address", "Paths", "home_folder"]


def home_folder() -> Path:
    """Return `COMFLOWY_HOME`, else the platform's user data folder: the same folder that the clients use."""
    named = os.environ.get("COMFLOWY_HOME")
    if named:
        return Path(named).expanduser().absolute()
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
        """Create the folders for this user alone; existing ones lose the permissions of others where possible.

        Raises
        ------
        OSError
            If a folder cannot be created.
        """
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (self.folder, self.images, self.inputs):
            folder.mkdir(mode=0o700, exist_ok=True)
        for folder in (self.home, self.folder):  # a client warns if others can read them
            found = folder.stat()
            if os.name == "posix" and found.st_uid == os.geteuid() and not found.st_mode & stat.S_ISVTX:
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
            stored = json.loads(self.address.read_bytes())
            address = Address(url=stored["url"], key=stored["key"], pid=stored["pid"])
        except (OSError, ValueError, TypeError, KeyError):
            return None
        is_valid = isinstance(address.url, str) and isinstance(address.key, str) and isinstance(address.pid, int)
        return address if is_valid and len(address.key) >= 32 else None

    def write_address(self, address: Address) -> None:
        """Replace the address file atomically, readable by this user only."""
        part = self.folder / f"address.{secrets.token_hex(8)}.part"
        try:
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                json.dump(asdict(address), file)
                file.flush()
                os.fsync(file.fileno())
            part.replace(self.address)
        finally:
            part.unlink(missing_ok=True)
