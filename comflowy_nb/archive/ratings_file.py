"""Load the ratings of a visitor of a saved page: `ratings.json`.

The sha256 of a file identifies its image. The references in the file are not used: they belong to another history.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from comflowy_nb.archive.loader import MAX_SOURCE_CHARS, Loaded, check_source
from comflowy_nb.archive.manifest import Entry, decode_versioned, load_error, opened
from comflowy_nb.archive.manifest_checks import are_names, are_texts
from comflowy_nb.database.ratings import MAX_NOTE_LENGTH, MAX_RATING, Rating

if TYPE_CHECKING:
    from pathlib import Path

    from comflowy_nb.database.runs import History


FORMAT = "comflowy_nb ratings"
VERSION = 1
MAX_BYTES = 16 * 1024 * 1024
_SHA256 = re.compile(r"[0-9a-f]{64}")
_MAX_IMAGES = 100_000


class _Image(Entry):
    sha256: str
    ref: str
    rating: int | None = None
    rejected: bool = False
    note: str | None = None


class _Ratings(Entry):
    format: str
    version: int
    name: str
    images: list[_Image]


def load_ratings(path: Path, history: History, *, source: str | None = None) -> Loaded:
    """Load a file of ratings; see `comflowy_nb.load`.

    A rating has the time of the first load, so that loading the file again changes nothing.
    """
    found = _decode(_read(path), path.name)
    name = check_source(source or found.name.strip()[:MAX_SOURCE_CHARS] or None, path)
    known = history.archives.images_by_content({image.sha256 for image in found.images})
    earlier = history.ratings.of_runs({run for images in known.values() for run, _ in images})
    ratings: list[tuple[str, int, Rating]] = []
    for image in found.images:
        rating = Rating(image.rating or None, image.rejected, (image.note or "").strip(), name)
        for key in known.get(image.sha256, ()):
            old = next((entry for entry in earlier.get(key, ()) if entry.source == name), Rating(source=name))
            if (old.rating, old.rejected, old.note) != (rating.rating, rating.rejected, rating.note):
                ratings.append((*key, rating))
    history.ratings.put(ratings)
    unknown = sum(image.sha256 not in known for image in found.images)
    return Loaded(path.name, ratings=len(ratings), source=name, unknown_images=unknown)


def _read(path: Path) -> bytes:
    with opened(path) as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise load_error(path.name, f"it is larger than {MAX_BYTES // 2**20} MiB")
    return content


def _decode(content: bytes, name: str) -> _Ratings:
    other_format = f"{name} is not a file of ratings: download one from a page that comflowy_nb has saved"
    ratings = decode_versioned(content, _Ratings, name, format_version=(FORMAT, VERSION), other_format=other_format)
    problem = _problem_of(ratings)
    if problem is not None:
        raise load_error(name, problem)
    return ratings


def _problem_of(ratings: _Ratings) -> str | None:
    """Return why decoded ratings are invalid; None if they are valid."""
    if not are_names([ratings.name]) or not ratings.name.isprintable():
        return "its name has control characters, or is too long"
    if len(ratings.images) > _MAX_IMAGES:
        return f"it has more than {_MAX_IMAGES:,} images"
    for image in ratings.images:
        if not _SHA256.fullmatch(image.sha256):
            return f"it has an invalid sha256: {image.sha256[:80]!r}"
        if image.rating is not None and not 0 <= image.rating <= MAX_RATING:
            return f"it has the rating {image.rating}, which is not from 1 to {MAX_RATING}"
        if not are_texts([image.note], MAX_NOTE_LENGTH):
            return f"it has a note with control characters, or with more than {MAX_NOTE_LENGTH:,} characters"
    if len({image.sha256 for image in ratings.images}) < len(ratings.images):
        return "it rates the same image twice"
    return None
