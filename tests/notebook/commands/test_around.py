"""`%comflowy sweep --around`: the numbers of a cell again, nearer to it; its image is reused."""

from __future__ import annotations

import pytest
from completing import completions_at
from IPython.core.error import UsageError

from comflowy_nb import history
from comflowy_nb.errors import FieldError, RefError

SMALL = "width=64 height=64"


def texts(found):
    """Return the texts that a cell displayed, one below the other."""
    return "\n".join(bundle.get("text/plain", "") for bundle in found.last)


def values(sweep):
    """Return the values of each axis by the id of its field."""
    return {
        axis.fields[0]: [value.params[axis.fields[0]] for value in axis.values]
        for axis in sweep.axes.axes
        if axis.kind != "seeds"
    }


@pytest.fixture
def swept(connected):
    """Run s1: cfg 4, 6, 8 by steps 2, 4 by two samplers, in an empty history."""
    axes = "cfg=4..8..2 steps=2,4 sampler_name=euler,heun seed=5"
    assert connected(f"s = %comflowy sweep default {axes} {SMALL} --y steps").error is None
    return connected


def test_the_numbers_of_a_cell_narrow_and_its_image_is_reused(swept, shell):
    found = swept("a = %comflowy sweep --around s1.7")
    a, s = shell.user_ns["a"], shell.user_ns["s"]
    assert values(a) == {"3::cfg": [5.0, 6.0, 7.0], "3::steps": [3, 4, 5]}
    assert a.plan.to_submit == 8
    assert a.cell(5).run.token == s.cell(7).run.token
    assert {cell.params["3::sampler_name"] for cell in a} == {s.cell(7).params["3::sampler_name"]}
    assert a.layout["y"] == "steps"
    line, fixed = texts(found).splitlines()[1:3]
    assert line == "%comflowy sweep default cfg=5,6,7 steps=3,4,5 sampler_name=euler seed=5 width=64 height=64"
    assert fixed == "stays as in s1.7: sampler_name euler (not a number)"


def test_the_printed_line_is_the_same_sweep(swept, shell):
    shown = texts(swept("a = %comflowy sweep --around s1.7"))
    line = next(line for line in shown.splitlines() if line.startswith("%comflowy"))
    swept(f"b = {line}")
    a, b = shell.user_ns["a"], shell.user_ns["b"]
    assert b.plan.to_submit == 0
    assert [cell.run.token for cell in b] == [cell.run.token for cell in a]


def test_the_printed_line_is_the_same_sweep_for_any_prompt(swept, shell):
    """If a prompt can't be typed on a line, the printed line starts from the run."""
    for prompt in ('it\'s a sky, or "two" {{x}}', "a || b, c", "#1 bottle", "who is there?", " a ", "7", "", "random"):
        shell.user_ns["prompt"] = prompt
        swept(f"p = %comflowy sweep default 6::text={{prompt}} cfg=4,6 steps=1 {SMALL}")
        ref = shell.user_ns["p"].ref
        shown = texts(swept(f"a = %comflowy sweep --around {ref}.1 --dry-run"))
        line = next(line for line in shown.splitlines() if line.startswith("%comflowy"))
        assert swept(f"b = {line} --dry-run").error is None
        a, b = shell.user_ns["a"], shell.user_ns["b"]
        assert [cell.key for cell in b] == [cell.key for cell in a]
        assert a.plan.to_submit == b.plan.to_submit == 2
        assert a.cell(2).params["6::text"] == prompt


def test_only_named_fields_vary(swept, shell):
    swept("a = %comflowy sweep --around s1.7 cfg --dry-run")
    assert values(shell.user_ns["a"]) == {"3::cfg": [5.0, 6.0, 7.0]}
    swept("c = s[6]\na = %comflowy sweep --around {c} cfg,steps --dry-run")
    assert list(values(shell.user_ns["a"])) == ["3::cfg", "3::steps"]


def test_a_run_needs_the_names_of_fields(swept, shell):
    ref = history.find("s1.7").run.ref
    found = swept(f"%comflowy sweep --around {ref}")
    assert isinstance(found.error, RefError)
    assert f"name the fields to vary, as in %comflowy sweep --around {ref} cfg steps" in str(found.error)
    swept(f"a = %comflowy sweep --around {ref} cfg denoise --dry-run")
    assert values(shell.user_ns["a"]) == {"3::cfg": [5.5, 6.0, 6.5]}


def test_a_field_at_its_limit_is_fixed_with_a_note(swept):
    shown = texts(swept("%comflowy sweep --around s1.7 cfg denoise --dry-run"))
    assert "stays as in s1.7: denoise 1 (it is the maximum)" in shown


def test_more_values_can_be_set(swept, shell):
    found = swept("a = %comflowy sweep --around s1.7 cfg=3,9 steps seed=random#2 --dry-run")
    assert found.error is None
    a = shell.user_ns["a"]
    assert values(a)["3::steps"] == [3, 4, 5]
    assert values(a)["3::cfg"] == [3.0, 9.0]
    assert len(a) == 12
    assert "%comflowy sweep --from" in texts(found)


def test_a_range_that_was_narrowed_narrows_again(swept, shell):
    swept("a = %comflowy sweep --around s1.7 cfg")
    swept("b = %comflowy sweep --around s2.2 --dry-run")
    assert values(shell.user_ns["b"]) == {"3::cfg": [5.5, 6.0, 6.5]}


@pytest.mark.parametrize(
    ("line", "error", "problem"),
    [
        ("s1", RefError, "s1 is a sweep of 12 cells"),
        ("s1.99", RefError, "there is no s1.99"),
        ("r999 cfg", RefError, "there is no run r999"),
        ("s1.7 cgf", FieldError, "default has no field 'cgf'. Did you mean cfg"),
        ("s1.7 seed", FieldError, "no field of s1.7 can vary: seed 5 (a seed"),
        ("s1.7 sampler_name", FieldError, "sampler_name euler (not a number)"),
        ("s1.7 denoise", FieldError, "denoise 1 (it is the maximum)"),
        ("s1.7 --from r1", UsageError, "--around can't be used with --from"),
    ],
)
def test_invalid_lines_submit_nothing(swept, line, error, problem):
    found = swept(f"%comflowy sweep --around {line}")
    assert isinstance(found.error, error)
    assert problem in str(found.error)
    assert history.open_library().history.sweeps.count() == 1


def test_presets_tables_and_texts_are_fixed(swept, shell, tmp_path):
    table = tmp_path / "looks.csv"
    table.write_text("label,steps\nfast,1\nslow,3\n")
    swept(f"t = %comflowy sweep default --table {table} cfg=4,6 6::text=a||b {SMALL} seed=random")
    shown = texts(swept("a = %comflowy sweep --around s2.1 --dry-run"))
    assert values(shell.user_ns["a"]) == {"3::cfg": [3.0, 4.0, 5.0]}
    assert "row fast (a row of a table)" in shown
    assert "text a (not a number)" in shown
    assert shell.user_ns["a"].cell(2).params["3::seed"] == shell.user_ns["t"].cell(1).params["3::seed"]


def test_plan_sweep_accepts_the_same_in_python(swept, shell):
    swept("import comflowy_nb\nclient = comflowy_nb.connect('sandbox')")
    client = shell.user_ns["client"]
    s = shell.user_ns["s"]
    for around in ("s1.7", s[6], s[6].images[0]):
        plan = client.plan_sweep(around=around, fields=["cfg"])
        assert values(plan)["3::cfg"][1] == 6.0
        assert plan.axes.notes[0].startswith("%comflowy sweep default cfg=")
    a = client.sweep(around="s1.7", axes={"seed": 9})
    assert (len(a), {cell.params["3::seed"] for cell in a}) == (9, {9})
    kept = client.plan_sweep(around="s1.7", where="cfg <= 6")
    assert len(kept) == 6
    with pytest.raises(FieldError, match="fields needs around"):
        client.plan_sweep("default", {"cfg": [4, 6]}, fields=["cfg"])
    client.close()


def test_names_are_completed(swept, shell):
    found = completions_at(shell, "%comflowy sweep --around s1.7 ", "cf")
    assert {"cfg", "cfg="} <= set(found)
    assert "s1.7" in completions_at(shell, "%comflowy sweep --around ", "s1.7")
    assert "--around" in completions_at(shell, "%comflowy sweep ", "--ar")
