"""`%comflowy run` and `%%comflowy run`: from the words to the images, and what an interrupt does."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from comflowy_nb.errors import ComflowyError, FieldError, RunHeld
from comflowy_nb.notebook.commands.start_from import say_left_out, start
from comflowy_nb.notebook.commands.sweep import run_times
from comflowy_nb.notebook.display.bundles import paragraph
from comflowy_nb.notebook.display.views import wait_drawing
from comflowy_nb.scheduler import DeferredInterrupt
from comflowy_nb.status import Status
from comflowy_nb.tracking.outcome_errors import error_for_status
from comflowy_nb.workflow.syntax.body import read_body
from comflowy_nb.workflow.values import Setting

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from comflowy_nb.client import Client, Submitted
    from comflowy_nb.notebook.commands.table import Request
    from comflowy_nb.notebook.display.views import RunView
    from comflowy_nb.notebook.session import Session
    from comflowy_nb.sweeps.sweep import Sweep
    from comflowy_nb.tracking.run import Run, RunImage
    from comflowy_nb.workflow.workflow import Workflow

__all__ = ["run", "save_named"]


def run(session: Session, request: Request) -> Run | Sweep:
    """Submit, show live until the images are there, raise what went wrong; with `--count` as a sweep of seeds."""
    body = read_body(request.body) if request.body is not None else None
    client = session.connected()
    named, base = start(session, client, request)
    workflow = client.workflow(named) if isinstance(named, str) else named
    if body is not None:
        body.check_workflow(workflow)
    given = [Setting(word.key or "", word.value or "", quoted=word.quoted, where="the line") for word in request.fields]
    settings = [*given, *(body.settings if body is not None else ())]
    if "from" in request.options:
        say_left_out(session, request, _fields_set(workflow, settings, with_seeds="count" in request.options))
    if "count" in request.options:
        return run_times(session, client, request, workflow=workflow, settings=settings, base=base)
    label = [field_id for word in request.options.get("label", ()) for field_id in workflow.find(word)]
    usual_s = client.usual_seconds(workflow)

    def show(one: Submitted) -> RunView:
        return session.view(one.run, how=one.how, drawn=one.drawn, usual_s=usual_s, label=label or None)

    try:
        submitted = client.submit(
            workflow,
            settings,
            namespace=request.namespace,
            fresh=request.options.get("fresh", False),
            retry=request.options.get("retry", "failed"),
            name=request.options.get("as"),
            base=base,
        )
    except RunHeld as held:
        session.view(held.run, how="shown").finish()
        raise
    except DeferredInterrupt as interrupt:
        raise _end(session, client, show(interrupt.result)) from None
    if not _wait(session, client, request, lambda: show(submitted)):
        return submitted.run
    if "save" in request.options and submitted.run.status is Status.SUCCESS:
        save_named(session, submitted.run, request.options["save"])
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


def save_named(session: Session, run: Run, target: str, image: RunImage | None = None) -> None:
    """Write the copies, or that of one image, and show their names only: a path may contain a user's name."""
    path = Path(target).expanduser()
    paths = session.library.save(run, path, only=image.record if image is not None else None)
    names = ", ".join(path.name for path in paths)
    is_folder = paths[0].parent == path
    session.say(paragraph(f"saved in {path.name or target}: {names}" if is_folder else f"saved: {names}"))


def _wait(session: Session, client: Client, request: Request, show: Callable[[], RunView]) -> bool:
    """Show it until it has ended; False where the cell is not to wait for that."""
    options, view = request.options, None
    try:
        view = show()
        if "as" in options:
            session.shell.push({options["as"]: view.run})
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


def _end(session: Session, client: Client, view: RunView) -> KeyboardInterrupt:
    """What to raise after an interrupt: the run is cancelled where that can be. A second one stops waiting for that."""
    try:
        _stop(session, client, view)
    except KeyboardInterrupt:
        view.note("stopped waiting; it goes on")
        session.viewer.follow(view)
    status = view.run.status
    return KeyboardInterrupt(f"{view.ref} goes on" if status.is_live else f"{view.ref}: {status}")


def _stop(session: Session, client: Client, view: RunView) -> None:
    """Cancel the run where that can be, wait until it is confirmed, and say so; else let it go on."""
    run = view.run
    if not run.status.is_live:
        session.viewer.follow(view)  # its images are on the way
        return
    if not client.service.can_cancel:
        view.note(f"{client.label} can't cancel: it goes on")
        session.viewer.follow(view)
        return
    if run not in client.live():
        view.note("another kernel's run: it goes on")
        session.viewer.follow(view)
        return
    view.note("cancelling")
    client.cancel(run)  # a submit in flight is awaited first
    wait_drawing([view])
    view.clear_note()
