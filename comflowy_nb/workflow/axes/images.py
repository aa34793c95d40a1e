"""Images of a sweep: files that match a pattern, their headers, and copies beside a sweep file."""

from __future__ import annotations

import glob
import hashlib
import os
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from comflowy_nb.errors import ImageError
from comflowy_nb.workflow.images import open_input
from comflowy_nb.workflow.syntax.ranges import LARGEST_AXIS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from comflowy_nb.workflow.images import InputImage

__all__ = ["label_images", "names_files", "open_images", "pattern_in", "read_image", "save_image"]

_FILE = "file:"
_DIGITS = re.compile(r"(\d+)")


def pattern_in(text: str) -> str | None:
    """Return the pattern of `file:refs/*.jpg`; None for any other text, and for the path of an existing file."""
    pattern = os.path.expanduser(text.removeprefix(_FILE))  # noqa: PTH111 - a pattern is not a path
    if not text.startswith(_FILE) or not glob.has_magic(pattern) or Path(pattern).is_file():
        return None
    return pattern


def names_files(text: str) -> bool:
    """Return True if a text is the path of a file on this machine, or a pattern that matches a file."""
    path = os.path.expanduser(text)  # noqa: PTH111 - as above
    if "\0" in path:
        return False
    return os.path.isfile(path) or (glob.has_magic(path) and any(glob.iglob(path, recursive=True)))  # noqa: PTH113, PTH207 - raises no OSError


def open_images(pattern: str) -> list[InputImage]:
    """Open the images that match a glob pattern (`**` for folders at any depth) in natural order: `a2` before `a10`.

    Raises
    ------
    ImageError
        If no file matches, a file is not an image, or there are more files than an axis can have.
    """
    files = [Path(name) for name in glob.glob(pattern, recursive=True)]  # noqa: PTH207 - the pattern may be absolute
    files = sorted((file for file in files if file.is_file()), key=_natural_order)
    if not files:
        raise ImageError(f"no file matches {pattern!r}")
    if len(files) > LARGEST_AXIS:
        raise ImageError(f"{len(files):,} files match {pattern!r}; an axis has at most {LARGEST_AXIS:,}")
    return [open_input(file) for file in files]


def label_images(images: Sequence[InputImage]) -> list[str]:
    """Return the headers of the images of one axis: file names, with as many folders as make them unique."""
    paths = [_path_parts(image, number) for number, image in enumerate(images, 1)]
    depths = [1] * len(paths)
    while True:
        labels = ["/".join(parts[-depth:]) for parts, depth in zip(paths, depths, strict=True)]
        counts = Counter(labels)
        longer = [counts[label] > 1 and depths[index] < len(paths[index]) for index, label in enumerate(labels)]
        if not any(longer):
            break
        depths = [depth + is_longer for depth, is_longer in zip(depths, longer, strict=True)]
    seen: Counter[str] = Counter()
    for index, label in enumerate(labels):
        if counts[label] > 1:
            seen[label] += 1
            labels[index] = f"{label} ({seen[label]})"
    return labels


def _path_parts(image: InputImage, number: int) -> tuple[str, ...]:
    """Return the folders and the name of an image; a Python image without a name has its position as the name."""
    if image.source:
        return PurePosixPath(image.source).parts
    is_generated = image.name == f"{image.content_sha256[:12]}.png"
    return (f"image {number}" if is_generated else image.name,)


def _natural_order(file: Path) -> tuple[tuple[int, str], ...]:
    parts = _DIGITS.split(file.as_posix())
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in parts)


def save_image(file: Path, image: InputImage) -> dict[str, str]:
    """Save an image in a folder beside a sweep file; return the fields of its `!image`.

    Raises
    ------
    ImageError
        If its content is not available.
    OSError
        If the file can't be written.
    """
    content = image.load()
    folder = file.with_name(f"{file.stem}_images")
    folder.mkdir(parents=True, exist_ok=True)
    suffix = PurePosixPath(image.name).suffix.lower()
    name = f"{image.content_sha256[:16]}{suffix if suffix.isascii() and len(suffix) <= 5 else ''}"
    (folder / name).write_bytes(content)
    return {
        "file": f"{folder.name}/{name}",
        "name": image.name,
        "identity": image.content_sha256,
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def read_image(folder: Path, parts: Mapping[str, str]) -> InputImage:
    """Return an image saved with a sweep file.

    The image keeps its stored identity: a Python image is identified by its pixels, not by its encoded file.

    Raises
    ------
    ImageError
        If the file is missing or has changed.
    """
    if set(parts) != {"file", "name", "identity", "sha256"}:
        raise ImageError("!image needs file, name, identity and sha256, and nothing else")
    image = open_input(folder / Path(parts["file"]), name=parts["name"])
    if image.content_sha256 != parts["sha256"]:
        raise ImageError(f"{parts['file']} has changed; use file:PATH instead")
    return replace(image, content_sha256=parts["identity"], source="")
