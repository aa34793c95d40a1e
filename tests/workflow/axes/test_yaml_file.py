from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from comflowy_nb.errors import FieldError, WorkflowError
from comflowy_nb.workflow.axes.read import read_axes
from comflowy_nb.workflow.axes.types import Axes, Axis, AxisValue
from comflowy_nb.workflow.axes.yaml_file import read_sweep_file, write_sweep_file
from comflowy_nb.workflow.images import InputImage, open_input
from comflowy_nb.workflow.syntax.body import read_body
from comflowy_nb.workflow.syntax.line import split_line
from comflowy_nb.workflow.syntax.lists import Setting
from comflowy_nb.workflow.values import settings_from_mapping

EXAMPLE = """\
# a night's work
workflow: default
name: bottles
x: cfg
y: sampler_name
fresh: true
retry: all
max_runs: 200
stop_after: 5
window: 4

fields:
  cfg: 2..8..2, 16
  sampler_name: [euler, heun]
  prompt: {day: "glass bottle, noon", night: 'glass bottle: stars'}
  7::text: |-
    ugly || {day}
    blurred
  look:
    soft: {steps: 4, 3::denoise: 0.5}
    crisp: {steps: 8}
  seed: random#3
"""


@pytest.fixture
def file(tmp_path):
    return tmp_path / "night.yaml"


def read(file, text):
    file.write_text(text, "utf-8")
    return read_sweep_file(file)


def error_for(file, text):
    with pytest.raises(WorkflowError) as caught:
        read(file, text)
    return str(caught.value)


def axes_in(workflow, file, fields):
    return read_axes(workflow, read(file, f"workflow: default\nfields:\n{fields}").settings)


def round_trip(workflow, file, axes):
    write_sweep_file(file, workflow="default", axes=axes, overwrite=True)
    return read_axes(workflow, read_sweep_file(file).settings)


def test_the_documented_example_is_read(workflow, file):
    sweep_file = read(file, EXAMPLE)
    assert sweep_file.workflow == "default"
    assert sweep_file.options == {
        "name": "bottles", "x": "cfg", "y": "sampler_name", "fresh": True, "retry": "all", "max_runs": 200,
        "stop_after": 5, "window": 4,
    }  # fmt: skip
    axes = read_axes(workflow, sweep_file.settings)
    assert axes.shape == (5, 2, 2, 2, 3)
    assert [axis.name for axis in axes.axes] == ["cfg", "sampler_name", "prompt", "look", "seed"]
    assert [value.label for value in axes.axes[2].values] == ["day", "night"]
    assert axes.fixed == {"7::text": "ugly || {day}\nblurred"}


def test_file_with_only_a_workflow_is_read(file):
    sweep_file = read(file, "workflow: default")
    assert (sweep_file.settings, sweep_file.options) == ([], {})
    assert read(file, "workflow: a b\nfields:\n").settings == []


def test_python_names_are_not_expanded_and_unquoted_texts_are_read_as_in_a_body(workflow, undescribed, file):
    axes = axes_in(workflow, file, "  prompt: a {day} || b\n  7::text: 007\n  sampler_name: euler, heun\n")
    assert [value.params["6::text"] for value in axes.axes[0].values] == ["a {day}", "b"]
    assert axes.fixed == {"7::text": "007"}
    sweep_file = read(
        file, "workflow: w\nfields:\n  1::a: 4\n  1::b: '4'\n  1::c: null\n  1::d: !json '[1, {}]'\n  1::e: yes\n"
    )
    assert read_axes(undescribed, sweep_file.settings).fixed == {
        "1::a": 4, "1::b": "4", "1::c": None, "1::d": [1, {}], "1::e": "yes",
    }  # fmt: skip


def test_text_in_quotes_is_one_value(workflow, file):
    assert axes_in(workflow, file, '  prompt: "a || b"\n').fixed == {"6::text": "a || b"}
    assert [value.label for value in axes_in(workflow, file, '  prompt: ["a || b", "c"]\n').axes[0].values] == [
        "a || b",
        "c",
    ]
    assert [value.label for value in axes_in(workflow, file, "  prompt:\n  - a, b\n  - c\n").axes[0].values] == [
        "a, b",
        "c",
    ]


def test_ambiguous_list_in_brackets_is_rejected(workflow, file):
    with pytest.raises(FieldError, match=r'night\.yaml, line 3: .*\["a:b:0\.5"\]'):
        axes_in(workflow, file, "  prompt: [a:b:0.5]\n")


def test_errors_name_the_file_and_the_line(workflow, file):
    with pytest.raises(FieldError) as caught:
        axes_in(workflow, file, "  cfg: 8..2\n  nope: 4\n  steps:\n    - few\n")
    assert [problem.partition(": ")[0] for problem in caught.value.problems] == [
        "night.yaml, line 3", "night.yaml, line 4", "night.yaml, line 6",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("lines", "number"),
    [
        ("  nope:\n    - 1\n    - 2\n", 3),
        ("  steps:\n    - 20\n    - few\n", 5),
        ("  steps: [20,\n    few]\n", 4),
        ("  cfg:\n    low: 3\n    high: x\n", 5),
        ("  look:\n    soft: {cfg: 3}\n    hard: {cfg: x}\n", 5),
        ("  look:\n    soft: {cfg: 3}\n    hard:\n      cfg: 4\n      nope: 3\n", 7),
        ("  prompt: {in: a cat, replace: {dog: [cow]}}\n  cfg: 3\n", 3),
        ("  steps: 3\n  cfg: |\n    x\n", 4),
    ],
)
def test_error_names_the_line_of_the_invalid_value(workflow, file, lines, number):
    """An unknown field had the line of its first value, and an invalid value the line of the first one in its list."""
    with pytest.raises(FieldError, match=rf"night\.yaml, line {number}: "):
        axes_in(workflow, file, lines)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", ("workflow: NAME",)),
        ("- a", ("line 1", "workflow: NAME")),
        ("fields: {}", ("workflow: NAME is missing",)),
        ("workflow: w\nfields: [a]", ("line 2", "mapping")),
        ("workflow: w\nfields:\n  a: [1, 2\n  b: 3\n", ("line",)),
        ("workflow: w\nfields:\n  a: 'x\n", ("line",)),
        ("workflow: w\nfields:\n\ta: 1\n", ("line 3",)),
        ("workflow: w\nfields:\n  prompt: a photo: of\n", ("line 3",)),
        ("workflow: w\nfields:\n  a: 1\n  a: 2\n", ("line 4", "duplicate key 'a'")),
        ("workflow: w\nfields:\n  a: {x: 1, x: 2}\n", ("line 3", "duplicate key 'x'")),
        ("workflow: w\nfield: {}\n", ("line 2", "'field'", "fields")),
        ("workflow: w\nmax_runs: many\n", ("line 2", "max_runs is a whole number", "'many'")),
        ("workflow: w\nmax_runs: 0\n", ("max_runs is a whole number, 1 or greater",)),
        ("workflow: w\nfresh: 1\n", ("fresh is true or false",)),
        ("workflow: w\nretry: never\n", ("retry is one of failed, unknown, all, none",)),
        ("workflow: w\nx: [a]\n", ("line 2", "x must be one value")),
        ("workflow:\n", ("workflow is empty",)),
        ("workflow: w\nfields:\n  a: !json '[1'\n", ("line 3", "is not JSON")),
        ("workflow: w\nfields:\n  a: !!python/object:os.system x\n", ()),
        ("workflow: w\nfields:\n  a: !other x\n", ("line 3", "!other")),
        ("workflow: w\nfields:\n  a: !image {file: x}\n", ("line 3", "invalid !image")),
        ("workflow: w\nfields: &a\n  b: *c\n", ("line 3",)),
        ("workflow: w\nfields:\n  a: &a [*a]\n", ("night.yaml",)),
        ("workflow: w\n---\nworkflow: v\n", ("line 2",)),
        ("workflow: w\nfields:\n  a: [1, 2\n  b: 3\n  c: 4\n", ("line 3", "bracket [ is not closed")),
        ("workflow: w\nfields:\n  a: {x: 1\n  b: 3\n", ("line 3", "bracket { is not closed")),
        ('workflow: w\nfields:\n  a: "a cat\n  b: 3\n  c: 4\n', ("line 3", "quote is not closed")),
        ("workflow: w\nfields:\n  a 3\n  b: 3\n", ("line 3", "colon is missing")),
        ("workflow: w\nfields:\n  a: 3\n  b 3\n  c: 3\n", ("line 4", "':'")),
        ("workflow: w\nfields:\n  a: 3\n   b: 3\n", ("line 4",)),
        ("workflow: w\nfields:\n  a: x\a\n", ("line 3", "not allowed")),
        ("workflow: w\n\nfieldz:\n\n  a: 1\n", ("line 3", "'fieldz'")),
        ("workflow: w\nmax_runs:\n  - 3\n", ("line 2", "max_runs must be one value")),
        ("a\x00b: 1", ("night.yaml",)),
    ],
)
def test_an_error_in_a_file_names_its_line(file, text, parts):
    if not parts:
        read(file, text)  # Python objects are never constructed
        return
    problem = error_for(file, text)
    for part in ("night.yaml", *parts):
        assert part in problem or (not text and part == "night.yaml")


def test_unreadable_file_is_an_error(file, tmp_path):
    with pytest.raises(WorkflowError, match="there is no file"):
        read_sweep_file(file)
    file.write_bytes(b"workflow: \xff\xfe")
    with pytest.raises(WorkflowError, match="UTF-8"):
        read_sweep_file(file)
    with pytest.raises(WorkflowError, match="is a folder, not a file"):
        read_sweep_file(tmp_path)


# -- export and import ----------------------------------------------------------------------------------------------

CELLS = [
    'cfg: 4..8\nsampler_name: [euler, heun]\nprompt: {day: "a, b", night: "c: d"}\nseed: random',
    "prompt: a cat #1 || {{x}} || \"q\" 'r' \\n\nseed: each\n12::noise_seed: random#3",
    "look: {soft: {cfg: 4, sampler_name: euler}, 'very crisp': {all::text: \"x, y\"}}\nsteps: 4",
    'all::text: {in: "a cat, a dog", replace: {cat: [cat, "a, b"], dog: {x: dog, "y: z": fox}}}\ntiled: true, false',
    "cfg: {names}\nprompt: {texts}\ndenoise: 0.1..0.3..0.1\n7::text: {one}\nsteps: [4]",
    "prompt: |\n  two\n   lines\nseed: 18446744073709551615\ncfg: 1e-7",
]
NAMES = {"names": [1, 2.5], "texts": {"a": "x||y", "null": "é🦊\u2028\x7f"}, "one": " {names} || "}


@pytest.mark.parametrize("cell", CELLS)
def test_an_exported_cell_is_read_back_as_the_same_axes(workflow, file, cell):
    axes = read_axes(workflow, read_body(cell, sweep=True).settings, namespace=NAMES)
    assert round_trip(workflow, file, axes) == axes


def test_an_exported_line_is_read_back_as_the_same_axes(workflow, file):
    words = split_line('cfg=2..8..2 prompt="a b"||"c,d" sampler_name=euler,heun seed=7', sweep=True)
    axes = read_axes(workflow, [Setting(word.key, word.value, word.quoted) for word in words])
    assert round_trip(workflow, file, axes) == axes


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(json_values, min_size=1, max_size=4), st.text(st.characters(exclude_categories=["Cs"])))
def test_any_value_is_read_back(undescribed, workflow, file, values, text):
    axes = Axes({"1::x": values[0]}, (), (), ("1::x",))
    assert round_trip(undescribed, file, axes) == axes
    assert round_trip(workflow, file, Axes({"6::text": text}, (), (), ("6::text",))).fixed == {"6::text": text}
    try:
        axes = read_axes(undescribed, settings_from_mapping({"1::x": values}))
    except FieldError:  # a repeated value
        return
    assert round_trip(undescribed, file, axes) == axes


@pytest.mark.parametrize("char", ["\x7f", "\x85", "\ufeff", "\u2028", "\ud800"])
def test_labels_of_rows_and_conditions_with_any_character_are_read_back(file, char):
    """The character U+007F made a file that could not be read; half a surrogate pair ended the export."""
    text = f"a{char}b"
    rows = (AxisValue({"6::text": "x"}, text, is_named=True, info={"mood": text}), AxisValue({"6::text": "y"}, "2 y"))
    lines = (AxisValue({"7::text": text}, "1"), AxisValue({"7::text": "c"}, "2"))
    axes = (Axis("row", "rows", ("6::text",), rows), Axis("7::text", "lines", ("7::text",), lines))
    write_sweep_file(file, workflow="w", axes=Axes({}, axes, where=f"row = '{text}'"), cells={"table": [{}]})
    cells = read_sweep_file(file).cells
    assert cells["table"] == [{"6::text": "x", "label": text, "mood": text}, {"6::text": "y"}]
    assert cells["lines"] == {"7::text": [text, "c"]}
    assert cells["where"] == f"row = '{text}'"


def test_images_are_saved_beside_the_file(workflow, file, tmp_path):
    Image.new("RGB", (4, 4), "red").save(tmp_path / "a.png")
    images = [tmp_path / "a.png", Image.new("RGB", (4, 4), "blue"), "https://example.com/x.png"]
    axes = read_axes(workflow, settings_from_mapping({"image": images}))
    loaded_axes = round_trip(workflow, file, axes)
    assert loaded_axes == axes
    loaded = [value.params["10::image"] for value in loaded_axes.axes[0].values]
    assert loaded[0].load() == (tmp_path / "a.png").read_bytes()
    assert isinstance(loaded[1], InputImage)
    assert str(tmp_path) not in file.read_text("utf-8")
    changed = file.with_name("night_images") / f"{loaded[0].content_sha256[:16]}.png"
    Image.new("RGB", (4, 4), "green").save(changed)
    assert open_input(changed).content_sha256 != loaded[0].content_sha256
    with pytest.raises(WorkflowError, match=r"line 4: .*has changed"):
        read_sweep_file(file)


def test_options_are_written_to_the_file(file):
    options = {"name": "n", "x": "cfg", "fresh": True, "max_runs": 7, "window": None}
    write_sweep_file(file, workflow="my flow.json", axes=Axes(), options=options)
    sweep_file = read_sweep_file(file)
    assert (sweep_file.workflow, sweep_file.settings) == ("my flow.json", [])
    assert sweep_file.options == {"name": "n", "x": "cfg", "fresh": True, "max_runs": 7}
    with pytest.raises(WorkflowError, match="dry_run"):
        write_sweep_file(file, workflow="w", axes=Axes(), options={"dry_run": True})


def test_unwritable_file_is_an_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WorkflowError, match="can't be written"):
        write_sweep_file(tmp_path / "file" / "x.yaml", workflow="w", axes=Axes())


def test_a_whole_float_is_accepted_for_an_int(file, workflow):
    """`steps: 2.0` was rejected as not a whole number, though 2.0 in JSON was accepted."""
    sweep_file = read(file, "workflow: w\nfields:\n  steps: 2.0\n  cfg: [4.0, 8]\n  7::text: 3.0\n  seed: [1.0, 2]\n")
    axes = read_axes(workflow, sweep_file.settings)
    assert axes.fixed == {"3::steps": 2, "7::text": "3.0"}
    assert [[value.params for value in axis.values] for axis in axes.axes] == [
        [{"3::cfg": 4.0}, {"3::cfg": 8.0}],
        [{"3::seed": 1}, {"3::seed": 2}],
    ]
    quoted = read(file, 'workflow: w\nfields:\n  steps: "2.0"\n')
    with pytest.raises(FieldError, match="not a whole number"):
        read_axes(workflow, quoted.settings)
