"""`%comflowy sweep`, `%%comflowy sweep` and `run --count`: from the words to the grid, and what an interrupt does."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from comflowy_nb.errors import ComflowyError, RefError
from comflowy_nb.images.save_target import check_sweep_target, kind_of_target
from comflowy_nb.notebook.commands.start_from import start, sweep_to_start_from
from comflowy_nb.notebook.display.bundles import paragraph
from comflowy_nb.notebook.display.views import wait_drawing
from comflowy_nb.notebook.session import sweep_key
from comflowy_nb.scheduler import DeferredInterrupt
from comflowy_nb.status import Status
from comflowy_nb.sweeps.captions import choose_axes
from comflowy_nb.sweeps.plan import needs_permit
from comflowy_nb.sweeps.sweep import raise_for_failures
from comflowy_nb.workflow.syntax.body import read_body
from comflowy_nb.workflow.values import Setting

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from comflowy_nb.client import Client
    from comflowy_nb.notebook.commands.table import Request
    from comflowy_nb.notebook.display.sweep_view import SweepView
    from comflowy_nb.notebook.session import Session
    from comflowy_nb.sweeps.sweep import Sweep
    from comflowy_nb.workflow.axes.types import Axes
    from comflowy_nb.workflow.graph import Made
    from comflowy_nb.workflow.workflow import Workflow

__all__ = ["run_times", "save_sweep_named", "sweep", "wait_for_sweep"]

_NAMED = 4  # files named when a sweep is saved


def sweep(session: Session, request: Request) -> Sweep | None:
    """Say the plan, send what is to be sent, fill in the grid until all is there."""
    body = read_body(request.body, sweep=True) if request.body is not None else None
    client = session.connected()
    named, base = start(session, client, request)
    workflow = client.workflow(named) if isinstance(named, str) else named
    if body is not None:
        body.check_workflow(workflow)
    given = [Setting(word.key or "", word.value or "", quoted=word.quoted, where="the line") for word in request.fields]
    settings = [*given, *(body.settings if body is not None else ())]
    before = sweep_to_start_from(session, request)
    texts = {**(base.params if base is not None else {}), **(before.axes.texts if before is not None else {})}
    axes = client.axes(workflow, settings, namespace=request.namespace, base=texts)
    notices: list[str] = []
    if before is not None:
        notices = [f"from {before.ref}: {change}" for change in axes.changes(before.axes)]
        axes, base = axes.over(before.axes), None
        request = replace(request, options=_with_layout(request.options, before, axes))
    if "export" in request.options:
        _export(
            session,
            client,
            request,
            named=named if isinstance(named, str) else workflow.name,
            workflow=workflow,
            axes=axes,
            base=base,
            notices=notices,
        )
        return None
    if "dry-run" in request.options:
        return _say_plan(session, client, request, workflow=workflow, axes=axes, base=base, notices=notices)
    return _sweep(session, client, request, workflow=workflow, axes=axes, base=base, notices=notices)


def run_times(
    session: Session,
    client: Client,
    request: Request,
    *,
    workflow: Workflow,
    settings: Sequence[Setting],
    base: Made | None,
) -> Sweep:
    """`run --count N`: the same as a sweep over so many drawn seeds."""
    axes = client.axes(workflow, settings, count=request.options["count"], namespace=request.namespace)
    return _sweep(session, client, request, workflow=workflow, axes=axes, base=base)


def _with_layout(options: Mapping[str, Any], before: Sweep, axes: Axes) -> dict[str, Any]:
    """Return the options with the earlier sweep's columns, rows and pages, as far as these axes still exist."""
    found = dict(options)
    for side, name in before.layout.items():
        if side not in options:
            with suppress(RefError):  # not an axis any more, or chosen for another side
                layout: dict[str, str | None] = {each: found[each] for each in ("x", "y", "z") if each in found}
                choose_axes(axes, {**layout, side: name})
                found[side] = name
    return found


def save_sweep_named(session: Session, swept: Sweep, target: str) -> None:
    """Write the copies, and show their names only: a path may contain a user's name."""
    path = Path(target).expanduser()
    names = [written.name for written in swept.save(path)]
    if kind_of_target(path) == "zip":
        session.say(paragraph(f"saved: {names[0]}"))
        return
    some = ", ".join(names) if len(names) <= _NAMED else f"{', '.join(names[: _NAMED - 1])} ... {names[-1]}"
    session.say(paragraph(f"saved in {path.name or target}: {len(names)} files: {some}"))


def wait_for_sweep(session: Session, view: SweepView, timeout_s: float | None = None) -> None:
    """Wait for the end; an interrupt only stops the waiting."""
    try:
        wait_drawing([view], timeout_s)
    except KeyboardInterrupt as interrupt:
        session.viewer.follow(view)
        interrupt.args = (f"stopped waiting; {view.ref} goes on",)
        raise
    except ComflowyError:  # a time-out: it goes on, and still lands in this cell
        session.viewer.follow(view)
        raise


def _sweep(
    session: Session,
    client: Client,
    request: Request,
    *,
    workflow: Workflow,
    axes: Axes,
    base: Made | None,
    notices: Sequence[str] = (),
) -> Sweep:
    options = request.options
    shown = _shown(workflow, request)

    def say_plan(planned: Sweep) -> None:
        choose_axes(planned.axes, planned.layout)  # a name that is no axis, before anything is sent
        if "save" in options:
            check_sweep_target(Path(options["save"]).expanduser())
        assert planned.plan is not None
        session.say(paragraph(planned.plan.text, *notices))

    try:
        swept = client.sweep(
            workflow,
            axes,
            wait=False,
            fresh=options.get("fresh", False),
            retry=options.get("retry", "failed"),
            name=options.get("as"),
            max_runs=options.get("max-runs"),
            stop_after=options.get("stop-after", 3),
            window=options.get("window"),
            x=options.get("x"),
            y=options.get("y"),
            z=options.get("z"),
            base=base,
            on_plan=say_plan,
        )
    except DeferredInterrupt as interrupt:
        raise _end(session, client, session.sweep_view(interrupt.result, **shown)) from None
    if not _wait(session, client, request, lambda: session.sweep_view(swept, **shown)):
        return swept
    if "save" in options and any(cell.status is Status.SUCCESS for cell in swept.cells):
        save_sweep_named(session, swept, options["save"])
    if options.get("strict"):
        raise_for_failures(swept)
    return swept


def _say_plan(
    session: Session,
    client: Client,
    request: Request,
    *,
    workflow: Workflow,
    axes: Axes,
    base: Made | None,
    notices: Sequence[str] = (),
) -> Sweep:
    """`--dry-run`: the plan, and the grid of what would become of each cell."""
    shown = _shown(workflow, request)
    planned = _plan(client, request, workflow=workflow, axes=axes, base=base)
    assert planned.plan is not None
    dry = "a dry run: nothing was sent"
    if needs_permit(planned.plan, costs_money=client.service.costs_money):
        dry += f"; the sweep needs --max-runs {planned.plan.to_send}"
    session.say(paragraph(planned.plan.text, *notices, dry))
    session.drawn.add(sweep_key(planned))
    if session.in_kernel:
        from comflowy_nb.notebook.display.sweep_grid import SweepGrid  # noqa: PLC0415 - loads matplotlib

        session.say(*SweepGrid(planned, **shown).bundle())
    return planned


def _export(
    session: Session,
    client: Client,
    request: Request,
    *,
    named: str,
    workflow: Workflow,
    axes: Axes,
    base: Made | None,
    notices: Sequence[str],
) -> None:
    """`--export FILE`: the sweep as a file for a terminal; nothing is sent."""
    from comflowy_nb.workflow.axes.yaml_export import write_sweep_file  # noqa: PLC0415 - loads YAML

    options = request.options
    planned = _plan(client, request, workflow=workflow, axes=axes, base=base)
    path = options["export"]
    given: dict[str, Any] = {"name": options.get("as")}
    given |= {key: options.get(key) for key in ("x", "y", "z", "fresh", "retry", "window")}
    given |= {"max_runs": options.get("max-runs"), "stop_after": options.get("stop-after")}
    write_sweep_file(path, workflow=named, axes=planned.axes, options=given)
    name = Path(path).name
    session.say(paragraph(*notices, f"written to {name}, nothing sent; in a terminal: comflowy-nb sweep {name}"))


def _plan(client: Client, request: Request, *, workflow: Workflow, axes: Axes, base: Made | None) -> Sweep:
    options = request.options
    planned = client.plan_sweep(
        workflow,
        axes,
        fresh=options.get("fresh", False),
        retry=options.get("retry", "failed"),
        x=options.get("x"),
        y=options.get("y"),
        z=options.get("z"),
        base=base,
    )
    choose_axes(planned.axes, planned.layout)
    return planned


def _shown(workflow: Workflow, request: Request) -> dict[str, Any]:
    """The options of the grid."""
    options = request.options
    label = [field_id for word in options.get("label", ()) for field_id in workflow.find(word)]
    return {"label": label or None, "node": options.get("node"), "image": options.get("image")}


def _wait(session: Session, client: Client, request: Request, show: Callable[[], SweepView]) -> bool:
    """Fill the grid in until the end; False where the cell is not to wait for that."""
    options, view = request.options, None
    try:
        view = show()
        if "as" in options:
            session.shell.push({options["as"]: view.sweep})
        if options.get("background") and session.can_answer:
            if "save" in options:
                view.note(f"--save is not done in the background: %comflowy save {view.ref} DIR")
            session.viewer.follow(view)
            return False
        wait_drawing([view], options.get("timeout"))
    except KeyboardInterrupt:
        raise _end(session, client, view or show()) from None
    except ComflowyError:  # a time-out: it goes on, and still lands in this cell
        session.viewer.follow(view or show())
        raise
    return True


def _end(session: Session, client: Client, view: SweepView) -> KeyboardInterrupt:
    """What to raise after an interrupt: no more is sent, and what can be is cancelled. A second one stops waiting."""
    try:
        _stop(session, client, view)
    except KeyboardInterrupt:
        view.note("stopped waiting; what runs goes on")
        session.viewer.follow(view)
    swept = view.sweep
    done = swept.status_counts().get(Status.SUCCESS, 0)
    return KeyboardInterrupt(f"{swept.ref}: {done} of {len(swept.cells)} done; the same cell takes it up again")


def _stop(session: Session, client: Client, view: SweepView) -> None:
    """Send no more; wait for what is cancelled, and leave to the view thread what can't be."""
    swept = view.sweep
    swept.cancel()
    if client.service.can_cancel:
        view.note("cancelling")
    while swept.is_sending:  # what was on its way when it was cancelled
        swept.wait_change(0.25)
    own = {run.token for run in client.live()}
    running = [cell.run for cell in swept.cells if cell.run is not None and cell.run.status.is_live]
    if client.service.can_cancel:
        mine = [run for run in running if run.token in own]
        while any(run.status.is_live for run in mine):
            swept.wait_change(0.25)
            view.draw()
        view.clear_note()
    elif running:
        view.note(f"{client.label} can't cancel: {len(running)} go on")
    while not swept.is_settled and all(cell.run is None or cell.run.record.is_settled for cell in swept.cells):
        swept.wait_change(0.25)  # only its end is still to be written
    if swept.is_settled:
        view.finish()
    else:
        session.viewer.follow(view)
