"""Thumbnails that are owed: made when no image has come for a moment, so that those somebody waits for come first."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from comflowy_nb.images.store import OwedThumbnails
    from comflowy_nb.scheduler import Scheduler

__all__ = ["ThumbnailQueue"]

QUIET_S = 0.15  # no image for so long
LATEST_S = 0.6  # made then, however many come
MOST_BYTES = 48 * 1024 * 1024  # of images that are held, decoded, meanwhile


class ThumbnailQueue:
    """Of one client, on the threads of a scheduler."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._held_bytes = 0
        self._newest_s = 0.0
        self._lock = threading.Lock()

    def add(self, owed: OwedThumbnails) -> None:
        """Make them later; now if too much is held, so that whoever brings more has to wait."""
        now_s = self._scheduler.clock()
        with self._lock:
            self._newest_s = now_s
            fits = self._held_bytes + owed.held_bytes <= MOST_BYTES
            self._held_bytes += owed.held_bytes if fits else 0
        if fits:
            self._wait(owed, now_s + QUIET_S, now_s + LATEST_S)
        else:
            owed.make()

    def _wait(self, owed: OwedThumbnails, due_s: float, latest_s: float) -> None:
        self._scheduler.submit_at(min(due_s, latest_s), lambda: self._make(owed, latest_s))

    def _make(self, owed: OwedThumbnails, latest_s: float) -> None:
        now_s, quiet_s = self._scheduler.clock(), self._newest_s + QUIET_S
        if now_s < min(quiet_s, latest_s):
            self._wait(owed, quiet_s, latest_s)
            return
        try:
            owed.make()
        finally:
            with self._lock:
                self._held_bytes -= owed.held_bytes
