"""Write the labelled grid of a sweep or of runs as a PNG or PDF file, with enough pixels to print it."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.backends.backend_pdf import PdfPages
from PIL.PngImagePlugin import PngInfo

from comflowy_nb import __version__
from comflowy_nb.errors import ImageError
from comflowy_nb.layout.run_captions import sheet_of_run, sheet_of_runs
from comflowy_nb.layout.run_grid import arrange
from comflowy_nb.layout.value_text import seeds_of
from comflowy_nb.painting.pages import DrawnPage, draw_page, read_image
from comflowy_nb.painting.text import DRAWING, measure
from comflowy_nb.recipe import read_graph_of
from comflowy_nb.settings import settings
from comflowy_nb.sweeps.sweep_painting import SweepPainting

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from PIL import Image

    from comflowy_nb.layout.page import Tile
    from comflowy_nb.sweeps.sweep import Sweep
    from comflowy_nb.tracking.run import Run


PRINT_DPI = 300
_SCALES = (3, 2, 1)  # pixels for each CSS pixel
_MAX_PX = 60_000_000  # of a page: about 200 MB while it is drawn
_MANY_CELLS = 1_000_000  # the originals are drawn, not thumbnails


def figure_pages(sweep: Sweep | None, runs: Sequence[Run], *, reads_graphs: bool = True) -> Iterator[DrawnPage]:
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
        scale = _scale_of(page.width, page.height)
        if scale > 1:
            painting = SweepPainting(sweep, sweep.layout, page=number, scale=scale, max_originals=_MANY_CELLS)
            painting.refresh()
        of = painting.page.of
        yield DrawnPage(painting.page, painting.paper, scale, b"")
        number += 1


def _scale_of(width: int, height: int) -> int:
    return next(scale for scale in _SCALES if width * height * scale**2 <= _MAX_PX or scale == 1)


def _page_of_runs(runs: Sequence[Run], *, reads_graphs: bool) -> DrawnPage:
    read = read_graph_of if reads_graphs else lambda _: ({}, {})
    with DRAWING:
        if len(runs) == 1:
            seeds, titles = read(runs[0])
            sheet = sheet_of_run(runs[0].record, titles=titles, seeds=seeds)
        else:
            by_run = [read(run)[0] if not seeds_of(run.params) else {} for run in runs]
            sheet = sheet_of_runs([run.record for run in runs], seeds=by_run)
        page = arrange(sheet, width_px=settings.grid_width_px, measure=measure)

        def load(tile: Tile, size: tuple[int, int]) -> Image.Image:
            images = {image.record.index: image for image in runs[tile.cell].images}
            image = images[tile.image or 0]
            return read_image(image.thumbnail(512) if image.is_pruned else image.path, size)

        scale = _scale_of(page.width, page.height)
        return DrawnPage(page, draw_page(page, scale, load), scale, b"")


def encode_png(page: DrawnPage, title: str) -> bytes:
    """Return a page as a PNG that is printed with 300 dots per inch."""
    text = PngInfo()
    text.add_itxt("Title", title)
    text.add_text("Software", f"comflowy_nb {__version__}")
    stream = io.BytesIO()
    page.pixels.save(stream, "PNG", pnginfo=text, dpi=(PRINT_DPI, PRINT_DPI), optimize=True)
    return stream.getvalue()


def encode_pdf(pages: Iterator[DrawnPage], title: str) -> bytes:
    """Return pages as a PDF, with text as text.

    Raises
    ------
    ImageError
        If matplotlib can't write it.
    """
    stream = io.BytesIO()
    metadata = {"Title": title, "Creator": f"comflowy_nb {__version__}", "CreationDate": None}
    try:
        # Type 42 fonts are embedded as they are, so that text can be searched and copied.
        with DRAWING, mpl.rc_context({"pdf.fonttype": 42}), PdfPages(stream, metadata=metadata) as pdf:
            for page in pages:
                pdf.savefig(page.figure)
    except (ValueError, RuntimeError) as error:
        raise ImageError(f"the PDF can't be written: {error}") from error
    return stream.getvalue()
