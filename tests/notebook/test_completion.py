"""Tab, from memory: what is offered where, and what it replaces."""

from __future__ import annotations

import pytest

from comflowy_nb.notebook.completion import Completions
from comflowy_nb.services.server_names import remember_name


def offered(shell, text, line=None):
    """What IPython's own completer gives for the end of a text, comflowy's words only."""
    completer = shell.Completer
    matcher = next(each for each in completer.custom_matchers if "comflowy" in each.__qualname__)
    lines = text.split("\n")
    line = len(lines) - 1 if line is None else line
    from IPython.core.completer import CompletionContext

    context = CompletionContext(
        token=lines[line].split(" ")[-1], full_text=text, cursor_position=len(lines[line]), cursor_line=line, limit=None
    )
    result = matcher(context)
    assert lines[line].endswith(result["matched_fragment"])
    assert result["suppress"] == bool(result["completions"])
    return [completion.text.strip() for completion in result["completions"]]


def test_commands(shell):
    assert {"run", "runs", "resume"} <= set(offered(shell, "%comflowy r"))
    assert "connect" in offered(shell, "%comflowy ")
    assert offered(shell, "r = %comflowy con") == ["connect"]
    assert offered(shell, "%%comflowy ru") == ["run", "runs"]


def test_options(shell):
    assert offered(shell, "%comflowy run default --f") == ["--from", "--fresh"]
    assert "--fresh" not in offered(shell, "%comflowy run default --fresh --")
    assert offered(shell, "%comflowy run default --retry=un") == ["unknown"]
    assert offered(shell, "%comflowy run default --retry ") == ["failed", "unknown", "all", "none"]
    assert "success" in offered(shell, "%comflowy runs --status s")


def test_targets_and_the_catalogue_without_a_connection(shell):
    assert offered(shell, "%comflowy connect s") == ["sandbox"]
    assert "default" in offered(shell, "%comflowy run d")


def test_names_of_servers_that_were_given_before(shell, home):
    remember_name(home, "studio", "http://127.0.0.1:1")
    assert offered(shell, "%comflowy connect s") == ["sandbox", "studio"]


def test_nothing_for_other_lines(shell):
    for text in ("print(", "%timeit r", "x = 'comflowy ", "%comflowy nonsense "):
        assert offered(shell, text) == []


def test_fields_choices_and_references_after_connecting(sandbox, shell, monkeypatch):
    import socket

    sandbox("%comflowy run default 3::steps=2 3::seed=901 --as tabbed")

    def refuse(*_):
        raise AssertionError("completion asked the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert "sampler_name=" in offered(shell, "%comflowy run default samp")
    assert "all::text=" in offered(shell, "%comflowy run default all")
    assert "text=" not in offered(shell, "%comflowy run default te"), "two fields are called text"
    assert offered(shell, "%comflowy run default sampler_name=eul") == ["euler", "euler_ancestral"]
    assert offered(shell, "%comflowy run default seed=r") == ["random"]
    assert offered(shell, "%comflowy run default --as x cfg=7 3::samp") == ["3::sampler_name="]
    assert offered(shell, "%%comflowy run default\nsamp") == ["sampler_name:"]
    assert offered(shell, "%%comflowy run default\ncfg: 7\nsampler_name: heu") == ["heun"]
    assert "tabbed" in offered(shell, "%comflowy show tab")
    assert "last" in offered(shell, "%comflowy run --from la")


def test_ipython_s_own_completer_gives_them(sandbox, shell):
    _, matches = shell.complete(None, "%comflowy run default sampler_na")
    assert [match.rsplit(" ", 1)[-1] for match in matches] == ["sampler_name="]


def test_loading_again_adds_no_second_matcher(shell):
    shell.run_line_magic("reload_ext", "comflowy_nb")
    shell.run_line_magic("load_ext", "comflowy_nb")
    mine = [each for each in shell.Completer.custom_matchers if "comflowy" in each.__qualname__]
    assert len(mine) == 1


@pytest.mark.parametrize("damage", ["workflows: [", "\x00"])
def test_a_damaged_catalogue_gives_nothing_and_raises_nothing(shell, home, damage):
    home.mkdir(parents=True)
    (home / "comflowy.yaml").write_text(damage)
    assert offered(shell, "%comflowy run d") in ([], ["default"])


def test_the_matcher_can_be_taken_away(shell):
    found = Completions(None)
    assert found._matcher not in shell.Completer.custom_matchers


def test_sweeps_their_values_axes_and_references(sandbox, shell):
    ref = sandbox("%comflowy sweep default 5::width=64 5::height=64 3::steps=2 cfg=2,3 seed=902 --as swept").value.ref
    assert {"--x", "--dry-run", "--stop-after"} <= set(offered(shell, "%comflowy sweep default --"))
    assert "euler" in offered(shell, "%comflowy sweep default sampler_name=")
    assert "heun" in offered(shell, "%comflowy sweep default sampler_name=euler,")
    assert {"random", "random#", "each"} <= set(offered(shell, "%comflowy sweep default seed="))
    assert offered(shell, "%comflowy sweep default cfg=1,2 seed=3,4 --x ") == ["cfg", "seed"]
    assert "default" in offered(shell, "%comflowy sweep d")
    assert "heun" in offered(shell, "%%comflowy sweep default\nsampler_name: [euler, he")
    assert {ref, "swept"} <= set(offered(shell, "%comflowy show "))
    assert ref in offered(shell, f"%comflowy sweep --from {ref}")
