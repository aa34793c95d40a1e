from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comflowy_nb.errors import FieldError, LineError
from comflowy_nb.workflow.syntax.body import read_body
from comflowy_nb.workflow.syntax.payload import LiteralReader, is_payload, read_console

PROMPT = "beautiful scenery nature glass bottle landscape, purple galaxy bottle,"
# as on the API page, including the `;` after workflow_id
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
def test_example_of_the_api_page_is_read_in_each_of_its_forms(body, workflow_id):
    payload = read_body(body)
    assert payload.workflow_id == workflow_id
    assert [(setting.key, setting.value, setting.is_python_value) for setting in payload.settings] == [
        ("3::sampler_name", "euler", True),
        ("6::text", PROMPT, True),
    ]


def test_setting_records_its_line_number():
    assert [setting.where for setting in read_body(EXAMPLE).settings] == ["line 5", "line 6"]


def test_javascript_comments_quotes_and_trailing_commas_are_accepted():
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


def test_name_in_braces_is_not_expanded_by_the_parser():
    assert pairs('"3::seed": {seed}, "6::text": "{subject}"') == {"3::seed": "{seed}", "6::text": "{subject}"}


def test_both_settings_of_a_field_set_twice_are_returned():
    assert [setting.value for setting in read_body('{"a": 1, "a": 2}').settings] == [1, 2]


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
        ('\n\n{"a": "b\n"}', "line 3: the string .* is not closed"),
        ("const p = 5", "object"),
        ("const p", "line 1"),
        ("{} {}", "unexpected text after"),
        ("{params: 5}", "params must be an object"),
        ("{params: {}, size: 5}", "unknown key 'size' in a payload"),
        ("{params: {}, params: {}}", "twice"),
        ("{workflow_id: 5, params: {}}", "workflow_id must be a text"),
        ('{"a": {"b": 1, "b": 2}}', "duplicate key 'b' in one object"),
        ("{a: [1, 2}", "line 1"),
        ("{/* a: 1}", "is not closed"),
        ("{" * 100_000, "line 1"),
        ("{a:" + "[" * 100_000, "brackets are nested"),
    ],
)
def test_an_error_in_a_payload_has_its_line_and_reason(body, why):
    with pytest.raises(LineError, match=why) as caught:
        read_body(body)
    assert "line " in str(caught.value)
    assert len(str(caught.value)) < 300


def test_callback_urls_of_a_payload_are_ignored():
    assert read_body("{callback_urls: {on_result_url: 'x'}, params: {}}").settings == []


def test_is_payload_recognises_the_first_lines_of_payloads():
    for line in ("{", "const a", "'x': 1", '"3::cfg" : 7', "params: {", 'workflow_id: "x";', "// note"):
        assert is_payload(line), line
    for line in ("cfg: 7", '"red" and "blue"', "const: 5", "workflow_id: x", "x: {"):
        assert not is_payload(line), line


def test_printed_python_dict_is_read():
    """A dict printed by Python could not be pasted, because None was not accepted as a value."""
    params = {"3::cfg": 7.5, "1::a": None, "1::b": True, "1::c": [False, None, "None"]}
    assert pairs(repr(params)) == params
    assert pairs(repr({"params": params})) == params


# -- literals --------------------------------------------------------------------------------------------------------

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(_JSON, st.booleans())
def test_json_is_read_like_json_loads(value, ascii_only):
    text = json.dumps(value, ensure_ascii=ascii_only)
    reader = LiteralReader(text)
    assert reader.json() == value
    assert reader.at == len(text)


def test_a_large_number_keeps_its_digits():
    assert LiteralReader("18446744073709551615").json() == 2**64 - 1


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
def test_javascript_escapes_are_decoded(text, value):
    assert LiteralReader(text).json() == value


@pytest.mark.parametrize("text", [r'"C:\pics"', r'"\u12"', r'"\u{110000}"', r'"\q"', '"a\\'])
def test_unknown_escape_is_an_error_because_its_backslash_would_be_lost(text):
    with pytest.raises(LineError):
        LiteralReader(text).json()


def test_error_for_a_javascript_placeholder_shows_the_syntax_of_names():
    with pytest.raises(LineError, match=r"\{name\}"):
        LiteralReader("`a ${b}`").json()
    assert LiteralReader('"$5 ${b}"').json() == "$5 ${b}"


def test_undefined_is_accepted_only_in_console_output():
    assert LiteralReader("[undefined]", is_console=True).json() == [None]
    with pytest.raises(LineError):
        LiteralReader("[undefined]").json()


# -- field descriptions from a console -----------------------------------------------------------------------------

EULER = [["euler", "heun", "lms"], {"default": "euler"}]


def types(text):
    return {key: str(field.type) for key, field in read_console(text).items()}


@pytest.mark.parametrize(
    "text",
    [
        'Field_id: 3::sampler_name\nField_info: [["euler", "heun", "lms"], {"default": "euler"}]',
        "Field_id: '3::sampler_name'\nField_info: [['euler', 'heun', 'lms'], {default: 'euler'}]\n",
        "Field_id 3::sampler_name\nField_info [['euler', 'heun', 'lms'], {default: 'euler'}]",
        "field_id: 3::sampler_name, field_info: [['euler','heun','lms',], {default: 'euler',}]",
        json.dumps({"Field_id": "3::sampler_name", "Field_info": EULER}),
        json.dumps([{"Field_id": "3::sampler_name", "Field_info": EULER}], indent=2),
        "{Field_id: '3::sampler_name', Field_info: [['euler', 'heun', 'lms'], {default: 'euler'}]}",
        "Object { Field_id: \"3::sampler_name\", Field_info: Array [ ['euler', 'heun', 'lms'], {default: 'euler'} ] }",
        "▶ {fieldId: '3::sampler_name', fieldInfo: (2) [['euler', 'heun', 'lms'], {default: 'euler'}]}",
        "VM12:1 Field_id: 3::sampler_name\nVM12:2 Field_info: [['euler', 'heun', 'lms'], {default: 'euler'}] a.js:12",
        "Field_info: [['euler', 'heun', 'lms'], {default: 'euler'}]\nField_id: 3::sampler_name",
        json.dumps({"Field_id": "3::sampler_name", "Field_info": json.dumps(EULER)}),
        json.dumps({"3::sampler_name": EULER}),
        "Field_id:\n3::sampler_name\nField_info:\n[['euler', 'heun', 'lms'],\n {default: 'euler'}]",
    ],
)
def test_all_forms_that_a_console_prints_are_read(text):
    (field,) = read_console(text).values()
    assert (field.id, str(field.type), field.options, field.default) == (
        "3::sampler_name",
        "CHOICE",
        ("euler", "heun", "lms"),
        "euler",
    )


def test_descriptions_of_several_fields_are_read():
    text = """
    Field_id: 3::seed
    Field_info: ["INT", {"default": 0, "min": 0, "max": 18446744073709551615}]
    Field_id: 6::text
    Field_info: ['STRING', {multiline: true, tooltip: undefined}]
    {Field_id: '57:12::image', Field_info: ["IMAGEUPLOAD", {}]}
    """
    assert types(text) == {"3::seed": "INT", "6::text": "STRING", "57:12::image": "IMAGEUPLOAD"}
    assert read_console(text)["3::seed"].max == 2**64 - 1


def test_last_description_of_a_field_is_used():
    text = "Field_id: 3::x\nField_info: ['INT']\nField_id: 3::x\nField_info: ['FLOAT']"
    assert types(text) == {"3::x": "FLOAT"}


@pytest.mark.parametrize(
    "text",
    [
        "{Field_id: '3::sampler_name', Field_info: Array(2)}",
        "Field_id: 3::x\nField_info: (2) [Array(28), {…}]",
        "Field_id: 3::x\nField_info: ['INT', {…}]",
        "Field_id: 3::x\nField_info: [['euler', 'heun', …], {}]",
        'Object { Field_id: "3::x", Field_info: (2) […] }',
        "Field_id: 3::x\nField_info: Object",
        'Field_id: "3::x"\nField_info: Array(2)\n0: "FLOAT"\n1: {default: 8}\nlength: 2\n[[Prototype]]: Array(0)',
    ],
)
def test_error_for_a_collapsed_value_explains_how_to_copy_it(text):
    with pytest.raises(LineError, match=r"line \d: .*Copy object"):
        read_console(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no Field_id and Field_info"),
        ("hello: world", "no Field_id and Field_info"),
        ("Field_id: 3::cfg", "line 1: the Field_info of 3::cfg is missing"),
        ("Field_info: ['INT']", "line 1: the Field_id of a Field_info is missing"),
        ("Field_id: 3::a\nField_id: 3::b\nField_info: ['INT']", "line 1: the Field_info of 3::a is missing"),
        ("Field_id: \n\nField_info: ['INT']", "Field_id is empty"),
        ("Field_id: 3::cfg\nField_info: 5", "line 2: Field_info is a list"),
        ("Field_id: 3::cfg\nField_info: [", "line 2"),
    ],
)
def test_error_names_the_missing_part_of_a_description(text, why):
    with pytest.raises(LineError, match=why):
        read_console(text)


@pytest.mark.parametrize(
    "text", ["Field_id: cfg\nField_info: ['INT']", "Field_id: 3::cfg\nField_info: [5]", '{"3::a": ["INT"], "b": 1}']
)
def test_an_invalid_description_is_a_field_error(text):
    with pytest.raises(FieldError):
        read_console(text)
