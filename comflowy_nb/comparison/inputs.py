"""Read the images to compare: runs, run images, cells of sweeps, references, files, PIL images and arrays."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from comflowy_nb.comparison.differences import KnownFields
from comflowy_nb.comparison.pixels import PREVIEW_PX, image_size, open_rgb
from comflowy_nb.database.references import parse_ref
from comflowy_nb.errors import ComflowyError, ImageError, RefError
from comflowy_nb.library import open_library
from comflowy_nb.settings import expand_home
from comflowy_nb.sweeps.cell import no_run_text
from comflowy_nb.sweeps.sweep import Sweep, SweepCell
from comflowy_nb.tracking.run import Run, RunImage
from comflowy_nb.workflow.files import is_file_name, no_such_file
from comflowy_nb.workflow.image_metadata import graph_of_image, metadata_of_image
from comflowy_nb.workflow.images import input_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from PIL import Image

    from comflowy_nb.library import Found


MIN_IMAGES, MAX_IMAGES = 2, 9
_Metadata = TypeVar("_Metadata")

_USAGE = "%comflowy compare r41 r43"
_CELL = re.compile(r"(\w+)\.([0-9]+)")


@dataclass(frozen=True, slots=True)
class ComparedImage:
    """One image of a comparison. Its file is read at each use, so that pixels are not kept in memory.

    Attributes
    ----------
    name
        The caption.
    size
        Width and height of the upright image, in pixels.
    known_fields
        The known fields of the run that generated the image.
    source
        The path of its file, or the content of a file.
    also
        The name that the user gave to the run; empty if there is none.
    warning
        Why this image was chosen, if that may be unexpected.
    small
        A function that returns the path of the thumbnail of a size in pixels (512 or 256); None if there is none.
    """

    name: str
    size: tuple[int, int]
    known_fields: KnownFields
    source: Path | bytes = field(repr=False)
    also: str = ""
    warning: str | None = None
    small: Callable[[int], Path] | None = field(default=None, repr=False)

    def open(self) -> Image.Image:
        """Return the upright image in RGB, with transparency on white.

        Raises
        ------
        ImageError
            If the file is missing or can't be decoded.
        """
        return open_rgb(self.source, self.name)

    def open_small(self) -> Image.Image:
        """Return the thumbnail of up to 512 px if there is one, else the image.

        Raises
        ------
        ImageError
            As `open`.
        """
        path = self.small(PREVIEW_PX) if self.small is not None else self.source
        return open_rgb(path, self.name)


def read_images(items: Iterable[Any], *, find: Callable[[Any], Found] | None = None) -> list[ComparedImage]:
    """Return the images of a comparison, after checking that each can be opened.

    Parameters
    ----------
    items : iterable
        2 to 9 items, each a Run (of several images, the first is compared), RunImage, SweepCell, reference as text,
        path, PIL image or array (height x width x 3 or 4, uint8 or floats from 0 to 1). Lists and tuples are flattened.
    find : callable, optional
        Finds the run or image of a reference. By default, references are looked up in the history of the home folder.

    Returns
    -------
    list of ComparedImage
        The images, in the order of the items.

    Raises
    ------
    RefError
        If there are fewer than 2 or more than 9 images, or an item can't be compared: a sweep, or a run that is live
        or has no images.
    ImageError
        If a file is missing or not an image.

    Examples
    --------
    >>> from PIL import Image
    >>> [image.size for image in read_images([Image.new("RGB", (4, 3)), Image.new("RGB", (6, 3))])]
    [(4, 3), (6, 3)]
    """
    flat = list(flatten(items))
    if len(flat) == 1:
        raise RefError(_too_few_text(_resolve(flat[0], find), flat[0]))
    if not MIN_IMAGES <= len(flat) <= MAX_IMAGES:
        raise RefError(f"a comparison takes {MIN_IMAGES} to {MAX_IMAGES} images, not {len(flat)}: {_USAGE}")
    return [_read(_resolve(item, find), item, position) for position, item in enumerate(flat)]


def flatten(items: Iterable[Any]) -> Iterable[Any]:
    """Yield the items of nested lists and tuples."""
    for item in items:
        if isinstance(item, list | tuple):
            yield from flatten(item)
        else:
            yield item


def _resolve(item: Any, find: Callable[[Any], Found] | None) -> Any:
    """Return the run or image that a reference names, or the path of a file; return other items unchanged."""
    if not isinstance(item, str):
        return item
    try:
        target = (find or open_library().find)(item)
    except RefError:
        path = expand_home(item)
        if path.is_file():
            return path
        if is_file_name(item) or "/" in item:
            raise ImageError(no_such_file(item, "file or run")) from None
        raise
    if target.sweep is not None:
        raise RefError(_name_cells_text(target.sweep.ref, target.sweep.count))
    return target.image if target.image is not None else target.run


def _read(item: Any, original: Any, position: int) -> ComparedImage:
    if isinstance(item, Sweep):
        raise RefError(_name_cells_text(item.ref, len(item.cells)))
    if isinstance(item, SweepCell):
        if item.run is None:
            raise RefError(no_run_text(item.ref))
        return _read_run(item.run, item.ref)
    is_cell = isinstance(original, str) and not isinstance(item, Path) and parse_ref(original).cell is not None
    if isinstance(item, Run):
        return _read_run(item, original if is_cell else item.ref)
    if isinstance(item, RunImage):
        return _read_run_image(item, name=original if is_cell else None)
    if isinstance(item, os.PathLike):
        return _read_file(expand_home(item))
    return _read_pixels(item, position)


def _read_run(run: Run, name: str) -> ComparedImage:
    """Return the first image of a run."""
    record = run.record
    count = len(record.images)
    if record.status.is_live:
        raise RefError(f"{run.ref} is not done ({record.status}); %comflowy show {run.ref} waits for its images")
    if not count:
        reason = f": {run.error}" if run.error else ""
        raise RefError(f"{run.ref} has no images to compare ({record.status}{reason})")
    warning = None
    if count > 1:
        warning = f"{name} has {count} images: its first, {name}[0], is compared."
        name = f"{name}[0]"
    return _read_run_image(run.images[0], name=name, warning=warning)


def _read_run_image(image: RunImage, *, name: str | None = None, warning: str | None = None) -> ComparedImage:
    path = image.intact_path  # its errors name the command to type
    record = image.run.record
    if name is None:
        name = record.ref if len(record.images) == 1 else f"{record.ref}[{image.record.index}]"
    facts = {"workflow": record.workflow, "service": record.service}
    known_fields = KnownFields(dict(record.params), tuple(record.set_params), _values_in(path), facts)
    size = image_size(path, name)
    return ComparedImage(name, size, known_fields, path, also=record.name or "", warning=warning, small=image.thumbnail)


def _read_file(path: Path) -> ComparedImage:
    if not path.is_file():
        raise ImageError(f"there is no file {path.name!r}")
    size = image_size(path, path.name)
    metadata = _read_or_none(metadata_of_image, path)
    others = _values_in(path)
    if metadata is None:
        return ComparedImage(path.name, size, KnownFields(others=others), path)
    known_fields = KnownFields(metadata.params, metadata.set_params, others, {"workflow": metadata.workflow})
    return ComparedImage(path.name, size, known_fields, path)


def _read_pixels(item: Any, position: int) -> ComparedImage:
    """Copy a PIL image or an array, so that later changes do not affect the comparison."""
    try:
        content = input_of(item).load()
    except ImageError as error:
        raise ImageError(f"image {position + 1} of the comparison: {error}") from None
    file = getattr(item, "filename", "")
    name = Path(file).name if isinstance(file, str) and file else f"image {position + 1}"
    return ComparedImage(name, image_size(content, name), KnownFields(), content)


def _read_or_none(read: Callable[[Path], _Metadata], path: Path) -> _Metadata | None:
    """Return the metadata that a function reads from an image; None if the image can't be read."""
    try:
        return read(path)
    except (ComflowyError, OSError):
        return None


def _values_in(path: Path) -> dict[str, Any] | None:
    """Return the values in the graph that an image contains, including defaults."""
    graph = _read_or_none(graph_of_image, path)
    return None if graph is None else {field_id: field.default for field_id, field in graph.fields().items()}


def _too_few_text(item: Any, original: Any) -> str:
    """Return the error for fewer than two images, with a command to type instead."""
    if isinstance(item, Sweep):
        return _name_cells_text(item.ref, len(item.cells))
    if isinstance(item, Run | SweepCell) and len(item.images) >= MIN_IMAGES:
        refs = [f"{item.ref}[{index}]" for index in range(min(len(item.images), MAX_IMAGES))]
        return f"{item.ref} alone has {len(item.images)} images; to compare them: %comflowy compare {_listed(refs)}"
    ref = original if isinstance(original, str) else getattr(item, "ref", None)
    return (
        f"compare needs at least two images: {_USAGE if ref is None else f'%comflowy compare {ref} {_other_ref(ref)}'}"
    )


def _other_ref(ref: str) -> str:
    """Return an example of a second image."""
    cell = _CELL.fullmatch(ref)
    return f"{cell[1]}.{2 if int(cell[2]) == 1 else int(cell[2]) - 1}" if cell else "REF"


def _listed(refs: Sequence[str]) -> str:
    return " ".join(refs[:3]) + (" ..." if len(refs) > 3 else "")


def _name_cells_text(ref: str, count: int) -> str:
    """Return the error for a whole sweep."""
    if count == 1:
        return f"{ref} is a sweep of 1 cell; compare needs at least two images: %comflowy compare {ref}.1 REF"
    return f"{ref} is a sweep of {count} cells; name some of them: %comflowy compare {ref}.1 {ref}.2"
