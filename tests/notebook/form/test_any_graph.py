"""Forms for graphs with any values, on servers with any descriptions of their nodes."""

from __future__ import annotations

import gc
import html
import json
import math
import sys

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from waiting import wait_until

import comflowy_nb
from comflowy_nb.errors import FieldError
from comflowy_nb.notebook.form.form import Form
from comflowy_nb.workflow.object_info import read_field
from comflowy_nb.workflow.syntax.body import read_body
from comflowy_nb.workflow.syntax.json_values import text_of

EMPTY = {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 255}}
INF, NAN = math.inf, math.nan


@pytest.fixture
def graph(comfy, tmp_path):
    """Return a function: `graph(spec, value)` writes a graph whose node 2 has an input `x`, and returns its path."""
    count = 0

    def make(spec, value):
        nonlocal count
        count += 1
        inputs = {"required": {"x": spec, "images": ["IMAGE"]}}
        comfy.nodes[f"N{count}"] = {"input": inputs, "output": [], "output_node": True}
        path = tmp_path / f"n{count}.json"
        node = {"class_type": f"N{count}", "inputs": {"x": value, "images": ["1", 0]}}
        path.write_text(json.dumps({"1": EMPTY, "2": node}))
        return str(path)

    return make


@pytest.fixture
def form(comfy_client, graph):
    opened_forms = []

    def make(spec, value):
        opened_forms.append(comflowy_nb.form(graph(spec, value), client=comfy_client))
        return opened_forms[-1]

    yield make
    for opened_form in opened_forms:
        opened_form.close()


def submitted(comfy):
    """Return the bodies of all submits."""
    return [body for path, body in comfy.bodies if path == "/prompt"]


def parts_of(widget):
    for part in widget.children:
        yield part
        if hasattr(part, "children"):
            yield from parts_of(part)


def inputs_of(form):
    """Return the inputs of field `x`."""
    return [part for part in parts_of(form) if getattr(part, "description", None) == "x"]


def texts_of(form):
    """Return the texts of the form, without the labels of its widgets."""
    html_widgets = [part for part in parts_of(form) if type(part).__name__ == "HTML" and part.layout.display != "none"]
    return html.unescape(" ".join(part.value for part in html_widgets))


OTHER_VALUES = [
    (["BOOLEAN", {"default": True}], "enable", "is not true or false"),
    (["BOOLEAN", {"default": True}], "", "is not true or false"),
    (["BOOLEAN", {"default": True, "label_on": "yes", "label_off": "no"}], "enable", "is not true or false"),
    (["INT", {"min": 0, "max": 1000}], "%width%", "is not a whole number"),
    (["INT", {"min": 0, "max": 10}], "%width%", "is not a whole number"),
    (["INT", {"min": 0, "max": 1000}], "1.5", "is not a whole number"),
    (["INT", {"min": 0, "max": 1000}], True, "is not a whole number"),
    (["INT", {"min": 0, "max": 1000}], 10**30, "is above 1000"),
    (["FLOAT", {"min": 0.0, "max": 2.0}], [1, 2, 3], "is not a number"),
    (["FLOAT", {"min": 0.0, "max": 2.0}], {"a": 1}, "is not a number"),
    (["FLOAT", {"min": 0.0, "max": 2.0, "step": 0.1}], 9.5, "is above 2"),
    (["STRING", {}], ["a", "b", "c"], "is not a text"),
    ([["a", "b"], {}], "gone.safetensors", "is not one of a, b"),
    ([["a", "b"], {}], 7, "is not one of a, b"),
    ([[f"option {number}" for number in range(40)], {}], {"a": 1}, "is not one of"),
    ([[], {}], "a", "the service offers no options here"),
]


@pytest.mark.parametrize(("spec", "value", "why"), OTHER_VALUES)
def test_a_value_of_another_type_is_reported_and_submitted_unchanged(form, comfy, spec, value, why):
    """`"enable"` for a BOOLEAN and `%width%` for an INT raised a TraitError instead of a form.

    The widgets were set to values of a type that they can't hold.
    """
    opened_form = form(spec, value)
    assert why in opened_form.problems["2::x"]
    assert why in texts_of(opened_form)
    assert opened_form.params == {}
    opened_form.run()
    wait_until(lambda: submitted(comfy))
    assert submitted(comfy)[0]["prompt"]["2"]["inputs"]["x"] == value


def test_a_value_of_another_type_can_be_changed(form):
    opened_form = form(["BOOLEAN", {"default": True}], "enable")
    (box,) = inputs_of(opened_form)
    box.value = "maybe"
    assert "'maybe' is not true or false" in opened_form.problems["2::x"]
    with pytest.raises(FieldError, match="maybe"):
        opened_form.cell()
    box.value = "false"
    assert (opened_form.problems, opened_form.params) == ({}, {"2::x": False})
    box.value = "enable"
    assert opened_form.params == {}


@pytest.mark.parametrize(("spec", "value", "why"), OTHER_VALUES)
def test_a_cell_with_the_values_of_a_graph_is_accepted(graph, comfy_client, spec, value, why):
    """The cell that `params_from` printed was an error: "'enable' is not true or false"."""
    workflow = comfy_client.workflow(graph(spec, value))
    typed = value if isinstance(value, str) and value else json.dumps(value)
    for body in (f"2::x: {typed}\n", json.dumps({"2::x": value})):
        params = comfy_client.connection.resolve(workflow, read_body(body).settings, namespace={}).params
        assert params == {"2::x": value}
    with pytest.raises(FieldError):  # another value that does not fit
        comfy_client.connection.resolve(workflow, read_body('{"2::x": {"another": "value"}}').settings)


ODD_SPECS = [
    ["FLOAT", {"min": 0.0, "max": INF}],
    ["FLOAT", {"min": -INF, "max": INF, "step": INF}],
    ["FLOAT", {"min": NAN, "max": NAN, "step": NAN, "round": NAN}],
    ["FLOAT", {"default": NAN, "min": 0, "max": 2, "step": 0.1}],
    ["FLOAT", {"min": "0", "max": "2"}],
    ["FLOAT", {"min": 5, "max": 2}],
    ["FLOAT", {"min": 0, "max": 2, "step": 0}],
    ["FLOAT", {"min": -(10**400), "max": 10**400}],
    ["FLOAT", [1, 2]],
    ["INT", {"min": -INF, "max": INF}],
    ["INT", {"min": 0, "max": 10, "step": -1}],
    ["INT", {"min": 0.5, "max": 2.5, "step": 0.5}],
    ["INT", {"min": 0, "max": 10, "step": 0.1}],
    ["COMBO", {"options": "1"}],
    ["COMBO", {"options": {"1": {}}}],
    [[1, None, True, 1.5, NAN, INF, ["x", {}], {"k": 1}, "1"], {}],
    [[1, True, "1", 1], {"default": "elsewhere"}],
    ["STRING", {"multiline": "yes", "tooltip": ["?"], "default": 5}],
    ["BOOLEAN", {"label_on": 1, "label_off": None, "default": "yes"}],
    ["INT"],
    [],
    None,
    5,
    {},
]


@pytest.mark.parametrize("spec", ODD_SPECS, ids=str)
def test_an_invalid_description_does_not_end_the_form(form, spec):
    """`"max": Infinity` for one input, which Python's JSON accepts, raised an OverflowError instead of a form."""
    opened_form = form(spec, 1)
    assert inputs_of(opened_form)
    assert opened_form.cell() == "%%comflowy run n1"
    assert "text/html" in opened_form.bundle()[0]


def test_note_lists_the_unused_parts_of_a_description(form):
    opened_form = form(["FLOAT", {"min": 5, "max": 2, "step": 0}], 1.0)
    assert "min 5 and max 2 and step 0, which is not used" in texts_of(opened_form)
    assert "not used" not in texts_of(form(["FLOAT", {"min": 0, "max": INF}], 1.0))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
ANY_END = st.none() | st.integers(-3, 30) | st.floats() | st.text(max_size=3) | st.just(10**400)
OPTIONS = st.fixed_dictionaries(
    {},
    optional={"default": JSON | st.floats(), "min": ANY_END, "max": ANY_END, "step": ANY_END, "options": JSON},
)
SPECS = st.tuples(
    st.sampled_from(["INT", "FLOAT", "BOOLEAN", "STRING", "COMBO", "IMAGEUPLOAD", "ELSE"]) | st.lists(JSON, max_size=4),
    OPTIONS,
)


@hypothesis_settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SPECS, JSON)
def test_a_form_opens_for_any_description_and_any_value(form, spec, value):
    opened_form = form(list(spec), value)
    assert opened_form.params == {}
    assert opened_form.cell().startswith("%%comflowy run n")
    opened_form.close()


def test_a_form_that_fails_to_open_raises_one_error(comfy_client, graph, monkeypatch):
    """A second error followed when the form was freed: "Form has no attribute _history"."""
    workflow = comfy_client.workflow(graph(["INT", {}], 1))
    unraisable = []
    monkeypatch.setattr(sys, "unraisablehook", lambda found: unraisable.append(repr(found.exc_value)))
    with pytest.raises(TypeError):
        Form(comfy_client, workflow, None, updater=None)
    gc.collect()
    assert [text for text in unraisable if "Form" in text] == []


@pytest.mark.parametrize(("typed", "value"), [("2", 2.0), ("2.0", 2.0), ("0.5", 0.5), (".5", 0.5), ("1", 1.0)])
def test_a_number_among_options_is_compared_as_a_number(graph, comfy_client, typed, value):
    """`%comflowy fields` listed 2, but `by=2` was an error: "'2' is not one of 0.5, 1.0, 2.0". Texts were compared."""
    workflow = comfy_client.workflow(graph([[0.5, 1.0, 2.0], {}], 2))
    for example in (typed, float(typed)):
        assert comfy_client.connection.resolve(workflow, {"x": example}).params == {"2::x": value}
    with pytest.raises(FieldError, match=r"'2.5' is not one of 0.5, 1.0, 2.0"):
        comfy_client.connection.resolve(workflow, {"x": "2.5"})


def test_a_form_selects_a_whole_number_among_options(form):
    opened_form = form([[0.5, 1.0, 2.0], {}], 2)
    assert opened_form.problems == {}
    assert inputs_of(opened_form)[0].label == "2.0"


@given(st.lists(st.integers(-5, 5) | st.floats(allow_nan=False) | st.text(max_size=4) | st.booleans(), min_size=1))
def test_the_displayed_text_of_an_option_is_accepted(options):
    field = read_field("1::x", [options, {}])
    for option in field.options:
        chosen = field.read(text_of(option))
        assert text_of(chosen) == text_of(option) or chosen == option


def test_the_choice_of_an_option_with_widgets_is_its_name(form, graph, comfy_client):
    """An option that has sub-fields could not be chosen by its name."""
    spec = [["image/gif", ["video/h264-mp4", {"crf": ["INT", {}]}], ["video/webm", [["crf", "INT"]]]], {}]
    workflow = comfy_client.workflow(graph(spec, "video/webm"))
    assert comfy_client.connection.resolve(workflow, {"x": "video/h264-mp4"}).params == {"2::x": "video/h264-mp4"}
    opened_form = form(spec, "video/h264-mp4")
    assert opened_form.problems == {}
    assert inputs_of(opened_form)[0].label == "video/h264-mp4"
