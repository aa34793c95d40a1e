"""Tab on a `%comflowy` line, and in the body of a `%%comflowy` cell. It asks no service."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from comflowy_nb.errors import ComflowyError
from comflowy_nb.services.targets import read_names
from comflowy_nb.settings import home

try:
    from IPython.core.completer import SimpleCompletion, context_matcher
except ImportError:  # IPython 7, as on Google Colab
    context_matcher = None

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from IPython.core.completer import CompletionContext

    from comflowy_nb.notebook.commands.table import Command
    from comflowy_nb.notebook.session import Session
    from comflowy_nb.workflow.workflow import Workflow

__all__ = ["Completions"]

_LINE = re.compile(r"^\s*(?:[\w, ]+=\s*)?%comflowy(?P<rest>\s.*)$", re.DOTALL)
_CELL = re.compile(r"^\s*%%comflowy(?P<rest>(?:\s.*)?)$")
_TARGETS = ("sandbox", "cloud", "comfyui")
_NUMBERED = 12  # references offered
_REF_COMMANDS = {"show", "compare", "save", "cancel", "resume"}
_RUNNING = {"run", "sweep", "form"}
_BEHIND_COMMA = re.compile(r".*(?:,|\|\|)\s*", re.DOTALL)


def _commands() -> Mapping[str, Command]:
    from comflowy_nb.notebook.commands.table import COMMANDS  # noqa: PLC0415 - not needed before the first Tab

    return COMMANDS


class Completions:
    """The matcher of one session, and its place in the shell's completer."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._matcher = self._match_arguments if context_matcher is None else self._make_matcher()

    def add(self) -> None:
        self._matchers.append(self._matcher)

    def remove(self) -> None:
        if self._matcher in self._matchers:
            self._matchers.remove(self._matcher)

    @property
    def _matchers(self) -> list[Any]:
        # In IPython 7 the hook "complete_command" is not called on an empty line, and what jedi finds comes before its
        # words; a matcher of magics' arguments replaces everything else, as a context matcher does in IPython 8.
        completer = self._session.shell.Completer
        matchers: list[Any] = completer.magic_arg_matchers if context_matcher is None else completer.custom_matchers
        return matchers

    def _make_matcher(self) -> Any:
        @context_matcher()  # type: ignore[untyped-decorator]  # IPython is not read by mypy here
        def comflowy_matcher(context: CompletionContext) -> dict[str, Any]:
            fragment, words = self._find(context.full_text, context.cursor_line, context.text_until_cursor)
            found = [SimpleCompletion(word, type="comflowy") for word in words]
            return {"completions": found, "matched_fragment": fragment, "suppress": bool(found)}

        return comflowy_matcher

    def _match_arguments(self, line: str) -> list[str]:
        """Return the text with which IPython 7 replaces the last part of the fragment, the word at the cursor."""
        completer = self._session.shell.Completer
        before = completer.text_until_cursor
        text, line_number = self._requested(line)
        fragment, words = self._find(text, line_number, before)
        start = max(0, len(fragment) - len(completer.splitter.split_line(before)))
        return [word[start:] for word in words]

    def _requested(self, line: str) -> tuple[str, int]:
        """Return the text of the whole cell and the number of the line in it, which IPython 7 does not tell.

        The kernel keeps the front end's request for completions; a terminal has none, so there the line is all.
        """
        get_parent = getattr(getattr(self._session.shell, "kernel", None), "get_parent", None)
        content = get_parent("shell").get("content", {}) if get_parent is not None else {}
        text, position = content.get("code"), content.get("cursor_pos")
        if not isinstance(text, str) or not isinstance(position, int):
            return line, 0
        line_number = text.count("\n", 0, position)
        return (text, line_number) if text.split("\n")[line_number] == line else (line, 0)

    def _find(self, text: str, line_number: int, before: str) -> tuple[str, list[str]]:
        """What has been typed of the word at the cursor, and the words that complete it."""
        try:
            fragment, words = self._offer(text, line_number, before)
        except (ComflowyError, OSError):  # the command reports a damaged catalogue
            return "", []
        return fragment, [word for word in dict.fromkeys(words) if word.startswith(fragment)]

    def _offer(self, text: str, line_number: int, before: str) -> tuple[str, Iterable[str]]:
        """What has been typed of the word at the cursor, and all it could be."""
        first = _CELL.match(text.split("\n", 1)[0])
        if first is not None and line_number > 0:
            return self._in_body(first["rest"], before)
        line = first and _CELL.match(before)
        line = line or _LINE.match(before)
        return self._on_line(line["rest"]) if line is not None else ("", [])

    def _on_line(self, rest: str) -> tuple[str, Iterable[str]]:
        done, fragment = _split_last(rest)
        if not done:
            return fragment, [f"{name} " for name in _commands()]
        command = _commands().get(done[0])
        if command is None:
            return fragment, []
        pending = command.option(done[-1]) if len(done) > 1 else None
        if pending is not None and pending.value is not None:
            return fragment, self._values_of(command, pending.name, pending.choices, done[1:-1])
        name, sign, value = fragment.partition("=")
        if name.startswith("--"):
            option = command.option(name)
            if sign and option is not None:
                return value, self._values_of(command, option.name, option.choices, done[1:])
            used = {word.partition("=")[0] for word in done}
            return fragment, [f"{option.name} " for option in command.options if option.name not in used]
        plain = [word for word in _without_options(command, done[1:]) if "=" not in word.split("/")[0]]
        if sign:
            value = _last_of(value) if command.name == "sweep" else value
            return value, self._choices(self._workflow(command, plain), name, several=command.name == "sweep")
        return fragment, self._words(command, plain)

    def _words(self, command: Command, plain: list[str]) -> Iterable[str]:
        if command.name in _REF_COMMANDS:
            return self._refs() if command.name != "save" or not plain else []
        match command.name, len(plain):
            case "connect", 0:
                return [*_TARGETS, *read_names(home())]
            case "help", 0:
                return list(_commands())
            case "workflow", 0:
                return ["add ", "alias "]
            case ("run" | "sweep" | "form" | "fields", 0) | ("workflow", 1):
                return [f"{name} " for name in self._workflow_names()]
            case "run" | "sweep" | "form", 1:
                return [f"{key}=" for key in _keys(self._workflow(command, plain))]
        return []

    def _in_body(self, rest: str, before: str) -> tuple[str, Iterable[str]]:
        done, last = _split_last(rest + " ")
        done = [*done, last] if last else done
        command = _commands().get(done[0]) if done else None
        if command is None or command.name not in _RUNNING:
            return "", []
        workflow = self._workflow(command, _without_options(command, done[1:]))
        key, colon, value = before.partition(": ")
        if colon:
            value = _last_of(value.lstrip(" [")) if command.name == "sweep" else value
            choices = self._choices(workflow, key.strip().strip("\"'"), several=command.name == "sweep")
            return value.lstrip(" \"'"), choices
        fragment = before.lstrip().lstrip("\"'")
        return fragment, _keys(workflow) if before.lstrip()[:1] in {'"', "'"} else [
            f"{key}: " for key in _keys(workflow)
        ]

    def _workflow(self, command: Command, plain: list[str]) -> Workflow | None:
        """Return the workflow of the line, if its fields are in memory."""
        if command.name not in _RUNNING or not plain or self._session.client is None:
            return None
        return self._session.client.finder.recall(plain[0])

    def _workflow_names(self) -> list[str]:
        client = self._session.client
        if client is None:
            return self._session.catalogue.names()
        last = ["server:last"] if client.service.runs_graphs else []
        return [*client.finder.names(), *last]

    def _choices(self, workflow: Workflow | None, key: str, *, several: bool = False) -> list[str]:
        if workflow is None:
            return []
        try:
            fields = [workflow.fields[field_id] for field_id in workflow.find(key) if field_id in workflow.fields]
        except ComflowyError:
            return []
        words = [option if isinstance(option, str) else f"{option}" for one in fields for option in one.options]
        if any(one.is_seed for one in fields):
            words += ["random", "random#", "each"] if several else ["random"]
        if any(str(one.type) == "BOOLEAN" for one in fields):
            words += ["true", "false"]
        return words

    def _values_of(self, command: Command, option: str, choices: tuple[str, ...], before: list[str]) -> list[str]:
        if option in {"--x", "--y", "--z"}:
            plain = _without_options(command, before)
            typed = [word.partition("=")[0] for word in plain if "=" in word]
            return typed or _keys(self._workflow(command, plain))
        if option == "--from":
            return self._refs()
        if option == "--workflow":
            return self._workflow_names()
        return list(choices)

    def _refs(self) -> list[str]:
        """The newest runs and sweeps, from the history on this machine."""
        library = self._session.library
        runs, sweeps = library.runs(limit=_NUMBERED), library.history.sweeps.recent(_NUMBERED)
        names = [name for name in (*(run.record.name for run in runs), *(sweep.name for sweep in sweeps)) if name]
        return [*(sweep.ref for sweep in sweeps), *(run.ref for run in runs), *names, "last"]


def _keys(workflow: Workflow | None) -> list[str]:
    """What may stand for the fields: aliases, names that only one field has, ids, and `all::`."""
    if workflow is None:
        return []
    names = [one.name for one in workflow.fields.values()]
    unique = [name for name in dict.fromkeys(names) if names.count(name) == 1]
    several = [f"all::{name}" for name in dict.fromkeys(names) if names.count(name) > 1]
    return [*workflow.aliases, *unique, *workflow.fields, *several]


def _last_of(values: str) -> str:
    """Return the value being typed: the text after the last comma or `||`, without its quote."""
    return _BEHIND_COMMA.sub("", values).lstrip("\"'")


def _split_last(rest: str) -> tuple[list[str], str]:
    """The whole words, and the one being typed."""
    words = rest.split()
    if not words or rest[-1:].isspace():
        return words, ""
    return words[:-1], words[-1]


def _without_options(command: Command, words: list[str]) -> list[str]:
    kept = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("--"):
            kept.append(word)
            continue
        option = command.option(word)
        if option is not None and option.value is not None and rest:
            rest.pop(0)
    return kept
