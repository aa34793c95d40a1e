"""Load an archive into the history of this home folder: images, runs, sweeps, ratings and scores.

Each file is verified before it is written, and one transaction adds all records; see `images/staging.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import msgspec

from comflowy_nb.archive.manifest import load_error
from comflowy_nb.archive.reader import open_archive
from comflowy_nb.database.archives import NewReview, NewRun, NewSweep
from comflowy_nb.database.ratings import OWN, Rating
from comflowy_nb.database.records import ImageRecord
from comflowy_nb.database.scores import Score
from comflowy_nb.errors import ImageError, SettingsError, counted
from comflowy_nb.images.decode import check_image
from comflowy_nb.images.staging import staging
from comflowy_nb.images.store import IMAGE_FORMATS
from comflowy_nb.images.thumbnails import make_thumbnails
from comflowy_nb.workflow.images import open_image_file

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from comflowy_nb.archive.manifest import ImageEntry, Manifest, RunEntry, SweepEntry
    from comflowy_nb.archive.reader import OpenArchive
    from comflowy_nb.database.runs import History
    from comflowy_nb.images.staging import Staging


MAX_SOURCE_CHARS = 60
# Accepted suffixes of outputs that are not still images. Others, such as scripts, are rejected.
_OTHER_SUFFIXES = frozenset(
    {
        "gif", "webp", "png", "apng", "mp4", "webm", "mov", "mkv", "avi", "m4v",
        "flac", "mp3", "wav", "ogg", "opus", "m4a", "aac", "txt", "bmp", "tif", "tiff", "avif",
    }
)  # fmt: skip
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class Loaded:
    """The result of `comflowy_nb.load`: references and counts of the new records.

    Parameters
    ----------
    file : str
        The name of the file.
    runs, sweeps : tuple of str
        References of the runs and sweeps that are new here, such as `r41` and `s3`.
    images : int
        Number of images that are new here.
    ratings : int
        Number of ratings and notes that were added.
    source : str
        The name of the person who gave these ratings.
    known : tuple of str
        References of the runs and sweeps in the file that were already in the history.
    renamed : mapping of str to str
        Name in the file -> name in the history, for names that were already in use.
    unknown_images : int
        For a file of ratings: number of images in it that are not in the history.

    Examples
    --------
    >>> sweep.save("bottles.zip")
    [...Path('bottles.zip')]
    >>> comflowy_nb.load("bottles.zip")
    <Loaded nothing new from bottles.zip>
    """

    file: str
    runs: tuple[str, ...] = ()
    sweeps: tuple[str, ...] = ()
    images: int = 0
    ratings: int = 0
    source: str = ""
    known: tuple[str, ...] = ()
    renamed: dict[str, str] = field(default_factory=dict)
    unknown_images: int = 0

    @property
    def is_new(self) -> bool:
        """Whether anything was added."""
        return bool(self.runs or self.sweeps or self.ratings)

    def __repr__(self) -> str:
        counts = {"run": len(self.runs), "rating": self.ratings}
        parts = [*self.sweeps, *(counted(count, noun) for noun, count in counts.items() if count)]
        return f"<Loaded {', '.join(parts) or 'nothing new'} from {self.file}>"


def load_archive(path: Path, history: History, home: Path, *, source: str | None = None) -> Loaded:
    """Load a zip file that `save` has written; see `comflowy_nb.load`."""
    file = _CONTROL.sub(" ", path.name)
    source = check_source(source, path)
    with open_archive(path) as archive, staging(history, home) as files:
        manifest = archive.manifest
        known = history.archives.known(entry.token for entry in manifest.records)
        runs = [_new_run(archive, files, run) for run in manifest.runs if run.token not in known]
        new = [entry.token for entry in manifest.records if entry.token not in known]
        if new:
            for image in manifest.inputs:
                content = archive.read(image.file, image.sha256)
                _check_input(content, image.file, archive.name)
                files.add_input(image.identity, content)
        files.place(new)
        added = history.archives.add(
            file,
            runs,
            [_new_sweep(sweep) for sweep in manifest.sweeps],
            inputs=[(name, image.identity) for image in manifest.inputs for name in image.names],
            reviews=list(_reviews(manifest, source)),
        )
    refs = history.archives.known([*added.runs, *added.sweeps])
    images = sum(output.state == "kept" for run in runs for output in run.outputs)
    return Loaded(
        file,
        tuple(refs[token] for token in added.runs),
        tuple(refs[token] for token in added.sweeps),
        images if added.runs else 0,
        added.ratings,
        source,
        tuple(known[entry.token] for entry in (*manifest.sweeps, *manifest.runs) if entry.token in known),
        added.renamed,
    )


def check_source(source: object, path: Path) -> str:
    """Return the source of ratings: the argument, else the name of the file without its suffix.

    Raises
    ------
    SettingsError
        If `source` is not a short text in one line.
    """
    if source is None:
        return _CONTROL.sub(" ", path.stem)[:MAX_SOURCE_CHARS].strip() or "file"
    name = source.strip() if isinstance(source, str) else ""
    if not name or len(name) > MAX_SOURCE_CHARS or not name.isprintable():
        raise SettingsError(f'invalid name {source!r}: use a text of 1 to {MAX_SOURCE_CHARS} characters, such as "Ann"')
    return name


# -- runs -------------------------------------------------------------------------------------------------------------


def _new_run(archive: OpenArchive, files: Staging, run: RunEntry) -> NewRun:
    """Write the verified outputs of a run, and return the run."""
    outputs = [_output(archive, files, run.token, image) for image in run.outputs]
    graph = None if run.graph is None else archive.manifest.graphs[run.graph]
    columns: dict[str, Any] = {
        name: getattr(run, name)
        for name in (
            "name", "workflow", "workflow_id", "service", "params", "set_params", "status", "created_at",
            "started_at", "finished_at", "sweep",
        )
    }  # fmt: skip
    return NewRun(run.token, {**columns, "reason": run.error}, graph, outputs)


def _output(archive: OpenArchive, files: Staging, token: str, entry: ImageEntry) -> ImageRecord:
    """Check an output, write it with its thumbnails, and return its record."""
    record = ImageRecord(entry.index, entry.node, entry.node_index, format=entry.format)
    if entry.file is None or entry.sha256 is None:
        return replace(record, state="missing", error=entry.error or f"not in {archive.name}")
    content = archive.read(entry.file, entry.sha256)
    kept = replace(record, state="kept", sha256=entry.sha256, size_bytes=len(content))
    name = entry.file[:80]
    if entry.format is not None and entry.format not in IMAGE_FORMATS:  # an animation, a video, a sound or a text
        suffix = entry.format.removeprefix("ANIMATED ").lower()
        if suffix not in _OTHER_SUFFIXES:
            raise load_error(archive.name, f"its file {name!r} has the type {suffix}, which is not accepted")
        _, file = files.add_output(token, entry.index, f".{suffix}", content)
        return replace(kept, file=file)
    try:
        checked = check_image(content)
    except ImageError as error:
        raise load_error(archive.name, f"its file {name!r} is not an image: {error}") from None
    path, file = files.add_output(token, entry.index, IMAGE_FORMATS[checked.format], content)
    if checked.image is not None:
        make_thumbnails(checked.image, path)
    width_px, height_px = checked.size
    return replace(
        kept, file=file, width_px=width_px, height_px=height_px, format=checked.format, error=checked.problem
    )


def _check_input(content: bytes, name: str, archive: str) -> None:
    try:
        open_image_file(content).close()
    except Exception as error:  # Pillow raises many types for invalid files
        raise load_error(archive, f"its file {name[:80]!r} is not an image") from error


def _new_sweep(sweep: SweepEntry) -> NewSweep:
    columns = {
        name: getattr(sweep, name) for name in ("name", "workflow", "workflow_id", "service", "created_at", "ended_at")
    }
    spec = msgspec.to_builtins(sweep.spec)
    cells = [(cell.number, cell.at, cell.params, cell.run) for cell in sweep.cells]
    return NewSweep(sweep.token, {**columns, "spec": spec}, cells)


def _reviews(manifest: Manifest, source: str) -> Iterable[NewReview]:
    """Yield ratings and scores. `source` is the name of the person who saved the archive."""
    for run in manifest.runs:
        for image in run.outputs:
            for entry in image.ratings:
                rated_by = source if entry.source == OWN else entry.source
                rating = Rating(entry.rating, entry.rejected, entry.note or "", rated_by, entry.rated_at)
                yield NewReview(run.token, image.index, rating=rating)
            for score in image.scores:
                yield NewReview(run.token, image.index, score=(score.name, Score(score.value, score.error)))
