"""The seed of a form: its digits, and whether each run keeps it, draws a new one or counts up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import ipywidgets as widgets

from comflowy_nb.errors import FieldError
from comflowy_nb.notebook.form.controls import EXACT
from comflowy_nb.notebook.form.number_controls import DigitsControl
from comflowy_nb.notebook.widget_versions import TOOLTIP

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["SEED_MODES", "SeedControl"]

SEED_MODES = ("fixed", "random", "count up")


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
        low, high = int(self.field.min or 0), int(self.field.max if self.field.max is not None else EXACT)
        return seed + 1 if seed < high else low
