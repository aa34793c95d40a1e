"""Axes of generated seeds: `random#N` of a sweep and `run --count N`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comflowy_nb.errors import FieldError
from comflowy_nb.workflow.axes.types import Axes, Axis, AxisValue
from comflowy_nb.workflow.fields import FieldType
from comflowy_nb.workflow.syntax.ranges import LARGEST_AXIS
from comflowy_nb.workflow.values import MAX_GENERATED_SEED, narrowest_field, resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from comflowy_nb.workflow.images import InputImage
    from comflowy_nb.workflow.syntax.lists import Setting
    from comflowy_nb.workflow.workflow import Workflow

__all__ = ["count_axes", "seed_values"]


def count_axes(
    workflow: Workflow,
    settings: Sequence[Setting],
    count: int,
    *,
    namespace: Mapping[str, Any] | None = None,
    open_run: Callable[[str], InputImage] | None = None,
) -> Axes:
    """Return the axes of `run --count N`: the settings as for a run, and one axis of N generated seeds.

    The axis sets the fields that are set to `random`, else every INT field whose name contains `seed` and is not set.

    Raises
    ------
    FieldError
        As `values.resolve`; and if there is no seed to generate.
    """
    found = resolve(workflow, settings, namespace=namespace, open_run=open_run)
    seeds = tuple(found.generated_seeds) or tuple(
        name
        for name, one in workflow.fields.items()
        if one.is_seed and one.type is FieldType.INT and name not in found.params
    )
    if not seeds:
        explicit = [one for one in found.params if one in workflow.fields and workflow.fields[one].is_seed]
        tip = "no seed field is known here: name one, as in 3::seed=random"
        why = f"{', '.join(explicit)} is set" if explicit else tip
        raise FieldError(f"--count {count} generates seeds, but {why}")
    try:
        values = seed_values(workflow, seeds, count, f"--count {count}")
    except ValueError as error:
        raise FieldError(str(error)) from None
    fixed = {name: value for name, value in found.params.items() if name not in seeds}
    set_params = (*found.set_params, *(one for one in seeds if one not in found.set_params))
    return Axes(fixed, (Axis("seed", "seeds", seeds, values),), (), set_params)


def seed_values(workflow: Workflow, field_ids: Sequence[str], count: int, word: str) -> tuple[AxisValue, ...]:
    """Return the values of an axis of N seeds, generated later.

    Raises
    ------
    ValueError
        If N is 0, larger than an axis, or more than half of the seeds that the fields allow.
    """
    if count < 1:
        raise ValueError(f"{word} generates no seed")
    if count > LARGEST_AXIS:
        raise ValueError(f"{word} generates {count:,} seeds; an axis has at most {LARGEST_AXIS:,}")
    one = narrowest_field(workflow, field_ids)
    low = max(0, one.min or 0) if one is not None else 0
    high = MAX_GENERATED_SEED if one is None or one.max is None else min(one.max, MAX_GENERATED_SEED)
    if count > (high - low + 1) / 2:
        raise ValueError(f"{word} generates too many seeds for a field that goes from {low:g} to {high:g}")
    return tuple(AxisValue({}, str(index)) for index in range(1, count + 1))
