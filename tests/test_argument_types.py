"""Wrong types of arguments: an error of this package that shows the right form, and nothing is submitted."""

from __future__ import annotations

import inspect

import pytest
from scripted_api import RUN

import comflowy_nb
from comflowy_nb.errors import ComflowyError, FieldError, ImageError, RefError, SettingsError, WorkflowError
from comflowy_nb.workflow.axes.selection import CellOptions

pytestmark = pytest.mark.usefixtures("short_delays")


@pytest.fixture
def run(client, api):
    api.live_statuses = []
    return client.run("wf-1", {"3::cfg": 7}, timeout=60)


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [
        (lambda client: client.run(7), WorkflowError, 'client.run("default")'),
        (lambda client: client.submit(None, {}), WorkflowError, 'client.run("default")'),
        (lambda client: client.sweep(["default"], {}), WorkflowError, 'client.run("default")'),
        (lambda client: client.run("wf-1", [1]), FieldError, 'client.run("default", {"steps": 20, "seed": 1})'),
        (lambda client: client.run("wf-1", 0), FieldError, "invalid params 0"),
        (lambda client: client.run("wf-1", "3::cfg=7"), FieldError, "invalid params '3::cfg=7'"),
        (lambda client: client.run("wf-1", {3: 7}), FieldError, "the name of a field is text, not 3"),
        (lambda client: client.sweep("wf-1", 7), FieldError, 'client.sweep("default", {"cfg": [4, 7], "seed": 1})'),
        (lambda client: client.sweep("wf-1", "3::cfg=7"), FieldError, "or a table"),
        (lambda client: client.sweep("wf-1", [1, 2]), FieldError, "invalid axes [1, 2]"),
        (lambda client: client.plan_sweep("wf-1", {3: [1, 2]}), FieldError, "the name of a field is text, not 3"),
        (lambda client: client.run("wf-1", {"3::cfg": 1}, save=7), SettingsError, 'save("out")'),
        (lambda client: client.sweep("wf-1", {"3::cfg": [1]}, save=7), SettingsError, 'save("out")'),
        (lambda client: client.find(7), RefError, "for a run use r41"),
        (lambda client: client.resume(7), RefError, "for a run use r41"),
        (lambda client: client.cancel("r1"), RefError, "client.find('r1').run"),
        (lambda client: client.runs(7), SettingsError, 'runs("bottle", cfg=7)'),
        (lambda client: client.runs(limit="all"), SettingsError, "or None for all"),
        (lambda client: client.runs(since="5m"), SettingsError, "since=time.time() - 300"),
        (lambda client: comflowy_nb.history.runs(since="yesterday"), SettingsError, "invalid since 'yesterday'"),
        (lambda client: client.run("wf-1", {"3::cfg": 1}, retry="never"), SettingsError, "invalid retry 'never'"),
        (lambda client: comflowy_nb.form([1], client=client), WorkflowError, "invalid workflow [1]"),
        (lambda client: client.plan_sweep("wf-1", {"3::cfg": [1]}, max_runs=3), FieldError, "not of a plan"),
        (lambda client: comflowy_nb.history.find(None), RefError, "for a run use r41"),
        (lambda client: comflowy_nb.connect(7), SettingsError, 'connect("sandbox")'),
        (lambda client: comflowy_nb.grid(7), RefError, "grid(client.runs(limit=4))"),
        (lambda client: comflowy_nb.show(7), RefError, "show(client.runs(limit=4))"),
        (lambda client: comflowy_nb.show([7]), RefError, "a list of runs or a sweep, not 7"),
        (lambda client: comflowy_nb.show("r1"), RefError, "show(history.find('r1').run)"),
        (lambda client: comflowy_nb.compare(7, 8), ImageError, "use a PIL image, an array, a path"),
        (lambda client: comflowy_nb.params_from(7), ImageError, 'params_from("cat.png")'),
    ],
)
def test_the_error_shows_the_right_form(client, api, call, kind, text):
    """`client.sweep("default", df)` ended with an AttributeError from inside."""
    with pytest.raises(ComflowyError) as caught:
        call(client)
    assert type(caught.value) is kind
    assert text in str(caught.value)
    assert api.count(RUN) == 0


def test_a_comparison_of_one_image_names_the_command(run):
    with pytest.raises(RefError, match="compare needs at least two images: %comflowy compare r1 REF"):
        comflowy_nb.compare(run.ref)


def test_targets_of_save(run, tmp_path):
    for wrong in (7, None, b"out"):
        with pytest.raises(SettingsError, match="use a folder"):
            run.save(wrong)
        with pytest.raises(SettingsError, match="use a folder"):
            run.images[0].save(wrong)
    assert run.images[0].save(tmp_path / "one.png") == tmp_path / "one.png"
    assert run.images[0].save(str(tmp_path / "all")).parent == tmp_path / "all"
    with pytest.raises(SettingsError, match="is a PNG image"):
        run.images[0].save(tmp_path / "one.jpg")


def test_an_image_that_is_not_on_disk_can_not_be_saved(run, tmp_path):
    run.images[0].path.unlink()
    with pytest.raises(ImageError, match=r"r1.*show r1 fetches"):
        run.images[0].save(tmp_path)


def test_indices_of_images(run):
    with pytest.raises(RefError, match=r"r1 has 1 image, so there is no r1\[1\]"):
        run.images[1]
    with pytest.raises(RefError, match=r"so there is no r1\['a'\]"):
        run.images["a"]


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"wher": "cfg < 71"}, "a sweep has no option 'wher'. Did you mean where?"),
        ({"max_run": 3}, "a sweep has no option 'max_run'. Did you mean max_runs?"),
        ({"dry_run": True}, "client.plan_sweep returns the plan and submits nothing"),
        ({"bogus": 1}, "use fresh, retry, name, max_runs, stop_after, window, x, y, z, strict, timeout, save, table, "),
        ({"window": "x"}, "invalid window 'x': use a whole number, 1 or greater"),
        ({"window": 0}, "invalid window 0: use a whole number, 1 or greater"),
        ({"stop_after": "x"}, "invalid stop_after 'x': use a whole number, 0 or greater"),
        ({"stop_after": -1}, "invalid stop_after -1"),
        ({"max_runs": "x"}, "invalid max_runs 'x'"),
        ({"timeout": "x"}, "invalid timeout 'x': use a number of seconds"),
        ({"retry": "x"}, "invalid retry 'x': use failed, unknown, all or none"),
        ({"zipped": ["cfg", "seed"]}, "each group of zipped is a list of names, such as ['cfg', 'steps'], not 'cfg'"),
        ({"sample": "a"}, "sample='a': use a whole number"),
    ],
)
def test_an_invalid_option_of_a_sweep_submits_nothing(client, api, options, text):
    """A misspelt option was ignored, and everything was submitted; a wrong limit stopped all later runs."""
    with pytest.raises(ComflowyError) as caught:
        client.sweep("wf-1", {"3::cfg": [70, 71]}, **options)
    assert text in str(caught.value)
    assert api.count(RUN) == 0


def test_the_error_for_an_unknown_option_names_each_parameter_of_sweep(client):
    with pytest.raises(FieldError) as caught:
        client.sweep("wf-1", {"3::cfg": [70]}, bogus=1)
    named = set(str(caught.value).partition(": use ")[2].split(", "))
    parameters = inspect.signature(client.sweep).parameters
    unusual = {"ref", "axes", "around", "fields", "wait", "namespace", "base", "on_plan", "cells"}
    assert named == {*parameters, *CellOptions.__annotations__} - unusual


@pytest.mark.parametrize("target", ["file", "file/images", "file/images.zip"])
def test_a_file_in_the_place_of_a_folder_is_reported_before_a_submit(client, api, tmp_path, target):
    """The images could not be saved, which was found only after the sweep."""
    (tmp_path / "file").write_text("", encoding="utf-8")
    for call in (client.run, client.sweep):
        with pytest.raises(SettingsError, match="file is a file, not a folder"):
            call("wf-1", {"3::cfg": 70}, save=tmp_path / target)
    assert api.count(RUN) == 0


def wrong_calls(client):
    """Return calls that raise an error, by a part of its text."""
    rows = [{"3::cfg": 1, "mood": "calm"}]
    return {
        "max_runs=2": lambda: client.sweep("wf-1", {"3::cfg": [1, 2]}, max_runs=1),
        "max_runs=501": lambda: client.sweep("wf-1", {"3::cfg": range(501)}),
        "where='cfg > 9': ": lambda: client.sweep("wf-1", {"3::cfg": [1, 2]}, where="cfg > 9"),
        "where='`3::cfg` > 9' keeps": lambda: client.sweep("wf-1", {"3::cfg": [1, 2]}, where="`3::cfg` > 9"),
        "zipped=[['3::cfg']]": lambda: client.sweep("wf-1", {"3::cfg": [1, 2]}, zipped=[["3::cfg"]]),
        "zipped=[['3::cfg', '3::seed']]": lambda: client.sweep(
            "wf-1", {"3::cfg": [1, 2], "3::seed": [1, 2, 3]}, zipped=[["3::cfg", "3::seed"]]
        ),
        "table='FILE.csv'": lambda: client.sweep("wf-1", {"3::cfg": [1, 2]}, info=["mood"]),
        "info=['mood']": lambda: client.sweep("wf-1", rows),
        "for info=": lambda: client.sweep("wf-1", rows, info=["mod"]),
        "client.sweep takes 'random#4'": lambda: client.run("wf-1", {"3::seed": "random#4"}),
    }


def test_an_error_in_python_names_the_parameter(client, api):
    """Errors of Python calls named `--max-runs`, `--where` and `--table`, which only a magic has."""
    for expected, call in wrong_calls(client).items():
        with pytest.raises(ComflowyError) as caught:
            call()
        assert "--" not in str(caught.value), expected
        assert expected in str(caught.value)
    assert api.count(RUN) == 0


def test_a_stopped_sweep_names_the_parameter(client, api):
    api.finished = {"status": "failed", "error": "no model"}
    sweep = client.sweep("wf-1", {"3::cfg": range(1, 9)}, window=1, timeout=60)
    assert "stop_after=0 never stops" in sweep.stopped


def test_an_empty_table_and_a_wrong_timeout_submit_nothing(client, api):
    """`client.sweep("default", [])` submitted one run of full size."""
    with pytest.raises(ComflowyError, match="the table has no rows"):
        client.sweep("wf-1", [])
    with pytest.raises(ComflowyError, match="invalid timeout 'x'"):
        client.run("wf-1", {"3::cfg": 5}, timeout="x")
    assert api.count(RUN) == 0
