"""`comflowy_nb.form`, and the fields that a form has: their order, first values and labels. Loads no widgets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from comflowy_nb.errors import FieldError, SettingsError, WorkflowError
from comflowy_nb.workflow.fields import Field, FieldType
from comflowy_nb.workflow.syntax.abbreviations import read_abbreviation

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from comflowy_nb.client import Client
    from comflowy_nb.notebook.form.form import Form
    from comflowy_nb.tracking.run import Run
    from comflowy_nb.workflow.workflow import Workflow

__all__ = ["FormField", "abbreviated_fields", "form", "form_fields"]


@dataclass(frozen=True, slots=True)
class FormField:
    """One field of a form.

    Attributes
    ----------
    value
        The first value.
    is_explicit
        Whether the user set it, so that it is sent even if it equals the default.
    labels
        Texts for the options.
    seed_mode
        One of `SEED_MODES`.
    """

    field: Field
    value: Any
    is_explicit: bool = False
    labels: tuple[str, ...] = ()
    alias: str | None = None
    seed_mode: str = "fixed"


def form(
    what: str | Workflow | Run, params: Mapping[str, Any] | None = None, *, client: Client | None = None, **more: Any
) -> Form:
    """Create a form for a workflow. It is displayed as the last value of a cell, and fits in other layouts.

    Parameters
    ----------
    what : str, Workflow or Run
        The name of a workflow, a workflow, or a run, whose workflow and values the form starts from.
    params : mapping, optional
        Field -> first value, or an abbreviation as in `ipywidgets.interact`: `(1, 30)` and `(0.0, 1.0, 0.05)` are
        ranges, `["euler", "heun"]` and `{"soft": 4, "crisp": 9}` are choices.
    client : Client, optional
        The connection. None (default) uses that of the notebook, else `COMFLOWY_TARGET`.

    Returns
    -------
    Form
        The widget. `Form.close` frees it.

    Raises
    ------
    SettingsError
        If nothing is connected.
    WorkflowError, FieldError
        If there is no such workflow or field, or the fields are not described and `params` names none.

    Examples
    --------
    In a notebook:

    >>> form = comflowy_nb.form("default", {"steps": (1, 30), "sampler_name": ["euler", "heun"]})  # doctest: +SKIP
    """
    from comflowy_nb.notebook.display.live import LiveUpdater  # noqa: PLC0415 - as below
    from comflowy_nb.notebook.form.form import Form  # noqa: PLC0415 - loads ipywidgets
    from comflowy_nb.notebook.magics import current_session  # noqa: PLC0415 - loads IPython
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
    fields = form_fields(workflow, values, explicit=list(values), described=described)
    return Form(client, workflow, fields, updater=session.updater if session is not None else LiveUpdater())


def form_fields(
    workflow: Workflow,
    values: Mapping[str, Any],
    *,
    explicit: Collection[str],
    random: Collection[str] = (),
    described: Mapping[str, tuple[Field, tuple[str, ...]]] | None = None,
) -> list[FormField]:
    """Return the fields of a form: all that the workflow describes, and those in `values`.

    Parameters
    ----------
    values
        Field id -> first value, instead of the default.
    explicit
        Ids of fields that are sent even if they hold the default.
    random
        Ids of seeds that are generated for each run.
    described
        Field id -> the field as an abbreviation describes it, and labels of its options; see `abbreviated_fields`.

    Raises
    ------
    WorkflowError
        If there are none. The text says how to describe fields.
    """
    known = dict(workflow.fields)
    for key, value in values.items():
        if key not in known:
            known[key] = read_abbreviation(Field(key), value).field if isinstance(value, (bool, str)) else Field(key)
    if not known:
        name = workflow.name
        raise WorkflowError(
            f"the fields of {name} are not known here, so the form would be empty: give values, as in "
            f'%comflowy form {name} 3::steps=20 6::text="a cat", or paste what the editor\'s console prints below '
            f"%%comflowy fields {name}"
        )
    aliases: dict[str, str] = {}
    for word, field_id in workflow.aliases.items():
        aliases.setdefault(field_id, word)
    found = []
    for key, one in known.items():
        field, labels = (described or {}).get(key, (one, ()))
        if field.type is FieldType.UNKNOWN and field.default is None and key in values:
            field = replace(field, default=values[key])  # its type decides the control
        found.append(
            FormField(
                field,
                values.get(key, field.default),
                is_explicit=key in explicit,
                labels=labels,
                alias=aliases.get(key),
                seed_mode="random" if key in random else "fixed",
            )
        )
    return found


def abbreviated_fields(
    workflow: Workflow, examples: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, tuple[Field, tuple[str, ...]]]]:
    """Read abbreviations by field id, name or alias: `{"3::steps": (1, 30), "cfg": 7}`.

    Returns
    -------
    Field id -> first value, and field id -> field and labels of its options.

    Raises
    ------
    FieldError
        With all problems at once.
    """
    values: dict[str, Any] = {}
    described: dict[str, tuple[Field, tuple[str, ...]]] = {}
    problems: list[str] = []
    for key, example in examples.items():
        try:
            for field_id in workflow.find(key):
                found = read_abbreviation(workflow.fields.get(field_id) or Field(field_id), example)
                value = found.value if found.field.type is FieldType.UNKNOWN else found.field.check(found.value)
                values[field_id], described[field_id] = value, (found.field, found.labels)
        except FieldError as error:
            problems += error.problems
    if problems:
        raise FieldError(*problems)
    return values, described
