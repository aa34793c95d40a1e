"""Write the texts of a comparison: captions, the table of differences, warnings, and numbers."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from comflowy_nb.comparison.differences import find_differences
from comflowy_nb.layout.text import html_text
from comflowy_nb.layout.value_text import name_fields, write_value
from comflowy_nb.notebook.display import html
from comflowy_nb.notebook.display.html import FONT, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from comflowy_nb.comparison.differences import Differences, FieldRow
    from comflowy_nb.comparison.inputs import ComparedImage
    from comflowy_nb.comparison.pixels import Difference


_MAX_CAPTION_CHARS = 44  # under an image; the table has everything
_MAX_CAPTION_VALUE_CHARS = 20  # of one value in a caption
_MAX_COLUMNS = 6  # a table of more fields has a row for each field, and a column for each image
_DOT = " \N{MIDDLE DOT} "
_MARKS = {
    "same": "{}",
    "some": '<span style="border-bottom:2px solid rgba(224,145,0,.55)">{}</span>',
    "only": '<b style="background:rgba(255,184,28,.28);border-radius:2px;font-weight:600">{}</b>',
}


def captions_of(images: Sequence[ComparedImage], differences: Differences, label: Sequence[str] | None) -> list[str]:
    """Return a short caption for each image: the fields in `label`, or the differing fields with short values."""
    if label is not None:
        names = name_fields(label)
        values = [image.known_fields.everything for image in images]
        return [
            _caption([(names[key], write_value(params[key])) for key in label if key in params]) for params in values
        ]
    rows = [row for row in differences.rows if row.name != "size"]
    short = [row for row in rows if max(map(len, row.texts)) <= _MAX_CAPTION_VALUE_CHARS]
    return [_caption([(row.name, row.texts[at]) for row in short if row.is_known[at]]) for at in range(len(images))]


def _caption(values: Sequence[tuple[str, str]]) -> str:
    """Join as many named values as fit into a caption."""
    text = ""
    for name, value in values:
        longer = f"{text}{_DOT if text else ''}{name} {value}"
        if len(longer) > _MAX_CAPTION_CHARS:
            break
        text = longer
    return plain(text)


def warnings_of(images: Sequence[ComparedImage], canvas: tuple[int, int], differences: Differences) -> list[str]:
    """Return warnings about the choice of the images."""
    warnings = [image.warning for image in images if image.warning]
    if len({image.size for image in images}) > 1:
        warnings.append(
            f"The images have different sizes: each is scaled to fit, and centred on, a canvas of {canvas[0]} "
            f"\N{MULTIPLICATION SIGN} {canvas[1]} pixels."
        )
    unknown = [image.name for image in images if not image.known_fields.is_known]
    if unknown and len(unknown) < len(images):
        warnings.append(f"The params of {' and '.join(unknown)} are not known.")
    if not differences.rows:
        all_unknown = len(unknown) == len(images)
        warnings.append("The params of these images are not known." if all_unknown else "No known field differs.")
    return [plain(line) for line in warnings]


def shared_line(differences: Differences) -> str:
    """Return the fields that all images share in one line; empty if there are none."""
    return plain(_DOT.join(f"{name} {value}" for name, value in differences.shared))


def text_table(images: Sequence[ComparedImage], differences: Differences) -> str:
    """Return the table as text, with the shared fields below."""
    headings, *rows = _matrix(images, differences, lambda row, at: row.texts[at])
    shared = shared_line(differences)
    lines = [html.table(headings, rows)["text/plain"] if differences.rows else ", ".join(map(_title, images))]
    return plain("\n".join([*lines, f"same in all: {shared}"] if shared else lines))


def html_table(images: Sequence[ComparedImage], differences: Differences) -> str:
    """Return the table as HTML without a style sheet. Differing words are marked, and all text is escaped."""

    def cell(row: FieldRow, at: int) -> str:
        pieces = "".join(_MARKS[piece.mark].format(html_text(plain(piece.text))) for piece in row.values[at])
        return pieces if row.is_known[at] else f'<span style="opacity:.6">{pieces}</span>'

    headings, *rows = _matrix(images, differences, cell, lambda text: html_text(plain(text)))
    table = html.html_table(headings, rows) if differences.rows else ""
    shared = html_text(shared_line(differences))
    return table + (f'<div style="{FONT};opacity:.7">same in all: {shared}</div>' if shared else "")


def widget_table(differences: Differences) -> dict[str, Any]:
    """Return the table as plain values. The widget displays them as text nodes."""
    return {
        "tall": _is_tall(differences),
        "rows": [
            {
                "name": plain(row.name),
                "long": row.is_long,
                "values": [[[plain(piece.text), piece.mark] for piece in value] for value in row.values],
                "known": list(row.is_known),
            }
            for row in differences.rows
        ],
    }


def _is_tall(differences: Differences) -> bool:
    """Return True if the table has a row for each field."""
    return len(differences.rows) > _MAX_COLUMNS


def _matrix(
    images: Sequence[ComparedImage],
    differences: Differences,
    cell: Callable[[FieldRow, int], str],
    write: Callable[[str], str] = str,
) -> list[Sequence[str]]:
    """Return the rows of the table, beginning with the headings."""
    is_tall = _is_tall(differences)
    matrix: list[Sequence[str]] = [["" if is_tall else "image", *(write(_title(image)) for image in images)]]
    matrix += [[write(row.name), *(cell(row, at) for at in range(len(images)))] for row in differences.rows]
    return matrix if is_tall else list(zip(*matrix, strict=True))


def _title(image: ComparedImage) -> str:
    return f"{image.name} {image.also}".strip()


def describe_difference(difference: Difference, first: ComparedImage, second: ComparedImage) -> tuple[str, str]:
    """Return the numbers of the difference of two images, and a note about their meaning."""
    if difference.mean_error is None or difference.psnr_db is None or difference.share is None:
        return "No numbers: the images have different sizes.", "The map compares them scaled to one canvas."
    if math.isinf(difference.psnr_db):
        return "The two images are equal, pixel for pixel.", ""
    numbers = (
        f"Mean absolute error {difference.mean_error:.3g} of 255{_DOT}PSNR {difference.psnr_db:.1f} dB{_DOT}"
        f"{_percent(difference.share)} of the pixels differ"
    )
    if find_differences([first.known_fields, second.known_fields]).seeds_differ:
        caveat = "The seeds differ, so the numbers only show that the images are different, not which one is better."
    else:
        caveat = "The numbers measure change, not which image is better; for different seeds they mean nothing."
    return numbers, caveat


def _percent(share: float) -> str:
    if share >= 0.01:
        return f"{share:.0%}" if share < 0.995 or share == 1 else f"{math.floor(share * 1000) / 10:.1f}%"
    return f"{share:.2%}" if share >= 0.0001 else "less than 0.01%"
