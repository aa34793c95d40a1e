from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comflowy_nb.errors import LineError
from comflowy_nb.workflow.syntax.js_literals import Literals

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(_JSON, st.booleans())
def test_json_is_read_as_json(value, ascii_only):
    text = json.dumps(value, ensure_ascii=ascii_only)
    reader = Literals(text)
    assert reader.json() == value
    assert reader.at == len(text)


def test_a_large_number_keeps_its_digits():
    assert Literals("18446744073709551615").json() == 2**64 - 1


@pytest.mark.parametrize(
    ("text", "value"),
    [
        (r'"\ud83e\udd8a"', "🦊"),
        (r"'\u{1F98A}\x41\0\v'", "🦊A\0\v"),
        (r"`a\`b\${c}`", "a`b${c}"),
        ("'a\\\nb'", "ab"),
        ('"a\tb"', "a\tb"),
        (r'"C:\\pics"', "C:\\pics"),
        (r'"\/"', "/"),
    ],
)
def test_escapes_are_those_of_javascript(text, value):
    assert Literals(text).json() == value


@pytest.mark.parametrize("text", [r'"C:\pics"', r'"\u12"', r'"\u{110000}"', r'"\q"', '"a\\'])
def test_an_unknown_escape_is_an_error_for_a_backslash_would_be_lost(text):
    with pytest.raises(LineError):
        Literals(text).json()


def test_javascripts_own_expansion_is_an_error_that_shows_ours():
    with pytest.raises(LineError, match=r"\{name\}"):
        Literals("`a ${b}`").json()
    assert Literals('"$5 ${b}"').json() == "$5 ${b}"


def test_words_of_a_console_are_values_only_where_it_is_asked():
    assert Literals("[undefined]", words={"undefined": None}).json() == [None]
    with pytest.raises(LineError):
        Literals("[undefined]").json()
