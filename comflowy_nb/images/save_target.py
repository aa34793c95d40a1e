"""Check the target of `save`: a folder, a zip file or, for one image, an image file. Does not import Pillow."""

from __future__ import annotations

import errno
import filecmp
import itertools
import os
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from comflowy_nb.errors import ImageError, SettingsError, write_problem

if TYPE_CHECKING:
    from collections.abc import Callable


_IMAGES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".jxl"})
_OTHER_FILES = frozenset(
    {".7z", ".csv", ".gz", ".html", ".json", ".md", ".mp4", ".pdf", ".rar", ".svg", ".tar", ".tgz", ".txt", ".webm"}
)


def target_path(target: object) -> Path:
    """Return the target of `save` as a path.

    Raises
    ------
    SettingsError
        If it is neither text nor a path.
    """
    if isinstance(target, str | os.PathLike) and isinstance(path := os.fspath(target), str):
        return Path(path).expanduser()
    raise SettingsError(f'can\'t save to {target!r}: use a folder, or NAME.zip, as text or a path: save("out")')


def kind_of_target(target: Path) -> Literal["folder", "zip", "image"]:
    """Return the kind of a target of `save`. An existing folder is a folder with any name.

    Raises
    ------
    SettingsError
        If the suffix is that of another kind of file.
    """
    suffix = target.suffix.lower()
    if target.is_dir():
        return "folder"
    if suffix in _OTHER_FILES:
        accepted = f"a folder ({target.stem}), a zip file ({target.stem}.zip) or, for one image, an image file"
        raise SettingsError(f"a {suffix} file can't hold images: use {accepted}")
    return "zip" if suffix == ".zip" else "image" if suffix in _IMAGES else "folder"


def check_sweep_target(target: Path) -> None:
    """Check that a target of `save` can hold several files.

    Raises
    ------
    SettingsError
        If the target is the name of an image file, or of another kind of file.
    """
    if kind_of_target(target) == "image":
        raise SettingsError(
            f"a sweep has several files, so it can't be saved to {target.name}: use a folder ({target.stem}) or a zip "
            f"file ({target.stem}.zip)"
        )


def write_zip(target: Path, write: Callable[[Path], object]) -> Path:
    """Write a zip file with the files that `write` creates in a temporary folder.

    If `write` raises an ImageError because some images are not on disk, the zip file contains the others. The same
    files always give the same bytes, so that an existing zip file with this content is reused.

    Returns
    -------
    The path of the zip file, with a number in its name if another file has that name.

    Raises
    ------
    ImageError
        If some images are not on disk, or the zip file can't be written.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".comflowy-") as temporary:
            folder = Path(temporary) / target.name  # error texts of `write` contain this name
            folder.mkdir()
            missing: ImageError | None = None
            try:
                write(folder)
            except ImageError as error:
                missing = error
            files = sorted(folder.iterdir())
            if files:
                target = move_new(_pack(files, Path(temporary) / "packed.zip"), target)
            if missing is not None:
                raise missing
            return target
    except OSError as error:
        raise ImageError(f"{target.name} can't be written: {os_reason(error, target.parent)}") from error


def move_new(part: Path, target: Path) -> Path:
    """Move a file to `target`, or to `target (2)` and so on if that name is taken. Reuse a file with the same content.

    Returns
    -------
    The path of the file with this content.
    """
    for number in itertools.count(1):
        candidate = target if number == 1 else target.with_stem(f"{target.stem} ({number})")
        try:
            candidate.open("xb").close()  # reserve the name
        except FileExistsError:
            if not candidate.is_file() or not filecmp.cmp(part, candidate, shallow=False):
                continue
            part.unlink()
            return candidate
        break
    return part.replace(candidate)


def os_reason(error: OSError, folder: Path | None = None) -> str:
    """Return why a file can't be written to a folder."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return "the disk is full"
    return (error.strerror or type(error).__name__) if folder is None else write_problem(error, folder)


def _pack(files: list[Path], path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for file in files:
            archive.writestr(zipfile.ZipInfo(file.name), file.read_bytes())  # not compressed: images are already
    return path
