"""The content of a sweep's grid, not arranged yet: its title, panels, headings and legend."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from comflowy_nb.layout.text import Paragraph, Part
    from comflowy_nb.workflow.images import InputImage

__all__ = ["Heading", "Headings", "Panel", "SweepSheet"]


@dataclass(frozen=True, slots=True)
class Heading:
    """The heading of one value: its label or letter, and a note in small letters."""

    text: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Headings:
    """The headings of one axis.

    Attributes
    ----------
    key, name
        The name of the axis as typed, and the short name to show.
    note
        The longest of the notes.
    images
        The values of an axis of input images; empty for every other axis.
    """

    key: str
    name: str
    values: tuple[Heading, ...]
    note: str = ""
    images: tuple[InputImage | None, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Panel:
    """A table of cells: their numbers in rows, and the (axis, index) of each further axis."""

    cells: tuple[tuple[int, ...], ...]
    values: tuple[tuple[str, int], ...] = ()
    title: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class SweepSheet:
    """The content of a sweep's grid. All panels have the same shape.

    Attributes
    ----------
    legend
        Axis, index of the value, and text of each entry.
    ref
        Reference of the sweep; None while it has no number.
    """

    head: tuple[Paragraph, ...]
    panels: tuple[Panel, ...]
    x: Headings | None = None
    y: Headings | None = None
    legend: tuple[tuple[str, int, Paragraph], ...] = ()
    ref: str | None = None

    @property
    def columns(self) -> int:
        return len(self.panels[0].cells[0])

    @property
    def rows(self) -> int:
        return len(self.panels[0].cells)

    @property
    def count(self) -> int:
        """Number of cells."""
        return len(self.panels) * self.rows * self.columns

    def name_cell(self, number: int) -> str:
        """Return `s1.7`, or `7` while the sweep has no number."""
        return f"{self.ref}.{number}" if self.ref else str(number)
