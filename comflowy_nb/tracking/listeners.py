"""Listeners of a run or a sweep: functions that are called at every change, on the thread that made it.

A listener only sets a flag or puts an event into a queue: locks may be held while it is called.
"""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Listeners"]

T = TypeVar("T")
_log = logging.getLogger(__name__)


class Listeners(Generic[T]):
    """The listeners of one object of type `T`, which is their argument."""

    def __init__(self) -> None:
        self._listeners: tuple[Callable[[T], None], ...] = ()  # replaced as a whole, so that `call` needs no lock
        self._lock = threading.RLock()  # a finalizer may remove a listener at any allocation of this thread

    def add(self, listener: Callable[[T], None]) -> Callable[[], None]:
        """Call `listener` at every change from now on. Return the function that removes it."""
        with self._lock:
            self._listeners += (listener,)

        def stop() -> None:
            self._remove(listener)

        return stop

    def once(self, condition: Callable[[], bool], action: Callable[[], None]) -> None:
        """Call `action` exactly once: now if `condition` holds, else at the first change after which it holds."""

        def check(_: T | None = None) -> None:
            if condition() and self._remove(check):
                action()

        self.add(check)
        check()

    def call(self, change: T) -> None:
        """Call every listener. If one raises, the exception is logged and the others are called."""
        for listener in self._listeners:
            try:
                listener(change)
            except Exception:  # noqa: BLE001 - one broken listener must not stop the others
                _log.exception("a listener failed")

    def _remove(self, listener: Callable[[T], None]) -> bool:
        """Remove a listener. Return False if it was removed before."""
        with self._lock:
            others = tuple(other for other in self._listeners if other is not listener)
            was_there = len(others) < len(self._listeners)
            self._listeners = others
            return was_there
