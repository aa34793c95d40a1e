"""The access token: fetched once however many threads need it, and once more when it was refused."""

from __future__ import annotations

import copy
import threading
import time
from typing import TYPE_CHECKING

from comflowy_nb.errors import ServiceError

if TYPE_CHECKING:
    from collections.abc import Callable

    from comflowy_nb.settings import Secret

__all__ = ["Tokens"]

REMEMBERED_S = 3.0  # a failure to get one is shared with all who ask within this time


class Tokens:
    """The token of one service, in memory only.

    Parameters
    ----------
    fetch
        Asks the service for a token; raises ServiceError.
    """

    def __init__(self, fetch: Callable[[], Secret], *, clock: Callable[[], float] = time.monotonic) -> None:
        self._fetch = fetch
        self._clock = clock
        self._lock = threading.Lock()
        self._current: Secret | None = None
        self._failure: ServiceError | None = None
        self._failed_until = 0.0

    @property
    def current(self) -> Secret | None:
        return self._current

    def get(self) -> Secret:
        """The token; whoever comes while it is being fetched waits for it.

        Raises
        ------
        ServiceError
            If there was none to be had, now or a moment ago.
        """
        return self._current or self._renewed(None)

    def renew(self, refused: Secret) -> Secret:
        """A token other than the refused one; of many threads that were refused together one fetches it.

        Raises
        ------
        ServiceError
            As `get`.
        """
        return self._renewed(refused)

    def _renewed(self, refused: Secret | None) -> Secret:
        with self._lock:
            if self._current is not None and self._current != refused:
                return self._current
            failure = self._failure if self._clock() < self._failed_until else None
            if failure is None:
                self._current = None
                try:
                    self._current = self._fetch()
                except ServiceError as error:
                    failure = self._failure = copy.copy(error)  # a copy has no frames
                    self._failed_until = self._clock() + REMEMBERED_S
                else:
                    self._failure = None
                    return self._current
        raise copy.copy(failure)
