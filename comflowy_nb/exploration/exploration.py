"""Exploration: sweeps or runs with axes, and the document that the explorer and the saved page show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comflowy_nb.database.queries.field_filters import REVIEW_NAMES, is_fulfilled
from comflowy_nb.database.queries.search import parse_run_condition
from comflowy_nb.database.ratings import Review
from comflowy_nb.errors import FieldError, RefError, nearest_tip
from comflowy_nb.exploration.axes import (
    ExploredAxis,
    ExploredValue,
    add_repeats,
    find_axis,
    place_cells,
    place_runs,
    place_sweeps,
)
from comflowy_nb.exploration.entries import Entry
from comflowy_nb.exploration.images import problem_of
from comflowy_nb.images.thumbnail_sizes import THUMBNAIL_SIZES_PX
from comflowy_nb.layout.value_text import bare_name, seeds_of
from comflowy_nb.sweeps.sweep import Sweep, SweepCell
from comflowy_nb.tracking.reviews import Reviews, read_reviews
from comflowy_nb.workflow.axes.expand import even_order
from comflowy_nb.workflow.images import InputImage
from comflowy_nb.workflow.syntax.json_values import shown
from comflowy_nb.workflow.syntax.ranges import is_number

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from comflowy_nb.tracking.run import Run, RunImage


class Exploration:
    """The cells of one or more sweeps, or runs, with their indices on common axes.

    The entries and their indices never change. Each entry reads the current state of its run.

    Parameters
    ----------
    sources
        Sweeps, cells and runs, in order. If they are not all sweeps, the axes are the fields in which they differ.
    title
        The title. By default it consists of the references.

    Raises
    ------
    RefError
        If there is nothing to explore.
    """

    def __init__(self, sources: Sequence[Sweep | SweepCell | Run], *, title: str | None = None) -> None:
        if not sources:
            raise RefError("there is nothing to explore: %comflowy explore s1")
        self.sweeps = [source for source in sources if isinstance(source, Sweep)]
        items: list[SweepCell | Run] = []
        for source in sources:
            items += source.cells if isinstance(source, Sweep) else [source]
        if len(self.sweeps) == len(sources) == 1:
            placed = place_cells(self.sweeps[0])
        elif len(self.sweeps) == len(sources):
            placed = place_sweeps(self.sweeps)
        else:
            placed = place_runs(
                [item.params for item in items],
                [item.ref for item in items],
                workflows=[_workflow_of(item) for item in items],
            )
        axes, ats = add_repeats(placed)
        self._axes = axes
        self._image_count = 1
        captions = _captions(axes, ats, items)
        self.entries = tuple(
            Entry(number, item, at, caption)
            for number, (item, at, caption) in enumerate(zip(items, ats, captions, strict=True))
        )
        refs = [source.ref for source in sources]
        self.sources = refs
        self.title = title or _title(sources)
        self._by_at = {entry.at: entry for entry in self.entries}

    @property
    def axes(self) -> tuple[ExploredAxis, ...]:
        """The axes. If a cell has several images, the last axis is the index of the image."""
        self._image_count = max([self._image_count, *(len(entry.images) for entry in self.entries)])
        if self._image_count < 2:
            return self._axes
        values = tuple(ExploredValue(str(index), str(index)) for index in range(self._image_count))
        return (*self._axes, ExploredAxis("image", "image", "image", "number", values, frozenset({"image"})))

    def axis(self, name: str) -> ExploredAxis:
        """Return the axis with this name; raise a RefError if there is none."""
        return find_axis(self.axes, name)

    def at(self, indices: Sequence[int]) -> Entry | None:
        """Return the entry with these indices on the axes; None if no cell or run has this combination."""
        return self._by_at.get(tuple(indices[: len(self._axes)]))

    def refs_of(self, items: Iterable[Any]) -> list[str]:
        """Return the references of the images of cells and runs, as in the document: `s1.7[0]`.

        For a cell or run with several images, this is the first image.

        Raises
        ------
        RefError
            If an item is not part of the exploration, or has no image.
        """
        refs = []
        for item in items:
            ref = getattr(item, "ref", None)
            found = [
                (entry, image) for entry in self.entries for image in entry.images if ref in {entry.ref, image.ref}
            ]
            if not found:
                raise RefError(f"{ref if isinstance(ref, str) else shown(item)} is not an image of {self.title}")
            entry, image = found[0]
            refs.append(_image_ref(entry, image))
        return refs

    def items_of(self, refs: Iterable[str]) -> list[SweepCell | Run | RunImage]:
        """Return the cell or run of each known reference; the image if the run has several."""
        named = {_image_ref(entry, image): (entry, image) for entry in self.entries for image in entry.images}
        found = [named[ref] for ref in refs if ref in named]
        return [image if len(entry.images) > 1 else entry.source for entry, image in found]

    def images(self, keys: Iterable[str]) -> dict[str, RunImage]:
        """Return a mapping from key (`r41[0]`) to image. Unknown keys are omitted."""
        images = {image.ref: image for entry in self.entries for image in entry.images}
        return {key: images[key] for key in keys if key in images}

    def showing(self, key: str) -> list[Entry]:
        """Return the entries that show the image with this key. Cells with equal requests share a run."""
        return [entry for entry in self.entries if any(image.ref == key for image in entry.images)]

    # -- the document -------------------------------------------------------------------------------------------

    def document(self) -> dict[str, Any]:
        """Return the document: axes, columns, items with their ratings, and the sizes of thumbnails, as JSON values."""
        reviews = self.reviews()
        return {
            "version": 1,
            "title": self.title,
            "sources": self.sources,
            "axes": [axis.as_json() for axis in self.axes],
            "columns": self.columns(reviews),
            "items": [_item(entry, reviews) for entry in self.entries],
            "thumbnail_sizes_px": sorted(THUMBNAIL_SIZES_PX),
        }

    def items(self, entries: Sequence[Entry]) -> list[dict[str, Any]]:
        """Return the items of the document for some entries."""
        reviews = self.reviews(entries)
        return [_item(entry, reviews) for entry in entries]

    def reviews(self, entries: Iterable[Entry] | None = None) -> Reviews:
        """Return the current ratings and scores of the images, by default of all entries."""
        return read_reviews(image for entry in (self.entries if entries is None else entries) for image in entry.images)

    def columns(self, reviews: Reviews) -> list[dict[str, Any]]:
        """Return the columns of the document: the columns of `--info`, and the scores."""
        infos: dict[str, list[str]] = {}
        for entry in self.entries:
            for name, text in _info(entry).items():
                infos.setdefault(name, []).append(text)
        columns = [
            {"name": name, "kind": "number" if all(map(is_number, texts)) else "text", "source": "info"}
            for name, texts in infos.items()
        ]
        scores = sorted({name for review in reviews.values() for name in review.scores})
        return [*columns, *({"name": name, "kind": "number", "source": "score"} for name in scores)]

    # -- choosing -----------------------------------------------------------------------------------------------

    def matching(self, where: str) -> list[Entry]:
        """Return the entries for which a condition holds.

        A name is a field, an axis with labels, a column, a score, `status`, or `rating`, `rated`, `rejected` or
        `note` of an image. An entry with several images matches if the condition holds for one of them.

        Raises
        ------
        LineError
            If the condition does not follow the grammar.
        FieldError
            If no entry has one of its names.
        """
        condition = parse_run_condition(where)
        reviews = self.reviews()
        values = [_values_for_condition(entry, self._axes) for entry in self.entries]
        ids = {key for entry_values in values for key in entry_values}
        scores = {name for review in reviews.values() for name in review.scores}
        known = sorted({key.removeprefix("::") for key in ids} | set(map(bare_name, ids)) | scores | REVIEW_NAMES)
        for name in condition.names:
            if name not in known:
                raise FieldError(f"no cell or run here has a field {name}{nearest_tip(name, known) or '.'}")
        return [
            entry
            for entry, entry_values in zip(self.entries, values, strict=True)
            if any(is_fulfilled(entry_values, condition, review=review) for review in _review_values(entry, reviews))
        ]

    def choose(self, count: int) -> list[Entry]:
        """Choose at most `count` entries, in order: the best rated, then evenly spaced others with images first."""
        if len(self.entries) <= count:
            return list(self.entries)
        reviews = self.reviews()
        ratings = {entry.number: _best_rating(entry, reviews) or 0 for entry in self.entries}
        rated = [entry for entry in self.entries if ratings[entry.number]]
        rated.sort(key=lambda entry: ratings[entry.number], reverse=True)
        chosen = {entry.number for entry in rated[:count]}
        for has_images in (True, False):
            for index in even_order([entry.at for entry in self.entries]):
                if len(chosen) == count:
                    break
                if bool(self.entries[index].images) is has_images:
                    chosen.add(index)
        return [self.entries[number] for number in sorted(chosen)]


# -- items ------------------------------------------------------------------------------------------------------------


def _item(entry: Entry, reviews: Reviews) -> dict[str, Any]:
    run = entry.run
    return {
        "id": entry.number,
        "ref": entry.ref,
        "run": None if run is None else run.ref,
        "at": list(entry.at),
        "status": entry.status,
        "text": entry.text,
        "error": entry.error,
        "can": {"run": entry.is_missing, "retry": entry.is_failed},
        "caption": entry.caption,
        "params": [list(pair) for pair in entry.written_params()],
        "values": dict(_info(entry)),
        "images": [_image(entry, image, reviews[image.token]) for image in entry.images],
    }


def _image(entry: Entry, image: RunImage, review: Review) -> dict[str, Any]:
    record = image.record
    return {
        "ref": _image_ref(entry, image),
        "key": image.ref,
        "sha256": record.sha256,
        "size": None if record.size_px is None else list(record.size_px),
        "video": (record.media_type or "").startswith("video/"),
        **image_review(review),
        "problem": problem_of(image),
    }


def _image_ref(entry: Entry, image: RunImage) -> str:
    return f"{entry.ref}[{image.record.index}]"


def image_review(review: Review) -> dict[str, Any]:
    """Return the ratings and the scores of an image as JSON values for the document."""
    own = review.own
    others = [
        {"source": other.source, "rating": other.rating, "rejected": other.rejected, "note": other.note}
        for other in review.others
    ]
    errors = {name: score.error for name, score in review.scores.items() if score.error is not None}
    return {
        "rating": own.rating,
        "rejected": own.rejected,
        "note": own.note,
        "others": others,
        "scores": {name: score.value for name, score in review.scores.items() if score.value is not None},
        **({"score_errors": errors} if errors else {}),
    }


def _info(entry: Entry) -> Mapping[str, str]:
    return entry.cell.info if entry.cell is not None else {}


def _values_for_condition(entry: Entry, axes: Sequence[ExploredAxis]) -> dict[str, Any]:
    """Return the values to compare with a condition, by field id. A name without a node begins with `::`.

    A condition can compare both a value and its label: the bare name finds both.
    """
    values = {key: param.name if isinstance(param, InputImage) else param for key, param in entry.params.items()}
    values["::status"] = entry.status
    for name, text in _info(entry).items():
        values[f"::{name}"] = float(text) if is_number(text) else text
    for axis, index in zip(axes, entry.at, strict=True):
        if axis.role != "field":
            values.setdefault(f"::{axis.name}", axis.values[index].label)
    for name, label in (entry.cell.labels if entry.cell is not None else {}).items():
        if not is_number(label):
            values.setdefault(f"::{bare_name(name)}", label)
    return values


def _review_values(entry: Entry, reviews: Reviews) -> list[dict[str, Any]]:
    """Return the rating and the scores of each image. An entry without images counts as one unrated image."""
    return [
        {
            **{name: score.value for name, score in review.scores.items()},
            "rated": review.own.rating is not None,
            "rejected": review.own.rejected,
            "rating": review.own.rating,
            "note": review.own.note or None,
        }
        for review in [reviews[image.token] for image in entry.images] or [Review()]
    ]


def _best_rating(entry: Entry, reviews: Reviews) -> int | None:
    ratings = [reviews[image.token].own for image in entry.images]
    return max((rating.rating for rating in ratings if rating.rating is not None and not rating.rejected), default=None)


# -- texts ------------------------------------------------------------------------------------------------------------


def _captions(
    axes: Sequence[ExploredAxis], ats: Sequence[tuple[int, ...]], items: Sequence[SweepCell | Run]
) -> list[str]:
    """Return the caption of each item: its values on the axes, and the seed if no axis varies it."""
    has_seed = any("seed" in name for axis in axes for name in axis.names)
    captions = []
    for at, item in zip(ats, items, strict=True):
        parts = [f"{axis.label} {axis.values[index].label}" for axis, index in zip(axes, at, strict=True)]
        seeds = set(seeds_of(item.params).values())
        if not has_seed and len(seeds) == 1:
            parts.append(f"seed {seeds.pop()}")
        captions.append(", ".join(parts))
    return captions


def _workflow_of(source: Sweep | SweepCell | Run) -> str:
    return source.sweep.workflow if isinstance(source, SweepCell) else source.workflow


def _title(sources: Sequence[Sweep | SweepCell | Run]) -> str:
    first = sources[0]
    if len(sources) == 1:
        name = (first.name if isinstance(first, Sweep) else None) or _workflow_of(first)
        return f"{first.ref} {name}"
    if len(sources) <= 4:
        return ", ".join(source.ref for source in sources)
    return f"{len(sources)} {'sweeps' if all(isinstance(source, Sweep) for source in sources) else 'runs'}"
