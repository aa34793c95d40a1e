"""Check that image files are complete, and decode them."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from PIL import ImageFile

from comflowy_nb.errors import ImageError
from comflowy_nb.workflow.images import open_image_file, too_many_pixels

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from PIL import Image

__all__ = ["PNG_MAGIC", "Checked", "check_image", "png_chunks"]

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_HEAD_BYTES = 64
_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error)  # what Pillow raises for a file it can't read
# What a server may send instead; Pillow is not asked about any of them (EPS would start Ghostscript).
_OTHERS = (
    (b"GIF8", "a GIF"),
    (b"BM", "a BMP"),
    (b"II*\0", "a TIFF"),
    (b"MM\0*", "a TIFF"),
    (b"%!PS", "PostScript"),
    (b"%PDF", "a PDF"),
    (b"\x1a\x45\xdf\xa3", "a film"),
    (b"{", "a text, not an image"),
)


@dataclass(frozen=True, slots=True)
class Checked:
    """A complete image file. `image` is None if its pixels can't be decoded here; `problem` says why."""

    kind: str  # PNG, JPEG or WEBP
    size: tuple[int, int]
    image: Image.Image | None = field(default=None, repr=False)
    problem: str | None = None


def check_image(source: Path | bytes, *, max_px: int) -> Checked:
    """Check that an image file, or its content, is complete, and decode it if its size allows.

    An intact file whose pixels can't be decoded (too many of them, too little memory, a variant unknown to Pillow) is
    no error: whoever keeps the file needs only its bytes.

    Parameters
    ----------
    max_px
        The largest width x height that is decoded.

    Raises
    ------
    ImageError
        If the file is truncated, damaged, an animation or not a PNG, JPEG or WebP.
    """
    with io.BytesIO(source) if isinstance(source, bytes) else source.open("rb") as file:
        head = file.read(_HEAD_BYTES)
        kind = _kind(head)
        image, problem = None, None
        try:
            size = _size_in_header(head, kind) or open_image_file(file, formats=[kind]).size
        except _UNREADABLE as error:
            _assert_not_of_disk(error)
            raise ImageError(f"the {kind} is truncated or damaged: {error if str(error) else kind}") from error
        if size[0] * size[1] > max_px:
            problem = f"it {too_many_pixels(size)}"
        else:
            try:
                image = _decode(file, kind)
            except MemoryError:
                problem = "there is too little memory to decode it"
            except _UNREADABLE as error:
                _assert_not_of_disk(error)
                problem = f"it can't be decoded ({error})"
    if image is None or kind == "PNG" or ImageFile.LOAD_TRUNCATED_IMAGES:
        # A notebook may have set LOAD_TRUNCATED_IMAGES: Pillow then decodes files whose end is missing.
        _check_end(source, kind)
    return Checked(kind, size, image, problem)


def _decode(file: IO[bytes], kind: str) -> Image.Image:
    image = open_image_file(file, formats=[kind])
    # A JPEG of several images is read as its first (MPO); an animation is not an image yet.
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
        raise ImageError(f"it is an animation ({kind}), which is not an image this version keeps")
    image.load()
    return image


def _assert_not_of_disk(error: Exception) -> None:
    """Raise an error again that the disk caused and not the content of the file."""
    if isinstance(error, OSError) and error.errno is not None:
        raise error


def png_chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Each chunk's type and the whole of its bytes (length, type, body, checksum), to the end of the image.

    Raises
    ------
    ImageError
        If a chunk is cut short or its checksum is wrong.
    """
    position = len(PNG_MAGIC)
    while True:
        if position + 12 > len(content):
            raise ImageError("the PNG is truncated or damaged: it has no end")
        (length,) = struct.unpack(">I", content[position : position + 4])
        end = position + 12 + length
        if end > len(content):
            raise ImageError("the PNG is truncated or damaged: a chunk is cut short")
        checksum = zlib.crc32(memoryview(content)[position + 4 : end - 4])
        if checksum.to_bytes(4, "big") != content[end - 4 : end]:
            raise ImageError("the PNG is truncated or damaged: a checksum is wrong")
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
    raise ImageError(f"it is {what or 'of no known kind'}: not an image this version keeps (PNG, JPEG, WebP)")


def _size_in_header(head: bytes, kind: str) -> tuple[int, int] | None:
    """Return width and height from the first bytes, without Pillow, which allocates the pixels of a WebP to open it."""
    if kind == "PNG" and head[12:16] == b"IHDR":
        return struct.unpack(">II", head[16:24])
    if kind != "WEBP":
        return None
    match head[12:16]:
        case b"VP8X":
            return int.from_bytes(head[24:27], "little") + 1, int.from_bytes(head[27:30], "little") + 1
        case b"VP8 ":
            width, height = struct.unpack("<HH", head[26:30])
            return width & 0x3FFF, height & 0x3FFF
        case b"VP8L":
            bits = int.from_bytes(head[21:25], "little")
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    return None


def _check_end(source: Path | bytes, kind: str) -> None:
    """Raise a ImageError if the end of the file is missing, or a checksum of a PNG is wrong."""
    content = source if isinstance(source, bytes) else source.read_bytes()
    if kind == "PNG":
        for _ in png_chunks(content):
            pass
    elif kind == "JPEG" and b"\xff\xd9" not in content[-4096:]:
        raise ImageError("the JPEG is truncated or damaged: it has no end")
    elif kind == "WEBP" and struct.unpack("<I", content[4:8])[0] + 8 > len(content):
        raise ImageError("the WEBP is truncated or damaged: it has no end")
