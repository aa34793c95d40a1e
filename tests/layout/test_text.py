"""Text broken into lines."""

from __future__ import annotations

from comflowy_nb.layout.text import ELLIPSIS, Part, wrap


def measure(text, tone):
    return len(text) * (7 if tone == "strong" else 6)


def test_lines_break_at_spaces_and_are_not_wider_than_the_limit():
    lines = wrap([Part("name ", "muted"), Part("one two three four five")], 66, measure, max_lines=9)
    assert ["".join(text for _, text, _ in line) for line in lines] == ["name one", "two three", "four five"]
    for line in lines:
        x, text, tone = line[-1]
        assert x + measure(text, tone) <= 66


def test_space_between_two_styles_becomes_an_offset():
    (line,) = wrap([Part("glass"), Part(" bottle", "strong")], 400, measure, max_lines=1)
    assert line == [(0.0, "glass", "text"), (5 * 6 + 7, "bottle", "strong")]


def test_omitted_text_is_replaced_by_an_ellipsis_that_fits():
    lines = wrap([Part("one two three four five six seven")], 60, measure, max_lines=2)
    assert len(lines) == 2
    x, text, tone = lines[-1][-1]
    assert text.endswith(ELLIPSIS)
    assert x + measure(text, tone) <= 60


def test_text_without_spaces_is_broken_between_any_characters():
    for text in ("x" * 300, "美しい風景" * 60, "see " + "y" * 100):
        lines = wrap([Part(text)], 120, measure, max_lines=99)
        assert "".join(part for line in lines for _, part, _ in line).replace(" ", "") == text.replace(" ", "")
        assert all(x + measure(part, tone) <= 120 for line in lines for x, part, tone in line)


def test_line_narrower_than_a_letter_still_has_output():
    assert wrap([Part("abc")], 1, measure, max_lines=3)


def test_an_empty_text_has_no_lines():
    assert wrap([Part("")], 100, measure, max_lines=3) == []
