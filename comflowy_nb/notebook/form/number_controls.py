"""Controls for numbers and seeds: a box, a slider, or digits for numbers too large for the browser."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import ipywidgets as widgets

from comflowy_nb.errors import FieldError
from comflowy_nb.notebook.form.controls import MAX_EXACT_INT, Control, TextControl
from comflowy_nb.notebook.widget_versions import TOOLTIP
from comflowy_nb.workflow.fields import FieldType

if TYPE_CHECKING:
    from collections.abc import Sequence

    from comflowy_nb.workflow.fields import Field

__all__ = ["SEED_MODES", "DigitsControl", "NumberControl", "SeedControl", "SliderControl", "fits_slider"]

SEED_MODES = ("fixed", "random", "count up")

_MAX_SLIDER_STEPS = 200  # a mouse can't select among more


class DigitsControl(TextControl):
    """A whole number too large for the browser's numbers, typed as digits."""

    is_long = False

    def _read(self) -> Any:
        return self.field.read(str(self.input.value).strip())


class NumberControl(Control):
    """A number box, with arrows by the field's step."""

    def _make(self) -> Any:
        # No bounds here: a box with bounds would change the typed value silently. For whole numbers too: a
        # box of whole numbers would cut 2.5 to 2.
        step = self.field.step or (1 if self.field.type is FieldType.INT else None)
        return widgets.FloatText(**self._options(step=step))

    def _read(self) -> Any:
        return self.field.check(_without_rounding_error(self.input.value, self.field))


class SliderControl(Control):
    """A slider over the field's whole range, with the number beside it."""

    def _make(self) -> Any:
        one = self.field
        assert one.min is not None
        assert one.max is not None
        bounds = {"min": one.min, "max": one.max, "value": one.min, "step": one.step or 1}
        if one.type is FieldType.INT:
            return widgets.IntSlider(**self._options(**{name: int(value) for name, value in bounds.items()}))
        shape = f".{_decimals(one)}f"
        return widgets.FloatSlider(**self._options(**bounds, readout_format=shape))

    def _read(self) -> Any:
        return self.field.check(_without_rounding_error(self.input.value, self.field))

    def _show(self, value: Any) -> None:
        why = self.field.problem(value)
        if why is not None:  # a slider would move it into its range silently
            raise FieldError(why)
        self.input.value = value


class SeedControl(DigitsControl):
    """The digits of a seed, and its mode: keep it, generate one for each run, or count up.

    The box has the seed of the newest run. Pressing Run generates or counts the next one.
    """

    def _make(self) -> Any:
        self.mode = widgets.Dropdown(
            options=SEED_MODES,
            value="fixed",
            description="each run",
            **{TOOLTIP: "what the next run does with the seed"},
        )
        self.mode.add_class("cfy-mode")
        return widgets.Text(**self._options(continuous_update=False))

    def _parts(self) -> list[Any]:
        pair = widgets.HBox([self.input, self.mode])
        pair.add_class("cfy-seed")
        return [pair]

    @property
    def parts(self) -> Sequence[Any]:
        return [self.input, self.mode]

    def advance(self, *, was_used: bool, generate: Any) -> None:
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
            self.show(self._next(self.read()))

    def _next(self, seed: Any) -> int:
        if not isinstance(seed, int):
            raise FieldError(f"{self.field.where}: can't count up from {seed!r}: not a whole number")
        low, high = int(self.field.min or 0), int(self.field.max if self.field.max is not None else MAX_EXACT_INT)
        return seed + 1 if seed < high else low


def fits_slider(field: Field, values: Sequence[float]) -> bool:
    """Return True if a slider suits a number: its range is known, has few steps and includes these values."""
    if field.min is None or field.max is None or field.max <= field.min:
        return False
    if any(field.problem(value) is not None for value in values):
        return False
    step = field.step or (1 if field.type is FieldType.INT else 0)
    if field.type is FieldType.INT and any(end != int(end) for end in (field.min, field.max, step)):
        return False
    return 0 < field.max - field.min <= step * _MAX_SLIDER_STEPS


def _decimals(field: Field) -> int:
    """Return the number of decimals of the field's step."""
    exponent = Decimal(repr(float(field.step or 1))).normalize().as_tuple().exponent
    return max(0, -int(exponent)) if isinstance(exponent, int) else 0


def _without_rounding_error(value: float, field: Field) -> float:
    """Round away binary rounding errors, as in 0.1 x 3; keep values typed with more decimals than the step."""
    if value == int(value):
        return int(value)
    rounded = round(value, _decimals(field) + 2)
    return rounded if abs(rounded - value) < 1e-9 * max(1.0, abs(value)) else value
