"""`comflowy_nb.explore`: open the explorer for sweeps, cells and runs, or for the results of a search."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comflowy_nb.comparison.inputs import flatten
from comflowy_nb.errors import RefError
from comflowy_nb.exploration.exploration import Exploration
from comflowy_nb.library import open_library
from comflowy_nb.notebook.explore.widget import Explorer
from comflowy_nb.notebook.magics import current_session
from comflowy_nb.sweeps.sweep import Sweep, SweepCell
from comflowy_nb.tracking.run import Run, RunImage
from comflowy_nb.workflow.syntax.json_values import shown

if TYPE_CHECKING:
    from collections.abc import Iterable

    from comflowy_nb.client import Client
    from comflowy_nb.library import Library
    from comflowy_nb.notebook.session import Session


MAX_RUNS = 1000  # limit of a search


def explore(
    *items: Any,
    where: str = "",
    since: float | None = None,
    x: str = "",
    y: str = "",
    max_runs: int | None = None,
    client: Client | None = None,
) -> Explorer:
    """Explore the images of sweeps or runs: step along their axes, spread two of them into a grid, rate and compare.

    Only submits of cells need a connection.

    Parameters
    ----------
    *items : Sweep, SweepCell, Run, RunImage, str or list of these
        The sweeps or runs to explore. A text is a reference such as `s1` or `r41`. The axes are those of the sweeps;
        with cells or runs, they are the fields in which these differ. Without items: the runs that match `where` and
        `since`, at most the 1,000 newest.
    where : str, default ""
        Show only the cells and runs that match this condition, such as `"cfg < 6 and rating >= 3"`.
    since : float, optional
        Without items: only runs that were recorded at or after this time, in UTC seconds since 1970.
    x, y : str, default ""
        Names of the axes of columns and rows. By default one large image is shown, with a control for each axis.
    max_runs : int, optional
        The number of submits that are permitted at once, as for `Client.sweep`.
    client : Client, optional
        The connection for "Run missing" and "Retry failed". By default the connection of the notebook.

    Returns
    -------
    Explorer
        The widget. A cell that ends with it displays it.

    Raises
    ------
    RefError
        If there is nothing to explore, a reference does not exist, or `x` or `y` is not an axis.
    LineError, FieldError
        If the condition is invalid.

    Examples
    --------
    >>> comflowy_nb.explore(sweep, x="cfg")
    <Explorer of s...>
    """
    session = current_session()
    sources = find_sources(items, session) if items else find_runs(session, where=where, since=since)
    if items and since is not None:
        raise RefError("since can't be used with references: it searches all runs")
    return open_explorer(sources, session, client=client, where=where if items else "", x=x, y=y, max_runs=max_runs)


def open_explorer(
    sources: list[Sweep | SweepCell | Run], session: Session | None, *, client: Client | None = None, **options: Any
) -> Explorer:
    """Return the explorer of these sources. `options` are passed to `Explorer`."""
    exploration = Exploration(sources)
    if client is not None:
        options["client"] = lambda: client
    elif session is not None:
        options["client"] = session.present_client
    explorer = Explorer(exploration, updater=session.updater if session is not None else None, **options)
    if session is not None:
        session.explorers.add(explorer)
    return explorer


def find_runs(session: Session | None, *, where: str, since: float | None) -> list[Sweep | SweepCell | Run]:
    """Return the newest runs that match.

    Raises
    ------
    RefError
        If no run matches, or both `where` and `since` are missing.
    """
    if not where and since is None:
        raise RefError("explore needs a sweep or runs: %comflowy explore s1, or --since 7d for the runs of a week")
    library = open_library() if session is None else session.library
    found = library.runs(where=where or None, since=since, limit=MAX_RUNS)
    if not found:
        raise RefError("no runs match, so there is nothing to explore; %comflowy runs shows the latest")
    client = None if session is None else session.client
    if client is not None:
        found = [client.connection.registry.run(run.record) for run in found]
    return list(found)


def find_sources(items: Iterable[Any], session: Session | None) -> list[Sweep | SweepCell | Run]:
    """Return the sweeps, cells and runs of objects and references, without duplicates.

    Raises
    ------
    RefError
        If an item is another object, or a reference does not exist.
    """
    owner: Library | Session = open_library() if session is None else session
    sources: dict[str, Sweep | SweepCell | Run] = {}
    for item in flatten(items):
        source = item
        if isinstance(item, str):
            found = owner.find(item)
            source = owner.sweep(found.sweep) if found.sweep is not None else found.run
        elif isinstance(item, RunImage):
            source = item.run
        if not isinstance(source, Sweep | SweepCell | Run):
            raise RefError(f"explore takes sweeps and runs, not {shown(item)}: %comflowy explore s1")
        if isinstance(source, Sweep) and session is not None:
            session.keep_sweep(source)
        sources.setdefault(source.ref, source)
    return list(sources.values())
