from __future__ import annotations

import json
from enum import IntEnum, StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comflowy_nb.errors import FieldError
from comflowy_nb.workflow.fields import Field, FieldType, split_id
from comflowy_nb.workflow.object_info import read_field, write_field
from comflowy_nb.workflow.syntax.json_values import read_untyped


def field(*spec, field_id="3::x", title="KSampler"):
    return read_field(field_id, list(spec), node_title=title)


INT = field("INT", {"min": 0, "max": 2**64 - 1})
FLOAT = field("FLOAT", {"min": 0.0, "max": 100.0})
ANY_FLOAT = field("FLOAT")


def test_an_id_splits_at_its_first_double_colon():
    assert split_id("3::cfg") == ("3", "cfg")
    assert split_id("57:12::cfg") == ("57:12", "cfg")
    assert split_id("3::a::b") == ("3", "a::b")
    for invalid in ("cfg", "3:cfg", "::cfg", "3::", ""):
        with pytest.raises(FieldError, match="3::cfg"):
            split_id(invalid)


@pytest.mark.parametrize(
    ("spec", "type_"),
    [
        (["INT", {}], "INT"),
        (["FLOAT"], "FLOAT"),
        (["BOOLEAN", {"default": True}], "BOOLEAN"),
        (["STRING", {"multiline": True}], "STRING"),
        ([["euler", "heun"]], "CHOICE"),
        ([["euler", "heun"], {}], "CHOICE"),
        (["COMBO", {"options": ["a", "b"], "multiselect": False}], "CHOICE"),
        (["COMBO", {"remote": {"route": "/x"}}], "CHOICE"),
        ([["a.png"], {"image_upload": True}], "IMAGEUPLOAD"),
        (["COMBO", {"options": ["a.png"], "image_upload": True}], "IMAGEUPLOAD"),
        (["IMAGEUPLOAD", {}], "IMAGEUPLOAD"),
        (["MODEL", {}], "UNKNOWN"),
        ("PROMPT", "UNKNOWN"),
    ],
)
def test_types_are_read_from_every_form_of_a_comfyui_description(spec, type_):
    assert read_field("3::x", spec).type == type_


def test_description_is_unchanged_after_read_and_write():
    for spec in (
        ["INT", {"default": 0, "min": 0, "max": 2**64 - 1, "control_after_generate": True}],
        ["FLOAT", {"default": 8.0, "min": 0.0, "max": 100.0, "step": 0.1, "round": 0.01}],
        ["STRING", {"multiline": True, "dynamicPrompts": True}],
        [["euler", "heun"], {}],
        [[], {}],
        ["COMBO", {"remote": {"route": "/x"}}],
        [["a.png"], {"image_upload": True}],
        ["BOOLEAN", {"default": False, "label_on": "yes", "label_off": "no", "tooltip": "?"}],
    ):
        field_ = read_field("3::x", spec)
        assert write_field(field_) == spec
        assert read_field("3::x", write_field(field_)) == field_
        json.dumps(write_field(field_))


@pytest.mark.parametrize("spec", [None, 5, [], {}, [5], [None, {}]])
def test_an_invalid_description_is_an_error(spec):
    with pytest.raises(FieldError, match="3::x"):
        read_field("3::x", spec)


def test_invalid_limits_in_a_description_are_ignored():
    field_ = read_field("3::x", ["INT", {"min": "low", "max": True, "default": None}])
    assert (field_.min, field_.max) == (None, None)
    assert field_.read("5") == 5


@pytest.mark.parametrize(
    ("text", "value"), [("7", 7), ("+7", 7), ("-0", 0), ("007", 7), ("18446744073709551615", 2**64 - 1)]
)
def test_int_accepts_digits_with_a_sign(text, value):
    assert INT.read(text) == value
    assert type(INT.read(text)) is int


@pytest.mark.parametrize("text", ["7.0", "1e3", "1_000", " 7", "0x7", "seven", "\u0667", "nan", "1,000", "--7"])
def test_text_that_is_not_an_integer_is_rejected(text):
    with pytest.raises(FieldError, match=r"node 3 \(KSampler\), x: .* is not a whole number"):
        INT.read(text)


@pytest.mark.parametrize(
    ("text", "value"), [("7", 7), ("7.5", 7.5), (".5", 0.5), ("-.5", -0.5), ("1e2", 100), ("1.5E-1", 0.15), ("-0.0", 0)]
)
def test_float_accepts_json_numbers_and_a_leading_point(text, value):
    assert ANY_FLOAT.read(text) == value


@pytest.mark.parametrize(
    "text", ["nan", "inf", "-Infinity", "NaN", "1e999", "+7", "7.", "0x1p3", "1_0.0", "07", "7 ", "1,5"]
)
def test_text_that_is_not_a_number_is_rejected(text):
    with pytest.raises(FieldError, match="is not a number"):
        ANY_FLOAT.read(text)


def test_integer_too_large_for_a_float_keeps_its_digits():
    assert ANY_FLOAT.read(str(2**53 + 1)) == 2**53 + 1


def test_a_number_of_too_many_digits_is_rejected():
    for field_ in (INT, ANY_FLOAT):
        with pytest.raises(FieldError, match="too large"):
            field_.read("9" * 5000)


@pytest.mark.parametrize(("text", "value"), [("true", True), ("True", True), ("FALSE", False), ("false", False)])
def test_boolean_accepts_true_and_false_in_any_case(text, value):
    assert field("BOOLEAN").read(text) is value


@pytest.mark.parametrize("text", ["yes", "1", "0", "on", "t"])
def test_text_that_is_not_a_boolean_is_rejected(text):
    with pytest.raises(FieldError, match="true or false"):
        field("BOOLEAN").read(text)


def test_an_empty_number_or_boolean_is_reported_as_missing():
    for empty, example in ((INT, "x=7"), (ANY_FLOAT, "x=7"), (field("BOOLEAN"), "x=true")):
        with pytest.raises(FieldError, match=rf"node 3 \(KSampler\), x has no value; type {example}$"):
            empty.read("")


@pytest.mark.parametrize(
    "text", ["bottle #1", "", "007", "null", " a ", '"red"', "1..5", "a||b", "🦊", "a\r\n\tb", "file:a.png"]
)
def test_string_accepts_the_text_verbatim(text):
    assert field("STRING").read(text) == text


def test_choice_matches_the_option_with_the_same_text():
    choice = field([512, "1024", True, 0.5, "a, b"])
    assert choice.read("512") == 512
    assert type(choice.read("512")) is int
    assert choice.read("1024") == "1024"
    assert choice.read("true") is choice.read("True") is True
    assert choice.read("0.5") == 0.5
    assert choice.read("a, b") == "a, b"
    with pytest.raises(FieldError):
        choice.read("a")


def test_error_for_an_invalid_choice_has_node_field_options_and_nearest_option():
    choice = field(["euler", "heun", "lms"], field_id="3::sampler_name")
    with pytest.raises(FieldError) as caught:
        choice.read("eulr")
    assert str(caught.value) == (
        "node 3 (KSampler), sampler_name: 'eulr' is not one of euler, heun, lms. Did you mean euler?"
    )
    with pytest.raises(FieldError, match="Did you mean euler"):
        choice.read("Euler")


def test_long_list_of_options_is_shortened_in_the_error():
    choice = field([f"lora{n:03}" for n in range(500)])
    with pytest.raises(FieldError) as caught:
        choice.read("zebra")
    assert len(str(caught.value)) < 200


def test_empty_list_of_options_rejects_and_a_remote_list_accepts_any_text():
    with pytest.raises(FieldError, match="no options"):
        field([]).read("x")
    assert field("COMBO", {"remote": {}}).read("5") == "5"


def test_error_for_a_value_out_of_range_has_the_limit():
    with pytest.raises(FieldError, match=r"node 3 \(KSampler\), x: 100\.5 is above 100"):
        FLOAT.read("100.5")
    with pytest.raises(FieldError, match="-1 is below 0"):
        INT.read("-1")
    with pytest.raises(FieldError, match=f"above {2**64 - 1}"):
        INT.read(str(2**64))
    assert FLOAT.read("100") == 100


def test_the_error_for_an_invalid_number_of_unknown_type_suggests_quotes():
    for text in ("1e999", "9" * 5000):
        with pytest.raises(FieldError, match="quote it"):
            Field("3::x").read(text)


def test_python_values_are_checked_by_type():
    class Steps(IntEnum):
        FEW = 4

    class Sampler(StrEnum):
        EULER = "euler"

    assert (INT.check(Steps.FEW), type(INT.check(Steps.FEW))) == (4, int)
    assert (INT.check(20.0), type(INT.check(20.0))) == (20, int)
    assert FLOAT.check(7) == 7.0
    assert field("STRING").check(7) == "7"
    assert field("STRING").check(0.5) == "0.5"
    choice = field(["euler"]).check(Sampler.EULER)
    assert (choice, type(choice)) == ("euler", str)
    assert Field("3::x").check((1, {"a": None})) == [1, {"a": None}]
    for field_, invalid in (
        (INT, 7.5),
        (INT, True),
        (INT, "7"),
        (INT, None),
        (FLOAT, float("nan")),
        (FLOAT, float("inf")),
        (FLOAT, False),
        (field("BOOLEAN"), 1),
        (field("BOOLEAN"), "true"),
        (field("STRING"), None),
        (field("STRING"), True),
        (field("STRING"), ["a"]),
        (field("IMAGEUPLOAD"), 5),
        (Field("3::x"), object()),
        (Field("3::x"), {1: 2}),
        (Field("3::x"), [float("nan")]),
        (FLOAT, 10**400),
    ):
        with pytest.raises(FieldError, match="node 3"):
            field_.check(invalid)


def test_numpy_scalars_are_accepted():
    import numpy as np

    assert type(INT.check(np.int64(7))) is int
    assert type(FLOAT.check(np.float32(0.5))) is float
    assert field("BOOLEAN").check(np.True_) is True
    assert field("STRING").check(np.int8(3)) == "3"
    assert type(Field("3::x").check(np.str_("a"))) is str


def test_an_array_within_a_list_is_an_error_that_names_the_field():
    """The comparison with the default raised NumPy's ValueError."""
    import numpy as np

    with pytest.raises(FieldError, match=r"node 3, x: .* can't be submitted as JSON"):
        Field("3::x", default=[1, 2]).check([np.arange(4), 1])


def test_a_field_whose_name_contains_seed_is_a_seed():
    assert Field("3::noise_seed").is_seed
    assert Field("3::Seed").is_seed
    assert not Field("seed::cfg").is_seed


@given(st.integers(0, 2**64 - 1))
def test_every_seed_keeps_all_its_digits(seed):
    assert INT.read(str(seed)) == INT.check(seed) == read_untyped(str(seed)) == seed


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_that_json_writes_is_read_back(number):
    assert ANY_FLOAT.read(json.dumps(number)) == number
    assert read_untyped(json.dumps(number)) == number


def test_field_types_are_strings():
    assert FieldType("INT") is FieldType.INT
    assert str(FieldType.CHOICE) == "CHOICE"
