"""Completions as IPython offers them."""

from __future__ import annotations

from IPython.core.completer import provisionalcompleter


def completions_at(shell, before, fragment=""):
    """Return IPython's completions for a fragment at the end of a text."""
    text = before + fragment
    with provisionalcompleter():
        completions = list(shell.Completer.completions(text, len(text)))
    return sorted((text[: completion.start] + completion.text)[len(before) :].strip() for completion in completions)
