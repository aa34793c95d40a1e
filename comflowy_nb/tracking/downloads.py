"""Fetches the images of runs that ended, each until it is on disk or can't be had."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from typing import TYPE_CHECKING

from comflowy_nb.database.records import ImageRecord
from comflowy_nb.errors import AuthError, ComflowyError, ImageError, NotFoundError, ServiceError
from comflowy_nb.images.store import format_of, image_path, keep_output, write_sidecar
from comflowy_nb.scheduler import Scheduler
from comflowy_nb.tracking.fair_queue import FairQueue

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from comflowy_nb.database.runs import History
    from comflowy_nb.services.base import Output, Service, Snapshot
    from comflowy_nb.settings import Settings
    from comflowy_nb.tracking.run import Run

__all__ = ["Downloads", "expected_image"]

TRIES = 4
THREADS = 4
THREADS_PER_RUN = 3
REWRITE_S = 3.0  # between attempts to write the images that the history lacks
RECHECK_S = 30.0  # an answer with fresh addresses serves every image of its run for so long


class Downloads:
    """Images on their way, a few at a time, apart from the threads that ask about runs.

    Parameters
    ----------
    recheck
        Asks the service about a run once more, for fresh addresses: signed ones run out.
    """

    def __init__(
        self,
        service: Service,
        history: History,
        folder: Path,
        settings: Settings,
        recheck: Callable[[str], Snapshot],
    ) -> None:
        self._service = service
        self._history = history
        self._folder = folder
        self._settings = settings
        self._recheck = recheck
        self._scheduler = Scheduler("comflowy-images", workers=THREADS)
        self._turns = FairQueue(self._scheduler, threads=THREADS, threads_per_run=THREADS_PER_RUN)
        self._rewriting: set[str] = set()  # tokens of the runs whose images are written again later
        self._rechecked: dict[str, tuple[float, Mapping[int, Output]]] = {}  # token -> when, and outputs by index

    def expect_missing(self, run: Run) -> bool:
        """Set images that are not on disk back to `expected`; return True if any image is to be fetched."""
        with run.guard:
            record = run.with_unwritten(self._history.get(run.token) or run.record)
            for image in record.outputs:
                if image.state == "expected" or (image.file and image_path(self._folder, image).is_file()):
                    continue
                record = self._history.set_images(run.token, replace(image, state="expected", error=None))
                run.unwritten_images.pop(image.index, None)
            if record != run.record:
                run.update(record)
            return any(output.state == "expected" for output in run.record.outputs)

    def fetch(self, run: Run, outputs: tuple[Output, ...]) -> None:
        """Fetch every image of the run that is still expected; one the service no longer lists is missing."""
        listed = {output.index: output for output in outputs}
        self._rechecked.pop(run.token, None)
        for image in run.record.outputs:
            if image.state != "expected":
                continue
            output = listed.get(image.index)
            if output is None:
                self._settle(run, replace(image, state="missing", error="the service no longer has it"))
            else:
                self._turns.add(run.token, lambda output=output: self._try(run, output, tries=1))  # type: ignore[misc]

    def give_up(self, run: Run, why: str) -> None:
        """Mark what is still expected as missing."""
        for image in run.record.outputs:
            if image.state == "expected":
                self._settle(run, replace(image, state="missing", error=why))

    def close(self) -> None:
        self._scheduler.close()

    def _try(self, run: Run, output: Output, *, tries: int) -> None:
        try:
            with self._service.open_image(output) as stream:
                image = keep_output(stream, folder=self._folder, token=run.token, output=output)
        except ComflowyError as error:
            self._after_failure(run, output, error, tries)
        except Exception as error:  # noqa: BLE001 - an image must never stay expected for ever
            self._settle(run, _missing(output, f"{type(error).__name__}: {error}"))
        else:
            self._settle(run, image)

    def _after_failure(self, run: Run, output: Output, error: ComflowyError, tries: int) -> None:
        # A plain ServiceError is a refusal of the address, which a second try sees no otherwise; what is no image
        # may have been cut on the way once, hardly twice.
        hopeless = type(error) is ServiceError or tries >= (2 if isinstance(error, ImageError) else TRIES)
        if hopeless:
            self._settle(run, _missing(output, str(error)))
            return
        if isinstance(error, (NotFoundError, AuthError)):
            fresh = self._fresh(run, output) if tries == 1 else None
            if fresh is None:
                self._settle(run, _missing(output, str(error)))
                return
            output = fresh
        # Jitter, so that the images of one broken connection don't come back together.
        wait_s = min(self._settings.retry_max_s, self._settings.retry_base_s * 2 ** (tries - 1))
        asked_s = getattr(error, "retry_after_s", None)
        due_s = self._scheduler.clock() + (asked_s or random.uniform(0.3, 1.0) * wait_s)  # noqa: S311 - no secret
        again = lambda: self._try(run, output, tries=tries + 1)  # noqa: E731 - queued twice
        self._scheduler.submit_at(due_s, lambda: self._turns.add(run.token, again))

    def _fresh(self, run: Run, output: Output) -> Output | None:
        """The output with a fresh address; a run with thousands of dead addresses is checked once, not for each."""
        read_s, outputs = self._rechecked.get(run.token, (-math.inf, {}))
        now_s = self._scheduler.clock()
        service_run_id = run.record.service_run_id
        if now_s - read_s > RECHECK_S and service_run_id is not None:
            try:
                outputs = {other.index: other for other in self._recheck(service_run_id).outputs}
            except ServiceError:
                outputs = {}
            self._rechecked[run.token] = now_s, outputs
        return outputs.get(output.index)

    def _settle(self, run: Run, image: ImageRecord) -> None:
        with run.guard:
            run.unwritten_images[image.index] = image
            trouble = self.write_images(run)
            if trouble is not None:
                run.report(trouble=f"{image.file or 'an image'} is not on record: {trouble}")

    def write_images(self, run: Run) -> str | None:
        """Write the images that the history lacks, and the sidecar; return what went wrong. Hold the run's guard.

        Until the history takes them they are known to this process alone; another process downloads them again.
        """
        record, trouble = run.record, None
        try:
            if run.unwritten_images and not run.unwritten:  # those events will be written with the images
                record = self._history.set_images(run.token, *run.unwritten_images.values())
                run.unwritten_images.clear()
            write_sidecar(self._folder, run.with_unwritten(record))
        except (ComflowyError, OSError) as error:
            trouble = str(error)
        if run.unwritten_images and not run.unwritten and run.token not in self._rewriting:
            self._rewriting.add(run.token)
            self._scheduler.submit_at(self._scheduler.clock() + REWRITE_S, lambda: self._write_again(run))
        run.update(record)
        if run.record.is_settled:
            self._rechecked.pop(run.token, None)
        return trouble

    def _write_again(self, run: Run) -> None:
        with run.guard:
            self._rewriting.discard(run.token)
            if run.unwritten_images and not run.unwritten:
                self.write_images(run)


def expected_image(output: Output) -> ImageRecord:
    """Return the record of an output that is not downloaded yet."""
    return ImageRecord(output.index, output.node, output.node_index, format=format_of(output))


def _missing(output: Output, why: str) -> ImageRecord:
    return replace(expected_image(output), state="missing", error=why)
