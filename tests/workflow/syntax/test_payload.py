from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comflowy_nb.errors import LineError
from comflowy_nb.workflow.syntax.body import read_body
from comflowy_nb.workflow.syntax.payload import Literals, is_payload

PROMPT = "beautiful scenery nature glass bottle landscape, purple galaxy bottle,"
# as the API's page prints it, the `;` behind workflow_id included
EXAMPLE = """const run_payload = 
{
    workflow_id: "test_workflow_id";
    params: {
        "3::sampler_name": "euler",
        "6::text": "beautiful scenery nature glass bottle landscape, purple galaxy bottle," 
    },
    callback_urls: {
        on_result_url: "test_url",
        on_progress_event_url: "test_url"
    }
}"""  # noqa: W291 - as printed
PARAMS = EXAMPLE[EXAMPLE.index("params: ") + len("params: ") : EXAMPLE.index("    callback")].rstrip().rstrip(",")
INNER = f'"3::sampler_name": "euler",\n"6::text": "{PROMPT}"'
WITHIN = EXAMPLE[EXAMPLE.index("{") + 1 : EXAMPLE.rindex("}")]


def pairs(body):
    return {setting.key: setting.value for setting in read_body(body).settings}


@pytest.mark.parametrize(
    ("body", "workflow_id"),
    [
        (EXAMPLE, "test_workflow_id"),
        (EXAMPLE + ";\n", "test_workflow_id"),
        (EXAMPLE.replace("const", "let"), "test_workflow_id"),
        (EXAMPLE.replace("run_payload", "run_payload: RUN_POST_PAYLOAD"), "test_workflow_id"),
        (EXAMPLE[EXAMPLE.index("{") :], "test_workflow_id"),
        (WITHIN, "test_workflow_id"),
        (PARAMS, None),
        (INNER, None),
        (INNER + ",\n", None),
        (EXAMPLE.replace("\n", "\r\n"), "test_workflow_id"),
    ],
)
def test_the_example_of_the_page_is_read_in_each_of_its_forms(body, workflow_id):
    read = read_body(body)
    assert read.is_payload
    assert read.workflow_id == workflow_id
    assert [(one.key, one.value, one.typed) for one in read.settings] == [
        ("3::sampler_name", "euler", True),
        ("6::text", PROMPT, True),
    ]


def test_a_setting_knows_its_line():
    assert [one.where for one in read_body(EXAMPLE).settings] == ["line 5", "line 6"]


def test_punctuation_of_javascript():
    body = """
    // what it does
    {
      3::cfg: 7.5,            // unquoted keys
      '6::text': 'it\\'s',    /* single
                                 quotes */
      "7::text": `two
lines`;
      # a comment of a notebook
      x: [1, .5, -2e3, true, null, {a: 1,},],
    };
    """
    assert pairs(body) == {
        "3::cfg": 7.5,
        "6::text": "it's",
        "7::text": "two\nlines",
        "x": [1, 0.5, -2000.0, True, None, {"a": 1}],
    }


def test_a_name_in_braces_is_kept_for_expansion():
    assert pairs('"3::seed": {seed}, "6::text": "{subject}"') == {"3::seed": "{seed}", "6::text": "{subject}"}


def test_a_field_given_twice_is_kept_for_the_error():
    assert [one.value for one in read_body('{"a": 1, "a": 2}').settings] == [1, 2]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("{\n'a': 1\n", "line 3: '}' is missing for the bracket opened in line 1"),
        ('{"a": 1 "b": 2}', "comma"),
        ('{"a": 1,, "b": 2}', "line 1"),
        ('{"a" 1}', "colon"),
        ('{"a": }', "value is missing"),
        ('{"a": cat}', "is not a value; quote a text"),
        ('{"a": NaN}', "not a value"),
        ('{"a": undefined}', "not a value"),
        ('{"a": 1e999}', "too large"),
        ('\n\n{"a": "b\n"}', "line 3: the string .* is never closed"),
        ("const p = 5", "object"),
        ("const p", "line 1"),
        ("{} {}", "unexpected text after"),
        ("{params: 5}", "params must be an object"),
        ("{params: {}, size: 5}", "'size' is not a part of a payload"),
        ("{params: {}, params: {}}", "twice"),
        ("{workflow_id: 5, params: {}}", "workflow_id must be a text"),
        ('{"a": {"b": 1, "b": 2}}', "'b' is written twice"),
        ("{a: [1, 2}", "line 1"),
        ("{/* a: 1}", "is never closed"),
        ("{" * 100_000, "line 1"),
        ("{a:" + "[" * 100_000, "too many brackets"),
    ],
)
def test_a_payload_that_cannot_be_read_says_where_and_why(body, why):
    with pytest.raises(LineError, match=why) as caught:
        read_body(body)
    assert "line " in str(caught.value)
    assert len(str(caught.value)) < 300


def test_the_urls_of_callbacks_are_ours():
    assert read_body("{callback_urls: {on_result_url: 'x'}, params: {}}").settings == []


def test_first_lines_of_payloads():
    for line in ("{", "const a", "'x': 1", '"3::cfg" : 7', "params: {", 'workflow_id: "x";', "// note"):
        assert is_payload(line), line
    for line in ("cfg: 7", '"red" and "blue"', "const: 5", "workflow_id: x", "x: {"):
        assert not is_payload(line), line


def test_a_dict_of_python_is_read():
    """A dict that was printed by Python could not be pasted: "None is no value; a text stands in quotes"."""
    given = {"3::cfg": 7.5, "1::a": None, "1::b": True, "1::c": [False, None, "None"]}
    assert pairs(repr(given)) == given
    assert pairs(repr({"params": given})) == given


# -- literals --------------------------------------------------------------------------------------------------------

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
