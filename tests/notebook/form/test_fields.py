import pytest
from PIL import Image

from comflowy_nb.errors import FieldError
from comflowy_nb.notebook.form.fields import read_abbreviation
from comflowy_nb.workflow.fields import Field, FieldType

OPEN = Field("3::x")
CFG = Field("3::cfg", FieldType.FLOAT, default=8.0, min=0, max=100, step=0.1)


def test_two_numbers_are_a_range():
    field = read_abbreviation(OPEN, (1, 20))
    assert (field.field.type, field.field.min, field.field.max, field.field.step) == (FieldType.INT, 1, 20, 1)
    assert field.value in range(1, 21)
    assert isinstance(field.value, int)


def test_floats_make_a_range_of_floats_and_a_third_number_is_the_step():
    field = read_abbreviation(OPEN, (0.0, 1.0, 0.25))
    assert (field.field.type, field.field.step, field.value) == (FieldType.FLOAT, 0.25, 0.5)


def test_a_range_narrows_a_described_field_and_begins_at_its_default():
    field = read_abbreviation(CFG, (2, 12))
    assert (field.field.type, field.field.min, field.field.max, field.field.step) == (FieldType.FLOAT, 2, 12, 0.1)
    assert field.value == 8.0


def test_a_list_is_a_choice_and_pairs_or_a_mapping_name_the_options():
    plain = read_abbreviation(OPEN, ["euler", "heun"])
    assert (plain.field.type, plain.field.options, plain.value) == (FieldType.CHOICE, ("euler", "heun"), "euler")
    for named in ({"soft": 4, "crisp": 9}, [("soft", 4), ("crisp", 9)]):
        field = read_abbreviation(OPEN, named)
        assert (field.labels, field.field.options) == (("soft", "crisp"), (4, 9))


def test_numbers_of_a_list_are_checked_by_the_field():
    assert read_abbreviation(CFG, [4, 8]).field.options == (4.0, 8.0)
    with pytest.raises(FieldError, match="cfg: 400 is above 100"):
        read_abbreviation(CFG, [4, 400])


@pytest.mark.parametrize(
    ("abbreviation", "type_"),
    [
        (True, FieldType.BOOLEAN),
        ("text", FieldType.STRING),
        (8, FieldType.UNKNOWN),
        (2.5, FieldType.UNKNOWN),
        (Image.new("RGB", (4, 4)), FieldType.IMAGEUPLOAD),
    ],
)
def test_single_value_defines_the_type_of_a_field_of_unknown_type(abbreviation, type_):
    field = read_abbreviation(OPEN, abbreviation)
    assert field.field.type is type_
    assert field.value == abbreviation


@pytest.mark.parametrize(
    "abbreviation", [(5, 1), (1, 1), (1, 2, 0), (1, 2, 3, 4), [], {}, [("a", 1), ("a", 2)], (-5, 20)]
)
def test_error_for_an_invalid_abbreviation_has_the_field(abbreviation):
    field = CFG if abbreviation == (-5, 20) else OPEN
    with pytest.raises(FieldError, match="node 3"):
        read_abbreviation(field, abbreviation)


def test_a_range_for_a_text_is_rejected():
    with pytest.raises(FieldError, match="is a range, but the field has type STRING"):
        read_abbreviation(Field("6::text", FieldType.STRING), (1, 5))
