"""Pictures on disk: received, checked, kept under names of our own, with thumbnails and a sidecar beside them.

A picture's file appears under its name only when every byte of it has been counted and decoded.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import time
import uuid
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout

from comflowy_nb.errors import PictureError
from comflowy_nb.runs.decode import decode_picture
from comflowy_nb.runs.record import PictureRecord
from comflowy_nb.runs.store import make_folder
from comflowy_nb.runs.thumbnails import THUMBNAIL_SIZES_PX, make_thumbnails
from comflowy_nb.settings import settings as default_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from PIL import Image

    from comflowy_nb.runs.record import RunRecord
    from comflowy_nb.services.base import Output, PictureStream
    from comflowy_nb.settings import Settings

__all__ = ["adopt_picture", "keep_picture", "picture_path", "thumbnail_path", "utc", "write_file", "write_sidecar"]

_TOKEN = re.compile(r"[0-9A-Za-z-]{1,64}")
_MONTH = "[0-9][0-9][0-9][0-9]-[0-9][0-9]"
_RANDOM = "[0-9a-f]" * 8
_EXTENSIONS = {"PNG": "png", "JPEG": "jpg", "WEBP": "webp"}


def keep_picture(
    stream: PictureStream, *, folder: Path, token: str, output: Output, settings: Settings = default_settings
) -> PictureRecord:
    """Receive one picture and keep it with its thumbnails.

    Parameters
    ----------
    folder
        The pictures' folder; the file is `<yyyy-mm>/<token>_<index>.<ext>` in it.
    token
        Ours for the run. Nothing of a file's name comes from the service.

    Returns
    -------
    The picture's record, `kept`.

    Raises
    ------
    PictureError
        If it is truncated, too large, or no picture; if the disk is full. Nothing is left behind.
    ServiceError
        If the connection breaks.
    """
    stem = _stem(token, output.index)
    with _plain_disk_errors():
        month = folder / time.strftime("%Y-%m", time.gmtime())
        make_folder(month)
        # Another process may be receiving the same picture: it is waited for, and what it made is taken.
        with _only_one(folder / f"{stem}.lock", settings.picture_deadline_s):
            kept = adopt_picture(folder=folder, token=token, output=output, settings=settings, length=stream.length)
            if kept is not None:
                return kept
            for stale in folder.glob(f"{_MONTH}/{stem}.{_RANDOM}.part"):  # of a download that was killed
                stale.unlink(missing_ok=True)
            part = month / f"{stem}.{uuid.uuid4().hex[:8]}.part"
            try:
                digest = _receive(stream, part, settings.picture_max_bytes)
                image, kind = decode_picture(part, max_px=settings.picture_max_px)
                path = month / f"{stem}.{_EXTENSIONS[kind]}"
                _assert_inside(path, folder)
                size_bytes = part.stat().st_size
                part.replace(path)
            except BaseException:
                part.unlink(missing_ok=True)
                raise
            _add_thumbnails(image, path, settings)
    return _record(output, folder, path, image=image, kind=kind, sha256=digest, size_bytes=size_bytes)


def adopt_picture(
    *, folder: Path, token: str, output: Output, settings: Settings = default_settings, length: int | None = None
) -> PictureRecord | None:
    """The record of a picture that is on disk already, decoded in full; None if there is none, or a damaged one."""
    stem = _stem(token, output.index)
    for path in sorted(folder.glob(f"{_MONTH}/{stem}.*")):
        if path.name not in {f"{stem}.{extension}" for extension in _EXTENSIONS.values()}:
            continue
        try:
            content = path.read_bytes()
            if length is not None and len(content) != length:
                continue
            image, kind = decode_picture(path, max_px=settings.picture_max_px)
            if path.suffix != f".{_EXTENSIONS[kind]}":
                continue
            _add_thumbnails(image, path, settings)
        except (PictureError, FileNotFoundError):
            continue
        sha256 = hashlib.sha256(content).hexdigest()
        return _record(output, folder, path, image=image, kind=kind, sha256=sha256, size_bytes=len(content))
    return None


def picture_path(folder: Path, picture: PictureRecord) -> Path:
    """Where a kept picture is, whether or not it is still there.

    Raises
    ------
    PictureError
        If the record names no file, or one outside the pictures' folder.
    """
    if not picture.file:
        raise PictureError(
            f"picture [{picture.index}] is not on disk" + (f": {picture.error}" if picture.error else "")
        )
    path = folder / picture.file
    _assert_inside(path, folder)
    return path


def thumbnail_path(folder: Path, picture: PictureRecord, size_px: int) -> Path:
    """A JPEG of the picture that fits into `size_px` x `size_px` (512 or 256), made again if it is gone.

    Raises
    ------
    PictureError
        If neither it nor the picture is there.
    """
    if size_px not in THUMBNAIL_SIZES_PX:
        raise ValueError(f"thumbnails are {THUMBNAIL_SIZES_PX} px, not {size_px}")
    path = picture_path(folder, picture)
    thumbnail = path.with_suffix(f".t{size_px}.jpg")
    if not thumbnail.exists():
        if not path.exists():
            raise PictureError(f"picture [{picture.index}] is not on disk any more")
        with _plain_disk_errors():
            image, _ = decode_picture(path, max_px=default_settings.picture_max_px)
            make_thumbnails(image, path, quality=default_settings.jpeg_quality)
    return thumbnail


def write_sidecar(folder: Path, record: RunRecord) -> Path | None:
    """Write `<token>.json` beside a run's first kept picture; its path, or None where nothing is kept yet.

    Raises
    ------
    PictureError
        If the disk is full.
    """
    kept = [picture for picture in record.pictures if picture.state == "kept"]
    if not kept:
        return None
    if not _TOKEN.fullmatch(record.token):
        raise PictureError("the run's token can't be a file's name")
    path = picture_path(folder, kept[0]).with_name(f"{record.token}.json")
    content = json.dumps(_sidecar(record), indent=2, ensure_ascii=True)
    with _plain_disk_errors():
        write_file(path, content.encode())
    return path


def write_file(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    try:
        with part.open("xb") as file:
            file.write(content)
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def _receive(stream: PictureStream, part: Path, max_bytes: int) -> str:
    """Stream into a new file; the sha256 of what came."""
    expected = stream.length
    if expected is not None and expected > max_bytes:
        raise PictureError(_too_large(max_bytes))
    digest, count = hashlib.sha256(), 0
    descriptor = os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0), 0o600)
    with os.fdopen(descriptor, "wb", buffering=0) as file:
        for chunk in stream.chunks():
            count += len(chunk)
            if count > max_bytes:
                raise PictureError(_too_large(max_bytes))
            digest.update(chunk)
            _write_all(file, chunk)
    if expected is not None and count != expected:
        raise PictureError(f"the picture was cut short: {count} of {expected} bytes came")
    if count == 0:
        raise PictureError("the picture was empty")
    return digest.hexdigest()


def _write_all(file: Any, chunk: bytes) -> None:
    left = memoryview(chunk)
    while left:
        left = left[file.write(left) :]


def _add_thumbnails(image: Image.Image, path: Path, settings: Settings) -> None:
    # The picture is there, and that counts: a thumbnail that finds no room is made when it is asked for.
    with contextlib.suppress(OSError):
        make_thumbnails(image, path, quality=settings.jpeg_quality)


def _too_large(max_bytes: int) -> str:
    return f"the picture is larger than {max_bytes / 2**20:g} MiB (%config Comflowy.picture_max_bytes)"


def _stem(token: str, index: int) -> str:
    if not _TOKEN.fullmatch(token) or index < 0:
        raise PictureError("the run's token can't be a file's name")
    return f"{token}_{index}"


def _assert_inside(path: Path, folder: Path) -> None:
    if not path.resolve().is_relative_to(folder.resolve()):
        raise PictureError("the picture's file would be outside the pictures' folder")


def _record(
    output: Output, folder: Path, path: Path, *, image: Image.Image, kind: str, sha256: str, size_bytes: int
) -> PictureRecord:
    return PictureRecord(
        output.index,
        output.node,
        output.node_index,
        state="kept",
        file=path.relative_to(folder).as_posix(),
        sha256=sha256,
        size_bytes=size_bytes,
        width_px=image.width,
        height_px=image.height,
        format=kind,
    )


def _sidecar(record: RunRecord) -> dict[str, Any]:
    return {
        "comflowy_nb": 1,
        "run": record.token,
        "ref": record.ref,
        "name": record.name,
        "service": record.service,
        "service_run_id": record.service_run_id,
        "workflow": record.workflow,
        "workflow_id": record.workflow_id,
        "params": dict(record.params),
        "set_params": list(record.set_params),
        "key": record.key,
        "status": str(record.status),
        "created_at": utc(record.created_at),
        "accepted_at": utc(record.accepted_at),
        "finished_at": utc(record.finished_at),
        "pictures": [
            {
                "index": picture.index,
                "node": picture.node,
                "node_index": picture.node_index,
                "state": picture.state,
                "file": picture.file,
                "sha256": picture.sha256,
                "width_px": picture.width_px,
                "height_px": picture.height_px,
                "error": picture.error,
            }
            for picture in record.pictures
        ],
    }


def utc(seconds: float | None) -> str | None:
    """Seconds since 1970 as `2026-01-31T12:00:00.123Z`."""
    if seconds is None:
        return None
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds)) + f".{int(seconds % 1 * 1000):03d}Z"


@contextlib.contextmanager
def _only_one(path: Path, timeout_s: float) -> Iterator[None]:
    lock = FileLock(path, timeout=timeout_s, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        raise PictureError("another process is still receiving the same picture") from None
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            path.unlink()
        lock.release()
        with contextlib.suppress(OSError):  # where an open file can't be removed
            path.unlink()


@contextlib.contextmanager
def _plain_disk_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            why = "the disk is full"
        elif error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
            why = "the pictures' folder can't be written to"
        else:
            why = error.strerror or type(error).__name__
        raise PictureError(f"the picture can't be kept: {why}") from error
