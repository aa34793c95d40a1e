"""What is written around the cells of a sweep: its title, the headers, the legend. Pure."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from comflowy_nb.errors import RefError
from comflowy_nb.layout.captions import (
    LONG_TEXT,
    add_part,
    letter_of,
    name_fields,
    stand_out,
    write_value,
)
from comflowy_nb.layout.legends import entry, keep_differences, write_apart
from comflowy_nb.layout.sweep_sheet import Heading, Headings, Panel, SweepSheet
from comflowy_nb.layout.text import Paragraph, Part
from comflowy_nb.workflow.fields import nearest
from comflowy_nb.workflow.images import InputImage

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from comflowy_nb.sweeps.sweep import Sweep
    from comflowy_nb.workflow.axes.types import Axes, Axis

__all__ = [
    "choose_axes",
    "name_axis",
    "sheet_of_sweep",
]

_LONG_NOTE = 16  # characters: what is longer goes into the legend


def choose_axes(axes: Axes, layout: Mapping[str, str | None]) -> tuple[Axis | None, Axis | None, tuple[Axis, ...]]:
    """The axes of the columns, of the rows, and the further ones: those named, else in the order they were typed.

    Raises
    ------
    RefError
        If a name is no axis, or one stands twice.
    """
    named = {side: _find_axis(axes, name) for side, name in layout.items() if name}
    for (one, first), (other, second) in itertools.combinations(named.items(), 2):
        if first is second:
            raise RefError(f"{first.name} can't be both {one} and {other}")
    rest = [axis for axis in axes.axes if axis not in named.values()]
    x = named.get("x") or (rest.pop(0) if rest else None)
    y = named.get("y") or (rest.pop(0) if rest else None)
    return x, y, (*([named["z"]] if "z" in named else ()), *rest)


def name_axis(axis: Axis) -> str:
    """What a person calls an axis: its field without the node, a preset's name, the searched word in quotes."""
    if axis.kind == "replace":
        return f'"{" ".join(axis.name.split())}"'
    return axis.name.split("::", 1)[-1]


def sheet_of_sweep(
    sweep: Sweep,
    layout: Mapping[str, str | None],
    *,
    label: Sequence[str] | None = None,
    lettered: Collection[str] = (),
) -> SweepSheet:
    """A sweep in words.

    Parameters
    ----------
    layout
        `x`, `y` and `z`: names of axes, or None.
    label
        Field ids for the title instead of those that were set and don't vary.
    lettered
        Names of axes whose values are letters although they are short: their column has no room.
    """
    x, y, further = choose_axes(sweep.axes, layout)
    letters = itertools.count()
    headings = {}
    legend: list[tuple[str, int, Paragraph]] = []
    for axis in (each for each in (x, y, *further) if each is not None):
        headings[axis.name], entries = _write_axis(axis, sweep, letters, all_letters=axis.name in lettered)
        legend += entries
    return SweepSheet(
        head=_head(sweep, label),
        panels=_panels(sweep, x, y, further, headings),
        x=headings[x.name] if x else None,
        y=headings[y.name] if y else None,
        legend=tuple(legend),
        ref=sweep.ref if sweep.record is not None else None,
    )


def _find_axis(axes: Axes, name: str) -> Axis:
    for axis in axes.axes:
        if name in {axis.name, name_axis(axis), *axis.fields}:
            return axis
    names = [axis.name for axis in axes.axes]
    near = nearest(name, names)
    tip = f"; nearest: {', '.join(near)}" if near else ""
    raise RefError(f"{name!r} is no axis of this sweep; its axes are {', '.join(names) or 'none'}{tip}")


def _panels(
    sweep: Sweep, x: Axis | None, y: Axis | None, further: Sequence[Axis], headings: Mapping[str, Headings]
) -> tuple[Panel, ...]:
    numbers = {cell.at: cell.number for cell in sweep.cells}
    order = [axis.name for axis in sweep.axes.axes]
    panels = []
    for chosen in itertools.product(*(range(len(axis.values)) for axis in further)):
        values = tuple(zip((axis.name for axis in further), chosen, strict=True))
        rows = []
        for down in range(len(y.values) if y else 1):
            row = []
            for across in range(len(x.values) if x else 1):
                place = dict(values)
                if x is not None:
                    place[x.name] = across
                if y is not None:
                    place[y.name] = down
                row.append(numbers[tuple(place[name] for name in order)])
            rows.append(tuple(row))
        title: list[Part] = []
        for name, index in values:
            if title:
                title.append(Part(" \N{MIDDLE DOT} ", "muted"))
            title += [Part(f"{headings[name].name} ", "muted"), Part(headings[name].values[index].text, "title")]
        panels.append(Panel(tuple(rows), values, tuple(title)))
    return tuple(panels)


def _write_axis(
    axis: Axis, sweep: Sweep, letters: itertools.count[int], *, all_letters: bool
) -> tuple[Headings, list[tuple[str, int, Paragraph]]]:
    """The headings of one axis, and what the legend says of its values."""
    name = name_axis(axis)
    labels = write_apart([value.label for value in axis.values])
    is_long = any(
        len(label) > LONG_TEXT for label, value in zip(labels, axis.values, strict=True) if not value.is_named
    )
    notes, said = _explain(axis, sweep)
    headings, legend = [], []
    for index, (value, label) in enumerate(zip(axis.values, labels, strict=True)):
        is_lettered = all_letters or (is_long and not value.is_named) or len(label) > 2 * LONG_TEXT
        text = letter_of(next(letters)) if is_lettered else label or '""'
        headings.append(Heading(text, "" if is_lettered else notes[index]))
        if not is_lettered and (not value.is_named or not said[index]):
            continue
        parts = [Part(f"{text}  ", "strong"), *([] if axis.kind == "preset" else [Part(f"{name} ", "muted")])]
        if is_lettered and (value.is_named or axis.kind == "seeds" or not said[index]):
            parts.append(Part(f"{label} {notes[index]} ".replace("  ", " "), "text" if said[index] else "strong"))
        legend.append((axis.name, index, entry(parts, said[index])))
    note = max((heading.note for heading in headings), key=len)
    images = tuple(
        next((one for one in value.params.values() if isinstance(one, InputImage)), None) for value in axis.values
    )
    shown = images if any(image is not None for image in images) else ()
    return Headings(axis.name, name, tuple(headings), note, shown), legend


def _explain(axis: Axis, sweep: Sweep) -> tuple[list[str], list[tuple[Part, ...]]]:
    """For each value what its label does not say: in few words for below a header, and in full for the legend."""
    nothing: list[tuple[Part, ...]] = [()] * len(axis.values)
    if axis.kind == "seeds":
        return _seeds(axis, sweep), nothing
    if axis.kind == "preset":
        return [""] * len(axis.values), keep_differences(_say_presets(axis))
    if axis.kind == "replace":
        texts = write_apart([value.word or "" for value in axis.values])
    else:
        texts = write_apart([next(iter(value.params.values()), "") for value in axis.values])
    if any(len(text) > _LONG_NOTE for text in texts):
        return [""] * len(axis.values), _differences(texts)
    pairs = zip(axis.values, texts, strict=True)
    return [text if value.is_named and text != value.label else "" for value, text in pairs], nothing


def _differences(texts: Sequence[str]) -> list[tuple[Part, ...]]:
    """The texts with the words standing out that not all have; none stand out where no word is in all of them."""
    found = stand_out(texts)
    if not any(part.tone == "text" for parts in found for part in parts):
        found = [(Part(text),) for text in texts]
    return keep_differences(found)


def _say_presets(axis: Axis) -> list[list[Part]]:
    names = name_fields(axis.fields)
    said: list[list[Part]] = [[] for _ in axis.values]
    for key in axis.fields:
        having = [index for index, value in enumerate(axis.values) if key in value.params]
        texts = write_apart([axis.values[index].params[key] for index in having])
        for index, text in zip(having, texts, strict=True):
            add_part(said[index], names[key], text)
    return said


def _seeds(axis: Axis, sweep: Sweep) -> list[str]:
    """The seed that was drawn for each index of an axis."""
    place = [one.name for one in sweep.axes.axes].index(axis.name)
    found = [""] * len(axis.values)
    for cell in sweep.cells:
        found[cell.at[place]] = next((str(cell.params[key]) for key in axis.fields if key in cell.params), "")
    return found


def _head(sweep: Sweep, label: Sequence[str] | None) -> tuple[Paragraph, ...]:
    """Which sweep it is, of which workflow, and what holds for all of its cells."""
    axes = sweep.axes
    first: list[Part] = []
    if sweep.record is not None:
        first.append(Part(sweep.ref, "strong"))
        if sweep.name:
            first.append(Part(f" {sweep.name}", "strong"))
    add_part(first, "", sweep.workflow, tone="muted" if first else "strong")
    varied = {name for axis in axes.axes for name in axis.fields} - set(axes.texts)
    shown = [key for key in (label or axes.set_params) if key not in varied]
    names = name_fields(shown)
    params: Mapping[str, Any] = sweep.cells[0].params if sweep.cells else axes.fixed
    drawn = {key: wish.word for wish in axes.seeds for key in wish.fields}
    words = [axis.name for axis in axes.axes if axis.kind == "replace"]
    paragraphs = []
    for key in shown:
        if drawn.get(key) == "each":
            add_part(first, names[key], "another in each cell")
            continue
        if key not in params:
            continue
        text = _flat(axes.texts.get(key, write_value(params[key])))
        if key in axes.texts or len(text) > LONG_TEXT:
            parts = _mark(text, words) if key in axes.texts else [Part(text)]
            paragraphs.append(Paragraph((Part(f"{names[key]} ", "muted"), *parts), 3))
        else:
            add_part(first, names[key], f"{text} (drawn)" if key in drawn else text)
    return (Paragraph(tuple(first), 3), *paragraphs)


def _mark(text: str, words: Sequence[str]) -> list[Part]:
    """The text with the words that are replaced standing out."""
    parts = [Part(text)]
    for word in map(_flat, words):
        split: list[Part] = []
        for part in parts:
            if part.tone == "strong" or word not in part.text:
                split.append(part)
                continue
            pieces = part.text.split(word)
            for place, piece in enumerate(pieces):
                split += [Part(word, "strong")] if place else []
                split += [Part(piece)] if piece else []
        parts = split
    return parts


def _flat(value: Any) -> str:
    return " ".join(value.split()) if isinstance(value, str) else write_value(value)
