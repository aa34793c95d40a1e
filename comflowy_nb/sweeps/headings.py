"""Write the texts of a sweep's grid: title, headings, legend, and the states of cells. Pure."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from comflowy_nb.errors import RefError, nearest_tip
from comflowy_nb.layout.page import CellState
from comflowy_nb.layout.run_captions import state_of_run
from comflowy_nb.layout.sweep_sheet import Heading, Headings, Panel, SweepSheet
from comflowy_nb.layout.text import NO_LIMIT, Paragraph, Part
from comflowy_nb.layout.value_text import (
    LONG_TEXT,
    add_part,
    bare_name,
    distinct_texts,
    letter_of,
    mark_differing_words,
    name_fields,
    shorten_keeping_differences,
    write_value,
)
from comflowy_nb.status import Status
from comflowy_nb.sweeps.cell import seed_text
from comflowy_nb.workflow.images import InputImage
from comflowy_nb.workflow.syntax.ranges import is_number

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from comflowy_nb.database.records import ImageRecord
    from comflowy_nb.layout.review_text import ReviewText
    from comflowy_nb.sweeps.sweep import Sweep, SweepCell
    from comflowy_nb.workflow.axes.types import Axes, Axis


_MIN_FILLED = 1 / 3  # of the positions of a grid; fewer cells are listed, each with its values
_LONG_NOTE = 16  # characters: a longer text goes into the legend
SEVERAL_FIELDS = frozenset({"preset", "rows", "zip"})  # kinds of axes whose values set several fields

LegendEntry = tuple[str, int, Paragraph]  # axis, index of the value, text


def choose_axes(axes: Axes, layout: Mapping[str, str | None]) -> tuple[Axis | None, Axis | None, tuple[Axis, ...]]:
    """Return the column axis, the row axis and the other axes, as in `layout`, else in the order typed.

    Raises
    ------
    RefError
        If a name is not an axis, or one axis is named twice.
    """
    named = {side: _find_axis(axes, name) for side, name in layout.items() if name}
    for (name, first), (other_name, second) in itertools.combinations(named.items(), 2):
        if first is second:
            raise RefError(f"{first.name} can't be both {name} and {other_name}: name another axis for one of them")
    rest = [axis for axis in axes.axes if axis not in named.values()]
    x = named.get("x") or (rest.pop(0) if rest else None)
    y = named.get("y") or (rest.pop(0) if rest else None)
    return x, y, (*([named["z"]] if "z" in named else ()), *rest)


def _name_axis(axis: Axis) -> str:
    """Return the short name of an axis: the field without its node, the preset, or the replaced word in quotes."""
    if axis.parts:
        return "+".join(map(_name_axis, axis.parts))
    return f'"{_flat(axis.name)}"' if axis.kind == "replace" else bare_name(axis.name)


def sheet_of_sweep(
    sweep: Sweep,
    layout: Mapping[str, str | None],
    *,
    label: Sequence[str] | None = None,
    lettered: Collection[str] = (),
    reviews: Mapping[int, ReviewText] | None = None,
) -> SweepSheet:
    """Return the content of a sweep's grid.

    Parameters
    ----------
    layout
        `x`, `y` and `z`: names of axes, or None.
    label
        Field ids for the title instead of the fixed params that were set. Those of presets and rows, and columns of
        `--info`, are written below the headings.
    lettered
        Names of axes whose headings do not fit, so that their values become letters.
    reviews
        Number of a cell -> rating and scores of its best image.
    """
    x, y, further = choose_axes(sweep.axes, layout)
    letters = map(letter_of, itertools.count())
    headings = {}
    legend: list[LegendEntry] = []
    for axis in (axis for axis in (x, y, *further) if axis is not None):
        headings[axis.name], entries = _write_axis(
            axis, sweep, letters, named=label or (), all_letters=axis.name in lettered
        )
        legend += entries
    columns, rows = (headings[axis.name] if axis is not None else None for axis in (x, y))
    if len(headings) > 1 and not any(layout.values()) and len(sweep.cells) < _MIN_FILLED * sweep.axes.count:
        panels: tuple[Panel, ...] = (Panel((tuple(cell.number for cell in sweep.cells),)),)
        columns, rows = _list_cells(sweep, headings), None
    else:
        panels = _panels(sweep, x, y, further, headings)
    ref = sweep.ref if sweep.record is not None else None
    return SweepSheet(_write_title(sweep, label), panels, columns, rows, tuple(legend), ref, reviews or {})


def _list_cells(sweep: Sweep, headings: Mapping[str, Headings]) -> Headings:
    """Return a heading for each cell, for a sweep with so few cells that a grid would be almost empty."""
    texts = []
    for cell in sweep.cells:
        chosen = zip(sweep.axes.axes, cell.at, strict=True)
        parts = [(headings[axis.name].name, headings[axis.name].values[index].text) for axis, index in chosen]
        texts.append(", ".join(text if _is_word(text) else f"{name} {text}" for name, text in parts))
    return Headings("cell", "combination", tuple(map(Heading, texts)))


def _is_word(text: str) -> bool:
    """Return whether a value needs no field name to be understood, such as `euler`, but not a number."""
    return len(text) > 1 and not is_number(text)


def _find_axis(axes: Axes, name: str) -> Axis:
    for axis in axes.axes:
        if name in {axis.name, _name_axis(axis), *axis.fields}:
            return axis
    names = [axis.name for axis in axes.axes]
    tip = nearest_tip(name, names)
    if not names:
        raise RefError(f"{name!r} is not an axis: this sweep has none; an axis needs several values, as in cfg=4..8")
    listed = f"its axes are {', '.join(names)}" if len(names) > 1 else f"its only axis is {names[0]}"
    raise RefError(f"{name!r} is not an axis of this sweep; {listed}{tip}")


def _panels(
    sweep: Sweep, x: Axis | None, y: Axis | None, further: Sequence[Axis], headings: Mapping[str, Headings]
) -> tuple[Panel, ...]:
    """Return a panel for each combination of values of the other axes that has a cell."""
    numbers = {cell.at: cell.number for cell in sweep.cells}
    order = [axis.name for axis in sweep.axes.axes]

    def number_at(indices: dict[str, int]) -> int:
        return numbers.get(tuple(indices[name] for name in order), 0)

    panels = []
    for indices in itertools.product(*(range(len(axis.values)) for axis in further)):
        values = {axis.name: index for axis, index in zip(further, indices, strict=True)}
        rows = [values | {y.name: row} for row in range(len(y.values))] if y else [values]
        columns = [{x.name: column} for column in range(len(x.values))] if x else [{}]
        cells = tuple(tuple(number_at(row | column) for column in columns) for row in rows)
        if not any(map(any, cells)):
            continue
        title: list[Part] = []
        for name, index in values.items():
            add_part(title, headings[name].name, headings[name].values[index].text, tone="title")
        panels.append(Panel(cells, tuple(values.items()), tuple(title)))
    return tuple(panels)


def _write_axis(
    axis: Axis, sweep: Sweep, letters: Iterator[str], *, named: Sequence[str], all_letters: bool
) -> tuple[Headings, list[LegendEntry]]:
    """Return the headings and the legend entries of one axis."""
    name = _name_axis(axis)
    labels = distinct_texts([value.label for value in axis.values])
    notes, explanations = _explain(axis, sweep, named)
    explained = list(zip(axis.values, labels, notes, explanations, strict=True))
    is_long = any(len(label) > LONG_TEXT for value, label, _, _ in explained if not value.is_named)
    headings: list[Heading] = []
    legend: list[LegendEntry] = []
    for index, (value, label, note, explanation) in enumerate(explained):
        is_named = value.is_named or axis.kind in {"rows", "lines"}  # the label is not the value itself
        is_lettered = all_letters or (is_long and not is_named) or len(label) > 2 * LONG_TEXT
        text = next(letters) if is_lettered else label or '""'
        headings.append(Heading(text, "" if is_lettered else note))
        if not is_lettered and not (is_named and explanation):
            continue
        parts = [Part(f"{text}  ", "strong")]
        if axis.kind not in SEVERAL_FIELDS:
            parts.append(Part(f"{name} ", "muted"))
        if is_lettered and (is_named or axis.kind == "seeds" or not explanation):
            parts.append(Part(f"{label} {note} ".replace("  ", " "), "text" if explanation else "strong"))
        legend.append((axis.name, index, Paragraph((*parts, *explanation), NO_LIMIT)))
    longest_note = max((heading.note for heading in headings), key=len)
    images = tuple(
        next((param for param in value.params.values() if isinstance(param, InputImage)), None) for value in axis.values
    )
    shown = images if any(image is not None for image in images) else ()
    return Headings(axis.name, name, tuple(headings), longest_note, shown), legend


def explain_labels(sweep: Sweep) -> list[str]:
    """Return a line for each label that is not the value itself: `day: text a boat at noon`, as in the legend."""
    lines = []
    for axis in sweep.axes.axes:
        if axis.has_labels or axis.kind == "lines":
            notes, texts = _explain(axis, sweep)
            explained = ["".join(part.text for part in parts) or note for note, parts in zip(notes, texts, strict=True)]
            lines += [f"{value.label}: {text}" for value, text in zip(axis.values, explained, strict=True) if text]
    return lines


def _explain(axis: Axis, sweep: Sweep, named: Sequence[str] = ()) -> tuple[list[str], list[tuple[Part, ...]]]:
    """Explain values whose label is only a name: with notes below headings, or texts for the legend."""
    no_notes = [""] * len(axis.values)
    no_texts: list[tuple[Part, ...]] = [()] * len(axis.values)
    if axis.kind == "seeds":
        return seed_texts(axis, sweep), no_texts
    if axis.kind in SEVERAL_FIELDS:
        return _named_values(axis, named), shorten_keeping_differences(_write_presets(axis))
    texts = value_texts(axis)
    if any(len(text) > _LONG_NOTE for text in texts):
        return no_notes, _differences(texts)
    pairs = zip(axis.values, texts, strict=True)
    return [text if value.is_named and text != value.label else "" for value, text in pairs], no_texts


def value_texts(axis: Axis) -> list[str]:
    """Return distinct texts for the values of an axis of one field, or for the words of a search and replace."""
    if axis.kind == "replace":
        return distinct_texts([value.word or "" for value in axis.values])
    return distinct_texts([next(iter(value.params.values()), "") for value in axis.values])


def _differences(texts: Sequence[str]) -> list[tuple[Part, ...]]:
    """Return the texts with the differing words marked as strong; unmarked if the texts have no common word."""
    split = mark_differing_words(texts)
    if not any(part.tone == "text" for parts in split for part in parts):
        split = [(Part(text),) for text in texts]
    return shorten_keeping_differences(split)


def _named_values(axis: Axis, names: Sequence[str]) -> list[str]:
    """Return one line with the params and info of each named preset or row; the legend has long texts."""
    short = name_fields(names)
    notes = []
    for value in axis.values:
        known = {**value.params, **value.info}
        texts = {short[name]: write_value(known[name]) for name in names if name in known}
        shown = {name: text for name, text in texts.items() if len(text) <= _LONG_NOTE}
        notes.append(", ".join(text if _is_word(text) else f"{name} {text}" for name, text in shown.items()))
    return notes


def _write_presets(axis: Axis) -> list[list[Part]]:
    """Return the params of each preset, and the columns of `--info` of each row."""
    names = name_fields(axis.fields)
    presets: list[list[Part]] = [[] for _ in axis.values]
    for key in axis.fields:
        with_field = [index for index, value in enumerate(axis.values) if key in value.params]
        texts = distinct_texts([axis.values[index].params[key] for index in with_field])
        for index, text in zip(with_field, texts, strict=True):
            add_part(presets[index], names[key], text)
    for parts, value in zip(presets, axis.values, strict=True):
        for name, text in value.info.items():
            add_part(parts, name, text)
    return presets


def seed_texts(axis: Axis, sweep: Sweep) -> list[str]:
    """Return the seed that was generated for each index of an axis."""
    position = [other.name for other in sweep.axes.axes].index(axis.name)
    seeds = [""] * len(axis.values)
    for cell in sweep.cells:
        seeds[cell.at[position]] = seed_text(axis, cell.params)
    return seeds


def _write_title(sweep: Sweep, label: Sequence[str] | None) -> tuple[Paragraph, ...]:
    """Return the title: the sweep, its workflow, and the params that all cells share."""
    axes = sweep.axes
    first: list[Part] = []
    if sweep.record is not None:
        first.append(Part(f"{sweep.ref} {sweep.name or ''}".rstrip(), "strong"))
    add_part(first, "", sweep.workflow, tone="muted" if first else "strong")
    varied = {name for axis in axes.axes for name in axis.fields} - set(axes.texts)
    shown = [key for key in (label or axes.set_params) if key not in varied]
    names = name_fields(shown)
    params: Mapping[str, Any] = sweep.cells[0].params if sweep.cells else axes.fixed
    generated = {key: seeds.word for seeds in axes.seeds for key in seeds.fields}
    replaced = [_flat(axis.name) for axis in axes.simple if axis.kind == "replace"]
    paragraphs = []
    for key in shown:
        if generated.get(key) == "each":
            add_part(first, names[key], "another in each cell")
            continue
        if key not in params:
            continue
        text = _flat(axes.texts[key]) if key in axes.texts else write_value(params[key])
        if key in axes.texts or len(text) > LONG_TEXT:
            parts = _highlight(text, replaced) if key in axes.texts else [Part(text)]
            paragraphs.append(Paragraph((Part(f"{names[key]} ", "muted"), *parts), 3))
        else:
            add_part(first, names[key], f"{text} (generated)" if key in generated else text)
    return (Paragraph(tuple(first), 3), *paragraphs)


def _highlight(text: str, words: Sequence[str]) -> list[Part]:
    """Return the text with the replaced words marked as strong."""
    if not words:
        return [Part(text)]
    pieces = re.split(f"({'|'.join(map(re.escape, sorted(words, key=len, reverse=True)))})", text)
    return [Part(piece, "strong" if index % 2 else "text") for index, piece in enumerate(pieces) if piece]


def _flat(text: str) -> str:
    return " ".join(text.split())


# -- states of cells --------------------------------------------------------------------------------------------------


def cell_state_of(cell: SweepCell, *, node: str | None = None, image: int | None = None) -> CellState:
    """Return the state to show for a cell. `node` and `image` select images of its run."""
    run = cell.run
    if run is None:
        if cell.sweep.record is None and cell.planned:
            return CellState("done" if cell.planned == "done" else "waiting", cell.planned)
        is_waiting = cell.sweep.is_submitting or cell.sweep.is_submitted_elsewhere
        return CellState("waiting", "waiting" if is_waiting else cell.status_text)
    images = chosen_images(run.record.images, node=node, image=image)
    if run.status is Status.SUCCESS and images:
        return CellState("images", images=tuple((image.index, image.file, image.state) for image in images))
    record = run.shown_record
    state = state_of_run(record)
    if record.status is Status.SUCCESS and record.images:
        return replace(state, detail="no such image")
    if not record.status.is_live:
        return state
    state = replace(state, detail=run.warning or "")
    if record.status is not Status.RUNNING:
        return state
    text, progress = record.service_status or state.text, run.progress
    if progress is None or not progress.max or progress.max <= 1:
        return replace(state, text=text)
    done = min(progress.value or 0, progress.max)
    return replace(state, text=f"{text} {done:g}/{progress.max:g}", fraction=round(done / progress.max, 2))


def chosen_images(
    images: Sequence[ImageRecord], *, node: str | None = None, image: int | None = None
) -> list[ImageRecord]:
    """Return the images of a cell to show: all images, the images of one node, or the image with an index."""
    chosen = [record for record in images if node is None or record.node == node]
    return chosen if image is None else chosen[image : image + 1]
