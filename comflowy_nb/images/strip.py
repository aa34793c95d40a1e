"""Remove the metadata of PNG, JPEG and WebP files. Compressed pixels are copied, not decoded.

The Exif orientation and the colour profile are kept, because they determine how the pixels are shown.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

from PIL import Image

from comflowy_nb.errors import ImageError
from comflowy_nb.images.decode import PNG_MAGIC, png_chunks

if TYPE_CHECKING:
    from collections.abc import Iterator


# Chunks that belong to the pixels; all others are text, times, Exif data or chunks of other programs.
_PNG_KEPT = frozenset(
    b"IHDR PLTE IDAT IEND tRNS gAMA cHRM sRGB iCCP sBIT bKGD hIST pHYs acTL fcTL fdAT cICP mDCV cLLI".split()
)
_WEBP_KEPT = frozenset({b"VP8X", b"VP8 ", b"VP8L", b"ALPH", b"ANIM", b"ICCP"})
_FRAME_KEPT = frozenset({b"VP8 ", b"VP8L", b"ALPH"})  # chunks inside ANMF, a frame of an animation
_FRAME_HEAD_BYTES = 16
_WEBP_EXIF_FLAG, _WEBP_XMP_FLAG, _WEBP_PROFILE_FLAG = 0x08, 0x04, 0x20

_SOI, _EOI, _SOS, _APP0, _APP1, _APP2, _APP14, _COM = 0xD8, 0xD9, 0xDA, 0xE0, 0xE1, 0xE2, 0xEE, 0xFE
_JPEG_KEPT = frozenset({0xC4, 0xDB, 0xDD, _SOS, *(set(range(0xC0, 0xD0)) - {0xC8, 0xCC})})  # tables and frames
_EXIF_HEAD = b"Exif\0\0"
_ORIENTATION = 0x0112
_MAX_INFLATED_BYTES = 64 * 1024 * 1024


def strip_metadata(content: bytes, *, keep_profile: bool = True) -> bytes:
    """Return an image file without text, Exif, XMP and other metadata, with the same pixels.

    Parameters
    ----------
    keep_profile
        Keep the colour profile. Without it the colours of some images change a little.

    Raises
    ------
    ImageError
        If the file is damaged, or its format is not PNG, JPEG or WebP.
    """
    kept, dropped = _split(content, keep_profile=keep_profile)
    return b"".join(kept) if dropped or len(b"".join(kept)) != len(content) else content


def embedded_texts(content: bytes) -> list[bytes]:
    """Return the metadata of an image file, with compressed text also decompressed.

    Raises
    ------
    ImageError
        If the file is damaged, or its format is not PNG, JPEG or WebP.
    """
    _, dropped = _split(content, keep_profile=False)
    return [part for chunk in dropped for part in (chunk, *_inflated(chunk))]


def _split(content: bytes, *, keep_profile: bool) -> tuple[list[bytes], list[bytes]]:
    """Return the parts of a file that belong to its pixels, and the other parts."""
    if content.startswith(PNG_MAGIC):
        return _split_png(content, keep_profile=keep_profile)
    if content.startswith(b"\xff\xd8\xff"):
        return _split_jpeg(content, keep_profile=keep_profile)
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return _split_webp(content, keep_profile=keep_profile)
    raise ImageError("the metadata of this format can't be removed: only of PNG, JPEG and WebP")


def _inflated(chunk: bytes) -> Iterator[bytes]:
    """Yield the decompressed content of a compressed chunk of a PNG: zTXt, iTXt or iCCP."""
    if chunk[4:8] not in {b"zTXt", b"iTXt", b"iCCP"}:
        return
    body, at = chunk[8:-4], 0
    while (at := body.find(b"\x78", at)) >= 0:  # where zlib data can begin; the bytes before it are texts
        try:
            yield zlib.decompressobj().decompress(body[at:], _MAX_INFLATED_BYTES)
        except zlib.error:
            at += 1
            continue
        return


# -- PNG --------------------------------------------------------------------------------------------------------------


def _split_png(content: bytes, *, keep_profile: bool) -> tuple[list[bytes], list[bytes]]:
    kept, dropped, end = [PNG_MAGIC], [], len(PNG_MAGIC)
    orientation = 1
    for kind, chunk in png_chunks(content):
        end += len(chunk)
        if kind in _PNG_KEPT and (keep_profile or kind != b"iCCP"):
            kept.append(chunk)
            continue
        dropped.append(chunk)
        if kind == b"eXIf":
            orientation = _orientation_of(chunk[8:-4])
    if orientation != 1:
        body = b"eXIf" + _exif_of(orientation)
        kept.insert(2, struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body)))
    if content[end:]:
        dropped.append(content[end:])
    return kept, dropped


# -- JPEG -------------------------------------------------------------------------------------------------------------


def _split_jpeg(content: bytes, *, keep_profile: bool) -> tuple[list[bytes], list[bytes]]:
    kept, dropped = [content[:2]], []
    orientation, at = 1, 2
    while True:
        start, marker, at = _next_segment(content, at)
        if marker == _EOI:
            kept.append(b"\xff\xd9")
            break
        segment = content[start:at]
        if marker == _SOS:
            at = _end_of_scan(content, at)
            kept.append(content[start:at])
        elif _belongs_to_pixels(marker, segment, keep_profile=keep_profile):
            kept.append(segment)
        else:
            dropped.append(segment)
            if marker == _APP1 and segment[4:].startswith(_EXIF_HEAD):
                orientation = _orientation_of(segment[4 + len(_EXIF_HEAD) :])
    if content[at:]:
        dropped.append(content[at:])
    if orientation != 1:
        body = _EXIF_HEAD + _exif_of(orientation)
        kept.insert(1, b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body)
    return kept, dropped


def _belongs_to_pixels(marker: int, segment: bytes, *, keep_profile: bool) -> bool:
    if marker == _APP0:
        return segment[4:9] == b"JFIF\0" and len(segment) == 18  # a longer segment contains a thumbnail
    if marker == _APP2:
        return keep_profile and segment[4:16] == b"ICC_PROFILE\0"
    if marker == _APP14:
        return segment[4:9] == b"Adobe" and len(segment) == 16
    return marker in _JPEG_KEPT


def _next_segment(content: bytes, at: int) -> tuple[int, int, int]:
    """Return the start, the marker and the end of the segment at a position."""
    start = at
    while content[at : at + 2] == b"\xff\xff":  # fill bytes
        at += 1
    if content[at : at + 1] != b"\xff" or at + 2 > len(content):
        raise ImageError("the JPEG is truncated or damaged: a marker is missing")
    marker = content[at + 1]
    if marker == _EOI:
        return start, marker, at + 2
    length = int.from_bytes(content[at + 2 : at + 4], "big")
    end = at + 2 + length
    if length < 2 or end > len(content):
        raise ImageError("the JPEG is truncated or damaged: a segment is cut short")
    return at, marker, end


def _end_of_scan(content: bytes, at: int) -> int:
    """Return where the compressed pixels end: at the first marker that is not a restart marker."""
    while True:
        at = content.find(b"\xff", at)
        if at < 0 or at + 1 >= len(content):
            raise ImageError("the JPEG is truncated or damaged: it has no end")
        following = content[at + 1]
        if following == 0xFF:
            at += 1
        elif following == 0 or 0xD0 <= following <= 0xD7:  # an escaped 0xFF of the pixels, or a restart marker
            at += 2
        else:
            return at


# -- WebP -------------------------------------------------------------------------------------------------------------


def _split_webp(content: bytes, *, keep_profile: bool) -> tuple[list[bytes], list[bytes]]:
    end = 8 + int.from_bytes(content[4:8], "little")
    kept: list[bytes] = []
    dropped: list[bytes] = []
    orientation = 1
    for kind, body in _riff_chunks(content[12:end]):
        if kind == b"ANMF":
            inner = [_riff_chunk(*chunk) for chunk in _riff_chunks(body[_FRAME_HEAD_BYTES:])]
            dropped += [chunk for chunk in inner if chunk[:4] not in _FRAME_KEPT]
            frame = b"".join(chunk for chunk in inner if chunk[:4] in _FRAME_KEPT)
            kept.append(_riff_chunk(kind, body[:_FRAME_HEAD_BYTES] + frame))
        elif kind in _WEBP_KEPT and (keep_profile or kind != b"ICCP"):
            kept.append(_riff_chunk(kind, body))
        else:
            dropped.append(_riff_chunk(kind, body))
            if kind == b"EXIF":
                orientation = _orientation_of(body.removeprefix(_EXIF_HEAD))
    if content[end:]:
        dropped.append(content[end:])
    if kept and kept[0].startswith(b"VP8X"):
        flags = kept[0][8] & ~(_WEBP_EXIF_FLAG | _WEBP_XMP_FLAG) & (0xFF if keep_profile else ~_WEBP_PROFILE_FLAG)
        if orientation != 1:
            flags |= _WEBP_EXIF_FLAG
            kept.append(_riff_chunk(b"EXIF", _exif_of(orientation)))
        kept[0] = kept[0][:8] + bytes([flags & 0xFF]) + kept[0][9:]
    size = 4 + sum(map(len, kept))
    return [b"RIFF", struct.pack("<I", size), b"WEBP", *kept], dropped


def _riff_chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at + 8 <= len(content):
        length = int.from_bytes(content[at + 4 : at + 8], "little")
        if at + 8 + length > len(content):
            raise ImageError("the WEBP is truncated or damaged: a chunk is cut short")
        yield content[at : at + 4], content[at + 8 : at + 8 + length]
        at += 8 + length + length % 2


def _riff_chunk(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


# -- Exif -------------------------------------------------------------------------------------------------------------


def _orientation_of(exif: bytes) -> int:
    """Return the orientation in Exif data, from 1 (as stored) to 8; 1 if it can't be read."""
    data = Image.Exif()
    try:
        data.load(_EXIF_HEAD + exif)
        orientation = data.get(_ORIENTATION, 1)
    except Exception:  # noqa: BLE001 - Pillow raises many types for invalid data
        return 1
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def _exif_of(orientation: int) -> bytes:
    """Return Exif data with nothing but an orientation, without the header of JPEG."""
    data = Image.Exif()
    data[_ORIENTATION] = orientation
    return data.tobytes().removeprefix(_EXIF_HEAD)
