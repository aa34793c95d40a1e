"""`runs`, `show`, `save`, `cancel` and `resume`: commands for earlier and current runs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError

from comflowy_nb.database.references import parse_ref
from comflowy_nb.errors import RefError
from comflowy_nb.layout.captions import name_fields, write_value
from comflowy_nb.notebook.commands.run import save_run
from comflowy_nb.notebook.commands.sweep import save_sweep
from comflowy_nb.notebook.display.html import Table, join, paragraph, table
from comflowy_nb.notebook.display.live import wait_drawing
from comflowy_nb.notebook.display.show import RunList
from comflowy_nb.notebook.display.slots import show_bundle
from comflowy_nb.notebook.display.status import day, plain_line, time_text
from comflowy_nb.notebook.display.sweep_status import cells_table, plain_sweep_line, sweeps_table
from comflowy_nb.workflow.syntax.json_values import read_untyped
from comflowy_nb.workflow.syntax.line import expand

if TYPE_CHECKING:
    from collections.abc import Sequence

    from comflowy_nb.client import Client
    from comflowy_nb.library import Found
    from comflowy_nb.notebook.commands.table import Request
    from comflowy_nb.notebook.display.views import RunView, View
    from comflowy_nb.notebook.session import Session
    from comflowy_nb.sweeps.sweep import Sweep
    from comflowy_nb.tracking.run import Run

__all__ = ["as_table", "cancel", "resume", "runs", "save", "show"]

_LISTED_SWEEPS = 5  # below the newest runs
_CONFIRM_S = 15.0  # most services confirm a cancel at once


def runs(session: Session, request: Request) -> RunList:
    """List earlier runs, newest first."""
    options = request.options
    if len(request.words) == 1 and not request.fields and not options:
        named = _sweep_named(session, request.ref(request.words[0]))
        if named is not None:
            session.say(join(paragraph(plain_sweep_line(named)), table(cells_table(named))))
            return _shown(session, [cell.run for cell in named.cells if cell.run is not None])
    params = {}
    for word in request.fields:
        value = expand(word.value or "", request.namespace)
        params[word.key or ""] = read_untyped(value) if isinstance(value, str) and not word.quoted else value
    since = time.time() - options["since"] if "since" in options else None
    found = session.library.search(
        " ".join(request.text(word) for word in request.words) or None,
        params=params,
        since=since,
        status=options.get("status"),
        workflow=options.get("workflow"),
        limit=options.get("limit", 20),
    )
    sweeps = session.library.history.sweeps.recent(_LISTED_SWEEPS) if not _narrows(request) else []
    if found:
        session.say(join(table(as_table(found)), *([table(sweeps_table(sweeps))] if sweeps else [])))
    else:
        none = "No runs match. %comflowy runs shows the latest." if _narrows(request) else None
        session.say(paragraph(none or "no runs yet: %comflowy run default"))
    return _shown(session, found)


def show(session: Session, request: Request) -> Run | Sweep | RunList:
    """Show runs and sweeps with their images; download missing ones, and wait for runs in progress."""
    everything = [session.find(request.ref(word)) for word in request.words]
    swept = [session.sweep(each.sweep) for each in everything if each.sweep is not None]
    if swept:
        page = request.options.get("page", 1)
        runs_too = [session.view(each.run, how="shown") for each in everything if each.sweep is None]
        _wait(session, [*(session.sweep_view(sweep, sent=False, page=page) for sweep in swept), *runs_too])
        shown: list[Any] = [*swept, *(view.run for view in runs_too)]
        return shown[0] if len(shown) == 1 else _shown(session, shown)
    if "page" in request.options:
        raise UsageError("--page is for a sweep: %comflowy show s1 --page 2")
    return _show_runs(session, everything)


def _show_runs(session: Session, found: Sequence[Found]) -> Run | RunList:
    for each in found:
        if session.client is not None:
            session.client.refresh(each.run)
    together = len(found) > 1 and session.in_kernel and all(each.run.record.is_settled for each in found)
    views = [_view(session, each, with_images=not together) for each in found]
    _wait(session, views)
    if together and any(each.run.record.images for each in found):
        from comflowy_nb.notebook.display.run_grid import Grid  # noqa: PLC0415 - loads matplotlib with the first image

        show_bundle(*Grid([each.run for each in found]).bundle())
    return found[0].run if len(found) == 1 else _shown(session, [each.run for each in found])


def save(session: Session, request: Request) -> None:
    """Write copies of the images of a run or a sweep, or of one image, with readable names."""
    found = session.find(request.ref(request.words[0]))
    if found.sweep is not None:
        save_sweep(session, session.sweep(found.sweep), request.text(request.words[1]))
        return
    save_run(session, found.run, request.text(request.words[1]), found.image)


def cancel(session: Session, request: Request) -> None:
    """Cancel runs that are not done, if the service can."""
    client = session.connected()
    found: list[Run] = []
    lines: list[str] = []
    for word in request.words:
        ref = request.ref(word)
        if isinstance(ref, str) and parse_ref(ref).run == "last" and parse_ref(ref).back >= len(client.library.recent):
            raise RefError(f"{ref} does not name a run of this kernel. Name the run: %comflowy cancel r41")
        named = session.find(ref)
        if named.sweep is None:
            found.append(named.run)
        else:
            lines.append(_stop_sweep(client, session.sweep(named.sweep)))
    for run in found:
        if not run.status.is_live:
            lines.append(f"{run.ref} is not running: {run.status}")
        elif not client.service.can_cancel:
            lines.append(f"{client.label} can't cancel: {run.ref} goes on")
        else:
            client.cancel(run)
            run_end_s = time.monotonic() + _CONFIRM_S
            while not run.wait_change(0.25) and time.monotonic() < run_end_s:
                pass
            lines.append(
                plain_line(run) if not run.status.is_live else f"{run.ref}: cancel requested, not confirmed yet"
            )
    session.say(paragraph(*lines))


def resume(session: Session, request: Request) -> Run | Sweep | RunList:
    """Continue to follow the named runs, else all orphaned runs of this service, and show them."""
    client = session.connected()
    refs: list[str] = []
    swept = []
    for ref in map(request.ref, request.words):
        record = session.find(ref).sweep
        if record is None:
            refs.append(ref if isinstance(ref, str) else ref.ref)
            continue
        sweep = session.sweep(record)
        swept.append(sweep)
        refs += [cell.ref for cell in sweep.cells if cell.status is not None and not cell.status.is_final]
    taken = client.resume(*refs) if refs or not swept else []
    if swept:
        views: list[Any] = [session.sweep_view(one, sent=False) for one in swept]
        in_sweeps = {cell.run.token for one in swept for cell in one.cells if cell.run is not None}
        views += [session.view(run, how="shown") for run in taken if run.token not in in_sweeps]
        _wait(session, views)
        return swept[0] if len(views) == 1 else _shown(session, [*swept, *taken])
    if not taken:
        session.say(paragraph("all runs are done or followed already"))
        return _shown(session, [])
    _wait(session, [session.view(run, how="shown") for run in taken])
    return taken[0] if len(taken) == 1 else _shown(session, taken)


def as_table(found: Sequence[Run]) -> Table:
    """Return runs as rows: reference, name, workflow, service, status, time, duration, values set."""
    rows = []
    for run in found:
        record = run.record
        names = name_fields(record.set_params)
        values = [
            f"{names[key]}={write_value(record.params[key])}" for key in record.set_params if key in record.params
        ]
        status = str(record.status) if record.status.is_live or not run.error else f"{record.status}: {run.error}"
        took = time_text(record.seconds) if record.seconds is not None else ""
        started = day(record.created_at)
        rows.append(
            (record.ref, record.name or "", record.workflow, record.service, status, started, took, " ".join(values))
        )
    services = {row[3] for row in rows}
    if len(services) == 1:
        rows = [(*row[:3], "", *row[4:]) for row in rows]
    return Table(("run", "name", "workflow", "on", "status", "when", "took", "set"), rows)


def _narrows(request: Request) -> bool:
    return bool(request.words or request.fields or request.options)


def _view(session: Session, found: Found, *, with_images: bool) -> RunView:
    only = [found.image.record.index] if found.image is not None else None
    return session.view(found.run, how="shown", only=only, with_images=with_images)


def _stop_sweep(client: Client, swept: Sweep) -> str:
    """Stop submitting a sweep and cancel its runs; return a line about the result."""
    running = [cell.run for cell in swept.cells if cell.run is not None and cell.run.status.is_live]
    if not running and swept.is_settled:
        return f"{swept.ref} is not running: {plain_sweep_line(swept)}"
    if swept.is_sending:
        swept.cancel()
    can_cancel, asked = client.service.can_cancel, set[str]()
    end_s = time.monotonic() + _CONFIRM_S
    # Another kernel may submit some more before it sees the request.
    while (swept.is_sending or (can_cancel and not swept.is_settled)) and time.monotonic() < end_s:
        for cell in swept.cells:
            if can_cancel and cell.run is not None and cell.run.status.is_live and cell.run.token not in asked:
                asked.add(cell.run.token)
                client.cancel(cell.run)
        swept.wait_change(0.25)
    if swept.is_sending:
        return f"{swept.ref}: the kernel that submits it was asked to stop and has not answered yet"
    if not can_cancel:
        running = [cell.run for cell in swept.cells if cell.run is not None and cell.run.status.is_live]
        return f"{client.label} can't cancel: {len(running)} of {swept.ref} go on, and no more are submitted"
    return plain_sweep_line(swept)


def _sweep_named(session: Session, ref: Any) -> Sweep | None:
    """Return the sweep that a word names; None if it is a text to search for."""
    try:
        record = session.find(ref).sweep
    except RefError:
        return None
    return None if record is None else session.sweep(record)


def _wait(session: Session, views: Sequence[View]) -> None:
    """Wait until all are settled; an interrupt only stops waiting. Without a connection, show the history."""
    if session.client is None:
        for view in views:
            if not view.is_settled:
                view.note("last known status. To follow it, connect and show it again")
            view.finish()
        return
    try:
        wait_drawing(views)
    except KeyboardInterrupt as interrupt:
        for view in views:
            session.updater.add(view)
        interrupt.args = ("stopped waiting; the runs go on",)
        raise


def _shown(session: Session, found: Sequence[Any]) -> RunList:
    """Return the runs as a list that this execution does not show again."""
    found = RunList(found)
    session.drawn.add(found.token)
    return found
