"""`%comflowy run` and `%comflowy form`: submit one run, or show a form to fill in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comflowy_nb.errors import RunHeld
from comflowy_nb.notebook.commands.share import save_to
from comflowy_nb.notebook.commands.start_from import show_left_out, start
from comflowy_nb.notebook.commands.sweep import run_count
from comflowy_nb.notebook.display.html import paragraph
from comflowy_nb.notebook.interrupts import cancel_view, wait_in_cell
from comflowy_nb.scheduler import DeferredInterrupt
from comflowy_nb.status import Status
from comflowy_nb.tracking.run_errors import error_for_status

if TYPE_CHECKING:
    from comflowy_nb.notebook.display.views import RunView
    from comflowy_nb.notebook.form.form import Form
    from comflowy_nb.notebook.magic_line.request import Request
    from comflowy_nb.notebook.session import Session
    from comflowy_nb.sweeps.sweep import Sweep
    from comflowy_nb.tracking.run import Run
    from comflowy_nb.tracking.submit import Submitted


def run(session: Session, request: Request) -> Run | Sweep:
    """Submit a run, wait for its images, and raise an error if it failed. With `--count`, run a sweep over seeds."""
    request.check_pairs(max_runs="count")
    options = request.options
    begin = start(session, request)
    client, workflow = begin.client, begin.workflow
    if begin.sweep is not None:
        explicit = client.connection.resolve(workflow, begin.settings, namespace=request.namespace).set_params
        seeds = [key for key, field in workflow.fields.items() if field.is_seed and "count" in options]
        show_left_out(session, begin.sweep, {*explicit, *seeds})
    if "count" in options:
        return run_count(session, request, begin)
    label, usual_s = begin.label(request), client.connection.usual_seconds(workflow)

    def show(one: Submitted) -> RunView:
        return session.view(
            one.run, outcome=one.outcome, generated_seeds=one.generated_seeds, usual_s=usual_s, label=label
        )

    try:
        submitted = client.submit(
            workflow,
            begin.settings,
            namespace=request.namespace,
            name=options.get("as"),
            base=begin.base,
            **request.arguments("fresh", "retry"),
        )
    except RunHeld as held:
        session.view(held.run, outcome="shown").finish()
        raise
    except DeferredInterrupt as interrupt:
        raise cancel_view(session, client, show(interrupt.result)) from None
    if not wait_in_cell(session, client, request, lambda: show(submitted)):
        return submitted.run
    if "save" in options and submitted.run.status is Status.SUCCESS:
        from comflowy_nb.sharing.save import save_run_to  # noqa: PLC0415 - loads Pillow

        save_to(session, options["save"], lambda path: save_run_to(session.library, submitted.run, path))
    error = error_for_status(submitted.run)
    if error is not None:
        raise error
    return submitted.run


def form(session: Session, request: Request) -> Form | None:
    """Show a form in this cell, with images below it. In a terminal, print which command to use instead."""
    begin = start(session, request)
    client, workflow = begin.client, begin.workflow
    resolved = client.connection.resolve(workflow, begin.settings, namespace=request.namespace)
    if not session.in_kernel:
        name = workflow.name
        session.say(paragraph(f"a form needs a notebook; in a terminal: %comflowy fields {name}, %comflowy run {name}"))
        return None
    from comflowy_nb.notebook.form.fields import form_fields  # noqa: PLC0415 - as below
    from comflowy_nb.notebook.form.form import Form  # noqa: PLC0415 - loads ipywidgets

    values = client.connection.add_base(workflow, resolved, begin.base)
    fields = form_fields(workflow, values.params, explicit=values.set_params, random=resolved.generated_seeds)
    made = Form(client, workflow, fields, updater=session.updater)
    session.show_form(made)
    if begin.sweep is not None:
        show_left_out(session, begin.sweep, resolved.set_params)
    if "as" in request.options:
        session.shell.push({request.options["as"]: made})
    return made
