"""Commands for earlier and current runs: `show`, `compare`, `cancel` and `resume`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError

from comflowy_nb.database.references import parse_ref
from comflowy_nb.errors import RefError
from comflowy_nb.notebook.commands.list_sweeps import unfinished, unfinished_lines
from comflowy_nb.notebook.display.html import paragraph
from comflowy_nb.notebook.display.live import UPDATE_S, show_bundle, wait_drawing
from comflowy_nb.notebook.display.show import RunList, show_comparison
from comflowy_nb.notebook.display.status_line import plain_line
from comflowy_nb.notebook.display.sweep_list import submit_command
from comflowy_nb.notebook.display.sweep_status_line import plain_sweep_line

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


_CONFIRM_S = 15.0  # most services confirm a cancel at once


def show(session: Session, request: Request) -> Run | Sweep | RunList:
    """Show runs and sweeps with their images; download missing ones, and wait for runs in progress."""
    found = [session.find(ref) for ref in request.refs()]
    if "refetch" in request.options:
        refetch(session, found)
    swept = [session.sweep(each.sweep) for each in found if each.sweep is not None]
    if not swept:
        if "page" in request.options:
            raise UsageError("--page is for a sweep: %comflowy show s1 --page 2")
        return _show_runs(session, found)
    single = [each.run for each in found if each.sweep is None]
    return _show_all(session, swept, single, **request.arguments("page"))


def refetch(session: Session, found: Sequence[Found]) -> None:
    """Fetch the pruned originals of runs and sweeps again."""
    registry = session.connected().connection.registry
    runs: list[Run] = []
    for each in found:
        if each.sweep is None:
            runs.append(each.run)
        else:
            runs += [cell.run for cell in session.sweep(each.sweep).cells if cell.run is not None]
    pruned = [run for run in runs if any(image.is_pruned for image in run.images)]
    for run in pruned:
        registry.check_origin(run)
    for run in pruned:
        registry.refresh(run, refetch=True)


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
    images = read_images(request.refs(), find=session.find)
    made = Comparison(images, mode=options.get("mode"), label=options.get("label"))
    session.mark_drawn(made)  # so that the value of the cell is not shown again
    show_comparison(made, in_kernel=session.in_kernel)
    if "save" in options:
        session.say(paragraph(f"saved: {made.save(options['save']).name}"))
    return made


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
        return f"{client.label} can't cancel: {run.ref} continues"
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
    if not refs and not swept:
        session.say(paragraph(*_resumed_lines(session, client, resumed)))
    elif lines := [line for one in swept if (line := _missing_line(one))]:
        session.say(paragraph(*lines))
    if not refs:
        records = client.library.history.sweeps.of_runs([run.token for run in resumed])
        swept += [session.sweep(one) for one in {one.token: one for one in records.values()}.values()]
    in_sweeps = {cell.run.token for one in swept for cell in one.cells if cell.run is not None}
    return _show_all(session, swept, [run for run in resumed if run.token not in in_sweeps])


def _resumed_lines(session: Session, client: Client, resumed: Sequence[Run]) -> list[str]:
    """Return what is tracked and what is left to do, after all orphaned runs were adopted."""
    live = client.live()
    tracked = f"{len(live)} run{' is' if len(live) == 1 else 's are'} tracked"
    first = "all runs are done or tracked already" if not resumed else f"{len(resumed)} resumed"
    return [f"{first}; {tracked}" if live else first, *unfinished_lines(session, unfinished(session))]


def _missing_line(sweep: Sweep) -> str | None:
    """Return how to submit the cells of a sweep that have no run; None if there are none, or they are submitted."""
    missing = sum(cell.status is None for cell in sweep.cells)
    if not missing or sweep.is_sending or sweep.record is None:
        return None
    title = " ".join(filter(None, (sweep.ref, sweep.name)))
    cells = f"{missing} of {len(sweep.cells)} cells {'was' if missing == 1 else 'were'} not submitted"
    them = "it" if missing == 1 else "them"
    return f"{title}: {cells}. To submit {them}, run its cell again or {submit_command(sweep.record)}"


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
