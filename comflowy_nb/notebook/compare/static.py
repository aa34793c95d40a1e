"""The static versions of a comparison: a still image, and an HTML file with the widget and all images."""

from __future__ import annotations

import base64
import html
import json
import math
import re
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from comflowy_nb import __version__
from comflowy_nb.comparison.pixels import PREVIEW_PX, find_difference, fit_on_canvas, jpeg_of, without_metadata
from comflowy_nb.errors import ComflowyError, ImageError, write_problem
from comflowy_nb.layout.page import Tile
from comflowy_nb.layout.run_grid import Cell, Section, Sheet, arrange
from comflowy_nb.layout.scripts import widget_script, widget_style
from comflowy_nb.layout.text import Paragraph, Part
from comflowy_nb.layout.value_text import add_part, letter_of
from comflowy_nb.notebook.compare.text import describe_difference
from comflowy_nb.notebook.display.html import plain
from comflowy_nb.painting.pages import draw_encoded
from comflowy_nb.painting.text import DRAWING, measure
from comflowy_nb.settings import settings
from comflowy_nb.workflow.files import check_new, write_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from comflowy_nb.comparison.differences import Differences
    from comflowy_nb.comparison.inputs import ComparedImage
    from comflowy_nb.comparison.pixels import Difference
    from comflowy_nb.notebook.compare.widget import Comparison
    from comflowy_nb.painting.pages import DrawnPage


_MAX_STILL_BYTES = 130_000  # a saved notebook contains it twice: as an image, and in the HTML beside the table
_MAT = (240, 241, 243)  # behind an image that does not fill the common canvas

MAX_PAGE_BYTES = 60_000_000  # of all images of a page; larger ones are saved as JPEG in full size
_PAGE_JPEG_QUALITY = 90
_PAGE_STATE = ("mode", "position", "left", "right", "pace_s", "_content")


def draw_still(
    images: Sequence[ComparedImage],
    differences: Differences,
    canvas: tuple[int, int],
    captions: Sequence[str] | None,
) -> DrawnPage:
    """Draw the images side by side with captions, and the difference of two images.

    By default the captions contain the fields that differ.
    """
    difference, difference_lines = _difference(images)
    with DRAWING:
        sheet = _sheet(images, differences, canvas, captions, difference_lines)
        page = arrange(sheet, width_px=settings.grid_width_px, measure=measure)

        def load(tile: Tile, size: tuple[int, int]) -> Image.Image:
            if tile.cell < len(images):
                return _place_image(images[tile.cell], canvas, size)
            assert difference is not None
            return difference.heat.convert("RGB").resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)

        return draw_encoded(page, load, max_bytes=_MAX_STILL_BYTES, qualities=(None, 70, 55))


def _difference(images: Sequence[ComparedImage]) -> tuple[Difference | None, list[str]]:
    """Return the difference of two images of the same size, and lines that describe it."""
    if len(images) != 2 or images[0].size != images[1].size:
        return None, []
    try:
        difference = find_difference(images[0].open(), images[1].open())
    except ComflowyError:
        return None, []
    numbers, caveat = describe_difference(difference, *images)
    return difference, [numbers, f"Brightest colour: {difference.top} of 255 or more. {caveat}"]


def _sheet(
    images: Sequence[ComparedImage],
    differences: Differences,
    canvas: tuple[int, int],
    captions: Sequence[str] | None,
    difference_lines: Sequence[str],
) -> Sheet:
    cells = []
    letters, legend = _write_legend(differences) if captions is None else ({}, ())
    for position, image in enumerate(images):
        head: list[Part] = [Part(image.name, "strong")]
        if image.also:
            add_part(head, "", image.also, tone="muted")
        values: list[Part] = [] if captions is None else [Part(captions[position])]
        for row in differences.rows if captions is None else ():
            text = row.texts[position]
            if row.is_known[position] or text != "?":
                add_part(values, row.name, letters.get((row.name, text), text))
        caption = [Paragraph(tuple(head), 1), *([Paragraph(tuple(values), 4)] if values else [])]
        cells.append(Cell((Tile(position, 0, canvas),), tuple(caption)))
    if difference_lines:
        caption = [Paragraph((Part("difference", "strong"),), 1)]
        caption += [Paragraph((Part(line, "muted"),), 9) for line in difference_lines]
        cells.append(Cell((Tile(len(images), 0, canvas),), tuple(caption)))
    shared: list[Part] = []
    for name, value in differences.shared:
        add_part(shared, name, value, tone="muted")
    footer = (Paragraph((Part("same in all: ", "muted"), *shared), 3),) if shared else ()
    return Sheet((Section(tuple(cells)),), footer=footer, legend=legend)


def _write_legend(differences: Differences) -> tuple[dict[tuple[str, str], str], tuple[Paragraph, ...]]:
    """Return letters for the long texts, by (field, text), and the legend with these texts."""
    letters: dict[tuple[str, str], str] = {}
    legend = []
    for row in differences.rows:
        for text, pieces, is_known in zip(row.texts, row.values, row.is_known, strict=True):
            if not row.is_long or not is_known or (row.name, text) in letters:
                continue
            letter = letters[row.name, text] = letter_of(len(letters))
            parts = [Part(piece.text, "strong" if piece.mark == "only" else "text") for piece in pieces]
            start = (Part(f"{letter}  ", "strong"), Part(f"{row.name} ", "muted"))
            legend.append(Paragraph((*start, *parts), 6))
    return letters, tuple(legend)


def _place_image(image: ComparedImage, canvas: tuple[int, int], size_px: tuple[int, int]) -> Image.Image:
    """Return the image at its position on the common canvas, scaled to fit into `size_px`."""
    x, y, width, height = fit_on_canvas(image.size, canvas)
    share = size_px[0] / canvas[0], size_px[1] / canvas[1]
    size = (max(1, math.ceil(width * share[0])), max(1, math.ceil(height * share[1])))
    opened = image.open_small() if max(size) <= PREVIEW_PX else image.open()
    small = opened.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    if size == size_px:
        return small
    mat = Image.new("RGB", size_px, _MAT)
    mat.paste(small, (round(x * share[0]), round(y * share[1])))
    return mat


# -- the page ---------------------------------------------------------------------------------------------------------


def save_page(comparison: Comparison, images: Sequence[ComparedImage], path: Path, *, overwrite: bool = False) -> Path:
    """Write the page atomically; return its path, which ends in `.html`.

    Raises
    ------
    ImageError
        If an image is missing, another file has this name, or the file can't be written.
    """
    if path.is_dir():
        raise ImageError(f"{path.name} is a folder; name a file: {path.name}/comparison.html")
    if not path.suffix:
        path = path.with_suffix(".html")
    if path.suffix.lower() not in {".html", ".htm"}:
        raise ImageError(f"can't save a comparison to {path.name}: use {path.with_suffix('.html').name}")
    content = _page(comparison, images)
    try:
        check_new(path, content, overwrite=overwrite)
        write_text(path, content)
    except OSError as error:
        raise ImageError(f"{path.name} can't be written: {write_problem(error, path.parent)}") from error
    return path


def _page(comparison: Comparison, images: Sequence[ComparedImage]) -> str:
    replies = {}  # key of a request -> the reply and its content
    for index, image in enumerate(images):
        replies[f"preview-{index}"] = comparison.reply_to({"ask": "preview", "index": index})
        reply, content = comparison.reply_to({"ask": "image", "index": index})
        content, kind = without_metadata(content, reply["kind"], image.name)
        replies[f"image-{index}"] = ({"kind": kind}, content)
    is_large = sum(len(content) for _, content in replies.values()) > MAX_PAGE_BYTES
    if is_large:
        for index, image in enumerate(images):
            replies[f"image-{index}"] = ({"kind": "image/jpeg"}, jpeg_of(image.open(), quality=_PAGE_JPEG_QUALITY))
    for left, right in combinations(range(len(images)), 2):
        replies[f"difference-{left}-{right}"] = comparison.reply_to({"ask": "difference", "pair": [left, right]})
    state = {name: comparison.get_state(name)[name] for name in _PAGE_STATE}
    data = json.dumps({"state": state, "replies": {key: reply for key, (reply, _) in replies.items()}})
    values = {
        "version": __version__,
        "title": html.escape(plain(f"Comparison of {', '.join(comparison.names)}")),
        "style": widget_style("compare/compare.css"),
        "script": widget_script("compare/compare.js"),
        "still": _base64(comparison.jpeg),
        "note": " The images are large, so they are JPEG, in full size." if is_large else "",
        "content": data.replace("<", "\\u003c"),  # `</script` would end the script, also within quotes
        "blocks": "\n".join(
            f'<script type="text/plain" id="{key}">{_base64(content)}</script>' for key, (_, content) in replies.items()
        ),
    }
    template = (Path(__file__).parent / "page.html").read_text("utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda match: values[match[1]], template)


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")
