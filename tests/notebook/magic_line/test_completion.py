"""Completions: their texts, and the part of the line that they replace."""

from __future__ import annotations

import socket

import pytest
from completing import completions_at

from comflowy_nb.services.targets import remember_name
from comflowy_nb.workflow.catalogue import Catalogue


def completions_of_ipython(shell, before, fragment=""):
    """Return the same without the extension."""
    shell.run_line_magic("unload_ext", "comflowy_nb")
    completions = completions_at(shell, before, fragment)
    shell.run_line_magic("load_ext", "comflowy_nb")
    return completions


def test_commands_are_completed(shell):
    assert completions_at(shell, "%comflowy ", "r") == ["rate", "resume", "run", "runs"]
    assert "connect" in completions_at(shell, "%comflowy ")
    assert completions_at(shell, "r = %comflowy ", "con") == ["connect"]
    assert completions_at(shell, "%%comflowy ", "ru") == ["run", "runs"]


def test_options_are_completed(shell):
    assert completions_at(shell, "%comflowy run default ", "--f") == ["--fresh", "--from"]
    assert "--fresh" not in completions_at(shell, "%comflowy run default --fresh ", "--")
    assert completions_at(shell, "%comflowy run default --retry=", "un") == ["unknown"]
    assert completions_at(shell, "%comflowy run default --retry ") == ["all", "failed", "none", "unknown"]
    assert "success" in completions_at(shell, "%comflowy runs --status ", "s")


def test_commands_that_clean_up_are_completed(shell, home):
    assert completions_at(shell, "%comflowy prune ", "--") == ["--all", "--dry-run", "--older", "--yes"]
    assert completions_at(shell, "%comflowy delete r1 ", "--") == ["--dry-run", "--yes"]
    assert "last" in completions_at(shell, "%comflowy delete ", "l")
    assert completions_at(shell, "%comflowy workflow ", "re") == ["remove"]
    shell.run_cell("%comflowy workflow alias default prompt=6::text")
    Catalogue.open(None, home).add("portrait", identity="sandbox", id="default")
    assert completions_at(shell, "%comflowy workflow remove ") == ["portrait"]


def test_targets_and_catalogue_are_completed_without_a_connection(shell):
    assert completions_at(shell, "%comflowy connect ", "s") == ["sandbox"]
    assert "default" in completions_at(shell, "%comflowy run ", "d")


def test_names_of_earlier_servers_are_completed(shell, home):
    remember_name(home, "studio", "http://127.0.0.1:1")
    assert completions_at(shell, "%comflowy connect ", "s") == ["sandbox", "studio"]


@pytest.mark.parametrize("line", ["print(", "%timeit r", "x = 'comflowy ", "%comflowy nonsense "])
def test_other_lines_are_completed_by_ipython_only(shell, line):
    own_completions = [name for name in completions_at(shell, line) if name.lstrip("%") != "comflowy"]
    assert own_completions == completions_of_ipython(shell, line)


def test_fields_choices_and_references_are_completed_after_connecting(sandbox, shell, monkeypatch):
    sandbox("%comflowy run default 3::steps=2 3::seed=901 --as tabbed")

    def refuse(*_):
        raise AssertionError("completion opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert "sampler_name=" in completions_at(shell, "%comflowy run default ", "samp")
    assert "all::text=" in completions_at(shell, "%comflowy run default ", "all")
    assert "text=" not in completions_at(shell, "%comflowy run default ", "te"), "two fields are called text"
    assert completions_at(shell, "%comflowy run default sampler_name=", "eul") == ["euler", "euler_ancestral"]
    assert completions_at(shell, "%comflowy run default seed=", "r") == ["random"]
    assert completions_at(shell, "%comflowy run default --as x cfg=7 ", "3::samp") == ["3::sampler_name="]
    assert "tabbed" in completions_at(shell, "%comflowy show ", "tab")
    assert "last" in completions_at(shell, "%comflowy run --from ", "la")


def test_the_older_complete_function_of_ipython_works(sandbox, shell):
    _, matches = shell.complete(None, "%comflowy run default sampler_na")
    assert [match.rsplit(" ", 1)[-1] for match in matches] == ["sampler_name="]


def test_extension_loaded_twice_offers_each_completion_once(shell):
    shell.run_line_magic("reload_ext", "comflowy_nb")
    shell.run_line_magic("load_ext", "comflowy_nb")
    assert completions_at(shell, "%comflowy ", "con") == ["connect"]


def test_unloaded_extension_offers_no_completion(shell):
    assert "connect" not in completions_of_ipython(shell, "%comflowy ", "con")


@pytest.mark.parametrize("damage", ["workflows: [", "\x00"])
def test_damaged_catalogue_does_not_raise_an_error(shell, home, damage):
    home.mkdir(parents=True)
    (home / "comflowy.yaml").write_text(damage)
    completions = completions_at(shell, "%comflowy run ", "d")
    assert completions in (["default"], completions_of_ipython(shell, "%comflowy run ", "d"))


def test_values_axes_and_references_of_sweeps_are_completed(sandbox, shell):
    ref = sandbox("%comflowy sweep default 5::width=64 5::height=64 3::steps=2 cfg=2,3 seed=902 --as swept").value.ref
    assert {"--x", "--dry-run", "--stop-after"} <= set(completions_at(shell, "%comflowy sweep default ", "--"))
    assert "euler" in completions_at(shell, "%comflowy sweep default sampler_name=")
    assert "heun" in completions_at(shell, "%comflowy sweep default sampler_name=euler,")
    assert {"random", "random#", "each"} <= set(completions_at(shell, "%comflowy sweep default seed="))
    assert completions_at(shell, "%comflowy sweep default cfg=1,2 seed=3,4 --x ") == ["cfg", "seed"]
    assert "default" in completions_at(shell, "%comflowy sweep ", "d")
    assert {ref, "swept"} <= set(completions_at(shell, "%comflowy show "))
    assert ref in completions_at(shell, "%comflowy sweep --from ", ref)


def test_references_and_modes_of_compare_are_completed(sandbox, shell):
    ref = sandbox("%comflowy run default 5::width=64 5::height=64 steps=2 seed=1005").value.ref
    assert ref in completions_at(shell, "%comflowy compare ")
    assert ref in completions_at(shell, f"%comflowy compare {ref} ")
    assert completions_at(shell, f"%comflowy compare {ref} {ref} --mode ", "d") == ["difference"]
    assert "--save" in completions_at(shell, f"%comflowy compare {ref} ", "--")


def test_conditions_are_completed(sandbox, shell, tmp_path, monkeypatch):
    """Tab offered nothing after `--where "`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "t.csv").write_text(
        "label,6::text,my mood\nday,a boat,calm\nnight,a fox,very tense\n", encoding="utf-8"
    )
    made = sandbox(
        "%comflowy sweep default --table t.csv --info 'my mood' width=64 height=64 steps=1 seed=951 --as whered"
    )
    assert made.error is None, made.error

    def refuse(*_):
        raise AssertionError("completion opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    sweep = '%comflowy sweep default cfg=4,5 --info source --where "'
    assert completions_at(shell, sweep, "samp") == ["sampler_name"]
    assert completions_at(shell, sweep, "3::samp") == ["3::sampler_name"]
    assert completions_at(shell, sweep, "so") == ["source"]
    assert {"cfg", "source", "steps"} <= set(completions_at(shell, sweep))
    assert completions_at(shell, f"{sweep}cfg < 5 and not (", "samp") == ["sampler_name"]
    for sign in ("=", "== ", "!= ", "in ", "in (ddim, "):
        assert completions_at(shell, f"{sweep}sampler_name {sign}", "eul") == ["euler", "euler_ancestral"]
    assert completions_at(shell, f"{sweep}sampler_name = '", "eul") == ["euler", "euler_ancestral"]
    assert completions_at(shell, f"{sweep}cfg < 5 ", "a") == ["and"]
    assert completions_at(shell, f"{sweep}cfg ", "n") == ["not in"]
    assert "row" in completions_at(shell, "%comflowy sweep default --table t.csv --where '", "r")
    earlier = '%comflowy sweep --from whered --where "'
    assert completions_at(shell, earlier, "r") == ["row"]
    assert completions_at(shell, earlier, "`") == sorted(completions_at(shell, earlier, "`"))
    assert "`my mood`" in completions_at(shell, earlier, "`m")
    assert completions_at(shell, f"{earlier}row = ", "n") == ["night"]
    assert completions_at(shell, f"{earlier}`my mood` in (", "c") == ["calm"]
    assert completions_at(shell, "%comflowy sweep --from whered --label ", "r") == ["row"]
    runs = '%comflowy runs --where "'
    assert "steps" in completions_at(shell, runs, "st")
    assert completions_at(shell, f"{runs}row = ", "nig") == ["night"]
    assert "951" in completions_at(shell, f"{runs}seed = ")
    assert "label" in completions_at(shell, "%comflowy show whered --label ", "lab")
