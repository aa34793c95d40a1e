"""Numbers in a form: a box, a slider where there are few steps, digits where the browser's numbers end."""

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

__all__ = ["SEED_MODES", "DigitsControl", "NumberControl", "SeedControl", "SliderControl", "has_few_places"]

SEED_MODES = ("fixed", "random", "count up")

_MAX_SLIDER_STEPS = 200  # of a slider: more can't be told apart with a mouse


class DigitsControl(TextControl):
    """A whole number too large for the browser's own: typed and kept as digits."""

    is_long = False

    def _read(self) -> Any:
        return self.field.read(str(self.input.value).strip())


class NumberControl(Control):
    """A number box, with arrows by the field's step."""

    def _make(self) -> Any:
        # No bounds here: a box with bounds would change what was typed without a word. For whole numbers too, since a
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
        shape = f".{_digits(one)}f"
        return widgets.FloatSlider(**self._options(**bounds, readout_format=shape))

    def _read(self) -> Any:
        return self.field.check(_without_rounding_error(self.input.value, self.field))

    def _show(self, value: Any) -> None:
        why = self.field.problem(value)
        if why is not None:  # a slider would move it into its range without a word
            raise FieldError(why)
        self.input.value = value


class SeedControl(DigitsControl):
    """Digits, since a seed may have more than the browser's numbers hold, and what becomes of it at the next run.

    What stands in the box is always the seed of the newest run: a new one is drawn, or counted, when Run is pressed.
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

    def advance(self, *, was_used: bool, draw: Any) -> None:
        """Put the seed of the next run into the box.

        Parameters
        ----------
        was_used
            Whether a run has been sent with the one that stands there.
        draw
            Gives a new one.

        Raises
        ------
        FieldError
            If what stands there is no seed to count from.
        """
        if self.mode.value == "random":
            self.show(draw())
        elif self.mode.value == "count up" and was_used:
            self.show(self._next(self.read()))

    def _next(self, seed: Any) -> int:
        if not isinstance(seed, int):
            raise FieldError(f"{self.field.where}: {seed!r} is no whole number to count from")
        low, high = int(self.field.min or 0), int(self.field.max if self.field.max is not None else MAX_EXACT_INT)
        return seed + 1 if seed < high else low


def has_few_places(field: Field, values: Sequence[float]) -> bool:
    """Whether a slider suits a number: its range is known, has few steps, and a place for these values."""
    if field.min is None or field.max is None or field.max <= field.min:
        return False
    if any(field.problem(value) is not None for value in values):
        return False
    step = field.step or (1 if field.type is FieldType.INT else 0)
    if field.type is FieldType.INT and any(end != int(end) for end in (field.min, field.max, step)):
        return False
    return 0 < field.max - field.min <= step * _MAX_SLIDER_STEPS


def _digits(field: Field) -> int:
    """How many digits behind the point the field's steps have."""
    exponent = Decimal(repr(float(field.step or 1))).normalize().as_tuple().exponent
    return max(0, -int(exponent)) if isinstance(exponent, int) else 0


def _without_rounding_error(value: float, field: Field) -> float:
    """Without the dust of binary fractions: 0.1 x 3 is 0.3. What was typed more finely than the steps stays."""
    if value == int(value):
        return int(value)
    rounded = round(value, _digits(field) + 2)
    return rounded if abs(rounded - value) < 1e-9 * max(1.0, abs(value)) else value
