"""The text for a rejected graph, for each shape of a ComfyUI server's error."""

from __future__ import annotations

import json

import pytest

from comflowy_nb.services.comfyui.responses import node_errors_text, read_rejection

TITLES = {"3": "My sampler"}


def refused(*errors, class_type="KSampler", options=()):
    entry = {"3": {"errors": list(errors), "dependent_outputs": ["9"], "class_type": class_type}}
    return node_errors_text(entry, TITLES, lambda _class, _name: options)


def error(kind, details="", message="No", **extra):
    return {"type": kind, "message": message, "details": details, "extra_info": extra}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            error("value_not_in_list", input_name="a", input_config=[["one", "two"], {}], received_value="on"),
            "a: 'on' is not one of one, two. Did you mean one",
        ),
        (
            error(
                "value_not_in_list",
                input_name="a",
                input_config=["COMBO", {"options": ["one", "two"]}],
                received_value="tow",
            ),
            "a: 'tow' is not one of one, two. Did you mean two",
        ),
        (
            error("value_not_in_list", "a: 'x' not in ['ink', 'oil']", input_name="a", received_value="oli"),
            "a: 'oli' is not one of ink, oil. Did you mean oil",
        ),
        (
            error("value_not_in_list", "a: 'x' not in []", input_name="a", input_config=[[], {}], received_value="x"),
            "a: 'x' can't be chosen: the server has no choices for this field",
        ),
        (error("exception_during_inner_validation", "'77'", input_name="images", exception_type="KeyError"), "a link"),
        (
            error(
                "exception_during_validation", "/srv/x.py", exception_type="torch.OutOfMemoryError", traceback=["/x"]
            ),
            "the server could not check it (OutOfMemoryError)",
        ),
        (error("something_new", "it is blue", message="Wrong colour"), "Wrong colour: it is blue"),
        (error("something_new", message=""), "the node does not accept it"),
        (error("value_smaller_than_min", input_name="a", received_value=1), "a: 1 is below None"),
    ],
)
def test_each_shape_of_error_has_a_text(body, words):
    text = refused(body)
    assert text.startswith("node 3 (My sampler)")
    assert words in text
    assert "/srv" not in text


def test_error_without_a_list_of_options_suggests_the_fields_command():
    options = tuple(f"sampler_{number}" for number in range(40))
    body_of_error = error(
        "value_not_in_list",
        "a: 'sampler_7x' not in (list of length 40)",
        input_name="a",
        input_config=None,
        received_value="sampler_7x",
    )
    text = refused(body_of_error, options=options)
    assert "sampler_0, sampler_1, sampler_2, sampler_3, sampler_4 and 35 more. Did you mean sampler_7" in text


def test_a_long_value_is_cut_and_no_line_is_broken():
    text = refused(error("invalid_input_type", input_name="a", input_config=["INT"], received_value="x\n" * 500))
    assert len(text) < 200
    assert "\n" not in text


@pytest.mark.parametrize("body", [b"", b"no json", b"[]", b"{}", b'{"node_errors": 3}', b'{"node_errors": {"3": []}}'])
def test_every_body_has_a_message(body):
    assert read_rejection(body, TITLES, lambda _class, _name: ())


def test_an_empty_list_of_errors_has_no_text():
    assert node_errors_text({}, TITLES, lambda _class, _name: ()) is None
    assert node_errors_text(None, TITLES, lambda _class, _name: ()) is None
    body = json.dumps({"error": {"type": "x", "message": "Odd", "details": "very"}, "node_errors": {}}).encode()
    assert read_rejection(body, TITLES, lambda _class, _name: ()) == "Odd: very"
