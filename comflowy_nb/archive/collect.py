"""Collect the contents of an archive: the manifest and the files of runs and sweeps."""

from __future__ import annotations

import contextlib
import math
import re
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from comflowy_nb.archive.manifest import (
    FORMAT,
    VERSION,
    CellEntry,
    ImageEntry,
    InputEntry,
    Manifest,
    Rating,
    RunEntry,
    Score,
    SpecEntry,
    SweepEntry,
)
from comflowy_nb.errors import SettingsError
from comflowy_nb.images.inputs import stored_input
from comflowy_nb.images.receive import stored_file

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from comflowy_nb.database.ratings import Rating as StoredRating
    from comflowy_nb.database.records import CellRecord, ImageRecord, RunRecord, SweepRecord
    from comflowy_nb.database.runs import History


_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_MAX_NAME_CHARS = 200
_MAX_TEXT_CHARS = 4000


@dataclass(slots=True)
class Collected:
    """The manifest of an archive, and the locations of its files. The entries do not name files yet.

    Attributes
    ----------
    sources
        Token of a run and index of an output -> the file on disk.
    inputs
        Identity of an input image -> its content.
    clean
        The function that replaced the home paths and host names in all texts of the manifest.
    runs, sweeps
        The records by their tokens.
    missing
        References of the images that are not on disk.
    unfinished
        References of the runs that are left out because they have not ended.
    """

    manifest: Manifest
    clean: Callable[[str], str]
    runs: dict[str, RunRecord] = field(default_factory=dict)
    sweeps: dict[str, SweepRecord] = field(default_factory=dict)
    sources: dict[tuple[str, int], Path] = field(default_factory=dict)
    inputs: dict[str, bytes] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)


def collect(
    history: History,
    home: Path,
    runs: Sequence[tuple[RunRecord, ImageRecord | None]],
    sweeps: Sequence[SweepRecord],
) -> Collected:
    """Collect runs (each with all images, or with one) and sweeps with the runs of their cells.

    Host names and home paths in all texts are replaced.

    Parameters
    ----------
    history, home
        The history, and its home folder.
    """
    cells = {sweep.token: history.sweeps.cells(sweep.token) for sweep in sweeps}
    records: dict[str, RunRecord] = {}
    chosen: dict[str, set[int] | None] = {}  # indices of the images; None for all
    refs: dict[str, str] = {}
    for sweep in sweeps:
        for row in cells[sweep.token]:
            if row.run is not None:
                records[row.run.token], chosen[row.run.token] = row.run, None
                refs.setdefault(row.run.token, f"{sweep.ref}.{row.number}")
    for run, image in runs:
        records[run.token] = run
        indices = chosen.get(run.token, set())
        chosen[run.token] = None if image is None or indices is None else {*indices, image.index}
    collector = _Collector(history, home, cleaner([*records.values(), *sweeps], home))
    collected = collector.collected
    for token, run in records.items():
        if not run.is_settled:
            collected.unfinished.append(run.ref)
            continue
        indices = chosen[token]
        images = [image for image in run.outputs if indices is None or image.index in indices]
        collected.runs[token] = run
        collector.add_run(run, refs.get(token, run.ref), images)
    for sweep in sweeps:
        collected.sweeps[sweep.token] = sweep
        collector.add_sweep(sweep, cells[sweep.token])
    collector.finish()
    return collected


class _Collector:
    """Add runs and sweeps to a manifest one by one; `finish` adds everything that they refer to."""

    def __init__(self, history: History, home: Path, clean: Callable[[str], str]) -> None:
        self.collected = Collected(
            Manifest(format=FORMAT, version=VERSION, left_out=[], sweeps=[], runs=[], graphs={}, inputs=[]), clean
        )
        self._history = history
        self._home = home
        self._manifest = self.collected.manifest
        self._clean = clean
        self._uploads: dict[str, dict[str, str]] = {}  # identity of a service -> name of an input image there -> sha256
        self._input_names: dict[str, list[str]] = {}  # sha256 of an input image -> its names

    def add_run(self, run: RunRecord, ref: str, images: Sequence[ImageRecord]) -> None:
        error = str(run.problem) if run.problem is not None else run.reason
        self._manifest.runs.append(
            RunEntry(
                token=run.token,
                ref=ref,
                name=run.name,
                workflow=self._name(run.workflow),
                workflow_id=None if run.workflow_id is None else self._name(run.workflow_id),
                service=self._name(run.service),
                status=str(run.status),  # type: ignore[arg-type]  # never a live status
                created_at=run.created_at,
                started_at=run.started_at,
                finished_at=run.finished_at,
                params=map_texts(dict(run.params), self._clean),
                set_params=list(run.set_params),
                graph=None,
                error=None if error is None else self._text(error),
                sweep=None,
                outputs=[self._image(run, ref, image) for image in images],
            )
        )
        if run.identity not in self._uploads:
            self._uploads[run.identity] = self._history.archives.inputs(run.identity)
        uploads = self._uploads[run.identity]
        for value in run.params.values():
            if isinstance(value, str) and value in uploads:
                self._input_names.setdefault(uploads[value], []).append(value)

    def _image(self, run: RunRecord, ref: str, image: ImageRecord) -> ImageEntry:
        path = stored_file(self._home / "images", image)
        if path is None:
            self.collected.missing.append(f"{ref}[{image.index}]")
        else:
            self.collected.sources[run.token, image.index] = path
        return ImageEntry(
            index=image.index,
            node=image.node,
            node_index=image.node_index,
            format=image.format,
            file=None,
            sha256=None,
            error=None if image.error is None else self._text(image.error),
        )

    def add_sweep(self, sweep: SweepRecord, cells: Sequence[CellRecord]) -> None:
        try:
            spec = msgspec.convert(map_texts(sweep.spec, self._clean), SpecEntry)
        except msgspec.ValidationError as error:
            raise SettingsError(f"{sweep.ref} can't be saved: its axes can't be read ({error})") from None
        for name, sha256 in _input_images(sweep.spec):
            self._input_names.setdefault(sha256, []).append(name)
        saved = {run.token for run in self._manifest.runs}
        self._manifest.sweeps.append(
            SweepEntry(
                token=sweep.token,
                ref=sweep.ref,
                name=sweep.name,
                workflow=self._name(sweep.workflow),
                workflow_id=None if sweep.workflow_id is None else self._name(sweep.workflow_id),
                service=self._name(sweep.service),
                created_at=sweep.created_at,
                ended_at=_ended_at(sweep, cells),
                spec=spec,
                cells=[
                    CellEntry(
                        number=cell.number,
                        at=list(cell.at),
                        params=map_texts(dict(cell.params), self._clean),
                        run=cell.run.token if cell.run is not None and cell.run.token in saved else None,
                    )
                    for cell in cells
                ],
            )
        )

    def finish(self) -> None:
        """Add the graphs, ratings, scores and input images, and link the runs to their sweeps."""
        archives = self._history.archives
        details = archives.details([run.token for run in self._manifest.runs])
        sweeps = {sweep.token for sweep in self._manifest.sweeps}
        for run in self._manifest.runs:
            run.graph, sweep = details.get(run.token, (None, None))
            run.sweep = sweep if sweep in sweeps else None
        ratings, scores = self._history.ratings.of_runs(details), self._history.scores.of_runs(details)
        for run in self._manifest.runs:
            for image in run.outputs:
                image.ratings = [self._rating(rating) for rating in ratings.get((run.token, image.index), ())]
                image.scores = [
                    Score(
                        name=self._name(name),
                        value=score.value if score.value is not None and math.isfinite(score.value) else None,
                        error=None if score.error is None else self._text(score.error),
                    )
                    for name, score in scores.get((run.token, image.index), {}).items()
                ]
        keys = {run.graph for run in self._manifest.runs if run.graph is not None}
        self._manifest.graphs = {key: map_texts(graph, self._clean) for key, graph in archives.graphs(keys).items()}
        for identity, names in self._input_names.items():
            content = stored_input(self._home / "inputs", identity)
            if content is not None:
                self.collected.inputs[identity] = content
                clean = list(dict.fromkeys(map(self._name, names)))
                self._manifest.inputs.append(InputEntry(identity=identity, names=clean, file="", sha256=""))

    def _rating(self, rating: StoredRating) -> Rating:
        return Rating(
            source=self._name(rating.source),
            rating=rating.rating,
            rejected=rating.rejected,
            note=self._text(rating.note) if rating.note else None,
            rated_at=rating.rated_at,
        )

    def _name(self, text: str) -> str:
        return _CONTROL.sub(" ", self._clean(text)).replace("\n", " ").replace("\t", " ")[:_MAX_NAME_CHARS]

    def _text(self, text: str) -> str:
        return _CONTROL.sub(" ", self._clean(text).replace("\r\n", "\n"))[:_MAX_TEXT_CHARS]


def _ended_at(sweep: SweepRecord, cells: Sequence[CellRecord]) -> float | None:
    """Return when the last run of a sweep ended; the recorded end if a cell has no run."""
    ends = [cell.run.finished_at if cell.run is not None else None for cell in cells]
    known = [end for end in ends if end is not None]
    return max(known) if known and len(known) == len(cells) else sweep.ended_at


def _input_images(value: Any) -> list[tuple[str, str]]:
    """Return (name, sha256) of the images in the spec of a sweep."""
    match value:
        case {"image": {"name": str(name), "sha256": str(sha256)}}:
            return [(name, sha256)]
        case dict():
            return [pair for item in value.values() for pair in _input_images(item)]
        case list():
            return [pair for item in value for pair in _input_images(item)]
    return []


# -- texts ------------------------------------------------------------------------------------------------------------


def map_texts(value: Any, change: Callable[[str], str]) -> Any:
    """Apply a function to all texts of a JSON value, including keys of objects. Return the new value."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {change(key): map_texts(item, change) for key, item in value.items()}
    return [map_texts(item, change) for item in value] if isinstance(value, list) else value


def private_texts(records: Sequence[RunRecord | SweepRecord], home: Path) -> tuple[list[str], list[str]]:
    """Return the folders and the hosts that an archive must not contain."""
    folders = {str(path) for path in (home, home.absolute(), home.resolve())}
    with contextlib.suppress(RuntimeError):  # no home folder
        folders |= {str(Path.home()), str(Path.home().resolve())}
    hosts = {host for record in records for text in (record.origin, record.identity) for host in _hosts_in(text)}
    hosts.add(socket.gethostname())
    return (
        sorted((folder for folder in folders if len(Path(folder).parts) > 1), key=len, reverse=True),
        sorted((host for host in hosts if host), key=len, reverse=True),
    )


def _hosts_in(text: str) -> list[str]:
    """Return `host:port` and `host` of the addresses in an identity or an origin."""
    found = []
    for part in text.split(","):
        address = urlsplit(part.strip())
        try:
            found += [address.netloc.rpartition("@")[2], address.hostname or ""]
        except ValueError:
            continue
    return found


def cleaner(records: Sequence[RunRecord | SweepRecord], home: Path) -> Callable[[str], str]:
    """Return the function that replaces home paths by `~`, and the hosts of services by `host`."""
    folders, hosts = private_texts(records, home)
    in_folder = re.compile("|".join(f"{re.escape(folder)}(?![\\w.-])" for folder in folders)) if folders else None
    # A host with a dot or a port is replaced as a separate word, a short one such as `gpu` only in an address.
    distinctive = [re.escape(host) for host in hosts if "." in host or ":" in host]
    short = [re.escape(host) for host in hosts if "." not in host and ":" not in host]
    parts = []
    if distinctive:
        parts.append(rf"(?<![\w.-])(?:{'|'.join(distinctive)})(?![\w-]|\.\w)")
    if short:
        parts.append(rf"(?<=[/@])(?:{'|'.join(short)})(?![\w.-])|(?<![\w.-])(?:{'|'.join(short)})(?=:[0-9])")
    of_host = re.compile("|".join(parts), re.IGNORECASE) if parts else None

    def clean(text: str) -> str:
        if in_folder is not None:
            text = in_folder.sub("~", text)
        return text if of_host is None else of_host.sub("host", text)

    return clean
