"""The images that runs load: written when they are uploaded, found by name when a run starts."""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path
from typing import Final

__all__ = ["EXAMPLE_IMAGE", "input_path", "keep_input"]

EXAMPLE_IMAGE: Final = "example.png"  # can always be loaded: from the package, if the folder has no such file

_ENDINGS = ((b"\x89PNG\r\n\x1a\n", ".png"), (b"\xff\xd8\xff", ".jpg"), (b"GIF8", ".gif"), (b"BM", ".bmp"))


def keep_input(folder: Path, content: bytes) -> str:
    """Write an image into the folder and return its name there.

    The name is made from the content alone, so the sender's file name can't lead anywhere, and the same image uploaded
    twice is one file. As on ComfyUI, whether it really is an image shows when a run loads it.

    Raises
    ------
    OSError
        If it can't be written.
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
    """The file of an input folder that a LoadImage names.

    Raises
    ------
    ValueError
        If the name leads out of the folder (also by a link), or no such file is there.
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
