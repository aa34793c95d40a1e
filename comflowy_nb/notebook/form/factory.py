"""`comflowy_nb.form`: a form made from Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comflowy_nb.errors import SettingsError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from comflowy_nb.client import Client
    from comflowy_nb.notebook.form.form import Form
    from comflowy_nb.tracking.run import Run
    from comflowy_nb.workflow.workflow import Workflow

__all__ = ["form"]


def form(
    what: str | Workflow | Run, params: Mapping[str, Any] | None = None, *, client: Client | None = None, **more: Any
) -> Form:
    """A form for a workflow; it shows itself where it is the last thing in a cell, and fits in other layouts.

    Parameters
    ----------
    what
        The word for a workflow, a workflow, or a run, whose workflow and values it starts from.
    params
        Field -> value to begin with, or an example of what may be chosen, as `ipywidgets.interact` takes them:
        `(1, 30)` and `(0.0, 1.0, 0.05)` are ranges, `["euler", "heun"]` and `{"soft": 4, "crisp": 9}` choices.
    client
        The connection; else that of the notebook, else `COMFLOWY_TARGET`.

    Raises
    ------
    SettingsError
        If nothing is connected.
    WorkflowError, FieldError
        If there is no such workflow or field, or nothing describes its fields and none are given.
    """
    from comflowy_nb.notebook.display.views import Viewer  # noqa: PLC0415 - as above
    from comflowy_nb.notebook.form.field_specs import abbreviated_fields, form_fields  # noqa: PLC0415 - as above
    from comflowy_nb.notebook.form.form import Form  # noqa: PLC0415 - loads ipywidgets
    from comflowy_nb.notebook.magics import current_session  # noqa: PLC0415 - it registers what this module has
    from comflowy_nb.tracking.run import Run  # noqa: PLC0415 - as above

    if more:
        raise TypeError(f"form() has no parameter {next(iter(more))!r}; fields go into a mapping: form(what, {{...}})")
    session = current_session()
    if client is None:
        if session is None:
            raise SettingsError("nothing is connected here: %load_ext comflowy_nb, or form(..., client=connect(...))")
        client = session.connected()
    before: dict[str, Any] = {}
    if isinstance(what, Run):
        before = {key: what.params[key] for key in what.record.set_params if key in what.params}
        what = what.record.workflow_id or what.workflow
    workflow = client.workflow(what) if isinstance(what, str) else what
    values, described = abbreviated_fields(workflow, params or {})
    values = {**client.recall(workflow, before), **values}
    fields = form_fields(workflow, values, given=list(values), described=described)
    return Form(client, workflow, fields, viewer=session.viewer if session is not None else Viewer())
