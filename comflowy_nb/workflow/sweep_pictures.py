"""The pictures of a sweep's file: saved beside it, so that the sweep can be run where they came from nowhere else."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from comflowy_nb.errors import PictureError
from comflowy_nb.workflow.pictures import open_picture

if TYPE_CHECKING:
    from collections.abc import Mapping

    from comflowy_nb.workflow.pictures import PictureInput

__all__ = ["read_picture", "save_picture"]


def save_picture(file: Path, picture: PictureInput) -> dict[str, str]:
    """Save a picture in the folder of a sweep's file; what the file says of it.

    Raises
    ------
    PictureError
        If its content is gone.
    OSError
        If it can't be written.
    """
    content = picture.load()
    folder = file.with_name(f"{file.stem}_pictures")
    folder.mkdir(parents=True, exist_ok=True)
    suffix = PurePosixPath(picture.name).suffix.lower()
    name = f"{picture.content_sha256[:16]}{suffix if suffix.isascii() and len(suffix) <= 5 else ''}"
    (folder / name).write_bytes(content)
    return {
        "file": f"{folder.name}/{name}",
        "name": picture.name,
        "identity": picture.content_sha256,
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def read_picture(folder: Path, parts: Mapping[str, str]) -> PictureInput:
    """The picture that a sweep's file speaks of.

    Its identity is the one it had: an image of Python goes by its pixels, not by the file that they were packed into.

    Raises
    ------
    PictureError
        If the file is gone, or is another one now.
    """
    if set(parts) != {"file", "name", "identity", "sha256"}:
        raise PictureError("!picture has file, name, identity and sha256")
    picture = open_picture(folder / Path(parts["file"]), name=parts["name"])
    if picture.content_sha256 != parts["sha256"]:
        raise PictureError(f"{parts['file']} is another picture now; name it as file:PATH instead")
    return replace(picture, content_sha256=parts["identity"])
