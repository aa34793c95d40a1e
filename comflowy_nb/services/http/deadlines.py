"""Deadlines that a slow server can't stretch.

A timeout of requests is one of each read from the socket, so a server that sends a byte every second is never too
slow for it. Here the deadline of the whole exchange is looked at before every read, in the head as in the body.
"""

from __future__ import annotations

import io
import threading
import time
from typing import Any

__all__ = ["Limit", "TimedSocket", "held", "holding"]


class Limit:
    """How long one exchange may take, and how slowly its body may come in.

    Parameters
    ----------
    deadline_s
        Seconds from now for the whole of it.
    floor_bytes_per_s, window_s
        Fewer bytes than this in any window of a body are too few; 0 sets no floor.
    """

    def __init__(self, deadline_s: float, *, floor_bytes_per_s: float = 0.0, window_s: float = 30.0) -> None:
        self._end = time.monotonic() + deadline_s
        self._floor = floor_bytes_per_s * window_s
        self._window_s = window_s
        self._window_end: float | None = None
        self._got = 0
        self.spent: str | None = None  # why it was this limit that ended the exchange

    def begin_body(self) -> None:
        """The head is there: from now on the floor counts."""
        if self._floor:
            self._window_end = time.monotonic() + self._window_s

    def left_s(self) -> float:
        """Seconds until the next read must be done.

        Raises
        ------
        TimeoutError
            If there are none left.
        """
        now = time.monotonic()
        if self._window_end is not None and now >= self._window_end:
            if self._got < self._floor:
                self._spend("it came in too slowly")
            self._got = 0
            self._window_end = now + self._window_s
        if now >= self._end:
            self._spend("it was not complete in time")
        ends = [self._end] if self._window_end is None else [self._end, self._window_end]
        return max(0.001, min(ends) - now)

    def add(self, count: int) -> None:
        self._got += count

    def _spend(self, why: str) -> None:
        self.spent = why
        raise TimeoutError(why)


class _Calls(threading.local):
    limit: Limit | None = None


_calls = _Calls()


def held() -> Limit | None:
    """The limit that this thread keeps to at the moment."""
    return _calls.limit


class holding:  # noqa: N801 - reads as a verb: `with holding(limit):`
    """Every connection this thread uses inside keeps to `limit`, until its answer has been read."""

    def __init__(self, limit: Limit) -> None:
        self._limit = limit

    def __enter__(self) -> None:
        _calls.limit = self._limit

    def __exit__(self, *_: object) -> None:
        _calls.limit = None


class _TimedReader(io.RawIOBase):
    """What a socket's file reads from, with the limit looked at before each read."""

    def __init__(self, timed: TimedSocket) -> None:
        self._timed = timed
        # the socket's own raw file: it keeps the socket open for the answer after the connection has let go of it
        self._raw: io.RawIOBase = timed.sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        timed = self._timed
        limit = timed.limit
        while limit is not None:
            left_s = limit.left_s()
            silence_s = timed.silence_s
            timed.sock.settimeout(left_s if silence_s is None else min(left_s, silence_s))
            try:
                count: int = timed.sock.recv_into(buffer)
            except TimeoutError:
                limit.left_s()  # raises if it was the limit
                if silence_s is not None and silence_s <= left_s:
                    raise
                continue  # one window of the floor is over, and was fast enough
            limit.add(count)
            return count
        return self._raw.readinto(buffer)

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()


class TimedSocket:
    """A connected socket whose files keep a limit; everything else is the socket's own."""

    def __init__(self, sock: Any, limit: Limit | None) -> None:
        self.sock = sock
        self.limit = limit
        self.silence_s: float | None = sock.gettimeout() if hasattr(sock, "gettimeout") else None

    def settimeout(self, seconds: float | None) -> None:
        self.silence_s = seconds
        self.sock.settimeout(seconds)

    def makefile(self, mode: str = "rb", *_: Any, **__: Any) -> io.BufferedReader:
        assert mode == "rb"  # http.client reads its answers so, and writes with sendall
        return io.BufferedReader(_TimedReader(self))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.sock, name)
