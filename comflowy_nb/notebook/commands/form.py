"""`%comflowy form`: from the words to a form in the cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comflowy_nb.notebook.commands.start_from import say_left_out, start
from comflowy_nb.notebook.display.bundles import paragraph
from comflowy_nb.workflow.syntax.lists import Setting

if TYPE_CHECKING:
    from comflowy_nb.notebook.commands.table import Request
    from comflowy_nb.notebook.form.form import Form
    from comflowy_nb.notebook.session import Session

__all__ = ["form"]


def form(session: Session, request: Request) -> Form | None:
    """A form in this cell, with status in it and images below it."""
    client = session.connected()
    named, base = start(session, client, request)
    workflow = client.workflow(named) if isinstance(named, str) else named
    given = [Setting(word.key or "", word.value or "", quoted=word.quoted, where="the line") for word in request.fields]
    resolved = client.resolve(workflow, given, namespace=request.namespace)
    if not session.in_kernel:
        name = workflow.name
        session.say(paragraph(f"a form needs a notebook; in a terminal: %comflowy fields {name}, %comflowy run {name}"))
        return None
    from comflowy_nb.notebook.form.field_specs import form_fields  # noqa: PLC0415 - as above
    from comflowy_nb.notebook.form.form import Form  # noqa: PLC0415 - loads ipywidgets

    values = {**(client.recall(workflow, base.params) if base is not None else {}), **resolved.params}
    chosen = [*(base.set_params if base is not None else ()), *resolved.set_params]
    fields = form_fields(workflow, values, given=chosen, random=resolved.generated_seeds)
    made = Form(client, workflow, fields, viewer=session.viewer)
    session.show_form(made)
    say_left_out(session, request, resolved.set_params)
    if "as" in request.options:
        session.shell.push({request.options["as"]: made})
    return made
