"""Check that image files are complete, decode them, and convert them to RGB."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from PIL import Image, ImageFile

from comflowy_nb.errors import ImageError
from comflowy_nb.settings import settings
from comflowy_nb.workflow.images import open_image_file, too_many_pixels

if TYPE_CHECKING:
    from collections.abc import Iterator


PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_HEAD_BYTES = 64
_UNREADABLE = (OSError, SyntaxError, ValueError, EOFError, struct.error)  # what Pillow raises for an invalid file
# Other content that a server may send. Pillow must not open it: for EPS it would start Ghostscript.
_OTHER_FORMATS = (
    (b"GIF8", "a GIF"),
    (b"BM", "a BMP"),
    (b"II*\0", "a TIFF"),
    (b"MM\0*", "a TIFF"),
    (b"%!PS", "PostScript"),
    (b"%PDF", "a PDF"),
    (b"\x1a\x45\xdf\xa3", "a video"),
    (b"{", "a text, not an image"),
)


@dataclass(frozen=True, slots=True)
class CheckedImage:
    """A complete image file. `image` is None if its pixels can't be decoded here; `problem` has the reason."""

    format: str  # PNG, JPEG or WEBP
    size: tuple[int, int]
    image: Image.Image | None = field(default=None, repr=False)
    problem: str | None = None


def check_image(content: bytes) -> CheckedImage:
    """Check that an image file is complete, and decode it if it has at most `image_max_px` pixels.

    A complete file that can't be decoded (too many pixels, too little memory, a variant unknown to Pillow) is not an
    error: its bytes are kept.

    Raises
    ------
    ImageError
        If the content is truncated, damaged, an animation, or not a PNG, JPEG or WebP.
    """
    format_ = _format(content[:_HEAD_BYTES])
    image, problem = None, None
    try:
        size = _size_in_header(content, format_) or open_image_file(content, formats=[format_]).size
    except _UNREADABLE as error:
        raise ImageError(f"the {format_} is truncated or damaged: {error if str(error) else format_}") from error
    if size[0] * size[1] > settings.image_max_px:
        problem = f"it {too_many_pixels(size)}"
    else:
        try:
            image = _decode(content, format_)
        except MemoryError:
            problem = "there is too little memory to decode it"
        except _UNREADABLE as error:
            problem = f"it can't be decoded ({error})"
    if image is None or format_ == "PNG" or ImageFile.LOAD_TRUNCATED_IMAGES:
        # If a notebook sets LOAD_TRUNCATED_IMAGES, Pillow decodes truncated files without an error.
        _check_end(content, format_)
    return CheckedImage(format_, size, image, problem)


def _decode(content: bytes, format_: str) -> Image.Image:
    image = open_image_file(content, formats=[format_])
    # The first image of an MPO (a JPEG with several images) is used; animations are not supported.
    if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
        raise ImageError(f"it is an animation ({format_}), which this version does not keep as an image")
    image.load()
    return image


def png_chunks(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the type and all bytes (length, type, body, checksum) of each chunk of a PNG, up to IEND.

    Raises
    ------
    ImageError
        If a chunk is truncated or its checksum is wrong.
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
        chunk_type = content[position + 4 : position + 8]
        yield chunk_type, content[position:end]
        if chunk_type == b"IEND":
            return
        position = end


def flatten(image: Image.Image) -> Image.Image:
    """Return a copy in RGB with 8 bits per channel, on a white background."""
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, "white")
        return Image.alpha_composite(white, layer).convert("RGB")
    if image.mode.startswith("I"):  # one channel of 16 bits: Pillow's conversion to 8 bits clips at 255
        return image.convert("I").point(lambda level: level / 256).convert("L").convert("RGB")
    return image.convert("RGB") if image.mode != "RGB" else image.copy()


def _format(start: bytes) -> str:
    if start.startswith(PNG_MAGIC):
        return "PNG"
    if start.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if start.startswith(b"RIFF") and start[8:12] == b"WEBP":
        return "WEBP"
    other = next((name for magic, name in _OTHER_FORMATS if start.startswith(magic)), "of an unknown format")
    if start[4:8] == b"ftyp":
        other = "an AVIF" if start[8:12] in {b"avif", b"avis"} else "a video"
    if start.lstrip().startswith(b"<"):
        other = "a web page or an SVG"
    raise ImageError(f"it is {other}: not an image this version keeps (PNG, JPEG, WebP)")


def _size_in_header(content: bytes, format_: str) -> tuple[int, int] | None:
    """Read width and height of a PNG or WebP. Pillow would allocate all pixels of a WebP to do so."""
    if format_ == "PNG" and content[12:16] == b"IHDR":
        return struct.unpack(">II", content[16:24])
    if format_ != "WEBP":
        return None
    match content[12:16]:
        case b"VP8X":
            return int.from_bytes(content[24:27], "little") + 1, int.from_bytes(content[27:30], "little") + 1
        case b"VP8 ":
            width, height = struct.unpack("<HH", content[26:30])
            return width & 0x3FFF, height & 0x3FFF  # the upper two bits are a scaling factor
        case b"VP8L":
            bits = int.from_bytes(content[21:25], "little")
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1  # 14 bits each, minus one
    return None


def _check_end(content: bytes, format_: str) -> None:
    """Raise an ImageError if the end of the file is missing, or a checksum of a PNG is wrong."""
    if format_ == "PNG":
        for _ in png_chunks(content):
            pass
    elif format_ == "JPEG" and b"\xff\xd9" not in content[-4096:]:
        raise ImageError("the JPEG is truncated or damaged: it has no end")
    elif format_ == "WEBP" and struct.unpack("<I", content[4:8])[0] + 8 > len(content):
        raise ImageError("the WEBP is truncated or damaged: it has no end")
