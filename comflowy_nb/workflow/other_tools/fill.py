"""Map image settings of another tool to the fields of a workflow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from comflowy_nb.errors import FieldError, WorkflowError, nearest
from comflowy_nb.workflow.other_tools.metadata import ROLES
from comflowy_nb.workflow.other_tools.places import find_places
from comflowy_nb.workflow.other_tools.samplers import SAMPLERS, SCHEDULERS, comfyui_names, comparable
from comflowy_nb.workflow.syntax.json_values import listed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from comflowy_nb.workflow.fields import Field
    from comflowy_nb.workflow.graph import Graph
    from comflowy_nb.workflow.other_tools.metadata import Generation
    from comflowy_nb.workflow.workflow import Workflow


DEFAULT = "default"  # the workflow for the settings of an image, if none is named; it always exists

_LABELS = {"negative": "negative prompt", "sampler": "sampler", "scheduler": "scheduler"}
_MAX_LISTED = 12  # omitted settings in the summary; others are counted


@dataclass(frozen=True, slots=True)
class FillResult:
    """The params of a workflow for the settings of another tool.

    Attributes
    ----------
    params
        Field id -> value.
    left_out
        The omitted settings, each with its value or the reason.
    summary
        One line with the tool, the workflow and the omitted settings.
    """

    params: dict[str, Any]
    left_out: tuple[str, ...]
    summary: str


def fill(generation: Generation, workflow: Workflow, name: str, graph: Graph | None = None) -> FillResult:
    """Convert the settings of another tool to params of a workflow.

    Parameters
    ----------
    workflow
        The workflow for the settings.
    name
        The name of the image in the summary and in errors.
    graph
        As for `find_places`.

    Raises
    ------
    WorkflowError
        If the workflow has no field for any of the settings.
    """
    places = find_places(workflow, graph)
    sampler, scheduler = comfyui_names(generation.values.get("sampler"), generation.values.get("scheduler"))
    translated = {"sampler": sampler, "scheduler": scheduler}
    params: dict[str, Any] = {}
    left_out: list[str] = []
    for role in [role for role in ROLES if role in generation.values]:
        value = generation.values[role]
        field_ids = places.fields.get(role, ())
        fields = [workflow.fields.get(field_id) for field_id in field_ids]
        label = _label(role, value)
        if not field_ids:
            problem = places.problems.get(role)
            if value != "":  # an empty prompt need not be reported
                left_out.append(f"{label} ({problem})" if problem else label)
            continue
        if role in translated:
            value, problem = _choice(role, value, translated[role], fields[0], workflow.name)
        else:
            value, problem = _check_value(fields, value)
        if problem is None:
            params |= dict.fromkeys(field_ids, value)
        else:
            left_out.append(f"{label} ({problem})")
    left_out += generation.extras
    if not params:
        raise WorkflowError(
            f"{workflow.name} has no field for the settings in {name}; name its fields, for example: "
            f"%comflowy workflow alias {workflow.name} prompt=6::text"
        )
    others = f", without: {listed(left_out, _MAX_LISTED)}" if left_out else ""
    summary = f"the settings in {name} ({generation.tool}) are used for {workflow.name}"
    return FillResult(params, tuple(left_out), summary + others)


def _choice(
    role: str, name: str, translated: str | None, field: Field | None, workflow: str
) -> tuple[str | None, str | None]:
    """Return the value for a sampler or scheduler, or a problem if there is none.

    The value must be one of the options of the field. Without options, ComfyUI's own names are valid.
    """
    table = SAMPLERS if role == "sampler" else SCHEDULERS
    options = [option for option in field.options if isinstance(option, str)] if field is not None else []
    names = options or list(table)
    for option in (name, translated):
        if option is not None and option in names:
            return option, None
    own = translated or comparable(name)
    near = nearest(own, names, 1) or [option for option in names if own.startswith(f"{option}_")]
    tip = f", nearest: {near[0]}" if near else ""
    if translated is None:
        return None, f"not known in ComfyUI{tip}"
    return None, f"{workflow} does not offer {translated}{tip}"


def _check_value(fields: Sequence[Field | None], value: Any) -> tuple[Any, str | None]:
    """Return the value converted for the fields, or a problem if it is invalid for one of them."""
    for field in fields:
        if field is not None:
            try:
                value = field.check(value)
            except FieldError as error:
                return None, str(error).removeprefix(f"{field.where}: ")
    return value, None


def _label(role: str, value: Any) -> str:
    label = _LABELS.get(role, role)
    return label if role in {"prompt", "negative"} else f"{label} {value}"
