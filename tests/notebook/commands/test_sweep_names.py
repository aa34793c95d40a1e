"""Names in `--where` and `--label` of sweeps: fields, axes, labels, and the columns of `--info`."""

from __future__ import annotations

import pytest

from comflowy_nb import grid
from comflowy_nb.errors import FieldError, RefError
from comflowy_nb.sweeps.headings import sheet_of_sweep

TINY = "width=64 height=64 steps=1 seed=3"
MOODS = """\
label,6::text,mood,score,cfg
day,a boat at noon on the sea,calm,7,4
night,a boat at night on the sea,tense,12,5
"""


@pytest.fixture
def working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "moods.csv").write_text(MOODS, encoding="utf-8")
    return tmp_path


@pytest.fixture
def moods(sandbox, working_folder):
    """Return a sweep named `moods` of a table with the labels `day` and `night`, and the column `mood` of `--info`."""
    result = sandbox(f"%comflowy sweep default --table moods.csv --info mood,score denoise=0.8,1 --as moods {TINY}")
    assert result.error is None, result.error
    return result.value


def rows(result):
    assert result.error is None, result.error
    return sorted({cell.labels["row"] for cell in result.value.cells})


@pytest.mark.parametrize("source", ["default --table moods.csv --info mood,score denoise=0.8,1", "--from moods"])
@pytest.mark.parametrize(
    ("where", "kept"),
    [
        ("mood = calm", ["day"]),
        ("mood != calm", ["night"]),
        ("mood contains 'ENS'", ["night"]),
        ("row = night", ["night"]),
        ("label in (day, x)", ["day"]),
        ("row = day and cfg < 5", ["day"]),
        ("score > 8", ["night"]),
    ],
)
def test_names_of_a_table_select_cells_also_of_an_earlier_sweep(sandbox, moods, source, where, kept):
    """`sweep --from S --where "mood = calm"` said that the workflow has no field `mood`.

    The cause: the names were looked up before the axes of the earlier sweep were added.
    """
    assert rows(sandbox(f'%comflowy sweep {source} --where "{where}" --dry-run {TINY}')) == kept


def test_rows_without_unique_labels_are_compared_by_label(sandbox, working_folder):
    """`--where` did not accept labels of rows if two rows had the same label: `there is no field row`."""
    (working_folder / "p.csv").write_text(
        "label,6::text\nsea,a boat\nsea,a fish\nsky,a star\nsky,a cloud\n", encoding="utf-8"
    )
    result = sandbox("%comflowy sweep default --table p.csv --where 'row = sea' --dry-run")
    assert rows(result) == ["sea"]
    assert len(result.value.cells) == 2


def test_a_labelled_axis_is_compared_by_label_however_it_is_named(sandbox):
    """`3::cfg: {low: 4, high: 8}` with `--where "cfg = low"` compared 4 with the text `low`."""
    body = "\n3::cfg: {low: 4, high: 8}\ndenoise: 0.5,1.0\n"
    for name in ("cfg", "3::cfg"):
        result = sandbox(f'%%comflowy sweep default --dry-run --where "{name} = low"{body}')
        assert result.error is None, result.error
        assert [cell.labels["3::cfg"] for cell in result.value.cells] == ["low", "low"]


@pytest.mark.parametrize(
    ("where", "tip"),
    [
        ("cfg < 6", "cfg is compared by its labels, which are texts: low, high. Write cfg = 'low'"),
        ("look = 1", "look is compared by its labels, which are texts: soft, 2. Write look = 'soft'"),
    ],
)
def test_a_label_compared_with_a_number_is_an_error_that_shows_the_labels(sandbox, where, tip):
    body = "\ncfg: {low: 4, high: 8}\nlook:\n  soft: {denoise: 0.5}\n  2: {denoise: 1}\n"
    result = sandbox(f'%%comflowy sweep default --dry-run --where "{where}"{body}')
    assert isinstance(result.error, FieldError)
    assert ": 'low' is a text" in str(result.error) or "'soft' is a text" in str(result.error)
    assert tip in str(result.error)


def test_an_unknown_name_in_a_condition_shows_the_nearest(sandbox, moods):
    result = sandbox("%comflowy sweep --from moods --where 'moood = calm' --dry-run")
    assert isinstance(result.error, FieldError)
    assert "--where 'moood = calm': default has no field 'moood'" in str(result.error)
    assert "Did you mean mood?" in str(result.error)


# -- --label -----------------------------------------------------------------------------------------------------------


def images(result):
    assert result.error is None, result.error
    return [data["image/jpeg"] for data in result.last if "image/jpeg" in data]


def words(sweep, **options):
    texts = " ".join(text.text for text in grid(sweep, **options).paint().page.texts)
    return " ".join(texts.split())


def test_the_legend_has_the_texts_and_the_info_of_labelled_rows(sandbox, moods):
    shown = words(moods)
    assert "mood calm" in shown
    assert "a boat at noon on the sea" in shown
    plain = sandbox("%comflowy show moods").last[-1]["text/plain"].splitlines()
    dot = " \N{MIDDLE DOT} "
    assert plain[-2] == dot.join(["day: text a boat at noon on the sea", "cfg 4", "mood calm", "score 7"])


def test_columns_and_fields_of_rows_are_written_below_the_headings(sandbox, moods):
    headings = sheet_of_sweep(moods, moods.layout, label=["mood", "3::cfg"]).x.values
    assert [(heading.text, heading.note) for heading in headings] == [("day", "calm, cfg 4"), ("night", "tense, cfg 5")]
    assert "calm, cfg 4" in words(moods, label=["mood", "cfg"])
    headings = sheet_of_sweep(moods, moods.layout, label=["6::text", "mood"]).x.values
    assert [heading.note for heading in headings] == ["calm", "tense"], "long texts are in the legend"


@pytest.mark.parametrize(
    "line",
    [
        "sweep default --table moods.csv --info mood,score denoise=0.8,1 {tiny}",
        "sweep --from moods",
        "show moods",
        "show moods.1",
        "show moods.1 moods.3",
    ],
)
def test_label_accepts_columns_in_each_command_that_shows_the_rows(sandbox, moods, line):
    """`--label mood` said that the workflow has no field `mood`, and `show` had no such option."""
    line = f"%comflowy {line.format(tiny=TINY)}"
    assert images(sandbox(f"{line} --label mood,row")) != images(sandbox(line))
    wrong = sandbox(f"{line} --label moood")
    assert isinstance(wrong.error, (FieldError, RefError))
    assert "Did you mean mood?" in str(wrong.error)
    assert not wrong.last, "nothing is shown before the error"


def test_generated_seeds_are_shown_in_texts(sandbox):
    """The texts of `seed=random#2` said `seed=1` and `seed=2`, which are the numbers of the seeds."""
    result = sandbox("%comflowy sweep default seed=random#2 cfg=4 width=64 height=64 steps=1")
    assert result.error is None, result.error
    seeds = [str(cell.params["3::seed"]) for cell in result.value.cells]
    assert [f"seed={seed}" in result.last[-1]["text/plain"] for seed in seeds] == [True, True]
    assert [seed in repr(cell) for seed, cell in zip(seeds, result.value.cells, strict=True)] == [True, True]
    table = sandbox(f"%comflowy runs {result.value.ref}").last[0]["text/plain"]
    assert [line.split()[-1] for line in table.splitlines() if line.startswith(f"{result.value.ref}.")] == seeds
    zipped = sandbox("%comflowy sweep default seed=random#2 cfg=4,5 --zip seed,cfg width=64 height=64 --dry-run")
    first = zipped.value.cells[0]
    assert f"seed+cfg={first.params['3::seed']} + 4" in repr(first)


def test_a_terminal_shows_named_columns_and_the_texts_of_labels(sandbox, moods, shell, monkeypatch):
    monkeypatch.delattr(shell, "kernel")
    shown = sandbox("%comflowy show moods.1 moods.3 --label mood,cfg").stdout.splitlines()
    assert [line.strip() for line in shown if "mood=" in line] == ["mood=calm cfg=4", "mood=tense cfg=5"]
    assert "\nday: text a boat at noon on the sea" in sandbox("%comflowy show moods").stdout


def test_a_cell_without_images_of_the_chosen_node_says_so(sandbox):
    """The text of the grid said only `success`, beside no image."""
    shown = sandbox("%comflowy sweep default 5::width=64 5::height=64 steps=1 cfg=2,3 --node 77")
    assert shown.error is None
    assert "cfg=2: success, no such image" in shown.last[2]["text/plain"]
