"""Copies for a person: readable names, and what made the image written into it."""

from __future__ import annotations

import json
import re
import unicodedata
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comflowy_nb.database.records import made_by
from comflowy_nb.errors import ImageError, SettingsError
from comflowy_nb.images.decode import PNG_MAGIC, png_chunks
from comflowy_nb.images.save_target import kind_of_target, os_reason, write_zip
from comflowy_nb.images.store import image_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from comflowy_nb.database.records import ImageRecord, RunRecord

__all__ = [
    "LONGEST_NAME",
    "TEXT_CHUNK",
    "add_parts",
    "copy_with_params",
    "readable_name",
    "save_run",
    "slug",
    "values_in_name",
]

TEXT_CHUNK = b"comflowy"  # the keyword of our text chunk in a PNG
LONGEST_NAME = 120  # bytes of UTF-8: with an ending it stays well below the 255 that file systems take
_LONGEST_VALUE = 24  # characters
_SAME_KIND = {".jpeg": ".jpg", ".tif": ".tiff"}


def save_run(record: RunRecord, images_folder: Path, target: Path, *, only: ImageRecord | None = None) -> list[Path]:
    """Write a copy of each image of a run, or of one of them.

    Parameters
    ----------
    target
        A folder, which is made if it isn't there; the name of a zip file; for one image that of an image file of its
        kind.

    Returns
    -------
    The images' paths, in their order, or that of the zip file. A copy that is there already is not written again; a
    different file of the same name is left alone, and the copy gets a number.

    Raises
    ------
    SettingsError
        If the target names a file that can't hold the images.
    ImageError
        If an image is not on disk, after all others have been written; if the target can't be written.
    """
    outputs = record.outputs if only is None else (only,)
    if not outputs:
        raise ImageError(f"{record.ref} has no images to save ({record.status})")
    target = Path(target).expanduser()
    kind = kind_of_target(target)
    if kind == "zip":
        return [write_zip(target, lambda folder: save_run(record, images_folder, folder, only=only))]
    if kind == "image":
        _check_file_name(record, outputs, target)
    folder = target if kind == "folder" else target.parent
    written: list[Path] = []
    missing: list[str] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for image in outputs:
            source = image_path(images_folder, image) if image.file else None
            if source is None or not source.is_file():
                why = f" ({image.error})" if image.error and image.state == "missing" else ""
                missing.append(f"{record.ref}[{image.index}]{why}")
                continue
            path = target if kind == "image" else folder / f"{readable_name(record, image)}{source.suffix}"
            written.append(copy_with_params(source, path, made_by(record)))
    except OSError as error:
        raise ImageError(f"{record.ref} can't be saved in {folder.name or folder}: {os_reason(error)}") from error
    if missing:
        count = f"{len(written)} of {len(outputs)} images saved in {folder.name or folder}"
        raise ImageError(f"{count}; not on disk: {', '.join(missing)}. %comflowy show {record.ref} fetches them again")
    return written


def _check_file_name(record: RunRecord, outputs: Sequence[ImageRecord], target: Path) -> None:
    """Check that the images are one, of the kind that the file's name says."""
    if len(outputs) > 1:
        one = f"%comflowy save {record.ref}[0] {target.name}"
        raise SettingsError(
            f"{record.ref} has {len(outputs)} images, so they can't be saved to {target.name}: use a folder "
            f"({target.stem}), a zip file ({target.stem}.zip), or name one image: {one}"
        )
    suffix = Path(outputs[0].file or "").suffix
    if suffix and _SAME_KIND.get(target.suffix.lower(), target.suffix.lower()) != _SAME_KIND.get(suffix, suffix):
        image = f"{record.ref}[{outputs[0].index}]"
        raise SettingsError(
            f"{image} is a {suffix.removeprefix('.').upper()} image: use {target.stem}{suffix}. Another kind: "
            f'find("{image}").image.pil().save("{target.name}") in Python'
        )


def copy_with_params(source: Path, target: Path, made: Mapping[str, Any]) -> Path:
    """Copy an image under a name of its own: into a PNG `made` goes as a text chunk, beside others as a JSON file.

    The pixels and all other chunks stay as they are, byte for byte.

    Raises
    ------
    ImageError
        If the source is damaged.
    """
    content = source.read_bytes()
    note = json.dumps(made, ensure_ascii=True)
    if content.startswith(PNG_MAGIC):
        return _write_new(target, _with_text(content, TEXT_CHUNK, note.encode("ascii")))
    path = _write_new(target, content)
    _write_new(path.with_suffix(f"{path.suffix}.json"), note.encode("ascii"))
    return path


def readable_name(record: RunRecord, image: ImageRecord) -> str:
    """`r41_default_cfg-7_seed-42_0`: what was set, as far as it fits, between the reference and the image's index."""
    head = f"{record.ref}_{slug(record.name or record.workflow)}"
    return add_parts(head, values_in_name(record.set_params, record.params), f"_{image.index}")


def values_in_name(keys: Sequence[str], params: Mapping[str, Any]) -> list[str]:
    """`cfg-7` for each field that has a value, with its node before it where two are called the same."""
    names = [_field_name(key) for key in keys]
    words = [
        name if names.count(name) == 1 else f"{key.partition('::')[0]}-{name}"
        for key, name in zip(keys, names, strict=True)
    ]
    return [f"{slug(word)}-{slug(params[key])}" for key, word in zip(keys, words, strict=True) if key in params]


def add_parts(head: str, parts: Iterable[str], tail: str) -> str:
    """One name of them all; what would make it too long is left out."""
    for part in parts:
        if len(f"{head}_{part}{tail}".encode()) <= LONGEST_NAME:
            head += f"_{part}"
    return head + tail


def _field_name(key: str) -> str:
    return key.partition("::")[2] or key


def slug(value: Any) -> str:
    """The value in letters, digits, `.`, `_` and `-`, cut at a word where it is long."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        value = int(value)
    text = unicodedata.normalize("NFC", value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
    text = re.sub(r"[^\w.-]+", "-", text).strip("-._")
    if len(text) > _LONGEST_VALUE:
        cut = text[:_LONGEST_VALUE]
        text = cut.rpartition("-")[0] or cut
    return text.strip("-._") or "x"


def _with_text(content: bytes, keyword: bytes, text: bytes) -> bytes:
    """The PNG with one more text chunk, before its pixels, in place of an older one of the same keyword."""
    body = b"tEXt" + keyword + b"\0" + text
    chunk = (len(body) - 4).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    parts, placed = [PNG_MAGIC], False
    for kind, whole in png_chunks(content):
        if kind in {b"tEXt", b"iTXt", b"zTXt"} and whole[8:].startswith(keyword + b"\0"):
            continue
        if kind == b"IDAT" and not placed:
            parts.append(chunk)
            placed = True
        parts.append(whole)
    return b"".join(parts)


def _write_new(path: Path, content: bytes) -> Path:
    """Write under that name, or with (2), (3) ... after it where another file has the name."""
    for candidate in _candidates(path):
        try:
            with candidate.open("xb") as file:
                try:
                    file.write(content)
                except BaseException:
                    candidate.unlink(missing_ok=True)
                    raise
        except FileExistsError:
            if candidate.is_file() and candidate.read_bytes() == content:
                return candidate
            continue
        return candidate
    raise AssertionError("there is always another number")


def _candidates(path: Path) -> Iterable[Path]:
    yield path
    n = 2
    while True:
        yield path.with_stem(f"{path.stem} ({n})")
        n += 1
