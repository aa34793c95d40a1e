"""Images handed over as inputs of runs."""

from __future__ import annotations

import hashlib
import os
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["keep_input"]

_ENDINGS = ((b"\x89PNG\r\n\x1a\n", ".png"), (b"\xff\xd8\xff", ".jpg"), (b"GIF8", ".gif"), (b"BM", ".bmp"))


def keep_input(folder: Path, content: bytes) -> str:
    """Write an image into the folder and return its name there.

    The name is made from the content alone, so the sender's file name can't lead anywhere, and the same image handed
    over twice is one file. As on ComfyUI, whether it really is an image shows when a run loads it.

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
