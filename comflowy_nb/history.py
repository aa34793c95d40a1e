"""The earlier runs, sweeps and images of the home folder, without a connection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comflowy_nb.library import open_library

if TYPE_CHECKING:
    from comflowy_nb.library import Found
    from comflowy_nb.status import Status
    from comflowy_nb.tracking.run import Run

__all__ = ["find", "runs"]


def find(ref: str) -> Found:
    """Return what a reference names in the history of the home folder. Needs no connection.

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
        If `ref` is not a reference, names nothing, or is the prefix of several ids.
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
    since : float, optional
        Only runs that were recorded at or after this time, in UTC seconds since 1970.
    status : Status or str, optional
        Only runs with this status, such as `"success"`.
    workflow : str, optional
        Only runs of the workflow with this name or id.
    limit : int or None, default 20
        Greatest number of runs, at least 0; None returns all.
    **params : Any
        Only runs with these values, by a bare name (`cfg=7`) or a field id (`**{"3::cfg": 7}`). Numbers compare as
        numbers, everything else as text.

    Returns
    -------
    list of Run
        The runs for which all conditions hold, newest first. Their images are read from disk when they are used.

    Raises
    ------
    SettingsError
        If `status` is not a status, or `text` or `limit` is invalid.
    HistoryError
        If the history can't be opened or read.

    Examples
    --------
    >>> comflowy_nb.history.runs("cat", cfg=7, status="success", limit=1)
    [<Run r... 'cat' success ... s>]
    """
    return open_library().runs(text, params=params, since=since, status=status, workflow=workflow, limit=limit)
