"""Draw labelled image grids of runs and sweeps."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from comflowy_nb.errors import counted
from comflowy_nb.images.thumbnail_sizes import LARGE_THUMBNAIL_PX, THUMBNAIL_SIZES_PX
from comflowy_nb.layout.page import longest_side_px
from comflowy_nb.layout.review_text import write_review
from comflowy_nb.layout.run_grid import arrange
from comflowy_nb.notebook.display.html import jpeg_bundle
from comflowy_nb.painting.pages import DrawnPage, draw_encoded, read_image
from comflowy_nb.painting.palette import current_palette
from comflowy_nb.painting.text import DRAWING, measure
from comflowy_nb.settings import settings
from comflowy_nb.sharing.figure import sheet_of
from comflowy_nb.sweeps.headings import choose_axes, chosen_images, explain_labels
from comflowy_nb.sweeps.sweep_painting import SweepPainting, may_be_doubled
from comflowy_nb.tracking.reviews import best_review, reviews_to_show

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from PIL import Image

    from comflowy_nb.database.records import ImageRecord, RunRecord
    from comflowy_nb.layout.page import Tile
    from comflowy_nb.painting.pages import Figure
    from comflowy_nb.sweeps.sweep import Sweep, SweepCell
    from comflowy_nb.tracking.run import Run, RunImage


_MAX_NAMED_CELLS = 40  # in the plain text of a sweep's grid


class Grid:
    """An image grid of runs, with captions. The first use draws it.

    Parameters
    ----------
    runs
        The runs to show, in order.
    only
        For a single run, the indices of the images to show; None shows all.
    label
        Field ids, or keys of `columns`, for the captions instead of the params that were set.
    columns
        Token of a run -> texts that its caption may have besides the params, by name.

    Examples
    --------
    >>> from comflowy_nb import grid
    >>> shown = grid(runs)  # doctest: +SKIP
    >>> shown.figure.savefig("bottles.pdf")  # doctest: +SKIP
    """

    def __init__(
        self,
        runs: Sequence[Run],
        *,
        only: Sequence[int] | None = None,
        label: Sequence[str] | None = None,
        columns: Mapping[str, Mapping[str, str]] | None = None,
    ) -> None:
        self._runs = list(runs)
        self._only = only
        self._columns = columns or {}
        self._label = label
        self._drawn: DrawnPage | None = None

    @property
    def figure(self) -> Figure:
        """The matplotlib figure, on an Agg canvas."""
        return self._draw_once().figure

    @property
    def jpeg(self) -> bytes:
        """The grid as a JPEG, for display in a notebook."""
        return self._draw_once().jpeg

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height in a notebook, in CSS pixels."""
        return self._draw_once().page.size_px

    def files(self) -> list[str]:
        """Return the file names of the images."""
        return _file_names(image.record for image in self._images())

    def _images(self) -> list[RunImage]:
        images = [image for run in self._runs for image in run.images]
        return [image for image in images if self._only is None or image.record.index in self._only]

    def bundle(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return data and metadata for a notebook: a JPEG, and the file names as text."""
        return jpeg_bundle(str(self), self.jpeg, self.size_px)

    def _repr_mimebundle_(self, **_: object) -> tuple[dict[str, Any], dict[str, Any]]:
        return self.bundle()

    def __str__(self) -> str:
        refs = ", ".join(run.ref for run in self._runs)
        files = self.files()
        images = self._images()
        reviews = reviews_to_show(images)
        noted = [(image.ref, str(write_review(reviews[image.token]))) for image in images]
        lines = [*(f"  {name}" for name in files), *(f"  {ref}: {text}" for ref, text in noted if text)]
        return "\n".join([f"{refs}: {counted(len(files), 'image')}", *lines])

    def __repr__(self) -> str:
        return f"<Grid of {', '.join(run.ref for run in self._runs)}>"

    def _draw_once(self) -> DrawnPage:
        with DRAWING:
            if self._drawn is None or self._drawn.palette is not current_palette():
                self._drawn = self._draw()
            return self._drawn

    def _draw(self) -> DrawnPage:
        records = [self._captioned(run) for run in self._runs]
        sheet = sheet_of(self._runs, records, only=self._only, label=self._label)
        page = arrange(sheet, width_px=settings.grid_width_px, measure=measure)
        side = longest_side_px(len(page.boxes))

        def load(tile: Tile, size: tuple[int, int]) -> Image.Image:
            """Read the original if there are few images and it is not pruned, else the thumbnail."""
            images = {image.record.index: image for image in self._runs[tile.cell].images}
            assert tile.image is not None
            image = images[tile.image]
            is_small = side in THUMBNAIL_SIZES_PX
            if image.is_pruned and not is_small:
                return read_image(image.thumbnail(LARGE_THUMBNAIL_PX), size)
            return read_image(image.thumbnail(side) if is_small else image.intact_path, size)

        return draw_encoded(page, load)

    def _captioned(self, run: Run) -> RunRecord:
        """Return the record of a run with its columns among the params."""
        columns = self._columns.get(run.token, {})
        return replace(run.record, params={**columns, **run.record.params}) if columns else run.record


class SweepGrid(Grid):
    """The grid of a sweep. The first use draws it.

    Parameters
    ----------
    x, y, z
        Names of the axes of columns, rows and panels. If all are None, the layout of the sweep is used.
    label
        Field ids for the title instead of the params that were set; those of presets and rows, and columns of `--info`,
        are written below the headings.
    node, image
        The node and the index of the images to show. By default all images are shown.
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
        """Reuse a painting from the time when runs were in progress, if it has the resolution of this grid."""
        if not may_be_doubled(painting.page):
            self._drawn = self._draw(painting)

    def _draw(self, painting: SweepPainting | None = None) -> DrawnPage:
        """Paint the changed cells, and encode the page."""
        painting = painting or self.paint()
        painting.refresh()
        jpeg = painting.jpeg()  # may draw the page again in another scale
        return DrawnPage(painting.page, painting.paper, painting.scale, jpeg, painting.palette)

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
            content = " ".join(self._files(cell)) or cell.error or cell.status_text
            if cell.images and not self._files(cell):
                content += ", no such image"  # of `--node` and `--image`
            review = str(write_review(best_review(cell.images, reviews)))
            lines.append(f"  {f'{cell.ref} {cell.text}'.rstrip()}: {content}{f' ({review})' if review else ''}")
        if len(cells) > _MAX_NAMED_CELLS:
            lines.append(f"  ... {len(cells) - _MAX_NAMED_CELLS} more")
        lines += explain_labels(self._sweep)[:_MAX_NAMED_CELLS]
        count = f"{counted(len(cells), 'cell')}, {counted(len(self.files()), 'image')}"
        return "\n".join([f"{self._sweep.ref}: {count}", *lines])

    def __repr__(self) -> str:
        return f"<Grid of {self._sweep!r}>"


def _file_names(images: Iterable[ImageRecord]) -> list[str]:
    return [image.file.rsplit("/", 1)[-1] for image in images if image.file]
