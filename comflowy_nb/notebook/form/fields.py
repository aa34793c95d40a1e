"""The fields of a form: their order, first values and labels. Loads no widgets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from comflowy_nb.errors import FieldError, WorkflowError
from comflowy_nb.workflow.fields import Field, FieldType
from comflowy_nb.workflow.syntax.abbreviations import read_abbreviation

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from comflowy_nb.workflow.syntax.abbreviations import Abbreviated
    from comflowy_nb.workflow.workflow import Workflow

__all__ = ["FormField", "abbreviated_fields", "form_fields", "range_text"]


@dataclass(frozen=True, slots=True)
class FormField:
    """One field of a form.

    Attributes
    ----------
    value
        The first value.
    is_explicit
        Whether the user set it, so that it is submitted even if it equals the default.
    labels
        Texts for the options.
    is_random
        Whether each run gets a new seed.
    """

    field: Field
    value: Any
    is_explicit: bool = False
    labels: tuple[str, ...] = ()
    alias: str | None = None
    is_random: bool = False


def form_fields(
    workflow: Workflow,
    values: Mapping[str, Any],
    *,
    explicit: Collection[str],
    random: Collection[str] = (),
    described: Mapping[str, Abbreviated] | None = None,
) -> list[FormField]:
    """Return the fields of a form: all that the workflow describes, and those in `values`.

    Parameters
    ----------
    values
        Field id -> first value, instead of the default.
    explicit
        Ids of fields that are submitted even if they hold the default.
    random
        Ids of seeds that are generated for each run.
    described
        Field id -> its description in `abbreviated_fields`.

    Raises
    ------
    WorkflowError
        If there are none. The text says how to describe fields.
    """
    described = described or {}
    known = {**workflow.fields, **{key: one.field for key, one in described.items()}}
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
        is_bare = one.type is FieldType.UNKNOWN and one.default is None and key in values
        found.append(
            FormField(
                replace(one, default=values[key]) if is_bare else one,  # the type of the value decides the control
                values.get(key, one.default),
                is_explicit=key in explicit,
                labels=described[key].labels if key in described else (),
                alias=aliases.get(key),
                is_random=key in random,
            )
        )
    return found


def abbreviated_fields(workflow: Workflow, examples: Mapping[str, Any]) -> dict[str, Abbreviated]:
    """Read abbreviations by field id, name or alias: `{"3::steps": (1, 30), "cfg": 7}`.

    Returns
    -------
    Field id -> its description, with a checked value.

    Raises
    ------
    FieldError
        With all problems at once.
    """
    described: dict[str, Abbreviated] = {}
    problems: list[str] = []
    for key, example in examples.items():
        try:
            for field_id in workflow.find(key):
                found = read_abbreviation(workflow.fields.get(field_id) or Field(field_id), example)
                if found.field.type is not FieldType.UNKNOWN:
                    found = replace(found, value=found.field.check(found.value))
                described[field_id] = found
        except FieldError as error:
            problems += error.problems
    if problems:
        raise FieldError(*dict.fromkeys(problems))
    return described


def range_text(field: Field) -> str:
    """Return the range of a number as text: `0 to 100`, `from 1`, `up to 7.5`, or nothing."""
    low, high = (
        None if end is None else f"{end:g}" if abs(end) < 1e6 else str(end)  # `:g` rounds larger numbers
        for end in (field.min, field.max)
    )
    if low is not None and high is not None:
        return f"{low} to {high}"
    return f"from {low}" if low is not None else f"up to {high}" if high is not None else ""
