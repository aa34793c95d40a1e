"""The fields of a form: their order, initial values and labels. Does not import widgets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from comflowy_nb.errors import FieldError, WorkflowError
from comflowy_nb.workflow.fields import Field, FieldType
from comflowy_nb.workflow.images import is_image
from comflowy_nb.workflow.syntax.json_values import is_number, plain, shown

if TYPE_CHECKING:
    from collections.abc import Collection

    from comflowy_nb.workflow.workflow import Workflow


@dataclass(frozen=True, slots=True)
class FormField:
    """One field of a form.

    Attributes
    ----------
    value
        The initial value.
    is_explicit
        Whether the user set the value. Then it is submitted even if it equals the default.
    labels
        The texts that are displayed for the options; empty if the options themselves are displayed.
    is_random
        Whether a new seed is generated for each run.
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
    described: Mapping[str, FormField] | None = None,
) -> list[FormField]:
    """Return the fields of a form: all described fields of the workflow, and the fields in `values`.

    Parameters
    ----------
    values
        Field id -> initial value, instead of the default.
    explicit
        Ids of the fields that are submitted even if they have the default value.
    random
        Ids of the seeds that are generated for each run.
    described
        Field id -> form field, from `abbreviated_fields`.

    Raises
    ------
    WorkflowError
        If there are no fields. The text says how to describe them.
    """
    described = described or {}
    known = {**workflow.fields, **{key: form_field.field for key, form_field in described.items()}}
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
    result = []
    for key, field in known.items():
        is_bare = field.type is FieldType.UNKNOWN and field.default is None and key in values
        result.append(
            FormField(
                replace(field, default=values[key]) if is_bare else field,  # the type of the value decides the control
                values.get(key, field.default),
                is_explicit=key in explicit,
                labels=described[key].labels if key in described else (),
                alias=aliases.get(key),
                is_random=key in random,
            )
        )
    return result


def abbreviated_fields(workflow: Workflow, abbreviations: Mapping[str, Any]) -> dict[str, FormField]:
    """Parse abbreviations by field id, name or alias: `{"3::steps": (1, 30), "cfg": 7}`.

    Returns
    -------
    Field id -> form field with a checked value.

    Raises
    ------
    FieldError
        If abbreviations are invalid. It contains all problems.
    """
    described: dict[str, FormField] = {}
    problems: list[str] = []
    for key, abbreviation in abbreviations.items():
        try:
            for field_id in workflow.find(key):
                form_field = read_abbreviation(workflow.field(field_id), abbreviation)
                if form_field.field.type is not FieldType.UNKNOWN:
                    form_field = replace(form_field, value=form_field.field.check(form_field.value))
                described[field_id] = form_field
        except FieldError as error:
            problems += error.problems
    if problems:
        raise FieldError(*dict.fromkeys(problems))
    return described


def read_abbreviation(field: Field, abbreviation: object) -> FormField:
    """Return the form field for an abbreviation as in `ipywidgets.interact`: `(1, 20)`, `["a", "b"]`, `True`.

    Parameters
    ----------
    field
        The field of the workflow. An abbreviation narrows its range or options, and sets an unknown type.
    abbreviation
        A range is (lowest, highest) or (lowest, highest, step); the initial value is the default of the field if it is
        in the range, else the middle. Options are a list, a list of (label, option) pairs or a mapping label -> option;
        the initial value is the default if it is one of them, else the first option. A boolean, a text, a number or an
        image is the initial value.

    Raises
    ------
    FieldError
        If the abbreviation is invalid, or outside the range or options of the field.
    """
    abbreviation = plain(abbreviation)
    if isinstance(abbreviation, tuple) and abbreviation and all(is_number(part) for part in abbreviation):
        return _range(field, abbreviation)
    if isinstance(abbreviation, Mapping):
        return _choice(field, list(abbreviation.items()))
    if isinstance(abbreviation, Iterable) and not isinstance(abbreviation, (str, bytes)) and not is_image(abbreviation):
        items = [plain(item) for item in abbreviation]
        pairs = [item for item in items if isinstance(item, (tuple, list)) and len(item) == 2]
        if len(pairs) == len(items):
            return _choice(field, [(label, option) for label, option in pairs])
        return _choice(field, [(f"{item:g}" if isinstance(item, float) else item, item) for item in items])
    if field.type is not FieldType.UNKNOWN:
        return FormField(field, abbreviation)
    return FormField(replace(field, type=_type_of(abbreviation), default=None), abbreviation)


def _range(field: Field, abbreviation: tuple[Any, ...]) -> FormField:
    if len(abbreviation) not in {2, 3}:
        raise FieldError(
            f"{field.where}: {shown(abbreviation)} is not a range: use (lowest, highest) or (lowest, highest, step)"
        )
    low, high = abbreviation[0], abbreviation[1]
    is_whole = all(isinstance(part, int) for part in abbreviation)
    default_step = field.step or (1 if is_whole else (high - low) / 100)
    step = abbreviation[2] if len(abbreviation) == 3 else default_step
    if not low < high or step <= 0:
        raise FieldError(
            f"{field.where}: {shown(abbreviation)} is not a range: the lowest comes first, and the step must be above 0"
        )
    if field.type is FieldType.UNKNOWN:
        field = replace(field, type=FieldType.INT if is_whole else FieldType.FLOAT)
    elif not field.type.is_number:
        raise FieldError(
            f"{field.where}: {shown(abbreviation)} is a range, but the field has type {field.type}: use one value"
        )
    for end in (low, high):
        field.check(end)
    if is_number(field.default) and low <= field.default <= high:
        value = field.default
    else:
        middle = low + step * round((high - low) / 2 / step)
        value = int(middle) if field.type is FieldType.INT else middle
    return FormField(replace(field, min=low, max=high, step=step), value)


def _choice(field: Field, pairs: list[tuple[Any, Any]]) -> FormField:
    if not pairs:
        raise FieldError(f"{field.where}: the list of options is empty: use at least one option")
    options = tuple(plain(option) for _, option in pairs)
    if field.type is not FieldType.UNKNOWN:
        options = tuple(field.check(option) for option in options)
    labels = tuple(str(label) for label, _ in pairs)
    duplicate = next((label for label in labels if labels.count(label) > 1), None)
    if duplicate is not None:
        raise FieldError(f"{field.where}: duplicate label {duplicate!r}: each option needs a different label")
    value = field.default if field.default in options else options[0]
    return FormField(replace(field, type=FieldType.CHOICE, options=options), value, labels=labels)


def _type_of(value: object) -> FieldType:
    """Return the type of a value; UNKNOWN for a number, because a field with the value 8 may also accept 7.5."""
    if isinstance(value, bool):
        return FieldType.BOOLEAN
    if isinstance(value, str):
        return FieldType.STRING
    return FieldType.IMAGEUPLOAD if is_image(value) else FieldType.UNKNOWN


def range_text(field: Field) -> str:
    """Return the range of a number as text: `0 to 100`, `from 1`, `up to 7.5`; empty without a range."""
    low, high = (
        None if end is None else f"{end:g}" if abs(end) < 1e6 else str(end)  # `:g` rounds larger numbers
        for end in (field.min, field.max)
    )
    if low is not None and high is not None:
        return f"{low} to {high}"
    return f"from {low}" if low is not None else f"up to {high}" if high is not None else ""
