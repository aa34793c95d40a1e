"""Waitable: the base class of runs and sweeps, to wait until they are settled and to listen to changes."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
import os
import threading
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Generic, TypeVar

from comflowy_nb.countdown import READ_EVERY_S, Countdown
from comflowy_nb.database.process_locks import check_not_forked
from comflowy_nb.errors import RunTimeout, SettingsError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from typing import Any, Self


T = TypeVar("T")
_log = logging.getLogger(__name__)

# How often an await wakes up. A kernel interrupt cancels the task of the cell, but does not wake up the event loop.
_WAKE_S = 0.5


def check_timeout(timeout: object) -> None:
    """Raise a SettingsError unless a timeout is a number of seconds or None."""
    if not isinstance(timeout, int | float | None):
        raise SettingsError(f"invalid timeout {timeout!r}: use a number of seconds, as in wait(timeout=60)")


class Waitable(ABC, Generic[T]):
    """A run or a sweep: wait until it is settled, or call listeners at every change.

    A run is settled when its status is final or held and every image is downloaded or given up; a sweep when no more
    cells are submitted and every run is settled.

    Examples
    --------
    >>> run.wait(timeout=60).is_settled
    True
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._listeners: tuple[Callable[[T], None], ...] = ()  # replaced as a whole, so that a call needs no lock
        self._listeners_lock = threading.RLock()  # a finalizer may remove a listener at any allocation of this thread
        self._process = os.getpid()

    @property
    @abstractmethod
    def ref(self) -> str:
        """Reference, such as `r41` or `s3`."""

    @property
    @abstractmethod
    def is_settled(self) -> bool:
        """Whether the run or sweep is settled: only an action of the user can change it."""

    @abstractmethod
    def _timeout_text(self, timeout: float) -> str:
        """Return the text of a RunTimeout after `timeout` seconds, without the command that shows it."""

    def timeout_error(self, timeout: float) -> RunTimeout:
        """Return the error for a wait that took longer than `timeout`.

        Parameters
        ----------
        timeout : float
            Time waited, in seconds.

        Returns
        -------
        RunTimeout
            The error, with this run or sweep as `.run`.
        """
        return RunTimeout(f"{self._timeout_text(timeout)}: %comflowy show {self.ref}", self)

    def wait(self, timeout: float | None = None) -> Self:
        """Block until it is settled. An interrupt only stops waiting; it cancels nothing.

        Parameters
        ----------
        timeout : float, optional
            Maximum time to wait, in seconds. None (default) waits without a limit.

        Returns
        -------
        Run or Sweep
            This run or sweep.

        Raises
        ------
        RunTimeout
            If it is not settled after `timeout` seconds. It continues.
        SettingsError
            If `timeout` is not a number.
        KeyboardInterrupt
            After an interrupt, with a text that says how to cancel it.
        ComflowyError
            If this process was forked from the process that tracks it.

        Examples
        --------
        >>> run = client.submit("default", {"width": 64, "height": 64, "seed": 9}).run
        >>> run.wait(timeout=60).status
        <Status.SUCCESS: 'success'>
        >>> sweep = client.sweep("default", {"cfg": [4, 7], "width": 64, "height": 64, "seed": 12}, wait=False)
        >>> sweep.wait(timeout=60).status_counts()
        {'success': 2}
        """
        check_not_forked(self._process, self.ref)
        check_timeout(timeout)
        countdown = Countdown(math.inf if timeout is None else timeout)
        settled = threading.Event()  # not `wait_change`, which wakes this thread for each of thousands of events
        try:
            with contextlib.ExitStack() as listening:
                listening.callback(self.once(lambda: self.is_settled, settled.set))
                while not self.is_settled:
                    if timeout is not None and countdown.left_s() <= 0:
                        raise self.timeout_error(timeout)
                    settled.wait(min(READ_EVERY_S, countdown.left_s()))
        except KeyboardInterrupt as interrupt:
            interrupt.args = (f"stopped waiting; {self.ref} continues: %comflowy cancel {self.ref} cancels it",)
            raise
        return self

    def __await__(self) -> Generator[Any, None, Self]:
        """Wait until it is settled without blocking the event loop: `await run` is `run.wait()`.

        Cancelling or interrupting the await only stops waiting; it cancels nothing.
        """
        return self._settle().__await__()

    async def _settle(self) -> Self:
        check_not_forked(self._process, self.ref)
        loop = asyncio.get_running_loop()
        settled = asyncio.Event()

        def notify() -> None:
            with contextlib.suppress(RuntimeError):  # the loop was closed meanwhile
                loop.call_soon_threadsafe(settled.set)

        stop = self.once(lambda: self.is_settled, notify)
        try:
            while not self.is_settled:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_WAKE_S):
                        await settled.wait()
        finally:
            stop()
        return self

    def on_done(self, function: Callable[[Self], object]) -> Callable[[], None]:
        """Call a function once, when it is settled.

        Parameters
        ----------
        function : callable
            Called with this run or sweep: at once if it is settled already, else on a separate thread. An exception
            is logged and has no other effect.

        Returns
        -------
        callable
            Removes the function.

        Examples
        --------
        >>> run.on_done(lambda run: print(run.status))
        success
        <function ...>
        >>> stop = sweep.on_done(lambda sweep: print(len(sweep.images), "images"))
        2 images
        """

        def call() -> None:
            try:
                function(self)
            except Exception:  # noqa: BLE001 - the run does not depend on the function
                _log.exception("the function of on_done for %s failed", self.ref)

        def start() -> None:  # not in the listener: locks may be held, and the function may wait for other runs
            threading.Thread(target=call, name="comflowy-on-done", daemon=True).start()

        if not callable(function):
            raise SettingsError(f"on_done needs a function of one argument, such as print, not {function!r}")
        if self.is_settled:
            call()
            return lambda: None
        return self.once(lambda: self.is_settled, start)

    def wait_change(self, timeout: float) -> bool:
        """Wait for a change.

        Parameters
        ----------
        timeout : float
            Maximum time to wait, in seconds.

        Returns
        -------
        bool
            True if the run or sweep is settled.

        Examples
        --------
        >>> run.wait_change(0.5)
        True
        """
        with self._changed:
            if timeout > 0 and not self.is_settled:
                self._changed.wait(timeout)
        return self.is_settled

    def listen(self, listener: Callable[[T], None]) -> Callable[[], None]:
        """Call a function at every change.

        Parameters
        ----------
        listener : callable
            Called on the thread that made the change: with a run the run itself, with a sweep the cell that changed, or
            None for the sweep. It may only set a flag or put an event into a queue, because locks may be held.

        Returns
        -------
        callable
            Removes the listener.

        Examples
        --------
        >>> statuses = []
        >>> run = client.submit("default", {"width": 64, "height": 64, "seed": 10}).run
        >>> stop = run.listen(lambda run: statuses.append(run.status))
        >>> run.wait().status is statuses[-1]
        True
        >>> stop()
        """
        with self._listeners_lock:
            self._listeners += (listener,)

        def stop() -> None:
            self._remove(listener)

        return stop

    def once(self, condition: Callable[[], bool], action: Callable[[], None]) -> Callable[[], None]:
        """Call `action` exactly once: now if `condition` holds, else at the first change after which it holds.

        Parameters
        ----------
        condition : callable
            Called without arguments; returns a bool.
        action : callable
            Called without arguments, as a listener.

        Returns
        -------
        callable
            Removes the action.

        Examples
        --------
        >>> stop = run.once(lambda: run.status.is_final, lambda: print("done"))
        done
        """

        def check(_: T | None = None) -> None:
            if condition() and self._remove(check):
                action()

        stop = self.listen(check)
        check()
        return stop

    def _call_listeners(self, change: T) -> None:
        """Call every listener. If one raises, the exception is logged and the others are called."""
        for listener in self._listeners:
            try:
                listener(change)
            except Exception:  # noqa: BLE001 - one broken listener must not stop the others
                _log.exception("a listener failed")

    def _remove(self, listener: Callable[[T], None]) -> bool:
        """Remove a listener. Return False if it was removed before."""
        with self._listeners_lock:
            listeners = self._listeners  # read once: a finalizer may remove another listener at any allocation here
            others = tuple(other for other in listeners if other is not listener)
            self._listeners = others
            return len(others) < len(listeners)
