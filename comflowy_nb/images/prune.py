"""Prune: remove the originals of earlier runs, and keep their rows and thumbnails.

Thumbnails are made first, then the images are set to `pruned` in one transaction, then the files are removed.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from comflowy_nb.database.cleanup import is_protected
from comflowy_nb.errors import ComflowyError, SettingsError, counted
from comflowy_nb.images.disk_usage import Usage, size_text
from comflowy_nb.images.removal import finish_removals, original_path, remove_if_deleted, size_of
from comflowy_nb.images.store import write_sidecar
from comflowy_nb.images.thumbnail_sizes import THUMBNAIL_SIZES_PX
from comflowy_nb.images.thumbnails import thumbnail_files, thumbnail_path

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from comflowy_nb.database.cleanup import Original
    from comflowy_nb.database.runs import History


@dataclass(frozen=True, slots=True)
class Pruned:
    """The originals that a prune has removed, or would remove; returned by `Client.prune` and `history.prune`.

    Parameters
    ----------
    images : Usage
        Number and size of the originals.
    runs : tuple of str
        Tokens of their runs.
    oldest, newest : float or None
        When the first and the last of these runs ended, in UTC seconds since 1970; None without originals.
    protected : int
        Number of originals that are old enough but are kept, because they are named, rated or
        noted, or inputs of other runs.
    is_done : bool
        Whether the originals were removed: False with `dry_run`.

    Examples
    --------
    >>> from datetime import timedelta
    >>> pruned = client.prune(timedelta(days=60))
    >>> pruned.images.files, pruned.is_done
    (0, True)
    """

    images: Usage
    runs: tuple[str, ...]
    oldest: float | None
    newest: float | None
    protected: int
    is_done: bool

    def __repr__(self) -> str:
        count, size_bytes = self.images
        verb = "removed" if self.is_done else "to remove"
        return f"<Pruned {counted(count, 'original')} {verb}, {size_text(size_bytes)}>"


def age_s(older: float | timedelta) -> float:
    """Return the minimum age of the runs to prune, in seconds.

    Raises
    ------
    SettingsError
        If it is not a number of seconds, from 0, or a timedelta.
    """
    seconds = older.total_seconds() if isinstance(older, timedelta) else older
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds >= 0:
        raise SettingsError(f"invalid age {older!r}: use seconds, or a timedelta such as datetime.timedelta(days=60)")
    return float(seconds)


def prunable(history: History, images: Path, *, before: float) -> Pruned:
    """Return the originals that a prune would remove, of runs that ended before a time."""
    chosen, protected = _choose(history, images, before, all=False)
    return _summary(chosen, protected, is_done=False)


def prune(
    history: History,
    images: Path,
    older: float | timedelta,
    *,
    all: bool = False,  # noqa: A002 - the name of the option
    dry_run: bool = False,
    confirm: Callable[[Pruned], bool] | None = None,
) -> Pruned:
    """Remove originals; see `history.prune`."""
    before = time.time() - age_s(older)
    chosen, protected = _choose(history, images, before, all=all)
    planned = _summary(chosen, protected, is_done=False)
    if dry_run or (confirm is not None and chosen and not confirm(planned)):
        return planned
    ready = [(original, size_bytes) for original, size_bytes in chosen if _has_thumbnails(images, original)]
    pruned = history.cleanup.prune([original for original, _ in ready], before=before, all=all) if ready else []
    keys = {(original.run, original.image.index) for original in pruned}
    for original, _ in chosen:
        if (original.run, original.image.index) not in keys:  # its run may be deleted since its thumbnails were made
            remove_if_deleted(history.cleanup, original.run, *thumbnail_files(images, original.image))
    for run in dict.fromkeys(original.run for original in pruned):
        _write_sidecar(history, images, run)
    finish_removals(history.cleanup, images)
    done = [(original, size_bytes) for original, size_bytes in ready if (original.run, original.image.index) in keys]
    # Files that can't be removed now are tried again later.
    done = [(original, size_bytes) for original, size_bytes in done if _path(images, original) is None]
    return _summary(done, protected, is_done=True)


def _choose(history: History, images: Path, before: float, *, all: bool) -> tuple[list[tuple[Original, int]], int]:  # noqa: A002
    """Return the originals to prune, each with its size, and the number of protected originals."""
    chosen: list[tuple[Original, int]] = []
    protected = 0
    for original in history.cleanup.originals(before=before):
        path = _path(images, original)
        if path is None:
            continue
        if not all and is_protected(original):
            protected += 1
        else:
            chosen.append((original, size_of(path)))
    return chosen, protected


def _path(images: Path, original: Original) -> Path | None:
    return original_path(images, original.run, original.image.index, original.image.file)


def _has_thumbnails(images: Path, original: Original) -> bool:
    """Make missing thumbnails of an image. Return True if the image can be drawn without its original."""
    try:
        for size_px in THUMBNAIL_SIZES_PX:
            thumbnail_path(images, original.image, size_px)
    except (ComflowyError, OSError):
        return False
    return True


def _write_sidecar(history: History, images: Path, run: str) -> None:
    """Record in the sidecar of a run which images are pruned. If this fails, the sidecar keeps its old content."""
    record = history.get(run)
    try:
        if record is not None:
            sidecar = write_sidecar(images, record)
            if sidecar is not None:
                remove_if_deleted(history.cleanup, run, sidecar)
    except (ComflowyError, OSError):
        return


def _summary(originals: Sequence[tuple[Original, int]], protected: int, *, is_done: bool) -> Pruned:
    ends = [original.ended_at for original, _ in originals]
    return Pruned(
        Usage(len(originals), sum(size_bytes for _, size_bytes in originals)),
        tuple(dict.fromkeys(original.run for original, _ in originals)),
        min(ends, default=None),
        max(ends, default=None),
        protected,
        is_done,
    )
