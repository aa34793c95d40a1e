"""Fetches the pictures of runs that succeeded, each until it is on disk or can't be had."""

from __future__ import annotations

import random
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

from comflowy_nb.errors import AuthError, ComflowyError, NotFoundError, PictureError, ServiceError
from comflowy_nb.runs.files import format_of, keep_file
from comflowy_nb.runs.images import keep_picture, write_sidecar
from comflowy_nb.runs.record import PictureRecord
from comflowy_nb.runs.timetable import Timetable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from comflowy_nb.runs.history import History
    from comflowy_nb.runs.run import Run
    from comflowy_nb.services.base import Output, PictureStream, Service, Snapshot
    from comflowy_nb.settings import Settings

__all__ = ["Downloads", "expected"]

TRIES = 4
THREADS = 3
MOST_WAITING = 4  # pictures that are held, decoded, until their thumbnails are made
THUMBNAILS_AFTER_S = 0.15  # the pictures that others wait for come first


def expected(snapshot: Snapshot) -> tuple[PictureRecord, ...]:
    """The pictures a finished run owes us."""
    return tuple(_expected(output) for output in snapshot.outputs)


def _expected(output: Output) -> PictureRecord:
    return PictureRecord(output.index, output.node, output.node_index, format=format_of(output))


class Downloads:
    """Pictures on their way, a few at a time, apart from the threads that ask about runs.

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
        self._timetable = Timetable("comflowy-pictures", workers=THREADS)
        self._waiting = threading.Semaphore(MOST_WAITING)

    def fetch(self, run: Run, outputs: tuple[Output, ...]) -> None:
        """Fetch every picture of the run that is still expected; one the service no longer lists is missing."""
        listed = {output.index: output for output in outputs}
        for picture in run.record.outputs:
            if picture.state != "expected":
                continue
            output = listed.get(picture.index)
            if output is None:
                self._settle(run, replace(picture, state="missing", error="the service no longer has it"))
            else:
                self._timetable.soon(lambda output=output: self._try(run, output, tries=1))  # type: ignore[misc]

    def give_up(self, run: Run, why: str) -> None:
        """Mark what is still expected as missing."""
        for picture in run.record.outputs:
            if picture.state == "expected":
                self._settle(run, replace(picture, state="missing", error=why))

    def close(self) -> None:
        self._timetable.close()

    def _try(self, run: Run, output: Output, *, tries: int) -> None:
        owed: list[Callable[[], None]] = []  # thumbnails: nobody has to wait for them
        try:
            with self._service.open_picture(output) as stream:
                picture = self._keep(stream, run.token, output, owed)
        except ComflowyError as error:
            self._after_failure(run, output, error, tries)
        except Exception as error:  # noqa: BLE001 - a picture must never stay expected for ever
            self._settle(run, _missing(output, f"{type(error).__name__}: {error}"))
        else:
            self._settle(run, picture)
            for make in owed:
                self._make_later(make)

    def _make_later(self, make: Callable[[], None]) -> None:
        """Make the thumbnails of a picture when those that come with it are there; at once if too many wait so."""
        if not self._waiting.acquire(blocking=False):
            make()
            return

        def make_waiting() -> None:
            try:
                make()
            finally:
                self._waiting.release()

        self._timetable.at(self._timetable.clock() + THUMBNAILS_AFTER_S, make_waiting)

    def _keep(self, stream: PictureStream, token: str, output: Output, owed: list[Callable[[], None]]) -> PictureRecord:
        folder, settings = self._folder, self._settings
        if output.ending is not None:
            return keep_file(stream, folder=folder, token=token, output=output, settings=settings)
        return keep_picture(stream, folder=folder, token=token, output=output, settings=settings, later=owed.append)

    def _after_failure(self, run: Run, output: Output, error: ComflowyError, tries: int) -> None:
        # A plain ServiceError is a refusal of the address, which a second try sees no otherwise; what is no picture
        # may have been cut on the way once, hardly twice.
        hopeless = type(error) is ServiceError or tries >= (2 if isinstance(error, PictureError) else TRIES)
        if hopeless:
            self._settle(run, _missing(output, str(error)))
            return
        if isinstance(error, (NotFoundError, AuthError)):
            fresh = self._fresh(run, output)
            if fresh is None or tries > 1:
                self._settle(run, _missing(output, str(error)))
                return
            output = fresh
        # Jitter, so that the pictures of one broken connection don't come back together.
        wait_s = min(self._settings.retry_max_s, self._settings.retry_base_s * 2 ** (tries - 1))
        asked_s = getattr(error, "retry_after_s", None)
        due_s = self._timetable.clock() + (asked_s or random.uniform(0.3, 1.0) * wait_s)  # noqa: S311 - no secret
        self._timetable.at(due_s, lambda: self._try(run, output, tries=tries + 1))

    def _fresh(self, run: Run, output: Output) -> Output | None:
        service_run_id = run.record.service_run_id
        if service_run_id is None:
            return None
        try:
            snapshot = self._recheck(service_run_id)
        except ServiceError:
            return None
        return next((other for other in snapshot.outputs if other.index == output.index), None)

    def _settle(self, run: Run, picture: PictureRecord) -> None:
        with run.guard:
            trouble = None
            try:
                record = self._history.set_picture(run.token, picture)
                write_sidecar(self._folder, record)
            except (ComflowyError, OSError) as error:
                # The disk is full: what is known stays in this process, and the picture is fetched again by the next.
                trouble = f"{picture.file or 'a picture'} is not on record: {error}"
                kept = [picture if other.index == picture.index else other for other in run.record.outputs]
                record = replace(
                    run.record,
                    pictures=tuple(output for output in kept if output.is_picture),
                    files=tuple(output for output in kept if not output.is_picture),
                )
            run.update(record)
            if trouble:
                run.report(trouble=trouble)


def _missing(output: Output, why: str) -> PictureRecord:
    return replace(_expected(output), state="missing", error=why)
