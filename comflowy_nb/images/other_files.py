"""Outputs that are no still images: animations, films, sounds, texts. They are kept as they came, and not decoded."""

from __future__ import annotations

import hashlib
import re
import time
import uuid
from typing import TYPE_CHECKING

from comflowy_nb.database.connection import make_folder
from comflowy_nb.database.records import ImageRecord
from comflowy_nb.images.atomic_files import assert_inside, only_one, plain_disk_errors, receive, stem_of
from comflowy_nb.settings import settings as default_settings
from comflowy_nb.workflow.files.atomic import locked_file

if TYPE_CHECKING:
    from pathlib import Path

    from comflowy_nb.services.base import ImageStream, Output
    from comflowy_nb.settings import Settings

__all__ = ["format_of", "keep_file"]

_ENDING = re.compile(r"[a-z0-9]{1,8}")
_MONTH = "[0-9][0-9][0-9][0-9]-[0-9][0-9]"
_STILL = frozenset({"png", "jpg", "jpeg", "webp"})


def format_of(output: Output) -> str | None:
    """What the history calls a file that is no still image: MP4, WAV, TXT, ANIMATED WEBP; None for an image."""
    if output.ending is None:
        return None
    return f"ANIMATED {output.ending.upper()}" if output.ending in _STILL else output.ending.upper()


def keep_file(
    stream: ImageStream, *, folder: Path, token: str, output: Output, settings: Settings = default_settings
) -> ImageRecord:
    """Receive one file and keep it as `<yyyy-mm>/<token>_<index>.<ending>`, once all its bytes have come.

    Raises
    ------
    ImageError
        If it is cut short or too large; if the disk is full. Nothing is left behind.
    ServiceError
        If the connection breaks.
    """
    stem = stem_of(token, output.index)
    ending = output.ending if output.ending is not None and _ENDING.fullmatch(output.ending) else "bin"
    with plain_disk_errors():
        month = folder / time.strftime("%Y-%m", time.gmtime())
        make_folder(month)
        with only_one(folder / f"{stem}.lock", settings.image_deadline_s):
            for path in [month / f"{stem}.{ending}" for month in sorted(folder.glob(_MONTH))]:
                if path.is_file() and stream.length is not None and path.stat().st_size == stream.length:
                    return _record(output, folder, path, hashlib.sha256(path.read_bytes()).hexdigest())
            path, part = month / f"{stem}.{ending}", month / f"{stem}.{uuid.uuid4().hex[:8]}.part"
            assert_inside(path, folder)
            with locked_file(part, mode=0o600):
                digest = receive(stream, part, settings.image_max_bytes)
                part.replace(path)
    return _record(output, folder, path, digest)


def _record(output: Output, folder: Path, path: Path, sha256: str) -> ImageRecord:
    return ImageRecord(
        output.index,
        output.node,
        output.node_index,
        state="kept",
        file=path.relative_to(folder).as_posix(),
        sha256=sha256,
        size_bytes=path.stat().st_size,
        format=format_of(output),
    )
