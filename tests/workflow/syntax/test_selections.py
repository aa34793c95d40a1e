"""Fields that accept several options: the syntax of one selection, and an axis of selections."""

from __future__ import annotations

import pytest

from comflowy_nb.errors import FieldError
from comflowy_nb.recipe import write_cell
from comflowy_nb.workflow.axes.read import read_axes
from comflowy_nb.workflow.object_info import read_field, write_field
from comflowy_nb.workflow.syntax.body import read_body
from comflowy_nb.workflow.syntax.lists import Setting
from comflowy_nb.workflow.values import resolve, settings_from_mapping
from comflowy_nb.workflow.workflow import Workflow

OPTIONS = ["red", "green, dark", "blue", 7]
WORDS = read_field("1::words", ["COMBO", {"options": OPTIONS, "multiselect": True}])
WORKFLOW = Workflow("w", "w", fields={"1::words": WORDS})
NAMES = {"picked": ["red", "blue"], "one": "red", "several": [["red"], ["red", "blue"]]}


def selection(*words):
    return {"1::words": {"__value__": list(words)}}


def run(*settings):
    return resolve(WORKFLOW, settings, namespace=NAMES).params


@pytest.mark.parametrize(
    "spec",
    [
        ["COMBO", {"options": ["a"], "multiselect": True}],
        ["COMBO", {"options": ["a"], "multi_select": {"placeholder": "choose", "chip": True}}],
        ["COMBO", {"options": ["a"], "multi_select": {}}],
        [["a"], {"multiselect": True}],
    ],
)
def test_every_description_of_a_multiple_choice_is_recognised(spec):
    field = read_field("1::words", spec)
    assert field.is_multiple
    assert read_field("1::words", write_field(field)).is_multiple


def test_single_choice_accepts_one_option_only():
    field = read_field("1::words", ["COMBO", {"options": ["a", "b"], "multiselect": False}])
    assert not field.is_multiple
    assert field.read("a") == "a"
    with pytest.raises(FieldError):
        field.check(["a"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[red, blue]", ("red", "blue")),
        ("[red]", ("red",)),
        ("red", ("red",)),
        ("[]", ()),
        ('["green, dark", 7]', ("green, dark", 7)),
        ("green, dark", ("green, dark",)),
        ('{"__value__": ["red", "blue"]}', ("red", "blue")),
        ("{picked}", ("red", "blue")),
        ("[{one}, blue]", ("red", "blue")),
        ("{one}", ("red",)),
    ],
)
def test_selection_is_read_on_the_line_and_in_a_body(text, words):
    """`["z"]` and `{"__value__": ["z"]}` were rejected, because a list was always read as several values."""
    assert run(Setting("words", text)) == selection(*words)
    assert run(*read_body(f"words: {text}").settings) == selection(*words)


def test_selection_is_read_from_a_block_list_and_a_payload():
    assert run(*read_body("words:\n  - red\n  - blue").settings) == selection("red", "blue")
    assert run(*read_body('{"1::words": ["red", "green, dark"]}').settings) == selection("red", "green, dark")
    assert run(*read_body('{"1::words": {"__value__": ["red"]}}').settings) == selection("red")


@pytest.mark.parametrize("value", [["red", 7], ("red", 7), {"__value__": ["red", 7]}, ["red", "7"]])
def test_selection_is_read_from_python_lists(value):
    assert resolve(WORKFLOW, settings_from_mapping({"words": value})).params == selection("red", 7)


@pytest.mark.parametrize("text", ["[red, pink]", "pink", "[red", '{"value": ["red"]}'])
def test_invalid_option_is_an_error(text):
    with pytest.raises(FieldError, match="is not one of red, green, dark, blue, 7"):
        run(Setting("words", text))


def test_written_cell_with_a_selection_is_read_back():
    text = write_cell(WORKFLOW, selection("red", "green, dark"))
    assert run(*read_body(text.split("\n", 1)[1]).settings) == selection("red", "green, dark")


# -- sweeps -----------------------------------------------------------------------------------------------------


def axes_of(settings):
    return read_axes(WORKFLOW, settings, namespace=NAMES)


def values_of(axes):
    (axis,) = axes.axes
    return [dict(value.params) for value in axis.values]


@pytest.mark.parametrize(
    "settings",
    [
        [Setting("words", "[[red], [red, blue]]")],
        [Setting("words", "{several}")],
        read_body("words: [[red], [red, blue]]", sweep=True).settings,
        read_body("words:\n  - [red]\n  - [red, blue]", sweep=True).settings,
        read_body('{"1::words": [["red"], ["red", "blue"]]}', sweep=True).settings,
        settings_from_mapping({"words": [["red"], ["red", "blue"]]}),
        settings_from_mapping({"words": [{"__value__": ["red"]}, {"__value__": ["red", "blue"]}]}),
    ],
)
def test_a_list_of_lists_is_an_axis(settings):
    axes = axes_of(settings)
    assert values_of(axes) == [selection("red"), selection("red", "blue")]
    assert [value.label for value in axes.axes[0].values] == ['["red"]', '["red", "blue"]']


@pytest.mark.parametrize(
    "settings",
    [
        [Setting("words", "[red, blue]")],
        [Setting("words", "red, blue")],
        [Setting("words", "{picked}")],
        [Setting("words", "[[red], blue]")],
        read_body("words: [red, blue]", sweep=True).settings,
        read_body("words:\n  - red\n  - blue", sweep=True).settings,
        settings_from_mapping({"words": ["red", "blue"]}),
    ],
)
def test_error_for_a_flat_list_in_a_sweep_shows_both_spellings(settings):
    with pytest.raises(FieldError) as caught:
        axes_of(settings)
    assert "write [[" in str(caught.value)
    assert "for the others" in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [
        [Setting("words", "red")],
        [Setting("words", '{"__value__": ["red"]}')],
        read_body('words: {"__value__": ["red"]}', sweep=True).settings,
        settings_from_mapping({"words": {"__value__": ["red"]}}),
    ],
)
def test_one_selection_is_fixed_in_a_sweep(settings):
    axes = axes_of(settings)
    assert (axes.axes, dict(axes.fixed)) == ((), selection("red"))


def test_a_name_in_a_selection_of_a_sweep_is_expanded():
    """In a list below the key and in `__value__`, the sweep took `{one}` as an option and the run its value."""
    assert run(Setting("words", '{"__value__": ["{one}", "blue"]}')) == selection("red", "blue")
    for text in ('words: {"__value__": ["{one}", "blue"]}', "words:\n  - [{one}, blue]"):
        axes = axes_of(read_body(text, sweep=True).settings)
        assert (values_of(axes) if axes.axes else [dict(axes.fixed)]) == [selection("red", "blue")]


def test_labels_and_presets_accept_selections():
    labelled = axes_of(read_body("words: {warm: [red], both: [red, blue]}", sweep=True).settings)
    assert values_of(labelled) == [selection("red"), selection("red", "blue")]
    assert [value.label for value in labelled.axes[0].values] == ["warm", "both"]
    preset = axes_of(read_body("look: {warm: {words: [red]}, both: {words: [red, blue]}}", sweep=True).settings)
    assert values_of(preset) == [selection("red"), selection("red", "blue")]
