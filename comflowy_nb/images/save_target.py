"""The target of `save`: check a folder, zip file, page, figure or image file, and write it. Does not import Pillow."""

from __future__ import annotations

import errno
import filecmp
import itertools
import os
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from comflowy_nb.errors import ImageError, SettingsError, write_problem
from comflowy_nb.settings import expand_home
from comflowy_nb.workflow.files import locked_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_IMAGES = frozenset({".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".avif", ".jxl"})
_OTHER_FILES = frozenset(
    {".7z", ".csv", ".gz", ".json", ".md", ".mp4", ".rar", ".svg", ".tar", ".tgz", ".txt", ".webm"}
)

PARTS = ("prompts", "seeds", "notes", "workflow", "inputs", "metadata")  # that can be left out
ANIMATIONS = frozenset({".gif", ".webp"})
TargetKind = Literal["folder", "zip", "image", "page", "pdf"]


def target_path(target: object) -> Path:
    """Return the target of `save` as a path.

    Raises
    ------
    SettingsError
        If it is neither text nor a path.
    """
    if isinstance(target, str | os.PathLike) and isinstance(path := os.fspath(target), str):
        return expand_home(path)
    raise SettingsError(f'can\'t save to {target!r}: use a folder, or NAME.zip, as text or a path: save("out")')


def kind_of_target(target: Path) -> TargetKind:
    """Return the kind of a `save` target. An existing folder is a folder, with any suffix.

    Raises
    ------
    SettingsError
        If the suffix is that of another kind of file.
    """
    suffix = target.suffix.lower()
    if target.is_dir():
        return "folder"
    if suffix in _OTHER_FILES:
        name = target.stem
        accepted = f"a folder ({name}), {name}.zip, a page ({name}.html), a figure ({name}.png, {name}.pdf)"
        raise SettingsError(f"can't save a {suffix} file: use {accepted} or, for one image, a file of its format")
    kinds: dict[str, TargetKind] = {".zip": "zip", ".html": "page", ".htm": "page", ".pdf": "pdf"}
    return kinds.get(suffix) or ("image" if suffix in _IMAGES else "folder")


def check_before_submit(target: Path) -> None:
    """Check, before anything is submitted, that the images can be saved to a target.

    Raises
    ------
    SettingsError
        If the suffix is that of another kind of file, or a file is in the place of a folder.
    """
    folders = target.parents if kind_of_target(target) != "folder" else (target, *target.parents)
    existing = next(filter(os.path.exists, folders), None)
    if existing is not None and not existing.is_dir():
        raise SettingsError(f"can't save to {target.name}: {existing.name} is a file, not a folder")


def check_sweep_target(target: Path) -> None:
    """Check that a target of `save` can hold a sweep.

    Raises
    ------
    SettingsError
        If the target is an image file other than a PNG, which is the grid, or another kind of file.
    """
    suffix, name = target.suffix.lower(), target.stem
    if kind_of_target(target) != "image" or suffix == ".png":
        return
    if suffix in ANIMATIONS:
        raise SettingsError(f"an animation needs the axis of its frames: save s1 {target.name} --along cfg")
    raise SettingsError(
        f"a sweep can't be saved to {target.name}: use a folder ({name}), {name}.zip, a page ({name}.html) or its grid "
        f"as a figure ({name}.png, {name}.pdf)"
    )


def write_new(target: Path, content: bytes) -> Path:
    """Write a file, and return its path. A file with the same content is reused; otherwise the name gets a number.

    Raises
    ------
    OSError
        If it can't be written.
    """
    part = target.with_name(f".{uuid.uuid4().hex}.part")
    with locked_file(part):
        part.write_bytes(content)
        return move_new(part, target)


@contextmanager
def writing_to(folder: Path, problem: str) -> Iterator[None]:
    """Create a folder to write to. An OSError becomes an ImageError: the problem, such as `x.png can't be written`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise ImageError(f"{problem}: {os_reason(error, folder)}") from error


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
