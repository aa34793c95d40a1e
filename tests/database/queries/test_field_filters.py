"""Intervals, alternatives and conditions of a search, against stored values of any type."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comflowy_nb.database.queries.field_filters import AnyOf, has_params, is_fulfilled, read_wanted
from comflowy_nb.errors import LineError, SettingsError
from comflowy_nb.workflow.syntax.conditions import parse_condition


@pytest.mark.parametrize(
    ("typed", "stored", "found"),
    [
        ("2..5", 2, True),
        ("2..5", 5.0, True),
        ("2..5", 5.001, False),
        ("5..2", 3, True),
        ("2..5", "3", False),
        ("2..5", "2..5", True),
        ("2..5", True, False),
        ("0.1..0.3", 0.3, True),
        ("-1..1", -1, True),
        ("euler,heun", "heun", True),
        ("euler,heun", "ddim", False),
        ("euler,heun", "euler,heun", True),
        ("4,8", 8.0, True),
        ("4,8", "4", True),
        ("2..3,8", 8, True),
        ("2..3,8", 7, False),
        ("true,false", True, True),
        (f"{2**63},7", 2**63, True),
        (f"{2**64 - 2}..{2**64 - 1}", 2**64 - 1, True),
        (f"{2**64 - 2}..{2**64 - 1}", 2**64 - 3, False),
        ("7.5", 7.5, True),
        ("null", None, True),
        ("null", "null", False),
        ("[1,2]", [1, 2], True),
        ("a,", "a,", True),
        ("a,", "a", False),
        ("1..x", "1..x", True),
    ],
)
def test_typed_values_and_stored_ones(typed, stored, found):
    assert has_params({"3::cfg": stored}, {"cfg": read_wanted(typed)}) is found


@pytest.mark.parametrize("typed", ["2..8..2", "0..1#5", "4,2..8..2"])
def test_the_steps_of_a_sweep_are_an_error_that_shows_the_interval(typed):
    """`runs cfg=2..8..2` found nothing."""
    with pytest.raises(SettingsError, match=r"use \d\.\.\d instead of .*, or put a text in quotes"):
        read_wanted(typed)


def test_a_python_list_is_alternatives_and_equals_a_stored_list():
    assert has_params({"3::cfg": 4}, {"cfg": AnyOf([4, 8], (4, 8))})
    assert has_params({"3::sizes": [4, 8]}, {"sizes": AnyOf([4, 8], (4, 8))})
    assert not has_params({"3::cfg": 5}, {"cfg": AnyOf([4, 8], (4, 8))})


PARAMS = {"3::cfg": 7.5, "3::steps": 30, "6::text": "a red cat", "7::text": "blurry", "4::name": "euler", "5::on": True}


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        ("cfg < 6 or steps > 20", True),
        ("cfg < 6 and steps > 20", False),
        ("cfg = euler", False),
        ("cfg != euler", False),
        ("not cfg = euler", False),
        ("cfg = euler or steps = 30", True),
        ("rating >= 4", False),
        ("not rating >= 4", False),
        ("rating != 3", False),
        ("rating = null", True),
        ("cfg != null", True),
        ("rating < 3 or cfg > 7", True),
        ("text contains cat", True),
        ("text contains blurry", True),
        ("6::text contains blurry", False),
        ("text contains cat and text contains blurry", False),
        ("cfg in 7..8", True),
        ("cfg in (7.5, euler)", True),
        ("cfg not in (1, 2)", True),
        ("name not in (heun, ddim)", True),
        ("rating not in (1, 2)", False),
        ("on = true", True),
        ("`3::cfg` > 7", True),
        ("4::cfg > 7", False),
    ],
)
def test_conditions_of_the_values_of_a_run(condition, found):
    """A run whose value has another type, or that has no such field, simply does not match."""
    assert is_fulfilled(PARAMS, parse_condition(condition)) is found


def test_too_many_fields_of_the_same_names_are_an_error_that_suggests_ids():
    params = {f"{node}::{name}": node for node in range(20) for name in ("a", "b", "c")}
    with pytest.raises(SettingsError, match="several fields of a run have the names a, b, c: use their ids"):
        is_fulfilled(params, parse_condition("a < 0 or b < 0 or c < 0"))


def test_the_error_for_too_many_fields_names_only_those_that_share_a_name():
    params = {f"{node}::a": node for node in range(501)} | {"1::b": 1, "2::b": 2, "1::c": 3}
    with pytest.raises(SettingsError, match="several fields of a run have the names a, b: use their ids"):
        is_fulfilled(params, parse_condition("a < 0 or b < 0 or c < 0"))


def test_search_with_a_condition(history, run_request):
    for number in (4, 7, 9):
        history.record_or_reuse(run_request(f"k{number}", params={"3::cfg": number, "3::seed": 2**64 - number}))
    found = history.search(where="cfg > 5 and seed >= 18446744073709551607", params={"cfg": read_wanted("1..8")})
    assert [run.params["3::cfg"] for run in found] == [7]
    assert history.search(where="cfg > 5 and cgf > 2") == []
    assert {"cfg", "3::cfg", "seed", "3::seed"} == history.field_names()
    with pytest.raises(LineError, match="invalid condition"):
        history.search(where="cfg >")


SIGNS = st.sampled_from(["<", ">=", "=", "!="])
COMPARISONS = st.builds("{} {} {}".format, st.sampled_from("ab"), SIGNS, st.integers(0, 3))
CONDITIONS = st.recursive(
    COMPARISONS,
    lambda inner: st.one_of(
        inner.map("not ({})".format),
        st.builds("({}) and ({})".format, inner, inner),
        st.builds("({}) or ({})".format, inner, inner),
    ),
    max_leaves=6,
)


@given(text=CONDITIONS, a=st.integers(0, 3), b=st.integers(0, 3))
def test_a_condition_of_known_values_is_what_a_sweep_evaluates(text, a, b):
    condition = parse_condition(text)
    assert condition.is_true({"a": a, "b": b}) is condition.matches({"a": a, "b": b})


@given(text=CONDITIONS, a=st.integers(0, 3))
def test_a_condition_that_is_true_without_a_value_is_true_for_each_value(text, a):
    condition = parse_condition(text)
    if condition.is_true({"a": a}):
        assert all(condition.is_true({"a": a, "b": b}) for b in range(4))
