"""Parse a line of `%comflowy`: its command, plain words, FIELD=VALUE, and options with their values."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError

from comflowy_nb.errors import nearest_tip
from comflowy_nb.notebook.magic_line.command_table import BARE, COMMANDS, find_command
from comflowy_nb.notebook.magic_line.option_types import DURATION_FORMS, duration_s
from comflowy_nb.notebook.magic_line.request import Request
from comflowy_nb.workflow.syntax.line import NAMES_ALONE, split_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from comflowy_nb.notebook.magic_line.option_types import Command, Option
    from comflowy_nb.workflow.syntax.line import Word


def parse_line(line: str, body: str | None, namespace: Mapping[str, Any]) -> Request:
    """Parse a line.

    Raises
    ------
    UsageError
        If a command or option is unknown, with the nearest one, or if there are too many or too few words.
    LineError
        If the line can't be split into words.
    """
    words = split_line(line, sweep=line.split(None, 1)[:1] == ["sweep"])
    if not words:
        if body is not None and body.strip():
            raise UsageError("%%comflowy needs a command on its line: %%comflowy run WORKFLOW")
        return Request(BARE, (), (), {}, None, namespace)
    command = COMMANDS["help"] if words[0].text in {"-h", "--help", "?"} else find_command(words[0].raw)
    if body is not None and not command.has_body:
        raise UsageError(f"{command.name} takes no body. Use one %: %comflowy {command.usage}")
    plain, fields, options = _separate(command, words[1:], namespace)
    minimum, maximum = command.words
    if maximum is not None and (len(plain) > maximum or "from" in options):
        _check_for_unquoted_text(words, plain, fields)
    if maximum is not None and len(plain) > maximum and "around" not in options:  # its words are names of fields
        raise _unexpected_word_error(command, plain[maximum])
    if len(plain) < minimum:
        raise UsageError(f"missing argument. Usage: %comflowy {command.usage}")
    return Request(command, tuple(plain), tuple(fields), options, body, namespace)


def _separate(
    command: Command, words: list[Word], namespace: Mapping[str, Any]
) -> tuple[list[Word], list[Word], dict[str, Any]]:
    """Separate plain words, FIELD=VALUE, and options with their values."""
    plain: list[Word] = []
    fields: list[Word] = []
    options: dict[str, Any] = {}
    rest = iter(words)
    for word in rest:
        if word.raw.startswith("--"):
            option, text = _split_option(command, word, rest)
            value = True if text is None else option.read(text, namespace)
            if option.repeats:
                value = [*options.get(option.key, ()), value]
            elif option.key in options:
                raise UsageError(f"{option.name} is set twice. Keep one.")
            options[option.key] = value
        elif word.key is None:
            plain.append(word)
        elif command.has_fields:
            fields.append(word)
        else:
            raise _unexpected_word_error(command, word)
    return plain, fields, options


def _split_option(command: Command, word: Word, rest: Iterator[Word]) -> tuple[Option, str | None]:
    """Return an option and its value: the text after the first `=`, or the next word; None for a flag."""
    name, sign, text = word.text.partition("=")
    option = command.option(name)
    if option is None:
        tip = nearest_tip(name, [known.name for known in command.options])
        raise UsageError(f"{command.name} has no option {name}{tip or '.'} See %comflowy help {command.name}")
    if option.value is None:
        if sign:
            raise UsageError(f"{name} takes no value: type {name} alone")
        return option, None
    if sign:
        return option, text
    following = next(rest, None)
    if following is None or following.raw.startswith("--"):
        accepted = f" ({DURATION_FORMS})" if option.parse is duration_s else ""
        raise UsageError(f"{name} needs a value: {name} {'|'.join(option.choices) or option.value}{accepted}")
    return option, following.text


def _unexpected_word_error(command: Command, word: Word) -> UsageError:
    if command.name == "login":  # the word may be a key, so the error does not repeat it
        return UsageError(
            "login takes no key in the cell, because a notebook keeps what is typed. Type %comflowy login alone: it "
            "asks for the key. If the word was a key, remove it from the cell"
        )
    return UsageError(f"unexpected word {word.raw!r}. Usage: %comflowy {command.usage}")


def _check_for_unquoted_text(words: list[Word], plain: list[Word], fields: list[Word]) -> None:
    """Raise an error if a plain word follows FIELD=VALUE: the value probably contains spaces and needs quotes."""
    for before, word in itertools.pairwise(words):
        if word not in plain or before not in fields or before.raw[-1] in "\"'":
            continue
        rest = list(itertools.takewhile(lambda following: following in plain, words[words.index(word) :]))
        value = str(before.value or "")
        if value.startswith("{") and "}" not in value:
            tip = f"In a value, {NAMES_ALONE.format(field=before.key)}"
        elif value.endswith(",") or word.raw.startswith(","):
            joined = "".join(following.raw for following in rest)
            tip = f"Type several values without spaces between them: {before.raw}{joined}"
        elif not value:
            tip = f"Type FIELD=VALUE without spaces: {before.raw}{word.raw}"
        else:
            text = " ".join([value, *(following.raw for following in rest)])
            tip = f'Put text that contains spaces in quotes: {before.key}="{text}"'
        raise UsageError(f"unexpected word {word.raw!r}. {tip}")
