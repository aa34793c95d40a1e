"""Controls for the fields of a form: the base class, texts, choices and switches.

A control never corrects what was typed: an invalid value stays, with the reason below it.
"""

from __future__ import annotations

import html
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets
import traitlets

from comflowy_nb.errors import FieldError
from comflowy_nb.layout.captions import LONG_TEXT
from comflowy_nb.layout.html_text import html_text
from comflowy_nb.notebook.display.html import plain
from comflowy_nb.notebook.widget_versions import HORIZONTAL, TOOLTIP
from comflowy_nb.workflow.fields import WRAPPED, Field, FieldType
from comflowy_nb.workflow.syntax.json_values import text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from comflowy_nb.workflow.images import InputImage

__all__ = [
    "MAX_EXACT_INT",
    "ChoiceControl",
    "Control",
    "SearchControl",
    "SelectionControl",
    "SwitchControl",
    "TextControl",
    "tooltip_of",
]

MAX_EXACT_INT = 2**53 - 1  # the largest whole number that the browser's numbers hold exactly
_MAX_VISIBLE_ROWS = 8  # of options that are seen at once
_LONG_OPTION_CHARS = 20  # characters: a longer one, such as a file of a model, would be cut in a narrow box


class Control(ABC):
    """One field in the form.

    Parameters
    ----------
    label
        The text above it.
    note
        A text below it.
    """

    is_wide = False  # takes a whole line

    def __init__(self, field: Field, label: str, *, note: str = "") -> None:
        self.field = field
        self.problem: str | None = None
        self._label = label
        self._changed: Callable[[], None] | None = None
        self._problem_html = widgets.HTML(layout=widgets.Layout(display="none"))
        self._problem_html.add_class("cfy-why")
        self.input = self._make()
        self.input.add_class("cfy-input")
        self.widget = widgets.VBox([*self._parts(), *_notes(note), self._problem_html])
        self.widget.add_class("cfy-field")
        if self.is_wide:
            self.widget.add_class("cfy-wide")

    # -- what subclasses define ---------------------------------------------------------------------------------

    @abstractmethod
    def _make(self) -> Any:
        """Create the widget for the value."""

    def _parts(self) -> list[Any]:
        return [self.input]

    def _read(self) -> Any:
        """Return the value as it would be sent."""
        return self.field.check(self.input.value)

    def _show(self, value: Any) -> None:
        self.input.value = value

    @property
    def image(self) -> InputImage | None:
        """The image, if it is the user's own file or image."""
        return None

    # -- for the form -------------------------------------------------------------------------------------------

    def read(self) -> Any:
        """Return the value as it would be sent, and show the problem with it, if any.

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
        why = self.field.problem(value)
        self._show_problem(None if why is None else f"{why}; it is the workflow's own value and is sent unchanged")
        return value

    def show(self, value: Any) -> None:
        """Show a value, valid or not.

        Raises
        ------
        FieldError
            If the control can't show such a value.
        """
        try:
            self._show(value)
        except (TypeError, ValueError, traitlets.TraitError) as error:  # such as a text for a number
            self.field.check(value)
            raise FieldError(f"{self.field.where}: {text_of(value)} can't be shown in this form") from error

    def listen(self, changed: Callable[[], None]) -> None:
        """Call `changed` at every change by the user or by `show`."""
        self._changed = changed
        for part in self.parts:
            part.observe(self._on_change, names="value")

    def close(self) -> None:
        self._changed = None
        for part in self.parts:
            part.unobserve_all()

    @property
    def parts(self) -> Sequence[Any]:
        """The widgets that are filled in."""
        return [self.input]

    def _on_change(self, _: Any) -> None:
        if self._changed is not None:
            self._changed()

    def _show_problem(self, why: str | None) -> None:
        if why == self.problem:
            return
        self.problem = why
        # The name of the field is shown above it.
        text = "" if why is None else why.removeprefix(f"{self.field.where}: ")
        self._problem_html.value = f'<span role="alert">{html_text(plain(text))}</span>' if text else ""
        self._problem_html.layout.display = "" if text else "none"
        (self.widget.add_class if text else self.widget.remove_class)("cfy-bad")

    def _options(self, **more: Any) -> dict[str, Any]:
        markup = html_text(self._label)
        is_plain = markup == html.escape(self._label)
        description = {} if is_plain else {"description": markup, "description_allow_html": True}
        return {"description": self._label, **description, TOOLTIP: tooltip_of(self.field), **more}


class TextControl(Control):
    """A STRING, or a value without another control, read as on a line."""

    @property
    def is_long(self) -> bool:
        default = self.field.default
        return self.field.multiline or (isinstance(default, str) and ("\n" in default or len(default) > LONG_TEXT))

    @property
    def is_wide(self) -> bool:  # type: ignore[override]  # a constant elsewhere
        return self.is_long

    def _make(self) -> Any:
        if not self.is_long:
            return widgets.Text(**self._options(continuous_update=False))
        return widgets.Textarea(**self._options(continuous_update=False, rows=3))

    def _read(self) -> Any:
        text, default = str(self.input.value), self.field.default
        if default is not None and text == text_of(default):
            return default  # with its type in the workflow: 5 stays a number
        return self.field.check(text) if self.field.type is FieldType.STRING else self.field.read(text)

    def _show(self, value: Any) -> None:
        self.input.value = "" if value is None else text_of(value)


class ChoiceControl(Control):
    """A dropdown, without a choice if the first value is not one of the options."""

    _reason: str | None = None  # why the value to show is invalid
    _graph_value: Any = None  # the graph's value that is not an option, while nothing is chosen
    keeps_graph_value = False  # whether such a value is sent: a service that knows a workflow by its id rejects it

    @property
    def is_wide(self) -> bool:  # type: ignore[override]  # a constant elsewhere
        return any(len(text_of(option)) > _LONG_OPTION_CHARS for option in self.field.options)

    def _make(self) -> Any:
        options = self.field.options
        words = [text_of(option) for option in options]
        return widgets.Dropdown(**self._options(options=list(zip(words, options, strict=True)), value=None))

    def label(self, labels: Sequence[str]) -> None:
        """Show these labels instead of the options."""
        self.input.options = list(zip(labels, self.field.options, strict=True))

    def _read(self) -> Any:
        if self.input.index is None:
            if self._graph_value is not None:
                return self._graph_value
            raise FieldError(self._reason or f"{self.field.where}: nothing is chosen")
        return self.field.check(self.input.value)

    def _show(self, value: Any) -> None:
        self._reason = self._graph_value = None
        why = self.field.problem(value)
        if why is None:
            self.input.value = self.field.check(value)
            return
        self.input.index = None  # a checkpoint that this server does not have
        if not (self.keeps_graph_value and self.field.holds(value)):
            self._reason = why
            raise FieldError(why)
        self._graph_value = value


class SelectionControl(ChoiceControl):
    """Several of the options at once."""

    is_wide = True

    def _make(self) -> Any:
        options = self.field.options
        words = [text_of(option) for option in options]
        rows = min(len(options), _MAX_VISIBLE_ROWS)
        return widgets.SelectMultiple(
            **self._options(options=list(zip(words, options, strict=True)), rows=rows, value=())
        )

    def _read(self) -> Any:
        return self.field.check(self.input.value)

    def _show(self, value: Any) -> None:
        self.input.value = tuple(self.field.check(() if value is None else value)[WRAPPED])


class SearchControl(Control):
    """Many options: a search box with the matching options below it."""

    is_wide = True

    def _make(self) -> Any:
        words = [text_of(option) for option in self.field.options]
        hint = f"type to search {len(words)} choices"
        return widgets.Combobox(**self._options(options=words, continuous_update=False, placeholder=hint))

    def _read(self) -> Any:
        return self.field.read(str(self.input.value))

    def _show(self, value: Any) -> None:
        self.input.value = text_of(value)


class SwitchControl(Control):
    """A BOOLEAN: a checkbox, or its two labels where it has them."""

    def _make(self) -> Any:
        on, off = self.field.label_on, self.field.label_off
        if on and off and on != off:
            return widgets.RadioButtons(**self._options(options=[(on, True), (off, False)], value=None), **HORIZONTAL)
        return widgets.Checkbox(**self._options(indent=False))

    def _read(self) -> Any:
        if self.input.value is None:
            raise FieldError(f"{self.field.where}: nothing is chosen")
        return bool(self.input.value)


def _notes(note: str) -> list[Any]:
    if not note:
        return []
    shown = widgets.HTML(html.escape(plain(note)))
    shown.add_class("cfy-note")
    return [shown]


def tooltip_of(field: Field) -> str:
    """Return the id, the range and the description of a field."""
    low, high = (
        None if end is None else f"{end:g}" if abs(end) < MAX_EXACT_INT else f"{end}" for end in (field.min, field.max)
    )
    reach = f"{low} to {high}" if low and high else f"from {low}" if low else f"up to {high}" if high else ""
    return plain(" - ".join(part for part in (field.id, reach, field.tooltip) if part))
