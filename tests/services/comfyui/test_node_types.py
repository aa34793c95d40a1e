"""The fields of a graph by the server's node types: dynamic combos, and the cache."""

from __future__ import annotations

import pytest

from comflowy_nb.errors import FieldError
from comflowy_nb.services.comfyui import node_types as comfyui_nodes
from comflowy_nb.services.comfyui.node_types import CACHE_S, NodeTypes
from comflowy_nb.workflow.fields import FieldType
from comflowy_nb.workflow.graph import Graph

# a dynamic combo as newer servers describe it: each option has inputs
RESIZE = {
    "input": {
        "required": {
            "image": ["IMAGE"],
            "how": [
                "COMFY_DYNAMICCOMBO_V3",
                {
                    "options": [
                        {"key": "scale by", "inputs": {"required": {"size": ["FLOAT", {"min": 0.1, "max": 8.0}]}}},
                        {
                            "key": "width",
                            "inputs": {
                                "required": {"size": ["INT", {"min": 16, "max": 4096}]},
                                "optional": {"crop": ["COMBO", {"options": ["no", "center"]}]},
                            },
                        },
                    ]
                },
            ],
        }
    }
}


def resized(how, size):
    inputs = {"image": ["2", 0], "how": how, "how.size": size}
    return Graph({"1": {"class_type": "Resize", "inputs": inputs}, "2": {"class_type": "Load", "inputs": {}}})


def types(**described):
    return NodeTypes(described.get)


def test_a_dynamic_combo_is_a_choice_and_its_inputs_are_fields():
    fields = types(Resize=RESIZE).fields(resized("scale by", 2.0))
    assert fields["1::how"].type is FieldType.CHOICE
    assert fields["1::how"].options == ("scale by", "width")
    assert fields["1::how"].default == "scale by"
    assert list(fields) == ["1::how", "1::how.size", "1::how.crop"]
    assert fields["1::how.crop"].options == ("no", "center")


@pytest.mark.parametrize(("how", "size", "type_"), [("scale by", 2.0, FieldType.FLOAT), ("width", 64, FieldType.INT)])
def test_the_chosen_option_defines_the_type_of_a_shared_input(how, size, type_):
    field = types(Resize=RESIZE).fields(resized(how, size))["1::how.size"]
    assert (field.type, field.default) == (type_, size)


def test_a_rejection_lists_the_choices_of_a_dynamic_combo():
    assert types(Resize=RESIZE).options("Resize", "how") == ("scale by", "width")
    assert types(Resize=RESIZE).options("Resize", "how.crop") == ("no", "center")
    assert types().options("Resize", "how") == ()


@pytest.mark.parametrize(
    "odd",
    [
        ["COMFY_DYNAMICCOMBO_V3"],
        ["COMFY_DYNAMICCOMBO_V3", {}],
        ["COMFY_DYNAMICCOMBO_V3", {"options": "no"}],
        ["COMFY_DYNAMICCOMBO_V3", {"options": [1, {"key": 2}, {"key": "a", "inputs": [1]}]}],
        ["COMFY_DYNAMICCOMBO_V3", {"options": [{"key": "a", "inputs": {"required": {"b": 5}}}]}],
        ["COMFY_AUTOGROW_V3", {"template": {}}],
        [],
        None,
    ],
)
def test_field_with_an_invalid_description_is_that_of_the_graph(odd):
    described = {"input": {"required": {"how": odd}}}
    fields = types(Resize=described).fields(resized("scale by", 2.0))
    assert fields["1::how"].default == "scale by"
    assert fields["1::how.size"].default == 2.0


def test_the_fields_of_a_graph_are_cached_until_the_server_may_have_changed(monkeypatch):
    requested, now_s = [], [100.0]
    files = [["a.safetensors"]]

    def get_node_type(class_type):
        requested.append(class_type)
        return {"input": {"required": {"ckpt_name": [list(files[0])]}}}

    monkeypatch.setattr(comfyui_nodes.time, "monotonic", lambda: now_s[0])
    nodes = NodeTypes(get_node_type)
    graph = Graph({"4": {"class_type": "Loader", "inputs": {"ckpt_name": "a.safetensors"}}})
    first = nodes.fields(graph)
    first.clear()  # a caller that changes its copy does not change the cache
    files[0] = ["a.safetensors", "b.safetensors"]
    assert nodes.fields(graph)["4::ckpt_name"].options == ("a.safetensors",)
    assert requested == ["Loader"]
    now_s[0] += CACHE_S + 1
    assert nodes.fields(graph)["4::ckpt_name"].options == ("a.safetensors", "b.safetensors")
    assert requested == ["Loader"] * 2
    other = Graph({"4": {"class_type": "Loader", "inputs": {"ckpt_name": "b.safetensors"}}})
    assert nodes.fields(other)["4::ckpt_name"].default == "b.safetensors"


def test_a_value_outside_the_range_of_the_chosen_option_is_rejected():
    field = types(Resize=RESIZE).fields(resized("width", 64))["1::how.size"]
    with pytest.raises(FieldError):
        field.check(8)
