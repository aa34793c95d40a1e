"""The table of the commands of `%comflowy`, and the parser of a line."""

from __future__ import annotations

import itertools
import keyword
import re
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError

from comflowy_nb.errors import SettingsError
from comflowy_nb.images.save_target import kind_of_target
from comflowy_nb.status import Status
from comflowy_nb.workflow.fields import nearest
from comflowy_nb.workflow.syntax.line import NAMES_ALONE, expand_text, is_name, split_line

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from comflowy_nb.notebook.session import Session
    from comflowy_nb.workflow.syntax.line import Word

__all__ = ["COMMANDS", "Command", "Option", "Request", "duration_s", "execute", "read_line"]

_DURATION = re.compile(r"(\d+(?:\.\d+)?|\.\d+)([smhd]?)")
_UNIT_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_TAKEN_NAME = re.compile(r"last|[rs]\d+")


def duration_s(text: str) -> float:
    """Return the seconds of `30`, `30s`, `5m`, `2h`, `30d`.

    Raises
    ------
    ValueError
        For anything else; it says what is accepted.
    """
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError("use 30s, 5m, 2h or 30d")
    return float(found[1]) * _UNIT_S[found[2]]


def _choice(*words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in words:
            raise ValueError(f"use {', '.join(words[:-1])} or {words[-1]}")
        return text

    return read


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ValueError("use a whole number from 1")
    return int(text)


def _count_or_none(text: str) -> int:
    if not text.isdecimal():
        raise ValueError("use a whole number from 0")
    return int(text)


def _name(text: str) -> str:
    if _TAKEN_NAME.fullmatch(text) or keyword.iskeyword(text):
        raise ValueError("the name is reserved")
    if not text.isidentifier():
        raise ValueError("not a Python identifier (last, r1 and s1 are reserved)")
    return text


def _target(text: str) -> str:
    try:
        kind_of_target(Path(text).expanduser())
    except SettingsError as error:
        raise ValueError(str(error)) from None
    return text


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


@dataclass(frozen=True, slots=True)
class Option:
    """An option of a command: `--as NAME`; without `value` it is a flag."""

    name: str
    value: str | None
    help: str
    read: Callable[[str], Any] = str
    choices: tuple[str, ...] = ()
    is_ref: bool = False  # exactly `{name}` passes the Python object


@dataclass(frozen=True, slots=True)
class Command:
    """A command: its usage, its options, and the function that runs it."""

    name: str
    usage: str
    summary: str
    handler: str  # module:function within comflowy_nb.notebook.commands
    options: tuple[Option, ...] = ()
    words: tuple[int, int | None] = (0, 0)  # minimum and maximum number of words besides options and FIELD=VALUE
    has_fields: bool = False
    has_body: bool = False

    def option(self, name: str) -> Option | None:
        return next((option for option in self.options if option.name == name), None)


_MODES = ("slider", "blink", "side", "difference")
_RETRY = ("failed", "unknown", "all", "none")
_STATUSES = tuple(str(status) for status in Status)

_AS = Option("--as", "NAME", "set this Python variable, and name it in the history", _name)
_SENDING = (
    Option("--from", "REF|IMAGE", "start from the workflow and values of a run or an image", is_ref=True),
    Option("--fresh", None, "run it again although it has succeeded"),
    Option("--retry", "|".join(_RETRY), "which unsuccessful runs to run again (failed)", _choice(*_RETRY), _RETRY),
    Option("--background", None, "return at once; this cell is still updated"),
    Option("--timeout", "TIME", "wait at most 30, 30s, 5m, 2h; the run continues", duration_s),
    Option("--save", "DIR", "also write copies with readable names; NAME.zip or, for one image, NAME.png", _target),
)

COMMANDS: Mapping[str, Command] = {
    command.name: command
    for command in (
        Command(
            "connect", "connect [NAME=]TARGET", "connect to sandbox, cloud, comfyui or an address",
            "connect:connect", words=(0, 1), has_fields=True,
        ),
        Command("login", "login", "ask for the API key, without echo", "connect:login"),
        Command("logout", "logout", "forget the API key and disconnect", "connect:logout"),
        Command(
            "workflows", "workflows", "list the workflows", "workflows:workflows",
        ),
        Command(
            "workflow",
            "workflow add NAME ID|URL|FILE|IMAGE|server:last  or  workflow alias NAME WORD=FIELD",
            "give a workflow a name, or a field an alias", "workflows:workflow",
            (Option("--fields", "FILE", "an API-format graph that describes the fields"),),
            words=(1, 3), has_fields=True,
        ),
        Command(
            "fields", "fields WORKFLOW", "show id, type, default and choices of its fields", "workflows:fields",
            (Option("--fields", "FILE", "an API-format graph that describes the fields"),),
            words=(1, 1), has_body=True,
        ),
        Command(
            "run", "run WORKFLOW [FIELD=VALUE ...]", "run a workflow and show its images", "run:run",
            (
                _AS,
                *_SENDING,
                Option("--label", "FIELDS", "fields for the captions, separated by commas", _list),
                Option("--count", "N", "run it N times, each with another seed", _count),
                Option("--max-runs", "N", "with --count: permit up to N submits", _count_or_none),
            ),
            words=(0, 1), has_fields=True, has_body=True,
        ),
        Command(
            "sweep", "sweep WORKFLOW [FIELD=VALUES ...]", "run it for all combinations of values, in a labelled grid",
            "sweep:sweep",
            (
                _AS,
                *_SENDING,
                Option("--label", "FIELDS", "fields for the title, separated by commas", _list),
                Option("--x", "FIELD", "axis of the columns (the first)"),
                Option("--y", "FIELD", "axis of the rows (the second)"),
                Option("--z", "FIELD", "axis of several grids (the third)"),
                Option("--dry-run", None, "show the plan and the grid; submit nothing"),
                Option("--max-runs", "N", "permit up to N submits", _count_or_none),
                Option("--stop-after", "N", "stop after N failures in a row (3; 0 never stops)", _count_or_none),
                Option("--window", "N", "at most N runs at once", _count),
                Option("--strict", None, "raise if a cell did not succeed"),
                Option("--node", "ID", "show the images of this node"),
                Option("--image", "K", "show only the image with this index, from 0", _count_or_none),
                Option("--export", "FILE", "write a file for comflowy-nb sweep; submit nothing"),
            ),
            words=(0, 1), has_fields=True, has_body=True,
        ),
        Command(
            "form", "form WORKFLOW [FIELD=VALUE ...]", "fill in and run a workflow with mouse or keyboard",
            "form:form", (_AS, _SENDING[0]), words=(0, 1), has_fields=True,
        ),
        Command(
            "runs", "runs [TEXT] [FIELD=VALUE ...]", "search earlier runs", "runs:runs",
            (
                Option("--since", "TIME", "only runs of the last 2h, 30d ...", duration_s),
                Option("--status", "STATUS", "only runs with this status", _choice(*_STATUSES), _STATUSES),
                Option("--workflow", "NAME", "only runs of this workflow"),
                Option("--limit", "N", "at most N runs (20)", _count),
            ),
            words=(0, None), has_fields=True,
        ),
        Command(
            "show", "show REF ...", "show runs and sweeps again, with their images", "runs:show",
            (Option("--page", "N", "page N of a sweep with several pages", _count),), words=(1, None),
        ),
        Command(
            "compare", "compare REF REF ...", "compare 2 to 9 images: slider, blink, side by side, difference",
            "compare:compare",
            (
                Option("--mode", "|".join(_MODES), "first mode", _choice(*_MODES), _MODES),
                Option("--label", "FIELDS", "fields for the captions, separated by commas", _list),
                Option("--save", "FILE.html", "also write it as one HTML page that works offline"),
            ),
            words=(1, None),
        ),
        Command(
            "save", "save REF DIR", "write copies of the images; DIR may be NAME.zip or, for one image, NAME.png",
            "runs:save", words=(2, 2),
        ),
        Command("cancel", "cancel REF ...", "cancel runs that are not done", "runs:cancel", words=(1, None)),
        Command("resume", "resume [REF ...]", "continue to follow runs", "runs:resume", words=(0, None)),
        Command("help", "help [COMMAND]", "show this help, or that of one command", "help:show_help", words=(0, 1)),
    )
}  # fmt: skip
_BARE = Command("", "", "show the connection and recent runs", "connect:overview")


@dataclass(frozen=True, slots=True)
class Request:
    """A parsed line, with the body of its cell and the variables that `{name}` may refer to."""

    command: Command
    words: tuple[Word, ...]
    fields: tuple[Word, ...]
    options: Mapping[str, Any]
    body: str | None
    namespace: Mapping[str, Any]

    def text(self, word: Word) -> str:
        """Return the text of a WORKFLOW, REF or DIR."""
        return expand_text(word.text, self.namespace)

    def ref(self, word: Word) -> Any:
        """Return the text of a reference, or the Python object if the word is exactly `{name}`."""
        return (
            self.namespace[word.text[1:-1]]
            if is_name(word.text) and word.text[1:-1] in self.namespace
            else self.text(word)
        )


def execute(session: Session, request: Request) -> Any:
    """Run a command. Its module is imported now, not when the extension is loaded."""
    module, _, function = request.command.handler.partition(":")
    return getattr(import_module(f"comflowy_nb.notebook.commands.{module}"), function)(session, request)


def read_line(line: str, body: str | None, namespace: Mapping[str, Any]) -> Request:
    """Parse a line.

    Raises
    ------
    UsageError
        For an unknown command or option, with the nearest one, and for too many or too few words.
    LineError
        If the words can't be split.
    """
    first = line.split(None, 1)[:1]
    words = split_line(line, sweep=first == ["sweep"])
    if not words:
        if body is not None and body.strip():
            raise UsageError("%%comflowy needs a command on its line: %%comflowy run WORKFLOW")
        return Request(_BARE, (), (), {}, None, namespace)
    command = _find(words[0])
    if body is not None and not command.has_body:
        raise UsageError(f"{command.name} takes no body. Use one %: %comflowy {command.usage}")
    plain, fields, options = _sort(command, words[1:], namespace)
    least, most = command.words
    if most is not None and (len(plain) > most or "from" in options):
        _refuse_part_of_text(words, plain, fields)
    if most is not None and len(plain) > most:
        _refuse_word(command, plain[most])
    if len(plain) < least:
        raise UsageError(f"missing argument. Usage: %comflowy {command.usage}")
    return Request(command, tuple(plain), tuple(fields), options, body, namespace)


def _find(word: Word) -> Command:
    found = COMMANDS.get(word.text)
    if found is not None and not word.quoted:
        return found
    if word.text in {"-h", "--help", "?"}:
        return COMMANDS["help"]
    near = nearest(word.text, COMMANDS)
    tip = f"; nearest: {', '.join(near)}" if near else ""
    raise UsageError(f"unknown command {word.text!r}{tip}. %comflowy help lists them")


def _sort(
    command: Command, words: list[Word], namespace: Mapping[str, Any]
) -> tuple[list[Word], list[Word], dict[str, Any]]:
    """Separate plain words, FIELD=VALUE, and options with their values."""
    plain: list[Word] = []
    fields: list[Word] = []
    options: dict[str, Any] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.raw.startswith("--"):
            if word.key is not None and not command.has_fields:
                _refuse_word(command, word)
            (plain if word.key is None else fields).append(word)
            continue
        key, value = _read_option(command, word, rest, namespace)
        if key in options:
            raise UsageError(f"--{key} is set twice. Keep one.")
        options[key] = value
    return plain, fields, options


def _read_option(command: Command, word: Word, rest: list[Word], namespace: Mapping[str, Any]) -> tuple[str, Any]:
    """Return the name of an option without its dashes, and its value, which may be the next word."""
    # The name ends at the first `=`, even after a `/`.
    name, sign, text = word.text.partition("=")
    option = command.option(name)
    if option is None:
        near = nearest(name, [each.name for each in command.options], 1)
        tip = f"; nearest: {near[0]}" if near else ""
        raise UsageError(f"{command.name} has no option {name}{tip}. See %comflowy help {command.name}")
    key = option.name.removeprefix("--")
    if option.value is None:
        if sign:
            raise UsageError(f"{name} takes no value")
        return key, True
    if not sign:
        if not rest or rest[0].raw.startswith("--"):
            raise UsageError(f"{name} needs a value: {name} {option.value}")
        text = rest.pop(0).text
    if option.is_ref and is_name(text) and text[1:-1] in namespace:
        return key, namespace[text[1:-1]]
    try:
        return key, option.read(expand_text(text, namespace))
    except ValueError as error:
        raise UsageError(f"invalid {name} {text!r}: {error}") from None


def _refuse_word(command: Command, word: Word) -> None:
    raise UsageError(f"unexpected word {word.raw!r}. Usage: %comflowy {command.usage}")


def _refuse_part_of_text(words: list[Word], plain: list[Word], fields: list[Word]) -> None:
    """Raise for a word that follows FIELD=VALUE: it belongs to a text, a list or an expression with spaces."""
    for before, word in itertools.pairwise(words):
        if word not in plain or before not in fields or before.raw[-1] in "\"'":
            continue
        rest = list(itertools.takewhile(lambda one: one in plain, words[words.index(word) :]))
        value = str(before.value or "")
        if value.startswith("{") and "}" not in value:
            tip = f"In a value, {NAMES_ALONE.format(field=before.key)}"
        elif value.endswith(",") or word.raw.startswith(","):
            tip = f"Type several values without spaces between them: {before.raw}{''.join(one.raw for one in rest)}"
        else:
            text = " ".join([value, *(one.raw for one in rest)])
            tip = f'Put text that contains spaces in quotes: {before.key}="{text}"'
        raise UsageError(f"unexpected word {word.raw!r}. {tip}")
