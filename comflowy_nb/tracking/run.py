"""Run: one submission, where it stands and what came of it."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, overload

from comflowy_nb.database.process_locks import check_not_forked
from comflowy_nb.database.records import ImageRecord, RunChanges, RunRecord, apply, newest
from comflowy_nb.errors import ImageError, RefError, RunTimeout
from comflowy_nb.status import Status
from comflowy_nb.tracking.listeners import Listeners
from comflowy_nb.workflow.images import assert_decodable, open_image_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import numpy as np
    from PIL import Image

    from comflowy_nb.services.base import Progress
    from comflowy_nb.status import StatusEvent

__all__ = ["Follower", "ImageRecord", "Images", "Run", "RunImage", "RunRecord"]


class Follower(Protocol):
    """Who acts for a run: the client that owns or watches it."""

    def cancel(self, run: Run) -> None: ...

    def save(self, run: Run, folder: Path) -> list[Path]: ...

    def image_path(self, image: ImageRecord) -> Path: ...


class RunImage:
    """One image of a run, read from disk when asked for."""

    def __init__(self, run: Run, record: ImageRecord, path: Path | None) -> None:
        self._run = run
        self.record = record
        self._path = path

    @property
    def run(self) -> Run:
        """The run it is an image of."""
        return self._run

    @property
    def path(self) -> Path:
        """The original on disk.

        Raises
        ------
        ImageError
            If it isn't there; the text says what to type next.
        """
        if self._path is None or not self._path.exists():
            why = f" ({self.record.error})" if self.record.error and self.record.state == "missing" else ""
            raise ImageError(
                f"the image {self.ref} is not on disk{why}; %comflowy show {self._run.ref} fetches it again"
            )
        return self._path

    def thumbnail(self, size_px: int) -> Path:
        """A JPEG of it within 512 or 256 px, made again if it is gone.

        Raises
        ------
        ImageError
            If neither it nor the image is on disk.
        """
        from comflowy_nb.images.store import thumbnail_path  # noqa: PLC0415 - loads Pillow

        if self._path is None or not self.record.file:
            return self.path  # raises, and says what to type
        folder = self._path.parents[self.record.file.count("/")]
        try:
            return thumbnail_path(folder, self.record, size_px)
        except ImageError:  # no room for one, or nothing to make it from
            return self.path

    @property
    def ref(self) -> str:
        """How a person names it: `r41[0]`."""
        return f"{self._run.ref}[{self.record.index}]"

    @property
    def bytes(self) -> bytes:
        return self.path.read_bytes()

    @property
    def node(self) -> str | None:
        return self.record.node

    def pil(self) -> Image.Image:
        """The image as a PIL image, decoded.

        Raises
        ------
        ImageError
            If it is not on disk, or has more pixels than `image_max_px`.
        """
        image = open_image_file(self.path)
        assert_decodable(image, self.ref)
        image.load()
        return image

    def array(self) -> np.ndarray[Any, Any]:
        """The image as an array, height x width x channels, uint8."""
        import numpy as np  # noqa: PLC0415 - heavy

        return np.asarray(self.pil())

    def __repr__(self) -> str:
        size = f" {self.record.width_px}x{self.record.height_px}" if self.record.width_px else ""
        return f"<RunImage {self.ref}{size} {self.record.state}>"


class Images:
    """The images of a run: `images[0]`, `len(images)`, iteration, and `images.of("9")` for one node's."""

    def __init__(self, run: Run, images: list[RunImage]) -> None:
        self._run = run
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def __iter__(self) -> Iterator[RunImage]:
        return iter(self._images)

    @overload
    def __getitem__(self, index: int) -> RunImage: ...
    @overload
    def __getitem__(self, index: slice) -> list[RunImage]: ...
    def __getitem__(self, index: int | slice) -> RunImage | list[RunImage]:
        try:
            return self._images[index]
        except IndexError:
            count = len(self._images)
            raise RefError(f"{self._run.ref} has {count} image{'s' * (count != 1)}, so no [{index}]") from None

    def of(self, node: str) -> list[RunImage]:
        """The images of one node."""
        return [image for image in self._images if image.node == node]

    def __repr__(self) -> str:
        return f"<Images of {self._run.ref}: {len(self)}>"


class Run:
    """One submission. `record` is its state now; everything else reads from it.

    A run without a follower is one read from the history: it can be looked at, not waited for.
    """

    def __init__(self, record: RunRecord, follower: Follower | None = None) -> None:
        self._record = record
        self._follower = follower
        self._progress: Progress | None = None
        self._trouble: str | None = None
        self._changed = threading.Condition()
        self._moved = (
            threading.Condition()
        )  # notified by `update` alone: progress wakes no thread that waits for the end
        self.refuses_all = False  # the service would refuse every other run too: a refused key, no credit
        self.resubmits_lost = False  # its service costs nothing, and a run lost there is executed nowhere
        self.guard = threading.RLock()  # held from a write to the history to the `update` that follows it
        # What the history could not take yet: events in their order, and images by index. Guarded by `guard`.
        self.unwritten: list[tuple[StatusEvent, RunChanges]] = []
        self.unwritten_images: dict[int, ImageRecord] = {}
        self._listeners: Listeners[Run] = Listeners()
        self._process = os.getpid()
        self.started_clock_s = time.monotonic()  # for elapsed time while live

    # -- what it is ---------------------------------------------------------------------------------------------

    @property
    def record(self) -> RunRecord:
        return self._record

    @property
    def token(self) -> str:
        return self._record.token

    @property
    def number(self) -> int:
        return self._record.number

    @property
    def ref(self) -> str:
        return self._record.ref

    @property
    def status(self) -> Status:
        return self._record.status

    @property
    def service_status(self) -> str | None:
        """The status as the service wrote it."""
        return self._record.service_status

    @property
    def service_word(self) -> str | None:
        """Another name of `service_status`."""
        return self._record.service_status

    @property
    def params(self) -> dict[str, Any]:
        """The values as sent, field id -> value."""
        return dict(self._record.params)

    @property
    def workflow(self) -> str:
        return self._record.workflow

    @property
    def error(self) -> str | None:
        """What went wrong, in one line, or None."""
        if self._record.problem is not None:
            return str(self._record.problem)
        return self._record.reason

    @property
    def is_submitted_again(self) -> bool:
        """Whether the same request submits it again without an option: it is lost, and its service costs nothing."""
        return self.resubmits_lost and self.status is Status.LOST

    @property
    def progress(self) -> Progress | None:
        return self._progress

    @property
    def trouble(self) -> str | None:
        """What keeps the service from answering at the moment, while the run is live."""
        return self._trouble

    @property
    def images(self) -> Images:
        follower = self._follower
        found = []
        for image in self._record.images:
            path = follower.image_path(image) if follower is not None and image.file else None
            found.append(RunImage(self, image, path))
        return Images(self, found)

    @property
    def files(self) -> list[RunImage]:
        """What it made besides still images: animations, films, sounds, texts; each with `.path` and `.bytes`."""
        follower = self._follower
        return [
            RunImage(self, output, follower.image_path(output) if follower is not None and output.file else None)
            for output in self._record.files
        ]

    # -- what can be done ---------------------------------------------------------------------------------------

    def wait(self, timeout: float | None = None) -> Run:
        """Block until nothing more will happen by itself: final or held, images on disk.

        Parameters
        ----------
        timeout
            Seconds; None waits for ever. An interrupt only stops waiting.

        Raises
        ------
        RunTimeout
            If it takes longer. The run goes on.
        ComflowyError
            In a process that was forked from the one that follows the run.
        """
        check_not_forked(self._process, self.ref)
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self._wait_settled(1.0 if deadline is None else min(1.0, deadline - time.monotonic())):
            if deadline is not None and time.monotonic() >= deadline:
                raise RunTimeout(
                    f"{self.ref} is {self.status} after {timeout:g} s and goes on: %comflowy show {self.ref}",
                    self,
                )
        return self

    def _wait_settled(self, timeout: float) -> bool:
        with self._moved:
            if not self._record.is_settled and timeout > 0:
                self._moved.wait(timeout)
            return self._record.is_settled

    def wait_change(self, timeout: float) -> bool:
        """Wait at most so many seconds for a change; whether the run is settled."""
        with self._changed:
            if not self._record.is_settled and timeout > 0:
                self._changed.wait(timeout)
            return self._record.is_settled

    def cancel(self) -> None:
        """Ask the service to cancel this run; `status` becomes `cancelled` only when the service confirms it."""
        if self._follower is None:
            raise RefError(f"{self.ref} comes from the history alone; connect first, then %comflowy cancel {self.ref}")
        self._follower.cancel(self)

    def save(self, folder: str | Path) -> list[Path]:
        """Write copies of the images with readable names, the params in their text chunks.

        Parameters
        ----------
        folder
            A folder, `NAME.zip`, or for a run with one image the name of an image file of its kind (`NAME.png`).

        Returns
        -------
        The paths written.

        Raises
        ------
        SettingsError
            If it is the name of a file that can't hold the images.
        ImageError
            If an image is not on disk, or can't be written.
        """
        from pathlib import Path as Folder  # noqa: PLC0415

        if self._follower is None:
            raise RefError(f"{self.ref} has no images' folder")
        return self._follower.save(self, Folder(folder))

    def listen(self, listener: Callable[[Run], None]) -> Callable[[], None]:
        """Call `listener` at every change, on the thread that made it: it only sets a flag. Returns the way to stop."""
        return self._listeners.add(listener)

    def once(self, condition: Callable[[], bool], action: Callable[[], None]) -> None:
        """Call `action` exactly once, as a listener: as soon as `condition` holds, which may be now."""
        self._listeners.once(condition, action)

    # -- for the tracker ----------------------------------------------------------------------------------------

    def update(self, read: RunRecord) -> None:
        """Take a record of the history, with the changes that the history lacks. The status never goes back.

        Listeners are called if that changes anything.
        """
        with self._changed:
            record = self.with_unwritten(read)
            trouble = self._trouble if self.unwritten or self.unwritten_images else None  # the history's own
            if record == self._record and trouble == self._trouble:
                return
            self._record = record
            self._trouble = trouble
            if self._progress is not None:
                self._show(self._progress)
        with self._moved:
            self._moved.notify_all()
        self._tell()

    def with_unwritten(self, read: RunRecord) -> RunRecord:
        """Return the newest record: the one now or the one read, with the changes that the history lacks."""
        for event, changes in self.unwritten:
            read = apply(read, event, **changes) or read
        record = newest(self._record, read)
        if not self.unwritten_images:
            return record
        return record.with_outputs(self.unwritten_images.get(output.index, output) for output in record.outputs)

    def report(self, *, progress: Progress | None = None, trouble: str | None = None) -> None:
        with self._changed:
            # a place in the queue that was read before it began tells nothing
            if progress is not None and (progress.ahead is None or self._progress is None or self._progress.is_waiting):
                self._show(progress)
            self._trouble = trouble
        self._tell()

    def _show(self, progress: Progress) -> None:
        is_over = progress.preview is not None and not self.status.is_live
        self._progress = replace(progress, preview=None) if is_over else progress

    def _tell(self) -> None:
        with self._changed:
            self._changed.notify_all()
        self._listeners.call(self)

    def __repr__(self) -> str:
        record = self._record
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
