"""Search files and folders for secrets: notebooks, texts, pages, images and zip files."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from comflowy_nb.scanning.content import (
    MAX_BYTES,
    ZIP_MAGIC,
    UnreadableError,
    decode_text,
    secrets_in_bytes,
    secrets_in_text,
    zip_members,
)  # fmt: skip
from comflowy_nb.scanning.notebooks import blank, find_in_notebook, format_notebook, parse_notebook
from comflowy_nb.scanning.patterns import find_secrets
from comflowy_nb.workflow.files import atomic_write

if TYPE_CHECKING:
    from collections.abc import Iterator


# Not searched: version control keeps other contents, and tools create the other folders.
SKIPPED_FOLDERS = frozenset(
    {
        ".git", ".hg", ".svn", ".venv", "venv", ".tox", ".nox", "node_modules", "__pycache__", ".mypy_cache",
        ".ruff_cache", ".pytest_cache", ".hypothesis",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Finding:
    """A secret in a file: its position and kind, without the secret.

    Attributes
    ----------
    where
        The part of the file: `cell 3, line 2`, `line 5`, `member manifest.json`; empty for the whole file.
    kind
        The kind of the secret, as text for the user.
    is_blanked
        Whether the part was removed from the file.
    """

    where: str
    kind: str
    is_blanked: bool = False


def files_in(path: Path) -> Iterator[Path]:
    """Yield a file, or the files of a folder and its subfolders by name, without `SKIPPED_FOLDERS`."""
    if not path.is_dir():
        yield path
        return
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if name not in SKIPPED_FOLDERS)
        for name in sorted(names):
            file = Path(folder, name)
            if file.is_file():  # not a socket, a pipe or a broken link
                yield file


def scan_file(path: Path, *, fix: bool = False) -> list[Finding]:
    """Return the secrets in a file.

    Parameters
    ----------
    path : Path
        A notebook, a text, a page, an image or a zip file.
    fix : bool, default False
        Blank the outputs of a notebook that contain secrets. The file is replaced atomically.

    Returns
    -------
    list of Finding
        Empty if there are none.

    Raises
    ------
    UnreadableError
        If the file can't be read or written, is too large, or is a damaged or encrypted zip file.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UnreadableError(f"it has more than {MAX_BYTES // 1024**2} MiB")
        content = path.read_bytes()
    except OSError as error:
        raise UnreadableError(error.strerror or type(error).__name__) from error
    if path.suffix == ".ipynb":
        findings = _scan_notebook(decode_text(content), path if fix else None)
        if findings is not None:
            return findings
    return _scan_content(content)


def _scan_content(content: bytes) -> list[Finding]:
    if content.startswith(ZIP_MAGIC):
        found = [
            Finding(", ".join(part for part in (f"member {shown_name(name)}", finding.where) if part), finding.kind)
            for name, member in zip_members(content)
            for finding in _scan_member(name, member)
        ]
    else:
        found = _scan_bytes(content)
    return list(dict.fromkeys(found))


def _scan_bytes(content: bytes, *, depth: int = 0) -> list[Finding]:
    matches = secrets_in_bytes(content, depth=depth)
    return [Finding("" if match.line is None else f"line {match.line}", match.kind) for match in matches]


def _scan_member(name: str, content: bytes) -> list[Finding]:
    findings = _scan_notebook(decode_text(content), None) if name.endswith(".ipynb") else None
    if findings is None:
        findings = _scan_bytes(content, depth=1)
    return [*findings, *(Finding("name", match.kind) for match in secrets_in_text(name))]


def _scan_notebook(text: str, path_to_fix: Path | None) -> list[Finding] | None:
    """Return the secrets in a notebook; None for another file, which is searched as text."""
    notebook = parse_notebook(text)
    if notebook is None:
        return None
    parts = list(find_in_notebook(notebook))
    is_fixed = path_to_fix is not None and any(part.can_blank for part in parts)
    if is_fixed and path_to_fix is not None:
        blank(notebook, parts)
        _replace(path_to_fix, format_notebook(notebook, text))
    found = [Finding(part.where, part.match.kind, is_blanked=is_fixed and part.can_blank) for part in parts]
    return list(dict.fromkeys(found))


def _replace(path: Path, text: str) -> None:
    """Replace a file atomically. Keep its permissions; for a symbolic link, replace the target."""
    try:
        target = path.resolve()
        mode = target.stat().st_mode & 0o777
        with atomic_write(target, mode=mode) as part:
            part.write_bytes(text.encode("utf-8"))
            part.chmod(mode)
    except OSError as error:
        raise UnreadableError(f"the outputs could not be blanked: {error.strerror}") from error


def shown_name(name: str) -> str:
    """Return a file name for the terminal: without control characters, and hidden if it contains a secret."""
    printable = re.sub(r"[^\x20-\x7e\xa0-\ud7ff\ue000-\uffff\U00010000-\U0010ffff]", "?", name)
    return "*** (the name contains a secret)" if find_secrets(name) else printable
