"""The table of the commands of `%comflowy`. Parsing, help, completion and errors are derived from it."""

from __future__ import annotations

import inspect
import time
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, get_args

from IPython.core.error import UsageError

from comflowy_nb.errors import nearest_tip
from comflowy_nb.images.save_target import PARTS
from comflowy_nb.notebook.option_types import (
    Command,
    Option,
    duration_s,
    field_file,
    identifier,
    names_list,
    save_target,
    whole_from,
)
from comflowy_nb.status import Retry, Status
from comflowy_nb.workflow.syntax.line import expand_ref, expand_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from comflowy_nb.notebook.session import Session
    from comflowy_nb.workflow.syntax.line import Word


MODES = ("slider", "blink", "side", "difference")  # of a comparison

_AS = Option("--as", "NAME", "assign the result to this variable, and name it so in the history", identifier)
_FROM = Option("--from", "REF|IMAGE", "start from the workflow and values of a run or image", names="ref")
_FIELDS = Option("--fields", "FILE", "an API-format graph that describes the fields", names="file")
_LABEL = Option("--label", "FIELDS", "fields for the captions, separated by commas", names_list, names="fields")
_YES = Option("--yes", None, "do not ask")
_OVERWRITE = Option("--overwrite", None, "replace a file with other content")
_SUBMIT = (
    _AS,
    _FROM,
    Option("--fresh", None, "run it again even if it has succeeded"),
    Option("--retry", "WHICH", "which unsuccessful runs to submit again, default failed", choices=get_args(Retry)),
    Option("--background", None, "return at once; the output is still updated"),
    Option("--timeout", "TIME", "wait at most 30, 30s, 5m, 2h; the run continues", duration_s),
    Option(
        "--save",
        "DIR",
        "also save copies: a folder, NAME.zip or, for one image, NAME.png",
        save_target,
        names="folder",
    ),
    _LABEL,
)

COMMANDS: Mapping[str, Command] = {
    command.name: command
    for command in (
        Command(
            "connect", "connect [NAME=]TARGET", "connect to sandbox, cloud, comfyui or an address",
            "connect:connect",
            (Option("--webhooks", "URL", "public address through which the service reports progress"),),
            words=(0, 1), has_fields=True,
        ),
        Command("login", "login", "ask for the API key, hidden while you type", "connect:login"),
        Command("logout", "logout", "delete the stored API key and disconnect", "connect:logout"),
        Command(
            "webhooks", "webhooks", "test whether the events of a service reach this kernel", "webhooks:webhooks"
        ),
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
                Option("--count", "N", "run it N times with different seeds", whole_from(1)),
                Option("--max-runs", "N", "with --count: permit up to N submits", whole_from(0)),
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
                Option("--around", "REF", "vary the numbers of a cell again, nearer to its values", names="ref"),
                Option("--x", "FIELD", "axis of the columns (the first)", names="axis"),
                Option("--y", "FIELD", "axis of the rows (the second)", names="axis"),
                Option("--z", "FIELD", "axis of several grids (the third)", names="axis"),
                Option("--table", "FILE", "one cell for each row: .csv, .tsv, .jsonl, .parquet or {df}", names="table"),
                Option("--info", "COLUMNS", "columns of the table that are not fields", names_list),
                Option("--empty", "WHAT", "meaning of an empty value in a CSV table", choices=("missing", "text")),
                Option(
                    "--lines", "FIELD=FILE", "one value for each line of a file", field_file,
                    names="lines", repeats=True,
                ),
                Option("--zip", "AXES", "axes that vary together: cfg,steps", names_list, names="axes", repeats=True),
                Option(
                    "--where", "CONDITION", 'only these combinations: "cfg < 6 or steps > 20"', names="condition"
                ),
                Option("--sample", "N", "only N of the combinations", whole_from(1)),
                Option("--sample-seed", "K", "another number selects another sample", whole_from(0)),
                Option("--dry-run", None, "show the plan and the grid; submit nothing"),
                Option("--max-runs", "N", "permit up to N submits", whole_from(0)),
                Option("--stop-after", "N", "stop after N failures in a row (default 3; 0: never)", whole_from(0)),
                Option("--window", "N", "at most N runs at once", whole_from(1)),
                Option("--strict", None, "raise if a cell did not succeed"),
                Option("--node", "ID", "show the images of this node"),
                Option("--image", "K", "show only the image with this index, from 0", whole_from(0)),
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
            "sweeps", "sweeps [TEXT]", "search earlier sweeps", "runs:sweeps",
            (
                Option("--where", "CONDITION", 'only sweeps with a matching cell: "rating >= 4"'),
                Option("--since", "TIME", "only sweeps of the last 2h, 30d ...", duration_s),
                Option("--limit", "N", "at most N sweeps (default 20)", whole_from(1)),
            ),
            words=(0, None),
        ),
        Command(
            "runs", "runs [TEXT] [FIELD=VALUES ...] [CONDITION ...]", "search earlier runs", "runs:runs",
            (
                Option(
                    "--where", "CONDITION", 'only runs with these values: "cfg < 6 or rating >= 4"', names="condition"
                ),
                Option("--cells", None, "list the runs of a sweep as separate rows"),
                Option("--since", "TIME", "only runs of the last 2h, 30d ...", duration_s),
                Option("--status", "STATUS", "only runs with this status", choices=tuple(map(str, Status))),
                Option("--workflow", "NAME", "only runs of this workflow", names="workflow"),
                Option("--limit", "N", "at most N rows (default 20)", whole_from(1)),
            ),
            words=(0, None), has_fields=True,
        ),
        Command(
            "show", "show REF ...", "show runs and sweeps again, with their images", "show:show",
            (
                Option("--page", "N", "page N of a sweep with several pages", whole_from(1)),
                _LABEL,
                Option("--refetch", None, "fetch the originals that were pruned or are damaged"),
            ),
            words=(1, None),
        ),
        Command(
            "compare", "compare REF REF ...", "compare 2 to 9 images: slider, blink, side by side, difference",
            "show:compare",
            (
                Option("--mode", "MODE", "the initial mode", choices=MODES),
                _LABEL,
                Option("--save", "FILE.html", "also write it as one HTML page that works offline", names="file"),
                _OVERWRITE,
            ),
            words=(1, None),
        ),
        Command(
            "explore", "explore REF ...  or  explore --since TIME --where CONDITION",
            "step through the images of sweeps or runs, rate and compare them", "show:explore",
            (
                Option("--where", "CONDITION", 'show only matching cells: "cfg < 6 and rating >= 3"'),
                Option("--since", "TIME", "without REF: runs of the last 2h, 30d ...", duration_s),
                Option("--x", "FIELD", "spread this axis over columns"),
                Option("--y", "FIELD", "spread this axis over rows"),
                Option("--max-runs", "N", "permit up to N submits of missing or failed cells", whole_from(0)),
                Option("--as", "NAME", "assign the explorer to this variable", identifier),
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
            "save a folder, a zip file, an HTML page, a figure or an animation",
            "share:save",
            (
                Option(
                    "--without", "PARTS", f"leave out: {', '.join(PARTS)}", names_list, names="parts"
                ),
                Option("--full", None, "page: embed the images in full size"),
                Option("--along", "AXIS", "NAME.gif, NAME.webp: the axis of the frames", names="sweep axis"),
                Option("--duration", "TIME", "animation: duration of a frame, default 0.5s", duration_s),
            ),
            words=(2, None), has_fields=True,
        ),
        Command(
            "load", "load FILE", "load a shared archive (NAME.zip) or shared ratings (ratings.json)", "share:load",
            (Option("--by", "NAME", "name of the person who made the ratings"),), words=(1, 1),
        ),
        Command("cancel", "cancel REF ...", "cancel unfinished runs", "resume:cancel", words=(1, None)),
        Command("resume", "resume [REF ...]", "continue to track unfinished runs", "resume:resume", words=(0, None)),
        Command("disk", "disk", "show the disk usage of the home folder", "cleanup:disk"),
        Command(
            "prune", "prune --older TIME", "remove the originals of old runs; keep history and thumbnails",
            "cleanup:prune",
            (
                Option("--older", "TIME", "minimum age of the runs: 60d, 12h ...", duration_s),
                Option("--dry-run", None, "only show what would be removed"),
                Option("--all", None, "also runs with a name, rating or note, and inputs of other runs"),
                _YES,
            ),
        ),
        Command(
            "delete", "delete REF ...", "delete runs and sweeps: history, images and thumbnails", "cleanup:delete",
            (Option("--dry-run", None, "only show what would be deleted"), _YES), words=(1, None),
        ),
        Command("help", "help [COMMAND]", "show this help, or the help of one command", "help:show_help", words=(0, 1)),
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

    @property
    def since(self) -> float | None:
        """The time that was `--since` ago, in UTC seconds since 1970; None without this option."""
        return time.time() - self.options["since"] if "since" in self.options else None

    def text(self, word: Word) -> str:
        """Return the text of a WORKFLOW, REF or DIR."""
        return expand_text(word.text, self.namespace)

    def ref(self, word: Word) -> Any:
        """Return the text of a reference; the Python object for exactly `{name}` or `{name.attribute}`."""
        return expand_ref(word.text, self.namespace)

    def items(self, word: Word) -> list[Any]:
        """Return the items of a reference that is a Python list, else the reference alone."""
        ref = self.ref(word)
        return list(ref) if isinstance(ref, list | tuple) else [ref]

    def refs(self) -> list[Any]:
        """Return the words as references. A Python list counts as its items.

        Raises
        ------
        UsageError
            If a list is empty.
        """
        found: list[Any] = []
        for word in self.words:
            items = self.items(word)
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
