"""Find the words that completion offers, and parse an unfinished line.

Each function executes a few SQL statements or reads one folder. None sends a request.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from contextlib import suppress
from itertools import islice, pairwise
from typing import TYPE_CHECKING

from comflowy_nb.errors import ComflowyError
from comflowy_nb.notebook.magic_line.command_table import COMMANDS
from comflowy_nb.workflow.images import IMAGE_SUFFIXES, natural_order
from comflowy_nb.workflow.syntax.conditions import unfinished_word
from comflowy_nb.workflow.syntax.line import SPACE, closing_quote
from comflowy_nb.workflow.syntax.ranges import is_number

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping

    from comflowy_nb.library import Library
    from comflowy_nb.notebook.magic_line.option_types import Command, Option
    from comflowy_nb.workflow.workflow import Workflow

FROM_SUFFIXES = IMAGE_SUFFIXES | {".json"}
LOADED_SUFFIXES = frozenset({".zip", ".json"})
FOLDERS_ONLY: frozenset[str] = frozenset()

AFTER_SEPARATOR = re.compile(r".*(?:,|\|\|)\s*", re.DOTALL)
_MAX_FILES = 200  # the user types one more character for the others
_MAX_ENTRIES = 50_000  # maximum number of entries to read in a folder
_KEY = re.compile(rf"[^={SPACE}\"']*=?")
_CELL = re.compile(r"(?P<sweep>[^.:\[\]]+)\.(?P<digits>[0-9]*)")
_IMAGE = re.compile(r"(?P<run>[^:\[\]]+)(?::[^\[\]]*)?(?:\[[0-9]*\]?)?")


def split_unfinished(text: str) -> tuple[list[str], str]:
    """Split a line into its complete words and the last word, which may be empty or have an open quote.

    Examples
    --------
    >>> split_unfinished('run default text="a cat" image=file:ph')
    (['run', 'default', 'text="a cat"'], 'image=file:ph')
    >>> split_unfinished('run default text="a c')
    (['run', 'default'], 'text="a c')
    """
    words: list[str] = []
    at = 0
    while True:
        while at < len(text) and text[at] in SPACE:
            at += 1
        start = at
        found = _KEY.match(text, at)
        at = found.end() if found is not None else at
        while at < len(text) and text[at] not in SPACE:
            is_open = text[at] in "\"'" and (at == start or text[at - 1] in "=,|")
            close = closing_quote(text, at) if is_open else at
            if close is None:
                return words, text[start:]
            at = close + 1
        if at >= len(text):
            return words, text[start:]
        words.append(text[start:at])


def remove_quotes(value: str) -> str:
    """Return a value without its opening quote and, if there is one, its closing quote."""
    return value[1:] if value[:1] in {'"', "'"} else value


def option_values(words: list[str], name: str) -> list[str]:
    """Return the values of an option in a line, `--name VALUE` and `--name=VALUE`, without their quotes."""
    after = [word for option, word in pairwise(words) if option == name]
    values = [*(word.partition("=")[2] for word in words if word.startswith(f"{name}=")), *after]
    return [remove_quotes(value).rstrip("\"'") for value in values]


def split_options(command: Command, words: list[str]) -> tuple[list[str], Option | None]:
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


# -- references -----------------------------------------------------------------------------------------------------


def reference_words(library: Library, typed: str) -> list[str]:
    """Return the references that begin with the typed text: runs, sweeps, names and ids.

    After `NAME.`, return the cells of a sweep; after `[` or `:`, the images of a run. There are at most 100 of each
    kind, the newest first.
    """
    if "[" in typed or ":" in typed:
        return _image_words(library, typed)
    cell = _CELL.fullmatch(typed)
    if cell is not None:
        return _cell_words(library, cell["sweep"], cell["digits"])
    return [*library.history.reference_words(typed), "last"]


def _cell_words(library: Library, name: str, digits: str) -> list[str]:
    with suppress(ComflowyError):
        sweep = library.find(name).sweep
        if sweep is not None:
            return [f"{name}.{number}" for number in library.history.cell_words(sweep.token, digits)]
    return []


def _image_words(library: Library, typed: str) -> list[str]:
    found = _IMAGE.fullmatch(typed)
    words: list[str] = []
    with suppress(ComflowyError):
        for image in library.find(found["run"]).run.images if found is not None else ():
            words.append(f"{found['run']}[{image.record.index}]")  # type: ignore[index]  # there is one
            if image.record.node is not None:
                words.append(f"{found['run']}:{image.record.node}[{image.record.node_index}]")  # type: ignore[index]
    return words


def input_words(library: Library, typed: str) -> list[str]:
    """Return the values of an image field that begin with the typed text: `file:PATH` and `run:REF`."""
    if typed.startswith("file:"):
        return [f"file:{word}" for word in file_words(typed.removeprefix("file:"), IMAGE_SUFFIXES)]
    if typed.startswith("run:"):
        return [f"run:{word}" for word in reference_words(library, typed.removeprefix("run:"))]
    return ["file:", "run:"]


# -- files ----------------------------------------------------------------------------------------------------------


def file_words(typed: str, suffixes: Collection[str] | None) -> list[str]:
    """Return at most 200 files and folders that begin with the typed text, in natural order (`a2` before `a10`).

    Parameters
    ----------
    typed
        The beginning of a path, as typed. `~` is the home folder of the user. Folders end with `/`.
    suffixes
        Only files with one of these suffixes; None allows all.
    """
    folder, name = _split_path(typed)
    if folder.startswith(("//", "\\\\")):  # on Windows the folder of another computer
        return []
    words: list[str] = []
    try:
        with os.scandir(os.path.expanduser(folder) or ".") as entries:  # noqa: PTH111 - the text is kept as typed
            for entry in islice(entries, _MAX_ENTRIES):
                if not entry.name.startswith(name) or (entry.name.startswith(".") and not name):
                    continue
                suffix = os.path.splitext(entry.name)[1].lower()  # noqa: PTH122 - one of thousands
                is_folder = entry.is_dir()
                if is_folder or suffixes is None or suffix in suffixes:
                    words.append(f"{folder}{entry.name}{'/' if is_folder else ''}")
    except (OSError, ValueError):
        return []
    return sorted(words, key=natural_order)[:_MAX_FILES]


def _split_path(typed: str) -> tuple[str, str]:
    """Split a path into its folder, with the separator, and the beginning of a name."""
    end = max(typed.rfind(separator) for separator in filter(None, (os.sep, os.altsep))) + 1
    return typed[:end], typed[end:]


# -- conditions -----------------------------------------------------------------------------------------------------

_OPERATORS = {
    "operator": ["=", "!=", "<", "<=", ">", ">=", "in ", "not in ", "contains "],
    "connective": ["and ", "or "],
}
_BARE_WORD = re.compile(r"[^\W\d][\w.-]*")
_BARE_NAME = re.compile(rf"\w+::\w+|{_BARE_WORD.pattern}")


def condition_words(
    typed: str, names: Iterable[str], values_of: Callable[[str], Iterable[str]]
) -> tuple[str, list[str]]:
    """Return the unfinished word of a condition, and the words that complete it: names, operators or values.

    Parameters
    ----------
    typed
        The beginning of the condition, without the quote around it.
    values_of
        Return the values of a name that are known.
    """
    word, expected, name = unfinished_word(typed)
    if expected in _OPERATORS:
        return word, _OPERATORS[expected]
    if expected == "name":
        return word, [name if _BARE_NAME.fullmatch(name) and word[:1] != "`" else f"`{name}`" for name in names]
    values = [] if name is None else list(values_of(name))
    if word[:1] in {"'", '"'}:
        return word[1:], values
    quoted = {value: value if _BARE_WORD.fullmatch(value) or is_number(value) else f"'{value}'" for value in values}
    return word, [text for value, text in quoted.items() if "'" not in value]


# -- Python names ---------------------------------------------------------------------------------------------------


def name_words(value: str, namespace: Mapping[str, object], hidden: Collection[str] = ()) -> list[str] | None:
    """Return the value with its open `{` completed by names of variables; None if it has no open `{`.

    Parameters
    ----------
    hidden
        Names that are not offered, such as those that IPython defines.
    """
    before, brace, name = value.rpartition("{")
    if not brace or "}" in name or (name and not name.isidentifier()):
        return None
    names = [
        candidate
        for candidate in namespace
        if candidate.startswith(name) and not candidate.startswith("_") and candidate not in hidden
    ]
    return [f"{before}{{{candidate}}}" for candidate in sorted(names)]


def is_around(words: list[str]) -> bool:
    """Return True if a line has `--around`, whose words are names of fields."""
    return any(word.partition("=")[0] == "--around" for word in words)


def names_command(rest: str) -> bool:
    """Return True if a line contains a command and text after it."""
    name, space, _ = rest.strip().partition(" ")
    return name in COMMANDS and bool(space)


def quoted_paths(typed: str, words: list[str]) -> list[str]:
    """Put quotes around the words that contain spaces, unless a quote is already open."""
    if typed[:1] in {'"', "'"}:
        return words
    return [f'"{word}"' if " " in word.rstrip() else word for word in words]


def field_keys(workflow: Workflow | None) -> list[str]:
    """Return the names of fields: aliases, names that only one field has, ids, and `all::`."""
    if workflow is None:
        return []
    counts = Counter(field.name for field in workflow.fields.values())
    unique = [name for name, count in counts.items() if count == 1]
    shared = [f"all::{name}" for name, count in counts.items() if count > 1]
    return [*workflow.aliases, *unique, *workflow.fields, *shared]


def last_value(values: str) -> str:
    """Return the value being typed: the text after the last comma or `||`, without its quote."""
    return AFTER_SEPARATOR.sub("", values).lstrip("\"'")
