"""`%comflowy sweep` and `run --count`: show the plan, submit the runs and fill in the grid."""

from __future__ import annotations

import shlex
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from IPython.core.error import UsageError

from comflowy_nb.errors import RefError
from comflowy_nb.images.save_target import check_sweep_target
from comflowy_nb.notebook.commands.share import save_to
from comflowy_nb.notebook.commands.start_from import start
from comflowy_nb.notebook.display.html import paragraph
from comflowy_nb.notebook.interrupts import cancel_view, wait_in_cell
from comflowy_nb.scheduler import DeferredInterrupt
from comflowy_nb.settings import expand_home
from comflowy_nb.status import Status
from comflowy_nb.sweeps.around import find_center
from comflowy_nb.sweeps.cell import raise_for_failures
from comflowy_nb.sweeps.headings import choose_axes
from comflowy_nb.sweeps.plan import needs_permit
from comflowy_nb.workflow.axes.selection import CellOptions
from comflowy_nb.workflow.files import new_folder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from comflowy_nb.notebook.commands.start_from import Start
    from comflowy_nb.notebook.magic_line.request import Request
    from comflowy_nb.notebook.session import Session
    from comflowy_nb.sweeps.sweep import Sweep
    from comflowy_nb.workflow.axes.types import Axes
    from comflowy_nb.workflow.axes.yaml_file import SweepFile


_OPTION_OF = {"name": "as", "max_runs": "max-runs", "stop_after": "stop-after"}  # keys of a sweep file


def sweep(session: Session, request: Request) -> Sweep | None:
    """Show the plan, submit the new cells, and fill in the grid until all cells are settled."""
    request.check_pairs(pin="export", overwrite="export", sample_seed="sample")
    if "around" in request.options:
        return _sweep_around(session, request)
    file = _sweep_file(request)
    if file is not None:
        options = {_OPTION_OF.get(key, key): value for key, value in file.options.items()}
        request = replace(request, options={**options, **request.options})
    cells = cast("CellOptions", {**(file.cells if file is not None else {}), **_cell_options(request)})
    begin = start(session, request, is_sweep=True, file=file)
    before = begin.sweep
    texts = {
        **(begin.base.params if begin.base is not None else {}),
        **(before.axes.texts if before is not None else {}),
    }
    namespace = request.namespace if file is None else None  # nothing in a sweep file is expanded
    axes = begin.client.connection.axes(begin.workflow, begin.settings, namespace=namespace, base=texts, options=cells)
    notices = [*(file.warnings if file is not None else ()), *axes.notes]
    if before is not None:
        notices += [f"from {before.ref}: {change}" for change in axes.changes(before.axes)]
        axes, begin = axes.override(before.axes), replace(begin, base=None)
        request = replace(request, options=_with_layout(request.options, before, axes))
    return _finish(session, request, begin, axes, cells=cells, notices=notices)


def _finish(
    session: Session, request: Request, begin: Start, axes: Axes, *, cells: CellOptions, notices: Sequence[str]
) -> Sweep | None:
    """Export, plan or submit the sweep."""
    if "export" in request.options:
        _export(session, request, begin, axes, cells=cells, notices=notices)
        return None
    if "dry-run" in request.options:
        return _dry_run(session, request, begin, axes, notices)
    return _submit(session, request, begin, axes, notices)


def _sweep_around(session: Session, request: Request) -> Sweep | None:
    """`--around REF [FIELDS]`: narrow the axes of a cell, or vary fields of a run, and print the sweep as a line."""
    if "from" in request.options:
        raise UsageError("--around can't be used with --from: it already starts from the values of a run. Remove one.")
    options = {key: value for key, value in request.options.items() if key != "around"}
    what = request.options["around"]
    run = find_center(session.library, what).run
    begin = start(session, replace(request, words=(), options={**options, "from": run.ref}), is_sweep=True)
    cells = _cell_options(request)
    found = begin.client.connection.around(
        what,
        begin.settings,
        names=[name for word in request.words for name in request.text(word).split(",") if name],
        workflow=begin.workflow,
        typed=" ".join(word.raw for word in request.fields) if request.body is None else "",
        namespace=request.namespace,
        options=cells,
    )
    if found.center.cell is not None:
        options = _with_layout(options, found.center.cell.sweep, found.axes)
    inner = replace(request, words=(), options=options)
    return _finish(session, inner, begin, found.axes, cells=cells, notices=found.axes.notes)


def run_count(session: Session, request: Request, begin: Start) -> Sweep:
    """`run --count N`: run a sweep over N generated seeds."""
    count = request.options["count"]
    axes = begin.client.connection.axes(begin.workflow, begin.settings, count=count, namespace=request.namespace)
    return _submit(session, request, begin, axes)


def _with_layout(options: Mapping[str, Any], before: Sweep, axes: Axes) -> dict[str, Any]:
    """Return the options with the layout (`x`, `y`, `z`) of the earlier sweep, for the axes that still exist."""
    result = dict(options)
    for side, name in before.layout.items():
        if side not in options:
            layout = {key: result[key] for key in ("x", "y", "z") if key in result} | {side: name}
            with suppress(RefError):  # not an axis any more, or chosen for another side
                choose_axes(axes, layout)
                result[side] = name
    return result


def _sweep_file(request: Request) -> SweepFile | None:
    """Return the sweep file, if the line names one instead of a workflow."""
    if not request.words or not request.text(request.words[0]).lower().endswith((".yaml", ".yml")):
        return None
    from comflowy_nb.workflow.axes.yaml_file import read_sweep_file  # noqa: PLC0415 - loads YAML

    return read_sweep_file(request.text(request.words[0]))


def _cell_options(request: Request) -> CellOptions:
    """Return the options that determine the cells of the sweep."""
    options = request.arguments(*(name.replace("_", "-") for name in CellOptions.__annotations__))
    if "zip" in request.options:
        options["zipped"] = request.options["zip"]
    if "lines" in request.options:
        options["lines"] = dict(request.options["lines"])
    return cast("CellOptions", options)


def _submit(session: Session, request: Request, begin: Start, axes: Axes, notices: Sequence[str] = ()) -> Sweep:
    options, client = request.options, begin.client
    if "save" in options:
        check_sweep_target(expand_home(options["save"]))
    grid_options = _grid_options(begin, request, axes)

    def show_plan(planned: Sweep) -> None:
        choose_axes(planned.axes, planned.layout)  # reports an unknown axis before anything is submitted
        assert planned.plan is not None
        session.say(paragraph(planned.plan.text, *notices))

    try:
        new_sweep = client.sweep(
            begin.workflow,
            axes,
            wait=False,
            name=options.get("as"),
            base=begin.base,
            on_plan=show_plan,
            **request.arguments_for(client.sweep),
        )
    except DeferredInterrupt as interrupt:
        raise cancel_view(session, client, session.sweep_view(interrupt.result, grid=grid_options)) from None
    if not wait_in_cell(session, client, request, lambda: session.sweep_view(new_sweep, grid=grid_options)):
        return new_sweep
    if "save" in options and any(cell.status is Status.SUCCESS for cell in new_sweep.cells):
        save_to(session, options["save"], new_sweep.save)
    if options.get("strict"):
        raise_for_failures(new_sweep)
    return new_sweep


def _dry_run(session: Session, request: Request, begin: Start, axes: Axes, notices: Sequence[str]) -> Sweep:
    """`--dry-run`: show the plan and the grid of planned cells, without submitting."""
    grid_options = _grid_options(begin, request, axes)
    planned = _plan(request, begin, axes)
    assert planned.plan is not None
    note = "a dry run: nothing was submitted"
    if needs_permit(planned.plan, costs_money=begin.client.service.costs_money):
        note += f"; the sweep needs --max-runs {planned.plan.to_submit}"
    session.say(paragraph(planned.plan.text, *notices, note))
    session.mark_drawn(planned)
    if session.in_kernel:
        from comflowy_nb.notebook.display.grids import SweepGrid  # noqa: PLC0415 - loads matplotlib

        session.say(*SweepGrid(planned, **grid_options).bundle())
    return planned


def _export(
    session: Session, request: Request, begin: Start, axes: Axes, *, cells: CellOptions, notices: Sequence[str]
) -> None:
    """`--export FILE`: write the sweep to a file for `comflowy-nb sweep`, without submitting."""
    from comflowy_nb.workflow.axes.yaml_file import FILE_OPTIONS, write_sweep_file  # noqa: PLC0415 - loads YAML

    planned = _plan(request, begin, axes)
    path = request.options["export"]
    typed = request.arguments_for(begin.client.sweep)
    options = {"name": request.options.get("as"), **{key: value for key, value in typed.items() if key in FILE_OPTIONS}}
    if "pin" in request.options:
        ids = {name for word in axes.seeds for name in word.fields}
        ids |= {name for axis in axes.simple if axis.kind == "seeds" for name in axis.fields}
        pinned = {name: [cell.params[name] for cell in planned.cells] for name in sorted(ids)}
    else:
        pinned = {}
    name, folder = Path(path).name, new_folder(path)
    write_sweep_file(
        path,
        workflow=begin.name,
        axes=planned.axes,
        options=options,
        cells=cells,
        pinned=pinned,
        overwrite="overwrite" in request.options,
    )
    command = f"comflowy-nb sweep {name if Path(path).is_absolute() else shlex.quote(path)}"
    session.say(paragraph(*notices, f"written to {name}{folder}, nothing submitted; in a terminal: {command}"))


def _plan(request: Request, begin: Start, axes: Axes) -> Sweep:
    """Plan a sweep without submitting it. Check the names of the axes in its layout."""
    planned = begin.client.plan_sweep(
        begin.workflow, axes, base=begin.base, **request.arguments_for(begin.client.plan_sweep)
    )
    choose_axes(planned.axes, planned.layout)
    return planned


def _grid_options(begin: Start, request: Request, axes: Axes) -> dict[str, Any]:
    return {"label": begin.label(request, axes), **request.arguments("node", "image")}
