"""The earlier runs, sweeps and images of the home folder, without a connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comflowy_nb.library import open_library

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import timedelta
    from pathlib import Path

    from comflowy_nb.archive.loader import Loaded
    from comflowy_nb.images.delete import Deleted
    from comflowy_nb.images.disk_usage import DiskUsage
    from comflowy_nb.images.prune import Pruned
    from comflowy_nb.library import Found
    from comflowy_nb.status import Status
    from comflowy_nb.sweeps.sweep import Sweep
    from comflowy_nb.tracking.run import Run

__all__ = ["delete", "disk", "find", "load", "prune", "runs", "save"]


def find(ref: str) -> Found:
    """Find the run, image or sweep of a reference in the history of the home folder. Needs no connection.

    Parameters
    ----------
    ref : str
        A run (`r41`, a name given with `--as`, a service's id or a unique prefix of it, `last`, `last~1`), a sweep
        (`s3` or its name), a cell of a sweep (`s3.12`), or an image of a run or a cell (`r41[0]`; `r41:9[0]` is the
        first image of node 9).

    Returns
    -------
    Found
        `found.run` is the run, `found.image` its image if `ref` names one, `found.sweep` the sweep.

    Raises
    ------
    RefError
        If `ref` is not a reference, if there is no such run or sweep, or if `ref` is the prefix of several ids.
    HistoryError
        If the history can't be opened or read.

    Examples
    --------
    >>> comflowy_nb.history.find("cat[0]").image.pil().size
    (64, 64)
    """
    return open_library().find(ref)


def runs(
    text: str | None = None,
    *,
    where: str | None = None,
    since: float | None = None,
    status: Status | str | None = None,
    workflow: str | None = None,
    limit: int | None = 20,
    **params: Any,
) -> list[Run]:
    """Search the runs in the history of the home folder. Needs no connection.

    Parameters
    ----------
    text : str, optional
        Words, separated by white space. Each must occur, in any case, in the params, the name, the workflow, the
        error, an id or the reference of a run.
    where : str, optional
        A condition of the values, such as `"cfg < 6 or steps > 20"`: comparisons, `in`, `contains`, `and`, `or`, `not`.
        If a run did not set a field, the value of the workflow is compared. A run that does not have a compared field,
        or has a value of another type in it, does not match.
        `rating`, `rated`, `rejected`, `note` and the names of scores are those of one image of the run, as in
        `"rating >= 4 and not rejected"`.
    since : float, optional
        Only runs that were recorded at or after this time, in UTC seconds since 1970.
    status : Status or str, optional
        Only runs with this status, such as `"success"`.
    workflow : str, optional
        Only runs of the workflow with this name or id.
    limit : int or None, default 20
        Maximum number of runs, at least 0; None returns all.
    **params : Any
        Only runs with these values, by a bare name (`cfg=7`), a field id (`**{"3::cfg": 7}`), or a label or a column
        of `--info` of a sweep. Numbers compare as numbers, everything else as text.

    Returns
    -------
    list of Run
        The runs for which all conditions hold, newest first. Their images are read from disk when they are used.

    Raises
    ------
    SettingsError
        If `status` is not a status, or `text`, `since` or `limit` is invalid.
    LineError
        If `where` can't be parsed.
    HistoryError
        If the history can't be opened or read.

    Examples
    --------
    >>> comflowy_nb.history.runs("cat", cfg=7, status="success", limit=1)
    [<Run r... 'cat' success ... s>]
    >>> comflowy_nb.history.runs(where="cfg > 6 or steps > 20", status="success", limit=1)
    [<Run r... success ... s>]
    """
    return open_library().runs(
        text, params=params, where=where, since=since, status=status, workflow=workflow, limit=limit
    )


def disk() -> DiskUsage:
    """Return the disk usage of the home folder. Needs no connection.

    Returns
    -------
    DiskUsage
        Number and size of the files, by kind and by workflow, and of the originals that `prune --older 30d` removes.

    Raises
    ------
    HistoryError
        If the history can't be opened or read.

    Examples
    --------
    >>> usage = comflowy_nb.history.disk()
    >>> sorted(usage.parts)[:3]
    ['history', 'originals', 'other files']
    >>> list(usage.workflows)
    ['default']
    """
    return open_library().disk()


def prune(
    older: float | timedelta,
    *,
    all: bool = False,  # noqa: A002 - the name of the option
    dry_run: bool = False,
    confirm: Callable[[Pruned], bool] | None = None,
) -> Pruned:
    """Remove the original images of earlier runs, and keep rows and thumbnails. Needs no connection.

    The same request still shows the image and submits nothing. A grid draws a pruned image from its thumbnail, and only
    `%comflowy show REF --refetch` fetches the original again. Originals of runs that are not done, or that an
    unfinished sweep shows, images without a thumbnail and other outputs than still images are never removed.

    Parameters
    ----------
    older : float or datetime.timedelta
        The minimum time since the end of a run: seconds, or a timedelta.
    all : bool, default False
        Whether to remove also originals of runs with a name, a rating or a note, and inputs of other runs.
    dry_run : bool, default False
        Whether to return only the plan, and remove nothing.
    confirm : callable, optional
        Called with the Pruned before anything is removed. Unless it returns true, nothing is removed.

    Returns
    -------
    Pruned
        The originals that were removed; with `dry_run`, those that would be removed.

    Raises
    ------
    SettingsError
        If `older` is not a number of seconds or a timedelta.
    HistoryError
        If the history can't be read or written.

    Examples
    --------
    >>> from datetime import timedelta
    >>> comflowy_nb.history.prune(timedelta(days=60), dry_run=True)
    <Pruned 0 originals to remove, 0 bytes>
    """
    return open_library().prune(older, all=all, dry_run=dry_run, confirm=confirm)


def delete(
    *refs: str | Run | Sweep, dry_run: bool = False, confirm: Callable[[Deleted], bool] | None = None
) -> Deleted:
    """Delete runs and sweeps: rows, images and thumbnails. Needs no connection.

    The same requests would be submitted again. A sweep is deleted with the runs that were submitted for it. Runs that
    another sweep shows, that have a name, or that the service may have accepted without an answer stay, and `kept` has
    the reason.

    Parameters
    ----------
    *refs : str, Run or Sweep
        Runs, cells of sweeps, and sweeps, or their references.
    dry_run : bool, default False
        Whether to return the runs and sweeps without deleting them.
    confirm : callable, optional
        Called with the Deleted before anything is deleted. Unless it returns true, nothing is deleted.

    Returns
    -------
    Deleted
        The runs and sweeps that were deleted; with `dry_run`, those that would be deleted.

    Raises
    ------
    RefError
        If a reference names no run or sweep, or a run that is live or held. Nothing is deleted then.
    HistoryError
        If the history can't be read or written.

    Examples
    --------
    >>> comflowy_nb.history.delete("looks.2", dry_run=True)
    <Deleted r... to delete, ...>
    """
    return open_library().delete(*refs, dry_run=dry_run, confirm=confirm)


# -- sharing ----------------------------------------------------------------------------------------------------------


def save(
    what: Any,
    target: str | Path,
    *,
    without: str | Iterable[str] = (),
    full: bool = False,
    along: str | None = None,
    duration: float | None = None,
    where: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Save runs, sweeps or images: copies, an archive, a page, a figure or an animation. Needs no connection.

    Parameters
    ----------
    what : str, Run, RunImage, Sweep, SweepCell, or a list of them
        What to save, or references of it.
    target : str or pathlib.Path
        A folder for copies with readable names; `NAME.zip`, an archive that `load` adds to another history;
        `NAME.html`, a page that works offline; `NAME.png` or `NAME.pdf`, the labelled grid; `NAME.gif` or `NAME.webp`
        with `along`. For one image also a file of its format.
    without : str or iterable of str, optional
        Parts to leave out: prompts, seeds, notes, workflow, inputs, metadata. All but notes also remove the metadata
        of the images.
    full : bool, default False
        In a page, embed the images in full size.
    along : str, optional
        Name of the axis that an animation follows.
    duration : float, default 0.5
        Duration of a frame of an animation in seconds, from 0.02 to 60.
    where : mapping, optional
        For an animation: value by the name of another axis, instead of its first value.

    Returns
    -------
    list of pathlib.Path
        The files that were written.

    Raises
    ------
    RefError
        If a reference names nothing.
    SettingsError
        If `target` can't hold it, or an option does not belong to it.
    ImageError
        If there are no images, the target can't be written, or images are missing on disk. The others are saved then.

    Examples
    --------
    >>> comflowy_nb.save(sweep, "seedless.zip", without="seeds")
    [...Path('seedless.zip')]
    >>> comflowy_nb.save([sweep[0], "cat"], "two.pdf")
    [...Path('two.pdf')]
    """
    from comflowy_nb.images.save_target import target_path  # noqa: PLC0415 - only to save
    from comflowy_nb.sharing.save import find_all, options_of, plan_save  # noqa: PLC0415 - loads Pillow

    library = open_library()
    options = options_of(without, full=full, along=along, duration=duration, where=where)
    return plan_save(library, find_all(what, library.find), target_path(target), options).write()


def load(path: str | Path, *, by: str | None = None) -> Loaded:
    """Load an archive or a file of ratings that another person has sent. Needs no connection.

    The runs and sweeps of an archive are added to the history with their images, ratings and scores. They are marked as
    imported: no service is asked about them, and they never answer a request. Loading a file again adds nothing.

    Parameters
    ----------
    path : str or pathlib.Path
        A zip file that `save` has written, or the `ratings.json` of a visitor of a saved page.
    by : str, optional
        The name of the sender, of at most 60 characters, which marks the ratings. By default the name in
        `ratings.json`, or that of the zip file.

    Returns
    -------
    Loaded
        References and counts of the new records.

    Raises
    ------
    ImageError
        If the file does not exist or can't be read; if it is damaged, of a newer version, or contains anything that
        `save` does not write. Nothing is loaded then.
    SettingsError
        If `by` is not a name, or the file is of another kind.
    HistoryError
        If the history can't be written. Nothing is loaded then.

    Examples
    --------
    >>> sweep.save("bottles.zip")
    [...Path('bottles.zip')]
    >>> comflowy_nb.load("bottles.zip").known[0] == sweep.ref
    True
    """
    return open_library().load(path, by=by)
