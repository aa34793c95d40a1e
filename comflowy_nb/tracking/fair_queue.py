"""Fair queue: the actions of several runs, one of each run in turn."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from comflowy_nb.scheduler import Scheduler

__all__ = ["FairQueue"]


class FairQueue:
    """Run the actions of several runs on the threads of a scheduler, round robin over the runs.

    A run with thousands of actions delays an action of another run by one action at most. An action of the scheduler
    itself, such as a retry, starts when it is due.

    Parameters
    ----------
    threads
        Actions that run at the same time.
    threads_per_run
        Actions of one run that run at the same time: less than `threads`, so that slow actions of one run do not stop
        the others.
    """

    def __init__(self, scheduler: Scheduler, *, threads: int, threads_per_run: int) -> None:
        self._scheduler = scheduler
        self._threads = threads
        self._threads_per_run = threads_per_run
        self._lock = threading.Lock()
        self._queued: dict[str, deque[Callable[[], None]]] = {}  # run -> its actions; the first run has the next turn
        self._active: dict[str, int] = {}  # run -> how many of its actions run now
        self._started = 0  # turns that the scheduler holds or runs

    def add(self, run: str, action: Callable[[], None]) -> None:
        """Queue an action of a run."""
        with self._lock:
            self._queued.setdefault(run, deque()).append(action)
            starts = self._started < self._threads
            self._started += starts
        if starts:
            self._schedule()

    def _schedule(self) -> None:
        # not `soon`: that would go before everything that the scheduler has at its time
        self._scheduler.submit_at(self._scheduler.clock(), self._take_turn)

    def _take_turn(self) -> None:
        with self._lock:
            run = next((run for run in self._queued if self._active.get(run, 0) < self._threads_per_run), None)
            if run is None:
                self._started -= 1
                return
            actions = self._queued.pop(run)
            action = actions.popleft()
            if actions:
                self._queued[run] = actions  # at the end: every other run comes first
            self._active[run] = self._active.get(run, 0) + 1
        try:
            action()
        finally:
            with self._lock:
                self._active[run] -= 1
                if not self._active[run]:
                    del self._active[run]
            self._schedule()
