"""Open an untrusted archive: check each name, size and content before use.

No file is extracted under its own name. The caller reads the files of the manifest, and chooses their paths.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import stat
import struct
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any

from comflowy_nb.archive.manifest import MANIFEST, MAX_MANIFEST_BYTES, decode_manifest, load_error, opened
from comflowy_nb.errors import ImageError
from comflowy_nb.settings import settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from comflowy_nb.archive.manifest import Manifest


_MAX_FILES = 100_000
_MAX_READ_BYTES = 32 * 1024 * 1024  # zipfile reads the whole file list in one call
_MAX_RATIO = 10  # of the uncompressed size to the file size; images hardly compress
_CHUNK_BYTES = 1024 * 1024
_MAX_NAME_CHARS = 300
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_DRIVE = re.compile(r"[A-Za-z]:")
_COMPRESSIONS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
_ZIP_ERRORS = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, struct.error, ValueError)


class OpenArchive:
    """An open archive: its manifest, and the verified content of its files."""

    def __init__(self, archive: zipfile.ZipFile, name: str, size_bytes: int) -> None:
        self.name = name
        self._archive = archive
        self._infos = _checked_infos(archive, name, size_bytes)
        if MANIFEST not in self._infos:
            raise ImageError(f"{name} is not an archive that comflowy_nb has saved: it has no {MANIFEST}")
        self.manifest: Manifest = decode_manifest(self._read(MANIFEST, MAX_MANIFEST_BYTES), name)
        for file, _ in self.manifest.files():
            if file not in self._infos or file == MANIFEST:
                raise load_error(name, f"its file {file[:80]!r} is missing")

    def read(self, file: str, sha256: str) -> bytes:
        """Return the content of a file that the manifest names.

        Raises
        ------
        ImageError
            If it is too large, can't be read, or has another sha256.
        """
        content = self._read(file, settings.image_max_bytes)
        if hashlib.sha256(content).hexdigest() != sha256:
            raise load_error(self.name, f"the sha256 of its file {file[:80]!r} differs from the manifest")
        return content

    def _read(self, file: str, max_bytes: int) -> bytes:
        info = self._infos[file]
        if info.file_size > max_bytes:
            raise load_error(self.name, f"its file {file[:80]!r} is larger than {max_bytes // 2**20} MiB")
        parts, read_bytes = [], 0
        try:
            with self._archive.open(info) as stream:
                while chunk := stream.read(_CHUNK_BYTES):
                    read_bytes += len(chunk)
                    if read_bytes > info.file_size:
                        raise zipfile.BadZipFile("longer than declared")
                    parts.append(chunk)
        except _ZIP_ERRORS:
            raise load_error(self.name, f"its file {file[:80]!r} is damaged") from None
        if read_bytes != info.file_size:
            raise load_error(self.name, f"its file {file[:80]!r} is shorter than declared")
        return b"".join(parts)


@contextlib.contextmanager
def open_archive(path: Path) -> Iterator[OpenArchive]:
    """Open a zip file that `save` has written.

    Raises
    ------
    ImageError
        If it does not exist, is not an archive, or contains anything that `save` never writes: absolute paths, links,
        duplicate names, wrong sizes.
    """
    with opened(path) as file:
        size_bytes = path.stat().st_size
        try:
            archive = zipfile.ZipFile(_BoundedFile(file))
        except _ZIP_ERRORS:
            raise ImageError(f"{path.name} is not a zip file, or it is damaged") from None
        with archive:
            yield OpenArchive(archive, path.name, size_bytes)


class _BoundedFile:
    """Limit each read of a file to 32 MiB, because zipfile trusts the declared size of the file list."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, count: int = -1) -> bytes:
        content = self._file.read(_MAX_READ_BYTES + 1 if count < 0 else min(count, _MAX_READ_BYTES + 1))
        if len(content) > _MAX_READ_BYTES:
            raise zipfile.BadZipFile("the list of files is too long")
        return content

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def _checked_infos(archive: zipfile.ZipFile, name: str, size_bytes: int) -> dict[str, zipfile.ZipInfo]:
    """Return the files by name. Raise an ImageError for a file that `save` never writes."""
    infos = archive.infolist()
    if len(infos) > _MAX_FILES:
        raise load_error(name, f"it has {len(infos):,} files, more than {_MAX_FILES:,}")
    found: dict[str, zipfile.ZipInfo] = {}
    folded: set[str] = set()
    for info in infos:
        problem = _problem_of(info)
        if problem is not None:
            raise load_error(name, f"its file {info.orig_filename[:80]!r} {problem}")
        if info.filename.casefold() in folded:
            raise load_error(name, f"its file {info.filename[:80]!r} occurs twice")
        folded.add(info.filename.casefold())
        if not info.is_dir():
            found[info.filename] = info
    total = sum(info.file_size for info in infos if info.filename != MANIFEST)
    if total > _MAX_RATIO * size_bytes:
        raise load_error(name, f"its files would be {total / size_bytes:,.0f} times as large as the zip file")
    return found


def _problem_of(info: zipfile.ZipInfo) -> str | None:
    """Return why a file is rejected, as text after its name; None if it is accepted."""
    name = info.orig_filename  # zipfile cuts `filename` at a NUL, and replaces backslashes on Windows
    parts = PurePosixPath(name).parts
    if _CONTROL.search(name) or not name or len(name) > _MAX_NAME_CHARS:
        return "has a name with control characters, or one that is too long"
    if name.startswith("/") or "\\" in name or _DRIVE.match(name) or ".." in parts:
        return "has a path that leads out of its folder"
    if info.flag_bits & 0x1:
        return "is encrypted"
    file_type = stat.S_IFMT(info.external_attr >> 16)
    if file_type not in {0, stat.S_IFREG, stat.S_IFDIR}:
        return "is a link or a device, not a file"
    if info.compress_type not in _COMPRESSIONS:
        return "is compressed by a method that is not supported"
    return None
