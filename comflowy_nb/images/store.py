"""Store the outputs of runs on disk: images with thumbnails, other files, and a sidecar per run.

A file gets its final name only after its length and, for a still image, its content have been checked.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import time
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from comflowy_nb.database.connection import make_folder
from comflowy_nb.database.records import ImageRecord, run_metadata
from comflowy_nb.errors import ImageError
from comflowy_nb.images.decode import check_image
from comflowy_nb.images.receive import (
    assert_inside,
    exclusive_lock,
    file_stem,
    image_path,
    readable_disk_errors,
    receive,
)
from comflowy_nb.images.thumbnails import announce_thumbnails
from comflowy_nb.services.types import Output
from comflowy_nb.settings import settings
from comflowy_nb.workflow.files import atomic_write, locked_file, write_file
from comflowy_nb.workflow.images import IMAGE_SUFFIXES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from comflowy_nb.database.records import RunRecord
    from comflowy_nb.images.decode import CheckedImage
    from comflowy_nb.services.types import ImageStream


_MONTH = "[0-9][0-9][0-9][0-9]-[0-9][0-9]"
IMAGE_FORMATS = {"PNG": ".png", "JPEG": ".jpg", "WEBP": ".webp"}
_SAFE_SUFFIX = re.compile(r"[a-z0-9]{1,8}")

Defer: TypeAlias = "Callable[[Callable[[], None]], object]"


def _call(function: Callable[[], None]) -> None:
    function()


# -- outputs -------------------------------------------------------------------------------------------------------


def store_output(
    stream: ImageStream,
    *,
    folder: Path,
    token: str,
    output: Output,
    before: ImageRecord | None = None,
    defer: Defer = _call,
) -> ImageRecord:
    """Receive one output of a run and store it as `<yyyy-mm>/<token>_<index>.<suffix>`, an image with thumbnails.

    If an earlier attempt or another process has stored the complete file, nothing is received. An output that was
    downloaded before keeps its folder; its file is replaced if the sha256 differs from the recorded one.

    Parameters
    ----------
    folder
        The images' folder.
    token
        Our token of the run.
    before
        The earlier record of the output; None if it has none.
    defer
        Called with the function that makes the thumbnails, and must call it later. By default it is called at once.

    Returns
    -------
    The record of the output, with the state `kept`.

    Raises
    ------
    ImageError
        If the content is truncated, too large or, for a still image, not a supported format, or if it can't be written.
        No file is left on disk.
    ServiceError
        If the connection breaks.
    """
    stem, checked = file_stem(token, output.index), None
    with readable_disk_errors():
        sha256 = None if before is None else before.sha256
        month = image_path(folder, before).parent if before is not None and before.file else _this_month(folder)
        make_folder(month)
        with exclusive_lock(folder / f"{stem}.lock", settings.image_deadline_s):
            stored = _find_kept(folder, stem, output, stream.length, sha256, defer=defer)
            if stored is not None:
                return stored
            part = month / f"{stem}.{uuid.uuid4().hex[:8]}.part"
            with locked_file(part, mode=0o600):
                with part.open("wb") as file:
                    sha256 = receive(stream, file.write, settings.image_max_bytes)
                if output.ending is None:
                    checked = check_image(part.read_bytes())
                path = month / f"{stem}{_suffix(output, checked)}"
                assert_inside(path, folder)
                part.replace(path)
    return _make_record(output, folder, path, checked, sha256, defer=defer)


@dataclass(frozen=True, slots=True)
class ReceivedImage:
    """A complete still image that is not on disk yet."""

    content: bytes = field(repr=False)
    sha256: str
    checked: CheckedImage


def receive_image(stream: ImageStream) -> ReceivedImage:
    """Receive a still image into memory, and decode it.

    Raises
    ------
    ImageError
        If the content is truncated, too large, or not a supported format.
    ServiceError
        If the connection breaks.
    """
    buffer = bytearray()
    sha256 = receive(stream, buffer.extend, settings.image_max_bytes)
    content = bytes(buffer)
    return ReceivedImage(content, sha256, check_image(content))


def store_received(
    image: ReceivedImage, *, folder: Path, token: str, output: Output, defer: Defer = _call
) -> ImageRecord:
    """Store an image that was received before. No file of this output may be on disk; otherwise as `store_output`."""
    path = _this_month(folder) / f"{file_stem(token, output.index)}{_suffix(output, image.checked)}"
    with readable_disk_errors():
        make_folder(path.parent)
        assert_inside(path, folder)
        with atomic_write(path, mode=0o600) as part:
            part.write_bytes(image.content)
    return _make_record(output, folder, path, image.checked, image.sha256, defer=defer)


def _this_month(folder: Path) -> Path:
    return folder / time.strftime("%Y-%m", time.gmtime())


def find_stored(folder: Path, token: str, image: ImageRecord) -> ImageRecord | None:
    """Return the record of an image whose complete file is on disk, although its row does not say so; else None.

    A process that is killed between the rename of the file and the write of the row leaves such a file.
    """
    output = Output(image.index, image.node, image.node_index, url="")
    with contextlib.suppress(OSError, ImageError):
        return _find_kept(folder, file_stem(token, image.index), output, None, image.sha256, defer=_call)
    return None


def format_of(output: Output) -> str | None:
    """Return the format of a file that is not a still image (MP4, WAV, TXT, ANIMATED WEBP); None for an image."""
    if output.ending is None:
        return None
    is_animation = f".{output.ending}" in IMAGE_SUFFIXES
    return f"ANIMATED {output.ending.upper()}" if is_animation else output.ending.upper()


def _find_kept(
    folder: Path, stem: str, output: Output, length: int | None, sha256: str | None, *, defer: Defer
) -> ImageRecord | None:
    """Return the record of an output whose complete file is on disk; else None. A known sha256 must match."""
    suffixes = IMAGE_FORMATS.values() if output.ending is None else [_suffix(output, None)]
    for path in [month / f"{stem}{suffix}" for month in sorted(folder.glob(_MONTH)) for suffix in suffixes]:
        checked = None
        try:
            content = path.read_bytes()
            if len(content) != length and (length is not None or output.ending is not None):
                continue  # only the content of an image shows whether it is complete if the length is unknown
            if output.ending is None:
                checked = check_image(content)
        except (ImageError, FileNotFoundError):
            continue
        digest = hashlib.sha256(content).hexdigest()
        if path.suffix == _suffix(output, checked) and sha256 in {None, digest}:
            return _make_record(output, folder, path, checked, digest, defer=defer)
    return None


def _suffix(output: Output, checked: CheckedImage | None) -> str:
    if checked is not None:
        return IMAGE_FORMATS[checked.format]
    return f".{output.ending}" if output.ending and _SAFE_SUFFIX.fullmatch(output.ending) else ".bin"


def _make_record(
    output: Output, folder: Path, path: Path, checked: CheckedImage | None, sha256: str, *, defer: Defer
) -> ImageRecord:
    """Return the record of a stored file, and make or defer the thumbnails of an image."""
    if checked is not None and checked.image is not None:
        defer(announce_thumbnails(checked.image, path))
    return ImageRecord(
        output.index,
        output.node,
        output.node_index,
        state="kept",
        file=path.relative_to(folder).as_posix(),
        sha256=sha256,
        size_bytes=path.stat().st_size,
        width_px=checked.size[0] if checked else None,
        height_px=checked.size[1] if checked else None,
        format=checked.format if checked else format_of(output),
        error=checked.problem if checked else None,
    )


# -- sidecars ------------------------------------------------------------------------------------------------------


def write_sidecar(folder: Path, record: RunRecord) -> Path | None:
    """Write `<token>.json`, which describes a run, beside the run's first stored or pruned image.

    Returns
    -------
    The path of the sidecar; None if the run has no stored or pruned image.

    Raises
    ------
    ImageError
        If it can't be written.
    """
    first = next((output for output in record.outputs if output.state in {"kept", "pruned"}), None)
    if first is None:
        return None
    path = image_path(folder, first).with_name(f"{file_stem(record.token)}.json")
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in _sidecar(record).items())
    with readable_disk_errors():
        write_file(path, f"{{\n{lines}\n}}\n".encode())
    return path


def _sidecar(record: RunRecord) -> dict[str, Any]:
    columns = ("index", "node", "node_index", "state", "file", "sha256", "width_px", "height_px", "error")
    return {
        **run_metadata(record),
        "name": record.name,
        "service_run_id": record.service_run_id,
        "key": record.key,
        "status": str(record.status),
        "created_at": utc(record.created_at),
        "accepted_at": utc(record.accepted_at),
        "started_at": utc(record.started_at),
        "finished_at": utc(record.finished_at),
        "seconds": record.seconds,
        "queued_s": record.queued_s,
        "images": [{name: getattr(image, name) for name in columns} for image in record.outputs],
    }


def utc(seconds: float | None) -> str | None:
    """Format seconds since 1970 as `2026-01-31T12:00:00.123Z`; return None for None."""
    if seconds is None:
        return None
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1000):03d}Z"
