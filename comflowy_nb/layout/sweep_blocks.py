"""The parts of a grid of a sweep: blocks of cells under one row of headers, and their sizes in CSS pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from comflowy_nb.layout.sweep_sheet import Panel

__all__ = ["CELL_GAP_PX", "NUMBER_PX", "PANEL_GAP_PX", "Block", "Shape", "Sizes"]

NUMBER_PX = 15  # the line of `s1.7` below an image
CELL_GAP_PX = 6
PANEL_GAP_PX = 26


@dataclass(frozen=True, slots=True)
class Block:
    """A grid or a part of its columns and rows: what stands together under one row of headers."""

    panel: Panel
    columns: range
    rows: range


@dataclass(frozen=True, slots=True)
class Shape:
    """Most columns and rows in a block, and the blocks side by side."""

    columns: int
    rows: int
    across: int
    splits_rows: bool = False


@dataclass(frozen=True, slots=True)
class Sizes:
    """What the choice of a size comes to."""

    box: tuple[int, int]
    shape: Shape
    label: int  # width of the row labels, 0 without

    @property
    def row(self) -> int:
        return self.box[1] + NUMBER_PX + CELL_GAP_PX

    @property
    def block(self) -> int:
        """Width of a block without its row labels."""
        return self.shape.columns * (self.box[0] + CELL_GAP_PX) - CELL_GAP_PX

    @property
    def stride(self) -> int:
        """From one block to the next; where the rows go on beside, each block has labels of its own."""
        return self.block + PANEL_GAP_PX + (self.label if self.shape.splits_rows else 0)
