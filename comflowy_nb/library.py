"""Library: the history and the images of one home folder, with no service in sight."""

from __future__ import annotations

import os
import threading
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Unpack

from comflowy_nb.database.records import SweepRecord
from comflowy_nb.database.references import parse_ref
from comflowy_nb.database.runs import History
from comflowy_nb.errors import RefError
from comflowy_nb.settings import home
from comflowy_nb.tracking.run import Run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from comflowy_nb.database.records import ImageRecord, RunRecord
    from comflowy_nb.database.references import Ref
    from comflowy_nb.database.search import Filters
    from comflowy_nb.status import Status
    from comflowy_nb.sweeps.sweep import Sweep
    from comflowy_nb.tracking.run import RunImage
    from comflowy_nb.workflow.graph import Graph, Made

__all__ = ["Found", "Library", "find", "open_library", "runs"]


@dataclass(frozen=True, slots=True)
class Found:
    """What a reference names: a run, and one of its images if it says which; or a sweep."""

    what: Run | SweepRecord
    image: RunImage | None = None

    @property
    def sweep(self) -> SweepRecord | None:
        return self.what if isinstance(self.what, SweepRecord) else None

    @property
    def run(self) -> Run:
        """The run.

        Raises
        ------
        RefError
            If it is a sweep, for whoever can do something with a run alone.
        """
        if isinstance(self.what, SweepRecord):
            raise RefError(f"{_describe(self.what)}; a run of it is {self.what.ref}.1")
        return self.what


class Library:
    """Runs and sweeps of the past, by reference or by search, with their images.

    Parameters
    ----------
    folder
        The home folder. Nothing is made or opened before it is needed.
    """

    def __init__(self, folder: Path) -> None:
        self.home = folder
        self.folder = folder / "images"
        self.locks = folder / "locks"
        self.inputs = folder / "inputs"
        self.recent: dict[str, None] = {}  # tokens of this process's runs and sweeps, newest last; of no cell
        self._history: History | None = None
        self._lock = threading.Lock()

    @property
    def history(self) -> History:
        with self._lock:
            if self._history is not None:
                return self._history
            history = self._history = History.open(self.home)
        for remark in history.remarks:
            warnings.warn_explicit(remark, UserWarning, "comflowy_nb", 1)  # a warning of a real file shows its path
        return history

    def leave_to_parent(self) -> None:
        """Start afresh in a forked child, where no thread is left that could give up the lock."""
        self._lock = threading.Lock()

    def close(self) -> None:
        with self._lock:
            if self._history is not None:
                self._history.close()
                self._history = None

    def touch(self, newest: Run | SweepRecord) -> None:
        """Make a run or a sweep this process's newest: what `last` means."""
        with self._lock:
            self.recent.pop(newest.token, None)
            self.recent[newest.token] = None

    # -- finding ------------------------------------------------------------------------------------------------

    def run(self, record: RunRecord) -> Run:
        """The run of a record, to be looked at."""
        return Run(record, self)

    def find(self, ref: str) -> Found:
        """The run, and the image if one is named, or the sweep that a reference means.

        Raises
        ------
        RefError
            If it names nothing.
        """
        parsed = parse_ref(ref)
        record = self._record(parsed)
        if isinstance(record, SweepRecord):
            if parsed.is_image:
                raise RefError(f"{_describe(record)}; the first image of one is {record.ref}.1[0]")
            return Found(record)
        run = self.run(record)
        return Found(run, pick_image(run, parsed))

    def maker_of(self, path: Path) -> tuple[Made | None, Graph | None]:
        """What made an image file; see `recipe.maker_of`."""
        from comflowy_nb.recipe import maker_of  # noqa: PLC0415 - only for files

        return maker_of(path, self)

    def sweep(self, record: SweepRecord, run_of: Callable[[RunRecord], Run] | None = None) -> Sweep:
        """The sweep of a record, to be looked at; `run_of` gives the runs of its cells, else they are looked at too."""
        from comflowy_nb.sweeps.sweep import sweep_of  # noqa: PLC0415 - only for sweeps

        history = self.history
        is_sent = bool(history.senders.living(record.token))  # before the cells are read
        sweep = sweep_of(record, history.sweeps.cells(record.token), library=self, run_of=run_of or self.run)
        sweep.is_sent_elsewhere = is_sent
        return sweep

    def runs(
        self,
        text: str | None = None,
        *,
        since: float | None = None,
        status: Status | str | None = None,
        workflow: str | None = None,
        limit: int | None = 20,
        **params: Any,
    ) -> list[Run]:
        """Runs of the past, newest first: `runs("galaxy", cfg=7, status="success")`; see `search`."""
        return self.search(text, params=params, since=since, status=status, workflow=workflow, limit=limit)

    def search(self, text: str | None = None, **filters: Unpack[Filters]) -> list[Run]:
        """Runs of the past, newest first; a field may be called as one of the filters."""
        return [self.run(record) for record in self.history.search(text, **filters)]

    # -- what a run asks of its follower ------------------------------------------------------------------------

    def image_path(self, image: ImageRecord) -> Path:
        from comflowy_nb.images.store import image_path  # noqa: PLC0415 - loads Pillow

        return image_path(self.folder, image)

    def kept_input(self, content_sha256: str) -> bytes | None:
        """The content of an image that was handed over to a service once; None where it is not there."""
        from comflowy_nb.tracking.submit import kept_input  # noqa: PLC0415 - only where somebody wants one

        return kept_input(self.inputs, content_sha256)

    def thumbnail_path(self, image: ImageRecord, size_px: int) -> Path:
        """A JPEG of the image within 512 or 256 px."""
        from comflowy_nb.images.store import thumbnail_path  # noqa: PLC0415 - loads Pillow

        return thumbnail_path(self.folder, image, size_px)

    def save(self, run: Run, folder: Path, *, only: ImageRecord | None = None) -> list[Path]:
        """Write copies of a run's images, or of one, with readable names; see `runs.save`."""
        from comflowy_nb.images.save import save_run  # noqa: PLC0415 - loads Pillow

        return save_run(run.record, self.folder, folder, only=only)

    def save_sweep(self, sweep: Sweep, folder: Path) -> list[Path]:
        """Write copies, a contact sheet and a JSON of a sweep; see `runs.save_sweep`."""
        from comflowy_nb.sweeps.save import save_sweep  # noqa: PLC0415 - loads Pillow

        return save_sweep(sweep, self.folder, folder)

    def cancel(self, run: Run) -> None:
        raise RefError(f"{run.ref} is followed by no connection here; connect first, then %comflowy cancel {run.ref}")

    # -- inside -------------------------------------------------------------------------------------------------

    def _record(self, ref: Ref) -> RunRecord | SweepRecord:
        found = self._named(ref)
        if isinstance(found, SweepRecord) and ref.cell is not None:
            return self._run_of_cell(found, ref.cell)
        if found is not None and ref.cell is None:
            return found
        record = self.history.by_service_id(ref.text) if ref.run in {"name", "id"} else None
        if record is not None:
            return record
        if found is not None:
            raise RefError(f"{ref.whole} is the run {found.ref}, and only a sweep has cells")
        if ref.run == "sweep":
            raise RefError(f"there is no sweep s{ref.number}")
        raise RefError(f"there is no run {ref.text}; %comflowy runs lists them")

    def _named(self, ref: Ref) -> RunRecord | SweepRecord | None:
        """The run or the sweep, whichever cell of it is meant; nothing for the id of a service."""
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
            raise RefError(f"{sweep.ref}.{number} was not submitted; run the cell of the sweep again to submit it")
        return cell.run

    def _last(self, back: int) -> RunRecord | SweepRecord | None:
        with self._lock:
            recent = list(self.recent)[::-1]
        if back < len(recent):
            return self.history.get(recent[back]) or self.history.sweeps.get(recent[back])
        return self.history.last(back=back - len(recent), without=recent)


def _describe(sweep: SweepRecord) -> str:
    return f"{sweep.ref} is a sweep of {sweep.count} cell{'s' * (sweep.count != 1)}"


def pick_image(run: Run, ref: Ref) -> RunImage | None:
    """The image of a run that a reference names.

    Raises
    ------
    RefError
        If the run has no such image.
    """
    if ref.image is None:
        return None
    if ref.node is None:
        return run.images[ref.image]
    images = run.images.of(ref.node)
    if ref.image >= len(images):
        count = len(images)
        raise RefError(f"node {ref.node} of {run.ref} has {count} image{'s' * (count != 1)}, so no [{ref.image}]")
    return images[ref.image]


_libraries: dict[Path, Library] = {}
_opening = threading.Lock()


def open_library() -> Library:
    """The library of the home folder, one for the process."""
    folder = home().absolute()
    with _opening:
        if folder not in _libraries:
            _libraries[folder] = Library(folder)
        return _libraries[folder]


def _after_fork_in_child() -> None:
    global _opening  # noqa: PLW0603 - a thread that is not here may hold it
    _opening = threading.Lock()
    for library in _libraries.values():
        library.leave_to_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def find(ref: str) -> Found:
    """What a reference names in the home folder's history, with no connection; see `Library.find`."""
    return open_library().find(ref)


def runs(text: str | None = None, **filters: Any) -> list[Run]:
    """Runs of the home folder's history, newest first, with no connection; see `Library.runs`."""
    return open_library().runs(text, **filters)
