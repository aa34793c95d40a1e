"""Text files in the encodings that editors and shells write: UTF-8, UTF-16 and UTF-32, with or without a BOM."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable
    from pathlib import Path

__all__ = ["read_text", "without_bom"]

_BOM = re.compile(r"\A(\s*)\ufeff+")


def read_text(path: Path | Traversable) -> str:
    """Read a text file whose first two characters are ASCII, or that begins with a BOM.

    The shell of Windows writes UTF-16 where output is redirected to a file. Line ends become line feeds.

    Raises
    ------
    OSError
        If the file can't be read.
    UnicodeDecodeError
        If it is in another encoding.
    """
    content = path.read_bytes()
    text = content.decode(json.detect_encoding(content))  # also right for YAML: its first characters are ASCII
    return without_bom(text.replace("\r\n", "\n").replace("\r", "\n"))


def without_bom(text: str) -> str:
    """Remove a BOM before the first character that is not white space, as pasted text may have one."""
    return _BOM.sub(r"\1", text)
