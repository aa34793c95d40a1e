from __future__ import annotations

import pytest

from comflowy_nb.errors import FieldError
from comflowy_nb.workflow.graph import Graph
from comflowy_nb.workflow.workflow import Workflow


def test_a_field_is_found_by_its_id_its_name_or_an_alias(workflow):
    assert workflow.find("3::cfg") == workflow.find("cfg") == ("3::cfg",)
    assert workflow.find("prompt") == ("6::text",)


def test_all_names_every_field_of_that_name(workflow):
    assert workflow.find("all::text") == ("6::text", "7::text")
    assert workflow.find("all::cfg") == ("3::cfg",)


def test_a_name_of_several_fields_lists_them(workflow):
    with pytest.raises(FieldError) as caught:
        workflow.find("text")
    assert "6::text (CLIP Text Encode (Prompt))" in str(caught.value)
    assert "7::text" in str(caught.value)
    assert "all::text" in str(caught.value)


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
    assert f"{key!r}; nearest: " in str(caught.value)
    assert near in str(caught.value)


def test_an_unknown_field_without_a_near_name_names_the_command_that_lists_fields(workflow):
    with pytest.raises(FieldError, match="%comflowy fields default"):
        workflow.find("zzzz")


def test_a_workflow_without_descriptions_accepts_only_ids_and_aliases(undescribed):
    assert undescribed.find("3::anything") == ("3::anything",)
    assert undescribed.find("57:12::cfg") == ("57:12::cfg",)
    assert undescribed.find("prompt") == ("6::text",)
    for key in ("cfg", "all::seed", "::cfg", "3::", "promt"):
        with pytest.raises(FieldError, match="are not described"):
            undescribed.find(key)


def test_a_partly_described_workflow_accepts_other_ids(workflow):
    partial = Workflow("portrait", "3fef208b", fields={"3::cfg": workflow.fields["3::cfg"]}, is_partial=True)
    assert partial.find("cfg") == ("3::cfg",)
    assert partial.find("6::text") == ("6::text",)
    with pytest.raises(FieldError, match="nearest: cfg"):
        partial.find("cgf")


def test_an_alias_precedes_a_name_and_follows_an_id(workflow):
    twisted = Workflow("w", fields=workflow.fields, aliases={"cfg": "3::denoise", "3::cfg": "3::denoise"})
    assert twisted.find("cfg") == ("3::denoise",)
    assert twisted.find("3::cfg") == ("3::cfg",)


def test_an_alias_may_name_several_fields(workflow):
    assert Workflow("w", fields=workflow.fields, aliases={"words": "all::text"}).find("words") == ("6::text", "7::text")


def test_an_invalid_alias_is_an_error(workflow):
    for aliases in ({"a": "44::x"}, {"a": "b", "b": "a"}, {"a": "a"}):
        with pytest.raises(FieldError, match="the alias 'a' "):
            Workflow("w", fields=workflow.fields, aliases=aliases).find("a")


def test_the_content_is_the_id_or_else_the_graph():
    graph = Graph({"1": {"class_type": "X", "inputs": {}}})
    assert Workflow("w", "id", graph=graph).content == "id"
    assert Workflow("w", graph=graph).content == {"1": {"class_type": "X", "inputs": {}}}
    assert not Workflow("w").is_described
