"""The labelled grid of the images of a sweep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comflowy_nb.notebook.display.run_grid import Drawn, Grid
from comflowy_nb.sweeps.captions import choose_axes, chosen_images
from comflowy_nb.sweeps.sweep_painting import SweepPainting, may_be_doubled

if TYPE_CHECKING:
    from collections.abc import Sequence

    from comflowy_nb.sweeps.sweep import Sweep, SweepCell

__all__ = ["SweepGrid", "SweepPainting"]

_MAX_NAMED_CELLS = 40  # in the plain text of the grid


class SweepGrid(Grid):
    """The grid of a sweep, drawn when it is first needed.

    Parameters
    ----------
    x, y, z
        Names of the axes of columns, rows and panels; without any, those that the sweep was made with.
    label
        Field ids for the title instead of the params that were set.
    node, image
        Which of a cell's images; all of them if neither is given.
    page
        Number of the page, from 1.

    Raises
    ------
    RefError
        If a name is not an axis.
    """

    def __init__(
        self,
        sweep: Sweep,
        *,
        x: str | None = None,
        y: str | None = None,
        z: str | None = None,
        label: Sequence[str] | None = None,
        node: str | None = None,
        image: int | None = None,
        page: int = 1,
    ) -> None:
        super().__init__([])
        named = {"x": x, "y": y, "z": z}
        layout = named if any(named.values()) else {side: sweep.layout.get(side) for side in named}
        choose_axes(sweep.axes, layout)  # reports an unknown axis now
        self._sweep = sweep
        self._options: dict[str, Any] = {"layout": layout, "label": label, "node": node, "image": image, "page": page}

    def paint(self, *, scale: int | None = None) -> SweepPainting:
        """Return a painting of the same grid, which can be refreshed."""
        return SweepPainting(self._sweep, scale=scale, **self._options)

    def reuse(self, painting: SweepPainting) -> None:
        """Use a painting made while the runs were in progress, if it has as many pixels as this grid would have."""
        if not may_be_doubled(painting.page):
            self._drawn = _finish(painting)

    def _draw(self) -> Drawn:
        return _finish(self.paint())

    def files(self) -> list[str]:
        return [name for cell in self._sweep.cells for name in self._files(cell)]

    def _files(self, cell: SweepCell) -> list[str]:
        if cell.run is None:
            return []
        images = chosen_images(cell.run.record.images, node=self._options["node"], image=self._options["image"])
        return [image.file.rsplit("/", 1)[-1] for image in images if image.file]

    def __str__(self) -> str:
        cells = self._sweep.cells
        lines = []
        for cell in cells[:_MAX_NAMED_CELLS]:
            labels = ", ".join(f"{name}={label}" for name, label in cell.labels.items())
            content = " ".join(self._files(cell)) or cell.error or cell.status_text
            lines.append(f"  {cell.ref} {labels}: {content}")
        if len(cells) > _MAX_NAMED_CELLS:
            lines.append(f"  ... {len(cells) - _MAX_NAMED_CELLS} more")
        count = f"{_counted(len(cells), 'cell')}, {_counted(len(self.files()), 'image')}"
        return "\n".join([f"{self._sweep.ref}: {count}", *lines])

    def __repr__(self) -> str:
        return f"<Grid of {self._sweep!r}>"


def _finish(painting: SweepPainting) -> Drawn:
    """Paint the cells that have changed, and encode the page."""
    painting.refresh()
    jpeg = painting.jpeg()  # may draw the page again in another scale
    return Drawn(painting.page, painting.paper, painting.scale, jpeg)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"
