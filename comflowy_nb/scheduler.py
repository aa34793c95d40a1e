"""A scheduler: a few daemon threads that run functions at once, at a time, or periodically."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import logging
import math
import threading
import time
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, TypeVar

from comflowy_nb.errors import ComflowyError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["DeferredInterrupt", "Scheduler", "run_uninterrupted"]

T = TypeVar("T")
_log = logging.getLogger(__name__)

BUSY_S = 0.05  # longest wait for a thread of a scheduler, before one is started for the function alone


class DeferredInterrupt(KeyboardInterrupt):
    """An interrupt during a function that had to run to its end; `result` is what the function returned."""

    def __init__(self, result: Any) -> None:
        super().__init__()
        self.result = result


def run_uninterrupted(function: Callable[[], T], scheduler: Scheduler) -> T:
    """Run a function to its end even if an interrupt arrives: only the main thread gets one, so another thread runs it.

    That is a thread of the scheduler, which then continues at once with what the function submitted. If all of them
    are busy, a new thread runs it.

    Raises
    ------
    DeferredInterrupt
        After the end of the function, if an interrupt arrived meanwhile.
    """
    future: Future[T] = Future()
    try:
        scheduler.submit(function, future)
        with contextlib.suppress(TimeoutError):
            return future.result(BUSY_S)
        if future.cancel():
            future = Future()
            _start_thread(future, function)
        return future.result()
    except KeyboardInterrupt:
        if future.cancel():  # it has not begun, and will not
            raise
        if not future.done() or future.exception() is None:
            raise DeferredInterrupt(future.result()) from None
        raise


def _start_thread(future: Future[T], function: Callable[[], T]) -> None:
    threading.Thread(target=_run_into, args=(future, function), daemon=True).start()


def _run_into(future: Future[T], function: Callable[[], T]) -> None:
    """Run a function for a future, unless that was cancelled."""
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = function()
    except BaseException as error:  # noqa: BLE001 - the future raises it where its result is read
        future.set_exception(error)
    else:
        future.set_result(result)


class Scheduler:
    """Functions and the times at which they are due, on a monotonic clock in seconds.

    Parameters
    ----------
    name
        Prefix of the names of its threads.
    workers
        How many functions run at a time. Threads start when they are needed.
    """

    def __init__(self, name: str, *, workers: int, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._name = name
        self._workers = workers
        self._changed = threading.Condition()
        self._queue: list[tuple[float, int, Callable[[], None]]] = []  # a heap by due time, then by order of arrival
        self._order = itertools.count()
        self._paused_until_s = 0.0
        self._threads: list[threading.Thread] = []
        self._closed = False

    def execute(self, action: Callable[[], None]) -> None:
        """Run an action before everything that is due at a time. An exception of it is logged.

        What this raises, for want of a thread, means that the action will not run.
        """
        self.submit_at(-math.inf, action)

    def submit(self, function: Callable[[], T], future: Future[T] | None = None) -> Future[T]:
        """Run a function as `execute` does, for a future, which can be cancelled before the function begins.

        On a thread of this scheduler it runs at once: if all threads waited for another, none would be left to run it.
        """
        future = Future() if future is None else future
        if threading.current_thread() in self._threads:
            _run_into(future, function)
        else:
            self.execute(lambda: _run_into(future, function))
        return future

    def submit_at(self, due_s: float, action: Callable[[], None]) -> None:
        """Run an action at a time, or as soon after it as a thread is free. An exception of it is logged."""
        with self._changed:
            item = (due_s, next(self._order), action)
            heapq.heappush(self._queue, item)
            try:
                self._start_worker()
            except BaseException:
                self._queue.remove(item)
                heapq.heapify(self._queue)
                raise
            self._changed.notify()

    def every(self, period_s: float, action: Callable[[], bool]) -> None:
        """Run an action now and then every `period_s` seconds while it returns True.

        An action that raises is run again: one failed read of the history must not end a watch.
        """

        def repeat() -> None:
            goes_on = True
            try:
                goes_on = action()
            except ComflowyError as error:  # the history is locked, the disk is full
                _log.debug("an action of %s is tried again: %s", self._name, error)
            finally:
                if goes_on:
                    self.submit_at(self.clock() + period_s, repeat)

        self.execute(repeat)

    def run(self, function: Callable[[], T]) -> T:
        """Run a function on one of the threads, after a pause, and return its result.

        If all threads stay busy, a new thread runs it.
        """
        future = self.submit(function)
        while not future.done():
            with contextlib.suppress(TimeoutError):
                return future.result(BUSY_S)
            if not self.pause_left_s and future.cancel():
                future = Future()
                _start_thread(future, function)
        return future.result()

    def pause(self, seconds: float) -> None:
        """Begin nothing for that long: the service asked all clients to wait."""
        with self._changed:
            self._paused_until_s = max(self._paused_until_s, self.clock() + seconds)

    @property
    def pause_left_s(self) -> float:
        return max(0.0, self._paused_until_s - self.clock())

    def close(self) -> None:
        """Begin nothing more. What runs ends by itself: the threads are daemons."""
        with self._changed:
            self._closed = True
            self._queue.clear()
            self._changed.notify_all()

    def _start_worker(self) -> None:
        if self._closed or len(self._threads) >= self._workers:
            return
        thread = threading.Thread(target=self._work, name=f"{self._name}-{len(self._threads)}", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the system gives no more threads: those that are there have to do
            if not self._threads:
                raise
        else:
            self._threads.append(thread)

    def _work(self) -> None:
        while (action := self._take()) is not None:
            try:
                action()
            except Exception:  # noqa: BLE001 - a thread outlives what it ran
                _log.exception("an action of %s failed", self._name)
            del action  # an idle thread must keep nothing alive: not the client that it acted for

    def _take(self) -> Callable[[], None] | None:
        """Wait for the next action that is due; None once the scheduler is closed."""
        with self._changed:
            while not self._closed:
                now_s = self.clock()
                due_s = max(self._queue[0][0], self._paused_until_s) if self._queue else math.inf
                if due_s <= now_s:
                    action = heapq.heappop(self._queue)[2]
                    if self._queue:
                        self._changed.notify()  # another thread waits for the next one
                    return action
                self._changed.wait(None if due_s == math.inf else due_s - now_s)
            return None
