"""The table of the commands of `%comflowy`. Parsing, help, completion and errors are derived from it."""

from __future__ import annotations

import inspect
import keyword
import re
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from IPython.core.error import UsageError

from comflowy_nb.errors import SettingsError, nearest_tip
from comflowy_nb.images.save_target import PARTS, kind_of_target
from comflowy_nb.status import Status
from comflowy_nb.workflow.syntax.line import expand_ref, expand_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from comflowy_nb.notebook.session import Session
    from comflowy_nb.workflow.syntax.line import Word


_DURATION = re.compile(r"(\d+(?:\.\d+)?|\.\d+)([smhd]?)")
_UNIT_S = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_RESERVED_NAME = re.compile(r"last|[rs]\d+")


def duration_s(text: str) -> float:
    """Parse a duration such as `30`, `30s`, `5m`, `2h` or `30d`; return seconds.

    Raises
    ------
    ValueError
        If the text is not a duration. The message says what is accepted.
    """
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError("use 30, 30s, 5m, 2h or 30d")
    return float(found[1]) * _UNIT_S[found[2]]


def _whole_from(minimum: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < minimum:
            raise ValueError(f"use a whole number, {minimum} or greater")
        return int(text)

    return parse


def _name(text: str) -> str:
    if _RESERVED_NAME.fullmatch(text) or keyword.iskeyword(text):
        raise ValueError("it is reserved; use another name")
    if not text.isidentifier():
        raise ValueError("use a Python identifier, such as cats2 (not last, r1 or s1)")
    return text


def _save_target(text: str) -> str:
    kind_of_target(Path(text).expanduser())  # raises for a kind of file that can't be written
    return text


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _field_file(text: str) -> tuple[str, str]:
    key, sign, path = text.partition("=")
    if not (sign and key and path):
        raise ValueError("use FIELD=FILE, as in 6::text=prompts.txt")
    return key, path


@dataclass(frozen=True, slots=True)
class Option:
    """An option of a command, such as `--as NAME`. An option without `value` is a flag.

    `names` is the kind of names that completion offers as value. For references and tables, `{name}` passes the Python
    object itself. An option with `repeats` may be typed several times; its value is a list.
    """

    name: str
    value: str | None
    help: str
    parse: Callable[[str], Any] = str
    choices: tuple[str, ...] = ()
    names: (
        Literal[
            "axes",
            "axis",
            "condition",
            "fields",
            "file",
            "folder",
            "lines",
            "parts",
            "ref",
            "sweep axis",
            "table",
            "workflow",
        ]
        | None
    ) = None
    repeats: bool = False

    @property
    def key(self) -> str:
        return self.name.removeprefix("--")

    @property
    def accepted(self) -> str:
        """The choices as text: `failed, unknown, all or none`."""
        return " or ".join([", ".join(self.choices[:-1]), *self.choices[-1:]])

    def read(self, text: str, namespace: Mapping[str, Any]) -> Any:
        """Return the value of the option.

        Raises
        ------
        UsageError
            If the text is invalid. The message says what is accepted.
        """
        if self.names in {"ref", "table"}:
            return expand_ref(text, namespace)
        expanded = expand_text(text, namespace)
        if self.choices and expanded not in self.choices:
            raise UsageError(f"invalid {self.name} {text!r}: use {self.accepted}")
        try:
            return self.parse(expanded)
        except (ValueError, SettingsError) as error:
            raise UsageError(f"invalid {self.name} {text!r}: {error}") from None


@dataclass(frozen=True, slots=True)
class Command:
    """A command: its usage, its options, and the function that executes it."""

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

_AS = Option("--as", "NAME", "assign the result to this variable; also its name in the history", _name)
_FROM = Option("--from", "REF|IMAGE", "start from the workflow and values of a run or image", names="ref")
_FIELDS = Option("--fields", "FILE", "an API-format graph that describes the fields", names="file")
_LABEL = Option("--label", "FIELDS", "fields for the captions, separated by commas", _list, names="fields")
_YES = Option("--yes", None, "do not ask")
_OVERWRITE = Option("--overwrite", None, "replace a file that has another content")
_SUBMIT = (
    _AS,
    _FROM,
    Option("--fresh", None, "run it again even if it has succeeded"),
    Option("--retry", "WHICH", "which unsuccessful runs to submit again, default failed", choices=_RETRY),
    Option("--background", None, "return at once; the output is still updated"),
    Option("--timeout", "TIME", "wait at most 30, 30s, 5m, 2h; the run continues", duration_s),
    Option(
        "--save",
        "DIR",
        "also save copies: a folder, NAME.zip or, for one image, NAME.png",
        _save_target,
        names="folder",
    ),
    _LABEL,
)

COMMANDS: Mapping[str, Command] = {
    command.name: command
    for command in (
        Command(
            "connect", "connect [NAME=]TARGET", "connect to sandbox, cloud, comfyui or an address",
            "connect:connect", words=(0, 1), has_fields=True,
        ),
        Command("login", "login", "ask for the API key, hidden while you type", "connect:login"),
        Command("logout", "logout", "delete the stored API key and disconnect", "connect:logout"),
        Command("workflows", "workflows", "list the workflows", "workflows:workflows"),
        Command(
            "workflow",
            "workflow add NAME ID|URL|FILE|IMAGE|server:last  or  workflow alias NAME WORD=FIELD  or  "
            "workflow export NAME FILE.json  or  workflow remove NAME",
            "name a workflow, alias a field, export a graph, remove a name", "workflows:workflow",
            (_FIELDS, _OVERWRITE), words=(1, 3), has_fields=True,
        ),
        Command(
            "fields",
            "fields WORKFLOW",
            "show id, type, default and choices of a workflow's fields",
            "workflows:fields",
            (_FIELDS,), words=(1, 1), has_body=True,
        ),
        Command(
            "run", "run WORKFLOW [FIELD=VALUE ...]", "run a workflow and show its images", "run:run",
            (
                *_SUBMIT,
                Option("--count", "N", "run it N times, each with another seed", _whole_from(1)),
                Option("--max-runs", "N", "with --count: permit up to N submits", _whole_from(0)),
            ),
            words=(0, 1), has_fields=True, has_body=True,
        ),
        Command(
            "sweep",
            "sweep WORKFLOW|FILE.yaml [FIELD=VALUES ...]  or  sweep --around REF [FIELDS]",
            "run a workflow for all combinations of values, in a labelled grid",
            "sweep:sweep",
            (
                *_SUBMIT,
                Option("--around", "REF", "vary the numbers of a cell again, nearer to it; name FIELDS", names="ref"),
                Option("--x", "FIELD", "axis of the columns (the first)", names="axis"),
                Option("--y", "FIELD", "axis of the rows (the second)", names="axis"),
                Option("--z", "FIELD", "axis of several grids (the third)", names="axis"),
                Option("--table", "FILE", "one cell for each row: .csv, .tsv, .jsonl, .parquet or {df}", names="table"),
                Option("--info", "COLUMNS", "columns of the table that are not fields", _list),
                Option("--empty", "WHAT", "meaning of an empty value in a CSV table", choices=("missing", "text")),
                Option(
                    "--lines", "FIELD=FILE", "one value for each line of a file", _field_file,
                    names="lines", repeats=True,
                ),
                Option("--zip", "AXES", "axes that vary together: cfg,steps", _list, names="axes", repeats=True),
                Option(
                    "--where", "CONDITION", 'only these combinations: "cfg < 6 or steps > 20"', names="condition"
                ),
                Option("--sample", "N", "only N of the combinations", _whole_from(1)),
                Option("--sample-seed", "K", "number that changes the choice of --sample", _whole_from(0)),
                Option("--dry-run", None, "show the plan and the grid; submit nothing"),
                Option("--max-runs", "N", "permit up to N submits", _whole_from(0)),
                Option("--stop-after", "N", "stop after N failures in a row (default 3; 0: never)", _whole_from(0)),
                Option("--window", "N", "at most N runs at once", _whole_from(1)),
                Option("--strict", None, "raise if a cell did not succeed"),
                Option("--node", "ID", "show the images of this node"),
                Option("--image", "K", "show only the image with this index, from 0", _whole_from(0)),
                Option("--export", "FILE", "write a file for comflowy-nb sweep; submit nothing", names="file"),
                Option("--pin", None, "with --export: also write the generated seeds"),
                _OVERWRITE,
            ),
            words=(0, 1), has_fields=True, has_body=True,
        ),
        Command(
            "form", "form WORKFLOW [FIELD=VALUE ...]", "fill in and run a workflow with mouse or keyboard",
            "run:form", (_AS, _FROM), words=(0, 1), has_fields=True,
        ),
        Command(
            "sweeps", "sweeps [TEXT]", "search earlier sweeps", "list_sweeps:sweeps",
            (
                Option("--where", "CONDITION", 'only sweeps with such a cell: "rating >= 4"'),
                Option("--since", "TIME", "only sweeps of the last 2h, 30d ...", duration_s),
                Option("--limit", "N", "at most N sweeps (default 20)", _whole_from(1)),
            ),
            words=(0, None),
        ),
        Command(
            "runs", "runs [TEXT] [FIELD=VALUES ...] [CONDITION ...]", "search earlier runs", "list_runs:runs",
            (
                Option(
                    "--where", "CONDITION", 'only runs with these values: "cfg < 6 or rating >= 4"', names="condition"
                ),
                Option("--cells", None, "list the runs of a sweep as separate rows"),
                Option("--since", "TIME", "only runs of the last 2h, 30d ...", duration_s),
                Option("--status", "STATUS", "only runs with this status", choices=tuple(map(str, Status))),
                Option("--workflow", "NAME", "only runs of this workflow", names="workflow"),
                Option("--limit", "N", "at most N rows (default 20)", _whole_from(1)),
            ),
            words=(0, None), has_fields=True,
        ),
        Command(
            "show", "show REF ...", "show runs and sweeps again, with their images", "runs:show",
            (
                Option("--page", "N", "page N of a sweep with several pages", _whole_from(1)),
                _LABEL,
                Option("--refetch", None, "fetch the originals that were pruned or are damaged"),
            ),
            words=(1, None),
        ),
        Command(
            "compare", "compare REF REF ...", "compare 2 to 9 images: slider, blink, side by side, difference",
            "runs:compare",
            (
                Option("--mode", "MODE", "the initial mode", choices=_MODES),
                _LABEL,
                Option("--save", "FILE.html", "also write it as one HTML page that works offline", names="file"),
                _OVERWRITE,
            ),
            words=(1, None),
        ),
        Command(
            "explore", "explore REF ...  or  explore --since TIME --where CONDITION",
            "step through the images of sweeps or runs, rate and compare them", "explore:explore",
            (
                Option("--where", "CONDITION", 'show only these: "cfg < 6 and rating >= 3"'),
                Option("--since", "TIME", "without REF: runs of the last 2h, 30d ...", duration_s),
                Option("--x", "FIELD", "spread this axis over columns"),
                Option("--y", "FIELD", "spread this axis over rows"),
                Option("--max-runs", "N", "permit up to N submits of missing or failed cells", _whole_from(0)),
                Option("--as", "NAME", "assign the explorer to this variable", _name),
            ),
            words=(0, None),
        ),
        Command(
            "rate", "rate REF ... [0-5]", "rate images from 1 to 5, reject them, or write a note", "rate:rate",
            (
                Option("--note", "TEXT", "a note about the image; an empty text removes it"),
                Option("--reject", None, "reject the image"),
            ),
            words=(1, None),
        ),
        Command(
            "save", "save REF ... TARGET [FIELD=VALUE ...]",
            "save copies (a folder), NAME.zip to load elsewhere, a page (NAME.html), a figure or an animation",
            "share:save",
            (
                Option(
                    "--without", "PARTS", f"leave out: {', '.join(PARTS)}", _list, names="parts"
                ),
                Option("--full", None, "page: embed the images in full size"),
                Option("--along", "AXIS", "NAME.gif, NAME.webp: the axis that the frames follow", names="sweep axis"),
                Option("--duration", "TIME", "animation: duration of a frame, default 0.5s", duration_s),
            ),
            words=(2, None), has_fields=True,
        ),
        Command(
            "load", "load FILE", "add what another person has saved (NAME.zip) or rated (ratings.json)", "share:load",
            (Option("--by", "NAME", "who sent it; marks the ratings"),), words=(1, 1),
        ),
        Command("cancel", "cancel REF ...", "cancel runs that are not done", "runs:cancel", words=(1, None)),
        Command("resume", "resume [REF ...]", "continue to track unfinished runs", "runs:resume", words=(0, None)),
        Command("disk", "disk", "show the disk usage of the home folder", "cleanup:disk"),
        Command(
            "prune", "prune --older TIME", "remove the originals of old runs; keep history and thumbnails",
            "cleanup:prune",
            (
                Option("--older", "TIME", "minimum age of the runs: 60d, 12h ...", duration_s),
                Option("--dry-run", None, "show what would be removed; remove nothing"),
                Option("--all", None, "also remove what is named, rated or noted, and inputs of other runs"),
                _YES,
            ),
        ),
        Command(
            "delete", "delete REF ...", "delete runs and sweeps: history, images and thumbnails", "cleanup:delete",
            (Option("--dry-run", None, "show what would be deleted; delete nothing"), _YES), words=(1, None),
        ),
        Command("help", "help [COMMAND]", "show this help, or that of one command", "help:show_help", words=(0, 1)),
    )
}  # fmt: skip
BARE = Command("", "", "show the connection and recent runs", "connect:overview")


@dataclass(frozen=True, slots=True)
class Request:
    """A parsed line, with the body of its cell and the Python variables for `{name}`."""

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
        """Return the text of a reference; the Python object for exactly `{name}` or `{name.attribute}`."""
        return expand_ref(word.text, self.namespace)

    def refs(self, words: Sequence[Word] | None = None) -> list[Any]:
        """Return the references that words are, by default all; a Python list counts as its items.

        Raises
        ------
        UsageError
            If a list is empty.
        """
        found: list[Any] = []
        for word in self.words if words is None else words:
            ref = self.ref(word)
            items = list(ref) if isinstance(ref, list | tuple) else [ref]
            if not items:
                raise UsageError(f"{word.raw} is an empty list, so it names no run")
            found += items
        return found

    def arguments_for(self, function: Callable[..., object]) -> dict[str, Any]:
        """Return the typed options that are parameters of a function, as keyword arguments."""
        return self.arguments(*(name.replace("_", "-") for name in inspect.signature(function).parameters))

    def arguments(self, *options: str) -> dict[str, Any]:
        """Return the options with these names that were typed, as keyword arguments."""
        return {key.replace("-", "_"): self.options[key] for key in options if key in self.options}


def execute(session: Session, request: Request) -> Any:
    """Execute a command. Its module is imported here, so that the extension loads quickly."""
    module, _, function = request.command.handler.partition(":")
    return getattr(import_module(f"comflowy_nb.notebook.commands.{module}"), function)(session, request)


def find_command(name: str) -> Command:
    """Return a command.

    Raises
    ------
    UsageError
        If there is no such command. The message names the nearest ones.
    """
    if name not in COMMANDS:
        raise UsageError(f"unknown command {name!r}{nearest_tip(name, COMMANDS) or '.'} %comflowy help lists them")
    return COMMANDS[name]
