"""Store the names that `connect NAME=TARGET` defines, so that `connect NAME` works in a later kernel.

The URLs are stored in the home folder, in a file that only the user can read, and never in a notebook.
"""

from __future__ import annotations

import json
import os
import secrets
from typing import TYPE_CHECKING

from filelock import FileLock

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["read_names", "remember_name"]

_FILE = "servers.json"
_LOCK_S = 10.0


def read_names(home: Path) -> Mapping[str, str]:
    """Return name -> target; an unreadable file counts as empty."""
    try:
        found = json.loads((home / _FILE).read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    pairs = found.items() if isinstance(found, dict) else ()
    return {name: target for name, target in pairs if isinstance(target, str)}


def remember_name(home: Path, name: str, target: str) -> str | None:
    """Store the target of a name; return its previous target, None for a new name.

    Raises
    ------
    OSError
        If the home folder can't be written to, or another process holds the file for too long.
    """
    home.mkdir(parents=True, exist_ok=True)
    with FileLock(home / f"{_FILE}.lock", timeout=_LOCK_S):
        known = read_names(home)
        before = known.get(name)
        if before != target:
            _write(home / _FILE, {**known, name: target})
    return before


def _write(path: Path, names: Mapping[str, str]) -> None:
    part = path.with_name(f"{path.name}.{secrets.token_hex(8)}.part")
    try:
        with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            json.dump(names, file, ensure_ascii=False, indent=2)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
