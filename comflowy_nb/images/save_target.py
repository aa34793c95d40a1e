"""Where `save` writes: a folder, a zip file, or for one image a file."""

from __future__ import annotations

import errno
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from comflowy_nb.errors import ImageError, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["check_sweep_target", "kind_of_target", "os_reason", "write_zip"]

_IMAGES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".jxl"})
_OTHER_FILES = frozenset(
    {".7z", ".csv", ".gz", ".html", ".json", ".md", ".mp4", ".pdf", ".rar", ".svg", ".tar", ".tgz", ".txt", ".webm"}
)


def kind_of_target(target: Path) -> Literal["folder", "zip", "image"]:
    """Return what a path given to `save` means: an existing folder is one, whatever its name.

    Raises
    ------
    SettingsError
        If it is the name of a file of another kind.
    """
    suffix = target.suffix.lower()
    if target.is_dir():
        return "folder"
    if suffix in _OTHER_FILES:
        accepted = f"a folder ({target.stem}), a zip file ({target.stem}.zip) or, for one image, an image file"
        raise SettingsError(f"can't save to {target.name}: use {accepted}")
    return "zip" if suffix == ".zip" else "image" if suffix in _IMAGES else "folder"


def check_sweep_target(target: Path) -> None:
    """Check that a sweep, which has several files, can be saved there.

    Raises
    ------
    SettingsError
        If the path is the name of an image file, or of a file of another kind.
    """
    if kind_of_target(target) == "image":
        raise SettingsError(
            f"a sweep has several files, so it can't be saved to {target.name}: use a folder ({target.stem}) or a zip "
            f"file ({target.stem}.zip)"
        )


def write_zip(target: Path, write: Callable[[Path], object]) -> Path:
    """Write a zip file of what `write` puts into a folder; also if some images are not on disk.

    Equal files make an equal zip file, which is not written twice.

    Returns
    -------
    The path written: with a number in its name where another file has that name.

    Raises
    ------
    ImageError
        If it can't be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".comflowy-") as temporary:
            folder = Path(temporary) / target.name  # messages of `write` have this name
            folder.mkdir()
            missing: ImageError | None = None
            try:
                write(folder)
            except ImageError as error:  # some images are not on disk
                missing = error
            files = sorted(folder.iterdir())
            if files:
                target = _move_new(_pack(files, Path(temporary) / "packed.zip"), target)
            if missing is not None:
                raise missing
            return target
    except OSError as error:
        raise ImageError(f"{target.name} can't be written: {os_reason(error)}") from error


def os_reason(error: OSError) -> str | None:
    """Return why a file can't be written."""
    return "the disk is full" if error.errno in {errno.ENOSPC, errno.EDQUOT} else error.strerror


def _pack(files: list[Path], path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in files:
            archive.writestr(zipfile.ZipInfo(file.name), file.read_bytes())  # stored: images are compressed already
    return path


def _move_new(packed: Path, target: Path) -> Path:
    """Move the file to that name, or with (2), (3) ... where another file has it; an equal one stays."""
    n, candidate = 1, target
    while True:
        try:
            candidate.open("xb").close()
        except FileExistsError:
            if candidate.is_file() and candidate.read_bytes() == packed.read_bytes():
                return candidate
            n += 1
            candidate = target.with_stem(f"{target.stem} ({n})")
            continue
        return packed.replace(candidate)
