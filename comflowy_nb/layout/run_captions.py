"""Write the texts of a run grid: captions, legend, and states of cells without an image. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comflowy_nb.held_runs import HELD_TEXTS
from comflowy_nb.layout.page import CellState, CellStateKind, Tile
from comflowy_nb.layout.review_text import NO_REVIEW, ReviewText
from comflowy_nb.layout.run_grid import Cell, Section, Sheet
from comflowy_nb.layout.text import NO_LIMIT, Paragraph, Part
from comflowy_nb.layout.value_text import (
    LONG_TEXT,
    add_part,
    bare_name,
    distinct_texts,
    letter_of,
    mark_differing_words,
    name_fields,
    seeds_of,
    shorten_keeping_differences,
    write_value,
)
from comflowy_nb.status import Status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from comflowy_nb.database.records import ImageRecord, RunRecord


_STATE_KINDS: dict[Status, CellStateKind] = {
    Status.RUNNING: "live",
    Status.FAILED: "error",
    Status.REJECTED: "error",
    Status.SUCCESS: "warning",
    Status.UNKNOWN: "warning",
    Status.LOST: "warning",
    Status.CANCELLED: "warning",
}
_NOTE_LINES, _CAPTION_LINES = 3, 4  # limit of lines below one of several images, and below the grid
_STATUS_DETAILS = {
    Status.SUCCESS: "without any image",
    **HELD_TEXTS,
}


def sheet_of_run(
    record: RunRecord,
    *,
    titles: Mapping[str, str],
    seeds: Mapping[str, int],
    only: Sequence[int] | None = None,
    label: Sequence[str] | None = None,
    reviews: Mapping[int, ReviewText] | None = None,
) -> Sheet:
    """Return the content of a grid with one cell per image of a run, in sections if several nodes have images.

    Parameters
    ----------
    titles
        Node id -> title of the node.
    seeds
        Field id -> seed in the metadata of the image files, for params without a seed.
    only
        Indices of the images to show; None shows all.
    label
        Field ids for the caption instead of the params that were set.
    reviews
        Index of an image -> its rating and scores.
    """
    reviews = reviews or {}
    images = [image for image in record.images if only is None or image.index in only]
    if not images:
        cell = Cell((Tile(0, state=state_of_run(record)),))
        return Sheet((Section((cell,)),), footer=_caption(record, seeds=seeds, label=label))
    by_node: dict[str | None, list[ImageRecord]] = {}
    for image in images:
        by_node.setdefault(image.node, []).append(image)
    several_nodes = len(by_node) > 1
    is_single = len(images) == 1
    sections = []
    for node, members in by_node.items():
        title = _node_title(node, titles) if several_nodes else None
        cells = tuple(
            Cell(
                (_image_tile(0, record, image),),
                () if is_single else _image_caption(record, image, reviews.get(image.index, NO_REVIEW)),
                title if len(members) == 1 else None,
            )
            for image in members
        )
        sections.append(Section(cells, title if len(members) > 1 else None))
    if several_nodes and all(len(section.cells) == 1 for section in sections):
        sections = [Section(tuple(section.cells[0] for section in sections))]  # side by side
    ref = f"{record.ref}[{images[0].index}]" if only is not None and is_single else record.ref
    review = reviews.get(images[0].index, NO_REVIEW) if is_single else NO_REVIEW
    return Sheet(tuple(sections), footer=_caption(record, seeds=seeds, label=label, ref=ref, review=review))


def sheet_of_runs(
    records: Sequence[RunRecord],
    *,
    seeds: Sequence[Mapping[str, int]],
    label: Sequence[str] | None = None,
    reviews: Mapping[str, ReviewText] | None = None,
) -> Sheet:
    """Return the content of a grid with one cell per run, which shows a mosaic of its images.

    Params that are equal in all runs are above the grid, the others below each cell. Letters replace long texts; the
    legend highlights the words in which these differ.

    Parameters
    ----------
    seeds
        For each run, field id -> seed in the metadata of its image files, for params without a seed.
    label
        Field ids for the captions instead of the params that were set.
    reviews
        Token of a run -> review of its best image.
    """
    reviews = reviews or {}
    keys_by_run = {
        record.token: list(label or [key for key in record.set_params if "seed" not in bare_name(key)])
        for record in records
    }
    fields = list(dict.fromkeys(key for keys in keys_by_run.values() for key in keys))
    names = name_fields(fields)
    texts = {key: _texts(key, records) for key in fields}
    shared = [key for key, by_run in texts.items() if len(by_run) == len(records) and len(set(by_run.values())) == 1]
    letters, legend = _letters({key: by_run for key, by_run in texts.items() if key not in shared}, names)
    workflows = {record.workflow for record in records}
    cells = []
    for position, record in enumerate(records):
        parts: list[Part] = []
        for key in keys_by_run[record.token]:
            if key in record.params and key not in shared:
                text = texts[key][record.token]
                add_part(parts, names[key], letters.get((key, text), text))
        last_line: list[Part] = []
        if len(workflows) > 1:
            add_part(last_line, "", record.workflow, tone="muted")
        _add_seeds(last_line, seeds_of(record.params) or seeds[position])
        add_part(last_line, "", record.ref, tone="muted")
        review = reviews.get(record.token, NO_REVIEW)
        review.add_to(last_line)
        tiles = tuple(_image_tile(position, record, image) for image in record.images)
        caption = [Paragraph(tuple(parts), NO_LIMIT)] if parts else []
        caption += [Paragraph(tuple(last_line), NO_LIMIT), *review.note_paragraphs(max_lines=_NOTE_LINES)]
        cells.append(Cell(tiles or (Tile(position, state=state_of_run(record)),), tuple(caption)))
    start = [Part(next(iter(workflows)), "strong")] if len(workflows) == 1 else []
    head = _write_values(start, records[0].params, {key: names[key] for key in shared}, max_lines=(2, 3))
    return Sheet((Section(tuple(cells)),), head=head, legend=legend)


def _write_values(
    start: Sequence[Part], params: Mapping[str, Any], names: Mapping[str, str], *, max_lines: tuple[int, int]
) -> tuple[Paragraph, ...]:
    """Return one paragraph with `start` and the short values, and one paragraph for each long value.

    `max_lines` has two limits: for the first paragraph, and for each other paragraph.
    """
    short, long = list(start), []
    for key, name in names.items():
        text = write_value(params[key])
        if len(text) > LONG_TEXT:
            long.append(Paragraph((Part(f"{name} ", "muted"), Part(text)), max_lines[1]))
        else:
            add_part(short, name, text)
    return (*([Paragraph(tuple(short), max_lines[0])] if short else []), *long)


def _image_caption(record: RunRecord, image: ImageRecord, review: ReviewText) -> tuple[Paragraph, ...]:
    """Return the text below one of several images: its reference and its review."""
    parts = [Part(f"{record.ref}[{image.index}]", "muted")]
    review.add_to(parts)
    return (Paragraph(tuple(parts), _NOTE_LINES), *review.note_paragraphs(max_lines=_NOTE_LINES))


def _caption(
    record: RunRecord,
    *,
    seeds: Mapping[str, int],
    label: Sequence[str] | None,
    ref: str | None = None,
    review: ReviewText = NO_REVIEW,
) -> tuple[Paragraph, ...]:
    """Return the text below the grid of one run."""
    keys = [key for key in (label or record.set_params) if key in record.params and "seed" not in bare_name(key)]
    values = _write_values([], record.params, name_fields(keys), max_lines=(3, 4))
    last_line: list[Part] = [Part(record.workflow, "muted")]
    _add_seeds(last_line, seeds_of(record.params) or seeds)
    add_part(last_line, "", ref or record.ref, tone="muted")
    review.add_to(last_line)
    return (*values, Paragraph(tuple(last_line), _CAPTION_LINES), *review.note_paragraphs(max_lines=_CAPTION_LINES))


def _add_seeds(parts: list[Part], seeds: Mapping[str, int]) -> None:
    """Add `seed N` if all seeds are equal, else up to four seeds with their fields."""
    if len(set(seeds.values())) == 1:
        add_part(parts, "", f"seed {next(iter(seeds.values()))}", tone="muted")
        return
    for key, value in list(seeds.items())[:4]:
        add_part(parts, "", f"{key} {value}", tone="muted")


def _letters(
    texts: Mapping[str, Mapping[str, str]], names: Mapping[str, str]
) -> tuple[dict[tuple[str, str], str], tuple[Paragraph, ...]]:
    """Return letters for the long texts, by (field, text), and the legend that explains them."""
    letters: dict[tuple[str, str], str] = {}
    legend = []
    for key, texts_of_runs in texts.items():
        different = list(dict.fromkeys(texts_of_runs.values()))
        if not any(len(text) > LONG_TEXT for text in different):
            continue
        for text, parts in zip(different, shorten_keeping_differences(mark_differing_words(different)), strict=True):
            letter = letter_of(len(letters))
            letters[key, text] = letter
            name = (Part(f"{letter}  ", "strong"), Part(f"{names[key]} ", "muted"))
            legend.append(Paragraph((*name, *parts), NO_LIMIT))
    return letters, tuple(legend)


def _texts(key: str, records: Sequence[RunRecord]) -> dict[str, str]:
    """Return a mapping from run token to the text of a field's value."""
    with_field = [record for record in records if key in record.params]
    texts = distinct_texts([record.params[key] for record in with_field])
    return {record.token: text for record, text in zip(with_field, texts, strict=True)}


def _image_tile(position: int, record: RunRecord, image: ImageRecord) -> Tile:
    if image.state in {"kept", "pruned"} and image.size_px:
        return Tile(position, image.index, image.size_px)
    ref = f"{record.ref}[{image.index}]"
    if image.state == "missing":
        reason = f"{ref}: {image.error}" if image.error else ref
        state = CellState("error", "missing", f"{reason}. {record.fetch_tip('fetches it')}.")
    else:
        state = CellState("live", "fetching", ref)
    return Tile(position, image.index, image.size_px, state)


def _node_title(node: str | None, titles: Mapping[str, str]) -> str:
    if node is None:
        return "other images"
    title = titles.get(node)
    return f"{title} ({node})" if title else f"node {node}"


def state_of_run(record: RunRecord) -> CellState:
    """Return the state to show for a run without images."""
    status = record.status
    reason = str(record.problem) if record.problem is not None else record.reason or ""
    detail = _STATUS_DETAILS.get(status) or " ".join(reason.split())
    return CellState(_STATE_KINDS.get(status, "waiting"), str(status), detail)
