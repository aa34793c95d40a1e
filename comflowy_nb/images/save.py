"""Save copies of images under readable names, with the workflow and params of their run in the file."""

from __future__ import annotations

import json
import re
import unicodedata
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comflowy_nb.database.records import run_metadata
from comflowy_nb.errors import ImageError, SettingsError
from comflowy_nb.images.decode import PNG_MAGIC, png_chunks
from comflowy_nb.images.receive import is_damaged, stored_file
from comflowy_nb.images.save_target import kind_of_target, write_new, writing_to
from comflowy_nb.images.strip import strip_metadata
from comflowy_nb.settings import expand_home

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from comflowy_nb.database.records import ImageRecord, RunRecord


_TEXT_CHUNK = b"comflowy"  # the keyword of our text chunk in a PNG
_MAX_NAME_BYTES = 120  # in UTF-8; with a suffix below 255, the limit of most file systems
_MAX_VALUE_CHARS = 24
_MAX_LISTED_REFS = 6  # then ` ...` follows


def save_run(
    record: RunRecord,
    images_folder: Path,
    target: Path,
    *,
    only: ImageRecord | None = None,
    strips: bool = False,
    adds_params: bool = True,
) -> list[Path]:
    """Write copies of all images of a run, or of one image.

    Parameters
    ----------
    target
        A folder, which is created if necessary; for one image, an image file of the same format.
    only
        The image to copy; None copies all.
    strips
        Remove the metadata that the images have.
    adds_params
        Write the params into the copy, or beside it.

    Returns
    -------
    The paths of the copies in the order of the images. An equal file is reused.
    If another file has the name, the copy gets a number: `NAME (2).png`.

    Raises
    ------
    SettingsError
        If the target is a file that can't contain the images.
    ImageError
        If an image is not on disk or damaged (raised after the others are written), or the target can't be written.
    """
    outputs = record.outputs if only is None else (only,)
    if not outputs:
        raise ImageError(f"{record.ref} has no images to save ({record.status})")
    target = expand_home(target)
    kind = kind_of_target(target)
    if kind == "image":
        _check_file_name(record, outputs, target)
    folder = target if kind == "folder" else target.parent
    paths: list[Path] = []
    originals = Originals(images_folder)
    with writing_to(folder, f"{record.ref} can't be saved in {folder.name or folder}"):
        for image in outputs:
            source = originals.find(image, f"{record.ref}[{image.index}]")
            if source is None:
                continue
            path = target if kind == "image" else folder / f"{readable_name(record, image)}{source.suffix}"
            metadata = run_metadata(record) if adds_params else None
            paths.append(copy_with_params(source, path, metadata, strips=strips))
    originals.check(record.ref, f"{len(paths)} of {len(outputs)} images saved in {folder.name or folder}")
    return paths


class Originals:
    """Find the originals to copy, and collect the references of missing and damaged originals."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._missing: list[str] = []
        self._damaged: list[str] = []
        self._option = ""

    @property
    def left_out(self) -> int:
        """Number of images that can't be copied."""
        return len(self._missing) + len(self._damaged)

    def find(self, image: ImageRecord, ref: str) -> Path | None:
        """Return the original of an image; None if it is not on disk or damaged."""
        path = stored_file(self._folder, image)
        if path is None:
            reason = f" ({image.error})" if image.error and image.state == "missing" else ""
            self._missing.append(f"{ref}{reason}")
        elif is_damaged(path, image):
            self._damaged.append(ref)
        else:
            return path
        if image.state == "pruned" or path is not None:  # without the option only missing images are fetched
            self._option = " --refetch"
        return None

    def check(self, ref: str, saved: str) -> None:
        """Raise an ImageError if images were left out. The text names the command to fetch them."""
        found = {"not on disk": self._missing, "damaged, changed since the download": self._damaged}
        parts = [
            f"{what}: {', '.join(refs[:_MAX_LISTED_REFS])}{' ...' if len(refs) > _MAX_LISTED_REFS else ''}"
            for what, refs in found.items()
            if refs
        ]
        if parts:
            raise ImageError(f"{'; '.join([saved, *parts])}. %comflowy show {ref}{self._option} fetches them again")


def _check_file_name(record: RunRecord, outputs: Sequence[ImageRecord], target: Path) -> None:
    """Check that there is one image, and that its format matches the suffix of the target."""
    if len(outputs) > 1:
        command = f"%comflowy save {record.ref}[0] {target.name}"
        raise SettingsError(
            f"{record.ref} has {len(outputs)} images, so they can't be saved to {target.name}: use a folder "
            f"({target.stem}), a zip file ({target.stem}.zip), or name one image: {command}"
        )
    suffix = Path(outputs[0].file or "").suffix
    if suffix and target.suffix.lower().replace(".jpeg", ".jpg") != suffix:
        image = f"{record.ref}[{outputs[0].index}]"
        kind = suffix.removeprefix(".").upper()
        raise SettingsError(
            f"{image} is a {kind} image: use {target.stem}{suffix}. To convert it, in Python: "
            f'find("{image}").image.pil().save("{target.name}")'
        )


def copy_with_params(source: Path, target: Path, metadata: Mapping[str, Any] | None, *, strips: bool = False) -> Path:
    """Copy an image and add `metadata`: to a PNG as a text chunk, to other formats as a JSON file beside the copy.

    All other bytes are copied unchanged; with `strips` without the metadata that the image has.

    Raises
    ------
    ImageError
        If the source is damaged, or its metadata can't be removed.
    """
    content = source.read_bytes()
    if strips:
        content = strip_metadata(content)
    if metadata is None:
        return write_new(target, content)
    metadata_json = json.dumps(metadata, ensure_ascii=True)
    if content.startswith(PNG_MAGIC):
        return write_new(target, _with_text(content, _TEXT_CHUNK, metadata_json.encode("ascii")))
    path = write_new(target, content)
    write_new(path.with_suffix(f"{path.suffix}.json"), metadata_json.encode("ascii"))
    return path


def readable_name(record: RunRecord, image: ImageRecord) -> str:
    """Return a name such as `r41_default_cfg-7_seed-42_0`, with as many params as fit."""
    prefix = f"{record.ref}_{slug(record.name or record.workflow)}"
    return add_parts(prefix, values_in_name(record.set_params, record.params), f"_{image.index}")


def values_in_name(keys: Sequence[str], params: Mapping[str, Any]) -> list[str]:
    """Return `cfg-7` for each field that has a value. The node id comes first if two fields have the same name."""
    names = [key.partition("::")[2] or key for key in keys]
    labels = [
        name if names.count(name) == 1 else f"{key.partition('::')[0]}-{name}"
        for key, name in zip(keys, names, strict=True)
    ]
    return [f"{slug(label)}-{slug(params[key])}" for key, label in zip(keys, labels, strict=True) if key in params]


def add_parts(prefix: str, parts: Iterable[str], suffix: str) -> str:
    """Join parts with underscores; leave out each part that would make the name too long."""
    for part in parts:
        if len(f"{prefix}_{part}{suffix}".encode()) <= _MAX_NAME_BYTES:
            prefix += f"_{part}"
    return prefix + suffix


def slug(value: Any) -> str:
    """Return a value reduced to letters, digits, `.`, `_` and `-`, and to whole words of at most 24 characters."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:  # JSON then has no exponent
        value = int(value)
    text = unicodedata.normalize("NFC", value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
    text = re.sub(r"[^\w.-]+", "-", text).strip("-._")
    if len(text) > _MAX_VALUE_CHARS:
        cut = text[:_MAX_VALUE_CHARS]
        text = cut.rpartition("-")[0] or cut
    return text.strip("-._") or "x"


def _with_text(content: bytes, keyword: bytes, text: bytes) -> bytes:
    """Insert a text chunk before the pixels of a PNG; replace an older one with the same keyword."""
    body = b"tEXt" + keyword + b"\0" + text
    text_chunk = (len(body) - 4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    parts, is_inserted = [PNG_MAGIC], False
    for chunk_type, chunk in png_chunks(content):
        if chunk_type in {b"tEXt", b"iTXt", b"zTXt"} and chunk[8:].startswith(keyword + b"\0"):
            continue
        if chunk_type == b"IDAT" and not is_inserted:
            parts.append(text_chunk)
            is_inserted = True
        parts.append(chunk)
    return b"".join(parts)
