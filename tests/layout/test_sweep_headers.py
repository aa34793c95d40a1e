from __future__ import annotations

from comflowy_nb.layout.sweep_headers import wrap_header


def measure(text, tone):
    return len(text) * (6 if tone == "small" else 7)


def test_headers_break_at_joints_and_numbers_never():
    assert wrap_header("euler_ancestral", 70, measure, max_lines=4) == ["euler_", "ancestral"]
    assert wrap_header("two words", 50, measure, max_lines=4) == ["two", "words"]
    assert wrap_header("123456.789", 40, measure, max_lines=4) is None
    assert wrap_header("abcdefghijklmnop", 40, measure, max_lines=4) is None
    assert wrap_header("a b c d e", 8, measure, max_lines=4) is None
