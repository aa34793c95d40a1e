"""The manifest of an archive: what the JSON of a saved zip file contains, decoded strictly and checked.

An archive comes from another person, so nothing in it is trusted: no path, no number and no reference between entries.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import msgspec

from comflowy_nb.errors import ComflowyError, ImageError
from comflowy_nb.status import Status
from comflowy_nb.workflow.axes.types import axes_from_json
from comflowy_nb.workflow.syntax.json_values import is_too_deep

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


FORMAT = "comflowy_nb archive"
VERSION = 1
MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 64 * 1024 * 1024

_MAX_INT = 2**64 - 1  # the largest seed
_MAX_TIME = 1e11  # UTC seconds; later times can't be shown
_MAX_TEXT_CHARS = 1_000_000
_MAX_NAME_CHARS = 200
_DIGITS = re.compile(r"-?[0-9]{1,400}")
_TOKEN = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FORMAT_NAME = re.compile(r"[A-Z0-9][A-Z0-9 ]{0,15}")


class Entry(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """A part of the manifest. A field that this version does not know is an error."""


class Rating(Entry):
    """A rating of an image; `source` is the name of who sent it, and empty for who saved the archive."""

    source: str
    rating: int | None
    rejected: bool
    note: str | None
    rated_at: float


class Score(Entry):
    """A score of an image, or the error of the function that computes it."""

    name: str
    value: float | None
    error: str | None


class ImageEntry(Entry):
    """An output of a run. `file` is its name in the zip file; None if its content is not in the archive."""

    index: int
    node: str | None
    node_index: int
    format: str | None
    file: str | None
    sha256: str | None
    error: str | None
    ratings: list[Rating] = []
    scores: list[Score] = []


class RunEntry(Entry):
    """A run that has ended."""

    token: str
    ref: str  # where it was saved
    name: str | None
    workflow: str
    workflow_id: str | None
    service: str
    status: Literal["success", "failed", "rejected", "cancelled"]
    created_at: float
    started_at: float | None
    finished_at: float | None
    params: dict[str, Any]
    set_params: list[str]
    graph: str | None  # name in `graphs`
    error: str | None
    sweep: str | None  # token of the sweep for which it was submitted
    outputs: list[ImageEntry]

    @property
    def keys(self) -> set[str]:
        """The ids of its fields."""
        return {*self.params, *self.set_params}


class AxisValueEntry(Entry, omit_defaults=True):
    params: dict[str, Any]
    label: str
    is_named: bool = False
    word: str | None = None
    info: dict[str, str] = {}


class AxisEntry(Entry, omit_defaults=True):
    """An axis, or with `parts` several that vary together."""

    name: str | None = None
    kind: Literal["values", "preset", "replace", "seeds", "rows", "lines"] | None = None
    fields: list[str] | None = None
    values: list[AxisValueEntry] | None = None
    parts: list[AxisEntry] | None = None

    @property
    def simple(self) -> list[AxisEntry]:
        """The axes that vary together: the parts, else the axis itself."""
        return self.parts or [self]


class SeedWordEntry(Entry):
    fields: list[str]
    word: Literal["random", "each"]


class SpecEntry(Entry, omit_defaults=True):
    """The axes and the layout of a sweep, as the history stores them."""

    fixed: dict[str, Any]
    axes: list[AxisEntry]
    seeds: list[SeedWordEntry]
    set_params: list[str]
    texts: dict[str, str]
    layout: dict[Literal["x", "y", "z"], str | None] = {}
    where: str | None = None
    sample: int | None = None
    sample_seed: int = 0
    pinned: dict[str, list[int]] = {}


class CellEntry(Entry):
    number: int
    at: list[int]
    params: dict[str, Any]
    run: str | None  # token


class SweepEntry(Entry):
    token: str
    ref: str
    name: str | None
    workflow: str
    workflow_id: str | None
    service: str
    created_at: float
    ended_at: float | None
    spec: SpecEntry
    cells: list[CellEntry]


class InputEntry(Entry):
    """An image that was submitted: the sha256 that identifies it, and its names on the service."""

    identity: str
    names: list[str]
    file: str
    sha256: str


class Manifest(Entry):
    format: str
    version: int
    left_out: list[str]
    sweeps: list[SweepEntry]
    runs: list[RunEntry]
    graphs: dict[str, dict[str, Any]]
    inputs: list[InputEntry]

    def files(self) -> Iterator[tuple[str, str]]:
        """Yield the name and the sha256 of each file that the entries name."""
        for run in self.runs:
            yield from ((one.file, one.sha256 or "") for one in run.outputs if one.file is not None)
        yield from ((one.file, one.sha256) for one in self.inputs)


class _Head(msgspec.Struct):
    format: str
    version: int


def encode_manifest(manifest: Manifest) -> bytes:
    """Return the JSON of a manifest; equal manifests have equal JSON."""
    return json.dumps(msgspec.to_builtins(manifest), indent=1).encode("ascii")


def decode_manifest(content: bytes, name: str) -> Manifest:
    """Return the manifest of an archive.

    Parameters
    ----------
    name
        The file name of the archive, for errors.

    Raises
    ------
    ImageError
        If it is not a manifest, is of a newer version, or contradicts itself.
    """
    document = read_json(content, name)
    try:
        head = msgspec.convert(document, _Head)
    except msgspec.ValidationError:
        head = None
    if head is None or head.format != FORMAT:
        raise ImageError(f"{name} is not an archive that comflowy_nb has saved: its {MANIFEST} has another format")
    if head.version > VERSION:
        raise ImageError(f"{name} was saved by a newer comflowy_nb: pip install -U comflowy_nb")
    try:
        manifest = msgspec.convert(document, Manifest)
    except msgspec.ValidationError as error:
        raise _damaged(name, str(error)) from None
    _check(manifest, name)
    return manifest


def read_json(content: bytes, name: str) -> Any:
    """Return the value of JSON that another person has sent.

    Raises
    ------
    ImageError
        If it is not JSON, is nested too deep, or contains a number that is not finite or too large.
    """
    try:
        document = json.loads(content, parse_constant=_reject, parse_int=_read_int, parse_float=_read_float)
    except RecursionError:
        raise _damaged(name, "its JSON is nested too deep") from None
    except ValueError as error:
        raise _damaged(name, f"its JSON is invalid ({error})") from None
    return document


def _reject(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a number")


def _read_int(text: str) -> int:
    if not _DIGITS.fullmatch(text) or abs(number := int(text)) > _MAX_INT:
        raise ValueError(f"a number of {len(text)} digits is too large")
    return number


def _read_float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number


def _damaged(name: str, why: str) -> ImageError:
    return ImageError(f"{name} can't be loaded: {why}. Nothing was loaded")


# -- checks -----------------------------------------------------------------------------------------------------------


def _check(manifest: Manifest, name: str) -> None:
    """Raise an ImageError if a value is out of range, or if entries contradict each other."""
    problem = next(_problems(manifest), None)
    if problem is not None:
        raise _damaged(name, problem)


def _problems(manifest: Manifest) -> Iterator[str]:
    if manifest.version < 1:
        yield "its version is not a version"
    runs = {run.token for run in manifest.runs}
    sweeps = {sweep.token for sweep in manifest.sweeps}
    tokens = [entry.token for entry in (*manifest.runs, *manifest.sweeps)]
    if any(not _TOKEN.fullmatch(token) for token in tokens):
        yield "the token of a run or a sweep is invalid"
    if len(set(tokens)) < len(tokens):
        yield "two entries have one token"
    if any(is_too_deep(graph) for graph in manifest.graphs.values()):
        yield "a graph is nested too deep"
    if any(not isinstance(node, dict) for graph in manifest.graphs.values() for node in graph.values()):
        yield "a graph has a node that is not an object"
    files = list(manifest.files())
    if any(count > 1 for count in Counter(file for file, _ in files).values()):
        yield "two entries name one file"
    if any(not _SHA256.fullmatch(sha256) for _, sha256 in files):
        yield "the sha256 of a file is invalid"
    for run in manifest.runs:
        yield from _problems_of_run(run, manifest.graphs, sweeps)
    for sweep in manifest.sweeps:
        yield from _problems_of_sweep(sweep, runs)
    for one in manifest.inputs:
        if not _SHA256.fullmatch(one.identity) or not are_texts(one.names):
            yield "an input image is invalid"


def _problems_of_run(run: RunEntry, graphs: Mapping[str, Any], sweeps: set[str]) -> Iterator[str]:
    texts = (run.name, run.workflow, run.workflow_id, run.service)
    if not are_texts(texts) or not are_texts([run.error], _MAX_TEXT_CHARS):
        yield f"a text of {run.ref[:20]!r} has control characters or is too long"
    if not are_texts([run.ref]) or not run.workflow:
        yield "the name of a run is invalid"
    if not _are_times(run.created_at, run.started_at, run.finished_at):
        yield f"a time of {run.ref} is out of range"
    if run.graph is not None and run.graph not in graphs:
        yield f"the graph of {run.ref} is missing"
    if run.sweep is not None and run.sweep not in sweeps:
        yield f"the sweep of {run.ref} is missing"
    yield from _problems_of_params(run.params, run.ref)
    if len({one.index for one in run.outputs}) < len(run.outputs):
        yield f"two images of {run.ref} have one index"
    for one in run.outputs:
        if not 0 <= one.index < 100_000 or not 0 <= one.node_index < 100_000 or not are_texts([one.node]):
            yield f"an image of {run.ref} has an invalid index or node"
        if (one.format is not None and not _FORMAT_NAME.fullmatch(one.format)) or not are_texts([one.error], 10_000):
            yield f"an image of {run.ref} has an invalid format or error"
        if (one.file is None) != (one.sha256 is None):
            yield f"an image of {run.ref} has only one of file and sha256"
        if not all(map(is_rating, one.ratings)) or len({each.source for each in one.ratings}) < len(one.ratings):
            yield f"a rating of {run.ref} is invalid"
        if not all(are_texts([each.name]) and are_texts([each.error], _MAX_TEXT_CHARS) for each in one.scores):
            yield f"a score of {run.ref} is invalid"
        if len({each.name for each in one.scores}) < len(one.scores):
            yield f"two scores of an image of {run.ref} have one name"


def _problems_of_sweep(sweep: SweepEntry, runs: set[str]) -> Iterator[str]:
    if not are_texts((sweep.ref, sweep.name, sweep.workflow, sweep.workflow_id, sweep.service)) or not sweep.workflow:
        yield "a text of a sweep has control characters or is too long"
    if not _are_times(sweep.created_at, sweep.ended_at):
        yield f"a time of {sweep.ref} is out of range"
    try:
        axes = axes_from_json(msgspec.to_builtins(sweep.spec))
    except (ComflowyError, KeyError, TypeError, ValueError, AttributeError, IndexError):
        yield f"the axes of {sweep.ref} are invalid"
        return
    names = [axis.name for axis in axes.axes]
    if any(not axis.values for axis in axes.axes) or not are_texts(names, _MAX_TEXT_CHARS):
        yield f"an axis of {sweep.ref} has no values, or an invalid name"
    if len(set(names)) < len(names):
        yield f"two axes of {sweep.ref} have one name"
    if any(name is not None and name not in names for name in sweep.spec.layout.values()):
        yield f"the layout of {sweep.ref} names an axis that it does not have"
    yield from _problems_of_params(axes.fixed, sweep.ref)
    for value in (value for axis in axes.axes for value in axis.values):
        yield from _problems_of_params(value.params, sweep.ref)
    if [cell.number for cell in sweep.cells] != list(range(1, len(sweep.cells) + 1)):
        yield f"the cells of {sweep.ref} are not numbered from 1"
    for cell in sweep.cells:
        is_inside = len(cell.at) == len(axes.shape) and all(
            0 <= index < length for index, length in zip(cell.at, axes.shape, strict=True)
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


def are_texts(texts: Iterable[str | None], max_chars: int = _MAX_NAME_CHARS) -> bool:
    """Return True if texts are short enough and have no control characters except line breaks and tabs."""
    given = [text for text in texts if text is not None]
    return all(len(text) <= max_chars and not _CONTROL.search(text) for text in given)


_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def is_rating(rating: Rating) -> bool:
    """Return True if a rating is from 1 to 5, or says nothing else than rejected or a note."""
    return (
        (rating.rating is None or 1 <= rating.rating <= 5)
        and are_texts([rating.source])
        and are_texts([rating.note], 100_000)
        and _are_times(rating.rated_at)
    )


def _are_times(*times: float | None) -> bool:
    return all(time is None or 0 <= time <= _MAX_TIME for time in times)
