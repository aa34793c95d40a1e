"""The table of the commands of `%comflowy` and their options. Parsing, help, completion and errors use it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from IPython.core.error import UsageError

from comflowy_nb.errors import nearest_tip
from comflowy_nb.images.save_target import PARTS
from comflowy_nb.notebook.magic_line.option_types import (
    Command,
    Option,
    duration_s,
    identifier,
    names_list,
    whole_from,
)
from comflowy_nb.notebook.magic_line.sweep_options import AS, FROM, LABEL, OVERWRITE, RUN_OPTIONS, SWEEP_OPTIONS
from comflowy_nb.status import Status

if TYPE_CHECKING:
    from collections.abc import Mapping


MODES = ("slider", "blink", "side", "difference")  # of a comparison

_FIELDS = Option("--fields", "FILE", "an API-format graph that describes the fields", names="file")
_YES = Option("--yes", None, "do not ask")

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
            (_FIELDS, OVERWRITE), words=(1, 3), has_fields=True,
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
            RUN_OPTIONS,
            words=(0, 1), has_fields=True, has_body=True,
        ),
        Command(
            "sweep",
            "sweep WORKFLOW|FILE.yaml [FIELD=VALUES ...]  or  sweep --around REF [FIELDS]",
            "run a workflow for all combinations of values, in a labelled grid",
            "sweep:sweep",
            SWEEP_OPTIONS,
            words=(0, 1), has_fields=True, has_body=True,
        ),
        Command(
            "form", "form WORKFLOW [FIELD=VALUE ...]", "fill in and run a workflow with mouse or keyboard",
            "run:form", (AS, FROM), words=(0, 1), has_fields=True,
        ),
        Command(
            "sweeps", "sweeps [TEXT]", "search earlier sweeps", "search:sweeps",
            (
                Option("--where", "CONDITION", 'only sweeps with a matching cell: "rating >= 4"'),
                Option("--since", "TIME", "only sweeps of the last 2h, 30d ...", duration_s),
                Option("--limit", "N", "at most N sweeps (default 20)", whole_from(1)),
            ),
            words=(0, None),
        ),
        Command(
            "runs", "runs [TEXT] [FIELD=VALUES ...] [CONDITION ...]", "search earlier runs", "search:runs",
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
                LABEL,
                Option("--refetch", None, "fetch the originals that were pruned or are damaged"),
            ),
            words=(1, None),
        ),
        Command(
            "compare", "compare REF REF ...", "compare 2 to 9 images: slider, blink, side by side, difference",
            "show:compare",
            (
                Option("--mode", "MODE", "the initial mode", choices=MODES),
                LABEL,
                Option("--save", "FILE.html", "also write it as one HTML page that works offline", names="file"),
                OVERWRITE,
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
