"""Text in HTML: escaped, and not typeset as mathematics."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from comflowy_nb.layout.text import html_text, without_mathematics

# Delimiters of JupyterLab's renderers, MathJax and KaTeX, which both look within one run of text.
MATHEMATICS = re.compile(r"\$[^$]+\$|\\[(\[]|\\begin|\\\$|\\(?:eq)?ref", re.DOTALL)


class TextRuns(HTMLParser):
    """Collect the runs of text of an HTML document."""

    def __init__(self, markup):
        super().__init__()
        self.texts = [""]
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.texts.append("")

    def handle_endtag(self, tag):
        self.texts.append("")

    def handle_data(self, data):
        self.texts[-1] += data


@given(st.text(st.sampled_from("$\\()[]{}begin <>&'\"x")))
@example("a $5 note and a $10 note")
@example(r"$$x$$ \(x\) \[x\] \begin{equation}x\end{equation} \$1$")
def test_the_text_is_unchanged_and_contains_no_mathematics(text):
    """`a $5 note and a $10 note` was typeset as a formula."""
    markup = html_text(text)
    runs = TextRuns(markup).texts
    assert "".join(runs) == text
    assert not any(MATHEMATICS.search(run) for run in runs)
    assert "$" not in markup  # ipywidgets searches the markup of a description for it


@pytest.mark.parametrize("markup", ['<td title="$5 and $6">x</td>', "<b>plain</b>"])
def test_tags_are_unchanged(markup):
    assert without_mathematics(markup) == markup
