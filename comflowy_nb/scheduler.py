"""Run functions on a few daemon threads: at once, at a given time, or periodically."""

from __future__ import annotations

import contextlib
import contextvars
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


T = TypeVar("T")
_log = logging.getLogger(__name__)

BUSY_S = 0.05  # maximum wait of `Scheduler.run` for a worker, before it starts a thread for the function alone


class DeferredInterrupt(KeyboardInterrupt):
    """An interrupt that arrived during `run_uninterrupted`; `result` is the result of the function."""

    def __init__(self, result: Any) -> None:
        super().__init__()
        self.result = result


def run_uninterrupted(function: Callable[[], T]) -> T:
    """Run a function to completion even if an interrupt arrives.

    The function runs on a new thread, because Python delivers KeyboardInterrupt only to the main thread, and with the
    context variables of this one.

    Raises
    ------
    DeferredInterrupt
        After the end of the function, if an interrupt arrived meanwhile.
    KeyboardInterrupt
        If an interrupt arrived before the function began. The function is then not called.
    """
    future: Future[T] = Future()
    context = contextvars.copy_context()
    try:
        _start_thread(future, lambda: context.run(function))
        return future.result()
    except KeyboardInterrupt:
        if future.cancel():  # the function has not begun
            raise
        if not future.done() or future.exception() is None:
            raise DeferredInterrupt(future.result()) from None
        raise


def _start_thread(future: Future[T], function: Callable[[], T]) -> None:
    threading.Thread(target=_run_into, args=(future, function), daemon=True).start()


def _run_into(future: Future[T], function: Callable[[], T]) -> None:
    """Run a function and store its outcome in a future, unless the future was cancelled."""
    if not future.set_running_or_notify_cancel():
        return
    try:
        result = function()
    except BaseException as error:  # noqa: BLE001 - the future raises it where its result is read
        future.set_exception(error)
    else:
        future.set_result(result)


class Scheduler:
    """Run actions on a few daemon threads, in the order of their due times.

    Parameters
    ----------
    name
        Prefix of the names of its threads.
    workers
        Maximum number of threads. They start when there is work.
    clock
        Monotonic clock, in seconds.
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
        """Run an action as soon as a thread is free, before all actions with a due time. Log its exceptions.

        If no thread can be started, this method raises, and the action does not run.
        """
        self.submit_at(-math.inf, action)

    def submit(self, function: Callable[[], T]) -> Future[T]:
        """Run a function as `execute` does. Return its future, which can be cancelled before the function begins."""
        future: Future[T] = Future()
        self.execute(lambda: _run_into(future, function))
        return future

    def submit_at(self, due_s: float, action: Callable[[], None]) -> None:
        """Run an action at the time `due_s`, or as soon afterwards as a thread is free. Log its exceptions."""
        with self._changed:
            self._start_worker()  # first: if it raises, the action must not run
            heapq.heappush(self._queue, (due_s, next(self._order), action))
            self._changed.notify()

    def every(self, period_s: float, action: Callable[[], bool]) -> None:
        """Run an action at once, and repeat it every `period_s` seconds while it returns True.

        An action that raises is run again, so that one failed read of the history does not end a watch.
        """

        def repeat() -> None:
            continues = True
            try:
                continues = action()
            except ComflowyError as error:  # the history is locked, the disk is full
                _log.debug("an action of %s is tried again: %s", self._name, error)
            finally:
                if continues:
                    self.submit_at(self.clock() + period_s, repeat)

        self.execute(repeat)

    def run(self, function: Callable[[], T]) -> T:
        """Run a function on a worker after the end of a pause, and return its result.

        If all workers stay busy, a new thread runs it.
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
        """Start no action for this duration, because the service asked its clients to wait."""
        with self._changed:
            self._paused_until_s = max(self._paused_until_s, self.clock() + seconds)

    @property
    def pause_left_s(self) -> float:
        return max(0.0, self._paused_until_s - self.clock())

    def close(self) -> None:
        """Remove the queued actions. Running actions are not interrupted, because their threads are daemons."""
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
        except RuntimeError:  # the system has no more threads; the existing workers run the action
            if not self._threads:
                raise
        else:
            self._threads.append(thread)

    def _work(self) -> None:
        while (action := self._take()) is not None:
            try:
                action()
            except Exception:  # noqa: BLE001 - a worker outlives its actions
                _log.exception("an action of %s failed", self._name)
            del action  # an idle thread must not keep a closed client alive

    def _take(self) -> Callable[[], None] | None:
        """Wait for the next due action and return it; return None when the scheduler is closed."""
        with self._changed:
            while not self._closed:
                now_s = self.clock()
                due_s = max(self._queue[0][0], self._paused_until_s) if self._queue else math.inf
                if due_s <= now_s:
                    action = heapq.heappop(self._queue)[2]
                    if self._queue:
                        self._changed.notify()  # another worker waits for the next action
                    return action
                self._changed.wait(None if due_s == math.inf else due_s - now_s)
            return None
