"""Images as a browser takes them: the file as it is where it can be shown, else encoded anew."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

from comflowy_nb.errors import ImageError
from comflowy_nb.images.decode import PNG_MAGIC, png_chunks
from comflowy_nb.images.pixels import open_rgb
from comflowy_nb.workflow.images import open_image_file

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["for_browser", "png_of", "without_notes"]

_SHOWN = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
_MODES = {"1", "L", "LA", "P", "RGB", "RGBA", "I;16"}  # CMYK, for one, comes out differently from browser to browser
_JPEG_ABOVE_PX = 16_000_000  # a PNG of more takes seconds to make, and what is made anew is no original anyway
_JPEG_QUALITY = 95
_PIXEL_CHUNKS = {b"IHDR", b"PLTE", b"IDAT", b"IEND", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"iCCP", b"sBIT", b"cICP"}


def for_browser(source: Path | bytes, name: str) -> tuple[bytes, str]:
    """The image in full size, and its media type.

    Raises
    ------
    ImageError
        If it is missing or can't be decoded.
    """
    content, kind = _as_it_is(source, name)
    if kind is not None:
        return content, kind
    return _encode(open_rgb(content, name))


def without_notes(content: bytes, kind: str, name: str) -> tuple[bytes, str]:
    """The same pixels without what else the file tells: the graph, where and with what it was taken.

    Raises
    ------
    ImageError
        If it can't be decoded.
    """
    if kind == "image/png" and content.startswith(PNG_MAGIC):
        kept = [chunk for name_, chunk in png_chunks(content) if name_ in _PIXEL_CHUNKS]
        return b"".join([PNG_MAGIC, *kept]), kind
    if not _tells_more(content):
        return content, kind
    return _encode(open_rgb(content, name))


def png_of(image: Image.Image) -> bytes:
    """As PNG, quickly rather than small."""
    stream = io.BytesIO()
    image.save(stream, "PNG", compress_level=4)
    return stream.getvalue()


def jpeg_of(image: Image.Image, *, quality: int) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality, subsampling=0)
    return stream.getvalue()


def _as_it_is(source: Path | bytes, name: str) -> tuple[bytes, str | None]:
    """The file's bytes, and its media type if a browser shows the very image that Pillow reads."""
    try:
        content = source.read_bytes() if isinstance(source, Path) else source
    except OSError as error:
        raise ImageError(f"the file of {name} can't be read: {error.strerror}") from None
    try:
        with open_image_file(content) as image:
            is_shown = image.mode in _MODES and getattr(image, "n_frames", 1) == 1
            return content, _SHOWN.get(image.format or "") if is_shown else None
    except (OSError, ValueError, SyntaxError) as error:
        raise ImageError(f"{name} is no image that can be read") from error


def _tells_more(content: bytes) -> bool:
    with open_image_file(content) as image:
        return bool({"exif", "xmp", "comment", "photoshop", "mpoffset", "XML:com.adobe.xmp"} & set(image.info))


def _encode(image: Image.Image) -> tuple[bytes, str]:
    if image.width * image.height > _JPEG_ABOVE_PX:
        return jpeg_of(image, quality=_JPEG_QUALITY), "image/jpeg"
    return png_of(image), "image/png"
