"""Count the files of the home folder and their bytes, by kind."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from comflowy_nb.errors import counted
from comflowy_nb.images.thumbnail_sizes import is_thumbnail

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from comflowy_nb.database.cleanup import Cleanup


# Part -> its content, in the order in which they are shown.
DISK_PARTS = {
    "originals": "images as the services sent them",
    "thumbnails": "small copies for the grids",
    "other outputs": "animations, videos, sounds, texts",
    "uploaded images": "inputs of runs",
    "sandbox": "the sandbox's runs and images",
    "history": "runs and sweeps, with a JSON file for each run",
    "other files": "names, saved graphs, lock files",
}
PRUNED_BY_DEFAULT_S = 30 * 86400.0  # minimum age of the runs whose originals `disk` counts as prunable
_MAY_BE_LINKS = {"images", "inputs", "sandbox"}  # folders of the home folder that are counted if they are links too
_ORIGINAL = re.compile(r".+_[0-9]+\.(?:png|jpg|webp)")


class Usage(NamedTuple):
    """A number of files and their size.

    Parameters
    ----------
    files : int
        Number of files.
    size_bytes : int
        Sum of their sizes, in bytes.
    """

    files: int = 0
    size_bytes: int = 0

    def add_file(self, size_bytes: int) -> Usage:
        """Return the usage with one more file.

        Parameters
        ----------
        size_bytes : int
            The size of the file, in bytes.

        Returns
        -------
        Usage
            The new usage.
        """
        return Usage(self.files + 1, self.size_bytes + size_bytes)


@dataclass(frozen=True, slots=True)
class DiskUsage:
    """The usage of the home folder; returned by `Client.disk` and `history.disk`.

    Parameters
    ----------
    parts : mapping of str to Usage
        The usage of each kind of file: `originals`, `thumbnails`, `other outputs`, `uploaded images`, `sandbox`,
        `history`, `other files`.
    workflows : mapping of str to Usage
        The usage of the outputs of each workflow, the largest first.
    unknown : Usage
        The outputs of runs that are not in the history, for example because a damaged history was replaced. `parts`
        includes them.
    prunable : Usage
        The originals that a prune of everything older than 30 days would remove.

    Examples
    --------
    >>> usage = client.disk()
    >>> usage.parts["originals"].files > 0
    True
    >>> usage.total.size_bytes == sum(part.size_bytes for part in usage.parts.values())
    True
    """

    parts: Mapping[str, Usage]
    workflows: Mapping[str, Usage]
    unknown: Usage
    prunable: Usage

    @property
    def total(self) -> Usage:
        """The usage of all files."""
        files = sum(part.files for part in self.parts.values())
        return Usage(files, sum(part.size_bytes for part in self.parts.values()))

    def __repr__(self) -> str:
        return f"<DiskUsage {self.total.files} files, {size_text(self.total.size_bytes)}>"


def size_text(size_bytes: int) -> str:
    """Format a size: `812 bytes`, `38 kB`, `4.5 MB`, `1.2 GB`."""
    if size_bytes < 1000:
        return counted(size_bytes, "byte")
    if size_bytes < 999_500:  # larger sizes would round to 1000 kB
        return f"{size_bytes / 1000:.0f} kB"
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes < 999_950_000 else f"{size_bytes / 1e9:.1f} GB"


def measure_disk(home: Path, cleanup: Cleanup, *, prunable: Usage | None = None, by_workflow: bool = True) -> DiskUsage:
    """Count the files of a home folder. Symbolic links inside its folders are not followed.

    `by_workflow=False` reads no workflows of runs from the history, and leaves `workflows` and `unknown` empty.
    """
    parts = dict.fromkeys(DISK_PARTS, Usage())
    of_runs: list[tuple[str, int]] = []  # run and size of each file in the images' folder
    others = cleanup.other_outputs()
    for folder, name, size_bytes in _files(home):
        part = _part(folder, name, others)
        parts[part] = parts[part].add_file(size_bytes)
        if by_workflow and folder[:1] == ("images",):
            of_runs.append((re.split("[_.]", name, maxsplit=1)[0], size_bytes))
    workflow_of = cleanup.workflows() if by_workflow else {}
    usages: dict[str | None, Usage] = {None: Usage()}  # None: runs that are unknown here
    for run, size_bytes in of_runs:
        workflow = workflow_of.get(run)
        usages[workflow] = usages.get(workflow, Usage()).add_file(size_bytes)
    unknown = usages.pop(None)
    workflows = sorted(usages.items(), key=lambda item: item[1].size_bytes, reverse=True)
    return DiskUsage(parts, {str(name): usage for name, usage in workflows}, unknown, prunable or Usage())


def _part(folder: tuple[str, ...], name: str, others: set[str]) -> str:
    """Return the key in `DISK_PARTS` of a file; `others` are the names of outputs that are not still images."""
    top = folder[0] if folder else ""
    if top == "images":
        if is_thumbnail(name):
            return "thumbnails"
        if name.endswith(".json") and "_" not in name:
            return "history"
        if name.endswith(".lock"):
            return "other files"
        return "originals" if _ORIGINAL.fullmatch(name) and name not in others else "other outputs"
    if top in {"sandbox", "inputs"}:
        return "sandbox" if top == "sandbox" else "uploaded images"
    return "history" if not folder and name.startswith("history.") else "other files"


def _files(home: Path) -> Iterator[tuple[tuple[str, ...], str, int]]:
    """Yield the folders, the name and the size of each file. A file that was removed meanwhile is left out."""
    pending: list[tuple[str, ...]] = [()]
    while pending:
        folder = pending.pop()
        try:
            entries = list(os.scandir(home.joinpath(*folder)))
        except OSError:
            continue
        for entry in entries:
            try:
                is_output_folder = not folder and entry.name in _MAY_BE_LINKS
                if entry.is_dir(follow_symlinks=is_output_folder):
                    pending.append((*folder, entry.name))
                else:
                    yield folder, entry.name, entry.stat(follow_symlinks=False).st_size
            except OSError:
                continue
