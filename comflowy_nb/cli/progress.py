"""Says on a terminal, or into a log, where the execution of a notebook stands."""

from __future__ import annotations

import re
import shutil
import time
from typing import TextIO

__all__ = ["ProgressReporter", "one_line"]

_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class ProgressReporter:
    """Says on a terminal where an execution stands.

    On a terminal the line of a live status is written over; elsewhere (a pipe, a log) it is repeated at most once a
    second.
    """

    GAP_S = 1.0
    LINES = 8

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._over = stream.isatty()
        self._live = ""  # the status on the last line, not yet ended by a line break
        self._waiting = ""  # a status not yet written, for want of a pause
        self._last_s = 0.0
        self.position = ""

    def line(self, text: str) -> None:
        self.end()
        self._write(f"{text}\n")

    def cell(self, index: int, count: int, source: str) -> None:
        self.position = f"{index} of {count}"
        first, *rest = source.strip().splitlines()
        self.line(f"[{index}/{count}] {first}{' ...' if rest else ''}")

    def output(self, text: str) -> None:
        """What a cell printed or returned, its first lines."""
        width = shutil.get_terminal_size().columns - 8
        lines = _plain(text).splitlines()
        for line in lines[: self.LINES]:
            self.line(f"      {line[:width]}")
        if len(lines) > self.LINES:
            self.line(f"      ... {len(lines) - self.LINES} lines more")

    def status(self, text: str) -> None:
        """The newest state of something live."""
        text = one_line(text)
        if not text or text == self._live:
            return
        if self._over:
            width = shutil.get_terminal_size().columns - 8
            self._write(f"\r\x1b[2K      {text[:width]}")
            self._live = text
        elif time.monotonic() - self._last_s >= self.GAP_S:
            self._write(f"      {text}\n")
            self._live, self._waiting = text, ""
            self._last_s = time.monotonic()
        else:
            self._waiting = text

    def end(self) -> None:
        """End the live line, so that its last state stands."""
        if self._over and self._live:
            self._write("\n")
        elif self._waiting:
            self._write(f"      {self._waiting}\n")
        self._live = self._waiting = ""

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def _plain(text: str) -> str:
    return _ANSI.sub("", text)


def one_line(text: str) -> str:
    """The text without breaks and without a terminal's colours."""
    return " ".join(_plain(text).split())
