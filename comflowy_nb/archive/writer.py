"""Write an archive: a zip file with unchanged images, and a manifest with all other data.

Equal contents give an equal file: the zip file has no times, and its entries are in a fixed order.
"""

from __future__ import annotations

import hashlib
import uuid
import zipfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from comflowy_nb.archive.manifest import MANIFEST, encode_manifest
from comflowy_nb.archive.redaction import collect_without, strips_metadata
from comflowy_nb.errors import ImageError
from comflowy_nb.images.disk_usage import size_text
from comflowy_nb.images.save import add_parts, slug, values_in_name
from comflowy_nb.images.save_target import PARTS, move_new, writing_to
from comflowy_nb.images.strip import embedded_texts, strip_metadata
from comflowy_nb.workflow.files import locked_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from comflowy_nb.archive.collect import Collected
    from comflowy_nb.archive.manifest import ImageEntry, RunEntry
    from comflowy_nb.database.records import ImageRecord, RunRecord, SweepRecord
    from comflowy_nb.database.runs import History


# Formats whose metadata can be removed.
_STRIPPABLE = frozenset({"PNG", "JPEG", "WEBP", "ANIMATED PNG", "ANIMATED WEBP"})
_MAX_LISTED_REFS = 6
_TEXT_CODES = ("utf-8", "utf-16-le", "utf-16-be")


class Archive:
    """A zip file to write, and its description for the user.

    Parameters
    ----------
    runs
        Runs, each with the one image to save, or None for all images.
    parts
        The parts to leave out.

    Raises
    ------
    ImageError
        If none of the images is on disk.
    """

    def __init__(
        self,
        history: History,
        home: Path,
        runs: Sequence[tuple[RunRecord, ImageRecord | None]],
        sweeps: Sequence[SweepRecord],
        parts: frozenset[str] = frozenset(),
    ) -> None:
        self._collected = collect_without(history, home, runs, sweeps, parts)
        self._parts = parts
        strips = strips_metadata(parts)
        self._metadata = MetadataFilter(self._collected.clean, strips=strips)
        self._dropped = self._drop_other_files() if strips else []
        if not self._collected.sources:
            raise _nothing_to_save(self._collected, [run for run, _ in runs], sweeps)
        self._name_files()

    def lines(self, name: str) -> list[str]:
        """Return lines for the user: the contents of the file, its size, and the omitted parts."""
        contents = contents_of(self._collected)
        lines = [f"{name}: {contents.what}, {size_text(contents.size_bytes)}", contents.parts_text(self._parts)]
        if self._dropped:
            lines.append(f"left out, because their metadata can't be removed: {listed(self._dropped)}")
        if self._collected.unfinished:
            lines.append(f"left out, because they have not ended: {listed(self._collected.unfinished)}")
        return lines

    def notes(self) -> list[str]:
        """Return lines for the user that are known only after the write."""
        return self._metadata.notes()

    def write(self, target: Path) -> Path:
        """Write the zip file.

        Returns
        -------
        Its path, with a number in its name if another file has that name. An equal file is reused.

        Raises
        ------
        ImageError
            If the file can't be written, or if images are not on disk. In that case the file has the other images.
        """
        with writing_to(target.parent, f"{target.name} can't be written"):
            part = target.with_name(f".{uuid.uuid4().hex}.part")
            with locked_file(part):
                self._write(part)
                target = move_new(part, target)
        missing, saved = self._collected.missing, len(self._collected.sources)
        if missing:
            refs = " ".join(dict.fromkeys(ref.partition("[")[0] for ref in missing[:_MAX_LISTED_REFS]))
            raise ImageError(
                f"{saved} of {saved + len(missing)} images saved in {target.name}; not on disk: {listed(missing)}. "
                f"%comflowy show {refs} fetches them again"
            )
        return target

    def _drop_other_files(self) -> list[str]:
        """Drop the files whose metadata can't be removed, and return their references."""
        dropped = []
        for run, image in _images(self._collected):
            if image.format not in _STRIPPABLE and (run.token, image.index) in self._collected.sources:
                del self._collected.sources[run.token, image.index]
                dropped.append(f"{run.ref}[{image.index}]")
        return dropped

    def _name_files(self) -> None:
        """Give each file a readable name, from the values that are not left out."""
        used: Counter[str] = Counter()
        for run, image in _images(self._collected):
            source = self._collected.sources.get((run.token, image.index))
            if source is not None:
                image.file = _unique(f"images/{_readable_name(run, image)}{source.suffix}", used)
        for entry in self._collected.manifest.inputs:
            suffix = PurePosixPath(entry.names[0]).suffix.lower() if entry.names else ""
            is_plain = suffix[1:].isascii() and suffix[1:].isalnum() and len(suffix) <= 6
            entry.file = _unique(f"inputs/{entry.identity[:16]}{suffix if is_plain else ''}", used)

    def _write(self, part: Path) -> None:
        collected = self._collected
        with zipfile.ZipFile(part, "w") as archive:
            for run, image in _images(collected):
                if image.file is not None:
                    content = collected.sources[run.token, image.index].read_bytes()
                    content = self._metadata.apply(content, f"{run.ref}[{image.index}]")
                    image.sha256 = hashlib.sha256(content).hexdigest()
                    archive.writestr(zipfile.ZipInfo(image.file), content)  # not compressed: images already are
            for entry in collected.manifest.inputs:
                content = self._metadata.apply(collected.inputs[entry.identity], "an input image")
                entry.sha256 = hashlib.sha256(content).hexdigest()
                archive.writestr(zipfile.ZipInfo(entry.file), content)
            manifest = encode_manifest(collected.manifest)
            archive.writestr(zipfile.ZipInfo(MANIFEST), manifest, zipfile.ZIP_DEFLATED)


class MetadataFilter:
    """Removes the metadata of images: of all, or of those whose metadata contains a home path or a service's host.

    Parameters
    ----------
    clean
        Returns a text without home paths and hosts.
    strips
        Remove the metadata of all images.
    """

    def __init__(self, clean: Callable[[str], str], *, strips: bool) -> None:
        self._clean = clean
        self._strips = strips
        self._private: list[str] = []  # references of the images whose metadata has a home path or a host

    def apply(self, content: bytes, ref: str) -> bytes:
        """Return the content of an image file without the metadata to remove."""
        if not self._strips:
            if not _has_private_text(content, self._clean):
                return content
            self._private.append(ref)
        stripped = strip_metadata(content)
        # A colour profile has texts too, and changes the colours a little if it is removed.
        return strip_metadata(content, keep_profile=False) if _has_private_text(stripped, self._clean) else stripped

    def notes(self) -> list[str]:
        """Return a line for the user about the images whose metadata was removed because of a home path or a host."""
        refs = listed(self._private)
        return [f"metadata with a home path or a host name was removed from {refs}"] if refs else []


def _has_private_text(content: bytes, clean: Callable[[str], str]) -> bool:
    """Return True if the metadata of an image file contains a home path or the host of a service."""
    try:
        parts = embedded_texts(content)
    except ImageError:  # another format
        return False
    decoded = (part.decode(code, "replace") for part in parts for code in _TEXT_CODES)
    return any(clean(text) != text for text in decoded)


@dataclass(frozen=True, slots=True)
class Contents:
    """The contents of a saved file, as texts for the user.

    Parameters
    ----------
    what
        The runs, sweeps and images: `s1 bottles (12 cells), 12 images`.
    size_bytes
        Size of the images.
    parts
        Part that can be left out -> its text, such as `3 ratings`.
    """

    what: str
    size_bytes: int
    parts: dict[str, str]

    def parts_text(self, without: frozenset[str]) -> str:
        """Return a text that names the included and the omitted parts of the file."""
        kept = [text for part, text in self.parts.items() if part not in without]
        text = f"with {', '.join(kept)}" if kept else ""
        if without:
            left_out = [part for part in PARTS if part in without]
            if strips_metadata(without) and "metadata" not in without:
                left_out.append("the metadata of the images")
            return f"{text}{'; ' if text else ''}without {', '.join(left_out)}"
        return f"{text}; --without {','.join(part for part in PARTS if part in self.parts)} leaves parts out"


def contents_of(collected: Collected) -> Contents:
    """Describe the collected runs and sweeps."""
    manifest = collected.manifest
    in_sweeps = {cell.run for sweep in manifest.sweeps for cell in sweep.cells}
    names = [
        f"{' '.join(filter(None, (sweep.ref, sweep.name)))} ({_count(len(sweep.cells), 'cell')})"
        for sweep in manifest.sweeps
    ]
    single = [" ".join(filter(None, (run.ref, run.name))) for run in manifest.runs if run.token not in in_sweeps]
    size_bytes = sum(path.stat().st_size for path in collected.sources.values() if path.is_file())
    size_bytes += sum(map(len, collected.inputs.values()))
    ratings = [rating for run in manifest.runs for image in run.outputs for rating in image.ratings]
    scores = sum(len(image.scores) for run in manifest.runs for image in run.outputs)
    notes = sum(rating.note is not None for rating in ratings)
    rated = sum(rating.rating is not None or rating.rejected for rating in ratings)
    parts = {"prompts": "prompts", "seeds": "seeds"}
    if rated or scores:
        parts["ratings"] = ", ".join(
            _count(count, noun) for count, noun in ((rated, "rating"), (scores, "score")) if count
        )
    if notes:
        parts["notes"] = _count(notes, "note")
    parts["workflow"] = "the workflow"
    if manifest.inputs:
        parts["inputs"] = _count(len(manifest.inputs), "input image")
    parts["metadata"] = "the metadata of the images"
    images = _count(len(collected.sources), "image")
    return Contents(", ".join([listed([*names, *single]), images]), size_bytes, parts)


def _nothing_to_save(collected: Collected, runs: Sequence[RunRecord], sweeps: Sequence[SweepRecord]) -> ImageError:
    if collected.missing:
        return ImageError(f"none of the images is on disk: {listed(collected.missing)}")
    if len(runs) == 1 and not sweeps:
        return ImageError(f"{runs[0].ref} has no images to save ({runs[0].status})")
    refs = [*(sweep.ref for sweep in sweeps), *(run.ref for run in runs)]
    return ImageError(f"{listed(refs)} {'have' if len(refs) > 1 else 'has'} no images to save")


def _images(collected: Collected) -> Iterable[tuple[RunEntry, ImageEntry]]:
    return ((run, image) for run in collected.manifest.runs for image in run.outputs)


def _readable_name(run: RunEntry, image: ImageEntry) -> str:
    """Return the reference, the name of a single run, and the values that were set: `s1.07_cfg-7_seed-42_0`."""
    prefix = run.ref if "." in run.ref else f"{run.ref}_{slug(run.name or run.workflow)}"
    return add_parts(prefix, values_in_name(run.set_params, run.params), f"_{image.index}")


def _unique(name: str, used: Counter[str]) -> str:
    """Return a unique file name, with a number if needed. Names that differ in case are equal on some file systems."""
    path = PurePosixPath(name)
    used[name.casefold()] += 1
    number = used[name.casefold()]
    return name if number == 1 else _unique(path.with_stem(f"{path.stem} ({number})").as_posix(), used)


def listed(refs: Sequence[str]) -> str:
    """Return the first references, and the number of the others."""
    more = len(refs) - _MAX_LISTED_REFS
    return ", ".join(refs[:_MAX_LISTED_REFS]) + (f" and {more} more" if more > 0 else "")


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s' * (count != 1)}"
