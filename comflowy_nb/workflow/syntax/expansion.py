"""Expansion of `{name}`: Python's values put into what was typed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from comflowy_nb.errors import LineError
from comflowy_nb.workflow.fields import nearest
from comflowy_nb.workflow.syntax.json_values import rounded

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["NAMES_ALONE", "expand", "expand_text", "is_name"]

NAMES_ALONE = (
    "braces take only the name of a variable: assign the value to one first, as in values = ..., and type "
    "{field}={{values}}"
)

_NAME = r"[^\W\d]\w*"
_BRACES = re.compile(rf"\{{\{{({_NAME})\}}\}}|\{{({_NAME})\}}")


def expand(text: str, namespace: Mapping[str, Any] | None) -> Any:
    """Expand `{name}` in a text.

    Parameters
    ----------
    text
        Exactly `{name}` is the object itself. Within a longer text `{name}` is its `str`, of a float rounded to 12
        digits. `{{name}}` is the literal `{name}`. Any other braces, and `$`, are text.
    namespace
        None where nothing expands (a file of commands, the Python API): the text comes back as it is.

    Raises
    ------
    LineError
        If a name is not defined; the text names it, and says how a literal is written.
    """
    if namespace is None:
        return text
    if is_name(text):
        return _look_up(text[1:-1], namespace)
    return expand_text(text, namespace)


def expand_text(text: str, namespace: Mapping[str, Any] | None) -> str:
    """Expand `{name}` as `expand` does, but always return a text (for WORKFLOW, REF and values of options)."""
    if namespace is None:
        return text

    def put(found: re.Match[str]) -> str:
        return f"{{{found[1]}}}" if found[1] else str(rounded(_look_up(found[2], namespace)))

    return _BRACES.sub(put, text)


def is_name(text: str) -> bool:
    """Return whether a text is exactly `{name}`."""
    found = _BRACES.fullmatch(text)
    return found is not None and found[2] is not None


def _look_up(name: str, namespace: Mapping[str, Any]) -> Any:
    try:
        return namespace[name]
    except KeyError:
        near = nearest(name, [known for known in namespace if not known.startswith("_")], 1)
        tip = f" (nearest: {near[0]})" if near else ""
        raise LineError(
            f"{{{name}}}: there is no variable {name}{tip}; write {{{{{name}}}}} for the text {{{name}}}"
        ) from None
