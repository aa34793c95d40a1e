"""Draw the pages of grids and contact sheets as pixels, JPEG files and figures.

pyplot is not used: it keeps figures globally and may show a figure twice.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

from PIL import Image

from comflowy_nb.errors import ComflowyError, ImageError
from comflowy_nb.images.decode import flatten
from comflowy_nb.layout.page import CellState
from comflowy_nb.painting.cell_states import draw_panel
from comflowy_nb.painting.palette import current_palette
from comflowy_nb.painting.text import DPI, DRAWING, FINE, add_texts, write_texts
from comflowy_nb.settings import settings
from comflowy_nb.workflow.images import assert_decodable, open_image_file

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from matplotlib.figure import Figure as Figure  # noqa: PLC0414 - the views take it from here

    from comflowy_nb.layout.page import Box, Page, Tile
    from comflowy_nb.painting.palette import Palette

__all__ = [
    "MAX_DOUBLED_BYTES", "DrawnPage", "draw_encoded", "draw_page", "encode", "encode_within", "paint_box", "read_image",
]  # fmt: skip

# Maximum size of a JPEG with two pixels for each CSS pixel. As base64 it is just under 1 MB.
MAX_DOUBLED_BYTES = 740_000

_LESS_THAN_A_PIXEL = 1e-6  # matplotlib cuts 827.9999 pixels to 827


@dataclass(frozen=True, slots=True)
class DrawnPage:
    """A page with its pixels, `scale` for each CSS pixel, and its JPEG for the notebook."""

    page: Page
    pixels: Image.Image
    scale: int
    jpeg: bytes
    palette: Palette

    @property
    def figure(self) -> Figure:
        """The page as a matplotlib figure, with text as text."""
        import numpy as np  # noqa: PLC0415 - see below
        from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415 - see below
        from matplotlib.figure import Figure  # noqa: PLC0415 - a quarter of the import time of a first image

        page, scale, paper = self.page, self.scale * self.page.zoom, self.palette.paper
        with DRAWING:
            inches = [(side + _LESS_THAN_A_PIXEL) / DPI for side in page.size_px]
            figure = Figure((inches[0], inches[1]), DPI * FINE, facecolor=paper, edgecolor=paper)
            figure.set_layout_engine("none")  # overrides the user's rcParams
            FigureCanvasAgg(figure)
            axes = figure.add_axes((0, 0, 1, 1))
            axes.set_axis_off()
            axes.set_xlim(0, page.width)
            axes.set_ylim(page.height, 0)
            images = Image.new("RGB", self.pixels.size, paper)  # all images in one axes: an axes for each is slow
            for box in page.boxes:
                x, y, width, height = (round(side * scale) for side in (box.x, box.y, box.width, box.height))
                images.paste(self.pixels.crop((x, y, x + width, y + height)), (x, y))
            extent = (0, page.width, page.height, 0)
            axes.imshow(np.asarray(images), extent=extent, interpolation="none", aspect="auto")
            add_texts(axes, page.texts, page.zoom, self.palette)
            return figure


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
        JPEG qualities to try in order, with one pixel for each CSS pixel. None uses the quality in the settings.
    """
    palette = current_palette()
    pixels = draw_page(page, 2, load, palette)
    jpeg = encode(pixels)
    if len(jpeg) <= max_bytes:
        return DrawnPage(page, pixels, 2, jpeg, palette)
    pixels = draw_page(page, 1, load, palette)
    return DrawnPage(page, pixels, 1, encode_within(pixels, max_bytes, qualities), palette)


def draw_page(
    page: Page, scale: int, load: Callable[[Tile, tuple[int, int]], Image.Image], palette: Palette
) -> Image.Image:
    """Draw a page with `scale` (1 or 2) pixels for each CSS pixel.

    Parameters
    ----------
    load
        Returns the image of a tile in a given size. If it raises ComflowyError or OSError, the box shows the error.
    """
    with DRAWING:
        width, height = page.size_px
        paper = Image.new("RGB", (width * scale, height * scale), palette.paper)
        write_texts(paper, page.texts, scale * page.zoom, palette)
        for box in page.boxes:
            paint_box(paper, box, scale * page.zoom, load, palette)
        return paper


def paint_box(
    paper: Image.Image,
    box: Box,
    scale: float,
    load: Callable[[Tile, tuple[int, int]], Image.Image],
    palette: Palette,
) -> None:
    """Paint one box with `scale` pixels for each pixel of the layout. The caller holds `DRAWING`."""
    size = (max(1, round(box.width * scale)), max(1, round(box.height * scale)))
    state = box.tile.state
    if state is None:
        try:
            image = load(box.tile, size)
        except (ComflowyError, OSError) as error:
            reason = str(error) if isinstance(error, ComflowyError) else "the file can't be read"
            state = CellState("error", "not shown", reason)
    if state is not None:
        image = draw_panel(state, size, scale, palette)
    paper.paste(image, (round(box.x * scale), round(box.y * scale)))


def encode(drawn: Image.Image, *, quality: int | None = None) -> bytes:
    """Return the image as a JPEG."""
    stream = io.BytesIO()
    drawn.save(stream, "JPEG", quality=quality or settings.jpeg_quality, optimize=True)
    return stream.getvalue()


def encode_within(drawn: Image.Image, max_bytes: int, qualities: Sequence[int | None]) -> bytes:
    """Return the image as a JPEG of the first quality that has at most `max_bytes`, else of the last quality."""
    for quality in qualities:
        jpeg = encode(drawn, quality=quality)
        if len(jpeg) <= max_bytes:
            break
    return jpeg


def read_image(path: Path, size: tuple[int, int]) -> Image.Image:
    """Read an image and scale it to a size. Transparent pixels become white.

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
