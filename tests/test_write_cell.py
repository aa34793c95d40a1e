"""A written cell is read back as the same values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from comflowy_nb.recipe import write_cell
from comflowy_nb.workflow.fields import Field, FieldType
from comflowy_nb.workflow.syntax.body import read_body
from comflowy_nb.workflow.values import resolve
from comflowy_nb.workflow.workflow import Workflow

FIELDS = {
    "6::text": Field("6::text", FieldType.STRING, multiline=True),
    "3::cfg": Field("3::cfg", FieldType.FLOAT, min=0, max=100),
    "3::seed": Field("3::seed", FieldType.INT, min=0, max=2**64 - 1),
    "3::sampler_name": Field("3::sampler_name", FieldType.CHOICE, ("euler", "dpmpp_2m", "a #b", "7")),
    "4::on": Field("4::on", FieldType.BOOLEAN),
}
DESCRIBED = Workflow("default", "default", fields=FIELDS)
UNDESCRIBED = Workflow("wf-1", "wf-1", is_partial=True)


def read_again(cell, workflow, namespace=None):
    head, _, body = cell.partition("\n")
    assert head == f"%%comflowy run {workflow.name}"
    return resolve(workflow, read_body(body).settings, namespace=namespace or {}).params if body else {}


@given(st.text())
def test_any_text_is_read_back(text):
    assert read_again(write_cell(DESCRIBED, {"6::text": text}), DESCRIBED) == {"6::text": text}
    assert read_again(write_cell(UNDESCRIBED, {"6::text": text}), UNDESCRIBED) == {"6::text": text}


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from(["1::a", "2::b c", "9:3::d"]), VALUES))
def test_any_values_of_an_undescribed_workflow_are_read_back(params):
    assert read_again(write_cell(UNDESCRIBED, params), UNDESCRIBED) == params


@pytest.mark.parametrize(
    "params",
    [
        {"3::cfg": 7.5, "3::seed": 2**64 - 1, "3::sampler_name": "euler", "4::on": True, "6::text": "a cat, a dog"},
        {"3::sampler_name": "a #b"},
        {"3::sampler_name": "7", "6::text": "{day|night} {name} {{name}} [a:b:0.5] #1 'x' \"y\" C:\\pics $5"},
        {},
    ],
)
def test_values_of_described_fields_are_read_back(params):
    cell = write_cell(DESCRIBED, params)
    assert read_again(cell, DESCRIBED, {"name": "something else"}) == params


def test_the_cell_has_one_line_for_each_field():
    cell = write_cell(DESCRIBED, {"6::text": "a glass bottle", "3::cfg": 7.0, "3::seed": 12})
    assert cell == "%%comflowy run default\n6::text: a glass bottle\n3::cfg: 7.0\n3::seed: 12"


def test_line_breaks_of_a_text_are_kept():
    assert write_cell(DESCRIBED, {"6::text": "one\n\ntwo"}) == "%%comflowy run default\n6::text: |\n  one\n  \n  two"


def test_a_name_with_spaces_is_quoted():
    assert write_cell(Workflow("my portrait"), {}) == '%%comflowy run "my portrait"'
