"""Library: the runs, sweeps and images of a home folder, without a connection."""

from __future__ import annotations

import os
import threading
import time
import warnings
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Unpack

from comflowy_nb.database.records import SweepRecord
from comflowy_nb.database.references import parse_ref
from comflowy_nb.database.runs import History
from comflowy_nb.errors import RefError, SettingsError, counted, nearest_tip
from comflowy_nb.settings import expand_home, home
from comflowy_nb.tracking.run import Run
from comflowy_nb.workflow.files import is_file_name, no_such_file

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import timedelta
    from pathlib import Path

    from comflowy_nb.archive.loader import Loaded
    from comflowy_nb.database.queries.search import Filters
    from comflowy_nb.database.records import RunRecord
    from comflowy_nb.database.references import Ref
    from comflowy_nb.images.delete import Deleted
    from comflowy_nb.images.disk_usage import DiskUsage
    from comflowy_nb.images.prune import Pruned
    from comflowy_nb.sweeps.sweep import Sweep
    from comflowy_nb.tracking.run import RunImage
    from comflowy_nb.workflow.graph import Graph, InEditorFormat


_MAX_COMPARED_NAMES = 200  # names of runs to compare with an unknown name


@dataclass(frozen=True, slots=True)
class Found:
    """The run, image or sweep of a reference. `history.find` and `Client.find` return it.

    Parameters
    ----------
    what : Run or SweepRecord
        The run, or the record of the sweep in the history.
    image : RunImage, optional
        The image, if the reference names one.

    Examples
    --------
    >>> found = comflowy_nb.history.find("cat[0]")
    >>> found.run.params["3::cfg"], found.image.pil().size
    (7.0, (64, 64))
    """

    what: Run | SweepRecord
    image: RunImage | None = None

    @property
    def sweep(self) -> SweepRecord | None:
        """The sweep; None for a run."""
        return self.what if isinstance(self.what, SweepRecord) else None

    @property
    def run(self) -> Run:
        """The run.

        Raises
        ------
        RefError
            If the reference names a sweep.
        """
        if isinstance(self.what, SweepRecord):
            raise RefError(f"{_describe(self.what)}; a run of it is {self.what.ref}.1")
        return self.what


class Library:
    """The runs and sweeps of a home folder, by reference or by search, with their images.

    Parameters
    ----------
    folder
        The home folder. The history is created or opened at its first use.

    Attributes
    ----------
    home, folder, locks, inputs
        The home folder, and its folders of images, of lock files and of uploaded images.
    recent
        Tokens of the runs and sweeps of this process, newest last, without the runs of sweeps.
    """

    def __init__(self, folder: Path) -> None:
        self.home = folder
        self.folder = folder / "images"
        self.locks = folder / "locks"
        self.inputs = folder / "inputs"
        self.recent: dict[str, None] = {}  # a dict keeps the order
        self.convert: Callable[[InEditorFormat], Graph] | None = None  # set if the service runs graphs
        self._history: History | None = None
        self._lock = threading.Lock()

    @property
    def history(self) -> History:
        """The history, which is opened at the first use.

        Raises
        ------
        HistoryError
            If it can't be opened.
        """
        with self._lock:
            if self._history is not None:
                return self._history
            history = self._history = History.open(self.home)
        for text in history.warnings:
            warnings.warn_explicit(text, UserWarning, "comflowy_nb", 1)  # `warnings.warn` would show the path of a file
        return history

    def reset_after_fork(self) -> None:
        """Reset the lock and the converter in a forked child, which does not have the threads of its parent."""
        self._lock = threading.Lock()
        self.convert = None

    def close(self) -> None:
        """Close the history; the next use opens it again."""
        with self._lock:
            if self._history is not None:
                self._history.close()
                self._history = None

    def set_newest(self, newest: Run | SweepRecord) -> None:
        """Make a run or a sweep the newest one of this process, so that `last` refers to it."""
        with self._lock:
            self.recent.pop(newest.token, None)
            self.recent[newest.token] = None

    # -- finding ------------------------------------------------------------------------------------------------

    def run(self, record: RunRecord) -> Run:
        """Return a run of the history, which is not tracked."""
        return Run(record, self.folder, history=self.history)

    def find(self, ref: str) -> Found:
        """Return the run, image or sweep of a reference; see `history.find`."""
        parsed, record = self._look_up(ref)
        if isinstance(record, SweepRecord):
            if parsed.image is not None:
                raise RefError(f"{_describe(record)}; the first image of one is {record.ref}.1[0]")
            return Found(record)
        run = self.run(record)
        return Found(run, _image_of(run, parsed))

    def sweep(self, record: SweepRecord, run_of: Callable[[RunRecord], Run] | None = None) -> Sweep:
        """Return a sweep of the history. `run_of` makes the Run of a record; by default the runs are not tracked."""
        from comflowy_nb.sweeps.stored_sweep import sweep_of  # noqa: PLC0415 - only for sweeps

        history = self.history
        is_submitted = bool(history.senders.live_owners(record.token))  # before the cells are read
        sweep = sweep_of(record, history.sweeps.cells(record.token), library=self, run_of=run_of or self.run)
        sweep.is_submitted_elsewhere = is_submitted
        return sweep

    def runs(self, text: str | None = None, **filters: Unpack[Filters]) -> list[Run]:
        """Return the runs that match, newest first; see `history.runs`."""
        return [self.run(record) for record in self.history.search(text, **filters)]

    # -- cleaning up --------------------------------------------------------------------------------------------

    def disk(self) -> DiskUsage:
        """Return the disk usage of the home folder; see `history.disk`."""
        from comflowy_nb.images.disk_usage import PRUNED_BY_DEFAULT_S, measure_disk  # noqa: PLC0415 - only for `disk`
        from comflowy_nb.images.prune import prunable  # noqa: PLC0415 - loads Pillow

        found = prunable(self.history, self.folder, before=time.time() - PRUNED_BY_DEFAULT_S)
        return measure_disk(self.home, self.history.cleanup, prunable=found.images)

    def prune(
        self,
        older: float | timedelta,
        *,
        all: bool = False,  # noqa: A002 - the name of the option
        dry_run: bool = False,
        confirm: Callable[[Pruned], bool] | None = None,
    ) -> Pruned:
        """Remove the originals of earlier runs; see `history.prune`."""
        from comflowy_nb.images.prune import prune  # noqa: PLC0415 - loads Pillow

        return prune(self.history, self.folder, older, all=all, dry_run=dry_run, confirm=confirm)

    def delete(
        self, *refs: str | Run | Sweep, dry_run: bool = False, confirm: Callable[[Deleted], bool] | None = None
    ) -> Deleted:
        """Delete runs and sweeps with their images; see `history.delete`."""
        from comflowy_nb.images.delete import delete  # noqa: PLC0415 - only for `delete`

        runs: dict[str, str | None] = {}
        sweeps: dict[str, SweepRecord] = {}
        for ref in refs:
            text = ref if isinstance(ref, str) else getattr(ref, "ref", None)
            if not isinstance(text, str):
                raise RefError(f'{ref!r} is not a run, a sweep or a reference: use delete("r41")')
            parsed, found = self._look_up(text)
            if parsed.image is not None:
                raise RefError(f"a single image can't be deleted; to delete its run: %comflowy delete {parsed.text}")
            if isinstance(found, SweepRecord):
                sweeps[found.token] = found
            else:
                of_cell = self._find(parsed) if parsed.cell is not None else None
                runs[found.token] = None if of_cell is None else of_cell.token
        deleted = delete(self.history, self.folder, runs, list(sweeps.values()), dry_run=dry_run, confirm=confirm)
        if deleted.is_done:
            with self._lock:
                for token in deleted.tokens:
                    self.recent.pop(token, None)
        return deleted

    # -- sharing ------------------------------------------------------------------------------------------------

    def load(self, path: str | Path, *, by: str | None = None) -> Loaded:
        """Load an archive or a file of ratings; see `history.load`.

        Parameters
        ----------
        path : str or pathlib.Path
            The file.
        by : str, optional
            The name of the sender.

        Returns
        -------
        Loaded
            References and counts of the new records.
        """
        from comflowy_nb.archive.loader import load_archive  # noqa: PLC0415 - loads Pillow
        from comflowy_nb.archive.ratings_file import load_ratings  # noqa: PLC0415 - as above

        file = load_path(path)
        if file.suffix.lower() == ".json":
            return load_ratings(file, self.history, source=by)
        loaded = load_archive(file, self.history, self.home, source=by)
        for ref in [*loaded.runs[-1:], *loaded.sweeps[-1:]]:
            self.set_newest(self._record(parse_ref(ref)))  # type: ignore[arg-type]  # a record has a token too
        return loaded

    # -- references ---------------------------------------------------------------------------------------------

    def _look_up(self, text: str) -> tuple[Ref, RunRecord | SweepRecord]:
        """Parse a reference, and return it with its run, image or sweep."""
        try:
            ref = parse_ref(text)
            return ref, self._record(ref)
        except RefError as error:
            if isinstance(text, str) and is_file_name(text):
                raise RefError(_of_file(text)) from error
            raise

    def _record(self, ref: Ref) -> RunRecord | SweepRecord:
        found = self._find(ref)
        if isinstance(found, SweepRecord) and ref.cell is not None:
            return self._run_of_cell(found, ref.cell)
        if found is not None and ref.cell is None:
            return found
        record = self.history.by_service_id(ref.text) if ref.run in {"name", "id"} else None
        if record is not None:
            return record
        if found is not None:
            raise RefError(f"{ref.whole} is the run {found.ref}, and only a sweep has cells")
        raise RefError(self._no_such(ref))

    def _no_such(self, ref: Ref) -> str:
        """Return the error for a reference without a run or a sweep."""
        history = self.history
        if ref.run in {"number", "sweep"} and (history.sweeps if ref.run == "sweep" else history).had(ref.number):
            what = "runs and their images" if ref.run == "sweep" else "images"
            return f"{ref.whole} was deleted, with its {what}: it can't be shown or fetched again"
        if ref.run == "sweep":
            newest = history.sweeps.recent(1)
            return f"there is no sweep s{ref.number}" + (f"; the newest is {newest[0].ref}" if newest else "")
        if ref.run in {"number", "last"}:
            return f"there is no run {ref.text}; %comflowy runs lists them"
        recent = [*history.recent(_MAX_COMPARED_NAMES), *history.sweeps.recent(_MAX_COMPARED_NAMES)]
        tip = nearest_tip(ref.whole, [record.name for record in recent if record.name])
        return f"there is no run {ref.text}{tip or ';'} %comflowy runs lists them"

    def _find(self, ref: Ref) -> RunRecord | SweepRecord | None:
        """Return the run or sweep of a reference, without its cell; None for an id of a service."""
        history = self.history
        if ref.run == "number":
            return history.by_number(ref.number)
        if ref.run == "sweep":
            return history.sweeps.by_number(ref.number)
        if ref.run == "last":
            return self._last(ref.back)
        return history.by_name(ref.whole) or history.sweeps.by_name(ref.whole) if ref.run == "name" else None

    def _run_of_cell(self, sweep: SweepRecord, number: int) -> RunRecord:
        cell = self.history.sweeps.cell(sweep.token, number)
        if cell is None:
            raise RefError(f"{_describe(sweep)}, so there is no {sweep.ref}.{number}")
        if cell.run is None:
            from comflowy_nb.sweeps.cell import no_run_text  # noqa: PLC0415 - only for sweeps

            raise RefError(no_run_text(f"{sweep.ref}.{number}"))
        return cell.run

    def _last(self, back: int) -> RunRecord | SweepRecord | None:
        history = self.history
        with self._lock:
            recent = list(self.recent)[::-1]
        for token in recent:
            found = history.get(token) or history.sweeps.get(token)  # None: another process has deleted it
            if found is not None and back == 0:
                return found
            back -= found is not None
        last = history.last(back=back, without=recent)
        return None if last is None else history.get(last) or history.sweeps.get(last)


def _of_file(name: str) -> str:
    """Return the error for the name of a file in place of a run."""
    with suppress(OSError):  # too long
        if expand_home(name).is_file():
            return f"{name!r} is a file; use a run or a sweep, such as r41. %comflowy runs lists them"
    return no_such_file(name, "file or run")


def _describe(sweep: SweepRecord) -> str:
    return f"{sweep.ref} is a sweep of {counted(sweep.count, 'cell')}"


def _image_of(run: Run, ref: Ref) -> RunImage | None:
    """Return the image of a run that a reference names; raise a RefError if there is no such image."""
    if ref.image is None:
        return None
    if ref.node is None:
        return run.images[ref.image]
    images = run.images.of(ref.node)
    if ref.image >= len(images):
        count = len(images)
        nodes = ", ".join(dict.fromkeys(image.node for image in run.images if image.node))
        which = f"; {run.ref} has images of node {nodes}" if nodes and not count else ""
        has = f"node {ref.node} of {run.ref} has {count or 'no'} image{'s' * (count != 1)}"
        raise RefError(f"{has}, so there is no [{ref.image}]{which}")
    return images[ref.image]


def load_path(path: object) -> Path:
    """Return the path of a file to load.

    Raises
    ------
    SettingsError
        If it is not a path, or has another suffix than `.zip` and `.json`.
    """
    text = os.fspath(path) if isinstance(path, str | os.PathLike) else None
    file = expand_home(text) if isinstance(text, str) else None
    if file is None or file.suffix.lower() not in {".zip", ".json"}:
        raise SettingsError(f"can't load {path!r}: use a zip file that save has written, or a file ratings.json")
    return file


_libraries: dict[Path, Library] = {}
_opening = threading.Lock()


def open_library(folder: Path | None = None) -> Library:
    """Return the library of a home folder, by default `home()`. Each folder has only one object."""
    folder = (home() if folder is None else folder).absolute()
    with _opening:
        if folder not in _libraries:
            _libraries[folder] = Library(folder)
        return _libraries[folder]


def _after_fork_in_child() -> None:
    global _opening  # noqa: PLW0603 - a thread of the parent may hold it
    _opening = threading.Lock()
    for library in _libraries.values():
        library.reset_after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
