"""Detect the features of the front end. No message reports them, so read the environment and the requests."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


def has_displays() -> bool:
    """Return whether the front end has displays that can be updated. False in a terminal, a script, and marimo."""
    return _kernel() is not None and not _is_console()


def is_stdin_allowed() -> bool:
    """Return whether a user can answer a prompt of this kernel. False under nbclient, papermill and Voila."""
    return bool(getattr(_kernel(), "_allow_stdin", False))


def is_voila() -> bool:
    """Return whether Voila shows this notebook: as a page with widgets, which applies no later update of a display."""
    return "VOILA_SERVER_URL" in os.environ


def is_marimo() -> bool:
    """Return whether marimo executes this code. marimo shows only widgets of anywidget."""
    marimo = sys.modules.get("marimo")
    return marimo is not None and bool(marimo.running_in_notebook())


def without_unusable_view(data: Mapping[str, Any]) -> dict[str, Any]:
    """Remove the widget from display data if nbclient executes this notebook to save it.

    With the state of its widgets, which nbclient saves too, nbconvert would show the widget in place of the static
    version. A page without a network shows nothing then, and the explorer shows nothing without a kernel.
    """
    is_usable = _kernel() is None or is_stdin_allowed() or is_voila()
    return {key: value for key, value in data.items() if is_usable or key != "application/vnd.jupyter.widget-view+json"}


def _is_console() -> bool:
    """Return whether `jupyter console` or qtconsole has started this kernel. They ignore updates of a display.

    Only they name the connection file after their process.
    """
    connection_file = str(getattr(getattr(_kernel(), "parent", None), "connection_file", ""))
    return Path(connection_file).name == f"kernel-{os.getppid()}.json"


def _kernel() -> Any:
    from IPython import get_ipython  # noqa: PLC0415 - costs time at load

    return getattr(get_ipython(), "kernel", None)
