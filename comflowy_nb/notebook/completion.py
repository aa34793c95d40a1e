"""Complete `%comflowy` lines and the bodies of `%%comflowy` cells when the user presses Tab, without any request."""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any

from comflowy_nb.errors import ComflowyError
from comflowy_nb.notebook.commands.options import COMMANDS
from comflowy_nb.services.targets import read_names
from comflowy_nb.settings import home

try:
    from IPython.core.completer import SimpleCompletion, context_matcher
except ImportError:  # IPython 7, as on Google Colab
    context_matcher = None

if TYPE_CHECKING:
    from IPython.core.completer import CompletionContext

    from comflowy_nb.notebook.commands.options import Command, Option
    from comflowy_nb.notebook.session import Session
    from comflowy_nb.workflow.workflow import Workflow

__all__ = ["Completions"]

_LINE = re.compile(r"^\s*(?:[\w, ]+=\s*)?%comflowy(?P<rest>\s.*)$", re.DOTALL)
_CELL = re.compile(r"^\s*%%comflowy(?P<rest>(?:\s.*)?)$")
_TARGETS = ("sandbox", "cloud", "comfyui")
_MAX_REFS = 12  # of runs, and as many of sweeps
_REF_COMMANDS = {"show", "compare", "save", "cancel", "resume", "delete"}
_FIELD_COMMANDS = {"run", "sweep", "form"}
_AFTER_SEPARATOR = re.compile(r".*(?:,|\|\|)\s*", re.DOTALL)


class Completions:
    """The matcher of one session in the completer of its shell."""

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
        # In IPython 7 the hook "complete_command" is not called on an empty line, and its words come after those of
        # jedi. A matcher of magic arguments replaces all other words, as a context matcher does in IPython 8.
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
        """Return the text of the whole cell and the number of the line in it, which IPython 7 does not pass.

        They are in the completion request of the front end, which the kernel keeps. In a terminal the text is the line.
        """
        get_parent = getattr(getattr(self._session.shell, "kernel", None), "get_parent", None)
        content = get_parent("shell").get("content", {}) if get_parent is not None else {}
        text, position = content.get("code"), content.get("cursor_pos")
        if not isinstance(text, str) or not isinstance(position, int):
            return line, 0
        line_number = text.count("\n", 0, position)
        return (text, line_number) if text.split("\n")[line_number] == line else (line, 0)

    def _find(self, text: str, line_number: int, before: str) -> tuple[str, list[str]]:
        """Return the typed part of the word at the cursor, and the words that complete it."""
        magic = _CELL.match(text.split("\n", 1)[0])
        try:
            if magic is not None and line_number > 0:
                fragment, words = self._in_body(magic["rest"], before)
            elif line := (magic and _CELL.match(before)) or _LINE.match(before):
                fragment, words = self._on_line(line["rest"])
            else:
                return "", []
        except (ComflowyError, OSError):  # the command reports a damaged catalogue
            return "", []
        return fragment, [word for word in dict.fromkeys(words) if word.startswith(fragment)]

    def _on_line(self, rest: str) -> tuple[str, list[str]]:
        *done, fragment = rest.split() if rest[-1:].strip() else [*rest.split(), ""]
        if not done:
            return fragment, [f"{name} " for name in COMMANDS]
        command = COMMANDS.get(done[0])
        if command is None:
            return fragment, []
        words, pending = _split_options(command, done[1:])
        name, equals, value = fragment.partition("=")
        if pending is None and equals and name.startswith("--"):
            pending, fragment = command.option(name), value
        if pending is not None:
            return fragment, self._option_values(command, pending, words)
        if name.startswith("--"):
            used = {word.partition("=")[0] for word in done}
            return fragment, [f"{option.name} " for option in command.options if option.name not in used]
        plain = [word for word in words if "=" not in word.split("/")[0]]
        if equals:
            value = _last_value(value) if command.name == "sweep" else value
            return value, self._choices(command, plain, name)
        return fragment, self._positional(command, plain)

    def _positional(self, command: Command, plain: list[str]) -> list[str]:
        """Return the words that may follow `plain`, the words that are neither options nor fields."""
        if command.name in _REF_COMMANDS:
            return self._refs() if command.name != "save" or not plain else []
        match command.name, len(plain):
            case "connect", 0:
                return [*_TARGETS, *read_names(home())]
            case "help", 0:
                return list(COMMANDS)
            case "workflow", 0:
                return ["add ", "alias ", "remove "]
            case "workflow", 1 if plain[0] == "remove":
                return self._session.catalogue.removable_names()
            case ("run" | "sweep" | "form" | "fields", 0) | ("workflow", 1):
                return [f"{name} " for name in self._workflow_names()]
            case "run" | "sweep" | "form", 1:
                return [f"{key}=" for key in _keys(self._workflow(command, plain))]
        return []

    def _in_body(self, rest: str, before: str) -> tuple[str, list[str]]:
        done = rest.split()
        command = COMMANDS.get(done[0]) if done else None
        if command is None or command.name not in _FIELD_COMMANDS:
            return "", []
        words, _ = _split_options(command, done[1:])
        key, colon, value = before.partition(": ")
        if colon:
            value = _last_value(value.lstrip(" [")) if command.name == "sweep" else value
            return value.lstrip(" \"'"), self._choices(command, words, key.strip().strip("\"'"))
        fragment = before.lstrip()
        end = "" if fragment[:1] in {'"', "'"} else ": "
        return fragment.lstrip("\"'"), [f"{key}{end}" for key in _keys(self._workflow(command, words))]

    def _workflow(self, command: Command, plain: list[str]) -> Workflow | None:
        """Return the workflow of the line, if its fields are in memory."""
        if command.name not in _FIELD_COMMANDS or not plain or self._session.client is None:
            return None
        return self._session.client.connection.finder.recall(plain[0])

    def _workflow_names(self) -> list[str]:
        client = self._session.client
        if client is None:
            return self._session.catalogue.names()
        last = ["server:last"] if client.service.runs_graphs else []
        return [*client.connection.finder.names(), *last]

    def _choices(self, command: Command, plain: list[str], key: str) -> list[str]:
        """Return the values that complete a field of the workflow of the line."""
        workflow = self._workflow(command, plain)
        if workflow is None:
            return []
        try:
            fields = [workflow.fields[field_id] for field_id in workflow.find(key) if field_id in workflow.fields]
        except ComflowyError:
            return []
        words = [str(option) for one in fields for option in one.options]
        if any(one.is_seed for one in fields):
            words += ["random", "random#", "each"] if command.name == "sweep" else ["random"]
        if any(str(one.type) == "BOOLEAN" for one in fields):
            words += ["true", "false"]
        return words

    def _option_values(self, command: Command, option: Option, words: list[str]) -> list[str]:
        match option.names:
            case "axis":
                return [word.partition("=")[0] for word in words if "=" in word] or _keys(
                    self._workflow(command, words)
                )
            case "ref":
                return self._refs()
            case "workflow":
                return self._workflow_names()
        return list(option.choices)

    def _refs(self) -> list[str]:
        """Return the newest runs and sweeps of the history."""
        library = self._session.library
        runs, sweeps = library.runs(limit=_MAX_REFS), library.history.sweeps.recent(_MAX_REFS)
        names = [name for name in (*(run.record.name for run in runs), *(sweep.name for sweep in sweeps)) if name]
        return [*(sweep.ref for sweep in sweeps), *(run.ref for run in runs), *names, "last"]


def _keys(workflow: Workflow | None) -> list[str]:
    """Return the names of fields: aliases, names that only one field has, ids, and `all::`."""
    if workflow is None:
        return []
    counts = Counter(one.name for one in workflow.fields.values())
    unique = [name for name, count in counts.items() if count == 1]
    shared = [f"all::{name}" for name, count in counts.items() if count > 1]
    return [*workflow.aliases, *unique, *workflow.fields, *shared]


def _last_value(values: str) -> str:
    """Return the value being typed: the text after the last comma or `||`, without its quote."""
    return _AFTER_SEPARATOR.sub("", values).lstrip("\"'")


def _split_options(command: Command, words: list[str]) -> tuple[list[str], Option | None]:
    """Return the words without options and their values, and the option at the end whose value is missing."""
    kept = []
    pending: Option | None = None
    for word in words:
        if pending is not None:
            pending = None  # the word is its value
        elif word.startswith("--"):
            option = command.option(word)
            pending = option if option is not None and option.value is not None else None
        else:
            kept.append(word)
    return kept, pending
