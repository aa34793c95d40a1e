from __future__ import annotations

from comflowy_nb.layout.captions import letter_of, name_fields, seeds_of, write_value
from comflowy_nb.workflow.images import InputImage


def test_names_are_short_where_that_is_clear():
    assert name_fields(["3::cfg", "6::text", "7::text"]) == {
        "3::cfg": "cfg",
        "6::text": "6::text",
        "7::text": "7::text",
    }


def test_values_read_as_typed():
    assert [write_value(value) for value in (7.0, 0.25, "a\n b", True, None, [1, "x"], 2**53)] == [
        "7", "0.25", "a b", "true", "null", '[1, "x"]', "9007199254740992"
    ]  # fmt: skip


def test_seeds_are_whole_numbers_in_fields_called_so():
    assert seeds_of({"3::seed": 4, "5::noise_seed": 5, "6::seed": "x", "7::seed": True, "3::cfg": 2}) == {
        "3::seed": 4, "5::noise_seed": 5
    }  # fmt: skip


def test_a_image_is_written_as_its_name():
    assert write_value(InputImage("sky.png", "0" * 64, bytes)) == "sky.png"


def test_letters_go_on_after_z():
    assert [letter_of(place) for place in (0, 25, 26, 27, 701, 702)] == ["A", "Z", "AA", "AB", "ZZ", "AAA"]
