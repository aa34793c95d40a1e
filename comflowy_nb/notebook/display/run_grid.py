"""The labelled grid of the images of runs."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any, NamedTuple

from comflowy_nb.errors import ComflowyError
from comflowy_nb.layout.captions import seeds_of
from comflowy_nb.layout.run_captions import sheet_of_run, sheet_of_runs
from comflowy_nb.layout.run_grid import arrange
from comflowy_nb.painting.pages import MAX_DOUBLED_BYTES, draw_page, encode, make_figure, read_image
from comflowy_nb.painting.text import DRAWING, measure
from comflowy_nb.settings import settings
from comflowy_nb.workflow.image_metadata import graph_of_image

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL import Image

    from comflowy_nb.layout.page import Page, Tile
    from comflowy_nb.layout.run_grid import Sheet
    from comflowy_nb.painting.pages import Figure
    from comflowy_nb.tracking.run import Run

__all__ = ["Drawn", "Grid"]


class Drawn(NamedTuple):
    """A page, its pixels, the pixels for each CSS pixel, and the JPEG for the notebook."""

    page: Page
    paper: Image.Image
    scale: int
    jpeg: bytes


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
        self._drawn: Drawn | None = None

    @property
    def figure(self) -> Figure:
        """The matplotlib figure, on an Agg canvas."""
        drawn = self._draw_once()
        return make_figure(drawn.page, drawn.paper, drawn.scale)

    @property
    def jpeg(self) -> bytes:
        """The grid as a JPEG, as a notebook shows it."""
        return self._draw_once().jpeg

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height in a notebook, in CSS pixels."""
        page = self._draw_once().page
        return page.width, page.height

    def files(self) -> list[str]:
        """Return the names of the images' files."""
        records = [image for run in self._runs for image in run.record.images]
        shown = [image for image in records if self._only is None or image.index in self._only]
        return [image.file.rsplit("/", 1)[-1] for image in shown if image.file]

    def bundle(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return data and metadata for a notebook: a JPEG, and the files' names as text."""
        width, height = self.size_px
        data = {"text/plain": str(self), "image/jpeg": base64.b64encode(self.jpeg).decode("ascii")}
        return data, {"image/jpeg": {"width": width, "height": height}}

    def _repr_mimebundle_(
        self, include: object = None, exclude: object = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        del include, exclude  # passed by IPython; the bundle is always the same
        return self.bundle()

    def __str__(self) -> str:
        refs = ", ".join(run.ref for run in self._runs)
        files = self.files()
        count = f"{len(files)} image{'s' * (len(files) != 1)}"
        return "\n".join([f"{refs}: {count}", *(f"  {name}" for name in files)])

    def __repr__(self) -> str:
        return f"<Grid of {', '.join(run.ref for run in self._runs)}>"

    def _draw_once(self) -> Drawn:
        with DRAWING:
            if self._drawn is None:
                self._drawn = self._draw()
            return self._drawn

    def _draw(self) -> Drawn:
        page = arrange(self._sheet(), width_px=settings.grid_width_px, measure=measure)
        count = len(page.boxes)

        def load(tile: Tile, size: tuple[int, int]) -> Image.Image:
            """Read the original of a few images that are not pruned, else the thumbnail."""
            images = {image.record.index: image for image in self._runs[tile.cell].images}
            assert tile.image is not None
            image = images[tile.image]
            is_original = count <= 4 and not image.is_pruned
            return read_image(image.path if is_original else image.thumbnail(512 if count <= 9 else 256), size)

        paper = draw_page(page, 2, load)
        jpeg = encode(paper)
        if len(jpeg) <= MAX_DOUBLED_BYTES:
            return Drawn(page, paper, 2, jpeg)
        paper = draw_page(page, 1, load)
        return Drawn(page, paper, 1, encode(paper))

    def _sheet(self) -> Sheet:
        if len(self._runs) == 1:
            run = self._runs[0]
            seeds, titles = _read_graph(run)
            return sheet_of_run(run.record, titles=titles, seeds=seeds, only=self._only, label=self._label)
        seeds_by_run = [_read_graph(run)[0] if not seeds_of(run.params) else {} for run in self._runs]
        return sheet_of_runs([run.record for run in self._runs], seeds=seeds_by_run, label=self._label)


def _read_graph(run: Run) -> tuple[dict[str, int], dict[str, str]]:
    """Return seeds and node titles from the graph in ComfyUI's images, the only record of default values."""
    for image in run.images:
        try:
            graph = graph_of_image(image.path)
        except (ComflowyError, OSError):
            continue
        if graph is not None:
            params = {
                f"{node}::{name}": value
                for node, entry in graph.nodes.items()
                for name, value in entry.get("inputs", {}).items()
            }
            titles = {node: graph.title(node) or "" for node in graph.nodes}
            return seeds_of(params), titles
    return {}, {}
