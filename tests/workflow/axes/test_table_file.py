"""Tables of cells in CSV, TSV and JSON Lines files: what is read, and what each error says."""

from __future__ import annotations

import pandas as pd
import pytest

from comflowy_nb.errors import FieldError, WorkflowError
from comflowy_nb.workflow.axes.table_file import read_rows, read_table_file


def written(folder, name, text):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def values_of(table):
    return [row.values for row in table.rows]  # noqa: PD011 - not a frame


def test_empty_lines_and_empty_values_of_csv_are_left_out(tmp_path):
    path = written(tmp_path, "a.csv", "\ncfg , steps\n\n4,\n  \n,8\n")
    table = read_table_file(path)
    assert table.columns == ("cfg", "steps")
    assert values_of(table) == [{"cfg": "4"}, {"steps": "8"}]
    assert [row.where for row in table.rows] == ["a.csv, row 1 (line 4)", "a.csv, row 2 (line 6)"]
    assert values_of(read_table_file(path, keep_empty=True)) == [{"cfg": "4", "steps": ""}, {"cfg": "", "steps": "8"}]


def test_json_lines_keep_types_and_leave_out_null(tmp_path):
    path = written(tmp_path, "a.jsonl", '{"cfg": 4.5, "text": "a\\nb"}\n\n{"cfg": null, "on": true}\n')
    table = read_table_file(path)
    assert table.columns == ("cfg", "text", "on")
    assert values_of(table) == [{"cfg": 4.5, "text": "a\nb"}, {"on": True}]
    assert [row.where for row in table.rows] == ["a.jsonl, row 1 (line 1)", "a.jsonl, row 2 (line 3)"]


def test_all_invalid_lines_of_a_file_are_reported_together(tmp_path):
    deep = '{"a": ' * 100_000
    text = f'{{"cfg": 4}}\n[1]\n{{"cfg": 5, "cfg": 6}}\n{{"cfg" 7}}\n{deep}\n'
    with pytest.raises(FieldError) as caught:
        read_table_file(written(tmp_path, "a.jsonl", text))
    for line, problem in (
        (2, "a JSON object such as"),
        (3, "'cfg' is set twice"),
        (4, "not valid JSON: Expecting ':' delimiter at column 8"),
        (5, "brackets are nested too deep"),
    ):
        assert f"a.jsonl, line {line}: {problem}" in str(caught.value)
    with pytest.raises(FieldError) as caught:
        read_table_file(written(tmp_path, "a.csv", 'cfg,steps\n4\n4,5,6\n4,"5"x\n'))
    for problem in (
        "a.csv, row 1 (line 2): 1 value, but the first row has 2 columns",
        "a.csv, row 2 (line 3): 3 values, but the first row has 2 columns",
        "a.csv, line 4: ",
    ):
        assert problem in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("a.csv", "", "a.csv has no rows"),
        ("a.csv", "cfg\n", "a.csv has no rows"),
        ("a.csv", "cfg,steps,cfg\n1,2,3\n", "a.csv: two columns are called 'cfg'"),
        ("a.csv", "cfg,,steps\n1,2,3\n", "a.csv: column 2 has no name in the first row"),
        ("a.csv", "cfg;steps\n1;2\n", "its columns are separated by semicolons; save it with commas$"),
        ("a.csv", "cfg\tsteps\n1\t2\n", "separated by tabs; save it with commas or call the file .tsv"),
        ("a.tsv", "cfg,steps\n1,2\n", "separated by commas; save it with tabs or call the file .csv"),
        ("a.csv", "cfg\n" + "1\n" * 10_001, "a.csv has 10,001 rows; a sweep takes at most 10,000"),
    ],
)
def test_a_file_that_is_not_a_table_is_an_error(tmp_path, name, text, problem):
    with pytest.raises(FieldError, match=problem):
        read_table_file(written(tmp_path, name, text))


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("absent.csv", "absent.csv"),
        ("absent.parquet", "absent.parquet"),
        ("a.xlsx", "'a.xlsx' is not a table: use a .csv, .tsv, .jsonl or .parquet file"),
        ("a.parquet", "a.parquet can't be read|a.parquet: Parquet files need"),
    ],
)
def test_a_file_that_can_not_be_read_is_an_error(tmp_path, name, problem):
    if not name.startswith("absent"):
        written(tmp_path, name, "no parquet")
    with pytest.raises(WorkflowError, match=problem):
        read_table_file(tmp_path / name)


def test_missing_values_of_a_frame_are_left_out():
    frame = pd.DataFrame({"cfg": [4.0, None], "when": [pd.NaT, pd.Timestamp(2024, 1, 1)], "n": pd.array([None, 2])})
    first, second = values_of(read_rows(frame, "df"))
    assert first == {"cfg": 4.0}
    assert set(second) == {"when", "n"}


def test_a_column_whose_name_is_not_text_is_an_error():
    with pytest.raises(FieldError, match="df: 7 is not the name of a column; use text"):
        read_rows(pd.DataFrame({7: [1]}), "df")
