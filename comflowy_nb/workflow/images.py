"""Input images: files, file patterns, Python images, arrays and run images, identified by content."""

from __future__ import annotations

import glob
import hashlib
import io
import os
import re
import threading
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, Any

from comflowy_nb.errors import ImageError
from comflowy_nb.settings import expand_home, settings
from comflowy_nb.workflow.files import no_such_file
from comflowy_nb.workflow.syntax.ranges import LARGEST_AXIS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from PIL import Image, ImageFile


IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".webp"})  # suffixes of files that are read as images

_FILE = "file:"
_DIGITS = re.compile(r"(\d+)")
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
        The identity of the image in the request key.
    load
        A function that returns the content to upload. It always returns the same bytes, even if the file changes.
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
        The file name for the upload. By default the name of the file.

    Raises
    ------
    ImageError
        If the file does not exist, can't be read, is too large or is not an image.
    """
    file = expand_home(path)
    if not file.is_file():
        raise ImageError(no_such_file(path))
    try:
        size_bytes = file.stat().st_size
        if size_bytes > settings.image_max_bytes:
            raise ImageError(_too_large(file.name, size_bytes))
        content = file.read_bytes()
    except OSError as error:
        raise ImageError(f"{file.name} can't be read: {error.strerror}") from error
    return input_of_bytes(content, name or file.name, source=file.as_posix())


def input_of_bytes(content: bytes, name: str, *, source: str = "") -> InputImage:
    """Make an input image from the content of an image file.

    Raises
    ------
    ImageError
        If the content is too large or not an image.
    """
    if len(content) > settings.image_max_bytes:
        raise ImageError(_too_large(name, len(content)))
    try:
        open_image_file(content).close()
    except Exception as error:  # Pillow raises many types for invalid files
        raise ImageError(f"{name} can't be read as an image: use a PNG, JPEG or WebP file") from error
    return InputImage(name, hashlib.sha256(content).hexdigest(), lambda: content, source)


def _too_large(name: str, size_bytes: int) -> str:
    tip = f"use a smaller image, or %config Comflowy.image_max_bytes = {size_bytes}"
    return f"{name} has {size_bytes} bytes, the limit is {settings.image_max_bytes}: {tip}"


def is_image(value: object) -> bool:
    """Return True for an input image, a path, a PIL image, an array of pixels or an image of a run."""
    if isinstance(value, (InputImage, os.PathLike)):
        return True
    return _is_pil_image(value) or _is_run_image(value) or _is_pixels(value)


def input_of(value: object) -> InputImage:
    """Make an input image from a Python object.

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
    if _is_pil_image(value):
        return _encode(value)  # type: ignore[arg-type]
    if _is_pixels(value):
        return _encode(_image_of_pixels(value))
    raise ImageError(
        f"an object of type {type(value).__name__} is not an image: use a PIL image, an array, a path or r.images[0]"
    )


def input_of_run(image: Any) -> InputImage:
    """Return an image of a run as an input image, with its reference as the source.

    Raises
    ------
    ImageError
        If the image is not on disk or damaged.
    """
    path = image.intact_path
    name = f"{image.ref.rstrip(']').replace('[', '_')}{path.suffix}"
    return replace(open_input(path, name=name), source=image.ref)


def _is_pil_image(value: object) -> bool:
    # Tested by attributes, because only the caller may have imported Pillow.
    return callable(getattr(value, "tobytes", None)) and isinstance(getattr(value, "mode", None), str)


def _is_run_image(value: object) -> bool:
    # RunImage is in a higher layer; its `path` raises if the image is missing, so the type is inspected
    return callable(getattr(value, "pil", None)) and hasattr(type(value), "path")


def _is_pixels(value: object) -> bool:
    shape = getattr(value, "shape", None)
    if not isinstance(shape, tuple) or not hasattr(value, "dtype"):
        return False
    return len(shape) == 2 or (len(shape) == 3 and shape[2] in {1, 3, 4})


def _image_of_pixels(pixels: Any) -> Image.Image:
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
        raise ImageError("an empty array is not an image: use an array with at least one pixel")
    return Image.fromarray(np.ascontiguousarray(array))


def _encode(image: Image.Image) -> InputImage:
    """Encode an image as PNG. The pixels identify it, because library versions compress differently."""
    if image.mode not in _PNG_MODES:
        image = image.convert("RGBA" if "transparency" in image.info or image.mode in {"PA", "La", "RGBa"} else "RGB")
    digest = hashlib.sha256(f"{image.mode} {image.width}x{image.height}\n".encode())
    digest.update(image.tobytes())
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    content = buffer.getvalue()
    source = getattr(image, "filename", "")  # Pillow stores the file name of an opened image
    file = source if isinstance(source, str) else os.fsdecode(source)
    return InputImage(
        f"{digest.hexdigest()[:12]}.png", digest.hexdigest(), lambda: content, Path(file).as_posix() if file else ""
    )


def open_image_file(source: Path | bytes | IO[bytes], *, formats: Sequence[str] | None = None) -> ImageFile.ImageFile:
    """Read the header of an image file of any size, without decoding the pixels.

    Call `assert_decodable` before decoding. Pillow does not open files with more than twice `Image.MAX_IMAGE_PIXELS`
    pixels. This limit applies to the whole process, so it is removed only while the header is read.

    Parameters
    ----------
    source
        A path, the content of a file, or an open file.
    formats
        Names of the Pillow formats to try; None tries all.

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
    """Return the reason why an image of this size is not decoded, to follow the name of the image."""
    width_px, height_px = size
    return f"has {width_px} x {height_px} pixels, more than image_max_px allows (%config Comflowy.image_max_px)"


# -- images of a sweep: patterns of files, labels, copies beside a sweep file ---------------------------------------


def pattern_in(text: str) -> str | None:
    """Return the pattern of `file:refs/*.jpg`; None for any other text, and for the path of an existing file."""
    pattern = os.path.expanduser(text.removeprefix(_FILE))  # noqa: PTH111 - a pattern is not a path
    if not text.startswith(_FILE) or not glob.has_magic(pattern) or Path(pattern).is_file():
        return None
    return pattern


def names_files(text: str) -> bool:
    """Return True if a text is the path of a file on this machine, or a pattern that matches a file in one folder.

    Patterns for folders are not searched, because `/**/x` would read the whole file system.
    """
    path = os.path.expanduser(text)  # noqa: PTH111 - as above
    if "\0" in path:
        return False
    if os.path.isfile(path):  # noqa: PTH113 - raises no OSError
        return True
    folder, name = os.path.split(path)
    return glob.has_magic(name) and not glob.has_magic(folder) and any(glob.iglob(path))  # noqa: PTH207 - as above


def open_images(pattern: str) -> list[InputImage]:
    """Open the images that match a glob pattern (`**` for folders at any depth), in natural order (`a2` before `a10`).

    Raises
    ------
    ImageError
        If no file matches, a file is not an image, or there are more files than an axis can have.
    """
    files = [Path(name) for name in glob.glob(pattern, recursive=True)]  # noqa: PTH207 - the pattern may be absolute
    files = sorted((file for file in files if file.is_file()), key=lambda file: natural_order(file.as_posix()))
    if not files:
        raise ImageError(f"no file matches {pattern!r}")
    if len(files) > LARGEST_AXIS:
        raise ImageError(f"{len(files):,} files match {pattern!r}; an axis has at most {LARGEST_AXIS:,}")
    return [open_input(file) for file in files]


def label_images(images: Sequence[InputImage]) -> list[str]:
    """Return labels for the images of an axis: file names, with parent folders if required to make them unique."""
    paths = [_path_parts(image, number) for number, image in enumerate(images, 1)]
    depths = [1] * len(paths)
    while True:
        labels = ["/".join(parts[-depth:]) for parts, depth in zip(paths, depths, strict=True)]
        counts = Counter(labels)
        longer = [counts[label] > 1 and depths[index] < len(paths[index]) for index, label in enumerate(labels)]
        if not any(longer):
            break
        depths = [depth + is_longer for depth, is_longer in zip(depths, longer, strict=True)]
    numbers: Counter[str] = Counter()
    for index, label in enumerate(labels):
        if counts[label] > 1:
            numbers[label] += 1
            labels[index] = f"{label} ({numbers[label]})"
    return labels


def _path_parts(image: InputImage, number: int) -> tuple[str, ...]:
    """Return the folders and the name of an image. The name of an unnamed Python image is its position."""
    if image.source:
        return PurePosixPath(image.source).parts
    is_generated = image.name == f"{image.content_sha256[:12]}.png"
    return (f"image {number}" if is_generated else image.name,)


def natural_order(path: str) -> list[tuple[int, str]]:
    """Return the sort key of a path or a name: `a2` comes before `a10`."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in _DIGITS.split(path)]


def saved_parts(file: Path, image: InputImage) -> dict[str, str]:
    """Return the keys of the `!image` tag in a sweep file, for an image that is saved in a folder beside the file.

    Raises
    ------
    ImageError
        If its content is not available.
    """
    content = image.load()
    suffix = PurePosixPath(image.name).suffix.lower()
    name = f"{image.content_sha256[:16]}{suffix if suffix.isascii() and len(suffix) <= 5 else ''}"
    return {
        "file": f"{file.stem}_images/{name}",
        "name": image.name,
        "identity": image.content_sha256,
        "sha256": hashlib.sha256(content).hexdigest(),
    }


def open_saved_image(folder: Path, parts: Mapping[str, str]) -> InputImage:
    """Open an image that was saved with a sweep file.

    The image keeps its stored identity, because a Python image is identified by its pixels, not by its file.

    Raises
    ------
    ImageError
        If the file is missing or has changed.
    """
    if set(parts) != {"file", "name", "identity", "sha256"}:
        raise ImageError("invalid !image: use exactly the keys file, name, identity and sha256")
    image = open_input(folder / Path(parts["file"]), name=parts["name"])
    if image.content_sha256 != parts["sha256"]:
        raise ImageError(
            f"{parts['file']} has changed since the sweep file was written; write file:PATH to use the new image"
        )
    return replace(image, content_sha256=parts["identity"], source="")
