"""Write the files of a loaded archive under temporary names, before the history is changed.

A load has these steps, and a process may be killed at each of them:

1. Take a lock, and write every file into the folder `loading` of the home folder.
2. List the new runs in `loading/new.json`, and rename the files to their final names.
3. Add the runs to the history, in one transaction.
4. Write the sidecars, and remove the folder `loading`.

The next load, or the next process, finds the folder of a killed load. If the history has the runs, `finish_loads`
finishes step 4; else it removes their files.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from comflowy_nb.database.connection import make_folder
from comflowy_nb.errors import ComflowyError, ImageError
from comflowy_nb.images.receive import file_stem, readable_disk_errors
from comflowy_nb.images.removal import files_of_runs

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from comflowy_nb.database.runs import History


_FOLDER, _LOCK, _JOURNAL = "loading", "loading.lock", "new.json"
_LOCK_TIMEOUT_S = 120.0  # maximum wait for a load in another process


class Staging:
    """The files of one load. Make it with `staging`."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._folder = home / _FOLDER
        self._month = time.strftime("%Y-%m", time.gmtime())
        self._inputs: list[str] = []
        self._stored: set[str] = set()

    def add_output(self, token: str, index: int, suffix: str, content: bytes) -> tuple[Path, str]:
        """Write an output of a run; return its temporary path, and its final name relative to the images' folder.

        `place` also moves files beside it whose names begin with the same stem, such as thumbnails.
        """
        name = f"{file_stem(token, index)}{suffix}"
        path = self._folder / name
        path.write_bytes(content)
        self._stored.add(token)
        return path, f"{self._month}/{name}"

    def add_input(self, identity: str, content: bytes) -> None:
        """Write an input image, unless the home folder has it."""
        if not (self._home / "inputs" / identity).exists():
            (self._folder / f"{identity}.input").write_bytes(content)
            self._inputs.append(identity)

    def place(self, tokens: Iterable[str]) -> None:
        """Rename all files to their final names; `tokens` are the new runs and sweeps."""
        journal = {"tokens": list(tokens), "runs": sorted(self._stored), "inputs": self._inputs}
        part = self._folder / f"{_JOURNAL}.part"
        part.write_text(json.dumps(journal), encoding="ascii")
        part.replace(self._folder / _JOURNAL)
        month, inputs = self._home / "images" / self._month, self._home / "inputs"
        make_folder(month)
        for path in sorted(self._folder.iterdir()):
            if path.suffix == ".input":
                make_folder(inputs)
                path.replace(inputs / path.stem)
            elif path.name != _JOURNAL:
                path.replace(month / path.name)


@contextlib.contextmanager
def staging(history: History, home: Path) -> Iterator[Staging]:
    """Yield the files of one load; afterwards remove the files that the history does not have.

    Raises
    ------
    ImageError
        If another process is loading an archive, or the files can't be written.
    """
    with readable_disk_errors():
        make_folder(home)
        lock = FileLock(home / _LOCK, thread_local=False)
        try:
            lock.acquire(timeout=_LOCK_TIMEOUT_S)
        except Timeout:
            raise ImageError("another process is still loading an archive: try again when it has ended") from None
        try:
            _finish(history, home)  # of a load that was killed
            make_folder(home / _FOLDER)
            try:
                yield Staging(home)
            finally:
                _finish(history, home)
        finally:
            lock.release()


def finish_loads(history: History, home: Path) -> None:
    """Finish, or undo, a load whose process was killed."""
    if not (home / _FOLDER).is_dir():
        return
    lock = FileLock(home / _LOCK, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except (Timeout, OSError, NotImplementedError):  # a process is loading an archive now
        return
    try:
        with contextlib.suppress(OSError):
            _finish(history, home)
    finally:
        lock.release()


def _finish(history: History, home: Path) -> None:
    """Remove the files of runs that the history does not have, write missing sidecars, and remove the folder."""
    from comflowy_nb.images.store import write_sidecar  # noqa: PLC0415 - loads Pillow

    folder, images = home / _FOLDER, home / "images"
    if not folder.is_dir():
        return
    try:
        journal = json.loads((folder / _JOURNAL).read_bytes())
    except (OSError, ValueError):  # no file has its final name yet
        journal = {"tokens": [], "runs": [], "inputs": []}
    known = history.archives.known(journal["tokens"])
    unknown = set(journal["runs"]) - set(known)
    for _, path in files_of_runs(images, unknown) if unknown and images.is_dir() else ():
        path.unlink(missing_ok=True)
    if not known:
        for identity in journal["inputs"]:
            (home / "inputs" / identity).unlink(missing_ok=True)
    for token in known:
        record = history.get(token)
        if record is not None:
            with contextlib.suppress(ComflowyError):  # without it only the description of a run is missing
                write_sidecar(images, record)
    shutil.rmtree(folder)
