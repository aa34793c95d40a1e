"""Download the images of ended runs, with retries until an image is on disk or the retries are used up."""

from __future__ import annotations

import contextlib
import math
import threading
from collections import Counter, deque
from functools import partial
from typing import TYPE_CHECKING, TypeAlias

from comflowy_nb.database.records import ImageRecord
from comflowy_nb.errors import AuthError, ComflowyError, ImageError, NotFoundError, ServiceError
from comflowy_nb.images.receive import is_damaged, stored_file
from comflowy_nb.images.removal import remove_if_deleted
from comflowy_nb.images.store import (
    IMAGE_FORMATS,
    ReceivedImage,
    find_stored,
    format_of,
    receive_image,
    store_output,
    store_received,
    write_sidecar,
)
from comflowy_nb.images.thumbnails import thumbnail_files
from comflowy_nb.scheduler import Scheduler
from comflowy_nb.tracking.polling import backoff_s

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Future
    from pathlib import Path

    from comflowy_nb.database.records import RunRecord
    from comflowy_nb.database.runs import History
    from comflowy_nb.services.base import Service
    from comflowy_nb.services.types import ImageStream, Output
    from comflowy_nb.tracking.run import Run


MAX_ATTEMPTS = 4
THREADS = 4
THREADS_PER_RUN = 3
REWRITE_S = 3.0  # between attempts to write images to the history
EARLY_WAIT_S = 0.02  # for an image that is about to arrive when a check has found the end of its run
THUMBNAIL_WAIT_S = 0.015  # so that thumbnails do not delay the next submit of a script
RECHECK_S = 30.0  # for this time, the URLs of one check are used for all images of its run


class Downloads:
    """The downloads of one client. They have their own threads, so that they do not delay checks."""

    def __init__(self, service: Service, history: History, folder: Path) -> None:
        self._service = service
        self._history = history
        self._folder = folder
        self._scheduler = Scheduler("comflowy-images", workers=THREADS)
        self._queue = FairQueue(self._scheduler)
        self._rewriting: set[str] = set()  # tokens of the runs whose images are written again later
        self._rechecked: dict[str, tuple[float, Mapping[int, Output]]] = {}  # token -> when, and outputs by index
        self._thumbnails: deque[Callable[[], None]] = deque()  # make the thumbnails of one image each
        self._early = EarlyImages(self._scheduler, self._receive)

    def reset_missing(self, run: Run, *, refetch: bool = False) -> bool:
        """Set images that are not on disk back to `expected`. Return True if any image must be downloaded.

        Pruned and damaged images are fetched only with `refetch`.
        """
        damaged = {image.index for image in run.record.outputs if refetch and self._is_damaged(image)}
        with run.record_lock:
            record = run.with_unwritten(self._history.get(run.token) or run.record)
            for image in record.outputs:
                has_damage = image.index in damaged
                if not has_damage and not self._needs_fetch(image, refetch=refetch):
                    continue
                record = self._history.set_images(run.token, image.refetched(), is_damaged=has_damage)
                run.unwritten_images.pop(image.index, None)
            if record != run.record:
                run.update(record)
            return any(output.state == "expected" for output in run.record.outputs)

    def _needs_fetch(self, image: ImageRecord, *, refetch: bool) -> bool:
        if image.state in {"expected", "pruned"}:
            return refetch and image.state == "pruned"
        return image.state == "missing" or stored_file(self._folder, image) is None

    def _is_damaged(self, image: ImageRecord) -> bool:
        path = stored_file(self._folder, image)
        return image.state == "kept" and path is not None and is_damaged(path, image)

    def receive_early(self, run: Run, outputs: Sequence[Output]) -> None:
        """Receive images of a run that has not ended. They are stored after a check has confirmed the end."""
        self._early.receive(run, outputs)

    def store_early(self, run: Run, outputs: Sequence[Output]) -> tuple[ImageRecord, ...]:
        """Store the images that were received early, of the outputs of an ended run. Return the records of all."""
        return tuple(self._store_early(run, output) or expected_image(output) for output in outputs)

    def _store_early(self, run: Run, output: Output) -> ImageRecord | None:
        received = self._early.get(run, output, EARLY_WAIT_S)
        with contextlib.suppress(ComflowyError):  # `fetch` stores it, or reports why not
            return None if received is None else self._store(run, output, received)
        return None

    def write_early_sidecar(self, ended: RunRecord | None) -> None:
        """Write the sidecar of a run before its end is recorded, if its images are stored, so that it is settled."""
        with contextlib.suppress(ComflowyError):  # the images are stored, and the history describes the run
            if ended is not None and ended.is_settled:
                write_sidecar(self._folder, ended)

    def forget(self, run: Run) -> None:
        """Drop the URLs of a run and its images that were received early, once each is stored or given up."""
        if run.record.is_settled:
            self._rechecked.pop(run.token, None)
            self._early.forget(run)

    def fetch(self, run: Run, outputs: tuple[Output, ...]) -> None:
        """Download every expected image of a run. An image that the service no longer lists becomes `missing`."""
        listed = {output.index: output for output in outputs}
        self._rechecked.pop(run.token, None)
        self.give_up(run, "the service no longer has it", except_for=listed)
        for image in run.record.outputs:
            if image.state == "expected":
                self._queue_attempt(run, listed[image.index], tries=1)

    def give_up(self, run: Run, reason: str, *, except_for: Mapping[int, Output] | None = None) -> None:
        """Give up every expected image, except the indices in `except_for`."""
        expected = [image for image in run.record.outputs if image.state == "expected"]
        missing = [image.given_up(reason) for image in expected if image.index not in (except_for or ())]
        if missing:
            self._record_images(run, *missing)

    def write_images(self, run: Run) -> str | None:
        """Write the images that are not yet in the history, and the sidecar. Return a warning, or None.

        The caller holds the run's `record_lock`. Until the write succeeds, only this process knows the images, and
        another process would download them again.
        """
        record, warning = run.record, None
        try:
            if run.unwritten_images and not run.unwritten:  # unwritten events include the images
                record = self._history.set_images(run.token, *run.unwritten_images.values())
                run.unwritten_images.clear()
            if run.with_unwritten(record).is_settled:  # not for each image: a run can have thousands
                sidecar = write_sidecar(self._folder, run.with_unwritten(record))
                if sidecar is not None:
                    remove_if_deleted(self._history.cleanup, run.token, sidecar)
        except (ComflowyError, OSError) as error:
            warning = str(error)
        if run.unwritten_images and not run.unwritten and run.token not in self._rewriting:
            self._rewriting.add(run.token)
            self._scheduler.submit_at(self._scheduler.clock() + REWRITE_S, lambda: self._write_again(run))
        run.update(record)
        self.forget(run)
        return warning

    def close(self) -> None:
        self._scheduler.close()
        while self._thumbnails:  # views wait for them
            self._make_next_thumbnails()

    def _receive(self, output: Output) -> ReceivedImage:
        with self._service.open_image(output) as stream:
            return receive_image(stream)

    def _queue_attempt(self, run: Run, output: Output, *, tries: int) -> None:
        self._queue.add(run.token, lambda: self._try(run, output, tries))

    def _store(self, run: Run, output: Output, content: ReceivedImage | ImageStream) -> ImageRecord:
        folder, token = self._folder, run.token
        thumbnails: list[Callable[[], None]] = []
        if isinstance(content, ReceivedImage):
            image = store_received(content, folder=folder, token=token, output=output, defer=thumbnails.append)
        else:
            before = next((image for image in run.record.outputs if image.index == output.index), None)
            image = store_output(
                content, folder=folder, token=token, output=output, before=before, defer=thumbnails.append
            )
        self._thumbnails.append(lambda: self._make_thumbnails(run, image, thumbnails))
        self._scheduler.submit_at(self._scheduler.clock() + THUMBNAIL_WAIT_S, self._make_next_thumbnails)
        return image

    def _try(self, run: Run, output: Output, tries: int) -> None:
        try:
            received = self._early.get(run, output)
            if received is not None:
                image = self._store(run, output, received)
            else:
                with self._service.open_image(output) as stream:
                    image = self._store(run, output, stream)
        except ComflowyError as error:
            self._handle_failure(run, output, error, tries)
        except Exception as error:  # noqa: BLE001 - an image must not stay expected for ever
            self._record_images(run, _given_up(run, output, f"{type(error).__name__}: {error}"))
        else:
            self._record_images(run, image)

    def _make_next_thumbnails(self) -> None:
        with contextlib.suppress(IndexError):  # another thread made the last ones
            self._thumbnails.popleft()()

    def _make_thumbnails(self, run: Run, image: ImageRecord, makers: Sequence[Callable[[], None]]) -> None:
        for make in makers:
            make()
        if makers:
            with contextlib.suppress(ComflowyError):  # the history can't be read; the next prune removes the files
                written = thumbnail_files(self._folder, image)
                remove_if_deleted(self._history.cleanup, run.token, *written)

    def _handle_failure(self, run: Run, output: Output, error: ComflowyError, tries: int) -> None:
        # A plain ServiceError means that the URL is not allowed, so another attempt is useless. Content that is not an
        # image may be a truncated transfer; two in a row are unlikely.
        is_permanent = type(error) is ServiceError or tries >= (2 if isinstance(error, ImageError) else MAX_ATTEMPTS)
        next_output: Output | None = output
        if isinstance(error, (NotFoundError, AuthError)):
            next_output = self._with_fresh_url(run, output) if tries == 1 else None
        if is_permanent or next_output is None:
            self._record_images(run, _given_up(run, output, str(error)))
            return
        fresh = next_output
        wait_s = getattr(error, "retry_after_s", None) or backoff_s(tries)
        due_s = self._scheduler.clock() + wait_s
        self._scheduler.submit_at(due_s, lambda: self._queue_attempt(run, fresh, tries=tries + 1))

    def _with_fresh_url(self, run: Run, output: Output) -> Output | None:
        """Return the output with a new URL, because signed URLs expire. One check provides the URLs of all images."""
        read_s, outputs = self._rechecked.get(run.token, (-math.inf, {}))
        now_s = self._scheduler.clock()
        service_run_id = run.record.service_run_id
        if now_s - read_s > RECHECK_S and service_run_id is not None:
            try:
                outputs = {other.index: other for other in self._service.check(service_run_id).outputs}
            except ServiceError:
                outputs = {}
            self._rechecked[run.token] = now_s, outputs
        return outputs.get(output.index)

    def _record_images(self, run: Run, *images: ImageRecord) -> None:
        """Record images that were downloaded or given up, unless a file that was given up is on disk already."""
        records = [self._on_disk(run, image) or image for image in images]
        with run.record_lock:
            run.unwritten_images.update({record.index: record for record in records})
            warning = self.write_images(run)
            if warning is not None:
                run.report(warning=f"{images[0].file or 'an image'} is not in the history: {warning}")

    def _on_disk(self, run: Run, image: ImageRecord) -> ImageRecord | None:
        is_still = image.format is None or image.format in IMAGE_FORMATS  # decoding shows whether the file is complete
        return find_stored(self._folder, run.token, image) if image.state == "missing" and is_still else None

    def _write_again(self, run: Run) -> None:
        with run.record_lock:
            self._rewriting.discard(run.token)
            if run.unwritten_images and not run.unwritten:
                self.write_images(run)


class EarlyImages:
    """Still images that are received while their run is live, because the service has named them.

    They are only in memory until a check of the ended run lists them.

    Parameters
    ----------
    receive
        Receives one image, on a thread of the scheduler.
    """

    def __init__(self, scheduler: Scheduler, receive: Callable[[Output], ReceivedImage]) -> None:
        self._scheduler = scheduler
        self._receive = receive
        self._futures: dict[str, dict[_EarlyKey, Future[ReceivedImage]]] = {}  # token of a run -> its images
        self._lock = threading.Lock()

    def receive(self, run: Run, outputs: Sequence[Output]) -> None:
        """Begin to receive images, at most `THREADS_PER_RUN` of a run."""
        with self._lock:
            if not run.status.is_live:
                return
            futures = self._futures.setdefault(run.token, {})
            for output in outputs:
                key = _early_key(output)
                if output.ending is None and key not in futures and len(futures) < THREADS_PER_RUN:
                    futures[key] = self._scheduler.submit(partial(self._receive, output))

    def get(self, run: Run, output: Output, timeout_s: float | None = None) -> ReceivedImage | None:
        """Wait for an image, and return it; None if it was not named early, if it failed, or after the timeout."""
        with self._lock:
            future = self._futures.get(run.token, {}).get(_early_key(output))
        if future is None or future.cancel():  # no thread has begun to receive it
            return None
        with contextlib.suppress(Exception):  # it is downloaded again, which reports the error
            return future.result(timeout_s)
        return None

    def forget(self, run: Run) -> None:
        """Drop the images of a run whose status is no longer live."""
        with self._lock:
            self._futures.pop(run.token, None)


_EarlyKey: TypeAlias = "tuple[str | None, int, str]"


def _early_key(output: Output) -> _EarlyKey:
    return output.node, output.node_index, output.url  # the index in the run is not known early


def expected_image(output: Output) -> ImageRecord:
    """Return the record of an output before its download."""
    return ImageRecord(output.index, output.node, output.node_index, format=format_of(output))


def _given_up(run: Run, output: Output, reason: str) -> ImageRecord:
    known = next((image for image in run.record.outputs if image.index == output.index), None)
    return (expected_image(output) if known is None else known).given_up(reason)


class FairQueue:
    """Execute the actions of several runs on the threads of a scheduler, round robin over the runs.

    Each run has up to `THREADS_PER_RUN` workers. A worker executes one action, then joins the end of the scheduler's
    queue. A run with thousands of actions therefore delays another run by a few actions at most, and slow actions of
    one run leave one thread free for other runs.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._lock = threading.Lock()
        self._queued: dict[str, deque[Callable[[], None]]] = {}  # run -> its actions
        self._workers_of: Counter[str] = Counter()

    def add(self, run: str, action: Callable[[], None]) -> None:
        """Queue an action of a run."""
        with self._lock:
            self._queued.setdefault(run, deque()).append(action)
            if self._workers_of[run] == THREADS_PER_RUN:
                return
            self._workers_of[run] += 1
        self._schedule(run)

    def _schedule(self, run: str) -> None:
        self._scheduler.submit_at(self._scheduler.clock(), lambda: self._take(run))

    def _take(self, run: str) -> None:
        with self._lock:
            if not self._queued.get(run):
                self._workers_of[run] -= 1
                if not self._workers_of[run]:
                    del self._workers_of[run], self._queued[run]
                return
            action = self._queued[run].popleft()
        try:
            action()
        finally:
            self._schedule(run)
