from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comflowy_nb.errors import LineError
from comflowy_nb.workflow.syntax.expansion import expand, expand_text, is_name

NAMES = {"subject": "a fox", "n": 3, "sizes": [1, 2], "größe": "big", "day": "Monday"}


def test_exactly_a_name_is_the_object_itself():
    assert expand("{sizes}", NAMES) is NAMES["sizes"]
    assert expand("{n}", NAMES) == 3
    assert expand("{größe}", NAMES) == "big"


def test_within_longer_text_it_is_its_str():
    assert expand("{subject} by {n} trees", NAMES) == "a fox by 3 trees"
    assert expand(" {n}", NAMES) == " 3"
    assert expand("{sizes}!", NAMES) == "[1, 2]!"


def test_double_braces_are_the_literal():
    assert expand("{{subject}}", NAMES) == "{subject}"
    assert expand("{{unknown}} {subject}", NAMES) == "{unknown} a fox"
    assert expand("{{{subject}}}", NAMES) == "{{subject}}"
    assert not is_name("{{subject}}")


def test_what_is_put_in_is_not_expanded_again():
    assert expand("x {a}", {"a": "{b} {{c}}", "b": 1}) == "x {b} {{c}}"


@pytest.mark.parametrize(
    "text",
    [
        "{day|night}",
        "{ day }",
        "{}",
        "{1}",
        "{a.b}",
        "{a b}",
        "{a:0.5}",
        '{"a": 1}',
        "$5",
        "$day",
        "{{a|b}}",
        "{",
        "}{",
        "%d",
    ],
)
def test_other_braces_and_dollars_are_text(text):
    assert expand(text, NAMES) == text


def test_an_undefined_name_is_an_error_that_names_it_and_the_literal():
    with pytest.raises(LineError) as caught:
        expand("a {subjekt} b", NAMES)
    assert "subjekt" in str(caught.value)
    assert "{{subjekt}}" in str(caught.value)
    assert "nearest: subject" in str(caught.value)
    with pytest.raises(LineError, match="night"):
        expand("{night}", {})


def test_the_names_of_python_itself_are_not_defined():
    with pytest.raises(LineError):
        expand("{print}", NAMES)


def test_without_a_namespace_nothing_expands():
    for text in ("{subject}", "{{subject}}", "a {b}"):
        assert expand(text, None) == expand_text(text, None) == text


def test_words_that_name_things_are_always_text():
    assert expand_text("{n}", NAMES) == "3"
    assert expand_text("r{n}[0]", NAMES) == "r3[0]"


@given(st.text(alphabet=st.characters(exclude_characters="{}"), max_size=60))
def test_a_text_without_braces_stays_as_it_is(text):
    assert expand(text, {}) == text
