"""Floats that Python code computed are rounded; typed numbers are exact."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from comflowy_nb.workflow.axes.read import read_axes
from comflowy_nb.workflow.fields import Field, FieldType
from comflowy_nb.workflow.syntax.body import read_body
from comflowy_nb.workflow.syntax.line import split_line
from comflowy_nb.workflow.syntax.lists import Setting
from comflowy_nb.workflow.values import resolve, settings_from_mapping
from comflowy_nb.workflow.workflow import Workflow, request_key

pd = pytest.importorskip("pandas")

INEXACT = 0.1 + 0.2
FRAME = pd.DataFrame({"cfg": [0.1 * 3, 0.7 + 0.1]})


def line(workflow, text, **namespace):
    """Return the params that a run of a line submits."""
    settings = [Setting(word.key, word.value, word.quoted, "the line") for word in split_line(text)]
    return resolve(workflow, settings, namespace=namespace).params


def sweep_values(workflow, text, **namespace):
    """Return the values of the axis of a line, and their labels."""
    settings = [Setting(word.key, word.value, word.quoted, "the line") for word in split_line(text, sweep=True)]
    return column(read_axes(workflow, settings, namespace=namespace))


def column(axes):
    (axis,) = axes.axes
    return [next(iter(value.params.values())) for value in axis.values], [value.label for value in axis.values]


@pytest.mark.parametrize(
    "values",
    [
        [0.1 * 3, 0.7 + 0.1],
        np.array([0.1 * 3, 0.7 + 0.1]),
        np.array([0.3, 0.8], np.float32),
        np.array([0.3, 0.8], np.float16),
        FRAME["cfg"],
        FRAME["cfg"].to_numpy(),
    ],
    ids=["list", "array", "float32", "float16", "column", "array of a column"],
)
def test_floats_of_a_python_axis_are_rounded(workflow, values):
    """The label was 0.30000000000000004, and a sweep over the typed 0.3 submitted the run again."""
    typed = sweep_values(workflow, "cfg=0.3,0.8")
    assert sweep_values(workflow, "cfg={values}", values=values) == typed == ([0.3, 0.8], ["0.3", "0.8"])
    assert column(read_axes(workflow, settings_from_mapping({"cfg": values}))) == typed
    labelled = {"a": values[0], "b": values[1]}
    assert column(read_axes(workflow, settings_from_mapping({"cfg": labelled})))[0] == typed[0]


@pytest.mark.parametrize("value", [INEXACT, np.float64(0.1) + 0.2, np.float32(0.3), np.array(INEXACT)])
def test_python_float_is_rounded_in_a_run(workflow, undescribed, value):
    expected = {"3::cfg": 0.3}
    for workflow_ in (workflow, undescribed):
        assert line(workflow_, "3::cfg={value}", value=value) == expected
        assert resolve(workflow_, settings_from_mapping({"3::cfg": value})).params == expected
    assert line(workflow, "prompt={value}", value=value) == {"6::text": "0.3"}
    assert line(workflow, 'prompt="noon {value}"', value=value) == {"6::text": "noon 0.3"}
    assert sweep_values(workflow, "cfg={value},0.8", value=value)[0] == [0.3, 0.8]
    presets = {"soft": {"cfg": value}, "crisp": {"cfg": 4}}
    axes = read_axes(workflow, settings_from_mapping({"look": presets}))
    assert [workflow_.params["3::cfg"] for workflow_ in axes.axes[0].values] == [0.3, 4]


def test_typed_numbers_are_exact(workflow):
    for body in (f"3::cfg: {INEXACT!r}\n", f'{{"3::cfg": {INEXACT!r}}}'):
        assert resolve(workflow, read_body(body).settings, namespace={}).params == {"3::cfg": INEXACT}
    assert line(workflow, f"cfg={INEXACT!r}") == {"3::cfg": INEXACT}
    assert sweep_values(workflow, f"cfg={INEXACT!r},0.3")[0] == [INEXACT, 0.3]
    axes = read_axes(workflow, read_body(f'{{"3::cfg": [{INEXACT!r}, 0.3]}}', sweep=True).settings)
    assert column(axes)[0] == [INEXACT, 0.3]


@given(st.integers(0, 2**64 - 1))
def test_python_integers_are_exact(seed):
    fields = {"3::seed": Field("3::seed", FieldType.INT), "3::cfg": Field("3::cfg", FieldType.FLOAT)}
    workflow = Workflow("w", "w", fields=fields)
    for value in (seed, np.uint64(seed)):
        assert resolve(workflow, settings_from_mapping({"seed": value})).params == {"3::seed": seed}
        assert line(workflow, "seed={value}", value=value) == {"3::seed": seed}
    assert resolve(workflow, settings_from_mapping({"cfg": float(seed)})).params == {"3::cfg": float(seed)}


def test_value_from_a_workflow_is_not_rounded():
    """Values read from the graph of an image and submitted again are the same request."""
    fields = {"3::denoise": Field("3::denoise", FieldType.FLOAT, default=0.6000000238418579)}
    workflow = Workflow("w", "w", fields=fields)
    params = resolve(workflow, settings_from_mapping({"3::denoise": 0.6000000238418579})).params
    assert params == {"3::denoise": 0.6000000238418579}
    assert request_key("s", "w", params) == request_key("s", "w", {"3::denoise": 0.6000000238418579})
