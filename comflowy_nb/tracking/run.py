"""Run: one submission, its status and its images."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from comflowy_nb.database.process_locks import check_not_forked
from comflowy_nb.database.records import ImageRecord, RunChanges, RunRecord, apply, newest
from comflowy_nb.errors import RefError, SettingsError
from comflowy_nb.images.save_target import kind_of_target, target_path
from comflowy_nb.status import Status
from comflowy_nb.tracking.reviews import best_rating
from comflowy_nb.tracking.run_events import Reported
from comflowy_nb.tracking.run_images import Images, RunImage
from comflowy_nb.tracking.scoring import Scorable
from comflowy_nb.tracking.waitable import Waitable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from comflowy_nb.database.runs import History
    from comflowy_nb.services.types import Progress
    from comflowy_nb.status import StatusEvent

__all__ = ["ImageRecord", "Images", "Run", "RunImage", "RunRecord"]


class Run(Waitable["Run"], Scorable, Reported):
    """One submission of a workflow.

    Get one from `Client.run`, `Client.submit`, `Client.runs` or `history.runs`. A run from a client is updated while
    it is live; a run from `history` is not.

    Parameters
    ----------
    record : RunRecord
        The record of the run in the history. The attribute `record` is replaced as a whole at every change.
    images_folder : pathlib.Path, optional
        The folder of the images, to read and save them.
    cancel : callable, optional
        Called with this run to cancel it. None for a run that is not tracked, such as one from `history`.
    history : History, optional
        The history, where the ratings and the scores of the images are stored.

    Examples
    --------
    >>> run = client.run("default", {"width": 64, "height": 64, "seed": 7})
    >>> run
    <Run r... 'default' success ... s>
    >>> run.status, run.params["3::seed"]
    (<Status.SUCCESS: 'success'>, 7)
    >>> run.images[0].pil().size
    (64, 64)
    """

    def __init__(
        self,
        record: RunRecord,
        images_folder: Path | None = None,
        *,
        cancel: Callable[[Run], None] | None = None,
        history: History | None = None,
    ) -> None:
        super().__init__()
        Reported.__init__(self)
        self.record = record
        self.started_clock_s = time.monotonic()  # for the elapsed time while live
        self.rejects_all = False  # the service would reject every other run too: an invalid key, no credit
        self.is_deleted = False  # its row and its files were deleted
        self.resubmits_lost = False  # its service is free, and certainly does not execute a lost run
        self.record_lock = threading.RLock()  # held from a write to the history to the `update` that follows it
        # Not written to the history yet: events in order, and images by index. Protected by `record_lock`.
        self.unwritten: list[tuple[StatusEvent, RunChanges]] = []
        self.unwritten_images: dict[int, ImageRecord] = {}
        self._images_folder = images_folder
        self._cancel = cancel
        self.history = history
        self._progress: Progress | None = None
        self._warning: str | None = None

    # -- the record -----------------------------------------------------------------------------------------------

    @property
    def token(self) -> str:
        """Our own id of the run, a uuid4."""
        return self.record.token

    @property
    def number(self) -> int:
        """Number of the run in the history: 41 for `r41`."""
        return self.record.number

    @property
    def ref(self) -> str:
        """Reference of the run, such as `r41`."""
        return self.record.ref

    @property
    def workflow(self) -> str:
        """Name of the workflow."""
        return self.record.workflow

    @property
    def params(self) -> dict[str, Any]:
        """The values as submitted, by field id (`3::cfg`)."""
        return dict(self.record.params)

    @property
    def status(self) -> Status:
        """Status of the run at the newest check; see `Status`. `events` may be newer while webhooks report them."""
        return self.record.status

    @property
    def is_settled(self) -> bool:
        """Whether the status is final or held, and every image is downloaded or given up."""
        return self.record.is_settled

    @property
    def service_status(self) -> str | None:
        """The status as the service wrote it, or None before its first report."""
        return self.record.service_status

    @property
    def service_word(self) -> str | None:
        """Another name of `service_status`."""
        return self.record.service_status

    @property
    def error(self) -> str | None:
        """Why the run did not succeed, in one line, or None."""
        return str(self.record.problem) if self.record.problem is not None else self.record.reason

    @property
    def seconds(self) -> float | None:
        """Execution time in seconds; None before the end.

        The start of the execution is reported by the service, or is the time when the status `running` was first seen.
        If the start is not known (`queued_s` is None), this is the time from the submit to the end.
        """
        return self.record.seconds

    @property
    def queued_s(self) -> float | None:
        """Seconds from the submit to the start of the execution; None if the start is not known."""
        return self.record.queued_s

    @property
    def is_submitted_again(self) -> bool:
        """Whether the same request submits this run again without an option: the run is lost, its service is free."""
        return self.resubmits_lost and self.status is Status.LOST

    @property
    def progress(self) -> Progress | None:
        """The newest progress that the service reported, or None."""
        return self._progress

    @property
    def warning(self) -> str | None:
        """Why the status can't be read, written or changed now, or None."""
        return self._warning

    @property
    def images(self) -> Images:
        """The still images of the run, as a sequence of `RunImage`."""
        return Images(self.ref, [self._output(image) for image in self.record.images])

    @property
    def files(self) -> list[RunImage]:
        """The other outputs: animations, videos, sounds, texts; each with `.path` and `.bytes`."""
        return [self._output(output) for output in self.record.files]

    def _output(self, output: ImageRecord) -> RunImage:
        return RunImage(self, output, self._images_folder)

    def _named_images(self) -> list[tuple[str, RunImage]]:
        return [(image.ref, image) for image in self.images]

    @property
    def rating(self) -> int | None:
        """The best rating of its images that are not rejected, 1 to 5; None if none is rated. Read at each use."""
        return best_rating(self.images)

    # -- actions --------------------------------------------------------------------------------------------------

    def cancel(self) -> None:
        """Ask the service to cancel the run.

        This returns at once. `status` becomes `cancelled` when the service confirms it; `wait` waits for that. If the
        service cannot cancel, `warning` says so and the run continues.

        Raises
        ------
        RefError
            If the run was read from the history, or submitted to another service than the connected one.
        ComflowyError
            If this process was forked from the process that tracks the run.

        Examples
        --------
        >>> run = client.submit("default", {"width": 64, "height": 64, "seed": 8}).run
        >>> run.cancel()
        >>> run.wait().status.is_final
        True
        """
        if self._cancel is None:
            raise RefError(f"no connection tracks {self.ref} here; connect first, then %comflowy cancel {self.ref}")
        check_not_forked(self._process, self.ref)
        self._cancel(self)

    def save(self, folder: str | Path, *, without: str | Iterable[str] = ()) -> list[Path]:
        """Write copies of the images with readable names, and the params in the text chunks of PNG files.

        Parameters
        ----------
        folder : str or pathlib.Path
            A folder, or for a run with one image the name of an image file of its format (`NAME.png`). `NAME.zip` is
            an archive that `comflowy_nb.load` adds to another history: the images byte for byte, and everything that
            is known about the run. `comflowy_nb.save` also writes pages and figures.
        without : str or iterable of str, optional
            For `NAME.zip`: parts to leave out, of prompts, seeds, notes, workflow, inputs and metadata.

        Returns
        -------
        list of pathlib.Path
            The files that were written.

        Raises
        ------
        SettingsError
            If `folder` is the name of a file that can't hold the images, or a part is unknown.
        ImageError
            If an image is not on disk, or can't be written.

        Examples
        --------
        >>> run.save("copies")
        [...Path('copies/r....png')]
        """
        return self.save_images(folder, without=without)

    def save_images(
        self, target: str | Path, *, without: str | Iterable[str] = (), only: ImageRecord | None = None
    ) -> list[Path]:
        """Write copies of the images, or of one; see `save`.

        Parameters
        ----------
        target : str or pathlib.Path
            As for `save`.
        without : str or iterable of str, optional
            As for `save`.
        only : ImageRecord, optional
            The image; all by default.

        Returns
        -------
        list of pathlib.Path
            The files that were written.

        Raises
        ------
        SettingsError, ImageError
            As for `save`.

        Examples
        --------
        >>> run.save_images("only-one", only=run.record.images[0])
        [...Path('only-one/r....png')]
        """
        from comflowy_nb.images.save import save_run  # noqa: PLC0415 - loads Pillow

        if self._images_folder is None:
            raise RefError(f"{self.ref} has no image folder")
        path = target_path(target)
        kind = kind_of_target(path)
        if kind == "zip" and self.history is not None:
            from comflowy_nb.archive.redaction import parse_parts  # noqa: PLC0415 - only for archives
            from comflowy_nb.archive.writer import Archive  # noqa: PLC0415 - as above

            home, parts = self._images_folder.parent, parse_parts(without)
            return [Archive(self.history, home, [(self.record, only)], [], parts).write(path)]
        if kind not in {"folder", "image"} or without:
            raise SettingsError(
                f"to save {self.ref} to {path.name}{' without some parts' if without else ''}, use "
                f'comflowy_nb.save("{self.ref}", "{path.name}")'
            )
        return save_run(self.record, self._images_folder, path, only=only)

    def _timeout_text(self, timeout: float) -> str:
        return f"{self.ref} is not done after {timeout:g} s (status {self.status}) and continues"

    # -- for the tracker ------------------------------------------------------------------------------------------

    def update(self, read: RunRecord) -> None:
        """Apply a record of the history, and call the listeners if it changes the run.

        The status never returns to an earlier one.

        Parameters
        ----------
        read : RunRecord
            The record. Changes that are not yet in the history are added to it.
        """
        with self._changed:
            record = self.with_unwritten(read)
            warning = self._warning if self.unwritten or self.unwritten_images else None  # about the history
            if record == self.record and warning == self._warning:
                return
            self.record = record
            self._warning = warning
            if self._progress is not None:
                self._set_progress(self._progress)
            self._changed.notify_all()
        self._call_listeners(self)

    def with_unwritten(self, read: RunRecord) -> RunRecord:
        """Return the newer of the current record and `read`, with the changes that are not yet in the history.

        Parameters
        ----------
        read : RunRecord
            A record of the history.

        Returns
        -------
        RunRecord
            The newer record, with these changes.
        """
        for event, changes in self.unwritten:
            read = apply(read, event, **changes) or read
        record = newest(self.record, read)
        if not self.unwritten_images:
            return record
        return record.with_outputs(self.unwritten_images.get(output.index, output) for output in record.outputs)

    def report(self, *, progress: Progress | None = None, warning: str | None = None) -> None:
        """Set the progress and the warning, and call the listeners.

        Parameters
        ----------
        progress : Progress, optional
            The new progress. By default it is unchanged.
        warning : str, optional
            The new warning. By default the old one is removed.
        """
        with self._changed:
            # A position in the queue that was read before the run began is out of date.
            has_begun = self._progress is not None and self._progress.ahead is None
            if progress is not None and not (has_begun and progress.ahead is not None):
                self._set_progress(progress)
            self._warning = warning
            self._changed.notify_all()
        self._call_listeners(self)

    def _set_progress(self, progress: Progress) -> None:
        is_over = progress.preview is not None and not self.status.is_live
        self._progress = replace(progress, preview=None) if is_over else progress

    def __repr__(self) -> str:
        record = self.record
        parts = [record.ref, repr(record.name or record.workflow), str(record.status)]
        progress = self._progress
        if record.status is Status.RUNNING and progress and progress.max:
            parts.append(f"{progress.value or 0:g}/{progress.max:g}")
        seconds = record.seconds
        if seconds is None and record.status.is_live:
            seconds = time.monotonic() - self.started_clock_s
        if seconds is not None:
            parts.append(f"{seconds:.1f} s")
        return f"<Run {' '.join(parts)}>"
