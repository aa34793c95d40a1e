"""Files by which kernels and Jupyter servers of one home folder find each other, for webhooks.

A kernel writes one file for each run that may receive events: its name is the digest of the secret, its content the
port of the kernel's receiver. The file is deleted when the run has ended. The server extension reads it when an event
arrives, and writes one file for its Jupyter server. No file contains a secret. Only this user can read them.
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, TypeVar

import msgspec

from comflowy_nb.workflow.files import atomic_write, remove_leftovers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


FOLDER = "webhooks"  # in the home folder
_DIGEST = re.compile(r"[0-9a-f]{64}")
_MAX_BYTES = 1000

T = TypeVar("T")


class Registration(msgspec.Struct, frozen=True):
    """Destination of one run's events: the receiver's port on loopback, and its client's lock."""

    port: int
    owner: str


class ServerNote(msgspec.Struct, frozen=True):
    """A Jupyter server with the extension: the prefix of its addresses, such as `/user/ann/`, and its lock."""

    base_url: str
    owner: str


class WebhookFiles:
    """The files of the webhooks in a home folder.

    Parameters
    ----------
    home
        The home folder.
    """

    def __init__(self, home: Path) -> None:
        self.folder = home / FOLDER

    # -- runs -----------------------------------------------------------------------------------------------------

    def register(self, digest: str, registration: Registration) -> None:
        """Write the file of a run. Its secret has this digest.

        Raises
        ------
        OSError
            If the file can't be written.
        """
        self._write(f"{digest}.json", msgspec.json.encode(registration))

    def remove(self, digest: str) -> None:
        """Delete the file of a run."""
        with contextlib.suppress(OSError):
            (self.folder / f"{digest}.json").unlink(missing_ok=True)

    def find(self, digest: str) -> Registration | None:
        """Return the registration of a run, or None if there is none."""
        return _read(self.folder / f"{digest}.json", Registration) if _DIGEST.fullmatch(digest) else None

    def remove_stale(self, is_alive: Callable[[str], bool]) -> None:
        """Delete the files of runs and servers whose process has died, and the partial files of killed processes."""
        remove_leftovers(self.folder)
        alive: dict[str, bool] = {}
        for path, owner in self._owners():
            if owner not in alive:
                alive[owner] = is_alive(owner)
            if not alive[owner]:
                with contextlib.suppress(OSError):
                    path.unlink(missing_ok=True)

    def _owners(self) -> Iterator[tuple[Path, str]]:
        with contextlib.suppress(OSError):
            for path in list(self.folder.glob("*.json")):
                known = _read(path, Registration) or _read(path, ServerNote)
                if known is not None:
                    yield path, known.owner

    # -- Jupyter servers --------------------------------------------------------------------------------------------

    def add_server(self, note: ServerNote) -> None:
        """Write the file of a Jupyter server with the extension.

        Raises
        ------
        OSError
            If the file can't be written.
        """
        self._write(f"server-{note.owner}.json", msgspec.json.encode(note))

    def servers(self, is_alive: Callable[[str], bool]) -> list[ServerNote]:
        """Return the running Jupyter servers with the extension."""
        found = [_read(path, ServerNote) for path in sorted(self.folder.glob("server-*.json"))]
        return [note for note in found if note is not None and is_alive(note.owner)]

    def _write(self, name: str, content: bytes) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with atomic_write(self.folder / name, mode=0o600) as part:
            part.write_bytes(content)


def _read(path: Path, kind: type[T]) -> T | None:
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(_MAX_BYTES), type=kind)
    except (OSError, ValueError, msgspec.MsgspecError):  # not a ValueError before msgspec 0.23
        return None
