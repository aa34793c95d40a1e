"""The cell that `params_from` writes sets the same params when the magic parses it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from comflowy_nb import params_from
from comflowy_nb.errors import ImageError
from comflowy_nb.recipe import Recipe
from comflowy_nb.workflow.fields import Field, FieldType
from comflowy_nb.workflow.syntax.body import read_body
from comflowy_nb.workflow.syntax.line import split_line
from comflowy_nb.workflow.values import resolve
from comflowy_nb.workflow.workflow import Workflow

DESCRIBED = Workflow(
    "w",
    fields={
        "6::text": Field("6::text", FieldType.STRING),
        "3::cfg": Field("3::cfg", FieldType.FLOAT),
        "3::seed": Field("3::seed", FieldType.INT),
        "3::on": Field("3::on", FieldType.BOOLEAN),
    },
)
VALUES = st.fixed_dictionaries(
    {
        "6::text": st.text(st.characters(blacklist_categories=["Cs"]), max_size=60)
        | st.sampled_from(["{ink}", "a {day|night} {x} {{y}}", "file:a.png", "#1", 'a "b"', "a: b", "x\n  y\n", "{"]),
        "3::cfg": st.floats(allow_nan=False, allow_infinity=False),
        "3::seed": st.integers(0, 2**64 - 1),
        "3::on": st.booleans(),
    }
)


def executed(cell):
    """Return the params that the magic sets. A remaining `{name}` is an undefined variable."""
    line, _, body = cell.partition("\n")
    arguments = split_line(line.removeprefix("%%comflowy "))
    assert arguments[0].text == "run"
    return arguments[1].text, resolve(DESCRIBED, read_body(body).settings, namespace={}).params


@given(VALUES)
def test_the_cell_sets_the_same_params(values):
    word, params = executed(Recipe(values, workflow="w").cell)
    assert word == "w"
    assert params == values


@pytest.mark.parametrize("workflow", ["default", "my images/a b.png", "it's.png", 'say "x".png', "a#b.png"])
def test_the_workflow_is_one_argument(workflow):
    assert executed(Recipe({"6::text": "x"}, workflow=workflow).cell)[0] == workflow


def test_an_image_of_comfyui_gives_all_values_of_its_graph(tmp_path):
    graph = {
        "3": {"class_type": "KSampler", "inputs": {"seed": 2**64 - 1, "cfg": 7.5, "model": ["4", 0]}},
        "4": {"class_type": "Load", "inputs": {"name": "a.safetensors"}},
    }
    notes = PngInfo()
    notes.add_text("prompt", json.dumps(graph))
    Image.new("RGB", (4, 4)).save(tmp_path / "theirs.png", pnginfo=notes)
    recipe = params_from(tmp_path / "theirs.png")
    assert recipe == {"3::seed": 2**64 - 1, "3::cfg": 7.5, "4::name": "a.safetensors"}
    assert recipe.cell.splitlines()[0] == f"%%comflowy run {tmp_path / 'theirs.png'}"
    assert str(recipe) == recipe.cell


def test_an_image_without_metadata_is_an_error(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "bare.png")
    with pytest.raises(ImageError, match="contains no workflow"):
        params_from(tmp_path / "bare.png")
    with pytest.raises(ImageError, match="there is no file"):
        params_from(tmp_path / "none.png")
