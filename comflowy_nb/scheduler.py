"""A few daemon threads that do what is due: at once what must go first, the rest at its time."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import logging
import math
import threading
import time
from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

from comflowy_nb.errors import ComflowyError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["DeferredInterrupt", "Scheduler", "run_uninterrupted", "wait_for"]

T = TypeVar("T")
_log = logging.getLogger(__name__)

BUSY_S = 0.05  # longest wait for a thread of a timetable, before one of its own is begun


class DeferredInterrupt(KeyboardInterrupt):
    """An interrupt that came while something had to be done to its end; `result` is what that gave."""

    def __init__(self, result: Any) -> None:
        super().__init__()
        self.result = result


def run_uninterrupted(function: Callable[[], T], scheduler: Scheduler) -> T:
    """Do it to its end even if an interrupt comes: only the main thread gets one, so another thread does it.

    That is one of the timetable, which then goes on at once with what the function left it to do. Where all of them are
    busy, a new one does it.

    Raises
    ------
    Interrupted
        After its end, if an interrupt came meanwhile.
    """
    future: Future[T] = Future()
    try:
        scheduler.hand(future, function)
        with contextlib.suppress(TimeoutError):
            return future.result(BUSY_S)
        if future.cancel():
            future = Future()
            _begin(future, function)
        return future.result()
    except KeyboardInterrupt:
        if future.cancel():  # nobody has begun it, and nobody will
            raise
        if not future.done() or future.exception() is None:
            raise DeferredInterrupt(future.result()) from None
        raise


def wait_for(function: Callable[[], T], scheduler: Scheduler) -> T:
    """Do it on a thread of the timetable, after its pause, and wait; where all of them stay busy, a new one does it."""
    future = scheduler.call(function)
    while not future.done():
        with contextlib.suppress(TimeoutError):
            return future.result(BUSY_S)
        if not scheduler.pause_left_s and future.cancel():
            future = Future()
            _begin(future, function)
    return future.result()


def _begin(future: Future[T], function: Callable[[], T]) -> None:
    threading.Thread(target=_perform, args=(future, function), daemon=True).start()


def _perform(future: Future[T], function: Callable[[], T]) -> None:
    """Do it, unless it was called off before."""
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = function()
    except BaseException as error:  # noqa: BLE001 - whoever waits gets it, whatever it is
        future.set_exception(error)
    else:
        future.set_result(result)


class Scheduler:
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
        self._looks_s: list[float] = []  # when each idle thread will look by itself
        self._closed = False

    def soon(self, action: Callable[[], None]) -> None:
        """Do it before anything that is merely due. If it raises, for want of a thread, it will not be done."""
        with self._changed:
            self._now.append(action)
            try:
                self._wake()
            except BaseException:
                self._now.pop()
                raise

    def at(self, due_s: float, action: Callable[[], None]) -> None:
        """Do it at a time, or as soon after it as a thread is free."""
        with self._changed:
            heapq.heappush(self._later, (due_s, next(self._order), action))
            if not self._is_seen_to(due_s):
                self._wake()

    def every(self, period_s: float, action: Callable[[], bool]) -> None:
        """Call `action` now and then every `period_s` seconds while it returns True.

        An action that raises is called again: one failed read of the history must not end a watch.
        """

        def repeat() -> None:
            goes_on = True
            try:
                goes_on = action()
            except ComflowyError as error:  # the history is locked, the disk is full
                _log.debug("an action of %s is tried again: %s", self._name, error)
            finally:
                if goes_on:
                    self.at(self.clock() + period_s, repeat)

        self.soon(repeat)

    def call(self, function: Callable[[], T]) -> Future[T]:
        """Do it on one of the threads; the future holds what it returned or raised.

        On one of them already it is done at once: if all of them waited for another, none would be left to do it.
        """
        future: Future[T] = Future()
        self.hand(future, function)
        return future

    def hand(self, future: Future[T], function: Callable[[], T]) -> None:
        """As `call`, for a future that somebody holds already: one that is cancelled before it is begun is not done."""
        if threading.current_thread() in self._threads:
            _perform(future, function)
        else:
            self.soon(lambda: _perform(future, function))

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
            try:
                thread.start()
            except RuntimeError:  # the system gives no more threads: those that are there do it
                if not self._threads:
                    raise
            else:
                self._threads.append(thread)
        self._changed.notify()

    def _is_seen_to(self, due_s: float) -> bool:
        """Whether an idle thread will look in time: to wake one for every action costs more than most actions."""
        return bool(self._looks_s) and min(self._looks_s) <= due_s

    def _work(self) -> None:
        while (action := self._take()) is not None:
            try:
                action()
            except Exception:  # noqa: BLE001 - a thread outlives what it did
                _log.exception("an action of %s failed", self._name)
            del action  # an idle thread must keep nothing alive: not the client that it acted for

    def _take(self) -> Callable[[], None] | None:
        with self._changed:
            while not self._closed:
                now_s = self.clock()
                action = self._due(now_s)
                if action is None:
                    next_s = self._later[0][0] if self._later else math.inf
                    self._wait(self._paused_until_s if now_s < self._paused_until_s else next_s, now_s)
                    continue
                if self._later and not self._is_seen_to(self._later[0][0]):
                    self._changed.notify()  # what this thread would have looked for
                return action
            return None

    def _due(self, now_s: float) -> Callable[[], None] | None:
        if now_s < self._paused_until_s:
            return None
        if self._now:
            return self._now.popleft()
        return heapq.heappop(self._later)[2] if self._later and self._later[0][0] <= now_s else None

    def _wait(self, until_s: float, now_s: float) -> None:
        self._looks_s.append(until_s)
        try:
            self._changed.wait(None if until_s == math.inf else until_s - now_s)
        finally:
            self._looks_s.remove(until_s)
