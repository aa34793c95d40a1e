"""Complete `%comflowy` lines and `%%comflowy` bodies when the user presses Tab, without any request.

If nothing completes a word, the word itself is offered, so that IPython does not call other matchers: jedi would need
seconds for a line that is not Python.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from comflowy_nb.database.records import SweepRecord
from comflowy_nb.errors import ComflowyError
from comflowy_nb.images.save_target import PARTS
from comflowy_nb.notebook.magic_line.command_table import COMMANDS
from comflowy_nb.notebook.magic_line.completion_words import (
    AFTER_SEPARATOR,
    FOLDERS_ONLY,
    FROM_SUFFIXES,
    LOADED_SUFFIXES,
    condition_words,
    field_keys,
    file_words,
    input_words,
    is_around,
    last_value,
    name_words,
    names_command,
    option_values,
    quoted_paths,
    reference_words,
    remove_quotes,
    split_options,
    split_unfinished,
)
from comflowy_nb.services.targets import TARGET_KEYWORDS, read_names
from comflowy_nb.settings import home
from comflowy_nb.workflow.axes.table_file import TABLE_SUFFIXES
from comflowy_nb.workflow.axes.types import axes_from_json
from comflowy_nb.workflow.fields import FieldType
from comflowy_nb.workflow.images import IMAGE_SUFFIXES

try:
    from IPython.core.completer import SimpleCompletion, context_matcher
except ImportError:  # IPython 7, as on Google Colab
    context_matcher = None

if TYPE_CHECKING:
    from IPython.core.completer import CompletionContext

    from comflowy_nb.database.records import RunRecord
    from comflowy_nb.notebook.magic_line.option_types import Command, Option
    from comflowy_nb.notebook.session import Session
    from comflowy_nb.workflow.workflow import Workflow


_LINE = re.compile(r"^\s*(?:[\w, ]+=\s*)?%comflowy(?P<rest>\s.*)$", re.DOTALL)
_CELL = re.compile(r"^\s*%%comflowy(?P<rest>(?:\s.*)?)$")
_REF_COMMANDS = {"show", "compare", "explore", "rate", "cancel", "resume", "delete"}
_MAX_SWEEPS = 10  # the newest, whose columns are offered
_MAX_VALUE_CHARS = 60  # of a value that is offered
_FIELD_COMMANDS = {"run", "sweep", "form"}


class Completions:
    """The completion matcher of one session, registered in the completer of its shell."""

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
        # In IPython 7 the hook "complete_command" is not called on an empty line, and its words come after the words of
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
        """Return the completions in the form that IPython 7 requires: replacements of the last part of the word."""
        completer = self._session.shell.Completer
        before = completer.text_until_cursor
        text, line_number = self._read_request(line)
        fragment, words = self._find(text, line_number, before)
        start = max(0, len(fragment) - len(completer.splitter.split_line(before)))
        return [word[start:] for word in words if word.startswith(fragment)]

    def _read_request(self, line: str) -> tuple[str, int]:
        """Return the text of the whole cell and the number of the line, which IPython 7 does not pass to matchers.

        They are read from the completion request, which the kernel stores. In a terminal, the text is the line.
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
        is_known = False
        try:
            if magic is not None and line_number > 0:
                is_known = names_command(magic["rest"])
                fragment, words = self._in_body(magic["rest"], before)
            elif line := (magic and _CELL.match(before)) or _LINE.match(before):
                is_known = names_command(line["rest"])
                fragment, words = self._on_line(line["rest"])
            else:
                return "", []
        except (ComflowyError, OSError):  # the command reports a damaged catalogue
            return "", []
        matching = [word for word in dict.fromkeys(words) if word.lstrip("\"'").startswith(fragment)]
        return fragment, matching or ([fragment] if fragment and is_known else [])

    def _on_line(self, rest: str) -> tuple[str, list[str]]:
        done, fragment = split_unfinished(rest)
        if not done:
            return fragment, [f"{name} " for name in COMMANDS]
        command = COMMANDS.get(done[0])
        if command is None:
            return fragment, []
        words, pending = split_options(command, done[1:])
        name, equals, value = fragment.partition("=")
        if pending is None and equals and name.startswith("--"):
            pending, fragment = command.option(name), value
        if pending is not None:
            return self._option_value(command, pending, words, fragment, done)
        if name.startswith("--"):
            used = {word.partition("=")[0] for word in done}
            return fragment, [
                f"{option.name} " for option in command.options if option.repeats or option.name not in used
            ]
        plain = [remove_quotes(word).rstrip("\"'") for word in words if "=" not in word.split("/")[0]]
        plain = self._with_source(plain, done)
        if equals and "/" not in name:
            value = AFTER_SEPARATOR.sub("", value) if command.name == "sweep" else value
            return remove_quotes(value), quoted_paths(
                value, self._field_values(command, plain, name, remove_quotes(value))
            )
        typed = remove_quotes(fragment)
        words_here = self._positional(command, plain, typed)
        if command.name == "sweep" and is_around(done):
            words_here += field_keys(self._workflow(command, plain))  # `--around REF FIELDS` varies fields
        return typed, quoted_paths(fragment, words_here)

    def _positional(self, command: Command, plain: list[str], typed: str) -> list[str]:
        """Return the words that may follow `plain`, the words before the cursor without options and fields."""
        names = self._names(typed)
        if names is not None:
            return names
        if command.name in _REF_COMMANDS:
            files = file_words(typed, IMAGE_SUFFIXES) if command.name == "compare" and typed else []
            return [*self._refs(typed), *files]
        match command.name, len(plain):
            case "save", 0:
                return self._refs(typed)
            case "save", _:
                return [*file_words(typed, FOLDERS_ONLY), *(self._refs(typed) if typed else [])]
            case "load", 0:
                return file_words(typed, LOADED_SUFFIXES)
            case "runs", count:
                fields = [f"{name}=" for name in self._recent_names()]
                return [*(self._refs(typed) if not count else []), *fields, "rating="]
            case "connect", 0:
                return [*TARGET_KEYWORDS, *read_names(home())]
            case "help", 0:
                return list(COMMANDS)
        return self._workflow_words(command, plain, typed)

    def _workflow_words(self, command: Command, plain: list[str], typed: str) -> list[str]:
        """Return the names of workflows and fields that may follow `plain`."""
        match command.name, len(plain):
            case "workflow", 0:
                return ["add ", "alias ", "export ", "remove "]
            case "workflow", 1 if plain[0] == "remove":
                return self._session.catalogue.removable_names()
            case "workflow", 1:
                return [f"{name} " for name in self._workflow_names()]
            case ("run" | "sweep" | "form" | "fields", 0) | ("workflow", 2):
                files = file_words(typed, FROM_SUFFIXES) if typed else []
                return [*(f"{name} " for name in self._workflow_names()), *files]
            case "run" | "sweep" | "form", 1:
                return [f"{key}=" for key in field_keys(self._workflow(command, plain))]
        return []

    def _with_source(self, plain: list[str], words: list[str]) -> list[str]:
        """Return the plain words of a line, or the workflow of the run or the sweep in `--from` or `--around`."""
        source = self._source(words) if not plain or is_around(words) else None
        return plain if source is None else [source.workflow]

    def _source(self, words: list[str]) -> RunRecord | SweepRecord | None:
        """Return the run or the sweep in `--from` or `--around`."""
        for value in (*option_values(words, "--from"), *option_values(words, "--around")):
            with suppress(ComflowyError):
                what = self._session.library.find(value).what
                return what if isinstance(what, SweepRecord) else what.record
        return None

    def _columns(self, command: Command, words: list[str]) -> dict[str, list[str]]:
        """Return the known values of the labels and the columns of `--info` that a line can name, by name."""
        if command.name not in _FIELD_COMMANDS:
            return self._session.library.history.sweeps.known_columns(_MAX_SWEEPS)
        source = self._source(words)
        columns = axes_from_json(source.spec).columns if isinstance(source, SweepRecord) else {}
        names = [name.strip() for value in option_values(words, "--info") for name in value.split(",")]
        names += ["row", "label"] if option_values(words, "--table") else []
        return {name: [] for name in names} | columns

    def _in_body(self, rest: str, before: str) -> tuple[str, list[str]]:
        done, _ = split_unfinished(f"{rest} ")
        command = COMMANDS.get(done[0]) if done else None
        if command is None or command.name not in _FIELD_COMMANDS:
            return "", []
        words, _ = split_options(command, done[1:])
        words = self._with_source(words, done)
        key, colon, value = before.partition(": ")
        if colon:
            value = last_value(value.lstrip(" [")) if command.name == "sweep" else value
            typed = value.lstrip(" \"'")
            return typed, self._field_values(command, words, key.strip().strip("\"'"), typed)
        fragment = before.lstrip()
        end = "" if fragment[:1] in {'"', "'"} else ": "
        return fragment.lstrip("\"'"), [f"{key}{end}" for key in field_keys(self._workflow(command, words))]

    def _workflow(self, command: Command, plain: list[str]) -> Workflow | None:
        """Return the workflow of the line if it is in memory, else None."""
        if command.name not in _FIELD_COMMANDS or not plain or self._session.client is None:
            return None
        return self._session.client.connection.finder.find_cached(plain[0])

    def _workflow_names(self) -> list[str]:
        client = self._session.client
        if client is None:
            return self._session.catalogue.names()
        last = ["server:last"] if client.service.runs_graphs else []
        return [*client.connection.finder.names(), *last]

    def _field_values(self, command: Command, plain: list[str], key: str, typed: str) -> list[str]:
        """Return the values that complete a field: Python names, choices, files and images of runs."""
        names = self._names(typed)
        if names is not None:
            return names
        if command.name == "runs":
            return self._recent_values(key)
        if typed.startswith(("file:", "run:")):
            return input_words(self._session.library, typed)
        return self._choices(command, plain, key)

    def _choices(self, command: Command, plain: list[str], key: str) -> list[str]:
        """Return the values that complete a field of the workflow of the line."""
        workflow = self._workflow(command, plain)
        if workflow is None:
            return []
        try:
            fields = [workflow.fields[field_id] for field_id in workflow.find(key) if field_id in workflow.fields]
        except ComflowyError:
            return []
        words = [str(option) for field in fields for option in field.options]
        if any(field.is_seed for field in fields):
            words += ["random", "random#", "each"] if command.name == "sweep" else ["random"]
        if any(str(field.type) == "BOOLEAN" for field in fields):
            words += ["true", "false"]
        if any(field.type is FieldType.IMAGEUPLOAD for field in fields):
            words += input_words(self._session.library, "")
        return words

    def _option_value(
        self, command: Command, option: Option, words: list[str], typed: str, done: list[str]
    ) -> tuple[str, list[str]]:
        """Return the part of an option's value that is completed, and the words that complete it.

        Parameters
        ----------
        words
            The words of the line without options.
        done
            All complete words of the line.
        """
        value = remove_quotes(typed)
        words = self._with_source(words, done)
        names = self._names(value)
        if names is not None:
            return value, names
        if option.names == "lines":
            key, equals, path = value.partition("=")
            if not equals:
                return key, [f"{name}=" for name in field_keys(self._workflow(command, words))]
            return remove_quotes(path), quoted_paths(path, file_words(remove_quotes(path), None))
        if option.names in {"condition", "fields"}:
            columns = self._columns(command, done)
            fields = (
                field_keys(self._workflow(command, words)) if command.name in _FIELD_COMMANDS else self._recent_names()
            )
            axes = [word.partition("=")[0] for word in words if "=" in word]
            names = [*axes, *(key for key in fields if not key.startswith("all::")), *columns]
            if option.names == "fields":
                value = last_value(value)
                return value, quoted_paths(typed, names)
            return condition_words(
                value, names, lambda name: columns.get(name) or self._field_values(command, words, name, "")
            )
        if option.names in {"axes", "parts"}:
            value = last_value(value)
        return value, quoted_paths(typed, self._option_words(command, option, words, value))

    def _option_words(self, command: Command, option: Option, words: list[str], value: str) -> list[str]:
        match option.names:
            case "axis" | "axes":
                return [word.partition("=")[0] for word in words if "=" in word] or field_keys(
                    self._workflow(command, words)
                )
            case "parts":
                return list(PARTS)
            case "sweep axis":
                return self._axes_of(words)
            case "ref":
                return [*self._refs(value), *(file_words(value, FROM_SUFFIXES) if value else [])]
            case "table":
                return file_words(value, TABLE_SUFFIXES)
            case "file":
                return file_words(value, None)
            case "folder":
                return file_words(value, FOLDERS_ONLY)
            case "workflow":
                return self._workflow_names()
        return list(option.choices)

    def _axes_of(self, words: list[str]) -> list[str]:
        """Return the names of the axes of the first sweep among references, with and without their nodes."""
        for word in words:
            with suppress(ComflowyError):
                record = self._session.library.find(word).sweep
                if record is not None:
                    names = [str(axis.get("name", "")) for axis in record.spec.get("axes", ())]
                    return list(dict.fromkeys([*(name.partition("::")[2] or name for name in names), *names]))
        return []

    def _names(self, typed: str) -> list[str] | None:
        """Return the value completed with the names of variables, if a `{` is open."""
        shell = self._session.shell
        return name_words(typed, shell.user_ns, shell.user_ns_hidden)

    def _refs(self, typed: str) -> list[str]:
        return reference_words(self._session.library, typed)

    def _recent_names(self) -> list[str]:
        """Return the names and the ids of the fields of the newest runs."""
        ids = list(dict.fromkeys(key for params in self._session.library.history.recent_params() for key in params))
        return list(dict.fromkeys([*(field_id.partition("::")[2] for field_id in ids), *ids]))

    def _recent_values(self, key: str) -> list[str]:
        """Return the values that a field has in the newest runs."""
        found = [
            value if isinstance(value, str) else json.dumps(value)
            for params in self._session.library.history.recent_params()
            for name, value in params.items()
            if key in {name, name.partition("::")[2]} and isinstance(value, str | int | float)
        ]
        return [text for text in dict.fromkeys(found) if len(text) <= _MAX_VALUE_CHARS and "\n" not in text]
