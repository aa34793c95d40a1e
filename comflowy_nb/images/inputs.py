"""Copies of uploaded input images, named by the hash of their content, in the folder `inputs` of the home folder."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from comflowy_nb.database.connection import make_folder
from comflowy_nb.errors import HistoryError
from comflowy_nb.workflow.files import write_file

if TYPE_CHECKING:
    from pathlib import Path

    from comflowy_nb.workflow.images import InputImage


_SHA256 = re.compile(r"[0-9a-f]{64}")


def store_input(folder: Path, image: InputImage) -> None:
    """Store a copy of an input image, unless there is one.

    Raises
    ------
    OSError, HistoryError
        If the copy can't be written.
    """
    path = _input_path(folder, image.content_sha256)
    if path is not None and not path.exists():
        make_folder(folder)
        write_file(path, image.load())


def stored_input(folder: Path, content_sha256: str) -> bytes | None:
    """Return the stored copy of an uploaded image, or None.

    Raises
    ------
    HistoryError
        If the copy can't be read.
    """
    path = _input_path(folder, content_sha256)
    try:
        return None if path is None else path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise HistoryError(f"a stored input image can't be read: {error.strerror}") from error


def _input_path(folder: Path, content_sha256: str) -> Path | None:
    return folder / content_sha256 if _SHA256.fullmatch(content_sha256) else None
