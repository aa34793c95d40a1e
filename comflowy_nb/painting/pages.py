"""Draw the pages of grids and contact sheets as pixels, JPEG files and figures.

pyplot is not used: it keeps figures globally and may show a figure twice.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from comflowy_nb.errors import ComflowyError, ImageError
from comflowy_nb.images.decode import flatten
from comflowy_nb.layout.page import CellState
from comflowy_nb.painting.cell_states import draw_panel
from comflowy_nb.painting.text import DPI, DRAWING, FINE, add_texts, write_texts
from comflowy_nb.settings import settings
from comflowy_nb.workflow.images import assert_decodable, open_image_file

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from comflowy_nb.layout.page import Box, Page, Tile

__all__ = ["MAX_DOUBLED_BYTES", "DrawnPage", "Figure", "draw_encoded", "draw_page", "encode", "paint_box", "read_image"]

MAX_DOUBLED_BYTES = 740_000  # of a JPEG with two pixels for each CSS pixel; as base64 it is just under 1 MB

_LESS_THAN_A_PIXEL = 1e-6  # matplotlib cuts 827.9999 pixels to 827


@dataclass(frozen=True, slots=True)
class DrawnPage:
    """A page, its pixels with `scale` pixels for each CSS pixel, and the JPEG for the notebook."""

    page: Page
    pixels: Image.Image
    scale: int
    jpeg: bytes

    @property
    def figure(self) -> Figure:
        """The page as a matplotlib figure, with text as text."""
        page, scale = self.page, self.scale
        with DRAWING:
            inches = [(side + _LESS_THAN_A_PIXEL) / DPI for side in (page.width, page.height)]
            figure = Figure((inches[0], inches[1]), DPI * FINE, facecolor="white", edgecolor="white")
            figure.set_layout_engine("none")  # overrides the user's rcParams
            FigureCanvasAgg(figure)
            axes = figure.add_axes((0, 0, 1, 1))
            axes.set_axis_off()
            axes.set_xlim(0, page.width)
            axes.set_ylim(page.height, 0)
            images = Image.new("RGB", self.pixels.size, "white")  # all images in one axes: an axes for each is slow
            for box in page.boxes:
                x, y, width, height = (round(side * scale) for side in (box.x, box.y, box.width, box.height))
                images.paste(self.pixels.crop((x, y, x + width, y + height)), (x, y))
            extent = (0, page.width, page.height, 0)
            axes.imshow(np.asarray(images), extent=extent, interpolation="none", aspect="auto")
            add_texts(axes, page.texts)
            return figure

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height in a notebook, in CSS pixels."""
        return self.page.width, self.page.height


def draw_encoded(
    page: Page,
    load: Callable[[Tile, tuple[int, int]], Image.Image],
    *,
    max_bytes: int = MAX_DOUBLED_BYTES,
    qualities: Sequence[int | None] = (None,),
) -> DrawnPage:
    """Draw a page with two pixels for each CSS pixel, or with one if the JPEG would be larger than `max_bytes`.

    Parameters
    ----------
    qualities
        JPEG qualities with one pixel, tried in order; None is that of the settings.
    """
    pixels = draw_page(page, 2, load)
    jpeg = encode(pixels)
    if len(jpeg) <= max_bytes:
        return DrawnPage(page, pixels, 2, jpeg)
    pixels = draw_page(page, 1, load)
    for quality in qualities:
        jpeg = encode(pixels, quality=quality)
        if len(jpeg) <= max_bytes:
            break
    return DrawnPage(page, pixels, 1, jpeg)


def draw_page(page: Page, scale: int, load: Callable[[Tile, tuple[int, int]], Image.Image]) -> Image.Image:
    """Draw a page with `scale` (1 or 2) pixels for each CSS pixel.

    Parameters
    ----------
    load
        Returns the image of a tile in this size. A box shows the error if it raises ComflowyError or OSError.
    """
    with DRAWING:
        paper = Image.new("RGB", (page.width * scale, page.height * scale), "white")
        write_texts(paper, page.texts, scale)
        for box in page.boxes:
            paint_box(paper, box, scale, load)
        return paper


def paint_box(paper: Image.Image, box: Box, scale: int, load: Callable[[Tile, tuple[int, int]], Image.Image]) -> None:
    """Paint one box of a page. The caller holds `DRAWING`."""
    size = (max(1, round(box.width * scale)), max(1, round(box.height * scale)))
    state = box.tile.state
    if state is None:
        try:
            image = load(box.tile, size)
        except (ComflowyError, OSError) as error:
            reason = str(error) if isinstance(error, ComflowyError) else "the file can't be read"
            state = CellState("bad", "not shown", reason)
    if state is not None:
        image = draw_panel(state, (size[0] // scale, size[1] // scale), scale)
    paper.paste(image, (round(box.x * scale), round(box.y * scale)))


def encode(drawn: Image.Image, *, quality: int | None = None) -> bytes:
    """Return the image as a JPEG."""
    stream = io.BytesIO()
    drawn.save(stream, "JPEG", quality=quality or settings.jpeg_quality, optimize=True)
    return stream.getvalue()


def read_image(path: Path, size: tuple[int, int]) -> Image.Image:
    """Read an image in this size, alpha on white.

    Raises
    ------
    ImageError
        If it can't be decoded, or has too many pixels.
    """
    try:
        with open_image_file(path) as opened:
            opened.draft("RGB", size)
            assert_decodable(opened, "kept on disk, but not shown: the image")
            return flatten(opened).resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    except (OSError, ValueError, SyntaxError, MemoryError) as error:
        raise ImageError(f"the image {path.name} can't be read") from error
