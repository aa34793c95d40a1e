"""The manifest of an archive: the types of its JSON, which is decoded strictly and checked.

An archive comes from another person, so nothing in it is trusted: no path, no number and no reference between entries.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
from typing import IO, TYPE_CHECKING, Any, Literal, NoReturn, TypeVar

import msgspec

from comflowy_nb.archive.manifest_checks import find_problems
from comflowy_nb.errors import ImageError
from comflowy_nb.workflow.files import no_such_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


FORMAT = "comflowy_nb archive"
VERSION = 1
MANIFEST = "manifest.json"
MAX_MANIFEST_BYTES = 64 * 1024 * 1024

T = TypeVar("T", bound=msgspec.Struct)

_MAX_INT = 2**64 - 1  # the largest seed
_DIGITS = re.compile(r"-?[0-9]{1,400}")


class Entry(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """Base class of the manifest's entries. An unknown field is an error."""


class Rating(Entry):
    """A rating of an image. `source` names the rater; it is empty for the person who saved the archive."""

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


class RecordEntry(Entry):
    """The fields that runs and sweeps share."""

    token: str
    ref: str  # in the history that saved it
    name: str | None
    workflow: str
    workflow_id: str | None
    service: str
    created_at: float


class RunEntry(RecordEntry):
    """A run that has ended."""

    status: Literal["success", "failed", "rejected", "cancelled", "unknown", "lost"]
    started_at: float | None
    finished_at: float | None
    params: dict[str, Any]
    set_params: list[str]
    graph: str | None  # name in `graphs`
    error: str | None
    sweep: str | None  # token of the sweep for which it was submitted
    outputs: list[ImageEntry]


class AxisValueEntry(Entry, omit_defaults=True):
    """A value of an axis."""

    params: dict[str, Any]
    label: str
    is_named: bool = False
    word: str | None = None
    info: dict[str, str] = {}


class AxisEntry(Entry, omit_defaults=True):
    """An axis, or several axes that vary together: its `parts`."""

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
    """Fields that share a generated seed."""

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
    """A cell of a sweep."""

    number: int
    at: list[int]
    params: dict[str, Any]
    run: str | None  # token


class SweepEntry(RecordEntry):
    """A sweep with its cells."""

    ended_at: float | None
    spec: SpecEntry
    cells: list[CellEntry]


class InputEntry(Entry):
    """An input image: the sha256 that identifies it, and its names on the service."""

    identity: str
    names: list[str]
    file: str
    sha256: str


class Manifest(Entry):
    """All data of an archive except the files."""

    format: str
    version: int
    left_out: list[str]
    sweeps: list[SweepEntry]
    runs: list[RunEntry]
    graphs: dict[str, dict[str, Any]]
    inputs: list[InputEntry]

    @property
    def records(self) -> list[RecordEntry]:
        """The runs and the sweeps."""
        return [*self.runs, *self.sweeps]

    def files(self) -> Iterator[tuple[str, str]]:
        """Yield the name and the sha256 of each file that the entries name."""
        for run in self.runs:
            yield from ((output.file, output.sha256 or "") for output in run.outputs if output.file is not None)
        yield from ((image.file, image.sha256) for image in self.inputs)


class _Head(msgspec.Struct):
    """Fields that every version of a format has; newer versions may add others."""

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
        If it is not a manifest, has a newer version, or is inconsistent.
    """
    other_format = f"{name} is not an archive that comflowy_nb has saved: its {MANIFEST} has another format"
    manifest = decode_versioned(content, Manifest, name, format_version=(FORMAT, VERSION), other_format=other_format)
    problem = next(find_problems(manifest), None)
    if problem is not None:
        raise load_error(name, problem)
    return manifest


def decode_versioned(
    content: bytes, type_: type[T], name: str, *, format_version: tuple[str, int], other_format: str
) -> T:
    """Decode an untrusted JSON file that names its format and version.

    Parameters
    ----------
    type_
        The type of the decoded file.
    name
        The name of the file, for errors.
    format_version
        The accepted format, and its newest version.
    other_format
        The error for a file of another format.

    Raises
    ------
    ImageError
        If the file has another format or a newer version, or can't be decoded as `type_`.
    """
    document = _read_json(content, name)
    try:
        head = msgspec.convert(document, _Head)
    except (msgspec.ValidationError, UnicodeEncodeError):  # half of a surrogate pair in place of a number
        head = None
    if head is None or head.format != format_version[0]:
        raise ImageError(other_format)
    if head.version > format_version[1]:
        raise ImageError(f"{name} was saved by a newer comflowy_nb: pip install -U comflowy_nb")
    try:
        return msgspec.convert(document, type_)
    except (msgspec.ValidationError, UnicodeEncodeError) as error:
        raise load_error(name, str(error)) from None


def _read_json(content: bytes, name: str) -> Any:
    """Parse JSON from an untrusted file.

    Raises
    ------
    ImageError
        If it is not JSON, is nested too deep, or contains a number that is not finite or too large.
    """
    try:
        return json.loads(content, parse_constant=_reject_constant, parse_int=_read_int, parse_float=_read_float)
    except RecursionError:
        raise load_error(name, "its JSON is nested too deep") from None
    except ValueError as error:
        raise load_error(name, f"its JSON is invalid ({error})") from None


def _reject_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not allowed")


def _read_int(text: str) -> int:
    if not _DIGITS.fullmatch(text) or abs(number := int(text)) > _MAX_INT:
        raise ValueError(f"a number of {len(text)} digits is too large")
    return number


def _read_float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number


@contextlib.contextmanager
def opened(path: Path) -> Iterator[IO[bytes]]:
    """Open a file to load. Raise an ImageError if it does not exist or can't be read."""
    try:
        if not path.is_file():
            raise ImageError(no_such_file(path))
        with path.open("rb") as file:
            yield file
    except OSError as error:
        raise ImageError(f"{path.name} can't be read: {error.strerror or type(error).__name__}") from error


def load_error(name: str, why: str) -> ImageError:
    """Return the error for a file that can't be loaded."""
    return ImageError(f"{name} can't be loaded: {why}. Nothing was loaded")
