from __future__ import annotations

import json
from enum import IntEnum, StrEnum

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comflowy_nb.workflow.syntax.json_values import as_json, plain, read_json_number, read_untyped, shown, text_of


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7", 7),
        ("-7.5", -7.5),
        ("1e3", 1000.0),
        ("true", True),
        ("false", False),
        ("null", None),
        ("[1, 2]", [1, 2]),
        ('{"a": [true]}', {"a": [True]}),
        ("18446744073709551615", 2**64 - 1),
    ],
)
def test_value_of_unknown_type_is_parsed_as_json(text, value):
    assert read_untyped(text) == value
    assert type(read_untyped(text)) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a cat",
        "True",
        "None",
        "NaN",
        "Infinity",
        "+7",
        ".5",
        "07",
        "[a:b:0.5]",
        "{day|night}",
        '"a"',
        "[NaN]",
        "[1e999]",
        "{'a': 1}",
        "7 ",
        "red, blue",
        "[" * 100_000,
    ],
)
def test_value_of_unknown_type_that_is_not_json_is_text(text):
    assert read_untyped(text) == text


def test_read_json_number_accepts_only_json_numbers():
    assert read_json_number("1e2") == 100
    assert read_json_number("+1") is read_json_number(".5") is read_json_number("") is None
    for text in ("1e999", "9" * 5000):
        with pytest.raises(ValueError, match="too large"):
            read_json_number(text)


def test_library_scalars_become_builtin_types():
    class Size(IntEnum):
        BIG = 512

    class Word(StrEnum):
        A = "a"

    for value, builtin in ((Size.BIG, 512), (Word.A, "a"), (np.float32(0.5), 0.5), (np.int64(3), 3), (np.True_, True)):
        assert plain(value) == builtin
        assert type(plain(value)) is type(builtin)
    assert plain(None) is None
    list_value = [1]
    assert plain(list_value) is list_value


def test_as_json_returns_builtin_types_only():
    assert as_json((1, {"a": np.float64(0.5)})) == [1, {"a": 0.5}]
    for invalid in (float("nan"), {1: 2}, object(), b"", {1, 2}, [float("inf")]):
        with pytest.raises(ValueError):
            as_json(invalid)


def test_text_of_an_option_is_the_string_or_its_json():
    assert [text_of(value) for value in ("a", 5, 0.5, True, None)] == ["a", "5", "0.5", "true", "null"]


def test_a_long_value_is_shortened():
    assert shown("a'b") == '"a\'b"'
    assert len(shown("x" * 1000)) == 60
    assert shown(object()) == "object"


@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False))
def test_every_number_that_json_writes_is_read_back(number):
    assert read_untyped(json.dumps(number)) == number
