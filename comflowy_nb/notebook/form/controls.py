"""Controls for the fields of a form: text, choices, switches, numbers and seeds.

A control never changes a typed value. An invalid value is kept, and the reason is shown below it.
"""

from __future__ import annotations

import html
from abc import ABC, abstractmethod
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
import traitlets

from comflowy_nb.errors import FieldError
from comflowy_nb.layout.text import html_text
from comflowy_nb.layout.value_text import LONG_TEXT
from comflowy_nb.notebook.display.html import plain
from comflowy_nb.notebook.form.fields import range_text
from comflowy_nb.workflow.fields import Field, FieldType
from comflowy_nb.workflow.syntax.json_values import text_of, unwrap

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


MAX_EXACT_INT = 2**53 - 1  # the largest whole number that the browser's numbers hold exactly
# ipywidgets 7, as on Google Colab, differs in these options. Buttons use `tooltip` in both versions.
TOOLTIP = "tooltip" if "tooltip" in widgets.Text.class_trait_names() else "description_tooltip"
_HORIZONTAL = {"orientation": "horizontal"} if "orientation" in widgets.RadioButtons.class_trait_names() else {}
_MAX_VISIBLE_OPTIONS = 8  # rows of a list from which several options are chosen
_LONG_OPTION_CHARS = 20  # characters; a longer option, such as a file of a model, would be cut in a narrow box
_SEED_MODES = ("fixed", "random", "count up")


class Control(ABC):
    """One field of a form: its widgets, and the problem with its value.

    Parameters
    ----------
    label
        The text above the input.
    note
        The text below the input.
    """

    is_wide = False  # whether it takes a whole line

    def __init__(self, field: Field, label: str, *, note: str = "") -> None:
        self.field = field
        self.problem: str | None = None
        self.has_invalid_default = False
        self._label = label
        self._first_state: tuple[Any, ...] = ()
        self._changed: Callable[[], None] = lambda: None
        self._problem_html = widgets.HTML(layout=widgets.Layout(display="none")).add_class("cfy-why")
        self.input = self._make().add_class("cfy-input")
        parts = [*self._parts(), *([note_of(plain(note))] if note else []), self._problem_html]
        self.widget = widgets.VBox(parts).add_class("cfy-field")
        if self.is_wide:
            self.widget.add_class("cfy-wide")

    # -- for subclasses -------------------------------------------------------------------------------------------

    @abstractmethod
    def _make(self) -> Any:
        """Create the widget for the value."""

    def _parts(self) -> list[Any]:
        return [self.input]

    @abstractmethod
    def _read(self) -> Any:
        """Return the value to submit."""

    def _show(self, value: Any) -> None:
        self.input.value = value

    @property
    def state(self) -> tuple[Any, ...]:
        """A value that changes with every change by the user."""
        return tuple(part.value for part in self.inputs)

    @property
    def inputs(self) -> Sequence[Any]:
        """The widgets in which the user types or chooses."""
        return [self.input]

    # -- for the form ---------------------------------------------------------------------------------------------

    def begin(self, value: Any) -> None:
        """Show the default, then the initial value. If the control can show neither, it stays empty."""
        default = self.field.default
        self.has_invalid_default = default is not None and not self._can_show(default)
        self._first_state = self.state
        if value is not None and value is not default:
            self._can_show(value)
            self.has_invalid_default = False

    @property
    def is_changed(self) -> bool:
        return self.state != self._first_state

    def read(self) -> Any:
        """Return the value to submit, or show why it is invalid.

        The workflow's own value is returned even if it is invalid.

        Raises
        ------
        FieldError
            If the value is invalid.
        """
        try:
            value = self._read()
        except FieldError as error:
            self._show_problem(str(error))
            raise
        problem = self.field.problem(value)
        tip = "it is the workflow's own value and is submitted unchanged"
        self._show_problem(None if problem is None else f"{problem}; {tip}")
        return value

    def show(self, value: Any) -> None:
        """Show a value, valid or not.

        Raises
        ------
        FieldError
            If the control can't show the value.
        """
        try:
            self._show(value)
        except (TypeError, ValueError, traitlets.TraitError) as error:  # such as a text for a number
            self.field.check(value)
            raise FieldError(f"{self.field.where}: {text_of(value)} can't be shown in this form") from error

    def listen(self, changed: Callable[[], None]) -> None:
        """Call `changed` after every change by the user or by `show`."""
        self._changed = changed
        for part in self.inputs:
            part.observe(lambda _: self._changed(), names="value")

    def _can_show(self, value: Any) -> bool:
        """Show a value; return False if the control can't show it."""
        try:
            self.show(value)
        except FieldError:
            return False
        return True

    def _show_problem(self, problem: str | None) -> None:
        if problem == self.problem:
            return
        self.problem = problem
        text = "" if problem is None else problem.removeprefix(f"{self.field.where}: ")  # the label names the field
        show_alert(self._problem_html, text)
        (self.widget.add_class if text else self.widget.remove_class)("cfy-bad")

    def _options(self, **more: Any) -> dict[str, Any]:
        """Return the keyword arguments of the input widget: label, tooltip, and `more`."""
        parts = (self.field.id, range_text(self.field), self.field.tooltip)
        tooltip = plain(" - ".join(part for part in parts if part))
        options = {"description": self._label, TOOLTIP: tooltip, **more}
        markup = html_text(self._label)
        if markup != html.escape(self._label):
            options |= {"description": markup, "description_allow_html": True}
        return options


class TextControl(Control):
    """Text control for a STRING, or for a value without another control. The text is parsed as on a line."""

    @property
    def is_wide(self) -> bool:  # type: ignore[override]  # a constant elsewhere
        default = self.field.default
        return self.field.multiline or (isinstance(default, str) and ("\n" in default or len(default) > LONG_TEXT))

    def _make(self) -> Any:
        if self.is_wide:
            return widgets.Textarea(**self._options(continuous_update=False, rows=3))
        return widgets.Text(**self._options(continuous_update=False))

    def _read(self) -> Any:
        text, default = str(self.input.value), self.field.default
        if default is not None and text == text_of(default):
            return default  # with its type in the workflow: "5" stays a text
        return self.field.read(text.strip() if self.field.type is FieldType.INT else text)

    def _show(self, value: Any) -> None:
        self.input.value = "" if value is None else text_of(value)


class SearchControl(TextControl):
    """Control for many options: a search box with the matching options below it."""

    is_wide = True

    def _make(self) -> Any:
        words = [text_of(option) for option in self.field.options]
        hint = f"type to search {len(words)} options"
        return widgets.Combobox(**self._options(options=words, continuous_update=False, placeholder=hint))


class SeedControl(TextControl):
    """Control for a seed, with a mode for the next run: keep the seed, generate one, or add 1.

    The box shows the seed of the newest run. The seed of the next run is set when the user presses Run.
    """

    is_wide = False

    def _make(self) -> Any:
        tooltip = {TOOLTIP: "how the next run sets the seed"}
        mode = widgets.Dropdown(options=_SEED_MODES, value="fixed", description="each run", **tooltip)
        self.mode = mode.add_class("cfy-mode")
        return super()._make()

    def _parts(self) -> list[Any]:
        return [widgets.HBox([self.input, self.mode]).add_class("cfy-seed")]

    @property
    def inputs(self) -> Sequence[Any]:
        return [self.input, self.mode]

    def advance(self, *, was_used: bool, generate: Callable[[], int]) -> None:
        """Set the seed of the next run.

        Parameters
        ----------
        was_used
            Whether a run was submitted with the current seed.
        generate
            Returns a new seed.

        Raises
        ------
        FieldError
            If the current value is not a whole number.
        """
        if self.mode.value == "random":
            self.show(generate())
        elif self.mode.value == "count up" and was_used:
            seed, low, high = self.read(), self.field.min, self.field.max
            if not isinstance(seed, int):
                raise FieldError(f"{self.field.where}: can't count up from {seed!r}: not a whole number")
            self.show(seed + 1 if seed < (MAX_EXACT_INT if high is None else high) else int(low or 0))


class ChoiceControl(Control):
    """Control for a few options: a dropdown. Nothing is selected if the initial value is not one of the options."""

    keeps_graph_value = False  # whether such a value is submitted: a service that runs only ids rejects it
    _other_value: Any = None  # the value that is not an option, while nothing is chosen

    @property
    def is_wide(self) -> bool:  # type: ignore[override]  # a constant elsewhere
        return any(len(text_of(option)) > _LONG_OPTION_CHARS for option in self.field.options)

    def _pairs(self) -> list[tuple[str, Any]]:
        return [(text_of(option), option) for option in self.field.options]

    def _make(self) -> Any:
        return widgets.Dropdown(**self._options(options=self._pairs(), value=None))

    def label(self, labels: Sequence[str]) -> None:
        """Show these labels instead of the options."""
        self.input.options = list(zip(labels, self.field.options, strict=True))

    def _read(self) -> Any:
        if self.input.index is not None:
            return self.field.check(self.input.value)
        if self._other_value is None:
            raise FieldError(f"{self.field.where}: nothing is chosen")
        if self.keeps_graph_value and self.field.holds(self._other_value):
            return self._other_value
        raise FieldError(self.field.problem(self._other_value) or "")

    def _show(self, value: Any) -> None:
        if self.field.problem(value) is None:
            self.input.value = self.field.check(value)
            return
        self._other_value = value  # such as a checkpoint that this server does not have
        self.input.index = None
        self._read()  # raises if the value would not be submitted


class SelectionControl(ChoiceControl):
    """Control to select several options at once."""

    is_wide = True

    def _make(self) -> Any:
        rows = min(len(self.field.options), _MAX_VISIBLE_OPTIONS)
        return widgets.SelectMultiple(**self._options(options=self._pairs(), rows=rows, value=()))

    def _read(self) -> Any:
        return self.field.check(self.input.value)

    def _show(self, value: Any) -> None:
        self.input.value = tuple(unwrap(self.field.check(() if value is None else value)))


class SwitchControl(Control):
    """Control for a BOOLEAN: a checkbox, or two buttons if the field has labels for its values."""

    def _make(self) -> Any:
        on, off = self.field.label_on, self.field.label_off
        if on and off and on != off:
            return widgets.RadioButtons(**self._options(options=[(on, True), (off, False)], value=None), **_HORIZONTAL)
        return widgets.Checkbox(**self._options(indent=False))

    def _read(self) -> Any:
        if self.input.value is None:
            raise FieldError(f"{self.field.where}: nothing is chosen")
        return bool(self.input.value)


class NumberControl(Control):
    """Control for a number: a number box, whose arrows use the step of the field."""

    def _make(self) -> Any:
        # No bounds here: a box with bounds would change the typed value silently. For whole numbers too: a
        # box of whole numbers would cut 2.5 to 2.
        step = self.field.step or (1 if self.field.type is FieldType.INT else None)
        return widgets.FloatText(**self._options(step=step))

    def _read(self) -> Any:
        return self.field.check(_without_rounding_error(self.input.value, self.field))


class SliderControl(NumberControl):
    """Control for a number: a slider over the range of the field, with the number beside it."""

    def _make(self) -> Any:
        field = self.field
        bounds: dict[str, Any] = {"min": field.min, "max": field.max, "value": field.min, "step": field.step or 1}
        if field.type is FieldType.INT:
            return widgets.IntSlider(**self._options(**{name: int(value) for name, value in bounds.items()}))
        return widgets.FloatSlider(**self._options(**bounds, readout_format=f".{_decimals(field)}f"))

    def _show(self, value: Any) -> None:
        problem = self.field.problem(value)
        if problem is not None:  # a slider would move it into its range silently
            raise FieldError(problem)
        self.input.value = value


def note_of(text: str) -> Any:
    """Return a widget with a note as plain text."""
    return widgets.HTML(html.escape(text)).add_class("cfy-note")


def show_alert(part: widgets.HTML, text: str) -> None:
    """Show a text in a widget that screen readers announce. Hide the widget if the text is empty."""
    part.value = f'<span role="alert">{html_text(plain(text))}</span>' if text else ""
    part.layout.display = "" if text else "none"


def _decimals(field: Field) -> int:
    """Return the number of decimals of the field's step."""
    exponent = Decimal(repr(float(field.step or 1))).normalize().as_tuple().exponent
    return max(0, -int(exponent)) if isinstance(exponent, int) else 0


def _without_rounding_error(value: float, field: Field) -> float:
    """Round to the decimals of the step if only a binary rounding error is removed, as for 0.1 x 3."""
    if value == int(value):
        return int(value)
    rounded = round(value, _decimals(field) + 2)
    return rounded if abs(rounded - value) < 1e-9 * max(1.0, abs(value)) else value
