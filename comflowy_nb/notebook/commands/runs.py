"""Commands for earlier and current runs: `show`, `compare`, `cancel` and `resume`."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError

from comflowy_nb.database.references import parse_ref
from comflowy_nb.errors import RefError
from comflowy_nb.layout.value_text import find_names
from comflowy_nb.notebook.commands.list_sweeps import unfinished, unfinished_lines
from comflowy_nb.notebook.display.html import paragraph
from comflowy_nb.notebook.display.live import UPDATE_S, show_bundle, wait_drawing
from comflowy_nb.notebook.display.show import RunList, mark_shown, show_comparison
from comflowy_nb.notebook.display.status_line import plain_line
from comflowy_nb.notebook.display.sweep_list import submit_command
from comflowy_nb.notebook.display.sweep_status_line import plain_sweep_line
from comflowy_nb.tracking.run_images import damage_text
from comflowy_nb.workflow.files import new_folder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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
    """Show runs and sweeps. Download missing images, and wait for runs in progress."""
    found = [session.find(ref) for ref in request.refs()]
    if "refetch" in request.options:
        refetch(session, found)
    sweeps = [session.sweep(item.sweep) for item in found if item.sweep is not None]
    runs = [item.run for item in found if item.sweep is None]
    names = _read_label(session, request, sweeps, runs)
    if not sweeps:
        if "page" in request.options:
            raise UsageError("--page is for a sweep: %comflowy show s1 --page 2")
        return _show_runs(session, found, names)
    return _show_all(session, sweeps, runs, names, **request.arguments("page"))


@dataclass(frozen=True, slots=True)
class _Names:
    """Caption names of `--label`, and column texts (run token -> name -> text)."""

    label: Sequence[str] | None = None
    columns: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def of(self, run: Run) -> dict[str, Any]:
        """Return the options of the view of a run."""
        return {"label": self.label, "columns": self.columns.get(run.token)}


def _read_label(session: Session, request: Request, sweeps: Sequence[Sweep], runs: Sequence[Run]) -> _Names:
    """Return the names in `--label`: fields and columns of any of the sweeps and runs to show."""
    if "label" not in request.options:
        return _Names()
    columns = session.library.history.sweeps.columns([run.token for run in runs])
    column_names = {name for sweep in sweeps for name in sweep.axes.columns}
    column_names |= {name for texts in columns.values() for name in texts}
    params = [*(cell.params for sweep in sweeps for cell in sweep.cells), *(run.params for run in runs)]
    ids = [key for params_of_run in params for key in params_of_run]
    return _Names(find_names(request.options["label"], ids, column_names), columns)


def refetch(session: Session, found: Sequence[Found]) -> None:
    """Fetch the pruned and damaged originals of runs and sweeps again."""
    registry = session.connected().connection.registry
    runs: list[Run] = []
    for item in found:
        if item.sweep is None:
            runs.append(item.run)
        else:
            runs += [cell.run for cell in session.sweep(item.sweep).cells if cell.run is not None]
    incomplete = [
        run for run in runs if any(image.is_pruned or image.is_damaged for image in (*run.images, *run.files))
    ]
    for run in incomplete:  # all are checked before the first request
        registry.check_origin(run)
    for run in incomplete:
        registry.refresh(run, refetch=True)


def _show_runs(session: Session, found: Sequence[Found], names: _Names) -> Run | RunList:
    runs = [item.run for item in found]
    if session.client is not None:
        for run in runs:
            session.client.connection.registry.refresh(run)
    in_one_grid = len(runs) > 1 and session.in_kernel and all(run.record.is_settled for run in runs)
    views = [
        session.view(
            item.run,
            outcome="shown",
            only=[item.image.record.index] if item.image is not None else None,
            with_images=not in_one_grid,
            **names.of(item.run),
        )
        for item in found
    ]
    _wait(session, views)
    for run, view in zip(runs, views, strict=True):
        damage = _damage(run)
        if damage is not None:
            view.note(damage)
    if in_one_grid and any(run.record.images for run in runs):
        from comflowy_nb.notebook.display.grids import Grid  # noqa: PLC0415 - loads matplotlib with the first image

        show_bundle(*Grid(runs, label=names.label, columns=names.columns).bundle())
    return runs[0] if len(runs) == 1 else mark_shown(session, runs)


def _damage(run: Run) -> str | None:
    """Return a text with the damaged originals of a run and the next command; None if none is damaged."""
    damaged = [image for image in (*run.images, *run.files) if image.record.state == "kept" and image.is_damaged]
    return damage_text(damaged) if damaged else None


def compare(session: Session, request: Request) -> Comparison:
    """Show a comparison. In a terminal, print the differences and the paths of the images."""
    from comflowy_nb.comparison.inputs import read_images  # noqa: PLC0415 - loads numpy
    from comflowy_nb.notebook.compare.widget import Comparison  # noqa: PLC0415 - loads ipywidgets

    options = request.options
    if "overwrite" in options and "save" not in options:
        raise UsageError("--overwrite needs --save")
    images = read_images(request.refs(), find=session.find)
    comparison = Comparison(images, mode=options.get("mode"), label=options.get("label"))
    session.mark_drawn(comparison)  # so that the value of the cell is not shown again
    show_comparison(comparison, in_kernel=session.in_kernel)
    if "save" in options:
        folder = new_folder(options["save"])
        file = comparison.save(options["save"], overwrite="overwrite" in options)
        session.say(paragraph(f"saved: {file.name}{folder}"))
    return comparison


def cancel(session: Session, request: Request) -> None:
    """Cancel runs that are not done, if the service can."""
    client = session.connected()
    found: list[Found] = []
    for word in request.words:
        ref = request.ref(word)
        if isinstance(ref, str) and parse_ref(ref).run == "last" and parse_ref(ref).back >= len(client.library.recent):
            raise RefError(f"this kernel has no run {ref!r}: name the run, as in %comflowy cancel r41")
        found.append(session.find(ref))
    # All references are found before anything is cancelled.
    lines = [
        _cancel_run(client, item.run) if item.sweep is None else _cancel_sweep(client, session.sweep(item.sweep))
        for item in found
    ]
    session.say(paragraph(*lines))


def _cancel_run(client: Client, run: Run) -> str:
    """Cancel a run. Return a line about the result."""
    if not run.status.is_live:
        return f"{run.ref} is not running: {run.status}"
    if not client.service.can_cancel:
        return f"{client.label} can't cancel: {run.ref} continues"
    client.cancel(run)
    end_s = time.monotonic() + _CONFIRM_S
    while not run.wait_change(UPDATE_S) and time.monotonic() < end_s:
        pass
    return plain_line(run) if not run.status.is_live else f"{run.ref}: cancel requested, not confirmed yet"


def _cancel_sweep(client: Client, sweep: Sweep) -> str:
    """Stop submitting a sweep, and cancel its runs. Return a line about the result."""

    def live() -> list[Run]:
        return [cell.run for cell in sweep.cells if cell.run is not None and cell.run.status.is_live]

    if sweep.is_settled and not live():
        return f"{sweep.ref} is not running: {plain_sweep_line(sweep)}"
    if sweep.is_submitting:
        sweep.cancel()
    can_cancel, cancelled = client.service.can_cancel, set[str]()
    end_s = time.monotonic() + _CONFIRM_S
    # Another kernel may submit some more before it sees the request.
    while (sweep.is_submitting or (can_cancel and not sweep.is_settled)) and time.monotonic() < end_s:
        for run in live():
            if can_cancel and run.token not in cancelled:
                cancelled.add(run.token)
                client.cancel(run)
        sweep.wait_change(UPDATE_S)
    if sweep.is_submitting:
        return f"{sweep.ref}: the kernel that submits it was asked to stop and has not confirmed it yet"
    if not can_cancel:
        count = len(live())
        runs = f"1 run of {sweep.ref} continues" if count == 1 else f"{count} runs of {sweep.ref} continue"
        return f"{client.label} can't cancel: {runs}, and no more are submitted"
    return plain_sweep_line(sweep)


def resume(session: Session, request: Request) -> Run | Sweep | RunList:
    """Continue to track the given runs, or all orphaned runs of this service, and show them."""
    client = session.connected()
    refs: list[str] = []
    sweeps: list[Sweep] = []
    for ref in map(request.ref, request.words):
        record = session.find(ref).sweep
        if record is None:
            refs.append(ref if isinstance(ref, str) else ref.ref)
            continue
        sweep = session.sweep(record)
        sweeps.append(sweep)
        refs += [cell.ref for cell in sweep.cells if cell.status is not None and not cell.status.is_final]
    resumed = client.resume(*refs) if refs or not sweeps else []
    if not refs and not sweeps:
        session.say(paragraph(*_resumed_lines(session, client, resumed)))
    elif lines := [line for sweep in sweeps if (line := _missing_line(sweep))]:
        session.say(paragraph(*lines))
    if not refs:
        records = client.library.history.sweeps.of_runs([run.token for run in resumed])
        sweeps += [session.sweep(record) for record in {record.token: record for record in records.values()}.values()]
    in_sweeps = {cell.run.token for sweep in sweeps for cell in sweep.cells if cell.run is not None}
    return _show_all(session, sweeps, [run for run in resumed if run.token not in in_sweeps])


def _resumed_lines(session: Session, client: Client, resumed: Sequence[Run]) -> list[str]:
    """Return lines about the resumed runs and the sweeps that are not finished."""
    live = client.live()
    tracked = f"{len(live)} run{' is' if len(live) == 1 else 's are'} tracked"
    first = "all runs are done or tracked already" if not resumed else f"{len(resumed)} resumed"
    return [f"{first}; {tracked}" if live else first, *unfinished_lines(session, unfinished(session))]


def _missing_line(sweep: Sweep) -> str | None:
    """Return a line with the command that submits the cells without a run; None if there are none to submit."""
    missing = sum(cell.status is None for cell in sweep.cells)
    if not missing or sweep.is_submitting or sweep.record is None:
        return None
    title = " ".join(filter(None, (sweep.ref, sweep.name)))
    cells = f"{missing} of {len(sweep.cells)} cells {'was' if missing == 1 else 'were'} not submitted"
    them = "it" if missing == 1 else "them"
    return f"{title}: {cells}. To submit {them}, run its cell again or {submit_command(sweep.record)}"


def _show_all(
    session: Session, sweeps: list[Sweep], runs: list[Run], names: _Names | None = None, **options: Any
) -> Run | Sweep | RunList:
    """Show sweeps, each with these options of its view, and then runs."""
    names = names or _Names()
    views: list[View] = [
        session.sweep_view(sweep, submitted_here=False, label=names.label, **options) for sweep in sweeps
    ]
    _wait(session, [*views, *(session.view(run, outcome="shown", **names.of(run)) for run in runs)])
    shown: list[Sweep | Run] = [*sweeps, *runs]
    return shown[0] if len(shown) == 1 else mark_shown(session, shown)


def _wait(session: Session, views: Sequence[View]) -> None:
    """Wait until all are settled. An interrupt only ends the wait. Without a connection, only show the history."""
    if session.client is None:
        for view in views:
            if not view.is_settled:
                view.note("last known status; connect and show it again to update it")
            view.finish()
        return
    try:
        wait_drawing(views)
    except KeyboardInterrupt as interrupt:
        for view in views:
            session.updater.add(view)
        interrupt.args = ("stopped waiting; the runs continue",)
        raise
