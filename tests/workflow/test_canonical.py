from __future__ import annotations

import json
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comflowy_nb.workflow.canonical import canonical_json, request_key
from comflowy_nb.workflow.graph import Graph
from comflowy_nb.workflow.images import InputImage

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
GRAPH = {
    "3": {"class_type": "KSampler", "inputs": {"seed": 1, "cfg": 8, "model": ["4", 0]}, "_meta": {"title": "KSampler"}},
    "4": {"class_type": "Loader", "inputs": {}},
}


def test_keys_are_sorted_and_whole_floats_are_integers():
    assert canonical_json({"b": [8.0, 0.5, -0.0], "a": None}) == '{"a":null,"b":[8,0.5,0]}'
    assert canonical_json({"é": "🦊"}) == '{"é":"🦊"}'


def test_true_is_not_one():
    assert canonical_json([True, 1]) == "[true,1]"


@given(_JSON)
def test_canonical_json_is_read_back_as_the_same_and_written_the_same(value):
    text = canonical_json(value)
    assert json.loads(text) == value
    assert canonical_json(json.loads(text)) == text


@given(st.dictionaries(st.text(), st.integers() | st.text(), min_size=2, max_size=6))
def test_the_order_of_keys_does_not_count(mapping):
    assert canonical_json(dict(reversed(mapping.items()))) == canonical_json(mapping)


def test_other_values_than_json_are_rejected():
    for wrong, error in (
        (float("nan"), ValueError),
        (float("inf"), ValueError),
        ({1: 2}, TypeError),
        (object(), TypeError),
    ):
        with pytest.raises(error):
            canonical_json(wrong)


def test_different_requests_have_different_keys():
    base = ("sandbox", "default", {"3::cfg": 8, "6::text": "a"})
    keys = {
        request_key(*base),
        request_key("https://app.comflowy.com", *base[1:]),
        request_key("sandbox", "img2img", base[2]),
        request_key("sandbox", "default", {"3::cfg": 8.5, "6::text": "a"}),
        request_key("sandbox", "default", {"3::cfg": 8}),
        request_key("sandbox", "default", {"3::cfg": "8", "6::text": "a"}),
        request_key("sandbox", "default", {"3::cfg": 8, "6::text": "a "}),
    }
    assert len(keys) == 7
    assert all(len(key) == 64 and int(key, 16) >= 0 for key in keys)


def test_identical_requests_have_the_same_key():
    assert request_key("s", "w", {"a::b": 8.0, "c::d": 1}) == request_key("s", "w", {"c::d": 1, "a::b": 8})


def test_keys_do_not_change_between_versions():
    """The history contains old keys; a change of the format would make the user pay for every run again."""
    key = request_key("sandbox", "default", {"3::cfg": 8.0, "6::text": "naïve 🦊"})
    assert key == "f1890abd9c8aa315468f99abf964eedea2fc0f2fdf6365c6a104c8c256e53d67"
    assert key == sha256('["sandbox","default",{"3::cfg":8,"6::text":"naïve 🦊"}]'.encode()).hexdigest()


def test_a_graph_is_keyed_with_its_params_applied():
    other = json.loads(json.dumps(GRAPH))
    other["3"]["inputs"]["cfg"] = 5
    other["3"]["_meta"]["title"] = "renamed"
    assert request_key("s", GRAPH, {"3::cfg": 7}) == request_key("s", Graph(other), {"3::cfg": 7.0})
    assert request_key("s", GRAPH, {"3::seed": 2}) != request_key("s", other, {"3::seed": 2})
    assert GRAPH["3"]["inputs"]["cfg"] == 8


def test_an_image_is_identified_by_its_content():
    one = {"1::image": InputImage("a.png", "0" * 64, lambda: b"x")}
    same = {"1::image": InputImage("b.png", "0" * 64, lambda: b"x")}
    other = {"1::image": InputImage("a.png", "1" * 64, lambda: b"y")}
    assert request_key("s", "w", one) == request_key("s", "w", same) != request_key("s", "w", other)
    assert request_key("s", GRAPH, {"3::seed": one["1::image"]}) == request_key(
        "s", GRAPH, {"3::seed": same["1::image"]}
    )
    assert request_key("s", "w", {"1::image": "0" * 64}) != request_key("s", "w", one)


def test_half_of_a_surrogate_pair_has_its_own_key():
    halves = [request_key("s", "w", {"a::b": text}) for text in ("\ud83e", "\udd8a", "\ud83e\udd8a", "🦊")]
    assert len(set(halves)) == 4
