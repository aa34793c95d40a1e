"""The fields of a form as widgets, in groups by node, with a search box if there are many."""

from __future__ import annotations

import math
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
import traitlets

from comflowy_nb.errors import FieldError
from comflowy_nb.layout.captions import name_fields, write_value
from comflowy_nb.layout.html_text import html_text
from comflowy_nb.notebook.display.html import plain
from comflowy_nb.notebook.form.controls import (
    MAX_EXACT_INT,
    ChoiceControl,
    Control,
    SearchControl,
    SelectionControl,
    SwitchControl,
    TextControl,
)
from comflowy_nb.notebook.form.image_control import ImageControl
from comflowy_nb.notebook.form.number_controls import (
    DigitsControl,
    NumberControl,
    SeedControl,
    SliderControl,
    fits_slider,
)
from comflowy_nb.workflow.fields import FieldType, split_id
from comflowy_nb.workflow.images import InputImage
from comflowy_nb.workflow.syntax.json_values import shown
from comflowy_nb.workflow.values import generate_seed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from comflowy_nb.notebook.form.factory import FormField
    from comflowy_nb.services.base import Service
    from comflowy_nb.workflow.fields import Field
    from comflowy_nb.workflow.workflow import Workflow

__all__ = ["FormBody"]

_MAX_NARROW_FIELDS = 3  # fields in a group that takes half of the width where there is room
_MAX_DROPDOWN_OPTIONS = 24  # options of a dropdown; more are found by typing
_MIN_FIELDS_FOR_SEARCH = 20  # fields; with more there is a box to find one


@dataclass(frozen=True, slots=True)
class Group:
    """The fields of one node."""

    node: str
    title: str
    fields: tuple[FormField, ...]


class FormBody:
    """The controls of all fields: their values, their problems, and which are sent.

    Parameters
    ----------
    changed
        Called after every change of a field.
    has_graph
        Whether the workflow is a graph, whose values are sent unchanged even if they are invalid.
    open_run
        Returns the image that a reference names.
    """

    def __init__(
        self,
        fields: Sequence[FormField],
        *,
        changed: Callable[[], None],
        service: Service,
        open_run: Callable[[str], InputImage],
        has_graph: bool = False,
    ) -> None:
        self._has_graph = has_graph
        self._service = service
        self._open_run = open_run
        self._fields = {one.field.id: one for one in fields}
        self._controls: dict[str, Control] = {}
        self._values: dict[str, Any] = {}  # the valid ones
        self._problems: dict[str, str] = {}
        self.explicit = {key for key, one in self._fields.items() if one.is_explicit}
        self.names = {
            key: one.alias or name
            for (key, one), name in zip(self._fields.items(), name_fields(self._fields).values(), strict=True)
        }
        self._groups = [self._make_group(one) for one in _group(fields)]
        self._first_state: dict[str, Any] = {}
        self._invalid_defaults: set[str] = set()  # ids of fields with an invalid default
        for key, one in self._fields.items():
            self._initialise(key, one)
        groups = widgets.Box([box for box, _ in self._groups])
        groups.add_class("cfy-groups")
        self.parts: list[Any] = [groups]
        self._search: Any = None
        if len(fields) > _MIN_FIELDS_FOR_SEARCH:
            self._search = widgets.Text(placeholder=f"find one of {len(fields)} fields", description="find")
            self._search.add_class("cfy-input")
            self._search.observe(self._filter, names="value")
            self.parts.insert(0, self._search)
        for key, control in self._controls.items():
            control.listen(partial(self._on_change, key, changed))

    # -- reading ------------------------------------------------------------------------------------------------

    @property
    def sent(self) -> list[str]:
        """Ids of the fields that are sent: those set explicitly, and those that differ from their first state."""
        return [
            key for key in self._controls if key in self.explicit or self._input_state(key) != self._first_state[key]
        ]

    def state(self) -> tuple[dict[str, Any], dict[str, str]]:
        """Return the valid values, and the problems of the fields that would be sent, by field id.

        The problems include those of the workflow's own values, which are sent nevertheless.
        """
        reported = {*self.sent, *self._values, *self._invalid_defaults}
        return dict(self._values), {key: why for key, why in self._problems.items() if key in reported}

    def read(self) -> dict[str, Any]:
        """Return the values of all fields.

        Raises
        ------
        FieldError
            With the problems of all fields that would be sent and are invalid.
        """
        for key in self._controls:
            self._read(key)
        values, problems = self.state()
        wrong = [why for key, why in problems.items() if key not in values]
        if wrong:
            raise FieldError(*wrong)
        return values

    def snapshot(self) -> tuple[Any, ...]:
        """Return a value that changes with every change of a field."""
        return tuple(self._input_state(key) for key in self._controls)

    def rows(self) -> list[tuple[str, str, str]]:
        """Return node, name and value of each field, for the static output."""
        return [
            (self._title(one.field.id), self.names[key], self._value_text(key)) for key, one in self._fields.items()
        ]

    # -- setting ------------------------------------------------------------------------------------------------

    def show(self, field_id: str, value: Any) -> None:
        """Set a field.

        Raises
        ------
        FieldError
            If the form has no such field, or its control can't show the value.
        """
        if field_id not in self._controls:
            raise FieldError(f"this form has no field {field_id}")
        self._controls[field_id].show(value)
        self._read(field_id)

    @property
    def model_ids(self) -> list[str]:
        """Model ids of the widgets that are filled in."""
        return list(self._inputs())

    def fill_in(self, values: Mapping[str, Any]) -> None:
        """Set the fields to their state in the browser: model id -> value, or the index of an option."""
        inputs = self._inputs()
        for model_id, value in values.items():
            part = inputs.get(model_id)
            name = "index" if part is not None and part.has_trait("index") else "value"
            if part is not None and getattr(part, name) != value:
                with suppress(traitlets.TraitError):  # an unknown option: leave it unchanged
                    setattr(part, name, value)

    def _inputs(self) -> dict[str, Any]:
        return {part.model_id: part for control in self._controls.values() for part in control.parts}

    def restore(self, values: Mapping[str, Any], explicit: frozenset[str]) -> None:
        """Restore the values of an earlier run."""
        self.explicit = set(explicit)
        for key, value in values.items():
            if key in self._controls and self._values.get(key) != value:
                self._controls[key].show(value)
                self._read(key)

    def advance_seeds(self, used: Mapping[str, Any], workflow: Workflow) -> None:
        """Generate or count the seeds of the next run; `used` are the values of the run before."""
        for key, control in self._controls.items():
            if isinstance(control, SeedControl):
                was_used = key in used and used[key] == self._values.get(key)
                field = workflow.fields.get(key) or control.field
                control.advance(was_used=was_used, generate=lambda field=field: generate_seed(field))
                self._read(key)

    def close(self) -> None:
        for control in self._controls.values():
            control.close()
        if self._search is not None:
            self._search.unobserve_all()

    # -- building -----------------------------------------------------------------------------------------------

    def _make_group(self, one: Group) -> tuple[Any, str]:
        members = []
        for form_field in one.fields:
            control = self._make_control(form_field)
            self._controls[form_field.field.id] = control
            members.append(control.widget)
        title = widgets.HTML(
            f'<span class="cfy-group-title">{html_text(plain(one.title))} '
            f'<span class="cfy-quiet">{html_text(plain(one.node))}</span></span>'
        )
        fields = widgets.Box(members)
        fields.add_class("cfy-fields")
        box = widgets.VBox([title, fields])
        box.add_class("cfy-group")
        if len(members) > _MAX_NARROW_FIELDS:
            box.add_class("cfy-large")
        words = " ".join(f"{each.field.id} {each.alias or ''}" for each in one.fields)
        return box, f"{one.title} {words}".casefold()

    def _make_control(self, one: FormField) -> Control:
        field, label = one.field, one.alias or one.field.name
        if field.type is FieldType.IMAGEUPLOAD:
            return ImageControl(field, label, can_upload=self._service.can_upload, open_run=self._open_run)
        if field.is_seed and field.type in {FieldType.INT, FieldType.UNKNOWN}:
            return SeedControl(field, label, note=_unused(field))
        values = [value for value in (field.default, one.value) if value is not None]
        try:
            control = _control_for(field, label, values)
        except Exception as error:  # noqa: BLE001 - one description that no control can use must not take the form
            return TextControl(field, label, note=f"can't use its description ({error}): type any value")
        if isinstance(control, ChoiceControl):
            control.keeps_graph_value = self._has_graph
            if one.labels:
                control.label(one.labels)
        return control

    def _initialise(self, key: str, one: FormField) -> None:
        """Set the first value of a field, or the default if its control can't show that."""
        control = self._controls[key]
        default = one.field.default
        if default is not None and not self._try(control, default):
            self._invalid_defaults.add(key)
        self._first_state[key] = self._input_state(key)
        if one.value is not None and one.value is not default:
            self._try(control, one.value)
            self._invalid_defaults.discard(key)
        if isinstance(control, SeedControl):
            control.mode.value = one.seed_mode
            self._first_state[key] = (*self._first_state[key][:1], "fixed")
        self._read(key)

    @staticmethod
    def _try(control: Control, value: Any) -> bool:
        """Show a value if the control can; else the field stays empty, and reading it raises."""
        try:
            control.show(value)
        except FieldError:
            return False
        return True

    def _on_change(self, key: str, changed: Callable[[], None]) -> None:
        self._read(key)
        changed()

    def _read(self, key: str) -> None:
        control = self._controls[key]
        try:
            self._values[key] = control.read()
        except FieldError:
            self._values.pop(key, None)
        self._problems.pop(key, None)
        if control.problem is not None:
            self._problems[key] = control.problem

    def _input_state(self, key: str) -> tuple[Any, ...]:
        """Return the state of a field's widgets."""
        control = self._controls[key]
        if control.image is not None:
            return (control.image.content_sha256,)
        if isinstance(control, SeedControl):
            return (control.input.value, control.mode.value)
        return (control.input.value,)

    def _title(self, field_id: str) -> str:
        one = self._fields[field_id].field
        return one.node_title or one.class_type or one.node

    def _value_text(self, key: str) -> str:
        value = self._values.get(key, self._fields[key].value)
        return value.name if isinstance(value, InputImage) else "" if value is None else write_value(value)

    def _filter(self, change: Any) -> None:
        words = str(change["new"]).casefold().split()
        for box, text in self._groups:
            box.layout.display = "" if all(word in text for word in words) else "none"


def _control_for(field: Field, label: str, values: Sequence[Any]) -> Control:
    """Return a control that suits a field and can show these values; images and seeds are handled before.

    A choice of up to 24 is a dropdown, of more one that is typed. A number with a range of up to 200 steps is a slider;
    one that may be larger than the browser's numbers are exact is typed as digits; any other has a box. A graph may
    hold a value of another type than its field, such as `%width%` for a number: that is typed as text.
    """
    are_numbers = all(_has_number(value) for value in values)
    note = _unused(field)
    match field.type:
        case FieldType.CHOICE if field.is_multiple and field.options:
            return SelectionControl(field, label)
        case FieldType.CHOICE if field.options:
            return (ChoiceControl if len(field.options) <= _MAX_DROPDOWN_OPTIONS else SearchControl)(
                field, label, note=note
            )
        case FieldType.BOOLEAN if all(isinstance(value, bool) for value in values):
            return SwitchControl(field, label, note=note)
        case FieldType.INT if max(abs(field.min or 0), abs(field.max or 0)) > MAX_EXACT_INT:
            return DigitsControl(field, label, note=note)
        case FieldType.INT | FieldType.FLOAT if are_numbers:
            return (SliderControl if fits_slider(field, values) else NumberControl)(field, label, note=note)
        case FieldType.UNKNOWN if are_numbers and field.default is not None:
            return NumberControl(field, label, note=note)
    return TextControl(field, label, note=note)


def _unused(field: Field) -> str:
    """Return a note about a description that can't be used. An infinite range is usable."""
    odd = [
        f"{name} {shown(value)}"
        for name in ("min", "max", "step", "default", "options")
        if (value := field.extra.get(name)) is not None and value not in (math.inf, -math.inf)
    ]
    return f"the service describes it with {' and '.join(odd)}, which is not used" if odd else ""


def _has_number(value: object) -> bool:
    """Return True for a number that the browser's number boxes hold exactly."""
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MAX_EXACT_INT


def _group(fields: Iterable[FormField]) -> list[Group]:
    """Group by node: nodes with long texts first, then images, seeds and the others."""
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
    """Return the position of a group: what users change most comes first."""
    if any(one.field.multiline for one in members):
        return 0
    if any(one.field.type is FieldType.IMAGEUPLOAD for one in members):
        return 1
    return 2 if any(one.field.is_seed for one in members) else 3
