"""A comparison as one still image: for GitHub, nbconvert, and wherever no widget lives."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from PIL import Image

from comflowy_nb.errors import ComflowyError
from comflowy_nb.images.pixels import PREVIEW_PX, find_difference, place
from comflowy_nb.layout.captions import add_part, letter_of
from comflowy_nb.layout.page import Tile
from comflowy_nb.layout.run_grid import Cell, Section, Sheet, arrange
from comflowy_nb.layout.text import Paragraph, Part
from comflowy_nb.notebook.compare.text import describe_difference
from comflowy_nb.painter import DRAWING, draw_page, encode, make_figure, measure
from comflowy_nb.settings import settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from comflowy_nb.comparison.inputs import Compared
    from comflowy_nb.comparison.param_diff import Differences
    from comflowy_nb.images.pixels import Difference
    from comflowy_nb.layout.text import Tone
    from comflowy_nb.painter import Figure

__all__ = ["Still", "draw_still"]

_LARGEST_BYTES = 130_000  # it is in the saved notebook twice: as an image, and in the HTML beside the table
_QUALITIES = (None, 70, 55)
_MAT = (240, 241, 243)  # behind an image that doesn't fill the common canvas


class Still:
    """The figure, its JPEG and the size at which it is shown, in CSS pixels."""

    __slots__ = ("figure", "jpeg", "size_px")

    def __init__(self, figure: Figure, jpeg: bytes, size_px: tuple[int, int]) -> None:
        self.figure = figure
        self.jpeg = jpeg
        self.size_px = size_px


def draw_still(
    images: Sequence[Compared],
    differences: Differences,
    canvas: tuple[int, int],
    captions: Sequence[str] | None = None,
) -> Still:
    """Images side by side with captions (the fields that differ, if none are given); of two also the difference."""
    difference, words = _difference(images)
    with DRAWING:
        sheet = _sheet(images, differences, canvas, captions, words)
        page = arrange(sheet, width_px=settings.grid_width_px, measure=measure)

        def load(tile: Tile, size: tuple[int, int]) -> Image.Image:
            if tile.cell < len(images):
                return _fitted(images[tile.cell], canvas, size)
            assert difference is not None
            return difference.heat.convert("RGB").resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)

        for scale in (2, 1):
            drawn = draw_page(page, scale, load)
            for quality in _QUALITIES if scale == 1 else (None,):
                jpeg = encode(drawn, quality=quality)
                if len(jpeg) <= _LARGEST_BYTES:
                    return Still(make_figure(page, drawn, scale), jpeg, (page.width, page.height))
        return Still(make_figure(page, drawn, scale), jpeg, (page.width, page.height))


def _difference(images: Sequence[Compared]) -> tuple[Difference | None, list[str]]:
    if len(images) != 2 or images[0].size != images[1].size:
        return None, []
    try:
        found = find_difference(images[0].open(), images[1].open())
    except ComflowyError:
        return None, []
    numbers, word = describe_difference(found, *images)
    return found, [numbers, f"Lightest: {found.top} of 255 and more. {word}"]


def _sheet(
    images: Sequence[Compared],
    differences: Differences,
    canvas: tuple[int, int],
    captions: Sequence[str] | None,
    words: Sequence[str],
) -> Sheet:
    cells = []
    letters = _letters(differences) if captions is None else {}
    for position, image in enumerate(images):
        head: list[Part] = [Part(image.name, "strong")]
        if image.also:
            add_part(head, "", image.also, tone="muted")
        values: list[Part] = [] if captions is None else [Part(captions[position])]
        for row in differences.rows if captions is None else ():
            text = row.texts[position]
            if not row.is_known[position] and text == "?":
                continue
            add_part(values, row.name, letters.get((row.name, text), text))
        caption = [Paragraph(tuple(head), 1), *([Paragraph(tuple(values), 4)] if values else [])]
        cells.append(Cell((Tile(position, 0, canvas),), tuple(caption)))
    if words:
        caption = [Paragraph((Part("difference", "strong"),), 1)]
        caption += [Paragraph((Part(line, "muted"),), 4) for line in words if line]
        cells.append(Cell((Tile(len(images), 0, canvas),), tuple(caption)))
    shared: list[Part] = []
    for name, value in differences.shared:
        add_part(shared, name, value, tone="muted")
    foot = (Paragraph((Part("same in all: ", "muted"), *shared), 3),) if shared else ()
    return Sheet((Section(tuple(cells)),), foot=foot, legend=_legend(differences, letters))


def _letters(differences: Differences) -> dict[tuple[str, str], str]:
    """(field, text) -> the letter for a long text in the captions."""
    letters: dict[tuple[str, str], str] = {}
    for row in differences.rows:
        if row.is_long:
            known = [text for text, is_known in zip(row.texts, row.is_known, strict=True) if is_known]
            for text in dict.fromkeys(known):
                letters[row.name, text] = letter_of(len(letters))
    return letters


def _legend(differences: Differences, letters: dict[tuple[str, str], str]) -> tuple[Paragraph, ...]:
    legend = []
    for row in differences.rows:
        for text, pieces in dict(zip(row.texts, row.values, strict=True)).items():
            if (row.name, text) not in letters:
                continue
            tones: list[Tone] = ["strong" if piece.mark == "only" else "text" for piece in pieces]
            parts = [Part(piece.text, tone) for piece, tone in zip(pieces, tones, strict=True)]
            start = (Part(f"{letters[row.name, text]}  ", "strong"), Part(f"{row.name} ", "muted"))
            legend.append(Paragraph((*start, *parts), 6))
    return tuple(legend)


def _fitted(image: Compared, canvas: tuple[int, int], room: tuple[int, int]) -> Image.Image:
    """The image where it belongs on the common canvas, which is as large as the room."""
    x, y, width, height = place(image.size, canvas)
    share = room[0] / canvas[0], room[1] / canvas[1]
    size = (max(1, math.ceil(width * share[0])), max(1, math.ceil(height * share[1])))
    opened = image.open_small() if max(size) <= PREVIEW_PX else image.open()
    small = opened.resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    if size == room:
        return small
    mat = Image.new("RGB", room, _MAT)
    mat.paste(small, (round(x * share[0]), round(y * share[1])))
    return mat
