"""Check the decoded manifest of an archive: ranges of values, texts, and references between entries."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

import msgspec

from comflowy_nb.database.references import check_name
from comflowy_nb.errors import ComflowyError
from comflowy_nb.workflow.axes.types import axes_from_json
from comflowy_nb.workflow.syntax.json_values import is_too_deep

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from comflowy_nb.archive.manifest import ImageEntry, Manifest, Rating, RecordEntry, RunEntry, SweepEntry


_MAX_TIME = 1e11  # in UTC seconds; `datetime` can't represent later times
_MAX_INDEX = 100_000
_MAX_TEXT_CHARS = 1_000_000
_MAX_NAME_CHARS = 200
_TOKEN = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
# Except line breaks and tabs. SQLite can't store half of a surrogate pair.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_FORMAT_NAME = re.compile(r"[A-Z0-9][A-Z0-9 ]{0,15}")


def find_problems(manifest: Manifest) -> Iterator[str]:
    """Yield the problems of a manifest of this version."""
    if manifest.version < 1:
        yield "its version is less than 1"
    runs = {run.token for run in manifest.runs}
    sweeps = {sweep.token for sweep in manifest.sweeps}
    tokens = [entry.token for entry in manifest.records]
    if any(not _TOKEN.fullmatch(token) for token in tokens):
        yield "the token of a run or a sweep is invalid"
    if len(set(tokens)) < len(tokens):
        yield "two entries have the same token"
    if any(is_too_deep(graph) for graph in manifest.graphs.values()):
        yield "a graph is nested too deep"
    if any(not isinstance(node, dict) for graph in manifest.graphs.values() for node in graph.values()):
        yield "a graph has a node that is not an object"
    yield from _problems_of_files(manifest)
    for run in manifest.runs:
        yield from _problems_of_run(run, manifest.graphs, sweeps)
    for sweep in manifest.sweeps:
        yield from _problems_of_sweep(sweep, runs)


def _problems_of_files(manifest: Manifest) -> Iterator[str]:
    files = list(manifest.files())
    if any(count > 1 for count in Counter(file for file, _ in files).values()):
        yield "two entries have the same file"
    if any(not _SHA256.fullmatch(sha256) for _, sha256 in files):
        yield "the sha256 of a file is invalid"
    if not all(_SHA256.fullmatch(image.identity) and are_names(image.names) for image in manifest.inputs):
        yield "an input image is invalid"


def _problems_of_record(record: RecordEntry, error: str | None, *times: float | None) -> Iterator[str]:
    """Yield the problems of the fields that runs and sweeps share, and of the error and the other times."""
    names = [record.ref, record.name, record.workflow, record.workflow_id, record.service]
    if not are_names(names) or not are_texts([error]) or not record.workflow or not _is_name(record.name):
        yield f"a name or a text of {record.ref[:20]!r} has control characters, or is too long"
    if not _are_times(record.created_at, *times):
        yield f"a time of {record.ref} is out of range"


def _problems_of_run(run: RunEntry, graphs: Mapping[str, Any], sweeps: set[str]) -> Iterator[str]:
    yield from _problems_of_record(run, run.error, run.started_at, run.finished_at)
    if run.graph is not None and run.graph not in graphs:
        yield f"the graph of {run.ref} is missing"
    if run.sweep is not None and run.sweep not in sweeps:
        yield f"the sweep of {run.ref} is missing"
    yield from _problems_of_params(run.params, run.ref)
    if len({image.index for image in run.outputs}) < len(run.outputs):
        yield f"two images of {run.ref} have the same index"
    for image in run.outputs:
        yield from _problems_of_image(image, run.ref)


def _problems_of_image(image: ImageEntry, ref: str) -> Iterator[str]:
    if not 0 <= image.index < _MAX_INDEX or not 0 <= image.node_index < _MAX_INDEX or not are_names([image.node]):
        yield f"an image of {ref} has an invalid index or node"
    if (image.format is not None and not _FORMAT_NAME.fullmatch(image.format)) or not are_texts([image.error]):
        yield f"an image of {ref} has an invalid format or error"
    if (image.file is None) != (image.sha256 is None):
        yield f"an image of {ref} has only one of file and sha256"
    sources = [rating.source for rating in image.ratings]
    if not all(map(is_rating, image.ratings)) or len(set(sources)) < len(sources):
        yield f"a rating of an image of {ref} is invalid"
    names = [score.name for score in image.scores]
    if not are_names(names) or len(set(names)) < len(names) or not are_texts(score.error for score in image.scores):
        yield f"a score of an image of {ref} is invalid"


def _problems_of_sweep(sweep: SweepEntry, runs: set[str]) -> Iterator[str]:
    yield from _problems_of_record(sweep, None, sweep.ended_at)
    try:
        axes = axes_from_json(msgspec.to_builtins(sweep.spec))
    except (ComflowyError, KeyError, TypeError, ValueError, AttributeError, IndexError):
        yield f"the axes of {sweep.ref} are invalid"
        return
    names = [axis.name for axis in axes.axes]
    if any(not axis.values for axis in axes.axes) or not are_texts(names):
        yield f"an axis of {sweep.ref} has no values, or an invalid name"
    if len(set(names)) < len(names):
        yield f"two axes of {sweep.ref} have the same name"
    if any(name is not None and name not in names for name in sweep.spec.layout.values()):
        yield f"the layout of {sweep.ref} names an axis that it does not have"
    yield from _problems_of_params(axes.fixed, sweep.ref)
    for value in (value for axis in axes.axes for value in axis.values):
        yield from _problems_of_params(value.params, sweep.ref)
    if [cell.number for cell in sweep.cells] != list(range(1, len(sweep.cells) + 1)):
        yield f"the cells of {sweep.ref} are not numbered from 1"
    yield from _problems_of_cells(sweep, axes.shape, runs)


def _problems_of_cells(sweep: SweepEntry, shape: Sequence[int], runs: set[str]) -> Iterator[str]:
    for cell in sweep.cells:
        is_inside = len(cell.at) == len(shape) and all(
            0 <= index < length for index, length in zip(cell.at, shape, strict=True)
        )
        if not is_inside:
            yield f"cell {cell.number} of {sweep.ref} is not on its axes"
        if cell.run is not None and cell.run not in runs:
            yield f"the run of cell {cell.number} of {sweep.ref} is missing"
        yield from _problems_of_params(cell.params, sweep.ref)


def _problems_of_params(params: Mapping[str, Any], ref: str) -> Iterator[str]:
    if not are_texts(params, 1_000):
        yield f"the id of a field of {ref} is invalid"
    if is_too_deep(dict(params)):
        yield f"a value of {ref} is nested too deep"


def _is_name(name: str | None) -> bool:
    """Return True for a valid name of a run or a sweep, and for None."""
    try:
        if name is not None:
            check_name(name)
    except ComflowyError:
        return False
    return True


def are_names(names: Iterable[str | None]) -> bool:
    """Return True if names are short, in one line, and have no control characters."""
    return are_texts(names, _MAX_NAME_CHARS) and not any("\n" in name or "\t" in name for name in names if name)


def are_texts(texts: Iterable[str | None], max_chars: int = _MAX_TEXT_CHARS) -> bool:
    """Return True if texts are short enough and have no control characters except line breaks and tabs."""
    return all(text is None or (len(text) <= max_chars and not _CONTROL.search(text)) for text in texts)


def is_rating(rating: Rating) -> bool:
    """Return True if the rating is None or from 1 to 5, and the other values are valid."""
    return (
        (rating.rating is None or 1 <= rating.rating <= 5)
        and are_names([rating.source])
        and are_texts([rating.note], 100_000)
        and _are_times(rating.rated_at)
    )


def _are_times(*times: float | None) -> bool:
    return all(time is None or 0 <= time <= _MAX_TIME for time in times)
