"""`%comflowy run` and `%%comflowy run`: submit a run, show it, and raise what went wrong."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from comflowy_nb.errors import FieldError, RunHeld
from comflowy_nb.notebook.commands.interrupts import cancel_view, wait_in_cell
from comflowy_nb.notebook.commands.start_from import show_left_out, start
from comflowy_nb.notebook.commands.sweep import run_count
from comflowy_nb.notebook.display.html import paragraph
from comflowy_nb.scheduler import DeferredInterrupt
from comflowy_nb.status import Status
from comflowy_nb.tracking.run import error_for_status
from comflowy_nb.workflow.syntax.lists import Setting

if TYPE_CHECKING:
    from collections.abc import Sequence

    from comflowy_nb.client import Submitted
    from comflowy_nb.notebook.commands.table import Request
    from comflowy_nb.notebook.display.views import RunView
    from comflowy_nb.notebook.session import Session
    from comflowy_nb.sweeps.sweep import Sweep
    from comflowy_nb.tracking.run import Run, RunImage
    from comflowy_nb.workflow.syntax.lists import Setting
    from comflowy_nb.workflow.workflow import Workflow

__all__ = ["run", "save_run"]


def run(session: Session, request: Request) -> Run | Sweep:
    """Submit a run, show it until its images are there, and raise what went wrong; with `--count`, a sweep of seeds."""
    options = request.options
    begin = start(session, request)
    client, workflow = begin.client, begin.workflow
    if "from" in options:
        show_left_out(session, request, _fields_set(workflow, begin.settings, with_seeds="count" in options))
    if "count" in options:
        return run_count(session, request, begin)
    label = [field_id for name in options.get("label", ()) for field_id in workflow.find(name)]
    usual_s = client.usual_seconds(workflow)

    def show(one: Submitted) -> RunView:
        return session.view(one.run, how=one.how, drawn=one.drawn, usual_s=usual_s, label=label or None)

    try:
        submitted = client.submit(
            workflow,
            begin.settings,
            namespace=request.namespace,
            fresh=options.get("fresh", False),
            retry=options.get("retry", "failed"),
            name=options.get("as"),
            base=begin.base,
        )
    except RunHeld as held:
        session.view(held.run, how="shown").finish()
        raise
    except DeferredInterrupt as interrupt:
        raise cancel_view(session, client, show(interrupt.result)) from None
    if not wait_in_cell(session, client, request, lambda: show(submitted)):
        return submitted.run
    if "save" in options and submitted.run.status is Status.SUCCESS:
        save_run(session, submitted.run, options["save"])
    error = error_for_status(submitted.run)
    if error is not None:
        raise error
    return submitted.run


def _fields_set(workflow: Workflow, settings: Sequence[Setting], *, with_seeds: bool) -> set[str]:
    """Return the ids of the fields that the line and the body set; `--count` sets the seeds."""
    found = {name for name, one in workflow.fields.items() if with_seeds and one.is_seed}
    for setting in settings:
        with suppress(FieldError):  # `submit` reports it, with all other problems
            found.update(workflow.find(setting.key))
    return found


def save_run(session: Session, run: Run, target: str, image: RunImage | None = None) -> None:
    """Write copies of a run's images, or of one, and show only their names: a path may contain a user's name."""
    path = Path(target).expanduser()
    paths = session.library.save(run, path, only=image.record if image is not None else None)
    names = ", ".join(path.name for path in paths)
    is_folder = paths[0].parent == path
    session.say(paragraph(f"saved in {path.name or target}: {names}" if is_folder else f"saved: {names}"))
