"""What a form holds, before there are widgets: the fields, in groups, and the value each begins with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from comflowy_nb.errors import FieldError, WorkflowError
from comflowy_nb.workflow.fields import Field, FieldType, split_id
from comflowy_nb.workflow.syntax.abbreviations import read_abbreviation

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from comflowy_nb.workflow.workflow import Workflow

__all__ = ["FormField", "Group", "abbreviated_fields", "form_fields", "group"]


@dataclass(frozen=True, slots=True)
class FormField:
    """One field of a form.

    `value` is what it begins with, `is_given` says that somebody gave it, so that it is sent even if it is the
    default; `labels` are words for its options, `seed_mode` what becomes of a seed.
    """

    field: Field
    value: Any
    is_given: bool = False
    labels: tuple[str, ...] = ()
    alias: str | None = None
    seed_mode: str = "fixed"


@dataclass(frozen=True, slots=True)
class Group:
    """The fields of one node."""

    node: str
    title: str
    fields: tuple[FormField, ...]


def form_fields(
    workflow: Workflow,
    values: Mapping[str, Any],
    *,
    given: Collection[str],
    random: Collection[str] = (),
    described: Mapping[str, tuple[Field, tuple[str, ...]]] | None = None,
) -> list[FormField]:
    """The fields of a form: all that the workflow describes, and those that values were given for.

    Parameters
    ----------
    values
        Field id -> value to begin with, in the place of the default.
    given
        Ids of fields that are sent whatever they hold.
    random
        Ids of seeds that are drawn at each run.
    described
        Field id -> the field as an example describes it, and words for its options; see `abbreviated_fields`.

    Raises
    ------
    WorkflowError
        If there are none: it says how to describe fields.
    """
    known = dict(workflow.fields)
    for key, value in values.items():
        if key not in known:
            known[key] = read_abbreviation(Field(key), value).field if isinstance(value, (bool, str)) else Field(key)
    if not known:
        name = workflow.name
        raise WorkflowError(
            f"nothing describes the fields of {name}, so there is nothing to fill in: give values, as in "
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
            field = replace(field, default=values[key])  # its kind tells which control suits it
        found.append(
            FormField(
                field,
                values.get(key, field.default),
                is_given=key in given,
                labels=labels,
                alias=aliases.get(key),
                seed_mode="random" if key in random else "fixed",
            )
        )
    return found


def abbreviated_fields(
    workflow: Workflow, examples: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, tuple[Field, tuple[str, ...]]]]:
    """The values and the descriptions in examples by field id, name or alias: `{"3::steps": (1, 30), "cfg": 7}`.

    Returns
    -------
    Field id -> value to begin with, and field id -> field and words for its options.

    Raises
    ------
    FieldError
        For everything wrong at once.
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


def group(fields: Iterable[FormField]) -> list[Group]:
    """By node: those with long texts first, then those with a seed, then the others, else in their order."""
    by_node: dict[str, list[FormField]] = {}
    for one in fields:
        by_node.setdefault(split_id(one.field.id)[0], []).append(one)
    groups = [Group(node, _title(members), tuple(members)) for node, members in by_node.items()]
    return sorted(groups, key=lambda one: _rank(one.fields))


def _title(members: Sequence[FormField]) -> str:
    return (
        next(
            (
                one.field.node_title or one.field.class_type
                for one in members
                if one.field.node_title or one.field.class_type
            ),
            "",
        )
        or "node"
    )


def _rank(members: Sequence[FormField]) -> int:
    """What people change most comes first."""
    if any(one.field.multiline for one in members):
        return 0
    if any(one.field.type is FieldType.IMAGEUPLOAD for one in members):
        return 1
    return 2 if any(one.field.is_seed for one in members) else 3
