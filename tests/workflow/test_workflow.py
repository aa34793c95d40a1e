from __future__ import annotations

import json
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comflowy_nb.errors import FieldError, WorkflowError
from comflowy_nb.workflow.fields import Field, FieldType
from comflowy_nb.workflow.graph import Graph
from comflowy_nb.workflow.images import InputImage
from comflowy_nb.workflow.workflow import Workflow, canonical_json, request_key


def test_a_field_is_found_by_its_id_its_name_or_an_alias(workflow):
    assert workflow.find("3::cfg") == workflow.find("cfg") == ("3::cfg",)
    assert workflow.find("prompt") == ("6::text",)


def test_all_prefix_finds_every_field_of_a_name(workflow):
    assert workflow.find("all::text") == ("6::text", "7::text")
    assert workflow.find("all::cfg") == ("3::cfg",)


def test_a_name_of_several_fields_lists_them_with_their_values():
    texts = {"6::text": "beautiful scenery nature glass bottle", "7::text": "text, watermark"}
    fields = {key: Field(key, node_title="CLIP Text Encode (Prompt)", default=text) for key, text in texts.items()}
    with pytest.raises(FieldError) as caught:
        Workflow("default", fields=fields).find("text")
    assert str(caught.value) == (
        '\'text\' is the name of 2 fields: 6::text "beautiful scenery ..." and 7::text "text, watermark"; '
        "use one of them, or all::text=... sets both"
    )


def test_fields_of_one_name_and_value_are_listed_with_their_titles():
    nodes = ("3", "Base"), ("4", "Refiner"), ("5", "Last")
    fields = {f"{node}::seed": Field(f"{node}::seed", node_title=title, default=0) for node, title in nodes}
    with pytest.raises(FieldError) as caught:
        Workflow("w", fields=fields).find("seed")
    assert "3::seed (Base) 0, 4::seed (Refiner) 0 and 5::seed (Last) 0; use one of them" in str(caught.value)
    assert str(caught.value).endswith("all::seed=... sets them all")


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("3::cgf", "3::cfg"),
        ("9::cfg", "3::cfg"),
        ("cgf", "cfg (3::cfg)"),
        ("promt", "prompt"),
        ("sampler", "sampler_name (3::sampler_name)"),
        ("all::sed", "all::seed"),
    ],
)
def test_an_unknown_field_is_an_error_with_the_nearest_spelling(workflow, key, near):
    with pytest.raises(FieldError) as caught:
        workflow.find(key)
    assert f"{key!r}. Did you mean " in str(caught.value)
    assert near in str(caught.value)


def test_an_unknown_prompt_names_the_fields_with_texts():
    fields = {key: Field(key, default="") for key in ("3::cfg", "6::text", "7::text")}
    with pytest.raises(FieldError, match=r"has no field 'prompt'\. Did you mean 6::text or 7::text\?"):
        Workflow("default", fields=fields).find("prompt")


def test_an_unknown_field_without_a_near_name_names_the_command_that_lists_fields(workflow):
    with pytest.raises(FieldError, match="%comflowy fields default"):
        workflow.find("zzzz")


def test_a_workflow_without_descriptions_accepts_only_ids_and_aliases(undescribed):
    assert undescribed.find("3::anything") == ("3::anything",)
    assert undescribed.find("57:12::cfg") == ("57:12::cfg",)
    assert undescribed.find("prompt") == ("6::text",)
    for key in ("cfg", "all::seed", "::cfg", "3::"):
        with pytest.raises(FieldError, match=r"are not known here\. Use ids such as 3::cfg"):
            undescribed.find(key)
    with pytest.raises(FieldError, match=r"has no alias 'promt'\. Did you mean prompt\?"):
        undescribed.find("promt")


def test_a_partly_described_workflow_accepts_other_ids(workflow):
    partial = Workflow("portrait", "3fef208b", fields={"3::cfg": workflow.fields["3::cfg"]}, is_partial=True)
    assert partial.find("cfg") == ("3::cfg",)
    assert partial.find("6::text") == ("6::text",)
    with pytest.raises(FieldError, match="no field 'image' of portrait is described: use its id, such as 3::cfg;"):
        partial.find("image")  # the error denied that the workflow has this field
    with pytest.raises(FieldError, match="Did you mean cfg"):
        partial.find("cgf")


def test_alias_takes_precedence_over_a_name_but_not_over_an_id(workflow):
    twisted = Workflow("w", fields=workflow.fields, aliases={"cfg": "3::denoise", "3::cfg": "3::denoise"})
    assert twisted.find("cfg") == ("3::denoise",)
    assert twisted.find("3::cfg") == ("3::cfg",)


def test_an_alias_may_name_several_fields(workflow):
    assert Workflow("w", fields=workflow.fields, aliases={"words": "all::text"}).find("words") == ("6::text", "7::text")


def test_an_invalid_alias_is_an_error(workflow):
    for aliases in ({"a": "44::x"}, {"a": "b", "b": "a"}, {"a": "a"}):
        with pytest.raises(FieldError, match="the alias 'a' "):
            Workflow("w", fields=workflow.fields, aliases=aliases).find("a")


def test_a_graph_is_exported_without_the_notes_of_one_server(tmp_path):
    node = {"class_type": "EmptyImage", "inputs": {"width": 64}, "_meta": {"title": "Größe", "group": "Step 1"}}
    graph = Graph({"1": node, "2": {"class_type": "Other", "inputs": {}}})
    file = Workflow("small", graph=graph).export(tmp_path / "a.json")
    assert "Größe" in file.read_text("utf-8")
    assert json.loads(file.read_text("utf-8")) == {
        "1": {**node, "_meta": {"title": "Größe"}},
        "2": {"class_type": "Other", "inputs": {}, "_meta": {"title": "Other"}},
    }


def test_a_workflow_that_only_the_service_has_is_not_exported(tmp_path):
    with pytest.raises(WorkflowError, match="only its id"):
        Workflow("portrait", "an-id").export(tmp_path / "a.json")
    assert not (tmp_path / "a.json").exists()


def test_only_choices_of_converted_workflows_that_are_not_replaced_are_problems():
    nodes = {"1": {"class_type": "Loader", "inputs": {"name": "a.bin", "size": 5}}}
    fields = {
        "1::name": Field("1::name", FieldType.CHOICE, ("b.bin",), default="a.bin"),
        "1::size": Field("1::size", FieldType.INT, default=5, max=4),
    }
    converted = Workflow("w", graph=Graph(nodes, ()), fields=fields)
    with pytest.raises(FieldError, match=r"'a\.bin' is not one of b\.bin"):
        converted.check_choices({"1::name": "a.bin"})
    converted.check_choices({"1::name": "b.bin"})
    Workflow("w", graph=Graph(nodes), fields=fields).check_choices({})


def test_content_is_the_workflow_id_or_without_an_id_the_graph():
    graph = Graph({"1": {"class_type": "X", "inputs": {}}})
    assert Workflow("w", "id", graph=graph).content == "id"
    assert Workflow("w", graph=graph).content == {"1": {"class_type": "X", "inputs": {}}}
    assert not Workflow("w").is_described


# -- request keys --------------------------------------------------------------------------------------------------

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


def test_true_and_1_have_different_json():
    assert canonical_json([True, 1]) == "[true,1]"


@given(_JSON)
def test_canonical_json_is_stable_after_a_round_trip(value):
    text = canonical_json(value)
    assert json.loads(text) == value
    assert canonical_json(json.loads(text)) == text


@given(st.dictionaries(st.text(), st.integers() | st.text(), min_size=2, max_size=6))
def test_order_of_keys_does_not_change_the_canonical_json(mapping):
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


def test_request_key_of_a_graph_contains_the_applied_params():
    other = json.loads(json.dumps(GRAPH))
    other["3"]["inputs"]["cfg"] = 5
    other["3"]["_meta"]["title"] = "renamed"
    assert request_key("s", GRAPH, {"3::cfg": 7}) == request_key("s", other, {"3::cfg": 7.0})
    assert request_key("s", GRAPH, {"3::seed": 2}) != request_key("s", other, {"3::seed": 2})
    assert GRAPH["3"]["inputs"]["cfg"] == 8


def test_an_image_is_identified_by_its_content():
    first = {"1::image": InputImage("a.png", "0" * 64, lambda: b"x")}
    same_content = {"1::image": InputImage("b.png", "0" * 64, lambda: b"x")}
    other_content = {"1::image": InputImage("a.png", "1" * 64, lambda: b"y")}
    assert request_key("s", "w", first) == request_key("s", "w", same_content) != request_key("s", "w", other_content)
    assert request_key("s", GRAPH, {"3::seed": first["1::image"]}) == request_key(
        "s", GRAPH, {"3::seed": same_content["1::image"]}
    )
    assert request_key("s", "w", {"1::image": "0" * 64}) != request_key("s", "w", first)


def test_lone_surrogates_have_distinct_request_keys():
    keys = [request_key("s", "w", {"a::b": text}) for text in ("\ud83e", "\udd8a", "\ud83e\udd8a", "🦊")]
    assert len(set(keys)) == 4
