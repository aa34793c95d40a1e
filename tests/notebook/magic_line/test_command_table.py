"""Parse lines with the table of commands."""

from __future__ import annotations

from importlib import import_module

import pytest
from IPython.core.error import UsageError

from comflowy_nb.errors import LineError
from comflowy_nb.notebook.magic_line.command_table import COMMANDS
from comflowy_nb.notebook.magic_line.option_types import duration_s
from comflowy_nb.notebook.magic_line.parse import parse_line


def read(line, body=None, **names):
    return parse_line(line, body, names)


def test_options_and_fields_may_be_in_any_order():
    first = read('run --as best cfg=7 default --fresh 6::text="a b" --timeout 5m')
    other = read('run default cfg=7 6::text="a b" --as=best --timeout=5m --fresh')
    for request in (first, other):
        assert [word.text for word in request.words] == ["default"]
        assert [(word.key, word.value) for word in request.fields] == [("cfg", "7"), ("6::text", "a b")]
        assert request.options == {"as": "best", "fresh": True, "timeout": 300.0}


@pytest.mark.parametrize(
    ("text", "seconds"), [("30", 30), ("30s", 30), ("5m", 300), ("2h", 7200), ("30d", 2_592_000), ("0.5", 0.5)]
)
def test_durations_are_parsed(text, seconds):
    assert duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "m", "5 m", "-3", "1e3", "3w", "inf"])
def test_invalid_durations_are_errors(text):
    with pytest.raises(ValueError, match="use 30, 30s, 5m, 2h or 30d"):
        duration_s(text)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("rnu default", "Did you mean run"),
        ("draw default", "unknown command 'draw'"),
        ("compair r1 r2", "unknown command 'compair'. Did you mean compare"),
        ("run default --freh", "Did you mean --fresh"),
        ("run default --back", "has no option --back"),
        ("run default --as", "--as needs a value: --as NAME"),
        ("run default --as --fresh", "--as needs a value"),
        ("run default --fresh=yes", "--fresh takes no value"),
        ("run default --fresh --fresh", "is set twice"),
        ("run default --timeout soon", "invalid --timeout 'soon': use 30, 30s, 5m, 2h or 30d"),
        ("run default --retry", "--retry needs a value: --retry failed|unknown|all|none"),
        ("run default --retry never", "invalid --retry 'never': use failed, unknown, all or none"),
        ("run default --as last", "invalid --as 'last': it is reserved; use another name"),
        ("run default --as r12", "reserved"),
        ("run default --as s3", "reserved"),
        ("run default --as for", "reserved"),
        ("run default --as get_ipython", "invalid --as 'get_ipython': it is reserved; use another name"),
        ("run default --as Out", "invalid --as 'Out': it is reserved; use another name"),
        ("run default --as 2cats", "invalid --as '2cats': use a Python identifier, such as cats2 (not last, r1 or s1)"),
        (
            "run default text=a photo of",
            "unexpected word 'photo'. Put text that contains spaces in quotes: text=\"a photo of\"",
        ),
        ("run 6::text=a cat default --fresh", 'in quotes: 6::text="a cat default"'),
        (
            "run --from r1 6::text=a cat",
            "unexpected word 'cat'. Put text that contains spaces in quotes: 6::text=\"a cat\"",
        ),
        ("run default steps= 2", "unexpected word '2'. Type FIELD=VALUE without spaces: steps=2"),
        ("run default other", "unexpected word 'other'. Usage: %comflowy run WORKFLOW"),
        ("run default --save x.tar.gz", "use a folder"),
        ("runs --status done", "invalid --status 'done': use "),
        ("runs --since yesterday", "invalid --since 'yesterday': use 30, 30s, 5m, 2h or 30d"),
        ("runs --limit 0", "invalid --limit '0': use a whole number, 1 or greater"),
        ("sweep default sampler_name=euler, heun", "without spaces between them: sampler_name=euler,heun"),
        ("sweep default sampler_name=euler ,heun", "without spaces between them: sampler_name=euler,heun"),
        ("sweep default cfg={np.linspace(2, 8, 3)}", "braces take only the name of a variable"),
        ("show", "missing argument"),
        ("show cfg=7", "unexpected word 'cfg=7'. Usage: %comflowy show REF"),
        ("save r1", "missing argument"),
        ("login me", "login takes no key in the cell"),
    ],
)
def test_error_for_invalid_usage_has_the_nearest_spelling(line, message):
    with pytest.raises(UsageError) as caught:
        read(line)
    assert message in str(caught.value)
    assert type(caught.value) is UsageError, "IPython shows only this class, not a subclass, as one line"


def test_a_body_is_for_commands_that_take_one():
    assert read("run default", "cfg: 7").body == "cfg: 7"
    with pytest.raises(UsageError, match="takes no body"):
        read("show r1", "cfg: 7")
    with pytest.raises(UsageError, match="needs a command"):
        read("", "cfg: 7")


def test_python_names_expand_in_workflows_and_option_values():
    request = read("run {workflow} --as {name} --save {folder}", workflow="default", name="best", folder="out")
    assert request.text(request.words[0]) == "default"
    assert request.options == {"as": "best", "save": "out"}
    with pytest.raises(LineError, match="nothing"):
        read("run default --as {nothing}")


def test_a_name_alone_passes_the_object_as_reference():
    run = object()
    request = read("show {run} r1", run=run)
    assert request.ref(request.words[0]) is run
    assert request.ref(request.words[1]) == "r1"


def test_a_quoted_text_is_not_an_option():
    request = read("runs '--fresh'")
    assert [word.text for word in request.words] == ["--fresh"]


def test_an_option_value_may_be_a_path_with_an_equals_sign():
    assert read("run default --save=/a/b=c").options == {"save": "/a/b=c"}
    assert read("run --from a/b.png").options == {"from": "a/b.png"}


def test_empty_line_shows_the_overview():
    assert read("").command.name == ""
    assert read("# only a comment").command.name == ""


def test_a_name_alone_passes_the_object_as_from():
    run = object()
    assert read("run --from {run}", run=run).options == {"from": run}


def test_typed_options_become_keyword_arguments():
    request = read("sweep default --max-runs 9 --x cfg --fresh")
    assert request.arguments("max-runs", "x", "y") == {"max_runs": 9, "x": "cfg"}


def test_every_handler_exists():
    for command in COMMANDS.values():
        module, _, function = command.handler.partition(":")
        assert callable(getattr(import_module(f"comflowy_nb.notebook.commands.{module}"), function))
