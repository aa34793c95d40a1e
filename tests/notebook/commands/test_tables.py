"""`sweep` over the rows of a table and the lines of a file, with zipped axes, and with a choice of combinations."""

from __future__ import annotations

import json

import pandas as pd
import pytest
from IPython.core.error import UsageError

from comflowy_nb.errors import FieldError, LineError, SettingsError, WorkflowError
from comflowy_nb.sweeps.headings import sheet_of_sweep

TINY = "width=64 height=64 steps=1 seed=3"


@pytest.fixture
def working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def rows_of(sweep, *names):
    return [tuple(cell.params.get(name) for name in names) for cell in sweep.cells]


def plan_of(result):
    return result.last[0]["text/plain"]


def test_each_row_of_a_csv_file_is_a_cell(sandbox, working_folder):
    """Users keep prompts in spreadsheets: quotes, commas, line breaks, `||` and braces are submitted unchanged."""
    (working_folder / "prompts.csv").write_bytes(
        '\ufefflabel,6::text,cfg\r\nday,"glass bottle, noon",4\r\n'
        'night,"stars || ""sky"" {x}\nsecond line",\r\n'.encode()
    )
    result = sandbox(f"%comflowy sweep default --table prompts.csv cfg=6 {TINY}")
    assert result.error is None, result.error
    sweep = result.value
    assert rows_of(sweep, "6::text", "3::cfg") == [
        ("glass bottle, noon", 4),
        ('stars || "sky" {x}\nsecond line', 6),
    ]
    assert [cell.labels["row"] for cell in sweep.cells] == ["day", "night"]
    assert [str(cell.status) for cell in sweep.cells] == ["success", "success"]
    assert "cfg: 1 of 2 rows have no value and use the value set for all" in plan_of(result)
    assert [image.pil().size for cell in sweep.cells for image in cell.images] == [(64, 64), (64, 64)]


def test_a_table_times_an_axis_with_columns_that_are_not_fields(sandbox, working_folder):
    (working_folder / "prompts.tsv").write_text("text_a\tcategory\nred\tx\n", encoding="utf-8")
    result = sandbox("%comflowy sweep default --table prompts.tsv --dry-run")
    assert isinstance(result.error, FieldError)
    assert "--info text_a keeps the column as information" in str(result.error)
    (working_folder / "prompts.tsv").write_text(
        "6::text\tcategory\nred boat\twarm\nblue boat\tcold\n", encoding="utf-8"
    )
    result = sandbox(f"%comflowy sweep default --table prompts.tsv --info category cfg=5,6 {TINY}")
    assert result.error is None, result.error
    assert rows_of(result.value, "6::text", "3::cfg") == [
        ("red boat", 5),
        ("red boat", 6),
        ("blue boat", 5),
        ("blue boat", 6),
    ]
    assert [cell.info["category"] for cell in result.value.cells] == ["warm", "warm", "cold", "cold"]
    frame = result.value.to_dataframe()
    assert list(frame["category"]) == ["warm", "warm", "cold", "cold"]
    assert [cell.number for cell in result.value.select(category="cold")] == [3, 4]


def test_a_frame_and_a_list_of_mappings(sandbox, shell):
    shell.user_ns["df"] = pd.DataFrame({"6::text": ["a boat", None], "steps": [1.0, 2.0], "n": [1, 2]})
    result = sandbox("%comflowy sweep default --table {df} --info n width=64 height=64 seed=3 --dry-run")
    assert result.error is None, result.error
    assert rows_of(result.value, "6::text", "3::steps") == [("a boat", 1), (None, 2)]
    assert all(isinstance(cell.params["3::steps"], int) for cell in result.value.cells)
    client = sandbox("import comflowy_nb; comflowy_nb.connect('sandbox')").value
    rows = [{"6::text": "", "cfg": 7, "width": 64, "height": 64, "steps": 1, "seed": 5}, {"width": 64, "seed": 6}]
    planned = client.plan_sweep("default", rows)
    assert rows_of(planned, "6::text", "3::cfg", "3::seed") == [("", 7, 5), (None, None, 6)]
    client.close()


def test_all_problems_of_a_table_are_reported_with_row_and_column(sandbox, working_folder):
    rows = [{"cfg": "warm", "steps": 2}, {"cfg": 7, "steps": 2.5}, {"seed": 2.0**60}]
    (working_folder / "bad.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    result = sandbox("%comflowy sweep default --table bad.jsonl")
    assert isinstance(result.error, FieldError)
    assert [line.split(": ", 1)[0] for line in str(result.error).split("\n")] == [
        "bad.jsonl, row 1 (line 1), column cfg",
        "bad.jsonl, row 2 (line 2), column steps",
        "bad.jsonl, row 3 (line 3), column seed",
    ]
    assert "stores whole numbers above 2**53 inexactly" in str(result.error)


def test_equal_rows_share_one_run(sandbox, working_folder):
    (working_folder / "same.csv").write_text("6::text,cfg\nfox,5\nowl,5\nfox,5.0\n", encoding="utf-8")
    result = sandbox(f"%comflowy sweep default --table same.csv --fresh {TINY}")
    assert result.error is None, result.error
    sweep = result.value
    assert plan_of(result).startswith("3 cells: 2 new, 1 equal to other cells (one run each)")
    assert sweep.cells[0].run is sweep.cells[2].run
    assert sweep.cells[0].run is not sweep.cells[1].run
    again = sandbox(f"%comflowy show {sweep.ref}").value
    assert [cell.run.ref for cell in again.cells] == [cell.run.ref for cell in sweep.cells]


def test_seeds_belong_to_the_rows(sandbox, working_folder):
    """A row that moves, and a row with a label that gets another column, keeps its generated seed."""
    (working_folder / "t.csv").write_text("label,6::text\na,one\nb,two\n,three\n", encoding="utf-8")
    line = "%comflowy sweep default --table t.csv width=64 height=64 steps=1 seed=each"
    first = sandbox(f"{line} --background")
    assert first.error is None, first.error
    first.value.wait()
    seeds = {cell.params["6::text"]: cell.params["3::seed"] for cell in first.value.cells}
    assert len(set(seeds.values())) == 3
    (working_folder / "t.csv").write_text("label,6::text,cfg\n,three,\nnew,zero,\nb,two,5\na,one,6\n", encoding="utf-8")
    grown = sandbox(f"{line} --dry-run").value
    now = {cell.params["6::text"]: cell.params["3::seed"] for cell in grown.cells}
    assert {text: now[text] for text in seeds} == seeds


def test_each_line_of_a_file_is_a_value(sandbox, working_folder):
    (working_folder / "prompts.txt").write_text("# animals\nred fox, snow\n\n#1 champion\n", encoding="utf-8")
    result = sandbox(f"%comflowy sweep default --lines 6::text=prompts.txt cfg=5,6 {TINY}")
    assert result.error is None, result.error
    assert rows_of(result.value, "6::text", "3::cfg") == [
        ("red fox, snow", 5),
        ("#1 champion", 5),
        ("red fox, snow", 6),
        ("#1 champion", 6),
    ]
    assert "prompts.txt: 2 empty or comment lines skipped" in plan_of(result)
    assert [axis.name for axis in result.value.axes.axes] == ["cfg", "6::text"]


def test_zipped_axes_vary_together(sandbox):
    result = sandbox(
        f"%comflowy sweep default cfg=4,6 sampler_name=euler,heun denoise=0.8,1 --zip cfg,sampler_name {TINY}"
    )
    assert result.error is None, result.error
    assert rows_of(result.value, "3::cfg", "3::sampler_name", "3::denoise") == [
        (4, "euler", 0.8),
        (4, "euler", 1),
        (6, "heun", 0.8),
        (6, "heun", 1),
    ]
    assert result.value.axes.axes[0].name == "cfg+sampler_name"
    assert [cell.number for cell in result.value.select(cfg=6)] == [3, 4]
    again = sandbox(f"%comflowy show {result.value.ref}").value
    assert [cell.labels for cell in again.cells] == [cell.labels for cell in result.value.cells]


def test_where_keeps_only_some_combinations(sandbox):
    result = sandbox(
        "%comflowy sweep default cfg=4,6,8 sampler_name=euler,heun "
        f"--where 'cfg > 5 and not (cfg = 8 and sampler_name = heun)' {TINY}"
    )
    assert result.error is None, result.error
    assert rows_of(result.value, "3::cfg", "3::sampler_name") == [(6, "euler"), (6, "heun"), (8, "euler")]
    assert plan_of(result).startswith("3 cells: 3 new")
    assert len([data for data in result.last if "image/jpeg" in data]) == 1


def test_where_uses_labels_and_the_values_of_the_workflow(sandbox):
    body = "\nlook:\n  soft: {cfg: 3}\n  hard: {sampler_name: heun}\ndenoise: 0.5,1.0\n"
    result = sandbox(f'%%comflowy sweep default --dry-run --where "look = hard or cfg < 5 and denoise = 1"{body}')
    assert result.error is None, result.error
    assert [cell.at for cell in result.value.cells] == [(0, 1), (1, 0), (1, 1)]
    result = sandbox("%comflowy sweep default denoise=0.5,1 --dry-run --where 'cfg = 8'")
    assert len(result.value.cells) == 2, "8 is the workflow's own cfg"


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ("--where 'cfg > 9'", FieldError, "--where 'cfg > 9' keeps none of 2 combinations; nothing submitted"),
        ("--where 'cfgg > 9'", FieldError, "Did you mean cfg"),
        ("--where 'cfg > euler'", FieldError, "is a number, 'euler' is a text"),
        ("--where 'cfg >'", LineError, "at the end: expected a number"),
        ("--where '__import__(1)'", LineError, "expected a comparison"),
        ("--zip cfg", FieldError, "needs two or more axes"),
        ("--zip cfg,steps", FieldError, "'steps' is not an axis"),
        ("--sample 0", UsageError, "use a whole number"),
        ("--table nothing.csv", WorkflowError, "there is no file 'nothing.csv'"),
        ("--table cfg.xlsx", WorkflowError, "is not a table: use a .csv, .tsv, .jsonl or .parquet file"),
        ("--info a", FieldError, "add --table FILE"),
        ("--lines prompts.txt", UsageError, "use FIELD=FILE, as in 6::text=prompts.txt"),
    ],
)
def test_invalid_option(sandbox, working_folder, options, error, text):
    result = sandbox(f"%comflowy sweep default cfg=4,6 {options}")
    assert isinstance(result.error, error)
    assert text in str(result.error)


def test_a_sample_only_grows(sandbox):
    line = "%comflowy sweep default cfg=1..6 steps=1..6 --dry-run"
    some = {cell.at for cell in sandbox(f"{line} --sample 8").value.cells}
    more = {cell.at for cell in sandbox(f"{line} --sample 12").value.cells}
    other = {cell.at for cell in sandbox(f"{line} --sample 12 --sample-seed 1").value.cells}
    assert len(some) == 8
    assert some < more
    assert more != other
    grown = sandbox("%comflowy sweep default cfg=1..7 steps=1..6 --dry-run --sample 12").value
    kept = {cell.at for cell in grown.cells} & more
    assert len(kept) >= 8, "a grown axis replaces few of the cells"


def test_a_killed_table_sweep_is_shown_again_with_its_labels(sandbox, working_folder):
    (working_folder / "p.csv").write_text("label,6::text,kind\nday,sun,a\nnight,moon,b\n", encoding="utf-8")
    result = sandbox(f"%comflowy sweep default --table p.csv --info kind cfg=5,6 --where 'cfg < 6 or kind = b' {TINY}")
    assert result.error is None, result.error
    again = sandbox(f"%comflowy show {result.value.ref}").value
    assert [(cell.at, dict(cell.labels), dict(cell.info)) for cell in again.cells] == [
        ((0, 0), {"row": "day", "cfg": "5"}, {"kind": "a"}),
        ((1, 0), {"row": "night", "cfg": "5"}, {"kind": "b"}),
        ((1, 1), {"row": "night", "cfg": "6"}, {"kind": "b"}),
    ]


def test_the_path_of_a_text_file_as_a_text_is_pointed_out(sandbox, working_folder):
    """`6::text=file:prompts.txt` rendered the words of the path, without a warning."""
    (working_folder / "prompts.txt").write_text("a boat\n", encoding="utf-8")
    result = sandbox(f"%comflowy sweep default 6::text=file:prompts.txt||prompts.txt||other.txt --dry-run {TINY}")
    assert result.error is None, result.error
    assert result.last[0]["text/plain"].split("\n") == [
        "6::text: the words 'file:prompts.txt' are submitted. --lines 6::text=prompts.txt takes the file's lines",
        "6::text: the words 'prompts.txt' are submitted. --lines 6::text=prompts.txt takes the file's lines",
    ]


def test_a_sparse_sample_is_listed_instead_of_drawn_in_an_empty_grid(sandbox):
    result = sandbox("%comflowy sweep default cfg=2..9 steps=2..9 sampler_name=euler,heun --dry-run --sample 5").value
    listed = sheet_of_sweep(result, result.layout)
    assert listed.y is None
    assert [panel.cells for panel in listed.panels] == [((1, 2, 3, 4, 5),)]
    assert [heading.text for heading in listed.x.values] == [  # noqa: PD011
        f"cfg {cell.labels['cfg']}, steps {cell.labels['steps']}, {cell.labels['sampler_name']}"
        for cell in result.cells
    ]
    chosen = sheet_of_sweep(result, {"x": "steps", "y": "cfg", "z": None})
    assert sum(number > 0 for panel in chosen.panels for row in panel.cells for number in row) == 5
    assert all(any(number for row in panel.cells for number in row) for panel in chosen.panels)


def test_a_sweep_of_a_table_is_exported_and_read_back(sandbox, working_folder):
    """`--export` wrote only the fields; the sweep of a file had other cells."""
    (working_folder / "p.csv").write_text(
        'label,6::text,kind\nday,"sun, sea",a\nnight,"moon \U0001f319",b\n', encoding="utf-8"
    )
    (working_folder / "l.txt").write_text("blurry\n# no\nugly || {x}\n", encoding="utf-8")
    (working_folder / "files").mkdir()
    line = (
        "--table p.csv --info kind --lines 7::text=l.txt cfg=5,6 sampler_name=euler,heun --zip cfg,sampler_name "
        "--where 'kind = a or cfg > 5' --sample 5 --sample-seed 2 width=64 height=64 steps=1 seed=each"
    )
    typed = sandbox(f"%comflowy sweep default {line} --dry-run").value
    assert len(typed.cells) == 5
    result = sandbox(f"%comflowy sweep default {line} --pin --export files/t.yaml")
    assert result.error is None, result.error
    read = sandbox("%comflowy sweep files/t.yaml --dry-run")
    assert read.error is None, read.error
    assert [(dict(one.labels), dict(one.info)) for one in read.value.cells] == [
        (dict(one.labels), dict(one.info)) for one in typed.cells
    ]
    unseeded = [{key: one for key, one in cell.params.items() if key != "3::seed"} for cell in typed.cells]
    assert [{key: one for key, one in cell.params.items() if key != "3::seed"} for cell in read.value.cells] == unseeded
    again = sandbox("%comflowy sweep files/t.yaml --dry-run").value
    assert [cell.params for cell in again.cells] == [cell.params for cell in read.value.cells], "pinned seeds"
    (working_folder / "p.csv").write_text("label,6::text,kind\nday,sun,a\nnight,moon,b\n", encoding="utf-8")
    changed = sandbox("%comflowy sweep files/t.yaml --dry-run")
    assert "../p.csv has changed since this sweep file was written" in plan_of(changed)


def test_the_rows_of_a_frame_are_written_into_the_file(sandbox, shell, working_folder):
    shell.user_ns["df"] = pd.DataFrame(
        {"6::text": ["7", "null", "a: b"], "steps": [1, 2, 3], "label": ["x", "y", None]}
    )
    line = "default --table {df} seed=random width=64 height=64"
    result = sandbox(f"%comflowy sweep {line} --export t.yaml")
    assert result.error is None, result.error
    read = sandbox("%comflowy sweep t.yaml cfg=3 --dry-run").value
    assert rows_of(read, "6::text", "3::steps", "3::cfg") == [("7", 1, 3), ("null", 2, 3), ("a: b", 3, 3)]
    assert [cell.labels["row"] for cell in read.cells] == ["x", "y", "3 a: b"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("table: [a]", "t.yaml, line 2: table must be one value"),
        ("table: a.csv\nrows: []", "t.yaml, line 3: a sweep file has table or rows, not both"),
        ("empty: no", "t.yaml, line 2: empty is missing or text"),
        ("sample: some", "t.yaml, line 2: sample is a whole number, 0 or greater"),
        ("zip: cfg", "t.yaml, line 2: zip must be a list"),
        ("wher: cfg < 6", "Did you mean where?"),
        ("lines: {6::text: {sha256: a}}", "lines is a file"),
        ("pinned: {3::seed: [1, 2]}", "pinned has 2 seeds for 3::seed, but the sweep has 1 cells"),
    ],
)
def test_invalid_key_of_a_sweep_file(sandbox, working_folder, text, problem):
    (working_folder / "t.yaml").write_text(f"workflow: default\n{text}\n", encoding="utf-8")
    result = sandbox("%comflowy sweep t.yaml --dry-run")
    assert isinstance(result.error, WorkflowError)
    assert problem in str(result.error)


def test_a_thousand_rows_are_planned_and_need_max_runs(sandbox, working_folder):
    rows = "\n".join(f'row {number},"bottle, {number}",{number % 20 + 1}' for number in range(1000))
    (working_folder / "many.csv").write_text(f"label,6::text,cfg\n{rows}\n", encoding="utf-8")
    planned = sandbox("%comflowy sweep default --table many.csv seed=each --dry-run")
    assert planned.error is None, planned.error
    assert plan_of(planned).startswith("1000 cells: 1000 new")
    assert planned.value.cells[999].params["6::text"] == "bottle, 999"
    assert len({cell.params["3::seed"] for cell in planned.value.cells}) == 1000
    refused = sandbox("%comflowy sweep default --table many.csv seed=each")
    assert isinstance(refused.error, SettingsError)
    assert "1000 runs to submit" in str(refused.error)
    assert "--max-runs 1000" in str(refused.error)


def test_nothing_in_a_sweep_file_is_expanded(sandbox, shell, working_folder):
    """`{x}` in the texts of a file was replaced by the value of a variable, and another prompt was submitted."""
    shell.user_ns["x"] = "SECRET"
    result = sandbox('%comflowy sweep default 6::text="q {{x}} q"||"r" --export rt.yaml')
    assert result.error is None, result.error
    read = sandbox("%comflowy sweep rt.yaml --dry-run")
    assert read.error is None, read.error
    assert rows_of(read.value, "6::text") == [("q {x} q",), ("r",)]


def test_from_beside_a_sweep_file_is_an_error(sandbox, working_folder):
    """`--from` was ignored without a message."""
    (working_folder / "t.yaml").write_text("workflow: default\nfields:\n  cfg: [4, 5]\n", encoding="utf-8")
    result = sandbox("%comflowy sweep t.yaml --from last --dry-run")
    assert isinstance(result.error, UsageError)
    assert "t.yaml has a workflow and values: leave out --from" in str(result.error)


@pytest.mark.parametrize(("option", "other"), [("--pin", "--export"), ("--sample-seed 3", "--sample")])
def test_an_option_that_needs_another_is_an_error_without_it(sandbox, option, other):
    result = sandbox(f"%comflowy sweep default cfg=4,5 {option} --dry-run")
    assert isinstance(result.error, UsageError)
    assert f"needs {other}" in str(result.error)


def test_whole_floats_of_a_spreadsheet_are_whole_numbers(sandbox, working_folder):
    """`2.0` in a CSV file was an error for `steps`, while a float column of a DataFrame gave 2."""
    (working_folder / "t.csv").write_text(
        "steps,seed,cfg\n2.0,7.00,5.0\n+3.0,9007199254740992.0,5.5\n", encoding="utf-8"
    )
    result = sandbox("%comflowy sweep default --table t.csv --dry-run")
    assert result.error is None, result.error
    assert rows_of(result.value, "3::steps", "3::seed", "3::cfg") == [(2, 7, 5), (3, 2**53, 5.5)]
    assert all(isinstance(cell.params["3::steps"], int) for cell in result.value.cells)
    (working_folder / "t.csv").write_text("steps,seed\n2.5,9007199254740994.0\n2.,9007199254740993\n", encoding="utf-8")
    result = sandbox("%comflowy sweep default --table t.csv --dry-run")
    assert isinstance(result.error, FieldError)
    assert result.error.problems == (
        "t.csv, row 1 (line 2), column steps: '2.5' is not a whole number",
        (
            "t.csv, row 1 (line 2), column seed: '9007199254740994.0' is a float, which stores whole numbers above "
            "2**53 inexactly; use integers"
        ),
        "t.csv, row 2 (line 3), column steps: '2.' is not a whole number",
    )


@pytest.mark.parametrize("word", ["random", "each", "random#3"])
def test_the_error_of_a_seed_word_in_a_table_shows_the_option(sandbox, working_folder, word):
    """`random` in a column `seed` said `invalid seed 'random': use random`."""
    (working_folder / "t.csv").write_text(f"6::text,seed\nfox,{word}\nowl,5\n", encoding="utf-8")
    result = sandbox("%comflowy sweep default --table t.csv --dry-run")
    assert isinstance(result.error, FieldError)
    assert str(result.error) == (
        f"t.csv, row 1 (line 2), column seed: '{word}' is not one value: leave it empty and type seed=each, which "
        "generates a seed for each row, or seed=random, one for all rows"
    )
    (working_folder / "t.csv").write_text("6::text,seed\nfox,\nowl,5\n", encoding="utf-8")
    result = sandbox("%comflowy sweep default --table t.csv seed=each --dry-run")
    assert [cell.params["3::seed"] == 5 for cell in result.value.cells] == [False, True]
