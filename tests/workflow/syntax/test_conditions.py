from __future__ import annotations

import operator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comflowy_nb.errors import ComflowyError, FieldError, LineError
from comflowy_nb.workflow.syntax.conditions import parse_condition

VALUES = {
    "cfg": 7.5,
    "steps": 30,
    "sampler_name": "euler",
    "text": "A Red bottle",
    "3::cfg": 7.5,
    "a b": 2,
    "flag": True,
    "several": {"__value__": ["x", "y"]},
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("cfg < 6 or steps > 20", True),
        ("cfg < 6 and steps > 20", False),
        ("cfg < 6 and steps > 20 or cfg = 7.5", True),
        ("cfg < 6 and (steps > 20 or cfg = 7.5)", False),
        ("not cfg < 8", False),
        ("not not cfg == 7.5", True),
        ("2 <= cfg < 8", True),
        ("2 <= cfg < 7.5", False),
        ("7.5 = cfg", True),
        ("cfg != 7.5", False),
        ("cfg in 2..8", True),
        ("cfg not in 2..8", False),
        ("cfg in (7.5, 8)", True),
        ("cfg in [8, 9]", False),
        ("sampler_name in euler,heun", True),
        ("sampler_name NOT IN ('dpmpp_2m', \"heun\")", True),
        ("sampler_name = euler", True),
        ("sampler_name == 'Euler'", False),
        ("text contains red", True),
        ("text contains 'red bottle'", True),
        ("not text contains blue", True),
        ("several contains y", True),
        ("several contains z", False),
        ("flag = true", True),
        ("flag != TRUE", False),
        ("`a b` = 2", True),
        ("`3::cfg` > 7 and 3::cfg < 8", True),
        ("cfg < `steps`", True),
        ("steps < `cfg`", False),
        ("rating >= 4", False),
        ("rating = null", True),
        ("rating != 3", True),
        ("cfg=null", False),
        ("cfg>-1e3", True),
    ],
)
def test_condition_over_values(text, expected):
    assert parse_condition(text).matches(VALUES) is expected


def test_names_are_listed_once_in_their_order():
    assert parse_condition("b = 1 or `a c` > `b` and not b < 3 or 3::cfg = x").names == ("b", "a c", "3::cfg")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "at the end: expected a name"),
        ("cfg", "at the end: expected a comparison such as cfg < 6"),
        ("cfg <", "at the end: expected a number, a text or a name in backticks"),
        ("cfg < 6 or", "at the end: expected a name"),
        ("cfg < 6 steps > 2", "at 'steps > 2': expected and, or, or the end"),
        ("(cfg < 6", "at the end: expected )"),
        ("cfg in (4, 8", "at the end: expected , or )"),
        ("cfg not 4", "at '4': expected in"),
        ("cfg < 'six", "at \"'six\": the ' is not closed"),
        ("`cfg < 6", "at '`cfg < 6': the ` is not closed"),
        ("3 < 4", "a comparison needs a name"),
        ("cfg & 4", "at '& 4': expected a name, a number or a text"),
        ("__import__('os').system('ls')", "at \"('os').system('ls')\": expected a comparison"),
        ("cfg.__class__ < 4 if 1 else 2", "at 'if 1 else 2': expected and, or, or the end"),
        ("[cfg for cfg in (1,)]", "at '[cfg for cfg in (1,)]': expected a name"),
        ("(" * 100 + "cfg = 1" + ")" * 100, "not and brackets are nested more than 64 deep"),
        ("not " * 1000 + "cfg = 1", "not and brackets are nested more than 64 deep"),
        ("cfg = 1 or " * 2000 + "cfg = 1", "at most 10,000 characters"),
    ],
)
def test_invalid_condition_names_the_position(text, problem):
    with pytest.raises(LineError) as caught:
        parse_condition(text)
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("cfg < six", "can't evaluate cfg < six: 7.5 is a number, 'six' is a text"),
        ("sampler_name = 5", "can't evaluate sampler_name = 5: 'euler' is a text, 5 is a number"),
        ("sampler_name in (5, 6)", "'euler' is a text, 5 is a number"),
        ("sampler_name < heun", "'euler' is a text, and only numbers have an order"),
        ("flag = 1", "True is true or false, 1 is a number"),
        ("cfg contains 7", "7.5 is a number, not a text"),
        ("text contains 5", "5 is a number, write it in quotes"),
    ],
)
def test_values_of_different_types_are_an_error(text, problem):
    with pytest.raises(FieldError) as caught:
        parse_condition(text).matches(VALUES)
    assert problem in str(caught.value)


@given(st.text(max_size=60))
def test_any_text_is_a_condition_or_a_line_error(text):
    with suppress(ComflowyError):
        assert parse_condition(text).matches(VALUES) in {True, False}


_SIGNS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "=": operator.eq, "!=": operator.ne}


@st.composite
def _conditions(draw, depth=3):
    """Return a condition and the function that it means, written with `and`, `or` and `not` of Python."""
    if depth == 0 or draw(st.booleans()):
        name, sign = draw(st.sampled_from("xyz")), draw(st.sampled_from(sorted(_SIGNS)))
        number = draw(st.integers(-3, 3))
        return f"{name} {sign} {number}", lambda values: _SIGNS[sign](values[name], number)
    left, left_test = draw(_conditions(depth - 1))
    right, right_test = draw(_conditions(depth - 1))
    match draw(st.sampled_from(["and", "or", "not"])):
        case "and":
            return f"({left}) and ({right})", lambda values: left_test(values) and right_test(values)
        case "or":
            return f"({left}) or ({right})", lambda values: left_test(values) or right_test(values)
    return f"not ({left})", lambda values: not left_test(values)


@given(_conditions(), st.fixed_dictionaries({name: st.integers(-3, 3) for name in "xyz"}))
def test_condition_agrees_with_python(condition, values):
    text, test = condition
    assert parse_condition(text).matches(values) is test(values)
