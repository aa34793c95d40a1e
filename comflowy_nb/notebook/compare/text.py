"""What a comparison says in words: captions, the table of what differs, the numbers; as text, HTML and for the page."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from comflowy_nb.comparison.differences import find_differences
from comflowy_nb.layout.captions import name_fields, write_value
from comflowy_nb.layout.html_text import html_text
from comflowy_nb.notebook.display.html import FONT, Table, plain, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from comflowy_nb.comparison.differences import Differences, FieldRow
    from comflowy_nb.comparison.inputs import Compared
    from comflowy_nb.comparison.pixels import Difference

__all__ = [
    "captions_of",
    "describe_difference",
    "for_page",
    "html_table",
    "is_tall",
    "remarks_of",
    "shared_line",
    "text_table",
]

_LONGEST_CAPTION = 44  # characters under an image; the table has everything
_LONGEST_VALUE = 20  # a longer one is a text, and says nothing in a caption
_MOST_COLUMNS = 6  # more fields than that are written down the side, and the images across
_DOT = " \N{MIDDLE DOT} "
_CELL = "text-align:left;vertical-align:top;padding:4px 18px 4px 0;border:0;max-width:44em"
_LINE = "border-bottom:1px solid rgba(128,128,128,.3)"
_MARKS = {
    "same": "{}",
    "some": '<span style="border-bottom:2px solid rgba(224,145,0,.55)">{}</span>',
    "only": '<b style="background:rgba(255,184,28,.28);border-radius:2px;font-weight:600">{}</b>',
}


def captions_of(images: Sequence[Compared], differences: Differences, label: Sequence[str] | None) -> list[str]:
    """A few words on each image: the fields asked for, else the short ones that differ."""
    if label is not None:
        names = name_fields(label)
        return [
            _join(
                [(names[key], write_value(each.maker.everything[key])) for key in label if key in each.maker.everything]
            )
            for each in images
        ]
    short = [row for row in differences.rows if row.name != "size" and max(map(len, row.texts)) <= _LONGEST_VALUE]
    return [
        _join([(row.name, row.texts[index]) for row in short if row.is_known[index]]) for index in range(len(images))
    ]


def remarks_of(images: Sequence[Compared], canvas: tuple[int, int], differences: Differences) -> list[str]:
    """Notes about the choice of the images."""
    remarks = [each.warning for each in images if each.warning]
    if len({each.size for each in images}) > 1:
        remarks.append(
            f"The images have different sizes: each is scaled to fit a canvas of {canvas[0]} "
            f"\N{MULTIPLICATION SIGN} {canvas[1]} pixels, in its middle."
        )
    unknown = [each.name for each in images if not each.maker.is_known]
    if unknown and len(unknown) < len(images):
        remarks.append(f"How {' and '.join(unknown)} {'was' if len(unknown) == 1 else 'were'} made is not known.")
    if not differences.rows:
        remarks.append(
            "How these images were made is not known."
            if len(unknown) == len(images)
            else "No field is known to differ."
        )
    return remarks


def shared_line(differences: Differences) -> str:
    """The fields that are the same in all, in one line; empty where there are none."""
    return _DOT.join(f"{name} {value}" for name, value in differences.shared)


def is_tall(differences: Differences) -> bool:
    """Whether the table has the fields down its side."""
    return len(differences.rows) > _MOST_COLUMNS


def text_table(images: Sequence[Compared], differences: Differences) -> str:
    """The table as text, with what is the same below."""
    lines = []
    if differences.rows:
        lines.append(table(Table(*_matrix(images, differences)))["text/plain"])
    else:
        lines.append(", ".join(_head(each) for each in images))
    if differences.shared:
        lines.append(f"same in all: {shared_line(differences)}")
    return plain("\n".join(lines))


def html_table(images: Sequence[Compared], differences: Differences) -> str:
    """The table as HTML that needs no style sheet, the words that differ marked; everything escaped."""
    names = [html_text(plain(_head(each))) for each in images]
    rows = differences.rows
    if not rows:
        content = ""
    elif is_tall(differences):
        head = ["", *names]
        body = [[html_text(plain(row.name)), *(_cell(row, at) for at in range(len(images)))] for row in rows]
        content = _table(head, body)
    else:
        head = ["", *(html_text(plain(row.name)) for row in rows)]
        body = [[name, *(_cell(row, at) for row in rows)] for at, name in enumerate(names)]
        content = _table(head, body)
    shared = html_text(plain(shared_line(differences)))
    quiet = f'<div style="{FONT};opacity:.7">same in all: {shared}</div>' if shared else ""
    return content + quiet


def for_page(differences: Differences) -> dict[str, Any]:
    """The table as plain values for the widget, which builds it as text nodes."""
    return {
        "tall": is_tall(differences),
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


def describe_difference(found: Difference, one: Compared, other: Compared) -> tuple[str, str]:
    """The numbers of two images, and what they don't mean."""
    if found.mean_error is None or found.psnr_db is None or found.share is None:
        return "No numbers: the images have different sizes.", "The map compares them scaled to one canvas."
    if math.isinf(found.psnr_db):
        return "The two images are equal, pixel for pixel.", ""
    numbers = _DOT.join(
        (
            f"Mean absolute error {found.mean_error:.3g} of 255",
            f"PSNR {found.psnr_db:.1f} dB",
            f"{_percent(found.share)} of the pixels differ",
        )
    )
    if find_differences([one.maker, other.maker]).seeds_differ:
        return numbers, "The seeds differ, so the numbers say only that these are two images, not which is better."
    return numbers, "They say how much changed, not which is better; across different seeds they mean nothing."


def _percent(share: float) -> str:
    if share >= 0.01:
        return f"{share:.0%}" if share < 0.995 or share == 1 else f"{math.floor(share * 1000) / 10:.1f}%"
    return f"{share:.2%}" if share >= 0.0001 else "less than 0.01%"


def _head(image: Compared) -> str:
    return f"{image.name} {image.also}".strip()


def _matrix(images: Sequence[Compared], differences: Differences) -> tuple[list[str], list[list[str]]]:
    names = [_head(each) for each in images]
    rows = differences.rows
    if is_tall(differences):
        return ["", *names], [[row.name, *row.texts] for row in rows]
    return ["image", *(row.name for row in rows)], [
        [name, *(row.texts[at] for row in rows)] for at, name in enumerate(names)
    ]


def _cell(row: FieldRow, at: int) -> str:
    pieces = "".join(_MARKS[piece.mark].format(html_text(plain(piece.text))) for piece in row.values[at])
    return pieces if row.is_known[at] else f'<span style="opacity:.6">{pieces}</span>'


def _table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    heads = "".join(
        f'<th style="{_CELL};{_LINE};font-weight:600"><span style="opacity:.7">{cell}</span></th>' for cell in head
    )
    rows = "".join(
        f'<tr style="background:none"><th style="{_CELL};font-weight:600;white-space:nowrap">{row[0]}</th>'
        + "".join(f'<td style="{_CELL}">{cell}</td>' for cell in row[1:])
        + "</tr>"
        for row in body
    )
    style = f"{FONT};color:inherit;border-collapse:collapse;border:0;margin:2px 0"
    return f'<table style="{style}"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>'


def _join(named: Sequence[tuple[str, str]]) -> str:
    """As many as there is room for."""
    text = ""
    for name, value in named:
        longer = f"{text}{_DOT if text else ''}{name} {value}"
        if len(longer) > _LONGEST_CAPTION:
            break
        text = longer
    return plain(text)
