"""The texts of `%comflowy help`."""

from __future__ import annotations

import html
import re
from types import SimpleNamespace

import pytest
from IPython.core.error import UsageError

from comflowy_nb.notebook.commands.help import show_help
from comflowy_nb.notebook.magic_line.command_table import COMMANDS
from comflowy_nb.notebook.magic_line.parse import parse_line

COLUMNS = 80


def help_on(line, kind="text/plain"):
    output = []
    show_help(SimpleNamespace(say=output.append), parse_line(line, None, {}))
    return output[0][kind]


def test_help_lists_every_command():
    text = help_on("help")
    words = " ".join(text.split())
    assert all(f"\n  {name} " in text and f" {name} {each.summary} " in words for name, each in COMMANDS.items())


@pytest.mark.parametrize("name", COMMANDS)
def test_help_on_a_command_has_its_usage_and_all_options(name):
    text, command = help_on(f"help {name}"), COMMANDS[name]
    assert text.startswith(f"%comflowy {name}")
    words = " ".join(text.split())
    for option in command.options:
        assert f" {option.name} {option.value} {option.help}".replace(" None", "") in words
        assert all(choice in words for choice in option.choices)


@pytest.mark.parametrize("line", ["help", *(f"help {name}" for name in COMMANDS)])
def test_help_fits_a_narrow_terminal(line):
    assert [each for each in help_on(line).splitlines() if len(each) > COLUMNS] == []


@pytest.mark.parametrize("line", ["help", *(f"help {name}" for name in COMMANDS)])
def test_help_as_html_has_the_words_of_the_text(line):
    text = html.unescape(re.sub(r"<[^>]*>", " ", help_on(line, "text/html").replace("<wbr>", "")))
    assert text.split() == help_on(line).split()


def test_help_as_html_has_a_column_of_code_and_one_of_explanations():
    rows = re.findall(r"<tr.*?</tr>", help_on("help prune", "text/html"))
    cells = [[html.unescape(re.sub(r"<[^>]*>", "", cell)) for cell in re.findall(r"<td.*?</td>", row)] for row in rows]
    assert ["%comflowy prune --older 60d --dry-run", "show what would be removed"] in cells
    assert ["%comflowy prune --older 60d"] in cells
    assert any(row[0].startswith("--older ") and len(row) == 2 for row in cells)


def test_examples_in_help_texts_can_be_parsed():
    """Examples without a comment; in the others, text after the example is separated by two or more spaces."""
    count = 0
    for name in COMMANDS:
        for line in help_on(f"help {name}").splitlines()[1:]:
            for example in line.split("%comflowy ")[1:] if line.startswith("  %comflowy") else []:
                parse_line(example.split("  ")[0].strip(), None, {"image": object()})
                count += 1
    assert count > 40


def test_help_on_an_unknown_command_names_the_nearest():
    with pytest.raises(UsageError, match=r"unknown command 'swep'\. Did you mean sweep or sweeps\?"):
        help_on("help swep")
