"""`%comflowy explore`: the explorer of sweeps and runs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from IPython.core.error import UsageError

from comflowy_nb.notebook.display.html import paragraph

if TYPE_CHECKING:
    from comflowy_nb.notebook.commands.options import Request
    from comflowy_nb.notebook.explore.widget import Explorer
    from comflowy_nb.notebook.session import Session


def explore(session: Session, request: Request) -> Explorer:
    """Show the explorer in this cell. A terminal shows the cells as text."""
    from comflowy_nb.notebook.explore import sources as explore_sources  # noqa: PLC0415 - loads ipywidgets

    options = request.options
    if request.words and "since" in options:
        raise UsageError("--since can't be used with references: it searches all runs, as in explore --since 7d")
    if not request.words and not options.keys() & {"since", "where"}:
        raise UsageError(f"missing argument. Usage: %comflowy {request.command.usage}")
    where = options.get("where", "")
    if request.words:
        found = explore_sources.find_sources(request.refs(), session)
    else:
        since = explore_sources.since_of(options.get("since"))
        found = explore_sources.find_runs(session, where=where, since=since)
        if len(found) == explore_sources.MAX_RUNS:
            session.say(paragraph(f"the newest {len(found):,} runs"))
    explorer = explore_sources.open_explorer(
        found,
        session,
        where=where if request.words else "",
        x=options.get("x", ""),
        y=options.get("y", ""),
        max_runs=options.get("max-runs"),
    )
    session.mark_drawn(explorer)  # so that the value of the cell is not shown again
    session.show_explorer(explorer)
    if "as" in options:
        session.shell.push({options["as"]: explorer})
    return explorer
