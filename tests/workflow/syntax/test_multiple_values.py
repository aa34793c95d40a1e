from __future__ import annotations

import pytest

from comflowy_nb.workflow.fields import read_field
from comflowy_nb.workflow.syntax.multiple_values import SEED_WORDS, has_range, is_range, is_several


@pytest.mark.parametrize(
    "text", ["1..5", "1..5..2", "1..5#3", "-1..1", "+1..5", "0.5..1.5", ".5..1", "5..1..-1", "1e-3..1e-2"]
)
def test_ranges(text):
    assert is_range(text)


@pytest.mark.parametrize(
    "text", ["1.5", "1..", "..5", "a..b", "1..5..", "1..5#", "1..5#x", "1 .. 5", "1..5 ", "1.2.3", "...", ""]
)
def test_what_is_no_range(text):
    assert not is_range(text)


def test_several_values_are_values_each():
    numbers, choice = read_field("1::x", ["INT", {}]), read_field("1::x", [["a", "b"]])
    for text in ("1,2", "1||2", "[1, 2]", "1..5", "1..3, 7", "[1..3]", "1, 2"):
        assert is_several(numbers, text), text
    for text in ("1,", "a,b", "", ",", "1.5", "[]", "1;2"):
        assert not is_several(numbers, text), text
    assert is_several(choice, "a,b")
    assert is_several(choice, '["a", "b"]')
    assert not is_several(choice, "a,c")


def test_a_text_is_never_several():
    assert not is_several(read_field("1::x", ["STRING"]), "a||b")


def test_seed_words():
    for word in ("random", "random#1", "random#10", "each"):
        assert SEED_WORDS.fullmatch(word)
    for word in ("Random", "random#", "random#-1", "randomly", "random 3"):
        assert not SEED_WORDS.fullmatch(word)


def test_a_range_may_stand_in_a_list():
    for text in ("1..5", "1..3,8", "0.5, 1..3", "[1..3, 8]", "1..3||4..6#2"):
        assert has_range(text), text
    for text in ("1,2", "a, 1..3", "1..3 and more", "[1, 2]", "", "1..3,"):
        assert not has_range(text), text
