"""Where a sandbox keeps its things in the home folder, and the note that says how it is reached."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import stat
from dataclasses import asdict, dataclass, field
from pathlib import Path

__all__ = ["Address", "Places", "home_folder"]


def home_folder() -> Path:
    """`COMFLOWY_HOME`, else the platform's user data folder: the same folder that the clients use."""
    named = os.environ.get("COMFLOWY_HOME")
    if named:
        return Path(named).expanduser().absolute()
    from platformdirs import user_data_path  # noqa: PLC0415 - not needed where COMFLOWY_HOME is set

    return user_data_path("comflowy")


@dataclass(frozen=True, slots=True)
class Address:
    """How a sandbox is reached. The key shows in no repr: a traceback of the server goes into a log."""

    url: str
    key: str = field(repr=False)
    pid: int


@dataclass(frozen=True, slots=True)
class Places:
    """The files of the sandbox of one home folder."""

    home: Path

    @property
    def folder(self) -> Path:
        return self.home / "sandbox"

    @property
    def lock(self) -> Path:
        return self.folder / "sandbox.lock"

    @property
    def address(self) -> Path:
        return self.folder / "address.json"

    @property
    def database(self) -> Path:
        return self.folder / "runs.sqlite"

    @property
    def images(self) -> Path:
        return self.folder / "images"

    @property
    def inputs(self) -> Path:
        return self.folder / "inputs"

    @property
    def client_locks(self) -> Path:
        return self.home / "locks"

    def make(self) -> None:
        """Make the folders, for this person alone; one that is there is closed to others where it can be.

        Raises
        ------
        OSError
            If they can't be made.
        """
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (self.folder, self.images, self.inputs):
            folder.mkdir(mode=0o700, exist_ok=True)
        for folder in (self.home, self.folder):  # a client warns of one that stays open
            found = folder.stat()
            if os.name == "posix" and found.st_uid == os.geteuid() and not found.st_mode & stat.S_ISVTX:
                with contextlib.suppress(OSError):
                    folder.chmod(0o700)

    def clear_up(self) -> None:
        """Remove what a killed sandbox left half written. Only the one that holds the lock may do this."""
        for folder in (self.folder, self.images, self.inputs):
            for part in folder.glob("*.part"):
                part.unlink(missing_ok=True)

    def read_address(self) -> Address | None:
        """The last sandbox's address, running or not; None where there is none that can be read."""
        try:
            note = json.loads(self.address.read_bytes())
            address = Address(url=note["url"], key=note["key"], pid=note["pid"])
        except (OSError, ValueError, TypeError, KeyError):
            return None
        right = isinstance(address.url, str) and isinstance(address.key, str) and isinstance(address.pid, int)
        return address if right and len(address.key) >= 32 else None

    def write_address(self, address: Address) -> None:
        """Replace the note at once, readable by this person only."""
        part = self.folder / f"address.{secrets.token_hex(8)}.part"
        try:
            with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                json.dump(asdict(address), file)
                file.flush()
                os.fsync(file.fileno())
            part.replace(self.address)
        finally:
            part.unlink(missing_ok=True)
