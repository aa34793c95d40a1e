"""Remove the files that a prune or a delete has listed in the history, if this package wrote them.

A file is removed only if a download would give it this name, and if its folder is in the home folder after symbolic
links are resolved. A changed row or a symbolic link can therefore not remove another file.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
from typing import TYPE_CHECKING

from comflowy_nb.database.cleanup import ALL_FILES, Removal
from comflowy_nb.errors import ComflowyError, ImageError
from comflowy_nb.images.receive import exclusive_lock, file_stem

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from comflowy_nb.database.cleanup import Cleanup


_MONTH = re.compile(r"[0-9]{4}-[0-9]{2}")
_SUFFIX = re.compile(r"\.[a-z0-9]{1,8}")
_BATCH = 100  # removals that are deleted from the list in one transaction


def _month_folders(images: Path) -> list[Path]:
    """Return the folders of stored outputs, oldest first. Links that lead out of the home folder are left out."""
    try:
        return sorted(path for path in images.iterdir() if _is_month(path))
    except OSError:
        return []


def original_path(images: Path, run: str, position: int, file: str | None) -> Path | None:
    """Return the path of an original if it may be removed; None for any other file name.

    Parameters
    ----------
    images
        The images' folder.
    run, position
        Token of the run, and index of the image.
    """
    month, _, name = (file or "").partition("/")
    try:
        stem = file_stem(run, position)
    except ImageError:  # the token is not one of ours
        return None
    is_ours = name.startswith(stem) and _SUFFIX.fullmatch(name.removeprefix(stem))
    path = images / month / name
    return path if is_ours and _is_month(images / month) and _is_regular(path) else None


def files_of_runs(images: Path, runs: Collection[str]) -> list[tuple[str, Path]]:
    """Return the originals, thumbnails and sidecars of runs, each with the token of its run."""
    found = []
    for folder in _month_folders(images):
        with os.scandir(folder) as entries:
            for entry in entries:
                run = re.split("[_.]", entry.name, maxsplit=1)[0]
                if run in runs and not entry.is_dir(follow_symlinks=False):
                    found.append((run, folder / entry.name))
    return found


def size_of(path: Path) -> int:
    """Return the size of a file in bytes; 0 if another process has removed it."""
    try:
        return path.lstat().st_size
    except OSError:
        return 0


def finish_removals(cleanup: Cleanup, images: Path) -> None:
    """Remove the listed files, also of a killed process. A file that can't be removed stays in the list.

    Several processes may do this at once.
    """
    done: list[Removal] = []
    pending = cleanup.pending()
    try:
        deleted = cleanup.deleted_runs(removal.run for removal in pending if removal.position == ALL_FILES)
        failed = _remove_all(images, deleted) if deleted else set()
        done += [removal for removal in pending if removal.position == ALL_FILES and removal.run not in failed]
        for removal in pending:
            if removal.position != ALL_FILES and _remove_original(cleanup, images, removal):
                done.append(removal)
            if len(done) >= _BATCH:
                cleanup.forget(done)
                done.clear()
    finally:
        if done:
            cleanup.forget(done)


def _remove_all(images: Path, runs: set[str]) -> set[str]:
    """Remove all files of runs. Return the runs that have a file that can't be removed."""
    failed: dict[Path, str] = {}
    # A folder listing may be incomplete while another process removes files, so repeat until it is empty.
    while found := [(run, path) for run, path in files_of_runs(images, runs) if path not in failed]:
        failed |= {path: run for run, path in found if not _unlink(path)}
    return set(failed.values())


def remove_if_deleted(cleanup: Cleanup, run: str, *written: Path) -> None:
    """Remove files that were just written, if their run was deleted meanwhile."""
    if written and cleanup.deleted_runs([run]):
        for path in written:
            _unlink(path)


def _remove_original(cleanup: Cleanup, images: Path, removal: Removal) -> bool:
    """Remove the original of a pruned image. Return False if it must be tried again later."""
    run, position = removal
    try:
        # A process that fetches the image again holds this lock while it looks for a complete file.
        with exclusive_lock(images / f"{file_stem(run, position)}.lock", 0):
            path = original_path(images, run, position, cleanup.pruned_file(removal))
            return path is None or _unlink(path)
    except (ComflowyError, OSError):
        return False


def _unlink(path: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        try:
            path.unlink()
        except OSError:  # Windows does not remove an open file
            return False
    return True


def _is_month(folder: Path) -> bool:
    """Return True for a folder of outputs that is in the images' folder after symbolic links are resolved."""
    images = folder.parent
    expected = images.parent.resolve() / images.name / folder.name
    return _MONTH.fullmatch(folder.name) is not None and folder.is_dir() and folder.resolve() == expected


def _is_regular(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False
