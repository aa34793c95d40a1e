"""Is it a picture, which kind, and is all of it there? Only a full decode answers that."""

from __future__ import annotations

import io
import struct
import zlib
from typing import TYPE_CHECKING

from PIL import Image, ImageFile, UnidentifiedImageError

from comflowy_nb.errors import PictureError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["PNG_MAGIC", "decode_picture", "png_chunks"]

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_HEAD_BYTES = 64
# What a server may send instead; Pillow is not asked about any of them (EPS would start Ghostscript).
_OTHERS = (
    (b"GIF8", "a GIF"),
    (b"BM", "a BMP"),
    (b"II*\0", "a TIFF"),
    (b"MM\0*", "a TIFF"),
    (b"%!PS", "PostScript"),
    (b"%PDF", "a PDF"),
    (b"\x1a\x45\xdf\xa3", "a film"),
    (b"{", "a text, not a picture"),
)


def decode_picture(source: Path | bytes, *, max_px: int) -> tuple[Image.Image, str]:
    """Decode a file, or its content, in full.

    Parameters
    ----------
    max_px
        The largest width x height that is decoded at all.

    Returns
    -------
    The picture, loaded, and its kind by its first bytes: PNG, JPEG or WEBP.

    Raises
    ------
    PictureError
        If it is truncated, damaged, too large, or not a picture that is kept.
    """
    with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file:
        head = file.read(_HEAD_BYTES)
        kind = _kind(head)
        if kind == "PNG" and head[12:16] == b"IHDR":  # before Pillow, which warns of a size by itself
            width_px, height_px = struct.unpack(">II", head[16:24])
            _check_size(width_px, height_px, max_px)
        file.seek(0)
        try:
            image = Image.open(file, formats=(kind,))
            _check_size(image.width, image.height, max_px)
            # A JPEG of several pictures is read as its first (MPO); an animation is not a picture yet.
            if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
                raise PictureError(f"it is an animation ({kind}), which is not a picture this version keeps")
            image.load()
            _check_end(source, kind)
        except Image.DecompressionBombError as error:
            raise PictureError("it has too many pixels to be decoded") from error
        except (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError, struct.error) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise PictureError(f"the {kind} is truncated or damaged: {error if str(error) else kind}") from error
    return image, kind


def png_chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Each chunk's type and the whole of its bytes (length, type, body, checksum), to the end of the picture.

    Raises
    ------
    PictureError
        If a chunk is cut short or its checksum is wrong.
    """
    position = len(PNG_MAGIC)
    while True:
        if position + 12 > len(content):
            raise PictureError("the PNG is truncated or damaged: it has no end")
        (length,) = struct.unpack(">I", content[position : position + 4])
        end = position + 12 + length
        if end > len(content):
            raise PictureError("the PNG is truncated or damaged: a chunk is cut short")
        checksum = zlib.crc32(memoryview(content)[position + 4 : end - 4])
        if checksum.to_bytes(4, "big") != content[end - 4 : end]:
            raise PictureError("the PNG is truncated or damaged: a checksum is wrong")
        kind = content[position + 4 : position + 8]
        yield kind, content[position:end]
        if kind == b"IEND":
            return
        position = end


def _kind(head: bytes) -> str:
    if head.startswith(PNG_MAGIC):
        return "PNG"
    if head.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WEBP"
    what = next((name for magic, name in _OTHERS if head.startswith(magic)), None)
    if head[4:8] == b"ftyp":
        what = "an AVIF" if head[8:12] in {b"avif", b"avis"} else "a film"
    if head.lstrip().startswith(b"<"):
        what = "a web page or an SVG"
    raise PictureError(f"it is {what or 'of no known kind'}: not a picture this version keeps (PNG, JPEG, WebP)")


def _check_size(width_px: int, height_px: int, max_px: int) -> None:
    if width_px * height_px > max_px:
        raise PictureError(
            f"it is {width_px} x {height_px} pixels, more than {max_px} in all (%config Comflowy.picture_max_px)"
        )


def _check_end(source: Path | bytes, kind: str) -> None:
    """Find a cut end by ourselves: a notebook may have set LOAD_TRUNCATED_IMAGES, with which Pillow forgives it."""
    if kind != "PNG" and not ImageFile.LOAD_TRUNCATED_IMAGES:
        return
    content = source if isinstance(source, bytes) else source.read_bytes()
    if kind == "PNG":
        for _ in png_chunks(content):
            pass
    elif kind == "JPEG" and b"\xff\xd9" not in content[-4096:]:
        raise PictureError("the JPEG is truncated or damaged: it has no end")
    elif kind == "WEBP" and struct.unpack("<I", content[4:8])[0] + 8 > len(content):
        raise PictureError("the WEBP is truncated or damaged: it has no end")
