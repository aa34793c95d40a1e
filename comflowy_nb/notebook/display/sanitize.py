"""Errors in one or two plain lines, set on the instance: a person's own errors keep their tracebacks."""

from __future__ import annotations

import re

from comflowy_nb.errors import ComflowyError

__all__ = ["plain", "shorten"]

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def plain(text: str) -> str:
    """The text without anything that a terminal or a notebook would act on."""
    return _CONTROL.sub("", text)


def shorten(error: BaseException) -> None:
    """Make IPython show this very exception as plain lines. It stays catchable, and its cause stays on it."""
    words = plain(str(error))
    if isinstance(error, ComflowyError):
        lines = f"{type(error).__name__}: {words}".splitlines()
    else:
        lines = [f"{type(error).__name__}: {words}" if words else type(error).__name__]
    error._render_traceback_ = lambda *_, **__: lines  # type: ignore[attr-defined]
