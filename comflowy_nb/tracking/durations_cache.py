"""How long the workflows of one service take: known from the history, learned from the runs that are followed."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from comflowy_nb.errors import HistoryError
from comflowy_nb.tracking.poll_rule import PollRule

if TYPE_CHECKING:
    from comflowy_nb.database.runs import History
    from comflowy_nb.scheduler import Scheduler

__all__ = ["DurationCache"]

_log = logging.getLogger(__name__)

TOGETHER_S = 0.5  # samples of so long are written at once: in a sweep, one write each would hold up all the others


class DurationCache:
    """Of the service with this identity."""

    def __init__(self, history: History, identity: str, times: Scheduler) -> None:
        self._history = history
        self._identity = identity
        self._times = times
        self._lock = threading.Lock()
        self._known: dict[str, PollRule] = {}
        self._unwritten: list[tuple[str, float]] = []

    def of(self, workflow_key: str) -> PollRule:
        with self._lock:
            pace = self._known.get(workflow_key)
        if pace is not None:
            return pace
        pace = PollRule(self._history.times.of(self._identity, workflow_key))
        with self._lock:
            return self._known.setdefault(workflow_key, pace)  # another thread may have been first

    def keep(self, workflow_key: str, seconds: float) -> None:
        """Keep the time that a run took, or what it added to a sweep, for later kernels."""
        with self._lock:
            self._unwritten.append((workflow_key, seconds))
            is_first = len(self._unwritten) == 1
        if is_first:
            self._times.at(self._times.clock() + TOGETHER_S, self.write)

    def write(self) -> None:
        """Write what is not written yet; what the history can't take is dropped, for it only sets the pace."""
        with self._lock:
            samples, self._unwritten = self._unwritten, []
        try:
            self._history.times.add(self._identity, samples)
        except HistoryError as error:
            _log.debug("samples were not kept: %s", error)
