"""Uploaded image files. This module imports no numpy, because the server imports it."""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path
from typing import Final

EXAMPLE_IMAGE: Final = "example.png"  # always available: from the package if the folder has no file of this name

_ENDINGS = ((b"\x89PNG\r\n\x1a\n", ".png"), (b"\xff\xd8\xff", ".jpg"), (b"GIF8", ".gif"), (b"BM", ".bmp"))


def keep_input(folder: Path, content: bytes) -> str:
    """Write an uploaded image into the folder and return its name there.

    The name is made from the content, so the file name of the sender has no effect, and an image that is uploaded twice
    is one file. As on ComfyUI, the content is checked when a run loads it.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    name = hashlib.sha256(content).hexdigest()[:32] + _ending(content)
    path = folder / name
    if not path.exists():
        part = folder / f"{name}.{secrets.token_hex(4)}.part"
        try:
            with part.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    return name


def _ending(content: bytes) -> str:
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return ".webp"
    return next((ending for magic, ending in _ENDINGS if content.startswith(magic)), ".bin")


def input_path(folder: Path, name: str) -> Path:
    """Return the path of a file that LoadImage names.

    Raises
    ------
    ValueError
        If the name leads out of the folder (also by a link), or the file does not exist.
    """
    problem = f"Invalid image file: {name}"
    plain = name.removesuffix(" [input]")
    if not plain or "\0" in plain or "\\" in plain or len(plain) > 1024:
        raise ValueError(problem)
    try:
        path = (folder / plain).resolve()
        inside = path.is_relative_to(folder.resolve())
        if inside and path.is_file():
            return path
    except OSError:
        inside = False
    if inside and plain == EXAMPLE_IMAGE:
        return Path(__file__).with_name("example.jpg")
    raise ValueError(problem)
