"""The text of a sweep grid: its title, panels, headers and legend, before anything is measured."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from comflowy_nb.layout.captions import Paragraph, Part
    from comflowy_nb.workflow.images import InputImage

__all__ = ["Heading", "Headings", "Panel", "SweepSheet"]


@dataclass(frozen=True, slots=True)
class Heading:
    """What stands for one value: its label or its letter, and in small what that is."""

    text: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Headings:
    """One axis as it is written along a side. `key` is its name as typed, `note` the longest of its notes.

    `images` are the values of an axis of images, shown small beside their names; empty for every other axis.
    """

    key: str
    name: str
    values: tuple[Heading, ...]
    note: str = ""
    images: tuple[InputImage | None, ...] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class Panel:
    """One grid: the numbers of its cells in rows, and which value of each further axis it stands for."""

    cells: tuple[tuple[int, ...], ...]
    values: tuple[tuple[str, int], ...] = ()  # axis, index
    title: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class SweepSheet:
    """A whole sweep in words, before anything is measured. `legend` says for each entry which axis and value it is."""

    head: tuple[Paragraph, ...]
    panels: tuple[Panel, ...]
    x: Headings | None = None
    y: Headings | None = None
    legend: tuple[tuple[str, int, Paragraph], ...] = ()
    ref: str | None = None  # before the number of a cell

    @property
    def count(self) -> int:
        return sum(len(row) for panel in self.panels for row in panel.cells)

    def name_cell(self, number: int) -> str:
        """`s1.7`, or `7` while the sweep has no number."""
        return f"{self.ref}.{number}" if self.ref else str(number)
