"""Save the explorer as a page: one file that contains the images, or a folder if it exceeds 200 MB."""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from comflowy_nb.archive.writer import MetadataFilter, listed
from comflowy_nb.errors import ImageError
from comflowy_nb.exploration.exploration import Exploration
from comflowy_nb.exploration.images import read_full, read_thumbnail
from comflowy_nb.images.save_target import write_new, writing_to
from comflowy_nb.images.thumbnail_sizes import LARGE_THUMBNAIL_PX
from comflowy_nb.sharing.page import page_html

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from comflowy_nb.sharing.collected import SavedContent
    from comflowy_nb.tracking.run import RunImage


MAX_PAGE_BYTES = 200_000_000  # a browser opens a larger page only slowly
_PREVIEW_PX = LARGE_THUMBNAIL_PX
_SUFFIXES = {
    "image/jpeg": ".jpg", "image/png": ".png", "image/webp": ".webp", "image/gif": ".gif", "video/mp4": ".mp4",
    "video/webm": ".webm",
}  # fmt: skip

Embedded = dict[str, tuple[str, bytes | str]]


class SavedPage:
    """A page to save.

    Parameters
    ----------
    full
        Add the images in full size. Otherwise only videos, which have no preview, are added in full size.
    strips
        Remove the metadata of the images. Files whose metadata can't be removed are not added in full size.
    """

    def __init__(self, saved: SavedContent, *, full: bool, strips: bool) -> None:
        self._metadata = MetadataFilter(saved.collected.clean, strips=strips)
        self._exploration = Exploration([*saved.sweeps, *saved.runs])
        images = {image.ref: image for entry in self._exploration.entries for image in entry.images}
        self._previews = {key: image for key, image in images.items() if image.record.is_image and _size_of(image)}
        chosen = images if full else {key: image for key, image in images.items() if not image.record.is_image}
        is_kept = {key: image.record.is_image or not strips for key, image in chosen.items()}
        self._full = {key: image for key, image in chosen.items() if is_kept[key] and _size_of(image, full=True)}
        self._left_out = [key for key in chosen if not is_kept[key]]
        self.how = "in full size" if full else f"as previews of {_PREVIEW_PX} pixels"
        size_bytes = sum(map(_size_of, self._previews.values()))
        size_bytes += sum(_size_of(image, full=True) for image in self._full.values())
        self.is_folder = size_bytes * 4 / 3 > MAX_PAGE_BYTES
        self.size_bytes = size_bytes if self.is_folder else round(size_bytes * 4 / 3)

    @property
    def left_out(self) -> str:
        """References of the images that are not added in full size."""
        return listed(self._left_out)

    def notes(self) -> list[str]:
        """Return lines for the user that are known only after the write."""
        return self._metadata.notes()

    def write(self, target: Path) -> Path:
        """Write the page, and return the path of the file or folder.

        Raises
        ------
        ImageError
            If it can't be written.
        """
        if self.is_folder:
            return self._write_folder(target)
        embedded = [{key: (kind, content) for key, kind, content in part} for part in self._parts()]
        page = page_html(self._exploration.document(), *embedded).encode()
        with writing_to(target.parent, f"{target.name} can't be written"):
            return write_new(target, page)

    def _parts(self) -> tuple[Iterator[tuple[str, str, bytes]], Iterator[tuple[str, str, bytes]]]:
        """Return key, media type and content of the previews, and of the images in full size."""
        previews = _each(self._previews, lambda image: ("image/jpeg", read_thumbnail(image, _PREVIEW_PX)))
        return previews, _each(self._full, self._read)

    def _read(self, image: RunImage) -> tuple[str, bytes]:
        content, kind, _ = read_full(image)
        return kind, self._metadata.apply(content, image.ref)

    def _write_folder(self, target: Path) -> Path:
        """Write the images beside the page, one at a time; rename the folder when it is complete."""
        with (
            writing_to(target.parent, f"{target.stem} can't be written"),
            tempfile.TemporaryDirectory(dir=target.parent, prefix=".comflowy-") as temporary,
        ):
            folder = Path(temporary) / target.stem
            folder.mkdir()
            addresses = [
                self._write_images(folder, name, part)
                for name, part in zip(("previews", "images"), self._parts(), strict=True)
            ]
            page = page_html(self._exploration.document(), *addresses)
            (folder / "index.html").write_text(page, encoding="utf-8")
            free = next(path for path in _numbered(target.with_suffix("")) if not path.exists())
            return folder.rename(free)

    def _write_images(self, folder: Path, name: str, part: Iterator[tuple[str, str, bytes]]) -> Embedded:
        (folder / name).mkdir()
        addresses: Embedded = {}
        for key, kind, content in part:
            file = f"{name}/{key.replace('[', '_').rstrip(']')}{_SUFFIXES.get(kind, '')}"  # r41_0.png
            (folder / file).write_bytes(content)
            addresses[key] = (kind, file)
        return addresses


def _each(
    images: Mapping[str, RunImage], read: Callable[[RunImage], tuple[str, bytes]]
) -> Iterator[tuple[str, str, bytes]]:
    """Yield (key, media type, content) of the images that can be read. The page marks the others as missing."""
    for key, image in images.items():
        try:
            kind, content = read(image)
        except ImageError:
            continue
        yield key, kind, content


def _numbered(path: Path) -> Iterator[Path]:
    yield path
    yield from (path.with_name(f"{path.name} ({number})") for number in itertools.count(2))


def _size_of(image: RunImage, *, full: bool = False) -> int:
    """Return the size of the preview or of the file in bytes; 0 if there is none."""
    find: Callable[[], Path] = (
        (lambda: image.path) if full and not image.is_pruned else lambda: image.thumbnail(_PREVIEW_PX)
    )
    try:
        path = find()
        return path.stat().st_size if full or path.suffix == ".jpg" else 0
    except (ImageError, OSError):
        return 0
