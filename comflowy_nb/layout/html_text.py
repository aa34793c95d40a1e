"""Text of users and services in HTML that a notebook shows: as typed, never as markup and never as mathematics."""

from __future__ import annotations

import html
import re

__all__ = ["html_text", "without_mathematics"]

_TAG_OR_DELIMITER = re.compile(r"(<[^>]*>)|([$\\])")


def html_text(text: str) -> str:
    """Return a text as the content of an HTML element; for an attribute use `html.escape`."""
    return without_mathematics(html.escape(text))


def without_mathematics(markup: str) -> str:
    r"""Return HTML in which no text is typeset: not `$...$`, `$$...$$`, `\(...\)`, `\[...\]` or `\begin{...}`.

    JupyterLab typesets HTML outputs and descriptions of widgets, nbconvert whole pages; MathJax and KaTeX both look for
    a pair of delimiters within one run of text. So each `$` and each backslash becomes a separate element. They are
    character references, because ipywidgets looks for mathematics in the markup of a description too.
    """
    return _TAG_OR_DELIMITER.sub(lambda found: found[1] or f"<span>&#{ord(found[2])};</span>", markup)
