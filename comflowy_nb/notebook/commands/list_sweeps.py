"""`%comflowy sweeps`, and the lines about sweeps that are running or not finished."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from comflowy_nb.database.process_locks import dead_owners
from comflowy_nb.notebook.commands.list_runs import DEFAULT_LIMIT, more_line
from comflowy_nb.notebook.display.html import join, paragraph
from comflowy_nb.notebook.display.sweep_list import submit_command, sweeps_table, unfinished_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from comflowy_nb.database.queries.sweep_summaries import SweepSummary
    from comflowy_nb.notebook.commands.options import Request
    from comflowy_nb.notebook.session import Session


_MAX_NAMED = 4
_MAX_AGE_S = 30 * 86400.0  # older unfinished sweeps are only in `%comflowy sweeps`


def sweeps(session: Session, request: Request) -> None:
    """List earlier sweeps, newest first."""
    options = request.options
    history, limit = session.library.history, options.get("limit", DEFAULT_LIMIT)
    found = history.sweeps.search(
        " ".join(request.text(word) for word in request.words) or None,
        where=options.get("where"),
        since=time.time() - options["since"] if "since" in options else None,
        limit=limit + 1,
    )
    if found:
        more = [more_line("sweeps", limit)] if len(found) > limit else []
        session.say(join(sweeps_table(found[:limit]), *more))
    elif not (count := history.sweeps.count()):
        session.say(paragraph("no sweeps yet: %comflowy sweep default cfg=4..8"))
    else:
        sweeps_text = "1 sweep" if count == 1 else f"{count:,} sweeps"
        session.say(paragraph(f"No sweeps match. %comflowy sweeps shows the latest. The history has {sweeps_text}."))


def unfinished(session: Session) -> list[SweepSummary]:
    """Return the newest sweeps of the last 30 days with cells that are live or were not submitted."""
    return session.library.history.sweeps.unfinished(since=time.time() - _MAX_AGE_S, limit=_MAX_NAMED + 1)


def unfinished_lines(session: Session, found: Sequence[SweepSummary], *, only_orphaned: bool = False) -> list[str]:
    """Return a line for each unfinished sweep: the numbers of its cells, and the command that continues it.

    Parameters
    ----------
    only_orphaned
        Leave out the sweeps of other services, and the sweeps whose process is alive.
    """
    owners = {owner for summary in found for owner in summary.submitters | summary.owners}
    dead = dead_owners(session.library.locks, owners)
    lines = []
    for summary in found[:_MAX_NAMED]:
        if only_orphaned and (_is_elsewhere(session, summary) or not summary.submitters & dead):
            continue
        lines.append(unfinished_line(summary, _advice(session, summary, dead)))
    if len(found) > _MAX_NAMED and not only_orphaned:
        lines.append("more are not finished: %comflowy sweeps lists them")
    return lines


def _advice(session: Session, summary: SweepSummary, dead: set[str]) -> str:
    """Return the command that continues a sweep; empty if a live process is submitting it."""
    record = summary.record
    if summary.submitters - dead or (not summary.missing and not summary.owners & dead):
        return ""
    resume = f"%comflowy resume {record.ref}"
    if not summary.missing:
        advice = f"{resume} tracks them again"
    else:
        advice = f"run its cell again or {resume if summary.live else submit_command(record)}"
    return f"connect to {record.service}, then {advice}" if _is_elsewhere(session, summary) else advice


def _is_elsewhere(session: Session, summary: SweepSummary) -> bool:
    """Return True if the service of a sweep is not connected."""
    return session.client is None or session.client.identity != summary.record.identity
