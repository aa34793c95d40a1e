"""Axes typed on a line and in a body; each rule of the syntax has an example."""

from __future__ import annotations

import pytest
from PIL import Image

from comflowy_nb.errors import FieldError, LineError, RefError
from comflowy_nb.workflow.axes.read import count_axes, read_axes
from comflowy_nb.workflow.axes.types import SeedWord
from comflowy_nb.workflow.images import InputImage
from comflowy_nb.workflow.object_info import read_field
from comflowy_nb.workflow.syntax.body import read_body
from comflowy_nb.workflow.syntax.line import split_line
from comflowy_nb.workflow.syntax.lists import Setting
from comflowy_nb.workflow.workflow import Workflow


def line(workflow, text, **options):
    words = split_line(text, sweep=True)
    assert all(word.key is not None for word in words), words
    return read_axes(workflow, [Setting(word.key, word.value, word.quoted, "the line") for word in words], **options)


def body(workflow, text, **options):
    return read_axes(workflow, read_body(text, sweep=True).settings, **options)


def values(axes, name=None):
    """Return the values of the only axis, or of the named one."""
    (axis,) = [axis for axis in axes.axes if name in {None, axis.name}]
    return [value.params[axis.fields[0]] for value in axis.values]


def labels(axes, name=None):
    (axis,) = [axis for axis in axes.axes if name in {None, axis.name}]
    return [value.label for value in axis.values]


def problems(call, *args, **options):
    with pytest.raises(FieldError) as caught:
        call(*args, **options)
    return caught.value.problems


# -- the examples --------------------------------------------------------------------------------------------------


def test_line_of_the_documented_example_is_read(workflow):
    axes = line(workflow, "3::cfg=2..8..2 3::sampler_name=euler,heun,dpmpp_2m 3::seed=7")
    assert (axes.shape, axes.count, axes.fixed) == ((4, 3), 12, {"3::seed": 7})
    assert [axis.name for axis in axes.axes] == ["3::cfg", "3::sampler_name"]
    assert values(axes, "3::cfg") == [2.0, 4.0, 6.0, 8.0]
    assert labels(axes, "3::cfg") == ["2", "4", "6", "8"]
    assert axes.set_params == ("3::cfg", "3::sampler_name", "3::seed")


def test_body_of_the_documented_example_is_read(workflow):
    axes = body(
        workflow,
        """cfg: 4..8
sampler_name: [euler, heun, dpmpp_2m]
prompt: {day: "beautiful scenery, glass bottle, noon", night: "the same at night, stars", fog: "in fog, pale"}
seed: random
""",
    )
    assert axes.shape == (5, 3, 3)
    assert labels(axes, "prompt") == ["day", "night", "fog"]
    assert all(value.is_named for value in axes.axes[2].values)
    assert values(axes, "prompt")[0] == "beautiful scenery, glass bottle, noon"
    assert axes.axes[2].fields == ("6::text",)
    assert axes.seeds == (SeedWord(("3::seed",), "random"),)


# -- texts ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("6::text=a||b", ["a", "b"]),
        ('6::text="a cat||a dog"', ["a cat", "a dog"]),
        ('6::text="a cat || a dog"', ["a cat", "a dog"]),
        ('6::text="a cat"||"a dog, asleep"', ["a cat", "a dog, asleep"]),
        ('6::text="a||b"||c', ["a", "b", "c"]),
        ("6::text='it's'||\"a\"b\"||x", ["it's", 'a"b', "x"]),
        ('6::text=" a "||b', [" a ", "b"]),
        ('6::text=""||bad', ["", "bad"]),
        ('6::text=["a","b, c"]', ["a", "b, c"]),
        ('6::text=["a||b","c d"]', ["a||b", "c d"]),
        ("6::text=[1,2]", ["1", "2"]),
        ("6::text=a,b||c,d", ["a,b", "c,d"]),
        ("6::text={a|b}||{c}", ["{a|b}", "{c}"]),
        ("6::text=1..3||4..5", ["1..3", "4..5"]),
    ],
)
def test_text_on_the_line_is_split_at_two_bars_even_inside_quotes(workflow, typed, expected):
    assert values(line(workflow, typed)) == expected


@pytest.mark.parametrize("text", ["a,b", "1..5", "4,8", "{day|night}", "{a: b}", "[a] and [b]", "random", "a|b", "[a"])
def test_text_without_two_bars_is_one_value(workflow, text):
    axes = line(workflow, f"6::text='{text}'")
    assert (axes.fixed, axes.axes) == ({"6::text": text}, ())
    if " " not in text:
        assert line(workflow, f"6::text={text}").fixed == {"6::text": text}


@pytest.mark.parametrize(
    "text", ["bottle #1", "a photo: of", "{day|night}", '"red" and "blue"', '"red", "blue"', "4, 8", "1..5", "{a:b}"]
)
def test_text_in_a_body_extends_to_the_end_of_the_line(workflow, text):
    assert body(workflow, f"6::text: {text}\n", namespace={}).fixed == {"6::text": text}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("6::text: a cat || a dog #1", ["a cat", "a dog #1"]),
        ('6::text: "a cat || a dog"', ["a cat", "a dog"]),
        ('6::text: " a" || "b "', [" a", "b "]),
        ('6::text: "red", "blue" || green', ['"red", "blue"', "green"]),
        ("6::text: |\n  a\n  b\n  ||\n  c", ["a\nb", "c"]),
        ('6::text: ["a, #1", "b: c"]', ["a, #1", "b: c"]),
        ("6::text: ['it's', 'a \"b\" c']", ["it's", 'a "b" c']),
        ('6::text:\n  ["a",\n   "b"]', ["a", "b"]),
        ('6::text: [\n  "a",\n  "b",\n]\ncfg: 4', ["a", "b"]),
        ('6::text:\n  - a cat\n  - [a:b:0.5] || x\n  - " c"', ["a cat", "[a:b:0.5] || x", " c"]),
        ("6::text:\n  - a\n    long one\n\n  - >\n    folded\n    text", ["a long one", "folded text"]),
        ("6::text:\n  - |\n    kept\n      text\n  - a", ["kept\n  text", "a"]),
        ('6::text:\n  - a # b\n  - ""', ["a # b", ""]),
    ],
)  # fmt: skip
def test_several_texts_in_a_body_are_read(workflow, text, expected):
    assert values(body(workflow, text)) == expected


def test_ambiguous_list_in_brackets_is_rejected_with_both_spellings(workflow, undescribed):
    for workflow_, typed in ((workflow, "6::text: [a:b:0.5]"), (undescribed, "1::x: [a:b:0.5]")):
        (problem,) = problems(body, workflow_, typed)
        assert '["a:b:0.5"]' in problem
        assert '"[a:b:0.5]"' in problem
    (problem,) = problems(line, workflow, "6::text=[cat,dog]")
    assert '["cat", "dog"]' in problem
    assert '"[cat,dog]"' in problem
    assert body(workflow, '6::text: "[a:b:0.5]"').fixed == {"6::text": "[a:b:0.5]"}
    assert values(body(workflow, '6::text: ["a:b:0.5"]')) == ["a:b:0.5"]


def test_texts_in_quotes_are_not_split_at_commas(workflow):
    (problem,) = problems(line, workflow, '6::text="a, b","c"')
    assert "||" in problem


def test_block_list_with_a_line_without_a_dash_is_rejected(workflow):
    (problem,) = problems(body, workflow, "6::text:\n  - a\n  b\n")
    assert "'- '" in problem


def test_lines_that_may_be_labels_or_a_text_are_rejected(workflow):
    text = "6::text:\n  a photo: of\n  a cat: asleep\n"
    (problem,) = problems(body, workflow, text)
    assert "line 1" in problem
    assert "|" in problem
    assert body(workflow, "6::text:\n  a photo: of\n  a cat\n").fixed == {"6::text": "a photo: of a cat"}
    axes = body(workflow, '6::text:\n  day: "noon"\n  night: |\n    stars\n    moon\n')
    assert (labels(axes), values(axes)) == (["day", "night"], ["noon", "stars\nmoon"])


# -- numbers, choices, booleans ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("cfg=4,8", [4.0, 8.0]),
        ("cfg=[4,8]", [4.0, 8.0]),
        ('cfg="4","8"', [4.0, 8.0]),
        ("cfg=0.1..0.5..0.1", [0.1, 0.2, 0.3, 0.4, 0.5]),
        ("cfg=2,4..6,8", [2.0, 4.0, 5.0, 6.0, 8.0]),
        ("cfg=[2,4..8..2]", [2.0, 4.0, 6.0, 8.0]),
        ("cfg=0..1#3", [0.0, 0.5, 1.0]),
        ("cfg=.5,1", [0.5, 1.0]),
        ("steps=10..30..10", [10, 20, 30]),
        ("steps=30..10..-10,5", [30, 20, 10, 5]),
        ("sampler_name=euler,heun", ["euler", "heun"]),
        ("sampler_name=[euler,heun]", ["euler", "heun"]),
        ('sampler_name="euler","heun"', ["euler", "heun"]),
        ("tiled=true,False", [True, False]),
        ("seed=1,2,3", [1, 2, 3]),
    ],
)
def test_numbers_choices_and_booleans_are_split_at_commas(workflow, typed, expected):
    for axes in (line(workflow, typed), body(workflow, typed.replace("=", ": ", 1) + " # a comment")):
        assert values(axes) == expected
        assert [type(value) for value in values(axes)] == [type(value) for value in expected]


def test_lists_of_numbers_below_a_key(workflow):
    assert values(body(workflow, "cfg:\n  - 4 # soft\n  # none\n  - 6..8\n")) == [4.0, 6.0, 7.0, 8.0]
    assert values(body(workflow, "cfg: [\n  4, # soft\n  8,\n]\n")) == [4.0, 8.0]


def test_option_with_a_comma_is_in_quotes_or_is_the_whole_value():
    workflow = Workflow("w", fields={"1::x": read_field("1::x", [["a", "b", "a,b", "c (d, e)"]])})
    assert line(workflow, "x=a,b").fixed == {"1::x": "a,b"}
    assert values(line(workflow, 'x="a,b",b')) == ["a,b", "b"]
    assert values(body(workflow, "x: c (d, e), a")) == ["c (d, e)", "a"]


def test_two_bars_do_not_separate_numbers(workflow):
    assert "is not a number" in problems(line, workflow, "cfg=4||8")[0]
    assert "is not a number" in problems(line, workflow, 'cfg="4,8"')[0]


def test_single_value_is_fixed_and_a_list_of_one_value_is_an_axis(workflow):
    assert line(workflow, "cfg=4 steps=5").fixed == {"3::cfg": 4.0, "3::steps": 5}
    assert values(line(workflow, "cfg=[4]")) == [4.0]
    assert values(line(workflow, "cfg=4..4")) == [4.0]


# -- unknown types -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("1::x=a||b", ["a", "b"]),
        ("1::x=4,8", [4, 8]),
        ("1::x=a,b", ["a", "b"]),
        ('1::x="4",8', ["4", 8]),
        ('1::x="a b","c"', ["a b", "c"]),
        ('1::x="a||b"||c', ["a||b", "c"]),
        ("1::x=1..3", [1, 2, 3]),
        ("1::x=0.5..1.5..0.5,true", [0.5, 1.0, 1.5, True]),
        ("1::x=[4,8]", [4, 8]),
        ('1::x=["a","4"]', ["a", "4"]),
        ("1::x=[1..3,8]", [1, 2, 3, 8]),
    ],
)
def test_several_values_of_unknown_type_on_the_line_are_an_axis(undescribed, typed, expected):
    assert values(line(undescribed, typed)) == expected


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ('1::x="a,b"', "a,b"),
        ('1::x="a||b"', "a||b"),
        ('1::x="1..3"', "1..3"),
        ('1::x={"a":[1,2]}', {"a": [1, 2]}),
        ("1::x=8", 8),
    ],
)  # fmt: skip
def test_single_value_of_unknown_type_on_the_line_is_fixed(undescribed, typed, expected):
    assert line(undescribed, typed).fixed == {"1::x": expected}


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("4, 8", [4, 8]),
        ("1..3, 8", [1, 2, 3, 8]),
        ("true, false", [True, False]),
        ("a, b || c", ["a, b", "c"]),
        ('"a" || "4" || 4', ["a", "4", 4]),
    ],
)  # fmt: skip
def test_several_values_of_unknown_type_in_a_body_are_an_axis(undescribed, typed, expected):
    assert values(body(undescribed, f"1::x: {typed}")) == expected


@pytest.mark.parametrize("typed", ["a, b", "4, b", "4, 8, a cat", '"a", "b"', "null, 4"])
def test_commas_in_a_body_are_text_for_a_field_of_unknown_type(undescribed, typed):
    assert body(undescribed, f"1::x: {typed}").fixed == {"1::x": typed}


# -- errors --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "parts"),
    [
        ("cfg=4,,8", ("cfg, value 2 of 3", "empty")),
        ("cfg=4,", ("cfg, value 2 of 2", "empty")),
        ("6::text=a||", ("text, value 2 of 2", "empty")),
        ("6::text=a||||b", ("text, value 2 of 3", "empty")),
        ("cfg=[]", ("cfg", "no value")),
        ("cfg=4,8,4.0", ("cfg", "duplicate value", "'4'")),
        ("6::text=a||b||a", ("text", "duplicate value", "'a'")),
        ("cfg=2..6..2,4", ("cfg", "duplicate value", "'4'")),
        ("cfg=4,hot,8", ("cfg, value 2 of 3", "'hot' is not a number")),
        ("cfg=4,500", ("cfg, value 2 of 2", "500 is above 100")),
        ("cfg=90..110..10", ("cfg", "110 is above 100")),
        ("sampler_name=euler,hun", ("sampler_name, value 2 of 2", "'hun'", "heun")),
        ("steps=5,5.5", ("steps, value 2 of 2", "5.5", "whole")),
        ("cfg=8..2", ("cfg", "8..2", "negative step")),
        ("cfg=2..8..0", ("cfg", "2..8..0", "step 0")),
        ("cfg=nan..2", ("cfg", "nan..2", "'nan' is not a number")),
        ("denoise=0.5..2", ("denoise", "0.5..2", "needs a step")),
        ("steps=1..3..0.5", ("steps", "1..3..0.5", "whole")),
        ("steps=1..2#3", ("steps", "1..2#3", "whole")),
        ("cfg=1..5#1", ("cfg", "1..5#1", "at least 2")),
        ("seed=1..1000000000", ("seed", "1,000,000,000", "10,000")),
        ("cfg=4,1..1000000000", ("cfg, value 2 of 2", "1,000,000,000")),
        ("nope=1,2", ("'nope'",)),
        ("cfg=4,[5,6]", ("cfg, value 2 of 2",)),
    ],
)
def test_an_error_names_the_field_and_the_value(workflow, typed, parts):
    (problem,) = problems(line, workflow, typed)
    for part in parts:
        assert part in problem


def test_all_problems_are_reported_in_one_error(workflow):
    messages = problems(
        body,
        workflow,
        "cfg: 8..2\nsteps: 4, few, 0\nsampler_name: [euler, hun]\n"
        "look: {a: {nope: 1}, b: {denoise: 2}}\nprompt: a || \n",
    )
    assert len(messages) == 7
    assert [problem.partition(":")[0] for problem in messages] == [
        "line 1", "line 2", "line 2", "line 3", "line 4", "line 4", "line 5",
    ]  # fmt: skip


def test_a_sweep_of_too_many_cells_is_rejected_with_its_count(workflow):
    (problem,) = problems(line, workflow, "seed=1..9000 steps=1..9000")
    assert "81,000,000 cells" in problem
    assert "9,000 seed x 9,000 steps" in problem


def test_field_set_twice_is_an_error(workflow):
    for text in ("cfg: 4, 8\n3::cfg: 2", "prompt: a || b\n6::text: c", "all::text: a || b\n7::text: c"):
        assert "set twice" in problems(body, workflow, text)[0]


def test_axis_sets_all_fields_of_a_name(workflow):
    axes = line(workflow, "all::text=a||b")
    assert axes.axes[0].fields == ("6::text", "7::text")
    assert [dict(value.params) for value in axes.axes[0].values] == [
        {"6::text": "a", "7::text": "a"},
        {"6::text": "b", "7::text": "b"},
    ]


# -- labels --------------------------------------------------------------------------------------------------------


def test_labels_in_a_body_are_read(workflow, undescribed):
    axes = body(workflow, "cfg: {low: 4, 'very high': 20} # note\nsampler_name:\n  a: euler\n  b: heun # slow\n")
    assert (labels(axes, "cfg"), values(axes, "cfg")) == (["low", "very high"], [4.0, 20.0])
    assert (labels(axes, "sampler_name"), values(axes, "sampler_name")) == (["a", "b"], ["euler", "heun"])
    axes = body(undescribed, '1::x: {a: 4, b: "4", c: cat}')
    assert (labels(axes), values(axes)) == (["a", "b", "c"], [4, "4", "cat"])


def test_labels_on_several_lines_are_read(workflow):
    axes = body(workflow, 'prompt: {\n  day: "noon, sun",\n  night: "stars",\n}\ncfg: 4')
    assert (labels(axes), values(axes)) == (["day", "night"], ["noon, sun", "stars"])


@pytest.mark.parametrize(
    ("typed", "part"),
    [
        ('prompt: {a: "x", a: "y"}', "label 'a' is used twice"),
        ('prompt: {a: "x", b: "x"}', "duplicate value"),
        ("cfg: {a: 4, b: hot}", "value 'b': 'hot'"),
        ("cfg: {a: 1..3}", "range"),
        ("cfg: {a: , b: 4}", "value 'a': the value is empty"),
        ("prompt: {a: beautiful scenery, glass bottle}", "'glass bottle' has no label"),
        ("prompt: {a: [x, y]}", "a list is not allowed here: use one value"),
    ],
)
def test_invalid_labels_are_reported(workflow, typed, part):
    assert part in problems(body, workflow, typed)[0]


def test_labels_on_the_line_are_text_or_an_error(workflow):
    assert line(workflow, "6::text={a:b}").fixed == {"6::text": "{a:b}"}
    assert "is not a number" in problems(line, workflow, 'cfg="{a: 4, b: 8}"')[0]


# -- presets -------------------------------------------------------------------------------------------------------

LOOKS = "look: {soft: {cfg: 4, sampler_name: euler}, crisp: {cfg: 8, sampler_name: heun}}"


def test_a_preset_axis_sets_several_fields(workflow):
    for text in (
        LOOKS,
        "look:\n  soft: {cfg: 4, sampler_name: euler}\n  crisp:\n    cfg: 8\n    3::sampler_name: heun\n",
    ):
        (axis,) = body(workflow, text).axes
        assert (axis.name, axis.kind, axis.fields) == ("look", "preset", ("3::cfg", "3::sampler_name"))
        assert [(value.label, value.is_named, dict(value.params)) for value in axis.values] == [
            ("soft", True, {"3::cfg": 4.0, "3::sampler_name": "euler"}),
            ("crisp", True, {"3::cfg": 8.0, "3::sampler_name": "heun"}),
        ]


def test_presets_may_set_texts_and_different_fields(workflow):
    axes = body(workflow, 'look: {a: {prompt: "a # b, c"}, b: {all::text: x, steps: 4}}')
    assert [dict(value.params) for value in axes.axes[0].values] == [
        {"6::text": "a # b, c"},
        {"6::text": "x", "7::text": "x", "3::steps": 4},
    ]
    assert axes.set_params == ("6::text", "7::text", "3::steps")


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (LOOKS + "\ncfg: 4", ("node 3 (KSampler), cfg is set twice", "look", "cfg (line 2)")),
        ("cfg: 4\n" + LOOKS, ("node 3 (KSampler), cfg is set twice", "cfg (line 1)", "look (line 2)")),
        ("look: {a: {cfg: 4}}\nfeel: {a: {cfg: 5}}", ("set twice", "feel")),
        ("look: {a: {cfg: 4, 3::cfg: 5}}", ("preset 'a'", "set twice")),
        ("look: {a: {cfg: 4}, a: {cfg: 5}}", ("label 'a' is used twice",)),
        ("look: {a: {cfg: 4}, b: {cfg: 4.0}}", ("duplicate value", "'a' and 'b'")),
        ("look: {a: {cfg: 4}, b: 5}", ("'b'",)),
        ("look: {a: {cgf: 4}}", ("preset 'a'", "'cgf'", "cfg")),
        ("look: {a: {cfg: 400}}", ("preset 'a'", "400 is above 100")),
        ("look: {a: {cfg: 1..3}}", ("preset 'a'", "range")),
        ("look: {a: {cfg: [1, 2]}}", ("preset 'a'", "list")),
        ("look: {a: {seed: random}}", ("preset 'a'", "random")),
        ("look: {a: {}, b: {cfg: 5}}", ("preset 'a'", "is empty: write a: {cfg: 4}")),
        ("look: {a: 4, b: 5}", ("no field 'look'",)),
        ("lok: 4", ("no field 'lok'",)),
    ],
)
def test_invalid_presets_are_reported(workflow, text, parts):
    (problem,) = problems(body, workflow, text)
    for part in parts:
        assert part in problem


def test_presets_need_a_described_workflow(undescribed):
    assert "ids such as 3::cfg" in " ".join(problems(body, undescribed, LOOKS))


# -- search and replace --------------------------------------------------------------------------------------------


def test_replace_makes_an_axis_of_each_word(workflow):
    axes = body(
        workflow, 'prompt: {in: "a glass bottle, a table", replace: {bottle: [bottle, vase], table: ["a b", "c"]}}'
    )
    assert [(axis.name, axis.kind, axis.fields) for axis in axes.axes] == [
        ("bottle", "replace", ("6::text",)),
        ("table", "replace", ("6::text",)),
    ]
    assert labels(axes, "bottle") == ["bottle", "vase"]
    assert values(axes, "bottle") == ["a glass bottle, a table", "a glass vase, a table"]
    assert axes.set_params == ("6::text",)


def test_replace_without_in_uses_the_default_text_of_the_workflow(workflow):
    field = read_field("6::text", ["STRING", {"default": "scenery, bottle"}])
    with_default = Workflow("w", fields={**workflow.fields, "6::text": field}, aliases=workflow.aliases)
    axes = body(with_default, "prompt: {replace: {bottle: {a: bottle, b: a vase}}}")
    assert (labels(axes), values(axes)) == (["a", "b"], ["scenery, bottle", "scenery, a vase"])
    assert "own text is not known" in problems(body, workflow, "prompt: {replace: {bottle: [a, b]}}")[0]


def test_replace_is_read_from_indented_lines(workflow):
    axes = body(
        workflow,
        "prompt:\n  in: a glass bottle, noon\n  replace:\n    bottle: [bottle, vase]\n"
        "    noon:\n      - noon\n      - dusk, late\n",
    )
    assert axes.shape == (2, 2)
    assert values(axes, "noon") == ["a glass bottle, noon", "a glass bottle, dusk, late"]


@pytest.mark.parametrize(
    ("replace", "part"),
    [
        ("{botle: [a, b]}", "'botle' is not found in 'a glass bottle'"),
        ("{bottle: []}", "empty"),
        ("{bottle: [a, a]}", "duplicate value"),
        ("{bottle: [a, ]}", None),
        ("{bottle: [a, , b]}", "empty"),
        ("{bottle: [a], glass bottle: [b]}", "within another word"),
        ("{bottle: {x: a, x: b}}", "label 'x' is used twice"),
        ("{bottle: [a], bottle: [b]}", "duplicate label 'bottle'"),
    ],
)
def test_invalid_replacements_are_reported(workflow, replace, part):
    text = f'prompt: {{in: "a glass bottle", replace: {replace}}}'
    if part is None:  # a trailing comma is ignored
        assert body(workflow, text).shape == (1,)
        return
    assert part in problems(body, workflow, text)[0]


def test_replace_in_a_number_field_is_an_error(workflow):
    assert "type FLOAT" in problems(body, workflow, 'cfg: {in: "4", replace: {4: [5]}}')[0]


def test_two_axes_that_replace_the_same_word_are_an_error(workflow):
    text = 'prompt: {in: "a cat", replace: {cat: [cat, dog]}}\n7::text: {in: "cat", replace: {cat: [cat, dog]}}'
    assert "two axes are called 'cat'" in problems(body, workflow, text)[0]


# -- names ---------------------------------------------------------------------------------------------------------


def test_a_python_list_is_an_axis_and_never_split_or_parsed(workflow, undescribed):
    import numpy as np

    names = {"l": ["a||b", "{l}", "1..5"], "c": (4, 8.5), "r": range(1, 4), "a": np.linspace(0, 1, 3),
             "g": (n for n in "ab"), "d": {"day": "x||y", "night": "z"}, "s": "a||b"}  # fmt: skip
    assert values(line(workflow, "6::text={l}", namespace=names)) == names["l"]
    assert values(line(undescribed, "1::x={l}", namespace=names)) == names["l"]
    assert values(line(workflow, "cfg={c}", namespace=names)) == [4.0, 8.5]
    assert values(line(workflow, "steps={r}", namespace=names)) == [1, 2, 3]
    assert values(body(workflow, "denoise: {a}", namespace=names)) == [0.0, 0.5, 1.0]
    assert values(body(workflow, "6::text: {g}", namespace=names)) == ["a", "b"]
    axes = line(workflow, "6::text={d}", namespace=names)
    assert (labels(axes), values(axes)) == (["day", "night"], ["x||y", "z"])
    assert line(workflow, "6::text={s}", namespace=names).fixed == {"6::text": "a||b"}
    assert "is not a number" in problems(line, workflow, "cfg={n}", namespace={"n": ["4", 5]})[0]
    assert "no value" in problems(line, workflow, "cfg={n}", namespace={"n": []})[0]


def test_python_names_are_expanded_after_splitting_and_before_numbers_are_parsed(workflow, undescribed):
    names = {"s": "a||b", "n": 4, "c": "1,2", "w": "euler"}
    assert values(line(workflow, '6::text="x {s}||{{n}} {n}"', namespace=names)) == ["x a||b", "{n} 4"]
    assert values(body(workflow, '6::text: ["{s}", "{n}"]', namespace=names)) == ["a||b", "4"]
    assert values(line(workflow, "cfg={n}..6", namespace=names)) == [4.0, 5.0, 6.0]
    assert values(line(workflow, "cfg={n},1{n}", namespace=names)) == [4.0, 14.0]
    assert values(line(workflow, "sampler_name={w},heun", namespace=names)) == ["euler", "heun"]
    assert values(line(undescribed, "1::x={s},x{n}", namespace=names)) == ["a||b", "x4"]
    assert "{gone}" in problems(line, workflow, "6::text=a||{gone}", namespace=names)[0]


def test_presets_from_python_objects_are_read(workflow):
    names = {"looks": {"soft": {"cfg": 4}, "crisp": {"cfg": 8}}, "soft": {"cfg": 4}, "c": 9}
    for text in ("look: {looks}", "look: {soft: {soft}, crisp: {cfg: 8}}", "look: {soft: {cfg: 4}, crisp: {cfg: 8}}"):
        (axis,) = body(workflow, text, namespace=names).axes
        assert [dict(value.params) for value in axis.values] == [{"3::cfg": 4.0}, {"3::cfg": 8.0}]
    assert body(workflow, "look: {a: {cfg: {c}}}", namespace=names).axes[0].values[0].params == {"3::cfg": 9.0}


# -- seeds ---------------------------------------------------------------------------------------------------------


def test_seed_words_are_read(workflow, undescribed):
    for workflow_, key in ((workflow, "seed"), (undescribed, "3::seed"), (undescribed, "9::noise_seed")):
        field_ids = workflow_.find(key)
        assert line(workflow_, f"{key}=random").seeds == (SeedWord(field_ids, "random"),)
        assert body(workflow_, f"{key}: each").seeds == (SeedWord(field_ids, "each"),)
        (axis,) = line(workflow_, f"{key}=random#3").axes
        assert (axis.kind, axis.fields, [value.label for value in axis.values]) == ("seeds", field_ids, ["1", "2", "3"])
        assert all(value.params == {} for value in axis.values)


def test_seed_words_are_text_in_other_fields(workflow, undescribed):
    assert line(workflow, "6::text=random").fixed == {"6::text": "random"}
    assert values(line(undescribed, "1::x=random,each")) == ["random", "each"]
    assert line(undescribed, '3::seed="random"').fixed == {"3::seed": "random"}
    assert "is not a number" in problems(line, workflow, "cfg=random")[0]


@pytest.mark.parametrize("typed", ["seed=1-4", "seed=1-4,9", "seed=[9,1-4]"])
def test_error_for_a_range_with_a_dash_shows_how_a_range_is_written(workflow, typed):
    (problem,) = problems(line, workflow, typed)
    assert problem.endswith("'1-4' is not a whole number; a range is written seed=1..4")


def test_a_range_for_fields_of_several_types_is_an_error():
    """If the first field was a text, the number below it silently got the first value of the range."""
    fields = {key: read_field(key, [kind]) for key, kind in (("1::size", "STRING"), ("2::size", "INT"))}
    with pytest.raises(FieldError, match=r"node 2, size: '1\.\.3' is not a whole number"):
        line(Workflow("w", fields=fields), "all::size=1..3")


def test_all_seeds_share_a_generated_seed():
    specs = {"1::seed": ["INT", {"max": 100}], "2::seed": ["INT", {}]}
    workflow = Workflow("w", fields={key: read_field(key, spec) for key, spec in specs.items()})
    assert line(workflow, "all::seed=each").seeds == (SeedWord(("1::seed", "2::seed"), "each"),)
    assert line(workflow, "all::seed=random#50").axes[0].fields == ("1::seed", "2::seed")
    assert "too many seeds for a field with values from 0 to 100" in problems(line, workflow, "all::seed=random#51")[0]


@pytest.mark.parametrize(
    ("typed", "part"),
    [
        ("seed=random#0", "no seed"),
        ("seed=random#1000000000000", "too many"),
        ("seed=random#20000", "an axis has at most 10,000"),
        ("seed=1,random", "write seed=random"),
        ("seed=random,each", "write seed=random"),
    ],
)
def test_invalid_seed_words_are_reported(workflow, typed, part):
    assert part in problems(line, workflow, typed)[0]


def test_count_generates_all_seeds(workflow):
    settings = [Setting("6::text", "a||b"), Setting("cfg", "4")]
    axes = count_axes(workflow, settings, 4)
    assert axes.fixed == {"6::text": "a||b", "3::cfg": 4.0}
    (axis,) = axes.axes
    assert (axis.kind, axis.fields, axes.shape) == ("seeds", ("3::seed", "12::noise_seed"), (4,))


def test_count_generates_the_seeds_that_are_set_to_random(workflow, undescribed):
    assert count_axes(workflow, [Setting("seed", "random")], 2).axes[0].fields == ("3::seed",)
    assert count_axes(undescribed, [Setting("3::seed", "random")], 2).axes[0].fields == ("3::seed",)
    axes = count_axes(workflow, [Setting("seed", "7")], 2)
    assert (axes.axes[0].fields, axes.fixed) == (("12::noise_seed",), {"3::seed": 7})
    assert "3::seed=random" in problems(count_axes, undescribed, [], 2)[0]
    assert "is set" in problems(count_axes, workflow, [Setting("seed", "7"), Setting("12::noise_seed", "7")], 2)[0]
    assert "sweep" in problems(count_axes, workflow, [Setting("cfg", "4,8")], 2)[0]
    assert "no seed" in problems(count_axes, workflow, [], 0)[0]


# -- images ------------------------------------------------------------------------------------------------------


def test_image_axes_are_read_from_files_urls_and_python_images(workflow, undescribed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a b.png", "c,d.png"):
        Image.new("RGB", (4, 4), "red" if name == "a b.png" else "blue").save(name)
    for workflow_ in (workflow, undescribed):
        axes = line(workflow_, '10::image="file:a b.png"||file:c,d.png||https://x.y/z.png')
        assert [isinstance(value, InputImage) for value in values(axes)] == [True, True, False]
        assert labels(axes) == ["a b.png", "c,d.png", "https://x.y/z.png"]
        names = {"pics": [Image.open("a b.png"), Image.open("c,d.png")], "one": Image.open("a b.png")}
        axes = line(workflow_, "10::image={pics}", namespace=names)
        assert all(isinstance(value, InputImage) for value in values(axes))
        assert line(workflow_, "10::image={one}", namespace=names).axes == ()
    assert "no file 'gone.png'" in problems(line, workflow, "image=file:gone.png||https://x.y")[0]
    Image.new("RGB", (4, 4), "red").save("e.png")
    assert "duplicate value" in problems(line, workflow, '10::image="file:a b.png"||file:e.png')[0]


def test_array_of_several_images_is_an_axis(workflow):
    import numpy as np

    pixels = np.zeros((3, 4, 4, 3), np.uint8)
    pixels[1], pixels[2] = 100, 200
    axes = line(workflow, "image={p}", namespace={"p": pixels})
    assert all(isinstance(value, InputImage) for value in values(axes))
    assert line(workflow, "image={p}", namespace={"p": pixels[0]}).axes == ()


def test_images_of_runs_are_read(workflow):
    def open_run(ref):
        if ref != "r41[0]":
            raise RefError(f"there is no run {ref}")
        return InputImage("r41_0.png", "0" * 64, lambda: b"")

    assert labels(line(workflow, "image=run:r41[0]||example.png", open_run=open_run)) == ["r41_0.png", "example.png"]
    assert "value 2 of 2: there is no run r7" in problems(line, workflow, "image=a||run:r7", open_run=open_run)[0]


# -- payloads ------------------------------------------------------------------------------------------------------


def test_lists_of_a_payload_are_axes(workflow, undescribed):
    axes = body(workflow, """{
      "3::cfg": [4, "6..8"], '6::text': ["a||b", "{x}"], seed: "random#2",
      "7::text": {"a": "x", "b": "y"}, look: {soft: {steps: 4}, crisp: {steps: 8}},
    }""", namespace={"x": "[1]"})  # fmt: skip
    assert axes.shape == (4, 2, 2, 2, 2)
    assert values(axes, "6::text") == ["a||b", "[1]"]
    assert values(axes, "3::cfg") == [4.0, 6.0, 7.0, 8.0]
    assert [axis.kind for axis in axes.axes] == ["values", "values", "seeds", "values", "preset"]
    assert values(body(undescribed, '"1::x": [[1, 2], {"a": 1}, "1..3", 4]')) == [[1, 2], {"a": 1}, "1..3", 4]
    assert body(workflow, '"6::text": "a || b", "3::cfg": 4').fixed == {"6::text": "a || b", "3::cfg": 4.0}


def test_payload_of_the_api_page_is_read_as_a_sweep(workflow):
    axes = body(
        workflow,
        'const run_payload = {workflow_id: "x", params: {"6::text": {in: "a cat", replace: {cat: ["cat", "dog"]}}}};',
    )
    assert values(axes) == ["a cat", "a dog"]


# -- lines ---------------------------------------------------------------------------------------------------------


def test_quotes_on_the_line_of_a_sweep_are_kept_in_lists(workflow):
    words = split_line(
        """prompt="a"||'b c'||d"e cfg=4,8 x="a b","c d" y=["a b",'c'] z="all of it" --as=n""", sweep=True
    )
    assert [(word.value, word.quoted) for word in words] == [
        ("""\"a"||'b c'||d"e""", False),
        ("4,8", False),
        ('"a b","c d"', False),
        ("""["a b",'c']""", False),
        ("all of it", True),
        ("n", False),
    ]


@pytest.mark.parametrize("text", ['text=a||"b', "text='a'||'b c", "text=a,'b", '6::text="a'])
def test_unclosed_quote_on_the_line_of_a_sweep_is_shown(text):
    with pytest.raises(LineError) as caught:
        split_line(f"default {text} and more", sweep=True)
    lines = str(caught.value).split("\n")
    assert lines[1][lines[2].index("^")] in "\"'"
    assert "%%comflowy" in str(caught.value)


def test_list_with_spaces_on_the_line_is_an_error():
    with pytest.raises(LineError, match="have spaces outside quotes"):
        split_line("default cfg=[4, 8]", sweep=True)
    assert [word.raw for word in split_line("default 6::text=[a thing", sweep=True)] == [
        "default",
        "6::text=[a",
        "thing",
    ]
