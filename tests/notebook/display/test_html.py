"""Bundles: the same content as plain text and as escaped HTML."""

from __future__ import annotations

from comflowy_nb.notebook.display.html import join, paragraph, plain, table

EVIL = "<script>alert(1)</script>&\"'"


def test_all_texts_are_escaped():
    bundles = [
        paragraph(EVIL),
        table((EVIL, "b"), [(EVIL, EVIL)]),
        join(paragraph(EVIL), paragraph(EVIL)),
    ]
    for bundle in bundles:
        assert "<script" not in bundle["text/html"]
        assert "&lt;script&gt;" in bundle["text/html"]
        assert EVIL in bundle["text/plain"]


def test_a_table_omits_empty_columns_and_cuts_long_cells_in_plain_text_only():
    bundle = table(("run", "name", "set"), [("r1", "", "x" * 100), ("r2", "", "y")])
    lines = bundle["text/plain"].splitlines()
    assert lines[0].split() == ["run", "set"]
    assert lines[1] == f"r1   {'x' * 57}..."
    assert "x" * 100 in bundle["text/html"]
    assert "<style" not in bundle["text/html"]


def test_control_characters_are_removed():
    assert plain("a\x1b[31mred\x1b[0m\x07\x00b\x9bc\ttab\nline") == "aredbc\ttab\nline"
