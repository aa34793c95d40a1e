"""The labelled grids: of the images of runs, and of a sweep."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from comflowy_nb.images.thumbnails import THUMBNAIL_SIZES_PX
from comflowy_nb.layout.page import longest_side_px
from comflowy_nb.layout.review_text import write_review
from comflowy_nb.layout.run_captions import sheet_of_run, sheet_of_runs
from comflowy_nb.layout.run_grid import arrange
from comflowy_nb.layout.value_text import seeds_of
from comflowy_nb.painting.pages import DrawnPage, draw_encoded, read_image
from comflowy_nb.painting.text import DRAWING, measure
from comflowy_nb.recipe import read_graph_of
from comflowy_nb.settings import settings
from comflowy_nb.sweeps.captions import choose_axes, chosen_images
from comflowy_nb.sweeps.sweep_painting import SweepPainting, may_be_doubled
from comflowy_nb.tracking.reviews import best_review, reviews_to_show

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from PIL import Image

    from comflowy_nb.database.records import ImageRecord
    from comflowy_nb.layout.page import Tile
    from comflowy_nb.layout.run_grid import Sheet
    from comflowy_nb.painting.pages import Figure
    from comflowy_nb.sweeps.sweep import Sweep, SweepCell
    from comflowy_nb.tracking.run import Run, RunImage


_MAX_NAMED_CELLS = 40  # in the plain text of a sweep's grid


class Grid:
    """The images of runs with captions, drawn when they are first needed.

    Parameters
    ----------
    runs
        The runs to show, in order.
    only
        For a single run: the indices of its images to show; None shows all.
    label
        Field ids for the captions instead of the params that were set.

    Examples
    --------
    >>> from comflowy_nb import grid
    >>> shown = grid(runs)  # doctest: +SKIP
    >>> shown.figure.savefig("bottles.pdf")  # doctest: +SKIP
    """

    def __init__(
        self, runs: Sequence[Run], *, only: Sequence[int] | None = None, label: Sequence[str] | None = None
    ) -> None:
        self._runs = list(runs)
        self._only = only
        self._label = label
        self._drawn: DrawnPage | None = None

    @property
    def figure(self) -> Figure:
        """The matplotlib figure, on an Agg canvas."""
        return self._draw_once().figure

    @property
    def jpeg(self) -> bytes:
        """The grid as a JPEG, as a notebook shows it."""
        return self._draw_once().jpeg

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height in a notebook, in CSS pixels."""
        return self._draw_once().size_px

    def files(self) -> list[str]:
        """Return the names of the images' files."""
        images = [image for run in self._runs for image in run.record.images]
        return _file_names(image for image in images if self._only is None or image.index in self._only)

    def bundle(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return data and metadata for a notebook: a JPEG, and the files' names as text."""
        width, height = self.size_px
        data = {"text/plain": str(self), "image/jpeg": base64.b64encode(self.jpeg).decode("ascii")}
        return data, {"image/jpeg": {"width": width, "height": height}}

    def _repr_mimebundle_(self, **_: object) -> tuple[dict[str, Any], dict[str, Any]]:
        return self.bundle()

    def __str__(self) -> str:
        refs = ", ".join(run.ref for run in self._runs)
        files = self.files()
        images = [image for run in self._runs for image in run.images if self._is_shown(image)]
        reviews = reviews_to_show(images)
        noted = [(image.ref, str(write_review(reviews[image.token]))) for image in images]
        lines = [*(f"  {name}" for name in files), *(f"  {ref}: {text}" for ref, text in noted if text)]
        return "\n".join([f"{refs}: {_count(files, 'image')}", *lines])

    def _is_shown(self, image: RunImage) -> bool:
        return self._only is None or image.record.index in self._only

    def __repr__(self) -> str:
        return f"<Grid of {', '.join(run.ref for run in self._runs)}>"

    def _draw_once(self) -> DrawnPage:
        with DRAWING:
            if self._drawn is None:
                self._drawn = self._draw()
            return self._drawn

    def _draw(self) -> DrawnPage:
        page = arrange(self._sheet(), width_px=settings.grid_width_px, measure=measure)
        side = longest_side_px(len(page.boxes))

        def load(tile: Tile, size: tuple[int, int]) -> Image.Image:
            """Read the original of a few images that are not pruned, else the thumbnail."""
            images = {image.record.index: image for image in self._runs[tile.cell].images}
            assert tile.image is not None
            image = images[tile.image]
            is_small = side in THUMBNAIL_SIZES_PX
            if image.is_pruned and not is_small:
                return read_image(image.thumbnail(max(THUMBNAIL_SIZES_PX)), size)
            return read_image(image.thumbnail(side) if is_small else image.path, size)

        return draw_encoded(page, load)

    def _sheet(self) -> Sheet:
        if len(self._runs) == 1:
            run = self._runs[0]
            seeds, titles = read_graph_of(run)
            by_token = reviews_to_show(run.images)
            reviews = {image.record.index: write_review(by_token[image.token]) for image in run.images}
            return sheet_of_run(
                run.record, titles=titles, seeds=seeds, only=self._only, label=self._label, reviews=reviews
            )
        seeds_by_run = [read_graph_of(run)[0] if not seeds_of(run.params) else {} for run in self._runs]
        by_token = reviews_to_show(image for run in self._runs for image in run.images)
        best = {run.token: write_review(best_review(run.images, by_token)) for run in self._runs}
        records = [run.record for run in self._runs]
        return sheet_of_runs(records, seeds=seeds_by_run, label=self._label, reviews=best)


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
            self._drawn = self._draw(painting)

    def _draw(self, painting: SweepPainting | None = None) -> DrawnPage:
        """Paint the cells that have changed, and encode the page."""
        painting = painting or self.paint()
        painting.refresh()
        jpeg = painting.jpeg()  # may draw the page again in another scale
        return DrawnPage(painting.page, painting.paper, painting.scale, jpeg)

    def files(self) -> list[str]:
        return [name for cell in self._sweep.cells for name in self._files(cell)]

    def _files(self, cell: SweepCell) -> list[str]:
        if cell.run is None:
            return []
        images = chosen_images(cell.run.record.images, node=self._options["node"], image=self._options["image"])
        return _file_names(images)

    def __str__(self) -> str:
        cells = self._sweep.cells
        lines = []
        reviews = reviews_to_show(image for cell in cells[:_MAX_NAMED_CELLS] for image in cell.images)
        for cell in cells[:_MAX_NAMED_CELLS]:
            labels = ", ".join(f"{name}={label}" for name, label in cell.labels.items())
            content = " ".join(self._files(cell)) or cell.error or cell.status_text
            review = str(write_review(best_review(cell.images, reviews)))
            lines.append(f"  {cell.ref} {labels}: {content}{f' ({review})' if review else ''}")
        if len(cells) > _MAX_NAMED_CELLS:
            lines.append(f"  ... {len(cells) - _MAX_NAMED_CELLS} more")
        count = f"{_count(cells, 'cell')}, {_count(self.files(), 'image')}"
        return "\n".join([f"{self._sweep.ref}: {count}", *lines])

    def __repr__(self) -> str:
        return f"<Grid of {self._sweep!r}>"


def _file_names(images: Iterable[ImageRecord]) -> list[str]:
    return [image.file.rsplit("/", 1)[-1] for image in images if image.file]


def _count(items: Sequence[object], noun: str) -> str:
    return f"{len(items)} {noun}{'s' * (len(items) != 1)}"
