"""Input images: files, Python images, arrays and images of runs, identified by their content."""

from __future__ import annotations

import hashlib
import io
import os
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from comflowy_nb.errors import ImageError
from comflowy_nb.settings import settings
from comflowy_nb.workflow.files import no_such_file

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from PIL import Image, ImageFile

__all__ = [
    "IMAGE_SUFFIXES",
    "InputImage",
    "assert_decodable",
    "input_of",
    "input_of_bytes",
    "input_of_run",
    "is_image",
    "open_image_file",
    "open_input",
    "too_many_pixels",
]

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp"})  # of files that are read as images

_PNG_MODES = {"L", "LA", "RGB", "RGBA", "I;16"}
_PIXEL_LIMIT_LOCK = threading.Lock()  # Pillow's limit is global to the process


@dataclass(frozen=True, slots=True)
class InputImage:
    """An image as the value of a field.

    Attributes
    ----------
    name
        The file name for the upload.
    content_sha256
        Identifies the image in the request key.
    load
        Return the content to upload; the same at every call, even if the file changes.
    source
        The path or the reference that the user typed; empty for a Python image.
    """

    name: str
    content_sha256: str
    load: Callable[[], bytes] = field(repr=False, compare=False)
    source: str = field(default="", repr=False, compare=False)


def open_input(path: str | os.PathLike[str], *, name: str | None = None) -> InputImage:
    """Return an image file as an input image.

    Parameters
    ----------
    name
        The file name for the upload; by default that of the file.

    Raises
    ------
    ImageError
        If the file does not exist, can't be read, is too large or is not an image.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise ImageError(no_such_file(path))
    try:
        size_bytes = file.stat().st_size
        if size_bytes > settings.image_max_bytes:
            raise ImageError(f"{file.name} has {size_bytes} bytes, more than %config Comflowy.image_max_bytes allows")
        content = file.read_bytes()
    except OSError as error:
        raise ImageError(f"{file.name} can't be read: {error.strerror}") from error
    return input_of_bytes(content, name or file.name, source=file.as_posix())


def input_of_bytes(content: bytes, name: str, *, source: str = "") -> InputImage:
    """Return the content of an image file as an input image.

    Raises
    ------
    ImageError
        If the content is too large or not an image.
    """
    if len(content) > settings.image_max_bytes:
        raise ImageError(f"{name} has {len(content)} bytes, more than %config Comflowy.image_max_bytes allows")
    try:
        open_image_file(content).close()
    except Exception as error:  # Pillow raises many types for invalid files
        raise ImageError(f"{name} is not an image that can be read") from error
    return InputImage(name, hashlib.sha256(content).hexdigest(), lambda: content, source)


def is_image(value: object) -> bool:
    """Return True for an input image, a path, a PIL image, an array of pixels or an image of a run."""
    if isinstance(value, (InputImage, os.PathLike)):
        return True
    return _is_image(value) or _is_run_image(value) or _is_pixels(value)


def input_of(value: object) -> InputImage:
    """Return a Python object as an input image.

    Parameters
    ----------
    value
        A PIL image; an array, height x width (x 1, 3 or 4), uint8 or floats from 0 to 1; a path; an image of a run.

    Raises
    ------
    ImageError
        If the object is none of these, or can't be read.
    """
    if isinstance(value, InputImage):
        return value
    if isinstance(value, os.PathLike):
        return open_input(value)
    if _is_run_image(value):
        return input_of_run(value)
    if _is_image(value):
        return _encode(value)  # type: ignore[arg-type]
    if _is_pixels(value):
        return _encode(_image_of(value))
    raise ImageError(
        f"an object of type {type(value).__name__} is not an image: use a PIL image, an array, a path or r.images[0]"
    )


def input_of_run(image: Any) -> InputImage:
    """Return an image of a run as an input image, with its reference as the source.

    Raises
    ------
    ImageError
        If the image is not on disk.
    """
    name = f"{image.ref.rstrip(']').replace('[', '_')}{image.path.suffix}"
    return replace(open_input(image.path, name=name), source=image.ref)


def _is_image(value: object) -> bool:
    # tested by attributes, because only the caller may have imported Pillow
    return callable(getattr(value, "tobytes", None)) and isinstance(getattr(value, "mode", None), str)


def _is_run_image(value: object) -> bool:
    # RunImage is in a higher layer; its `path` raises if the image is missing, so the type is inspected
    return callable(getattr(value, "pil", None)) and hasattr(type(value), "path")


def _is_pixels(value: object) -> bool:
    shape = getattr(value, "shape", None)
    if not isinstance(shape, tuple) or not hasattr(value, "dtype"):
        return False
    return len(shape) == 2 or (len(shape) == 3 and shape[2] in {1, 3, 4})


def _image_of(pixels: Any) -> Image.Image:
    import numpy as np  # noqa: PLC0415 - heavy; the caller has imported it
    from PIL import Image  # noqa: PLC0415

    array = np.asarray(pixels)
    if array.dtype.kind == "f":
        if array.size and not (np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1):
            raise ImageError("an array of floats is an image only with values from 0 to 1")
        array = np.round(array * 255).astype(np.uint8)
    if array.dtype != np.uint8:
        raise ImageError(f"an array of {array.dtype} is not an image; use uint8, or floats from 0 to 1")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if not array.size:
        raise ImageError("an empty array is not an image")
    return Image.fromarray(np.ascontiguousarray(array))


def _encode(image: Image.Image) -> InputImage:
    """Return an image as a PNG, identified by its pixels: versions of a library compress them differently."""
    if image.mode not in _PNG_MODES:
        image = image.convert("RGBA" if "transparency" in image.info or image.mode in {"PA", "La", "RGBa"} else "RGB")
    pixels = hashlib.sha256(f"{image.mode} {image.width}x{image.height}\n".encode())
    pixels.update(image.tobytes())
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    content = buffer.getvalue()
    source = getattr(image, "filename", "")  # Pillow stores the file name of an opened image
    file = source if isinstance(source, str) else os.fsdecode(source)
    return InputImage(
        f"{pixels.hexdigest()[:12]}.png", pixels.hexdigest(), lambda: content, Path(file).as_posix() if file else ""
    )


def open_image_file(source: Path | bytes | IO[bytes], *, formats: Sequence[str] | None = None) -> ImageFile.ImageFile:
    """Read the header of an image file of any size, without decoding the pixels.

    Call `assert_decodable` before decoding. Pillow does not open files with more than twice `Image.MAX_IMAGE_PIXELS`
    pixels. This limit is global to the process, so it is removed only while the header is read.

    Parameters
    ----------
    source
        A path, the content of a file, or an open file.
    formats
        Names of Pillow's formats that are tried; None tries all.

    Raises
    ------
    OSError, SyntaxError, ValueError
        As `PIL.Image.open`, if the file is not an image.
    """
    from PIL import Image  # noqa: PLC0415 - heavy

    with _PIXEL_LIMIT_LOCK:
        limit = Image.MAX_IMAGE_PIXELS
        try:
            Image.MAX_IMAGE_PIXELS = None
            file = io.BytesIO(source) if isinstance(source, bytes) else source
            return Image.open(file, formats=None if formats is None else tuple(formats))
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def assert_decodable(image: Image.Image, name: str) -> None:
    """Raise an ImageError if an opened image has more pixels than `image_max_px`."""
    if image.width * image.height > settings.image_max_px:
        raise ImageError(f"{name} {too_many_pixels(image.size)}")


def too_many_pixels(size: tuple[int, int]) -> str:
    """Return why an image of this size is not decoded, as the predicate of a sentence."""
    width_px, height_px = size
    return f"has {width_px} x {height_px} pixels, more than image_max_px allows (%config Comflowy.image_max_px)"
