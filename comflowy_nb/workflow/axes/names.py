"""Resolve names in `--where` and `--label` of a sweep: axes, fields, and columns of a table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comflowy_nb.errors import FieldError, nearest_tip, option
from comflowy_nb.workflow.axes.types import LABEL
from comflowy_nb.workflow.images import InputImage
from comflowy_nb.workflow.syntax.conditions import parse_condition
from comflowy_nb.workflow.syntax.json_values import listed
from comflowy_nb.workflow.syntax.ranges import is_number, read_number

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from comflowy_nb.workflow.axes.types import Axes, Axis, Cell
    from comflowy_nb.workflow.workflow import Workflow


_MAX_LISTED = 4  # labels, in an error


def cell_filter(axes: Axes, workflow: Workflow) -> Callable[[Cell], bool] | None:
    """Return a function that checks whether a cell fulfils `axes.where`; None if there is no condition.

    A name is a field, an alias, an axis or a column of `--info`. The value of a field is the submitted one, else the
    default of the workflow. The value of an axis with labels or presets is the label. A column of `--info` has numbers
    if all its values are numbers, else texts.

    Raises
    ------
    LineError
        If the condition does not follow the grammar.
    FieldError
        If the condition has an unknown name. The returned function raises it for a comparison of a number with a
        text.
    """
    if axes.where is None:
        return None
    condition = parse_condition(axes.where)
    typed = option("where", axes.where)
    values: dict[str, Callable[[Cell], Any]] = {}
    tips: dict[str, str] = {}
    for name in condition.names:
        axis = _labelled_axis(name, axes, workflow)
        if axis is not None:
            values[name] = _label_of(axis)
            tips[name] = _labels_tip(name, axis)
            continue
        try:
            values[name] = _value_of(name, axes, workflow)
        except FieldError as error:
            raise FieldError(f"{typed}: {error.problems[0]}") from None

    def fulfils(cell: Cell) -> bool:
        try:
            return condition.matches({name: value(cell) for name, value in values.items()})
        except FieldError as error:
            problem = error.problems[0]
            compared = [tip for name, tip in tips.items() if name in problem]
            raise FieldError(". ".join([f"{typed}: {problem}", *compared])) from None

    return fulfils


def caption_names(names: Iterable[str], axes: Axes, workflow: Workflow) -> list[str]:
    """Return the names of `--label` in the form that captions use: axes with labels, info columns, and field ids.

    Raises
    ------
    FieldError
        If a name is none of these.
    """
    columns = axes.columns
    resolved = ((name,) if name in columns else _find(name, axes, workflow) for name in names)
    return [key for keys in resolved for key in keys]


def _find(name: str, axes: Axes, workflow: Workflow) -> tuple[str, ...]:
    """Return the ids of the fields of a name. The error suggests the nearest axis or column too."""
    try:
        return workflow.find(name)
    except FieldError as error:
        problem = error.problems[0]
        near = nearest_tip(name, [*(axis.name for axis in axes.simple), *axes.columns])
        raise FieldError(problem if problem.endswith("?") else f"{problem}{near}") from None


def _value_of(name: str, axes: Axes, workflow: Workflow) -> Callable[[Cell], Any]:
    """Return a function that reads the value of a name from a cell. The name is not an axis with labels."""
    column = [value.info[name] for axis in axes.simple for value in axis.values if name in value.info]
    if column:
        read: Callable[[str], Any] = read_number if all(map(is_number, column)) else str
        return lambda cell: read(cell.info[name]) if name in cell.info else None
    ids = _find(name, axes, workflow)
    if len(ids) > 1:
        raise FieldError(f"{name} names {len(ids)} fields; use one of {', '.join(ids)}")
    default = workflow.field(ids[0]).default
    return lambda cell: _comparable(cell.params.get(ids[0], default))


def _comparable(value: Any) -> Any:
    return value.name if isinstance(value, InputImage) else value


# -- labels ------------------------------------------------------------------------------------------------------------


def _labelled_axis(name: str, axes: Axes, workflow: Workflow) -> Axis | None:
    """Return the axis with labels that a name selects: by axis name, by field, or `label` for rows of a table."""
    labelled = [axis for axis in axes.simple if axis.has_labels]
    for axis in labelled:
        if name == axis.name or (name == LABEL and axis.kind == "rows"):
            return axis
    if name in axes.columns:  # a column of --info
        return None
    try:
        ids = workflow.find(name)
    except FieldError:
        return None
    return next((axis for axis in labelled if axis.kind == "values" and ids[0] in axis.fields), None)


def _label_of(axis: Axis) -> Callable[[Cell], str]:
    return lambda cell: cell.labels[axis.name]


def _labels_tip(name: str, axis: Axis) -> str:
    labels = list(dict.fromkeys(value.label for value in axis.values))
    texts = listed(labels, _MAX_LISTED)
    return f"{name} is compared by its labels, which are texts: {texts}. Write {name} = {labels[0]!r}"
