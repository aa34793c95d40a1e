from __future__ import annotations

from comflowy_nb.layout.sweep_sheet import wrap_heading


def measure(text, tone):
    return len(text) * (6 if tone == "small" else 7)


def test_headings_break_at_separators_and_numbers_are_never_broken():
    assert wrap_heading("euler_ancestral", 70, measure, max_lines=4) == ["euler_", "ancestral"]
    assert wrap_heading("two words", 50, measure, max_lines=4) == ["two", "words"]
    assert wrap_heading("123456.789", 40, measure, max_lines=4) is None
    assert wrap_heading("abcdefghijklmnop", 40, measure, max_lines=4) is None
    assert wrap_heading("a b c d e", 8, measure, max_lines=4) is None
