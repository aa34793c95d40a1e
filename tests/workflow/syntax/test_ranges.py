from __future__ import annotations

import itertools
import re
from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from comflowy_nb.workflow.syntax.ranges import LARGEST_AXIS, has_range, is_range, range_for_dash, read_range


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("4..8", [4, 5, 6, 7, 8]),
        ("2..8..2", [2, 4, 6, 8]),
        ("0.1..0.5..0.1", [0.1, 0.2, 0.3, 0.4, 0.5]),
        ("0..1..0.1", [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0]),
        ("8..2..-2", [8, 6, 4, 2]),
        ("0.5..-0.5..-.25", [0.5, 0.25, 0.0, -0.25, -0.5]),
        ("1..8..3", [1, 4, 7]),
        ("0.5..2..1", [0.5, 1.5]),
        ("-2..2", [-2, -1, 0, 1, 2]),
        ("+1..3", [1, 2, 3]),
        ("3..3", [3]),
        ("0..1#3", [0.0, 0.5, 1.0]),
        ("0..10#3", [0, 5, 10]),
        ("8..2#4", [8, 6, 4, 2]),
        ("0.1..0.3#3", [0.1, 0.2, 0.3]),
        ("0..1#4", [0.0, 1 / 3, 2 / 3, 1.0]),
        ("1e-3..3e-3..1e-3", [0.001, 0.002, 0.003]),
        (".5..1.5..0.5", [0.5, 1.0, 1.5]),
    ],
)
def test_range_is_computed_in_decimal_arithmetic(text, values):
    values_read = read_range(text)
    assert values_read == values
    assert [type(value) for value in values_read] == [type(value) for value in values]


def test_integers_of_any_size_stay_integers():
    assert read_range(f"{2**60}..{2**60 + 2}", whole=True) == [2**60, 2**60 + 1, 2**60 + 2]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("8..2", "is descending and needs a negative step: 8..2..-1"),
        ("8..2..2", "is descending and needs a negative step: 8..2..-2"),
        ("2..8..-2", "is ascending and needs a positive step: 2..8..2"),
        ("2..8..0", "step 0"),
        ("2..8..0.0", "step 0"),
        ("0.5..2", "needs a step"),
        ("1..2.5", "needs a step"),
        ("nan..2", "'nan' is not a number"),
        ("1..inf", "'inf' is not a number"),
        ("1..NaN..1", "'NaN' is not a number"),
        ("1..", "an end is missing"),
        ("..5", "an end is missing"),
        ("1..2..3..4", "is not a range"),
        ("1..5..1#3", "is not a range"),
        ("1..5#1", "at least 2"),
        ("1..5#0", "at least 2"),
        ("1..5#", "number of values"),
        ("1..5#x", "number of values"),
        ("1..5#-3", "number of values"),
        ("5..5#3", "the same"),
        ("a..b", "'a' is not a number"),
    ],
)
def test_error_for_an_invalid_range_has_the_reason(text, why):
    with pytest.raises(ValueError, match=re.escape(why)) as caught:
        read_range(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("1..3..0.5", "0.5 is not a whole number"),
        ("1.0..3", "1.0 is not a whole number"),
        ("0..1#3", "0.5, one of its 3 values, is not a whole number"),
    ],
)
def test_integer_range_needs_integer_ends_steps_and_values(text, why):
    with pytest.raises(ValueError, match=why):
        read_range(text, whole=True)


@pytest.mark.parametrize(
    "text", ["1..1000000000", "0..1..1e-300", "1..5#1000000000", "1..1e300", "1..5#99999999999999999999"]
)
def test_a_huge_range_is_rejected_with_its_count_and_never_expanded(text):
    with pytest.raises(ValueError, match=r"has [0-9,]{9,} values; an axis has at most 10,000"):
        read_range(text)


@pytest.mark.parametrize("text", ["1..1e999999999", "1e-999999999..1..1", f"1..{'9' * 5000}", "1..5#" + "9" * 5000])
def test_huge_numbers_are_rejected_quickly(text):
    with pytest.raises(ValueError, match=r"not a range|too large"):
        read_range(text)


@pytest.mark.parametrize(
    ("text", "whole", "meant"),
    [
        ("1-4", True, "1..4"),
        ("1 - 4", True, "1..4"),
        ("1\u20134", True, "1..4"),
        ("-2-2", True, "-2..2"),
        ("8-2", False, "8..2..-1"),
        ("0.5-2", False, "0.5..2#5"),
        ("0.5-2", True, None),
        ("4-4", True, None),
        ("1-", True, None),
        ("2026-11-29", True, None),
        ("a-b", True, None),
        ("7", True, None),
        ("1e-3", False, None),
    ],
)
def test_two_numbers_with_a_dash_may_mean_a_range(text, whole, meant):
    assert range_for_dash(text, whole=whole) == meant
    assert meant is None or len(read_range(meant, whole=whole)) > 1


cents = st.integers(-100_000, 100_000).map(lambda number: Decimal(number) / 100)


@given(cents, st.integers(1, 500).map(lambda number: Decimal(number) / 100), st.integers(0, 200), st.booleans())
def test_range_has_exact_decimal_values(first, step, more, down):
    step = -step if down else step
    last = first + more * step
    expected = [float(first + index * step) for index in range(more + 1)]
    assert read_range(f"{first}..{last}..{step}") == expected
    short = last + step / 2  # an end that is not a value of the range
    assert read_range(f"{first}..{short}..{step}") == expected


@given(cents, cents, st.integers(2, 200))
def test_n_values_include_both_ends_and_are_evenly_spaced(first, last, count):
    assume(first != last)
    values = read_range(f"{first}..{last}#{count}")
    assert len(values) == len(set(values)) == count
    assert (values[0], values[-1]) == (float(first), float(last))
    gap = float(last - first) / (count - 1)
    assert all(abs(b - a - gap) < 1e-9 for a, b in itertools.pairwise(values))


@given(st.text(alphabet="0123456789.-+#e", max_size=20))
def test_any_text_is_read_or_rejected(text):
    try:
        values = read_range(text)
    except ValueError as error:
        assert repr(text) in str(error)  # noqa: PT017 - most texts are rejected, some are valid
        return
    assert 0 < len(values) <= LARGEST_AXIS
    assert len(set(values)) == len(values)


@pytest.mark.parametrize(
    "text", ["1..5", "1..5..2", "1..5#3", "-1..1", "+1..5", "0.5..1.5", ".5..1", "5..1..-1", "1e-3..1e-2"]
)
def test_is_range(text):
    assert is_range(text)


@pytest.mark.parametrize(
    "text", ["1.5", "1..", "..5", "a..b", "1..5..", "1..5#", "1..5#x", "1 .. 5", "1..5 ", "1.2.3", "...", ""]
)
def test_is_not_range(text):
    assert not is_range(text)


def test_has_range():
    for text in ("1..5", "1..3,8", "0.5, 1..3", "[1..3, 8]", "1..3||4..6#2"):
        assert has_range(text), text
    for text in ("1,2", "a, 1..3", "1..3 and more", "[1, 2]", "", "1..3,"):
        assert not has_range(text), text
