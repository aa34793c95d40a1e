"""Commands that show earlier results: `show`, `compare` and `explore`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError

from comflowy_nb.layout.value_text import find_names
from comflowy_nb.notebook.display.html import paragraph
from comflowy_nb.notebook.display.live import show_bundle, wait_drawing
from comflowy_nb.notebook.display.show import RunList, mark_shown, show_comparison
from comflowy_nb.tracking.run_images import damage_text
from comflowy_nb.workflow.files import new_folder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from comflowy_nb.library import Found
    from comflowy_nb.notebook.compare.widget import Comparison
    from comflowy_nb.notebook.display.views import View
    from comflowy_nb.notebook.explore.widget import Explorer
    from comflowy_nb.notebook.magic_line.request import Request
    from comflowy_nb.notebook.session import Session
    from comflowy_nb.sweeps.sweep import Sweep
    from comflowy_nb.tracking.run import Run


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
    return show_all(session, sweeps, runs, names, **request.arguments("page"))


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
            runs += session.sweep(item.sweep).runs
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
    show_comparison(comparison)
    if "save" in options:
        folder = new_folder(options["save"])
        file = comparison.save(options["save"], overwrite="overwrite" in options)
        session.say(paragraph(f"saved: {file.name}{folder}"))
    return comparison


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
        found = explore_sources.find_runs(session, where=where, since=request.since)
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


def show_all(
    session: Session, sweeps: list[Sweep], runs: list[Run], names: _Names | None = None, **options: Any
) -> Run | Sweep | RunList:
    """Show sweeps, each with these options of its grid, and then runs."""
    names = names or _Names()
    views: list[View] = [
        session.sweep_view(sweep, submitted_here=False, grid=options | {"label": names.label}) for sweep in sweeps
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
