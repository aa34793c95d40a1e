"""`%comflowy runs` and `%comflowy sweeps`: results, the format of the lists, and names of sweeps as references."""

from __future__ import annotations

import pytest
from IPython.core.error import UsageError

from comflowy_nb import history
from comflowy_nb.errors import LineError, SettingsError
from comflowy_nb.notebook.magics import current_session

TINY = "5::width=64 5::height=64 steps=2"


def text(cell):
    assert cell.error is None, cell.error
    return cell.last[0]["text/plain"]


def refs(cell):
    """Return the first column of the table that a cell shows."""
    table = text(cell).split("\n\n")[0].split("the newest")[0]  # without the line of a list that is cut
    return [line.split()[0] for line in table.splitlines()[1:] if line.strip()]


@pytest.fixture
def ck(sandbox):
    """Return a sweep named `ck` of the values 21, 22 and 23 of cfg and two samplers."""
    result = sandbox(f"%comflowy sweep default {TINY} cfg=21,22,23 sampler_name=euler,heun seed=7301 --as ck")
    assert result.error is None, result.error
    return result.value


def cfgs(cell):
    return sorted(run.params["3::cfg"] for run in cell.value)


def test_runs_are_found_by_comparisons_intervals_and_alternatives(sandbox, ck):
    """`runs cfg>3` and `runs cfg=2..5` found nothing."""
    assert cfgs(sandbox("%comflowy runs cfg>21 seed=7301")) == [22, 22, 23, 23]
    assert cfgs(sandbox("%comflowy runs cfg>=22 cfg<23 seed=7301")) == [22, 22]
    assert cfgs(sandbox("%comflowy runs cfg=21..22 seed=7301 sampler_name=euler,ddim")) == [21, 22]
    assert cfgs(sandbox("%comflowy runs cfg==22 seed=7301 sampler_name!=heun")) == [22]
    assert cfgs(sandbox('%comflowy runs seed=7301 --where "cfg < 22 or sampler_name = heun"')) == [21, 21, 22, 23]
    assert cfgs(sandbox("%comflowy runs 3::cfg>22 --where 'seed = 7301 and not sampler_name = euler'")) == [23]
    assert cfgs(sandbox("low = 22\n%comflowy runs cfg<{low} seed=7301")) == [21, 21]
    assert cfgs(sandbox("some = [21, 23]\n%comflowy runs cfg={some} seed=7301 sampler_name=euler")) == [21, 23]
    assert len(history.runs(where="cfg > 21 and seed = 7301")) == 4
    assert len(current_session().connected().runs(where="cfg > 21", seed=7301)) == 4


def test_a_value_of_another_type_does_not_match(sandbox, ck):
    assert len(sandbox("%comflowy runs sampler_name>3 seed=7301").value) == 0
    assert len(sandbox("%comflowy runs --where 'sampler_name > 3 or seed = 7301'").value) == 6


def test_an_empty_result_has_the_number_of_runs_and_the_nearest_field(sandbox, ck):
    count = len(history.runs(limit=None))
    nothing = text(sandbox("%comflowy runs cfg>9000"))
    assert nothing == f"No runs match. %comflowy runs shows the latest. The history has {count:,} runs."
    lines = text(sandbox("%comflowy runs cgf>3 smapler_name=euler")).splitlines()
    assert lines[1:] == [
        "No run has a field smapler_name. Did you mean sampler_name?",
        "No run has a field cgf. Did you mean cfg?",
    ]


@pytest.mark.parametrize(
    ("line", "error", "message"),
    [
        ("cfg > 3", UsageError, r'write a condition without spaces, as cfg>3, or --where "cfg > 3"'),
        ("cfg=2..8..2", SettingsError, r"a search takes a range without a step: use 2\.\.8 instead of 2\.\.8\.\.2"),
        ("cfg=7 cfg=8", UsageError, "cfg is set twice. For either value: cfg=A,B"),
        ("cfg>= ", UsageError, "write it as cfg>=3"),
        ("--where 'cfg >' seed>3", LineError, "invalid condition 'cfg >'"),
    ],
)
def test_an_invalid_condition_is_an_error(sandbox, line, error, message):
    with pytest.raises(error, match=message):
        raise sandbox(f"%comflowy runs {line}").error


@pytest.mark.parametrize("words", ["<lora:a:0.8>", "a->b", '"cfg>21"', "cfg>abc"])
def test_other_words_with_comparison_signs_are_searched_as_text(sandbox, ck, words):
    """A prompt may contain `<lora:name:0.8>`."""
    assert "No runs match" in text(sandbox(f"%comflowy runs {words}"))


def test_a_sweep_is_one_row_and_its_cells_are_found(sandbox, ck):
    listed = sandbox("%comflowy runs --limit 500")
    assert refs(listed).count(ck.ref) == 1
    assert not {cell.run.ref for cell in ck.cells} & set(refs(listed))
    row = next(line for line in text(listed).splitlines() if line.startswith(f"{ck.ref} "))
    assert "ck" in row
    assert "6 of 6 done" in row
    assert row.endswith("3 cfg x 2 sampler_name")
    cells = {cell.run.ref for cell in ck.cells}
    assert cells <= {run.ref for run in listed.value}
    assert cells <= set(refs(sandbox("%comflowy runs --cells --limit 500")))
    found = text(sandbox("%comflowy runs seed=7301"))
    assert {tuple(line.split()[:2]) for line in found.splitlines()[1:]} == {(c.run.ref, c.ref) for c in ck.cells}
    assert refs(sandbox("%comflowy runs --limit 1 --since 1d"))


def test_sweeps_are_listed_and_found(sandbox, ck):
    """Sweeps could not be listed."""
    assert ck.ref in refs(sandbox("%comflowy sweeps"))
    found = text(sandbox("%comflowy sweeps ck heun --since 1d --limit 1"))
    assert found.splitlines()[0].split() == ["sweep", "name", "workflow", "varied", "cells", "when", "took"]
    assert f"{ck.ref} " in found
    assert "3 cfg x 2 sampler_name  6 of 6 done" in found
    assert "No sweeps match. %comflowy sweeps shows the latest. The history has " in text(
        sandbox("%comflowy sweeps zebra")
    )


def test_the_name_of_a_sweep_is_a_reference_everywhere(sandbox, ck, tmp_path):
    """`compare ck.1 ck.2` said `there is no run ck.1`."""
    first, third = ck.cells[0].run, ck.cells[2].run
    assert sandbox("%comflowy show ck.1").value.ref == first.ref
    assert sandbox("%comflowy show ck.1[0]").value.ref == first.ref
    assert sandbox("%comflowy show ck.1:9[0]").value.ref == first.ref
    assert sandbox("%comflowy show ck").value.ref == ck.ref
    compared = sandbox("%comflowy compare ck.1 ck.2[0]")
    assert compared.error is None, compared.error
    again = sandbox("%comflowy run --from ck.3")
    assert again.value.ref == third.ref
    assert "nothing submitted" in text(again)
    assert [run.ref for run in sandbox("%comflowy runs ck.3").value] == [third.ref]
    assert len(sandbox("%comflowy runs ck").value) == 6
    saved = sandbox(f"%comflowy save ck.2 {tmp_path}/out")
    assert saved.error is None, saved.error
    assert len(list((tmp_path / "out").glob("*.png"))) == 1
    assert "is not running" in text(sandbox("%comflowy cancel ck.1"))
    assert sandbox("%comflowy resume ck.1").value.ref == first.ref
    assert history.find("ck.1[0]").image.ref == first.images[0].ref
    image = sandbox("%comflowy run img2img image=run:ck.1[0] steps=2 seed=7301")
    assert image.error is None, image.error


def test_a_list_that_is_cut_has_a_note(sandbox, ck):
    """`runs cfg>3` showed 20 of 40 runs as if they were all."""
    cut = sandbox("%comflowy runs seed=7301 cfg>20 --limit 4")
    assert len(cut.value) == 4
    assert text(cut).endswith("the newest 4; there are more: runs --limit 20 shows up to 20")
    whole = sandbox("%comflowy runs seed=7301 cfg>20 --limit 6")
    assert len(whole.value) == 6
    assert "there are more" not in text(whole)
    sandbox(f"%comflowy sweep default {TINY} cfg=21 seed=7302 sampler_name=euler,heun")
    assert "sweeps --limit 5 shows up to 5" in text(sandbox("%comflowy sweeps --limit 1"))


@pytest.mark.parametrize(
    ("line", "note"),
    [
        ("cfg=", "cfg is a number in all runs, such as {cfgs}, and can't be compared with ''"),
        ("cfg>abc", "cfg is a number in all runs, such as {cfgs}, and can't be compared with 'abc'"),
        ('steps="x"', "steps is a number in all runs, such as {steps}, and can't be compared with 'x'"),
        ("cfg=low,high", "cfg is a number in all runs, such as {cfgs}, and can't be compared with 'low,high'"),
        ("sampler_name>3", "sampler_name is a text in all runs, such as {samplers}, and can't be compared with 3"),
        (
            "sampler_name=2..5",
            "sampler_name is a text in all runs, such as {samplers}, and can't be compared with '2..5'",
        ),
        (
            "--where 'seed = 7301 and cfg > euler'",
            "cfg is a number in all runs, such as {cfgs}, and can't be compared with 'euler'",
        ),
    ],
)
def test_a_value_of_another_type_is_named_if_nothing_is_found(sandbox, ck, line, note):
    """`runs cfg=` and `runs cfg>abc` said only that no runs match."""
    lines = text(sandbox(f"%comflowy runs {line}")).splitlines()
    assert len(lines) == 2
    start, end = note.split("{")[0], note.split("}")[1]
    assert lines[1].startswith(start), lines
    assert lines[1].endswith(end), lines


def test_the_values_of_the_workflow_are_found(sandbox):
    """`runs cfg=8` did not find a run of `default` whose cfg is the workflow's own 8."""
    result = sandbox(f"%comflowy run default {TINY} seed=7401")
    assert result.error is None, result.error
    for line in ("cfg=8", "3::cfg=8", "cfg>7 cfg<9", "sampler_name=euler", "--where 'cfg = 8 and scheduler = normal'"):
        assert [run.ref for run in sandbox(f"%comflowy runs seed=7401 {line}").value] == [result.value.ref]
    assert len(sandbox("%comflowy runs seed=7401 cfg!=8").value) == 0
    assert "No run has a field" not in text(sandbox("%comflowy runs seed=7401 scheduler=nothing"))
    other = sandbox(f"%comflowy run default {TINY} seed=7401 cfg=9")
    assert [run.ref for run in sandbox("%comflowy runs seed=7401 cfg=9").value] == [other.value.ref]


def test_cells_are_found_by_the_columns_and_labels_of_their_table(sandbox, tmp_path, monkeypatch):
    """`runs weather=calm` found nothing, though `weather` was a column of `--info`."""
    monkeypatch.chdir(tmp_path)
    rows = "label,6::text,weather,score\nday,a boat at noon,calm,7\nnight,a boat at night,tense,12\n"
    (tmp_path / "t.csv").write_text(rows, encoding="utf-8")
    result = sandbox(f"%comflowy sweep default {TINY} --table t.csv --info weather,score seed=7501 cfg=4,5")
    assert result.error is None, result.error
    day, night = (
        {cell.run.ref for cell in result.value.cells if cell.labels["row"] == row} for row in ("day", "night")
    )
    for line, found in {
        "weather=calm": day,
        "weather=calm,tense": day | night,
        "weather!=calm": night,
        "score>8": night,
        "score=5..8": day,
        "score=12": night,
        "row=night": night,
        "label=day": day,
        "--where 'weather contains EN'": night,
    }.items():
        assert {run.ref for run in sandbox(f"%comflowy runs seed=7501 {line}").value} == found, line
    assert len(history.runs(weather="calm", seed=7501)) == 2
    assert "No run has a field weathr. Did you mean weather?" in text(sandbox("%comflowy runs weathr=calm"))
    assert not sandbox("%comflowy runs \udce9=calm").value, "half of a surrogate pair, which SQLite can't store"
