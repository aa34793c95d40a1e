"""The labelled grid of the images of runs."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any

from PIL import Image

from comflowy_nb.errors import ComflowyError
from comflowy_nb.layout.captions import Sheet, seeds_of
from comflowy_nb.layout.run_captions import sheet_of_run, sheet_of_runs
from comflowy_nb.layout.text_and_grid import Page, arrange
from comflowy_nb.notebook.display.figure import DRAWING, TWICE_BELOW_BYTES, draw_figure, encode, measure, read_image
from comflowy_nb.settings import settings
from comflowy_nb.workflow.image_metadata import graph_of_image

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from comflowy_nb.layout.captions import Tile
    from comflowy_nb.notebook.display.figure import Figure
    from comflowy_nb.tracking.run import Run

__all__ = ["Grid"]


class Grid:
    """The images of runs, with captions, drawn when they are first needed.

    Parameters
    ----------
    runs
        The runs to show, in order.
    only
        For a single run: the indices of its images to show; None shows all.
    label
        Field ids for the captions instead of those that were set.
    """

    def __init__(
        self, runs: Sequence[Run], *, only: Sequence[int] | None = None, label: Sequence[str] | None = None
    ) -> None:
        self._runs = list(runs)
        self._only = only
        self._label = label
        self._drawn: tuple[Figure, bytes, Page] | None = None

    @property
    def figure(self) -> Figure:
        """The matplotlib figure, on an Agg canvas."""
        return self._draw()[0]

    @property
    def jpeg(self) -> bytes:
        """The grid as a JPEG, as a notebook shows it."""
        return self._draw()[1]

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height at which a notebook shows it, in CSS pixels."""
        page = self._draw()[2]
        return int(page.width), int(page.height)

    def files(self) -> list[str]:
        """The names of the images' files."""
        shown = [image for run in self._runs for image in run.record.images if self._shows(image.index)]
        return [image.file.rsplit("/", 1)[-1] for image in shown if image.file]

    def bundle(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Data and metadata for a notebook: a JPEG, and the files' names as text."""
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

    def _shows(self, index: int) -> bool:
        return self._only is None or index in self._only

    def _draw(self) -> tuple[Figure, bytes, Page]:
        with DRAWING:
            if self._drawn is None:
                page = arrange(self._sheet(), width_px=settings.grid_width_px, measure=measure)
                figure, jpeg = self._render(page, 2)
                if len(jpeg) > TWICE_BELOW_BYTES:
                    figure, jpeg = self._render(page, 1)
                self._drawn = figure, jpeg, page
            return self._drawn

    def _sheet(self) -> Sheet:
        if len(self._runs) == 1:
            run = self._runs[0]
            seeds, titles = _read_graph(run)
            return sheet_of_run(run.record, titles=titles, seeds=seeds, only=self._only, label=self._label)
        seeds_by_run = [_read_graph(run)[0] if not seeds_of(run.params) else {} for run in self._runs]
        return sheet_of_runs([run.record for run in self._runs], seeds=seeds_by_run, label=self._label)

    def _render(self, page: Page, scale: int) -> tuple[Figure, bytes]:
        width, height = int(page.width), int(page.height)
        paper = Image.new("RGB", (width * scale, height * scale), "white")
        notes = []
        for box in page.boxes:
            if box.tile.note is not None:
                notes.append((box, box.tile.note))
                continue
            try:
                size = (max(1, round(box.width * scale)), max(1, round(box.height * scale)))
                image = read_image(self._path(box.tile, max(box.width, box.height), len(page.boxes)), size)
            except (ComflowyError, OSError) as error:
                notes.append((box, str(error) if isinstance(error, ComflowyError) else "the file can't be read"))
                continue
            paper.paste(image, (round(box.x * scale), round(box.y * scale)))
        figure, drawn = draw_figure((width, height), page.words, scale=scale, paper=paper, notes=notes)
        return figure, encode(drawn)

    def _path(self, tile: Tile, side_px: float, count: int) -> Path:
        """The file to draw from: the original for a few images, else the thumbnail made when it arrived."""
        assert tile.image is not None
        images = {image.record.index: image for image in self._runs[tile.run].images}
        path = images[tile.image].path
        if count <= 4:
            return path
        thumbnail = path.with_name(f"{path.stem}.t{512 if count <= 9 else 256}.jpg")
        return thumbnail if thumbnail.exists() and side_px <= 512 else path


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
