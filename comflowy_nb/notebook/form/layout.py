"""The layout of a form: the controls of its fields in groups by node, with a search box if there are many.

It chooses the control of each field. Columns, widths and gaps are in `form.css`.
"""

from __future__ import annotations

import math
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
import traitlets

from comflowy_nb.errors import FieldError
from comflowy_nb.layout.text import html_text
from comflowy_nb.layout.value_text import name_fields, write_value
from comflowy_nb.notebook.display.front_end import is_marimo
from comflowy_nb.notebook.display.html import join, paragraph, plain, table
from comflowy_nb.notebook.form.controls import (
    MAX_EXACT_INT,
    ChoiceControl,
    Control,
    NumberControl,
    SearchControl,
    SeedControl,
    SelectionControl,
    SliderControl,
    SwitchControl,
    TextControl,
)
from comflowy_nb.notebook.form.image_control import ImageControl
from comflowy_nb.workflow.fields import FieldType
from comflowy_nb.workflow.syntax.json_values import shown
from comflowy_nb.workflow.values import generate_seed

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from comflowy_nb.client import Client
    from comflowy_nb.notebook.form.fields import FormField
    from comflowy_nb.workflow.fields import Field
    from comflowy_nb.workflow.workflow import Workflow


_MAX_NARROW_FIELDS = 3  # fields in a group that takes only half of the width
_MAX_DROPDOWN_OPTIONS = 24  # options of a dropdown; more are found by typing
_MAX_SLIDER_STEPS = 200  # a mouse can't select among more
_MAX_FIELDS_WITHOUT_SEARCH = 20  # with more fields, the form has a search box


class FormBody:
    """The controls of all fields, with their values and their problems.

    Parameters
    ----------
    changed
        Called after every change of a field.
    """

    def __init__(
        self, client: Client, workflow: Workflow, fields: Sequence[FormField], *, changed: Callable[[], None]
    ) -> None:
        self._client = client
        self._workflow = workflow
        self._fields = {form_field.field.id: form_field for form_field in fields}
        self._controls: dict[str, Control] = {}
        self.explicit = {form_field.field.id for form_field in fields if form_field.is_explicit}
        self.names = {key: self._fields[key].alias or name for key, name in name_fields(self._fields).items()}
        self._groups = [self._make_group(members) for members in _group(fields)]  # box and searched text of each
        self.parts: list[Any] = [widgets.Box([box for box, _ in self._groups]).add_class("cfy-groups")]
        if len(fields) > _MAX_FIELDS_WITHOUT_SEARCH:
            search = widgets.Text(placeholder=f"find one of {len(fields)} fields", description="find")
            search.add_class("cfy-input").observe(self._filter, names="value")
            self.parts.insert(0, search)
        for control in self._controls.values():
            control.listen(changed)

    # -- reading --------------------------------------------------------------------------------------------------

    @property
    def submitted(self) -> list[str]:
        """The ids of the fields to submit, which were set explicitly or changed."""
        return [key for key in self._controls if self._is_submitted(key)]

    def _is_submitted(self, key: str) -> bool:
        return key in self.explicit or self._controls[key].is_changed

    def state(self) -> tuple[dict[str, Any], dict[str, str]]:
        """Return the valid values and the problems of the fields that would be submitted, both by field id.

        The workflow's own values are submitted even if they are invalid, and their problems are included.
        """
        values: dict[str, Any] = {}
        problems: dict[str, str] = {}
        for key in self._fields:  # in the order of the workflow
            control = self._controls[key]
            with suppress(FieldError):  # `control.problem` has the error
                values[key] = control.read()
            is_reported = key in values or self._is_submitted(key) or control.has_invalid_default
            if control.problem is not None and is_reported:
                problems[key] = control.problem
        return values, problems

    def read(self) -> dict[str, Any]:
        """Return the values of all fields.

        Raises
        ------
        FieldError
            If fields that would be submitted are invalid. It contains all problems.
        """
        values, problems = self.state()
        wrong = [problem for key, problem in problems.items() if key not in values]
        if wrong:
            raise FieldError(*wrong)
        return values

    def snapshot(self) -> tuple[Any, ...]:
        """Return a value that changes with every change of a field."""
        return tuple(control.state for control in self._controls.values())

    def static_output(self) -> dict[str, str]:
        """Return the fields and their values as text and as a table."""
        values, _ = self.state()
        rows, last_title = [], None
        for key, form_field in self._fields.items():
            value = values.get(key, form_field.value)
            text = "" if value is None else write_value(value)
            title = _node_title([form_field]) or form_field.field.node
            rows.append(("" if title == last_title else title, self.names[key], text))
            last_title = title
        name = self._workflow.name
        use = f'use mo.ui and client.run("{name}", ...)' if is_marimo() else "execute this cell in a notebook to use it"
        head = paragraph(f"a form for {name}: {use}")
        return join(head, table(("node", "field", "value"), rows))

    # -- setting --------------------------------------------------------------------------------------------------

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

    @property
    def inputs(self) -> dict[str, Any]:
        """The widgets in which the user types or chooses, by model id."""
        return {part.model_id: part for control in self._controls.values() for part in control.inputs}

    def fill_in(self, values: Mapping[str, Any]) -> None:
        """Set the fields to their state in the browser: model id -> value, or the index of an option."""
        inputs = self.inputs
        for model_id, value in values.items():
            if (part := inputs.get(model_id)) is not None:
                with suppress(traitlets.TraitError):  # an unknown option: leave it unchanged
                    setattr(part, "index" if part.has_trait("index") else "value", value)

    def restore(self, values: Mapping[str, Any], explicit: Collection[str]) -> None:
        """Restore the values of an earlier run."""
        self.explicit = set(explicit)
        now, _ = self.state()
        for key, value in values.items():
            if key in self._controls and now.get(key) != value:
                self._controls[key].show(value)

    def advance_seeds(self, used: Mapping[str, Any]) -> None:
        """Set the seeds of the next run by their modes. `used` has the values of the run before."""
        values, _ = self.state()
        for key, control in self._controls.items():
            if isinstance(control, SeedControl):
                field = self._workflow.fields.get(key) or control.field
                was_used = key in used and used[key] == values.get(key)
                control.advance(was_used=was_used, generate=partial(generate_seed, field))

    # -- building -------------------------------------------------------------------------------------------------

    def _make_group(self, members: Sequence[FormField]) -> tuple[Any, str]:
        """Create the controls of one node. Return their box, and the text that the search box searches."""
        controls = [self._make_control(form_field) for form_field in members]
        title, node = _node_title(members) or "node", members[0].field.node
        graph = self._workflow.graph
        where = " - ".join(part for part in (node, graph.group(node) if graph is not None else "") if part)
        head = widgets.HTML(
            f'<span class="cfy-group-title">{html_text(plain(title))} '
            f'<span class="cfy-quiet">{html_text(plain(where))}</span></span>'
        )
        fields = widgets.Box([control.widget for control in controls]).add_class("cfy-fields")
        box = widgets.VBox([head, fields]).add_class("cfy-group")
        if len(controls) > _MAX_NARROW_FIELDS:
            box.add_class("cfy-large")
        words = " ".join(f"{form_field.field.id} {form_field.alias or ''}" for form_field in members)
        return box, f"{title} {where} {words}".casefold()

    def _make_control(self, form_field: FormField) -> Control:
        field, label = form_field.field, form_field.alias or form_field.field.name
        control: Control
        if field.type is FieldType.IMAGEUPLOAD:
            control = ImageControl(
                field, label, can_upload=self._client.service.can_upload, open_run=self._client.connection.input_of_run
            )
        else:
            values = [value for value in (field.default, form_field.value) if value is not None]
            try:
                control = _control_for(field, label, values)
            except Exception as error:  # noqa: BLE001 - one description that no control can use must not end the form
                control = TextControl(field, label, note=f"can't use its description ({error}): type any value")
        if isinstance(control, ChoiceControl):
            control.keeps_graph_value = self._workflow.graph is not None
            if form_field.labels:
                control.label(form_field.labels)
        control.begin(form_field.value)
        if form_field.is_random and isinstance(control, SeedControl):
            control.mode.value = "random"
        self._controls[field.id] = control
        return control

    def _filter(self, change: Any) -> None:
        words = str(change["new"]).casefold().split()
        for box, text in self._groups:
            box.layout.display = "" if all(word in text for word in words) else "none"


def _control_for(field: Field, label: str, values: Sequence[Any]) -> Control:
    """Return a control that suits a field, other than an image, and can show these values.

    Up to 24 options are a dropdown, more are a search box. A number with a range of up to 200 steps is a slider; a
    number that may exceed the exact integers of a browser is a text of digits; other numbers have a number box. If a
    value in the graph does not have the type of its field, such as `%width%` for a number, the control is a text box.
    """
    are_numbers = all(_is_exact_number(value) for value in values)
    kind: type[Control] = TextControl
    match field.type:
        case FieldType.INT | FieldType.UNKNOWN if field.is_seed:
            kind = SeedControl
        case FieldType.CHOICE if field.is_multiple and field.options:
            kind = SelectionControl
        case FieldType.CHOICE if field.options:
            kind = ChoiceControl if len(field.options) <= _MAX_DROPDOWN_OPTIONS else SearchControl
        case FieldType.BOOLEAN if all(isinstance(value, bool) for value in values):
            kind = SwitchControl
        case FieldType.INT if max(abs(field.min or 0), abs(field.max or 0)) > MAX_EXACT_INT:
            kind = TextControl
        case type_ if type_.is_number and are_numbers:
            kind = SliderControl if _fits_slider(field, values) else NumberControl
        case FieldType.UNKNOWN if are_numbers and field.default is not None:
            kind = NumberControl
    return kind(field, label, note=_unusable_note(field))


def _fits_slider(field: Field, values: Sequence[float]) -> bool:
    """Return True if a slider is suitable for a number: the range has few steps and includes the values."""
    if field.min is None or field.max is None or any(field.problem(value) is not None for value in values):
        return False
    step = field.step or (1 if field.type is FieldType.INT else 0)
    if field.type is FieldType.INT and any(end != int(end) for end in (field.min, field.max, step)):
        return False
    return 0 < field.max - field.min <= step * _MAX_SLIDER_STEPS


def _unusable_note(field: Field) -> str:
    """Return a note about a field whose description can't be used."""
    odd = [
        f"{name} {shown(value)}"
        for name in ("min", "max", "step", "default", "options")
        if (value := field.extra.get(name)) is not None and value not in (math.inf, -math.inf)
    ]
    return f"the service describes it with {' and '.join(odd)}, which is not used" if odd else ""


def _is_exact_number(value: object) -> bool:
    """Return True for a number that a browser represents exactly."""
    if isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= MAX_EXACT_INT


def _group(fields: Iterable[FormField]) -> list[list[FormField]]:
    """Group the fields by node. Nodes with long texts come first, then nodes with images, then nodes with seeds."""
    by_node: dict[str, list[FormField]] = {}
    for form_field in fields:
        by_node.setdefault(form_field.field.node, []).append(form_field)

    def rank(members: Sequence[FormField]) -> int:
        if any(form_field.field.multiline for form_field in members):
            return 0
        if any(form_field.field.type is FieldType.IMAGEUPLOAD for form_field in members):
            return 1
        return 2 if any(form_field.field.is_seed for form_field in members) else 3

    return sorted(by_node.values(), key=rank)


def _node_title(members: Iterable[FormField]) -> str:
    """Return the title of a node, or its class; empty if neither is known."""
    fields = (form_field.field for form_field in members)
    return next((title for field in fields if (title := field.node_title or field.class_type)), "")
