"""`sweep`, `run` and `form` with `--from`: other values are kept, and the output names the omitted ones."""

from __future__ import annotations

import json

import pytest
from bare_client import empty_image
from IPython.core.error import UsageError

from comflowy_nb.errors import FieldError, RefError, SettingsError, WorkflowError

TINY = "5::width: 64\n5::height: 64\nsteps: 1\n"
LOOKS = TINY + (
    "seed: 7\nlook:\n  soft: {cfg: 3, sampler_name: euler}\n  hard: {cfg: 9, sampler_name: heun}\ndenoise: 0.9,1.0\n"
)


def texts(cell):
    return [data["text/plain"] for data in cell.last]


def params_of(sweep):
    return [cell.params for cell in sweep.cells]


@pytest.mark.parametrize("name", ["no.png", "no.JPG", "no.json", "no.yaml", "pics/no.webp", "'my photo.png'"])
def test_from_a_file_that_does_not_exist(sandbox, tmp_path, monkeypatch, name):
    """The error said that there is no run of this name, or to leave the workflow out."""
    monkeypatch.chdir(tmp_path)
    file = name.strip("'")
    for command in ("run", "run default", "sweep", "form"):
        error = sandbox(f"%comflowy {command} --from {name}").error
        assert isinstance(error, WorkflowError)
        assert str(error) == f"there is no file {file!r}"
    for command in ("show {}", "save {} out", "delete {}", "resume {}"):
        error = sandbox(f"%comflowy {command.format(name)}").error
        assert isinstance(error, RefError)
        assert str(error) == f"there is no file or run {file!r}"


def test_a_file_in_place_of_a_run(sandbox, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cat.png").write_bytes(b"")
    assert "there is no file 'cta.png'. Did you mean cat.png?" in str(sandbox("%comflowy run --from cta.png").error)
    assert "'cat.png' is a file; use a run or a sweep" in str(sandbox("%comflowy show cat.png").error)


@pytest.fixture
def looks(sandbox):
    cell = sandbox(f"%%comflowy sweep default --as looks --x denoise --y look\n{LOOKS}")
    assert cell.error is None, cell.error
    return sandbox("looks").value


def test_a_preset_that_is_partly_overridden_keeps_its_other_fields(sandbox, looks):
    """`sweep --from looks cfg=5` ran with the default sampler: the complete preset axis `look` was dropped silently.

    The cause: an axis was left out if any of its fields was set again.
    """
    result = sandbox("%comflowy sweep --from looks cfg=5 --dry-run")
    assert result.error is None
    plan = texts(result)[0]
    assert plan.startswith("4 cells")
    assert f"from {looks.ref}: axis look no longer sets 3::cfg, only 3::sampler_name" in plan
    assert {(params["3::cfg"], params["3::sampler_name"]) for params in params_of(result.value)} == {
        (5, "euler"),
        (5, "heun"),
    }
    assert {cell.labels["look"] for cell in result.value.cells} == {"soft", "hard"}


def test_new_axis_is_combined_with_a_partly_overridden_preset(sandbox, looks):
    result = sandbox("%comflowy sweep --from looks cfg=5,6 --dry-run")
    assert "axis look no longer sets 3::cfg" in texts(result)[0]
    assert len(result.value.cells) == 8
    assert [axis.name for axis in result.value.axes.axes] == ["look", "denoise", "cfg"]


def test_an_overridden_axis_is_named_in_the_plan(sandbox, looks):
    result = sandbox("%comflowy sweep --from looks denoise=1 --dry-run")
    assert f"from {looks.ref}: axis denoise (0.9, 1) is replaced" in texts(result)[0]
    assert len(result.value.cells) == 2


def test_new_values_of_an_axis_are_not_reported_in_the_plan(sandbox, looks):
    result = sandbox("%comflowy sweep --from looks denoise=0.8,0.9,1 --dry-run")
    assert "from s" not in texts(result)[0]
    assert len(result.value.cells) == 6


def test_a_preset_that_sets_fewer_fields_is_named(sandbox, looks):
    result = sandbox("%%comflowy sweep --from looks --dry-run\nlook:\n  low: {cfg: 2}\n  high: {cfg: 8}\n")
    assert "axis look is replaced; the new one does not set 3::sampler_name" in texts(result)[0]


def test_presets_that_no_longer_differ_are_an_error(sandbox, looks):
    result = sandbox("%%comflowy sweep default --as same --dry-run\n" + LOOKS.replace("heun", "euler"))
    assert result.error is None
    sandbox("%%comflowy sweep default --as same\n" + LOOKS.replace("heun", "euler"))
    result = sandbox("%comflowy sweep --from same cfg=5 --dry-run")
    assert isinstance(result.error, FieldError)
    assert "'soft' and 'hard' of axis look are equal" in str(result.error)


def test_columns_and_rows_are_kept(sandbox, looks):
    """The grid of `sweep --from looks` had the axes the other way round: --x and --y of the earlier sweep were lost."""
    assert sandbox("%comflowy sweep --from looks cfg=5 --dry-run").value.layout == {
        "x": "denoise",
        "y": "look",
        "z": None,
    }
    reordered = sandbox("%comflowy sweep --from looks --x look --dry-run")
    assert reordered.error is None
    assert reordered.value.layout["x"] == "look"
    assert sandbox("%comflowy sweep --from looks denoise=1 --dry-run").value.layout["x"] is None


def test_search_and_replace_uses_the_prompt_of_the_run(sandbox):
    """`sweep --from r1` with `{replace: ...}` searched the prompt of the workflow instead of that of r1."""
    sandbox(f"%%comflowy run default --as harbour\n{TINY}6::text: a harbour by day\n")
    result = sandbox("%%comflowy sweep --from harbour --as days\n6::text: {replace: {day: [noon, night]}}\n")
    assert result.error is None, result.error
    assert [params["6::text"] for params in params_of(sandbox("days").value)] == [
        "a harbour by noon",
        "a harbour by night",
    ]


def test_one_of_several_fields_of_an_axis_can_be_overridden(sandbox):
    """Setting one field removed the complete axis: the other prompt was that of the workflow again."""
    first = sandbox(f'%%comflowy sweep default --as both\n{TINY}seed: 7\nall::text: ["a boat", "a star"]\n')
    assert first.error is None, first.error
    result = sandbox("%comflowy sweep --from both 7::text=blurred --dry-run")
    assert [params["6::text"] for params in params_of(result.value)] == ["a boat", "a star"]
    assert {params["7::text"] for params in params_of(result.value)} == {"blurred"}
    assert "axis all::text no longer sets 7::text, only 6::text" in texts(result)[0]


def test_replaced_words_that_are_overridden_are_named(sandbox):
    words = '6::text: {in: "a boat at noon", replace: {boat: [boat, ship]}}'
    sandbox(f"%%comflowy sweep default --as words\n{TINY}seed: 7\n{words}\n")
    result = sandbox("%%comflowy sweep --from words --as times\n6::text: {replace: {noon: [noon, night]}}\n")
    assert result.error is None, result.error
    assert "axis boat (boat, ship) is replaced" in texts(result)[0]
    assert [params["6::text"] for params in params_of(sandbox("times").value)] == ["a boat at noon", "a boat at night"]


def test_run_names_the_axes_it_omits(sandbox, looks):
    """`run --from looks` ran with the workflow's own cfg and sampler, and did not mention the axes of the sweep."""
    result = sandbox("%comflowy run --from looks denoise=1")
    assert result.error is None
    assert f"from {looks.ref}, without its axes and seeds: look. " in texts(result)[0]
    assert result.value.params["5::width"] == 64
    complete = sandbox("%comflowy run --from looks denoise=1 cfg=4 sampler_name=heun")
    assert not any("without its axes" in text for text in texts(complete))


def test_form_names_the_axes_it_omits(sandbox, looks):
    """`form --from looks` showed the workflow's own values in the fields of the axes, without a message."""
    result = sandbox("%comflowy form --from looks cfg=4")
    assert result.error is None
    (notice,) = [text for text in texts(result) if "without its axes" in text]
    assert f"from {looks.ref}, without its axes and seeds: look, denoise" in notice
    assert f"--from {looks.ref}.1" in notice


def test_more_than_500_runs_need_max_runs_on_any_service(sandbox):
    """`seed=1..500 cfg=1..30` on the sandbox started 15,000 runs: only services that cost money had a limit."""
    many = "seed=1..251 cfg=1,2"
    dry = sandbox(f"%comflowy sweep default {many} --dry-run")
    assert "the sweep needs --max-runs 502" in texts(dry)[0]
    refused = sandbox(f"%comflowy sweep default {many}")
    assert isinstance(refused.error, SettingsError)
    assert "--max-runs 502 permits them" in str(refused.error)
    counted = sandbox("%comflowy run default --count 501")
    assert isinstance(counted.error, SettingsError)
    assert "--max-runs 501 permits them" in str(counted.error)
    assert isinstance(sandbox("%comflowy run default --count 501 --max-runs 500").error, SettingsError)
    assert isinstance(sandbox("%comflowy run default --max-runs x").error, UsageError)
    assert str(sandbox("%comflowy run default --max-runs 0").error) == "--max-runs needs --count", "it was ignored"


def test_the_name_of_a_sweep_is_a_reference(sandbox, looks, tmp_path):
    """`compare ck.1 ck.2` of a sweep with the name `ck` raised `there is no run ck.1`."""
    compared = sandbox("%comflowy compare looks.1 looks.2")
    assert compared.error is None, compared.error
    again = sandbox("%comflowy run --from looks.3")
    assert again.error is None
    assert again.value.ref == looks.cells[2].run.ref
    assert sandbox("%comflowy show looks.1[0]").value.ref == looks.cells[0].run.ref
    assert sandbox("%comflowy cancel looks.4").error is None
    saved = sandbox(f"%comflowy save looks.2 {tmp_path}/one.png")
    assert texts(saved) == ["saved: one.png"]
    assert (tmp_path / "one.png").is_file()
    alone = sandbox("%comflowy compare looks.1")
    assert str(alone.error) == "compare needs at least two images: %comflowy compare looks.1 looks.2"


def test_saving_to_a_zip_file_shows_its_name(sandbox, looks, tmp_path):
    *_, saved = texts(sandbox(f"%comflowy save looks {tmp_path}/looks.zip"))
    assert saved == "saved: looks.zip"
    assert (tmp_path / "looks.zip").is_file()
    again = sandbox(f"%comflowy sweep --from looks --save {tmp_path}/again.zip")
    assert again.error is None
    assert "saved: again.zip" in texts(again)


def test_an_invalid_save_target_is_an_error_before_anything_is_submitted(sandbox, looks, tmp_path):
    before = len(sandbox("%comflowy runs --limit 500").value)
    refused = sandbox(f"%comflowy sweep --from looks cfg=5 --save {tmp_path}/looks.jpg")
    assert isinstance(refused.error, SettingsError)
    assert "use a folder (looks), looks.zip, a page (looks.html) or its grid" in str(refused.error)
    (tmp_path / "file").write_text("", encoding="utf-8")
    refused = sandbox(f"%comflowy run default --save {tmp_path}/file/images")
    assert "can't save to images: file is a file, not a folder" in str(refused.error)
    assert len(sandbox("%comflowy runs --limit 500").value) == before


def test_status_of_a_sweep_with_one_cell_uses_the_singular(sandbox):
    sandbox(f"%%comflowy sweep default --as single\n{TINY}seed: 7\ncfg: 4\n")
    assert texts(sandbox("%comflowy show single"))[-1].partition(": ")[2].startswith("1 cell, 1 image\n")


def test_another_table_names_the_rows_it_replaces(sandbox, tmp_path, monkeypatch):
    """`sweep --from S --table FILE` dropped the rows of the earlier table without a note."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.csv").write_text("label,6::text\nday,a boat at noon\nnight,a boat at night\n", encoding="utf-8")
    (tmp_path / "b.csv").write_text("6::text\na star\na cloud\n", encoding="utf-8")
    first = sandbox("%comflowy sweep default --table a.csv width=64 height=64 steps=1 seed=3 cfg=4,5 --as boats")
    assert first.error is None, first.error
    again = sandbox("%comflowy sweep --from boats --table b.csv --dry-run")
    assert again.error is None, again.error
    assert f"from {first.value.ref}: axis row (day, night) is replaced" in texts(again)[0]
    assert len(again.value.cells) == 4
    zipped = sandbox("%comflowy sweep default --table a.csv cfg=4,5 --zip row,cfg steps=1 seed=3 width=64 --as zipped")
    assert zipped.error is None, zipped.error
    (tmp_path / "c.csv").write_text("6::text,cfg\na star,6\na cloud,7\n", encoding="utf-8")
    again = sandbox("%comflowy sweep --from zipped --table c.csv --dry-run")
    assert f"from {zipped.value.ref}: axis row+cfg (day + 4, night + 5) is replaced" in texts(again)[0]


def test_from_a_run_of_a_graph_on_a_service_that_runs_none(sandbox, comfy, tmp_path, monkeypatch):
    """The error was `there is no workflow 'flat' here`, though the user typed only the name of a run."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flat.json").write_text(json.dumps(empty_image()))
    assert sandbox(f"%comflowy connect {comfy.url}").error is None
    assert sandbox("%comflowy sweep flat.json 1::width=40,41 --as flats").error is None
    assert sandbox("%comflowy connect sandbox").error is None
    for command in ("run --from flats.1", "sweep --from flats", "form --from flats.1"):
        error = sandbox(f"%comflowy {command}").error
        assert isinstance(error, WorkflowError)
        assert str(error).startswith("sandbox can't run flat, only its own workflows (default, img2img): connect a")
