"""Draw the labelled grid of a sweep or of runs for a file, with enough pixels to print it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from comflowy_nb.images.thumbnail_sizes import LARGE_THUMBNAIL_PX
from comflowy_nb.layout.review_text import write_review
from comflowy_nb.layout.run_captions import sheet_of_run, sheet_of_runs
from comflowy_nb.layout.run_grid import arrange
from comflowy_nb.layout.value_text import seeds_of
from comflowy_nb.painting.pages import DrawnPage, draw_page, read_image
from comflowy_nb.painting.palette import current_palette
from comflowy_nb.painting.text import DRAWING, measure
from comflowy_nb.recipe import read_graph_of
from comflowy_nb.settings import settings
from comflowy_nb.sweeps.sweep_painting import SweepPainting
from comflowy_nb.tracking.reviews import best_review, reviews_to_show

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from PIL import Image

    from comflowy_nb.database.records import RunRecord
    from comflowy_nb.layout.page import Tile
    from comflowy_nb.layout.run_grid import Sheet
    from comflowy_nb.sweeps.sweep import Sweep
    from comflowy_nb.tracking.run import Run


_SCALES = (3, 2, 1)  # pixels for each CSS pixel
_MAX_PX = 60_000_000  # per page, which takes about 200 MB while it is drawn
_MANY_CELLS = 1_000_000  # no sweep has more, so originals are drawn, not thumbnails


def figure_pages(sweep: Sweep | None, runs: Sequence[Run], *, reads_graphs: bool) -> Iterator[DrawnPage]:
    """Draw the grid of a sweep, or of runs.

    Parameters
    ----------
    reads_graphs
        Show the seeds that are known only from the graph in an image.
    """
    if sweep is None:
        yield _page_of_runs(runs, reads_graphs=reads_graphs)
        return
    number = of = 1
    while number <= of:
        painting = SweepPainting(sweep, sweep.layout, page=number, scale=1, max_originals=_MANY_CELLS)
        page = painting.page
        scale = _scale_of(*page.size_px)
        if scale > 1:
            painting = SweepPainting(sweep, sweep.layout, page=number, scale=scale, max_originals=_MANY_CELLS)
            painting.refresh()
        of = painting.page.of
        yield DrawnPage(painting.page, painting.paper, scale, b"", painting.palette)
        number += 1


def _scale_of(width: int, height: int) -> int:
    return next(scale for scale in _SCALES if width * height * scale**2 <= _MAX_PX or scale == 1)


def _page_of_runs(runs: Sequence[Run], *, reads_graphs: bool) -> DrawnPage:
    with DRAWING:
        sheet = sheet_of(runs, [run.record for run in runs], reads_graphs=reads_graphs)
        page = arrange(sheet, width_px=settings.grid_width_px, measure=measure)

        def load(tile: Tile, size: tuple[int, int]) -> Image.Image:
            images = {image.record.index: image for image in runs[tile.cell].images}
            image = images[tile.image or 0]
            return read_image(image.thumbnail(LARGE_THUMBNAIL_PX) if image.is_pruned else image.path, size)

        scale = _scale_of(*page.size_px)
        palette = current_palette()
        return DrawnPage(page, draw_page(page, scale, load, palette), scale, b"", palette)


def sheet_of(
    runs: Sequence[Run],
    records: Sequence[RunRecord],
    *,
    only: Sequence[int] | None = None,
    label: Sequence[str] | None = None,
    reads_graphs: bool = True,
) -> Sheet:
    """Return the content of a grid of runs, with their reviews and, from their graphs, seeds and titles of nodes.

    Parameters
    ----------
    records
        The records of the runs, whose params the captions show.
    only, label
        As for `sheet_of_run`; `only` is for a single run.
    reads_graphs
        Whether the graphs are read.
    """
    read = read_graph_of if reads_graphs else lambda _: ({}, {})
    by_token = reviews_to_show(image for run in runs for image in run.images)
    if len(runs) == 1:
        seeds, titles = read(runs[0])
        reviews = {image.record.index: write_review(by_token[image.token]) for image in runs[0].images}
        return sheet_of_run(records[0], titles=titles, seeds=seeds, only=only, label=label, reviews=reviews)
    seeds_by_run = [read(run)[0] if not seeds_of(run.params) else {} for run in runs]
    best = {run.token: write_review(best_review(run.images, by_token)) for run in runs}
    return sheet_of_runs(records, seeds=seeds_by_run, label=label, reviews=best)
