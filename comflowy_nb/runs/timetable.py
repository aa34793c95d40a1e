"""A few daemon threads that do what is due: at once what must go first, the rest at its time."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Interrupted", "Timetable", "unbroken"]

T = TypeVar("T")
_log = logging.getLogger(__name__)

START_S = 5.0  # longest time for a thread to begin; none does only if the interrupt came before it was started


class Interrupted(KeyboardInterrupt):
    """An interrupt that came while something had to be done to its end; `result` is what that gave."""

    def __init__(self, result: Any) -> None:
        super().__init__()
        self.result = result


def unbroken(function: Callable[[], T]) -> T:
    """Do it to its end even if an interrupt comes: only the main thread gets one, so another thread does it.

    Raises
    ------
    Interrupted
        After its end, if an interrupt came meanwhile.
    """
    future: Future[T] = Future()
    thread = threading.Thread(target=_settle, args=(future, function), daemon=True)
    try:
        thread.start()  # it waits for the thread to be there, and an interrupt may come in that wait
        return future.result()
    except KeyboardInterrupt:
        if not _has_begun(thread):
            raise
        if not future.done() or future.exception() is None:
            raise Interrupted(future.result()) from None
        raise


def _has_begun(thread: threading.Thread) -> bool:
    """Whether a thread runs or ran; one that was just started gets the time to show it."""
    deadline_s = time.monotonic() + START_S
    while thread.ident is None and time.monotonic() < deadline_s:
        time.sleep(0.001)
    return thread.ident is not None


def _settle(future: Future[T], function: Callable[[], T]) -> None:
    try:
        result = function()
    except BaseException as error:  # noqa: BLE001 - whoever waits gets it, whatever it is
        future.set_exception(error)
    else:
        future.set_result(result)


class Timetable:
    """Actions and the time each is due, on a monotonic clock in seconds.

    Parameters
    ----------
    name
        Of the threads, for whoever looks at a process.
    workers
        How many actions run at a time. Threads begin with the first action.
    """

    def __init__(self, name: str, *, workers: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._name = name
        self._workers = workers
        self._changed = threading.Condition()
        self._now: deque[Callable[[], None]] = deque()
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._paused_until_s = 0.0
        self._threads: list[threading.Thread] = []
        self._closed = False

    def soon(self, action: Callable[[], None]) -> None:
        """Do it before anything that is merely due."""
        with self._changed:
            self._now.append(action)
            self._wake()

    def at(self, due_s: float, action: Callable[[], None]) -> None:
        """Do it at a time, or as soon after it as a thread is free."""
        with self._changed:
            heapq.heappush(self._later, (due_s, next(self._order), action))
            self._wake()

    def call(self, function: Callable[[], T]) -> Future[T]:
        """Do it on one of the threads; the future holds what it returned or raised.

        On one of them already it is done at once: if all of them waited for another, none would be left to do it.
        """
        future: Future[T] = Future()
        if threading.current_thread() in self._threads:
            _settle(future, function)
            return future

        def action() -> None:
            if future.set_running_or_notify_cancel():
                _settle(future, function)

        self.soon(action)
        return future

    def pause(self, seconds: float) -> None:
        """Begin nothing for so long: the service asked everyone to wait."""
        with self._changed:
            self._paused_until_s = max(self._paused_until_s, self.clock() + seconds)

    @property
    def pause_left_s(self) -> float:
        return max(0.0, self._paused_until_s - self.clock())

    def close(self) -> None:
        """Begin nothing more. What runs ends by itself: its threads are daemons."""
        with self._changed:
            self._closed = True
            self._now.clear()
            self._later.clear()
            self._changed.notify_all()

    def _wake(self) -> None:
        if not self._closed and len(self._threads) < self._workers:
            thread = threading.Thread(target=self._work, name=f"{self._name}-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()
        self._changed.notify()

    def _work(self) -> None:
        while (action := self._take()) is not None:
            try:
                action()
            except Exception:  # noqa: BLE001 - a thread outlives what it did
                _log.exception("an action of %s failed", self._name)

    def _take(self) -> Callable[[], None] | None:
        with self._changed:
            while not self._closed:
                now_s = self.clock()
                if now_s < self._paused_until_s:
                    self._changed.wait(self._paused_until_s - now_s)
                elif self._now:
                    return self._now.popleft()
                elif self._later and self._later[0][0] <= now_s:
                    return heapq.heappop(self._later)[2]
                else:
                    self._changed.wait(self._later[0][0] - now_s if self._later else None)
            return None
