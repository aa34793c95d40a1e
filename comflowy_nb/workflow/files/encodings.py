"""Text in the encodings that editors and shells write: UTF-8, UTF-16 and UTF-32, with or without a BOM."""

from __future__ import annotations

import json
import re

__all__ = ["decode_text", "without_bom"]

_BOM = re.compile(r"\A(\s*)\ufeff+")


def decode_text(content: bytes) -> str:
    """Decode text whose first two characters are ASCII, or that begins with a BOM. Line ends become line feeds.

    The shell of Windows writes UTF-16 where output is redirected to a file.

    Raises
    ------
    UnicodeDecodeError
        If it is in another encoding.
    """
    text = content.decode(json.detect_encoding(content))  # also right for YAML: its first characters are ASCII
    return without_bom(text.replace("\r\n", "\n").replace("\r", "\n"))


def without_bom(text: str) -> str:
    """Remove a BOM before the first character that is not white space, as pasted text may have one."""
    return _BOM.sub(r"\1", text)
