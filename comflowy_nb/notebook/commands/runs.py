"""Commands for earlier and current runs: `runs`, `show`, `compare`, `save`, `cancel` and `resume`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError

from comflowy_nb.database.references import parse_ref
from comflowy_nb.errors import RefError
from comflowy_nb.layout.value_text import name_fields, write_value
from comflowy_nb.notebook.commands.run import save_run
from comflowy_nb.notebook.commands.sweep import save_sweep
from comflowy_nb.notebook.display.html import join, paragraph, table
from comflowy_nb.notebook.display.live import UPDATE_S, show_bundle, wait_drawing
from comflowy_nb.notebook.display.show import RunList, show_comparison
from comflowy_nb.notebook.display.status_line import day, plain_line, time_text
from comflowy_nb.notebook.display.sweep_status_line import cells_table, plain_sweep_line, sweeps_table
from comflowy_nb.workflow.syntax.json_values import read_untyped
from comflowy_nb.workflow.syntax.line import expand

if TYPE_CHECKING:
    from collections.abc import Sequence

    from comflowy_nb.client import Client
    from comflowy_nb.library import Found
    from comflowy_nb.notebook.commands.options import Request
    from comflowy_nb.notebook.compare.widget import Comparison
    from comflowy_nb.notebook.display.views import View
    from comflowy_nb.notebook.session import Session
    from comflowy_nb.sweeps.sweep import Sweep
    from comflowy_nb.tracking.run import Run

__all__ = ["cancel", "compare", "resume", "runs", "runs_table", "save", "show"]

_LISTED_SWEEPS = 5  # below the newest runs
_CONFIRM_S = 15.0  # most services confirm a cancel at once


def runs(session: Session, request: Request) -> RunList:
    """List earlier runs, newest first."""
    options = request.options
    is_search = bool(request.words or request.fields or options)
    if len(request.words) == 1 and not request.fields and not options:
        swept = _sweep_named(session, request.ref(request.words[0]))
        if swept is not None:
            session.say(join(paragraph(plain_sweep_line(swept)), cells_table(swept)))
            return _shown(session, [cell.run for cell in swept.cells if cell.run is not None])
    params = {}
    for word in request.fields:
        value = expand(word.value or "", request.namespace)
        params[word.key or ""] = read_untyped(value) if isinstance(value, str) and not word.quoted else value
    found = session.library.runs(
        " ".join(request.text(word) for word in request.words) or None,
        params=params,
        since=time.time() - options["since"] if "since" in options else None,
        status=options.get("status"),
        workflow=options.get("workflow"),
        limit=options.get("limit", 20),
    )
    sweeps = [] if is_search else session.library.history.sweeps.recent(_LISTED_SWEEPS)
    if found:
        session.say(join(runs_table(found), *([sweeps_table(sweeps)] if sweeps else [])))
    elif is_search:
        session.say(paragraph("No runs match. %comflowy runs shows the latest."))
    else:
        session.say(paragraph("no runs yet: %comflowy run default"))
    return _shown(session, found)


def show(session: Session, request: Request) -> Run | Sweep | RunList:
    """Show runs and sweeps with their images; download missing ones, and wait for runs in progress."""
    found = [session.find(request.ref(word)) for word in request.words]
    swept = [session.sweep(each.sweep) for each in found if each.sweep is not None]
    if not swept:
        if "page" in request.options:
            raise UsageError("--page is for a sweep: %comflowy show s1 --page 2")
        return _show_runs(session, found)
    single = [each.run for each in found if each.sweep is None]
    return _show_all(session, swept, single, **request.arguments("page"))


def _show_runs(session: Session, found: Sequence[Found]) -> Run | RunList:
    runs = [each.run for each in found]
    if session.client is not None:
        for run in runs:
            session.client.connection.registry.refresh(run)
    in_one_grid = len(runs) > 1 and session.in_kernel and all(run.record.is_settled for run in runs)
    views = [
        session.view(
            each.run,
            outcome="shown",
            only=[each.image.record.index] if each.image is not None else None,
            with_images=not in_one_grid,
        )
        for each in found
    ]
    _wait(session, views)
    if in_one_grid and any(run.record.images for run in runs):
        from comflowy_nb.notebook.display.grids import Grid  # noqa: PLC0415 - loads matplotlib with the first image

        show_bundle(*Grid(runs).bundle())
    return runs[0] if len(runs) == 1 else _shown(session, runs)


def compare(session: Session, request: Request) -> Comparison:
    """Show a comparison in the cell; in a terminal, the differences and the paths of the images."""
    from comflowy_nb.comparison.inputs import read_images  # noqa: PLC0415 - loads numpy
    from comflowy_nb.notebook.compare.widget import Comparison  # noqa: PLC0415 - loads ipywidgets

    options = request.options
    images = read_images([request.ref(word) for word in request.words], find=session.find)
    made = Comparison(images, mode=options.get("mode"), label=options.get("label"))
    session.mark_drawn(made)  # so that the value of the cell is not shown again
    show_comparison(made, in_kernel=session.in_kernel)
    if "save" in options:
        session.say(paragraph(f"saved: {made.save(options['save']).name}"))
    return made


def save(session: Session, request: Request) -> None:
    """Save copies of the images of a run or a sweep, or of one image, with readable names."""
    found, target = session.find(request.ref(request.words[0])), request.text(request.words[1])
    if found.sweep is not None:
        save_sweep(session, session.sweep(found.sweep), target)
    else:
        save_run(session, found.run, target, found.image)


def cancel(session: Session, request: Request) -> None:
    """Cancel runs that are not done, if the service can."""
    client = session.connected()
    found: list[Found] = []
    for word in request.words:
        ref = request.ref(word)
        if isinstance(ref, str) and parse_ref(ref).run == "last" and parse_ref(ref).back >= len(client.library.recent):
            raise RefError(f"{ref} does not name a run of this kernel. Name the run: %comflowy cancel r41")
        found.append(session.find(ref))
    # All references are found before anything is cancelled.
    lines = [
        _cancel_run(client, each.run) if each.sweep is None else _cancel_sweep(client, session.sweep(each.sweep))
        for each in found
    ]
    session.say(paragraph(*lines))


def _cancel_run(client: Client, run: Run) -> str:
    """Cancel a run; return a line about the result."""
    if not run.status.is_live:
        return f"{run.ref} is not running: {run.status}"
    if not client.service.can_cancel:
        return f"{client.label} can't cancel: {run.ref} goes on"
    client.cancel(run)
    end_s = time.monotonic() + _CONFIRM_S
    while not run.wait_change(UPDATE_S) and time.monotonic() < end_s:
        pass
    return plain_line(run) if not run.status.is_live else f"{run.ref}: cancel requested, not confirmed yet"


def _cancel_sweep(client: Client, swept: Sweep) -> str:
    """Stop submitting a sweep and cancel its runs; return a line about the result."""

    def live() -> list[Run]:
        return [cell.run for cell in swept.cells if cell.run is not None and cell.run.status.is_live]

    if swept.is_settled and not live():
        return f"{swept.ref} is not running: {plain_sweep_line(swept)}"
    if swept.is_sending:
        swept.cancel()
    can_cancel, cancelled = client.service.can_cancel, set[str]()
    end_s = time.monotonic() + _CONFIRM_S
    # Another kernel may submit some more before it sees the request.
    while (swept.is_sending or (can_cancel and not swept.is_settled)) and time.monotonic() < end_s:
        for run in live():
            if can_cancel and run.token not in cancelled:
                cancelled.add(run.token)
                client.cancel(run)
        swept.wait_change(UPDATE_S)
    if swept.is_sending:
        return f"{swept.ref}: the kernel that submits it was asked to stop and has not confirmed it yet"
    if not can_cancel:
        count = len(live())
        go_on = "1 run goes" if count == 1 else f"{count} runs go"
        return f"{client.label} can't cancel: {go_on} on of {swept.ref}, and no more are submitted"
    return plain_sweep_line(swept)


def resume(session: Session, request: Request) -> Run | Sweep | RunList:
    """Continue to track the named runs, else all orphaned runs of this service, and show them."""
    client = session.connected()
    refs: list[str] = []
    swept: list[Sweep] = []
    for ref in map(request.ref, request.words):
        record = session.find(ref).sweep
        if record is None:
            refs.append(ref if isinstance(ref, str) else ref.ref)
            continue
        sweep = session.sweep(record)
        swept.append(sweep)
        refs += [cell.ref for cell in sweep.cells if cell.status is not None and not cell.status.is_final]
    resumed = client.resume(*refs) if refs or not swept else []
    if not resumed and not swept:
        session.say(paragraph("all runs are done or tracked already"))
    in_sweeps = {cell.run.token for one in swept for cell in one.cells if cell.run is not None}
    return _show_all(session, swept, [run for run in resumed if run.token not in in_sweeps])


def runs_table(found: Sequence[Run]) -> dict[str, str]:
    """Return a table of runs: reference, name, workflow, service, status, time, its times, values set."""
    rows = []
    for run in found:
        record = run.record
        names = name_fields(record.set_params)
        values = [
            f"{names[key]}={write_value(record.params[key])}" for key in record.set_params if key in record.params
        ]
        status = str(record.status) if record.status.is_live or not run.error else f"{record.status}: {run.error}"
        took, queued = ("" if one is None else time_text(one) for one in (record.seconds, record.queued_s))
        title = (record.ref, record.name or "", record.workflow, record.service)
        rows.append((*title, status, day(record.created_at), took, queued, " ".join(values)))
    services = {row[3] for row in rows}
    if len(services) == 1:
        rows = [(*row[:3], "", *row[4:]) for row in rows]
    return table(("run", "name", "workflow", "on", "status", "when", "took", "queued", "set"), rows)


def _sweep_named(session: Session, ref: Any) -> Sweep | None:
    """Return the sweep that a word names; None if it is a text to search for."""
    try:
        record = session.find(ref).sweep
    except RefError:
        return None
    return None if record is None else session.sweep(record)


def _show_all(session: Session, swept: list[Sweep], runs: list[Run], **options: Any) -> Run | Sweep | RunList:
    """Show sweeps, each with these options of its view, and then runs."""
    views: list[View] = [session.sweep_view(one, sent=False, **options) for one in swept]
    _wait(session, [*views, *(session.view(run, outcome="shown") for run in runs)])
    shown: list[Sweep | Run] = [*swept, *runs]
    return shown[0] if len(shown) == 1 else _shown(session, shown)


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
    session.mark_drawn(found)
    return found
