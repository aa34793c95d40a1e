"""`%comflowy form`: show a form for a workflow in the cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comflowy_nb.notebook.commands.start_from import show_left_out, start
from comflowy_nb.notebook.display.html import paragraph

if TYPE_CHECKING:
    from comflowy_nb.notebook.commands.table import Request
    from comflowy_nb.notebook.form.form import Form
    from comflowy_nb.notebook.session import Session

__all__ = ["form"]


def form(session: Session, request: Request) -> Form | None:
    """Show a form in this cell, with images below it. In a terminal, say what to use instead."""
    begin = start(session, request)
    client, workflow, base = begin.client, begin.workflow, begin.base
    resolved = client.resolve(workflow, begin.settings, namespace=request.namespace)
    if not session.in_kernel:
        name = workflow.name
        session.say(paragraph(f"a form needs a notebook; in a terminal: %comflowy fields {name}, %comflowy run {name}"))
        return None
    from comflowy_nb.notebook.form.fields import form_fields  # noqa: PLC0415 - loaded with the first form
    from comflowy_nb.notebook.form.form import Form  # noqa: PLC0415 - loads ipywidgets

    values = {**(client.recall(workflow, base.params) if base is not None else {}), **resolved.params}
    chosen = [*(base.set_params if base is not None else ()), *resolved.set_params]
    fields = form_fields(workflow, values, explicit=chosen, random=resolved.generated_seeds)
    made = Form(client, workflow, fields, updater=session.updater)
    session.show_form(made)
    show_left_out(session, request, resolved.set_params)
    if "as" in request.options:
        session.shell.push({request.options["as"]: made})
    return made
