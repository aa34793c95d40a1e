"""The axes of a sweep: what the settings of a line, a body, a file or a Python call go through, typed and checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comflowy_nb.errors import FieldError
from comflowy_nb.workflow.axes.sweep_reader import LARGEST_SWEEP, SweepReader
from comflowy_nb.workflow.axes.types import Axes, Axis
from comflowy_nb.workflow.axes.value_reader import seed_values
from comflowy_nb.workflow.fields import FieldType
from comflowy_nb.workflow.values import resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from comflowy_nb.workflow.images import InputImage
    from comflowy_nb.workflow.syntax.lists import Setting
    from comflowy_nb.workflow.workflow import Workflow

__all__ = ["LARGEST_SWEEP", "count_axes", "read_axes"]


def read_axes(
    workflow: Workflow,
    settings: Sequence[Setting],
    *,
    namespace: Mapping[str, Any] | None = None,
    open_run: Callable[[str], InputImage] | None = None,
    base: Mapping[str, Any] | None = None,
) -> Axes:
    """The axes of a sweep.

    Parameters
    ----------
    workflow
        Says what the keys mean and which types their fields have.
    settings
        In the order they were typed, from a line or body read with `sweep=True`, a file or a Python call.
    namespace
        The names that `{name}` may mean; None where nothing expands.
    open_run
        Gives the image that a reference (`r41[0]`) names, or raises RefError; None where there are none.
    base
        Params of the run or sweep that `--from` names, by field id: words are replaced in its texts.

    Raises
    ------
    FieldError
        For everything wrong at once; each problem names the field, and the value with its place in the list.
    """
    reader = SweepReader(workflow, namespace, open_run, base)
    for setting in settings:
        reader.take(setting)
    return reader.axes()


def count_axes(
    workflow: Workflow,
    settings: Sequence[Setting],
    count: int,
    *,
    namespace: Mapping[str, Any] | None = None,
    open_run: Callable[[str], InputImage] | None = None,
) -> Axes:
    """The axes of `run --count N`: the settings as a run takes them, and one axis of N drawn seeds.

    The axis sets the fields that were given as `random`, else every INT whose name contains `seed` and was not given.

    Raises
    ------
    FieldError
        As `values.resolve`; and if there is no seed to draw.
    """
    found = resolve(workflow, settings, namespace=namespace, open_run=open_run)
    seeds = tuple(found.drawn) or tuple(
        name
        for name, one in workflow.fields.items()
        if one.is_seed and one.type is FieldType.INT and name not in found.params
    )
    if not seeds:
        given = [one for one in found.params if one in workflow.fields and workflow.fields[one].is_seed]
        why = f"{', '.join(given)} is given" if given else "no seed field is known here: name one, as in 3::seed=random"
        raise FieldError(f"--count {count} draws seeds, but {why}")
    try:
        values = seed_values(workflow, seeds, count, f"--count {count}")
    except ValueError as error:
        raise FieldError(str(error)) from None
    fixed = {name: value for name, value in found.params.items() if name not in seeds}
    set_params = (*found.set_params, *(one for one in seeds if one not in found.set_params))
    return Axes(fixed, (Axis("seed", "seeds", seeds, values),), (), set_params)
