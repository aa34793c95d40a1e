from __future__ import annotations

import json

import pytest

from comflowy_nb.errors import FieldError, LineError
from comflowy_nb.workflow.syntax.console import read_console

EULER = [["euler", "heun", "lms"], {"default": "euler"}]


def types(text):
    return {key: str(one.type) for key, one in read_console(text).items()}


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
def test_what_a_console_prints_is_read_in_its_many_forms(text):
    (one,) = read_console(text).values()
    assert (one.id, str(one.type), one.options, one.default) == (
        "3::sampler_name",
        "CHOICE",
        ("euler", "heun", "lms"),
        "euler",
    )


def test_many_fields_are_read_at_once():
    text = """
    Field_id: 3::seed
    Field_info: ["INT", {"default": 0, "min": 0, "max": 18446744073709551615}]
    Field_id: 6::text
    Field_info: ['STRING', {multiline: true, tooltip: undefined}]
    {Field_id: '57:12::image', Field_info: ["IMAGEUPLOAD", {}]}
    """
    assert types(text) == {"3::seed": "INT", "6::text": "STRING", "57:12::image": "IMAGEUPLOAD"}
    assert read_console(text)["3::seed"].max == 2**64 - 1


def test_a_field_printed_again_counts_as_it_was_last():
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
def test_what_a_console_shows_only_from_outside_says_how_to_copy_it(text):
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
def test_what_is_missing_is_named(text, why):
    with pytest.raises(LineError, match=why):
        read_console(text)


@pytest.mark.parametrize(
    "text", ["Field_id: cfg\nField_info: ['INT']", "Field_id: 3::cfg\nField_info: [5]", '{"3::a": ["INT"], "b": 1}']
)
def test_what_makes_no_sense_is_a_field_error(text):
    with pytest.raises(FieldError):
        read_console(text)
