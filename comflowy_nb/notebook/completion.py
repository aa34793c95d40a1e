"""Tab on a `%comflowy` line, and in the body of a `%%comflowy` cell. From memory only: nobody is asked."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from IPython.core.completer import SimpleCompletion, context_matcher

from comflowy_nb.errors import ComflowyError
from comflowy_nb.services.server_names import read_names
from comflowy_nb.settings import home

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from IPython.core.completer import CompletionContext

    from comflowy_nb.notebook.commands import Command
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
    from comflowy_nb.notebook.commands import COMMANDS  # noqa: PLC0415 - not needed before the first Tab

    return COMMANDS


class Completions:
    """The matcher of one session, and its place in the shell's completer."""

    def __init__(self, session: Session) -> None:
        self._session = session

        @context_matcher()  # type: ignore[untyped-decorator]  # IPython is not read by mypy here
        def comflowy_matcher(context: CompletionContext) -> dict[str, Any]:
            return self._match(context)

        self._matcher = comflowy_matcher

    def add(self) -> None:
        self._session.shell.Completer.custom_matchers.append(self._matcher)

    def remove(self) -> None:
        matchers = self._session.shell.Completer.custom_matchers
        if self._matcher in matchers:
            matchers.remove(self._matcher)

    def _match(self, context: CompletionContext) -> dict[str, Any]:
        try:
            fragment, words = self._offer(context.full_text, context.cursor_line, context.text_until_cursor)
        except (ComflowyError, OSError):  # a damaged catalogue is told by the command, not by Tab
            fragment, words = "", []
        found = [SimpleCompletion(word, type="comflowy") for word in dict.fromkeys(words) if word.startswith(fragment)]
        return {"completions": found, "matched_fragment": fragment, "suppress": bool(found)}

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
        """The workflow of the line, if it has been looked at before."""
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
    """What is being typed of several values: what stands behind the last comma or `||`, without its quote."""
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
