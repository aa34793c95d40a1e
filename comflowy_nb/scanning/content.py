"""Find secrets in texts and binary contents: base64 in texts, metadata of images, members of zip files."""

from __future__ import annotations

import base64
import binascii
import io
import re
import zipfile
import zlib
from typing import TYPE_CHECKING

from comflowy_nb.errors import ImageError
from comflowy_nb.images.strip import embedded_texts
from comflowy_nb.scanning.patterns import Match, find_secrets

if TYPE_CHECKING:
    from collections.abc import Iterator


MAX_BYTES = 512 * 1024 * 1024  # of one file, and of all members of a zip file
_MAX_DEPTH = 4  # of files in files, such as base64 in a zip file in base64
_IMAGE_MAGIC = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF", b"GIF8", b"II*\0", b"MM\0*", b"\0\0\0\x1cftyp")
ZIP_MAGIC = b"PK\x03\x04"

# A data URI, or base64 that begins like a PNG, JPEG, WebP, GIF or zip file; on one line, or in lines as in MIME.
_BASE64 = re.compile(
    r"(?:\bdata:[\w.+/-]{0,100}(?:;[\w.+=-]{1,60}){0,4};base64,(?:\\[nr]|\s)*"
    r"|(?<![A-Za-z0-9+/])(?=iVBORw0KGgo|/9j/|UklGR|R0lGOD|UEsDB))"
    r"(?P<data>(?:[A-Za-z0-9+/_-]{16,}(?:\\[nr]|\s)*)*[A-Za-z0-9+/_-]*={0,2})"
)
_LINE_BREAKS = re.compile(r"\\[nr]|\s")
# A line of base64 as MIME and PEM have it. No token is as long without a hyphen, an underscore or a dot.
_BASE64_LINE = re.compile(r"(?:^|(?<=\s)|(?<=\\[nr]))[A-Za-z0-9+/]{60,}={0,2}(?=\\[nr]|\s|$)")
_WIDE_TEXT = re.compile(rb"(?:[ -~]\0){8,}|(?:\0[ -~]){8,}")  # UTF-16
_CONTROL = bytes({*range(32), 127} - set(b"\t\n\v\f\r\x1b"))
_BINARY_SHARE = 0.02  # control characters; text has none
_TEXT_IN_BINARY = re.compile(rb"(?:[\t\n\r\x1b -~]|[\xc2-\xf4][\x80-\xbf]{1,3}){8,}")  # no secret is shorter
_BLOB = re.compile(r"[A-Za-z0-9+/]{4096,}={0,2}")  # base64 of another content: not searched


class UnreadableError(Exception):
    """A file, or a part of it, can't be searched. The text is the reason."""


def secrets_in_text(text: str, *, depth: int = 0) -> list[Match]:
    """Return the secrets in a text, and in the files that it contains as base64.

    Parameters
    ----------
    text : str
        A plain text, a page, or a source of a cell.
    depth : int, default 0
        The number of files in which this text is nested. From 4 on, base64 is not decoded.

    Returns
    -------
    list of Match
        The secrets. Secrets in base64 have no line.
    """
    found: list[Match] = []

    def search_base64(match: re.Match[str]) -> str:
        if len(match["data"]) < 16:
            return match[0]
        content = decode_base64(match["data"])
        if content:
            found.extend(_without_lines(secrets_in_bytes(content, depth=depth + 1)))
        has_breaks = _LINE_BREAKS.search(match[0])  # then words after the base64 may be in the match, also a token
        return _BASE64_LINE.sub("", match["data"]) if has_breaks else ""

    if depth < _MAX_DEPTH:
        text = _BASE64.sub(search_base64, text)
    return [*find_secrets(_BLOB.sub("", text)), *found]


def decode_base64(text: str) -> bytes | None:
    """Return the content of base64, in its usual and its URL-safe alphabet; None if the text is not base64."""
    joined = _LINE_BREAKS.sub("", text).translate({ord("-"): "+", ord("_"): "/"}).rstrip("=")
    try:
        return base64.b64decode(joined[: len(joined) - (len(joined) % 4 == 1)] + "=" * (-len(joined) % 4))
    except (binascii.Error, ValueError):
        return None


def secrets_in_bytes(content: bytes, *, depth: int = 0) -> list[Match]:
    """Return the secrets in an image's metadata, in the members of a zip file, or in text.

    Parameters
    ----------
    content : bytes
        The content of a file.
    depth : int, default 0
        The number of files in which this content is nested. From 4 on, zip files are not opened.

    Returns
    -------
    list of Match
        The secrets. Secrets in images and zip files have no line.

    Raises
    ------
    UnreadableError
        If a zip file is damaged, encrypted or too large.
    """
    if content.startswith(_IMAGE_MAGIC):
        return _without_lines(_secrets_in_image(content, depth))
    if content.startswith(ZIP_MAGIC) and depth < _MAX_DEPTH:
        members = zip_members(content)
        return _without_lines([match for _, member in members for match in secrets_in_bytes(member, depth=depth + 1)])
    return secrets_in_text(decode_text(content), depth=depth)


def decode_text(content: bytes) -> str:
    """Decode UTF-8 or UTF-16. In other bytes, keep the parts that can be text, one character per byte."""
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return content.decode("utf-16", errors="replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return "\n".join([_text_of_bytes(content), *_wide_texts(content)])


def _text_of_bytes(content: bytes) -> str:
    """Return the parts of binary content that can be text, decoded as Latin-1."""
    is_binary = len(content) - len(content.translate(None, _CONTROL)) > _BINARY_SHARE * len(content)
    parts = _TEXT_IN_BINARY.findall(content) if is_binary else [content]
    return b"\0".join(parts).decode("latin-1")


def zip_members(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the name and the content of each member of a zip file.

    Raises
    ------
    UnreadableError
        If it is damaged, encrypted or too large.
    """
    left = MAX_BYTES
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for info in archive.infolist():
                with archive.open(info) as member:
                    data = member.read(left + 1)  # the size in the header may be wrong
                left -= len(data)
                if left < 0:
                    raise UnreadableError(f"its members have more than {MAX_BYTES // 1024**2} MiB")
                yield info.filename, data
            if archive.comment:
                yield "comment", archive.comment
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError, NotImplementedError) as error:
        raise UnreadableError("the zip file is damaged or encrypted") from error


def _secrets_in_image(content: bytes, depth: int) -> list[Match]:
    try:
        chunks = embedded_texts(content)
    except ImageError:
        chunks = [content]  # damaged, or a format without a reader: tokens that are not compressed are found
    texts = [text for chunk in chunks for text in (_text_of_bytes(chunk), *_wide_texts(chunk))]
    return [match for text in texts for match in secrets_in_text(text, depth=depth + 1)]


def _wide_texts(chunk: bytes) -> list[str]:
    """Return the UTF-16 texts within bytes, such as an Exif comment."""
    spaced = chunk.replace(b"UNICODE\0", b"UNICODE \0\0")
    return [match[0].replace(b"\0", b"").decode("ascii") for match in _WIDE_TEXT.finditer(spaced)]


def _without_lines(matches: list[Match]) -> list[Match]:
    return list(dict.fromkeys(Match(match.kind, None) for match in matches))
